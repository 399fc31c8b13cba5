#!/usr/bin/env python3
"""Print how strongly one bAbI task pulls at each part of a trained network, beside the L2 penalty: norms of gradients.

The arguments of WMemNN_bAbI.py tell which saved weights. The gradient is that of the summed cross-entropy of a mean batch in
which each task has its share, and only the questions of this task count; all of its training questions are taken.
"""
import argparse
import os
import sys

import numpy as np

import WMemNN_bAbI
import data_utils
from training import babi_extensions, command_line, run
from training.backend import keras
from training.batches import StoryBatches
from training.objective import SummedCrossentropy


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--task", type=int, choices=range(1, len(data_utils.TASKS) + 1), metavar="N", default=16, help="(default %(default)s)")
    options, argv = parser.parse_known_args()
    if keras.backend.backend() != "tensorflow":
        sys.exit("task_gradient: needs TensorFlow; leave KERAS_BACKEND unset")
    import tensorflow as tf

    args = WMemNN_bAbI.parse_arguments([*argv, "--evaluate"])
    name = WMemNN_bAbI.run_name(args, args.seed)
    record = run.read_run(args, name, WMemNN_bAbI.FIXED, babi_extensions.EARLIER)
    babi = data_utils.load_babi(args.data, args.tasks, args.mx, args.padding, record)
    network = WMemNN_bAbI.build_model(args, babi)
    run.load_weights(network, os.path.join(args.models, f"{name}.weights.h5"), record["weights_sha256"])
    variables, cross_entropy = network.trainable_variables, SummedCrossentropy(args.batch_size)

    @tf.function(jit_compile=True)
    def gradient(inputs, answers):
        with tf.GradientTape() as tape:
            loss = cross_entropy(answers, network(inputs))
        return loss, [tf.convert_to_tensor(part) for part in tape.gradient(loss, variables)]

    batches = StoryBatches(babi, babi.train.take(babi.train.task == options.task), 250)
    losses, gradients = zip(*(gradient(*batches[index]) for index in range(len(batches))))
    of_task = [np.mean(parts, axis=0) / len(args.tasks) for parts in zip(*gradients)]
    with tf.GradientTape() as tape:
        penalty = sum(network.losses)  # its weight is that of the arguments, by default the training's
    of_penalty = [0.0 if part is None else part for part in tape.gradient(penalty, variables)]

    print(f"{name}, task {options.task}: cross-entropy of a question {np.mean(losses) / args.batch_size:.3f}")
    print(f"{'gradient norm':<18}  {'task':>6}  {'penalty':>7}")
    hops = [f"hop_{hop}" for hop in range(1, args.hops + 1)]
    for part in ("fact_encoder", "question_encoder", "transition", *hops, "reasoning_module", "answer"):
        rows = [index for index, variable in enumerate(variables) if part in variable.path]
        norms = [np.sqrt(sum(np.sum(np.square(of[index])) for index in rows)) for of in (of_task, of_penalty)]
        print(f"{part:<18}  {norms[0]:>6.4f}  {norms[1]:>7.4f}")


if __name__ == "__main__":
    command_line.run_script(main, "nothing was written")
