#!/usr/bin/env python3
"""Print how many images a second WMemNN_NLVR.py trains on, and where a step spends its time: forward and backward, by module.

Options of the script may follow. The times are those of TensorFlow's operations, added up over the cores.
"""
import argparse
import collections
import time

from benchmarks import profiling
from benchmarks.step_time import what_trains

STEPS, TURNS = 40, 3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    _, argv = parser.parse_known_args()
    import training.run
    _, network, model, batches, _ = what_trains(training.run, "WMemNN_NLVR", [*argv, "--steps-per-epoch", str(STEPS)])

    def fit():
        model.fit(batches, shuffle=False, verbose=0)

    fit()
    for _ in range(TURNS):
        started = time.perf_counter()
        fit()
        print(f"{STEPS * batches.batch_size / (time.perf_counter() - started):,.0f} images a second", flush=True)
    modules = [layer.name for layer in network.layers]
    spent = collections.defaultdict(lambda: [0.0, 0.0])
    for operation, milliseconds in profiling.operations(fit, "tf_Compute", level=2):
        if not operation.startswith("StatefulPartitionedCall/"):  # not an operation, but what runs several
            continue
        name = operation.removeprefix("StatefulPartitionedCall/")
        # The loop of the sentence encoder's gradient, which is written by hand, has no name of a module.
        module = "sentence_encoder" if name.startswith("while") else next((m for m in modules if f"/{m}" in name), "all others")
        backward = name.startswith(("gradient_tape", "while"))
        spent[module][backward] += milliseconds
    profiling.print_table(spent, STEPS)


if __name__ == "__main__":
    main()
