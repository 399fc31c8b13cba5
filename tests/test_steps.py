"""Several training steps in one call are the steps one by one."""
import numpy as np
import pytest

import data_utils
import WMemNN_bAbI
from helpers import small_babi
from training import objective
from training.backend import keras
from training.batches import StoryBatches
from training.steps import StepsAtOnce

QUESTIONS, BATCH, AT_ONCE = 360, 32, 4  # twice four whole batches, three, and one of 8 questions


@pytest.fixture(scope="module")
def babi(tmp_path_factory):
    return data_utils.load_babi(small_babi.write_tasks(tmp_path_factory.mktemp("babi")), [1, 2], mx=5)


def train(babi, at_once, kind):
    """What an epoch gives: weights, and the mean loss and accuracy that Keras reports."""
    keras.utils.set_random_seed(3)
    args = WMemNN_bAbI.parse_arguments(["8", "8", "5", "--hops", "2", "--heads", "2", "--relation-units", "8"])
    network = WMemNN_bAbI.build_model(args, babi)
    model = kind(network.input, network.output)
    model.compile(optimizer=keras.optimizers.Adam(objective.learning_rate(args, 12, 12), epsilon=1e-8, global_clipnorm=40.0),
                  loss=objective.SummedCrossentropy(BATCH), metrics=["accuracy"], jit_compile=False)
    batches = StoryBatches(babi, babi.train.take(np.arange(QUESTIONS)), BATCH, [5], at_once=at_once)
    history = model.fit(batches, shuffle=False, verbose=0).history
    return network.get_weights(), history, int(model.optimizer.iterations)


def test_steps_at_once_are_those_one_by_one(babi):
    weights, history, steps = train(babi, AT_ONCE, StepsAtOnce)
    expected, expected_history, expected_steps = train(babi, 1, keras.Model)
    assert steps == expected_steps == 12
    for found, value in zip(weights, expected):
        np.testing.assert_allclose(found, value, rtol=1e-3, atol=2e-5)
    # Keras weighs a report by the number of answers, of which a last, smaller batch has fewer.
    assert history["accuracy"] == pytest.approx(expected_history["accuracy"])
    assert history["loss"] == pytest.approx(expected_history["loss"], rel=1e-4)


def test_batches_handed_out_together_are_those_handed_out_one_by_one(babi):
    stories = babi.train.take(np.arange(QUESTIONS))
    together, single = (StoryBatches(babi, stories, BATCH, [5], at_once=number) for number in (AT_ONCE, 1))
    assert len(together) == 4 and len(single) == together.steps == 12
    answers = [together[index][1] for index in range(4)]
    assert [len(of_call) for of_call in answers] == [128, 128, 96, 8]
    np.testing.assert_array_equal(np.concatenate(answers), np.concatenate([single[index][1] for index in range(12)]))
    batch = together[1][0]
    slots = len(batch.story_of_fact) // AT_ONCE
    for number in range(AT_ONCE):
        of_one = single[AT_ONCE + number][0]
        used = np.count_nonzero(of_one.story_of_fact >= 0)
        for name in ("story_of_fact", "time_of_fact", "count_of_fact", "sentence_of_fact"):
            found = getattr(batch, name)[number * slots:(number + 1) * slots]
            np.testing.assert_array_equal(found[:used], getattr(of_one, name)[:used])
            assert set(found[used:]) <= {-1 if name == "story_of_fact" else 0}
