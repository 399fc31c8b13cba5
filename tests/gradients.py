"""The gradient of a model's loss as its training takes it, penalties included, on either backend."""
import keras
import numpy as np


def gradients(model, inputs, targets, loss):
    """The gradient of `loss(targets, model(inputs))` and the model's penalties with respect to each trainable variable.

    Returns:
        list of np.ndarray, in the order of `model.trainable_variables`.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            total = loss(targets, model(inputs, training=True)) + sum(model.losses)
        found = tape.gradient(total, [variable.value for variable in model.trainable_variables])
        return [np.array(tf.convert_to_tensor(gradient)) for gradient in found]
    import jax

    fixed = [variable.value for variable in model.non_trainable_variables]

    def total(trainable):
        outputs, _, penalties = model.stateless_call(trainable, fixed, inputs, training=True, return_losses=True)
        return loss(targets, outputs) + sum(penalties)

    return [np.array(gradient) for gradient in jax.grad(total)([variable.value for variable in model.trainable_variables])]
