"""The gradient of a model's loss, on TensorFlow, JAX and torch, for tests that compare it with known figures."""
import keras
import numpy as np


def gradients(model, inputs, targets, loss):
    """The gradient of loss(targets, outputs) + the penalties of the model, in training.

    Args:
        model: Keras model, built.
        inputs, targets: as the model and the loss take them.
        loss: function of targets and outputs, a scalar.
    Returns:
        list of float32 arrays, in the order of `model.trainable_variables`.
    """
    if keras.backend.backend() == "jax":
        import jax

        def total(trainable, fixed):
            outputs, _, penalties = model.stateless_call(trainable, fixed, inputs, training=True, return_losses=True)
            return loss(targets, outputs) + sum(penalties)

        found = jax.grad(total)(*([variable.value for variable in variables] for variables in (
            model.trainable_variables, model.non_trainable_variables)))
    elif keras.backend.backend() == "torch":
        for variable in model.trainable_variables:
            variable.value.grad = None
        total = loss(targets, model(inputs, training=True)) + sum(model.losses)
        total.backward()
        found = [variable.value.grad.detach() for variable in model.trainable_variables]
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            total = loss(targets, model(inputs, training=True)) + sum(model.losses)
        found = map(tf.convert_to_tensor, tape.gradient(total, [variable.value for variable in model.trainable_variables]))
    return [np.asarray(gradient) for gradient in found]
