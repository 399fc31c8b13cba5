#!/usr/bin/env python3
"""Print how many images a second WMemNN_NLVR.py trains on, and where a step spends its time: forward and backward, by module.

Options of the script may follow. The times are those of TensorFlow's operations, added up over the cores. They are read with
JAX's reader of profiles, from the package jax.
"""
import argparse
import collections
import glob
import os
import tempfile
import time

from benchmarks.step_time import what_trains

STEPS, TURNS = 40, 3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    _, argv = parser.parse_known_args()
    import jax.profiler  # what cannot be read later is missed before anything is timed
    import training.run
    _, network, model, batches, _ = what_trains(training.run, "WMemNN_NLVR", [*argv, "--steps-per-epoch", str(STEPS)])

    def fit():
        model.fit(batches, shuffle=False, verbose=0)

    fit()
    for _ in range(TURNS):
        started = time.perf_counter()
        fit()
        print(f"{STEPS * batches.batch_size / (time.perf_counter() - started):,.0f} images a second", flush=True)
    spent = profile(fit, [layer.name for layer in network.layers])
    total = sum(map(sum, spent.values()))
    print(f"{'module':<20}  {'forward ms':>10}  {'backward ms':>11}  {'share':>5}")
    for module, (forward, backward) in sorted(spent.items(), key=lambda item: -sum(item[1])):
        print(f"{module:<20}  {forward / STEPS:>10.1f}  {backward / STEPS:>11.1f}  {(forward + backward) / total:>5.0%}")


def profile(fit, modules):
    """Milliseconds in the operations of some modules while a function runs: dict from a module to [forward, backward]."""
    import jax.profiler
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder, tf.profiler.experimental.ProfilerOptions(host_tracer_level=2))
        fit()
        tf.profiler.experimental.stop()
        (path,) = glob.glob(os.path.join(folder, "**", "*.xplane.pb"), recursive=True)
        planes = jax.profiler.ProfileData.from_file(path).planes
        spent = collections.defaultdict(lambda: [0.0, 0.0])
        lines = [line for plane in planes for line in plane.lines if line.name.startswith("tf_Compute")]
        for event in (event for line in lines for event in line.events):
            if not event.name.startswith("StatefulPartitionedCall/"):  # not an operation, but what runs several
                continue
            name = event.name.removeprefix("StatefulPartitionedCall/")
            # The loop of the sentence encoder's gradient, which is written by hand, has no name of a module.
            module = "sentence_encoder" if name.startswith("while") else next((m for m in modules if f"/{m}" in name), "all others")
            backward = name.startswith(("gradient_tape", "while"))
            spent[module][backward] += event.duration_ns / 1e6
    return spent


if __name__ == "__main__":
    main()
