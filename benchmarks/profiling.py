"""What the two profiles share: the operations of a training step as TensorFlow's profiler saw them, and the table of their times.

JAX's reader of profiles reads them, from the package jax.
"""
import glob
import os
import tempfile

import jax.profiler


def operations(fit, lines, level):
    """The operations while a function runs: pairs of a name and milliseconds.

    Args:
        fit: function.
        lines: str, part of the names of the profile's lines that have the operations.
        level: int, how much TensorFlow's profiler writes down.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder, tf.profiler.experimental.ProfilerOptions(host_tracer_level=level))
        fit()
        tf.profiler.experimental.stop()
        (path,) = glob.glob(os.path.join(folder, "**", "*.xplane.pb"), recursive=True)
        planes = jax.profiler.ProfileData.from_file(path).planes
        return [(event.name, event.duration_ns / 1e6)
                for plane in planes for line in plane.lines if lines in line.name for event in line.events]


def print_table(spent, steps):
    """Print the times of a step by module.

    Args:
        spent: dict from a module to milliseconds [forward, backward], of all steps.
        steps: int.
    """
    width, total = max(map(len, spent)), sum(map(sum, spent.values()))
    print(f"{'module':<{width}}  {'forward ms':>10}  {'backward ms':>11}  {'share':>5}")
    for module, (forward, backward) in sorted(spent.items(), key=lambda item: -sum(item[1])):
        print(f"{module:<{width}}  {forward / steps:>10.2f}  {backward / steps:>11.2f}  {(forward + backward) / total:>5.0%}")
