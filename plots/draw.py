#!/usr/bin/env python3
"""Draw the training curves and the test errors of bAbI runs, and print their table, from the files in models/.

    python plots/draw.py "seed 1=models/WMemNN_bAbI_30_30_30_0_1" "RN=models/RN_bAbI_1"

Each argument is a label and the path of a run's files without their endings. Writes OUT/curves.png and OUT/tasks.png; prints
the README's table: errors per task in per cent, their mean, the failed tasks.
"""
import argparse
import csv
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT]

import matplotlib  # noqa: E402
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

import data_utils  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("runs", nargs="+", metavar="LABEL=PATH")
    parser.add_argument("--out", default=os.path.join(ROOT, "plots"))
    options = parser.parse_args()
    logs, tests = {}, {}
    for run in options.runs:
        label, _, path = run.partition("=")
        with open(f"{path}.csv", encoding="utf-8", newline="") as file:
            logs[label] = [(int(row["epoch"]), 100 * (1 - float(row["val_accuracy"]))) for row in csv.DictReader(file)]
        with open(f"{path}.json", encoding="utf-8") as file:
            tests[label] = json.load(file)["test"]
    print(table(tests))
    draw_curves(logs, os.path.join(options.out, "curves.png"))
    draw_tasks(tests, os.path.join(options.out, "tasks.png"))


def table(tests):
    """The errors of several runs as a Markdown table; failed tasks in bold."""
    lines = ["| task | " + " | ".join(tests) + " |", "|-" * (len(tests) + 1) + "|"]
    for number, name in enumerate(data_utils.TASKS, start=1):
        errors = (test["error"][str(number)] for test in tests.values())
        cells = (f"**{error:.1f}**" if error > data_utils.FAILED else f"{error:.1f}" for error in errors)
        lines.append(f"| {number} {name.replace('-', ' ')} | " + " | ".join(cells) + " |")
    lines.append("| mean error % | " + " | ".join(f"{test['mean_error']:.2f}" for test in tests.values()) + " |")
    lines.append("| failed tasks (> 5 %) | " + " | ".join(str(len(test["failed_tasks"])) for test in tests.values()) + " |")
    return "\n".join(lines)


def draw_curves(logs, path):
    """Draw the validation error of each run over its epochs, on a logarithmic scale."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for label, log in logs.items():
        epochs, errors = zip(*log)
        axes.semilogy(epochs, errors, label=label)
    axes.set(xlabel="epoch", ylabel="validation error, %")
    for axis_ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis_ticks(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=120)


def draw_tasks(tests, path):
    """Draw the test error of each task, a bar for each run, and the line above which a task fails."""
    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    width = 0.8 / len(tests)
    for number, (label, test) in enumerate(tests.items()):
        places = [task + (number - (len(tests) - 1) / 2) * width for task in range(1, 21)]
        axes.bar(places, [test["error"][str(task)] for task in range(1, 21)], width, label=label)
    axes.axhline(data_utils.FAILED, color="black", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(1, 21), [name.replace("-", " ") for name in data_utils.TASKS], rotation=60, ha="right")
    axes.set_ylabel("test error, %")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
