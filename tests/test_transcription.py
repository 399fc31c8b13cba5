"""The benchmark's plain transcription computes the script's function, padding included."""
import keras
import numpy as np

from training import batches, objective, report
import data_utils
from benchmarks import transcription
import RN_bAbI
import WMemNN_bAbI



def random_stories(random, mx=4):
    """A Babi with sentences of different lengths and stories of up to mx facts."""
    facts = random.integers(1, 8, (10, mx)).astype("int32")
    facts[np.arange(mx) >= 1 + np.arange(10)[:, None] % mx] = 0
    stories = data_utils.Stories(facts, random.integers(0, 3, 10), random.integers(0, 5, 10).astype("int32"),
                                 np.ones(10, "int32"), np.zeros((10, mx), bool), np.arange(10, dtype="int32"))
    sentences, questions = (random.integers(1, 7, shape).astype("int32") for shape in ((8, 3), (3, 4)))
    sentences[0], sentences[1:3, 0], questions[0, :2] = 0, 0, 0
    return data_utils.Babi([f"word{i}" for i in range(6)], [f"answer{i}" for i in range(5)], sentences, questions, stories,
                           stories, stories, None, padding="read")


def test_transcription_is_the_same_function():
    random = np.random.default_rng(3)
    babi = random_stories(random)
    args = WMemNN_bAbI.parse_arguments(["5", "6", "4", "--hops", "3", "--heads", "2", "--relation-units", "7"])
    model, plain = WMemNN_bAbI.build_model(args, babi), transcription.build_transcription(args, babi)
    assert model.count_params() == plain.count_params()
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape, scale=0.5))
    transcription.copy_weights(model, plain)
    batch = batches.pack_stories(babi, babi.test, np.arange(10), [batches.Slots(48, 16, 16)])
    expected = keras.ops.convert_to_numpy(plain(list(transcription.padded_inputs(babi, babi.test))))
    np.testing.assert_allclose(model(batch), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sum(model.losses), sum(plain.losses), rtol=1e-5)
    loss = objective.SummedCrossentropy(32)
    probability = report.softmax(expected.astype("float64"))[np.arange(10), babi.test.answer]
    np.testing.assert_allclose(loss(babi.test.answer, expected), -32 * np.mean(np.log(np.clip(probability, 1e-7, 1))), rtol=1e-5)


def test_transcription_of_the_relation_network_is_the_same_function():
    random = np.random.default_rng(3)
    babi = random_stories(random)
    args = RN_bAbI.parse_arguments(["--padding", "read", "--embedding-units", "5", "--lstm-units", "6", "--mx", "4", "--g-units", "7,8,9",
                                    "--f-units", "5,11"])
    model, plain = RN_bAbI.build_model(args, babi), transcription.build_relation_transcription(args, babi)
    assert model.count_params() == plain.count_params()
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape, scale=0.8))
    transcription.copy_weights(model, plain)
    batch = batches.pack_stories(babi, babi.test, np.arange(10), pairs=True)
    expected = keras.ops.convert_to_numpy(plain(list(transcription.padded_inputs(babi, babi.test))))
    assert expected.std(axis=0).min() > 0.1  # the questions are told apart
    np.testing.assert_allclose(model(batch), expected, rtol=1e-4, atol=1e-4)
