"""Losses and learning rates."""
import numpy as np

import WMemNN_bAbI as script
from training import objective


def test_cosine_rises_then_falls_to_zero():
    args = script.parse_arguments(["--schedule", "cosine", "--warmup-steps", "10"])
    args.lr = 0.1
    rate = objective.learning_rate(args, 100)
    np.testing.assert_allclose([float(rate(step)) for step in (0, 5, 10, 55, 100)], [0, 0.05, 0.1, 0.05, 0], atol=1e-6)


def test_the_loss_of_a_batch_is_32_times_its_mean():
    logits = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    cross_entropy = np.log(np.exp(logits).sum(axis=1)) - logits[[0, 1], [0, 2]]
    np.testing.assert_allclose(objective.SummedCrossentropy(32)(np.array([0, 2]), logits), 32 * cross_entropy.mean(),
                               rtol=1e-6)


def test_the_losses_clip_probabilities_as_keras_1_does():
    logits = np.array([[40.0, 0.0], [0.0, 40.0]], "float32")
    np.testing.assert_allclose(objective.SummedCrossentropy(32)(np.array([1, 1]), logits), 16 * -np.log(1e-7), rtol=1e-5)
    logits = np.array([[40.0], [-40.0], [1.0], [1.0]], "float32")
    expected = np.mean([1e-7, -np.log(1e-7), np.log(1 + np.exp(-1)), 1 + np.log(1 + np.exp(-1))])
    loss = objective.BinaryCrossentropy()(np.array([[1.0], [1.0], [1.0], [0.0]], "float32"), logits)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
