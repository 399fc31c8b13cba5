#!/usr/bin/env python3
"""Measure how the cost of a training step grows with the facts of a story: RN, W-MemNN and a memory network.

The memory network is the W-MemNN without its reasoning module: the same encoder and hops, and the answer from the last
hop. Every story is full and every fact has a sentence of its own, so there is no padding to hide in. Each point is a
process of its own; its time is the median over training steps (forward, backward, update), its memory the peak of the
process less that of the same model with one story of five facts. Exponents are fitted where the facts dominate: time
from 40 facts on, memory where a batch adds 64 MB or more. Writes OUT/scaling.csv and OUT/scaling.png.
"""
import argparse
import csv
import os
import resource
import subprocess
import sys
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS = ("RN", "W-MemNN", "memory network")
COLUMNS = ("model", "facts", "batch", "ms_per_story", "mb_per_story")
PAIRS = 12800  # of a batch of RN at most, those of 32 stories of 20 facts: more would not fit into memory
FEW = (1, 5)  # batch and facts that the memory is compared with
FACTS, MEGABYTES = 40, 64  # from which on facts, not what a step or a process costs anyway, make time and memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--facts", type=int, nargs="+", default=[5, 10, 20, 40, 80, 160, 320])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--out", default=os.path.join(ROOT, "plots"))
    parser.add_argument("--process", nargs=3, metavar=("MODEL", "BATCH", "FACTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        model, batch, facts = options.process
        print(*measure(model, int(batch), int(facts)))
        return
    print(f"{os.cpu_count()} cores, backend {os.environ.get('KERAS_BACKEND', 'tensorflow')}")
    print(f"{'model':>14}  {'facts':>5}  {'batch':>5}  {'ms/story':>8}  {'MB/story':>8}")
    rows = []
    for model in MODELS:
        _, base = run_process(model, *FEW)
        for facts in options.facts:
            batch = min(options.batch_size, max(1, PAIRS // facts**2)) if model == "RN" else options.batch_size
            ms, peak = run_process(model, batch, facts)
            rows.append((model, facts, batch, round(ms / batch, 4), round((peak - base) / batch, 3)))
            print(f"{model:>14}  {facts:>5}  {batch:>5}  {rows[-1][3]:>8.3f}  {rows[-1][4]:>8.2f}", flush=True)
    fits = {model: exponents([row for row in rows if row[0] == model]) for model in MODELS}
    print("exponents:")
    for model, (of_time, of_memory) in fits.items():
        print(f"{model:>14}  time {of_time:.2f}, memory {of_memory:.2f}")
    os.makedirs(options.out, exist_ok=True)
    with open(os.path.join(options.out, "scaling.csv"), "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    plot(rows, fits, os.path.join(options.out, "scaling.png"))


def run_process(model, batch, facts):
    """Milliseconds per step and peak memory in MB."""
    process = subprocess.run([sys.executable, "-m", "benchmarks.scaling", "--process", model, str(batch), str(facts)],
                             capture_output=True, text=True, check=True, cwd=ROOT)
    return map(float, process.stdout.split())


def exponents(rows):
    """Slopes of the logarithms of time and memory over that of the number of facts."""
    def slope(points):
        if len(points) < 2:
            return float("nan")
        facts, costs = zip(*points)
        return np.polyfit(np.log(facts), np.log(costs), 1)[0]

    return (slope([(facts, ms) for _, facts, _, ms, _ in rows if facts >= FACTS]),
            slope([(facts, mb) for _, facts, batch, _, mb in rows if mb * batch >= MEGABYTES]))


def measure(name, batch, facts):
    """Median milliseconds of a training step on a batch of full stories, and the process's peak memory in MB."""
    import data_utils
    import RN_bAbI
    import WMemNN_bAbI
    from training.backend import keras
    from training.batches import batches_for, pack_stories
    from training.objective import SummedCrossentropy

    keras.utils.set_random_seed(1)
    babi = full_stories(data_utils, batch, facts)
    if name == "RN":
        args = RN_bAbI.parse_arguments(["--mx", str(facts)])
        model = RN_bAbI.build_model(args, babi)
    else:
        args = WMemNN_bAbI.parse_arguments(["30", "30", str(facts)])
        model = WMemNN_bAbI.build_model(args, babi)
    if name == "memory network":
        last_hop = model.get_layer("attentional_controller").output[:, -1]
        model = keras.Model(model.input, keras.layers.Dense(len(babi.answers), use_bias=False)(last_hop))
    kind = batches_for(model)
    model.compile(keras.optimizers.Adam(args.lr), SummedCrossentropy(batch), jit_compile=kind.fixed_sizes())
    inputs = pack_stories(babi, babi.train, np.arange(batch), pairs=kind.pairs)
    times, begun = [], time.perf_counter()
    while len(times) < 10 or (time.perf_counter() - begun < 3 and len(times) < 200):
        started = time.perf_counter()
        model.train_on_batch(inputs, babi.train.answer)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times[3:])), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def full_stories(data_utils, stories, facts, words_in_sentence=7):
    """Stories of random words with all their facts, as a Babi with the numbers of words and answers of the real one."""
    random = np.random.default_rng(1)
    words, answers = map(sorted, data_utils.read_vocabulary(range(1, 21)))
    sentences = random.integers(1, len(words) + 1, (stories * facts + 1, words_in_sentence)).astype("int32")
    sentences[0] = 0
    rows = data_utils.Stories(
        1 + np.arange(stories * facts, dtype="int32").reshape(stories, facts), np.arange(stories, dtype="int32"),
        random.integers(len(answers), size=stories).astype("int32"), np.ones(stories, "int32"),
        np.zeros((stories, facts), bool), np.arange(stories, dtype="int32"))
    return data_utils.Babi(words, answers, sentences, sentences[1:stories + 1], rows, rows, rows, None, padding="read")


def plot(rows, fits, path):
    """Draw time and memory per story over the number of facts, on logarithmic axes."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for panel, column, what in zip(panels, (3, 4), ("training step, ms per story", "added peak memory, MB per story")):
        for number, (model, marker) in enumerate(zip(MODELS, "os^")):
            mine = [row for row in rows if row[0] == model and row[column] > 0]
            panel.loglog([row[1] for row in mine], [row[column] for row in mine], marker=marker,
                         label=f"{model}, exponent {fits[model][column - 3]:.2f}")
        panel.set(xlabel="facts of a story", ylabel=what)
        facts = sorted({row[1] for row in rows})
        panel.set_xticks(facts, [str(number) for number in facts])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
