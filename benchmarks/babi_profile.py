#!/usr/bin/env python3
"""Print where a training step of WMemNN_bAbI.py spends its time on one core: forward and backward, by module.

Options of the script may follow. The times are those of what XLA makes of the step for TensorFlow; what is fused into one
operation counts where its last part belongs.
"""
import argparse
import collections
import glob
import os
import re
import tempfile
import time

from benchmarks import profiling
from benchmarks.step_time import what_trains

STEPS = 200
MODULES = ("short_term_storage", "question_encoder", "attentional_controller", "reasoning_module", "answer", "reconstruction",
           "overlap", "adam")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    _, argv = parser.parse_known_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # before any library counts the cores
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={folder} --xla_dump_hlo_as_text"
        import training.run
        _, _, model, batches, _ = what_trains(training.run, "WMemNN_bAbI", [*argv, "--steps-per-epoch", str(STEPS)])

        def fit():
            started = time.perf_counter()
            model.fit(batches, shuffle=False, verbose=0)
            return 1000 * (time.perf_counter() - started) / STEPS

        fit()
        print(f"{min(fit() for _ in range(3)):.2f} ms a step of {batches.batch_size} questions, input included")
        operations = profiling.operations(fit, "Eigen", level=3)
        source = {}
        for path in glob.glob(os.path.join(folder, "*cpu_after_optimizations.txt")):
            with open(path, encoding="utf-8") as program:
                source.update(re.findall(r'^\s*(?:ROOT )?%?([\w.\-]+) = .*op_name="([^"]*)"', program.read(), re.MULTILINE))
    spent = collections.defaultdict(lambda: [0.0, 0.0])
    for operation, milliseconds in operations:
        if operation.startswith(("ThunkExecutor", "while.")):  # not an operation, but what runs several
            continue
        name = source.get(operation, "")
        module = next((module for module in MODULES if module in name), None)
        # The gradient of the sentence encoder, which is written by hand, has no name of a module.
        by_hand = not module and re.match(r"while/(while|MatMul|mul|Reshape|Unsorted|strided)", name)
        backward = name.startswith("gradient_tape") or bool(by_hand)
        spent[module or ("encoders, by hand" if by_hand else "all others")][backward] += milliseconds
    profiling.print_table(spent, STEPS)


if __name__ == "__main__":
    main()
