"""What a training starts from and what it minimises: initial values, losses, the learning rate."""
import math

import layers
from data_utils import DataError
from training.backend import keras

# Initial values


def encoder_initializers(start, embedding_scale=None):
    """The initializers of a `layers.SentenceEncoder`, as keywords.

        authors   all normal, of variance 2 / (rows + columns), each gate by itself: the defaults of the layer
        port      the same variance, truncated, all gates together; recurrent kernels orthogonal
        uniform   embeddings uniform between -0.05 and 0.05, the rest as in the port

    Args:
        start: "authors", "port" or "uniform".
        embedding_scale: float X; embeddings are uniform between -X and X, whatever the start of the rest.
    """
    initializers = {}
    if start != "authors":
        initializers = {"kernel_initializer": "glorot_normal", "recurrent_initializer": "orthogonal"}
    scale = embedding_scale or (0.05 if start == "uniform" else None)
    if scale:
        initializers["embeddings_initializer"] = keras.initializers.RandomUniform(-scale, scale)
    elif start == "port":
        initializers["embeddings_initializer"] = "glorot_normal"
    return initializers


def glorot_normal(start):
    """Glorot's normal initial values of a kernel, truncated unless the start is "authors"."""
    return layers.Glorot() if start == "authors" else keras.initializers.GlorotNormal()


# Losses

SMALLEST = 1e-7  # probability that a loss tells from 0; Keras 1 clips there, so that a worse answer has no gradient


class SummedCrossentropy(keras.losses.Loss):
    """Cross-entropy summed over a training batch: its mean, times the size of a training batch.

        loss = - batch_size mean over questions of log(clip(softmax(logits)[answer], 1e-7, 1 - 1e-7))

    So the losses of batches of other sizes, such as those of validation, are on the same scale.

    Args:
        batch_size: int, questions in a training batch.
    """

    def __init__(self, batch_size, name="summed_crossentropy"):
        super().__init__(name=name)
        self.batch_size = batch_size

    def call(self, y_true, y_pred):
        told = -keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        return -self.batch_size * _clipped(told)


class BinaryCrossentropy(keras.losses.Loss):
    """Mean cross-entropy of the logits of "true": - mean of log(clip(p, 1e-7, 1 - 1e-7)), p the probability of the label."""

    def call(self, y_true, y_pred):
        return -_clipped(keras.ops.log_sigmoid((2.0 * keras.ops.cast(y_true, y_pred.dtype) - 1.0) * y_pred))


def _clipped(log_probability):
    """The logarithm of a probability that is clipped to 1e-7 ... 1 - 1e-7."""
    return keras.ops.clip(log_probability, math.log(SMALLEST), math.log1p(-SMALLEST))


# Learning rate


def learning_rate(args, steps, halving_steps=None):
    """The learning rate or its Keras schedule, from the options of a run.

    Args:
        args: parsed arguments with `lr`, `schedule` and `warmup_steps`.
        steps: int, batches of all epochs together.
        halving_steps: int, halve a constant rate every so many batches.
    Raises:
        DataError: options that do not go together.
    """
    schedules = keras.optimizers.schedules
    if args.schedule == "constant":
        if args.warmup_steps:
            raise DataError("--warmup-steps goes with --schedule cosine")
        return schedules.ExponentialDecay(args.lr, halving_steps, 0.5, staircase=True) if halving_steps else args.lr
    if halving_steps:
        raise DataError("--schedule cosine does not go with a refinement run, whose rate halves every few epochs")
    rising = args.warmup_steps
    if rising >= steps:
        raise DataError(f"--warmup-steps {rising} leaves nothing of {steps} batches")
    if not rising:
        return schedules.CosineDecay(args.lr, steps)
    return schedules.CosineDecay(0.0, steps - rising, warmup_target=args.lr, warmup_steps=rising)
