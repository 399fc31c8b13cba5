#!/usr/bin/env python3
"""Time a training step of WMemNN_bAbI.py beside that of a plain transcription of the original structure, in one run.

Both see batches of the same questions; the time includes the input pipeline. The two take turns, and the ratio is the
median over the turns, so that a machine whose speed drifts does not decide. First step and peak memory of the script
are those of a process of its own.
"""
import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import time

STARTED = time.time()
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "benchmarks")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--data", default=os.path.join(ROOT, "data", "babi"))
    parser.add_argument("--mx", type=int, nargs="+", default=[30, 130], help="facts kept of a story")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="turns of the two")
    parser.add_argument("--process", type=int, metavar="MX", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        time_process(options)
        return
    print(f"batch {options.batch_size}, {os.cpu_count()} cores; ms per training step, input included")
    print(f"{'mx':>4}  {'script':>8}  {'plain':>8}  {'ratio':>6}  {'questions/s':>11}  {'first step s':>12}  {'peak MB':>8}")
    for mx in options.mx:
        process = subprocess.run(
            [sys.executable, __file__, "--process", str(mx), "--data", options.data,
             "--batch-size", str(options.batch_size)], capture_output=True, text=True, check=True)
        first_step, peak = re.findall(r"[\d.]+", process.stdout)
        ours, plain = compare(options, mx)
        ratio = statistics.median(b / a for a, b in zip(ours, plain))
        ms = statistics.median(ours)
        print(f"{mx:>4}  {ms:>8.1f}  {statistics.median(plain):>8.1f}  {ratio:>6.1f}  "
              f"{1000 * options.batch_size / ms:>11.0f}  {first_step:>12}  {peak:>8}", flush=True)


def load(options, mx):
    import training  # before keras: it keeps TensorFlow quiet
    import data_utils
    import WMemNN_bAbI as script

    args = script.parse_arguments(["30", "30", str(mx), "--batch-size", str(options.batch_size)])
    return args, data_utils.load_babi(options.data, mx=mx), script, training


def compiled(model, args, training, jit):
    keras = training.keras
    model.compile(keras.optimizers.Adam(args.lr, global_clipnorm=args.clip_norm),
                  training.BatchCrossentropy(args.batch_size), metrics=["accuracy"], jit_compile=jit,
                  steps_per_execution=25 if jit else 1)
    return model


def compare(options, mx):
    """Lists of ms per step, of the script and of the transcription, a value for each round."""
    args, babi, script, training = load(options, mx)
    import transcription

    batches = babi_training.StoryBatches(babi, babi.train, args.batch_size, [1], steps=200)
    ours = compiled(script.build_model(args, babi), args, training, jit=True)
    steps = 40
    chosen = babi.train.take(batches.order[:steps * args.batch_size])
    inputs = transcription.padded_inputs(babi, chosen)
    plain = compiled(transcription.build_transcription(args, babi), args, training, jit=False)

    def milliseconds(number, fit):
        started = time.perf_counter()
        fit()
        return 1000 * (time.perf_counter() - started) / number

    def fit_ours():
        ours.fit(batches, shuffle=False, verbose=0)

    def fit_plain():
        plain.fit(list(inputs), chosen.answer, batch_size=args.batch_size, verbose=0)

    fit_ours(), fit_plain()
    turns = [(milliseconds(batches.steps, fit_ours), milliseconds(steps, fit_plain)) for _ in range(options.rounds)]
    return zip(*turns)


def time_process(options):
    """Print the seconds from the start of this process to its first step, and its peak memory after 1,000 steps."""
    args, babi, script, training = load(options, options.process)

    class FirstStep(training.keras.callbacks.Callback):
        seconds = None

        def on_train_batch_end(self, batch, logs=None):
            self.seconds = self.seconds or time.time() - STARTED

    first = FirstStep()
    batches = babi_training.StoryBatches(babi, babi.train, args.batch_size, [1], steps=1000)
    compiled(script.build_model(args, babi), args, training, jit=True).fit(
        batches, shuffle=False, verbose=0, callbacks=[first])
    print(f"{first.seconds:.0f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")


if __name__ == "__main__":
    main()
