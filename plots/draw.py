#!/usr/bin/env python3
"""Draw the training curves and the results of runs, and print their table, from the files in models/.

    python -m plots.draw "seed 1=models/WMemNN_bAbI_30_30_30_0_1,models/WMemNN_bAbI_30_30_30_1_1"
    python -m plots.draw "separate=models/WMemNN_NLVR_100_24_128_50_1234"

Each argument is a label and the path of a run's files without their endings, all on bAbI or all on NLVR; or the paths of a run
and its refinements, whose curve is one and whose results are those of the last; or that of an ensemble, which has no curve.
Writes OUT/curves.png and OUT/tasks.png, or OUT/nlvr.png; prints the table of the pages: errors per task in per cent, their mean,
the failed tasks, or the figures of each split. With `--seeds N` the first N runs are one recipe with several seeds, and their
mean and standard deviation (with N - 1 in its denominator) follow them.
"""
import argparse
import csv
import json
import os
import statistics
import sys

import matplotlib
import matplotlib.pyplot as plt

import data_utils
from training import command_line

matplotlib.use("Agg")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MARKERS = "osD^vPX*"  # one a run, for who does not tell the colors apart


def labelled(text):
    """LABEL=PATH[,PATH...], for argparse: the label and a list of paths."""
    label, equals, paths = text.partition("=")
    label, paths = " ".join(label.split()), [path.strip() for path in paths.split(",")]  # a long argument may be wrapped
    if not (label and equals and all(paths)):
        raise argparse.ArgumentTypeError(f"{text!r} is not LABEL=PATH[,PATH...]")
    return label, paths


def main():
    parser = command_line.Parser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("runs", nargs="+", type=labelled, metavar="LABEL=PATH[,PATH...]")
    parser.add_argument("--out", default=os.path.join(ROOT, "plots"))
    parser.add_argument("--seeds", type=command_line.natural_number, default=0, metavar="N",
                        help="give the mean and deviation of the first N runs")
    options = parser.parse_args()
    if len(dict(options.runs)) < len(options.runs):
        parser.error("two runs have the same label")
    if options.seeds == 1 or options.seeds > len(options.runs):
        parser.error(f"--seeds is of 2 runs or more, and of no more than are given, not {options.seeds} of {len(options.runs)}")
    logs, tests = {}, {}
    for label, paths in options.runs:
        logs[label] = []
        for path in paths:
            with open(f"{path}.json", encoding="utf-8") as file:
                try:
                    record = json.load(file)
                except ValueError as error:
                    raise data_utils.DataError(f"{path}.json: not a record ({error}); restore it") from None
            if "ensemble" not in record:
                logs[label] += read_log(f"{path}.csv")
        if "test" not in record:
            raise data_utils.DataError(f"{path}.json: no test errors; give its command again, without --no-test, or leave it out")
        tests[label] = record["test"]
        if "error" in tests[label] and len(tests[label]["error"]) < len(data_utils.TASKS):
            raise data_utils.DataError(f"{path}.json: a run on some of the tasks; the table and the pictures are of runs on all")
    on_babi = {"mean_error" in test for test in tests.values()}
    if len(on_babi) > 1:
        parser.error("the runs are all on bAbI, or all on NLVR")
    os.makedirs(options.out, exist_ok=True)
    if on_babi == {True}:
        print(babi_table(tests, options.seeds))
        draw_curves(logs, os.path.join(options.out, "curves.png"))
        draw_tasks(tests, os.path.join(options.out, "tasks.png"))
    else:
        print(nlvr_table(tests, options.seeds))
        draw_accuracy(logs, tests, os.path.join(options.out, "nlvr.png"))


def read_log(path):
    """The rows of a run's log, each a dict of float."""
    with open(path, encoding="utf-8", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def mean_and_deviation(values, digits):
    """As "mean ± deviation"."""
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def babi_table(tests, seeds=0):
    """The errors of several runs as a Markdown table; failed tasks in bold; the first `seeds` runs also as mean and deviation."""
    def line(name, values, digits, failing=float("inf")):
        cells = [f"**{value:.{digits}f}**" if value > failing else f"{value:.{digits}f}" for value in values]
        if seeds:
            cells.insert(seeds, mean_and_deviation(values[:seeds], max(1, digits)))
        return f"| {name} | " + " | ".join(cells) + " |"

    labels = list(tests)
    if seeds:
        labels.insert(seeds, "mean ± deviation")
    lines = ["| task | " + " | ".join(labels) + " |", "|-" * (len(labels) + 1) + "|"]
    for number, name in enumerate(data_utils.TASKS, start=1):
        errors = [test["error"][str(number)] for test in tests.values()]
        lines.append(line(f"{number} {name.replace('-', ' ')}", errors, 1, data_utils.FAILED))
    lines.append(line("mean error %", [test["mean_error"] for test in tests.values()], 2))
    lines.append(line("failed tasks (> 5 %)", [len(test["failed_tasks"]) for test in tests.values()], 0))
    return "\n".join(lines)


def nlvr_table(tests, seeds=0):
    """The figures of several runs as a Markdown table, a row for each run and split; of the first `seeds` also the mean."""
    shares = {"accuracy": "accuracy %", "consistency": "consistency %", "sentence_consistency": "consistency of sentences %"}
    lines = ["| run | split | images | majority % | " + " | ".join(shares.values()) + " |", "|-" * (len(shares) + 4) + "|"]

    def add_rows(label, test, cell):
        for split, result in test.items():
            lines.append(f"| {label} | {data_utils.SPLIT_NAMES[split]} | {result['images']:,} | {result['majority']:.2f} | "
                         + " | ".join(cell(split, share) for share in shares) + " |")

    for number, (label, test) in enumerate(tests.items(), start=1):
        add_rows(label, test, lambda split, share, test=test: f"{test[split][share]:.2f}")
        if number == seeds:
            of_seeds = list(tests.values())[:seeds]
            add_rows("mean ± deviation", test,
                     lambda split, share: mean_and_deviation([of_seed[split][share] for of_seed in of_seeds], 2))
    return "\n".join(lines)


def draw_accuracy(logs, tests, path):
    """Draw training and validation accuracy of each run over its epochs, and the share of dev's majority class."""
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for number, (label, log) in enumerate(logs.items()):
        for key, style in (("accuracy", ":"), ("val_accuracy", "-")):
            axes.plot([row["epoch"] for row in log], [100 * row[key] for row in log], style, color=f"C{number}",
                      label=f"{label}, {'training' if key == 'accuracy' else 'validation'}")
    axes.axhline(next(iter(tests.values()))["dev"]["majority"], color="black", linewidth=0.8, linestyle="--",
                 label="majority class of dev")
    axes.set(xlabel="epoch", ylabel="accuracy, %")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=120)


def draw_curves(logs, path):
    """Draw the validation error of each run over its epochs, on a logarithmic scale, in the colors of `draw_tasks`."""
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for number, (label, log) in enumerate(logs.items()):
        if log:
            axes.semilogy(range(1, len(log) + 1), [100 * (1 - row["val_accuracy"]) for row in log], color=f"C{number}",
                          label=label, zorder=3 - number / 100)  # a refinement has its training's curve, below it
    axes.set(xlabel="epoch, the refinements' after those of the training", ylabel="validation error, %")
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def draw_tasks(tests, path):
    """Draw the test error of each task, a row a task, a dot for each run, and the line above which a task fails.

    The scale is logarithmic from 0.1 % up, which is one of 1,000 test questions, and linear below, so that it has a place for 0.
    """
    figure, axes = plt.subplots(figsize=(9, 10), layout="constrained")
    tasks = range(1, len(data_utils.TASKS) + 1)
    for task in tasks[::2]:
        axes.axhspan(task - 0.5, task + 0.5, color="black", alpha=0.05, linewidth=0)
    for number, (label, test) in enumerate(tests.items()):
        shift = 0.8 * ((number + 0.5) / len(tests) - 0.5)  # equal errors stay apart
        axes.plot([test["error"][str(task)] for task in tasks], [task + shift for task in tasks], color=f"C{number}",
                  marker=MARKERS[number % len(MARKERS)], markersize=5, linestyle="none", label=label, clip_on=False, zorder=3)
    axes.axvline(data_utils.FAILED, color="black", linewidth=0.8, linestyle="--")
    axes.set_xscale("symlog", linthresh=0.1, linscale=0.3)
    axes.set_xticks([0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100], ["0", "0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50", "100"])
    axes.minorticks_off()
    axes.set(xlim=(0, 100), ylim=(len(tasks) + 0.5, 0.5), xlabel="test error, %; a task fails right of the dashed line")
    axes.set_yticks(tasks, [f"{task} {name.replace('-', ' ')}" for task, name in enumerate(data_utils.TASKS, start=1)])
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    command_line.run_script(main, "nothing was drawn")
