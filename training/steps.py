"""Several training steps in one call of what is compiled: to call it costs as much as a step of bAbI."""
from training.backend import keras


class StepsAtOnce(keras.Model):
    """A functional model whose training step takes several batches, laid end to end, and makes a step of Keras with each.

    Its loss has the attribute `batch_size`, which tells how many batches the answers are of.
    """

    def compile(self, **options):
        super().compile(**options)
        # Left to `fit`, they would be built with several batches as if these were one.
        answer, logits = keras.ops.zeros((1,), "int32"), keras.ops.zeros((1, self.output.shape[-1]))
        self.compute_loss(None, answer, logits)
        self.compute_metrics(None, answer, logits)
        self.reset_metrics()

    def train_step(self, *state_and_data):
        *state, data = state_and_data
        _, answers = data
        steps = -(-keras.ops.shape(answers)[0] // self.loss.batch_size)
        one_step = super().train_step
        data = keras.tree.map_structure(
            lambda array: keras.ops.reshape(array, (steps, keras.ops.shape(array)[0] // steps, *array.shape[1:])), data)
        if state:  # on JAX a step takes and gives the state
            def step(state, batch):
                logs, state = one_step(state, batch)
                return state, logs

            state, logs = keras.ops.scan(step, *state, data)
            return {name: of_steps[-1] for name, of_steps in logs.items()}, state

        def step(index, done):
            one_step(keras.tree.map_structure(lambda array: array[index], data))
            return done

        keras.ops.fori_loop(0, steps, step, 0)
        return self.get_metrics_result()
