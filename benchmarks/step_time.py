#!/usr/bin/env python3
"""Time a training step of a bAbI script beside that of a plain transcription of the original structure, in one run.

Both see batches of the same questions; the time includes the input pipeline. The two take turns, and the ratio is the
median over the turns, so that a machine whose speed drifts does not decide. The seconds from the start to the end of
the first step, building the graph included, and the peak memory of the script are those of a process of its own.
"""
import argparse
import importlib
import os
import re
import resource
import statistics
import subprocess
import sys
import time

STARTED = time.time()
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("script", choices=("WMemNN_bAbI", "RN_bAbI"), nargs="?", default="WMemNN_bAbI")
    parser.add_argument("--data", default=os.path.join(ROOT, "data", "babi"))
    parser.add_argument("--mx", type=int, nargs="+", help="facts kept of a story (default 30 130, of RN_bAbI 20)")
    parser.add_argument("--full", action="store_true", help="only questions with mx facts or more: nothing to pad")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="turns of the two; 0 leaves the transcription out")
    parser.add_argument("--process", type=int, metavar="MX", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        time_process(options)
        return
    print(f"{options.script}, batch {options.batch_size}, {os.cpu_count()} cores; ms per training step, input included")
    print(f"{'mx':>4}  {'script':>8}  {'plain':>8}  {'ratio':>6}  {'questions/s':>11}  {'first step s':>12}  {'plain':>6}  "
          f"{'peak MB':>8}")
    for mx in options.mx or ([20] if options.script == "RN_bAbI" else [30, 130]):
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks.step_time", options.script, "--process", str(mx), "--data", options.data, "--batch-size",
             str(options.batch_size), *["--full"] * options.full], capture_output=True, text=True, check=True, cwd=ROOT)
        first_step, peak = re.findall(r"[\d.]+", process.stdout)
        ms, plain, ratio, plain_first = compare(options, mx) if options.rounds else [float("nan")] * 4
        print(f"{mx:>4}  {ms:>8.1f}  {plain:>8.1f}  {ratio:>6.1f}  {1000 * options.batch_size / ms:>11.0f}  "
              f"{first_step:>12}  {plain_first:>6.0f}  {peak:>8}", flush=True)


def load(options, mx):
    """What both need: arguments, data, its questions, and the script."""
    import data_utils
    import numpy as np

    script = importlib.import_module(options.script)
    argv = ["--mx", str(mx)] if options.script == "RN_bAbI" else ["30", "30", str(mx)]
    args = script.parse_arguments([*argv, "--batch-size", str(options.batch_size)])
    args.padding = "read"  # of the Relation Network, too: the transcription has no other
    babi = data_utils.load_babi(options.data, mx=mx, padding=args.padding)
    facts = np.count_nonzero(babi.train.facts, axis=1)
    return args, babi, babi.train.take(facts >= (mx if options.full else 0)), script


def compiled(model, args, jit, steps_per_execution=25):
    from training.backend import keras
    from training.objective import SummedCrossentropy

    model.compile(keras.optimizers.Adam(args.lr, epsilon=1e-8, global_clipnorm=args.clip_norm),
                  SummedCrossentropy(args.batch_size), metrics=["accuracy"], jit_compile=jit,
                  steps_per_execution=steps_per_execution)
    return model


def compare(options, mx):
    """Medians of ms per step of script and transcription and of their ratio, and the transcription's first seconds."""
    args, babi, stories, script = load(options, mx)
    from benchmarks import transcription
    from training.batches import batches_for

    relation, network = options.script == "RN_bAbI", script.build_model(args, babi)
    batches = batches_for(network)(babi, stories, options.batch_size, [1], 200)
    ours = compiled(network, args, batches.fixed_sizes())
    steps = 40
    chosen = stories.take(batches.order[:steps * args.batch_size])
    inputs = transcription.padded_inputs(babi, chosen)
    started = time.perf_counter()
    build = transcription.build_relation_transcription if relation else transcription.build_transcription
    plain = compiled(build(args, babi), args, False, 1)

    def fit_ours():
        ours.fit(batches, shuffle=False, verbose=0)

    def fit_plain(questions=None):
        plain.fit([array[:questions] for array in inputs], chosen.answer[:questions], batch_size=args.batch_size, verbose=0)

    def milliseconds(number, fit):
        begun = time.perf_counter()
        fit()
        return 1000 * (time.perf_counter() - begun) / number

    fit_plain(args.batch_size)
    plain_first = time.perf_counter() - started
    fit_ours(), fit_plain()
    turns = [(milliseconds(batches.steps, fit_ours), milliseconds(steps, fit_plain)) for _ in range(options.rounds)]
    ratio = statistics.median(slow / fast for fast, slow in turns)
    return *map(statistics.median, zip(*turns)), ratio, plain_first


def time_process(options):
    """Print the seconds from the start of this process to its first step, and its peak memory after 1,000 steps."""
    args, babi, stories, script = load(options, options.process)
    from training.backend import keras
    from training.batches import batches_for

    class FirstStep(keras.callbacks.Callback):
        seconds = None

        def on_train_batch_end(self, batch, logs=None):
            self.seconds = self.seconds or time.time() - STARTED

    first = FirstStep()
    network = script.build_model(args, babi)
    batches = batches_for(network)(babi, stories, options.batch_size, [1], 1000)
    compiled(network, args, batches.fixed_sizes()).fit(batches, shuffle=False, verbose=0, callbacks=[first])
    print(f"{first.seconds:.0f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")


if __name__ == "__main__":
    main()
