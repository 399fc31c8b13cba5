"""Each layer against its equation in numpy, with masks, and through saving and loading. Runs on every backend."""
import keras
import numpy as np
import pytest
from keras import ops

import layers
from helpers import equations
from helpers.gradients import gradients
from training import babi_extensions

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(autouse=True)
def seeded(request):
    keras.utils.set_random_seed(7)
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.set_grad_enabled("gradient" in request.node.name):  # numpy reads no tensor that has one
        yield


@pytest.fixture
def random():
    return np.random.default_rng(7)


def arrays(layer):
    return [ops.convert_to_numpy(weight).astype(np.float64) for weight in layer.weights]


def enlarge(layer, random):
    """Give every weight a value of ordinary size, biases and embeddings too, so that each has a say."""
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape, scale=0.5))


def through_config(layer):
    """The layer made anew from its configuration in JSON."""
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))


# Sentence encoder and short-term storage


def padded_words(random, sentences=6, length=5, vocabulary=9):
    words = random.integers(1, vocabulary, (sentences, length)).astype("int32")
    for row, real in enumerate(random.integers(1, length + 1, sentences)):
        words[row, real:] = 0
    return words


CELLS = {"gru": equations.gru, "lstm": equations.lstm}


@pytest.mark.parametrize("cell", CELLS)
def test_sentence_encoder_is_the_cell_of_its_equation(random, cell):
    encoder, words = layers.SentenceEncoder(9, 4, 3, cell), padded_words(random)
    encoder(words)
    enlarge(encoder, random)
    expected = [CELLS[cell](sentence, *arrays(encoder)) for sentence in words]
    np.testing.assert_allclose(encoder(words), expected, **TOLERANCE)


def test_the_lstm_is_that_of_keras_with_its_forget_gate_open(random):
    encoder, words = layers.SentenceEncoder(9, 4, 3, "lstm"), padded_words(random)
    encoder(words)
    embeddings, *rest = arrays(encoder)
    np.testing.assert_array_equal(rest[2], [0] * 3 + [1] * 3 + [0] * 6)
    enlarge(encoder, random)
    embeddings, *rest = arrays(encoder)
    lstm = keras.layers.LSTM(3)
    lstm.build((None, 5, 4))
    lstm.set_weights(rest)
    np.testing.assert_allclose(encoder(words), lstm(embeddings[words].astype("float32"), mask=words != 0), **TOLERANCE)


def test_sentence_encoder_reads_any_leading_axes(random):
    encoder, words = layers.SentenceEncoder(9, 4, 3), padded_words(random)
    flat = ops.convert_to_numpy(encoder(words))
    np.testing.assert_allclose(encoder(words.reshape(2, 3, 5)), flat.reshape(2, 3, 3), **TOLERANCE)
    np.testing.assert_allclose(encoder(words[0]), flat[0], **TOLERANCE)


def test_padding_words_have_no_influence_wherever_they_stand(random):
    encoder, words = layers.SentenceEncoder(9, 4, 3), padded_words(random)
    state = ops.convert_to_numpy(encoder(words))
    in_front = np.stack([np.concatenate([row[row == 0], row[row != 0]]) for row in words])
    spread = np.zeros((len(words), 11), "int32")
    spread[:, 1::2] = words
    np.testing.assert_array_equal(encoder(in_front), state)
    np.testing.assert_array_equal(encoder(spread), state)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("padding", ["read", "zero"])
def test_padding_words_are_read_where_that_is_asked_for(random, cell, padding):
    encoder = layers.SentenceEncoder(9, 4, 3, cell, padding=padding, recurrent_activation="hard_sigmoid")
    words = padded_words(random)[:, ::-1].copy()
    encoder(words)
    enlarge(encoder, random)
    embeddings, *rest = arrays(encoder)
    rows = embeddings if padding == "read" else np.vstack([np.zeros(4), embeddings])
    assert rows.shape == (9, 4) and encoder.compute_mask(words) is None
    # Number 9 has the same row and is no padding, so that the equation reads it.
    expected = [CELLS[cell](np.where(sentence == 0, 9, sentence), np.vstack([rows, rows[0]]), *rest, gate=equations.hard_sigmoid)
                for sentence in words]
    np.testing.assert_allclose(encoder(words), expected, **TOLERANCE)
    in_front = layers.SentenceEncoder(9, 4, 3, cell, padding=padding, recurrent_activation="hard_sigmoid", padding_in_front=2)
    in_front.build(words.shape)
    in_front.set_weights(encoder.get_weights())
    np.testing.assert_allclose(in_front(words), encoder(np.pad(words, ((0, 0), (2, 0)))), **TOLERANCE)


@pytest.mark.parametrize("cell", CELLS)
def test_sentence_encoder_goes_on_from_a_state(random, cell):
    encoder, words = layers.SentenceEncoder(9, 4, 3, cell), random.integers(1, 9, (6, 5)).astype("int32")
    encoder(words)
    state = encoder.read(words[:, 3:], encoder.read(words[:, :3]))
    np.testing.assert_allclose(state[:, :3], encoder(words), **TOLERANCE)


class PlainEncoder(layers.SentenceEncoder):
    """The GRU word by word, with the backend's own gradient."""

    def read(self, words, initial_state=None):
        units, gate = self.units, layers.hard_sigmoid if self.recurrent_activation == "hard_sigmoid" else ops.sigmoid
        kernels = ops.split(ops.convert_to_tensor(self.recurrent_kernel), 3, axis=1)
        state = ops.zeros((words.shape[0], units)) if initial_state is None else initial_state
        for t in range(words.shape[1]):
            sums = ops.split(ops.matmul(ops.take(self.embeddings, words[:, t], axis=0), self.kernel) + self.bias, 3, axis=1)
            update, reset = (gate(x + ops.matmul(state, kernel)) for x, kernel in zip(sums, kernels[:2]))
            after = update * state + (1 - update) * ops.tanh(sums[2] + ops.matmul(reset * state, kernels[2]))
            state = ops.where(words[:, t:t + 1] != 0, after, state) if self.padding == "masked" else after
        return state


def assert_same_gradients(layer, plain, inputs, random):
    """A layer and a plain transcription of it, of the same weights, have the same gradient of weights and inputs."""
    inputs = [ops.convert_to_tensor(x) for x in inputs]
    learned = [keras.Variable(x) for x in inputs if keras.backend.is_float_dtype(x.dtype)]

    class Holder(keras.Model):
        """Holds the inputs as weights, so that they have a gradient too."""

        def __init__(self, held):
            super().__init__()
            self.held, self.learned, self.built = held, learned, True

        def call(self, inputs, training=None):
            values = iter(self.learned)
            return self.held(*(next(values) if keras.backend.is_float_dtype(x.dtype) else x for x in inputs))

    layer(*inputs), plain(*inputs)
    enlarge(layer, random)
    plain.set_weights(layer.get_weights())
    weights = random.normal(size=layer(*inputs).shape).astype("float32")
    found, expected = (gradients(Holder(held), inputs, weights, lambda weights, output: ops.sum(ops.convert_to_tensor(weights) * output))
                       for held in (layer, plain))
    assert len(found) == len(layer.trainable_weights) + len(learned)
    for ours, theirs in zip(found, expected):
        assert np.abs(theirs).max() > 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("padding", ["masked", "read", "zero"])
@pytest.mark.parametrize("cell", CELLS)
def test_sentences_with_their_beginnings_apart_are_the_same(random, cell, padding):
    """With few long sentences, and where all are long."""
    sentences = padded_words(random, sentences=6)[:, ::-1].copy()  # padding in front
    of_fact, time = np.array([2, 0, 2, 5, 1], "int32"), np.array([7, 8, 8, 7, 8], "int32")
    storage = layers.ShortTermStorage(layers.SentenceEncoder(9, 4, 3, cell, padding=padding))
    storage(sentences, of_fact, time)
    enlarge(storage, random)
    for longer in 0, 2, 6:
        sentences[:longer, 1], sentences[longer:, :2] = 3, 0
        beginnings = np.pad(sentences[:longer, :2], ((0, 3), (0, 0)))
        np.testing.assert_allclose(storage(sentences[:, 2:], of_fact, time, beginnings), storage(sentences, of_fact, time),
                                   **TOLERANCE)


@pytest.mark.parametrize("activation", ["hard_sigmoid", "sigmoid"])
@pytest.mark.parametrize("padding", ["masked", "read"])
def test_the_gradient_of_the_gru_is_that_of_the_backend(random, padding, activation):
    words = padded_words(random, sentences=20)
    of_fact, time = random.integers(0, 20, 9).astype("int32"), random.integers(0, 9, 9).astype("int32")
    ours, plain = (layers.ShortTermStorage(kind(9, 4, 3, padding=padding, recurrent_activation=activation))
                   for kind in (layers.SentenceEncoder, PlainEncoder))
    assert_same_gradients(ours, plain, [words, of_fact, time], random)


def test_sentence_encoder_masks_sentences_without_words(random):
    words = padded_words(random).reshape(2, 3, 5)
    words[1, 2] = 0
    mask = layers.SentenceEncoder(9, 4, 3).compute_mask(words)
    np.testing.assert_array_equal(mask, [[True] * 3, [True, True, False]])


@pytest.mark.parametrize("cell", CELLS)
def test_short_term_storage_reads_sentence_and_time_word(random, cell):
    encoder = layers.SentenceEncoder(12, 4, 3, cell)
    sentences = padded_words(random)
    of_fact, time = np.array([2, 0, 2, 5, 1], "int32"), np.array([9, 10, 11, 9, 10], "int32")
    storage = layers.ShortTermStorage(encoder)
    storage(sentences, of_fact, time)
    enlarge(encoder, random)
    expected = [CELLS[cell]([*sentences[row], word], *arrays(encoder)) for row, word in zip(of_fact, time)]
    np.testing.assert_allclose(storage(sentences, of_fact, time), expected, **TOLERANCE)


def test_word_reconstruction_is_its_equation(random):
    layer = babi_extensions.WordReconstruction(9)
    sentences, of_encoding = padded_words(random), np.array([2, 0, 2, 5, 1], "int32")
    encodings = random.normal(size=(5, 4)).astype("float32")
    layer(encodings, sentences, of_encoding)
    enlarge(layer, random)
    expected = [equations.word_reconstruction(h, sentences[row], *arrays(layer)) for h, row in zip(encodings, of_encoding)]
    np.testing.assert_allclose(layer(encodings, sentences, of_encoding), expected, **TOLERANCE)
    np.testing.assert_allclose(layer(encodings, sentences[of_encoding]), expected, **TOLERANCE)
    assert float(layer(encodings[:1], np.zeros_like(sentences[:1]))[0]) == 0


def test_word_overlap_points_to_the_facts_that_share_telling_words_with_the_question(random):
    sentences = np.array([[1, 2, 3, 0], [4, 2, 2, 5], [5, 2, 6, 7], [8, 2, 0, 0]], "int32")
    question = np.array([[2, 1, 5, 5, 0], [3, 2, 0, 0, 0], [6, 0, 0, 0, 0], [8, 4, 2, 0, 0]], "int32")
    stories = [[0, 1, 2, 1], [0, 0], [3, 1], [3, 1]]  # of the second, all facts have all words asked; of the third, none
    story = np.array([*np.repeat(range(4), [4, 2, 2, 2]), -1, 4], "int32")
    of_fact = np.array([*sum(stories, []), 0, 0], "int32")
    expected = [equations.word_overlap(asked, sentences[facts]) for asked, facts in zip(question, stories)]
    assert [p.sum() for p in expected] == pytest.approx([1, 0, 0, 1])
    np.testing.assert_allclose(babi_extensions.word_overlap(question, sentences, of_fact, story),
                               [*np.concatenate(expected), 0, 0], **TOLERANCE)


# Attention


def attention_and_stories(random, layer, units=4, lengths=(3, 1, 5)):
    """A layer with weights of ordinary size, queries, and the memories of each story."""
    memories = [random.normal(size=(length, units)).astype("float32") for length in lengths]
    query = random.normal(size=(len(lengths), units)).astype("float32")
    layer(np.concatenate(memories), query, story=np.repeat(np.arange(len(lengths)), lengths).astype("int32"))
    enlarge(layer, random)
    return query, memories


def pad(memories, slots):
    padded = np.zeros((len(memories), slots, memories[0].shape[1]), "float32")
    mask = np.zeros((len(memories), slots), bool)
    for row, story in enumerate(memories):
        padded[row, :len(story)], mask[row, :len(story)] = story, True
    return padded, mask


def test_attention_is_its_equation_in_both_layouts(random):
    attention = layers.MultiHeadMemoryAttention(3, 4)
    query, memories = attention_and_stories(random, attention)
    expected = [equations.hop(story, q, *arrays(attention)) for story, q in zip(memories, query)]
    story = np.repeat(np.arange(3), [len(m) for m in memories]).astype("int32")
    np.testing.assert_allclose(attention(np.concatenate(memories), query, story=story), expected, **TOLERANCE)
    padded, mask = pad(memories, 6)
    np.testing.assert_allclose(attention(padded, query, memories_mask=mask), expected, **TOLERANCE)


def test_a_slot_that_counts_is_as_many_equal_memories(random):
    attention = layers.MultiHeadMemoryAttention(3, 4)
    query, memories = attention_and_stories(random, attention)
    counts = [np.array([1, 3, 2]), np.array([4]), np.array([1, 0, 2, 5, 1])]
    repeated = [np.repeat(of_story, count, axis=0) for of_story, count in zip(memories, counts)]
    expected = [equations.hop(of_story, q, *arrays(attention)) for of_story, q in zip(repeated, query)]
    story = np.repeat(np.arange(3), [len(m) for m in memories]).astype("int32")
    laid, count = np.concatenate(memories), np.concatenate(counts).astype("int32")
    laid[count == 0] = 1e3  # what counts for nothing has no influence
    output, weights = attention.attend(laid, query, story=story, count=count)
    np.testing.assert_allclose(output, expected, **TOLERANCE)
    np.testing.assert_allclose(np.bincount(story, ops.convert_to_numpy(weights)[:, 0] * (count > 0)), 1, rtol=1e-5)
    padded, mask = pad(memories, 6)
    slots = np.zeros((3, 6), "int32")
    slots[mask] = count
    np.testing.assert_allclose(attention(padded, query, count=slots), expected, **TOLERANCE)
    controller = layers.AttentionalController(2, 3, 4)
    controller(laid, query, story=story)
    enlarge(controller, random)
    np.testing.assert_allclose(
        controller(laid, query, story=story, count=count),
        controller(np.concatenate(repeated), query, story=np.repeat(story, count)), **TOLERANCE)


def test_attend_gives_the_weights_that_make_the_output(random):
    attention = layers.MultiHeadMemoryAttention(3, 4)
    query, memories = attention_and_stories(random, attention)
    story = np.repeat(np.arange(3), [len(m) for m in memories]).astype("int32")
    output, weights = map(ops.convert_to_numpy, attention.attend(np.concatenate(memories), query, story=story))
    assert weights.shape == (9, 3) and weights.min() > 0
    for row, own in enumerate(memories):
        of_story = weights[story == row]
        np.testing.assert_allclose(of_story.sum(axis=0), 1, rtol=1e-5)
        attended = (of_story.T @ own).ravel() @ arrays(attention)[1]
        np.testing.assert_allclose(output[row], attended, **TOLERANCE)
    padded, mask = pad(memories, 6)
    _, of_slots = attention.attend(padded, query, memories_mask=mask)
    np.testing.assert_allclose(ops.convert_to_numpy(of_slots)[mask.ravel()], weights, **TOLERANCE)


def test_masked_facts_have_no_influence_whatever_stands_there(random):
    attention = layers.MultiHeadMemoryAttention(3, 4)
    query, memories = attention_and_stories(random, attention)
    padded, mask = pad(memories, 8)
    output = ops.convert_to_numpy(attention(padded, query, memories_mask=mask))
    filled = np.where(mask[:, :, None], padded, 1e3 * random.normal(size=padded.shape)).astype("float32")
    np.testing.assert_array_equal(attention(filled, query, memories_mask=mask), output)
    np.testing.assert_allclose(attention(padded[:, ::-1], query, memories_mask=mask[:, ::-1]), output, **TOLERANCE)
    more, more_mask = pad(memories, 20)
    np.testing.assert_allclose(attention(more, query, memories_mask=more_mask), output, **TOLERANCE)


def test_slots_of_no_story_are_ignored(random):
    attention = layers.MultiHeadMemoryAttention(3, 4)
    query, memories = attention_and_stories(random, attention)
    story = np.repeat(np.arange(3), [len(m) for m in memories]).astype("int32")
    output = attention(np.concatenate(memories), query, story=story)
    junk = 1e3 * random.normal(size=(4, 4)).astype("float32")
    laid = np.concatenate([junk[:2], *memories, junk[2:]])
    np.testing.assert_allclose(
        attention(laid, query, story=np.array([-1, 3, *story, 99, -5], "int32")), output, **TOLERANCE)


def test_masks_count_in_both_layouts(random):
    """The mask of an encoder reaches facts that lie end to end as well."""
    facts = padded_words(random, sentences=8)
    facts[[3, 6]] = 0
    encoder, story = layers.SentenceEncoder(9, 6, 4), np.repeat(np.arange(2), 4).astype("int32")
    query, of_pairs = random.normal(size=(2, 4)).astype("float32"), [(i, j) for i in range(8) for j in range(8) if i // 4 == j // 4]
    attention, reasoning = layers.MultiHeadMemoryAttention(3, 4), layers.RelationalReasoning([6, 5])
    padded, laid = encoder(facts.reshape(2, 4, 5)), encoder(facts)
    np.testing.assert_allclose(attention(laid, query, story=story), attention(padded, query), **TOLERANCE)
    first, second = np.array(of_pairs, "int32").T
    np.testing.assert_allclose(reasoning(laid, query, story=story, first=first, second=second), reasoning(padded, query),
                               **TOLERANCE)


def test_attention_without_facts_is_zero_and_finite(random):
    attention = layers.MultiHeadMemoryAttention(3, 4)
    query, memories = attention_and_stories(random, attention)
    padded, mask = pad(memories, 5)
    mask[1] = False
    np.testing.assert_array_equal(ops.convert_to_numpy(attention(padded, query, memories_mask=mask))[1], np.zeros(4))


def test_attention_stays_finite_for_large_scores(random):
    attention = layers.MultiHeadMemoryAttention(3, 4)
    query, memories = attention_and_stories(random, attention)
    padded, mask = pad(memories, 5)
    assert np.isfinite(ops.convert_to_numpy(attention(padded, 1e4 * query, memories_mask=mask))).all()


def test_encoder_masks_reach_the_attention(random):
    facts = padded_words(random, sentences=8).reshape(2, 4, 5)
    facts[1, 2:] = 0
    encoder, attention = layers.SentenceEncoder(9, 6, 4), layers.MultiHeadMemoryAttention(3, 4)
    query = random.normal(size=(2, 4)).astype("float32")
    output = ops.convert_to_numpy(attention(encoder(facts), query))
    shorter = ops.convert_to_numpy(attention(encoder(facts[1:, :2]), query[1:]))
    np.testing.assert_allclose(output[1:], shorter, **TOLERANCE)


def test_controller_fills_the_working_memory_buffer(random):
    controller = layers.AttentionalController(2, 3, 4)
    query, memories = attention_and_stories(random, controller)
    transition = [value for dense in controller.transition for value in arrays(dense)]
    hops = [arrays(attention) for attention in controller.attention]
    expected = [equations.controller(story, q, transition, hops) for story, q in zip(memories, query)]
    padded, mask = pad(memories, 6)
    np.testing.assert_allclose(controller(padded, query, memories_mask=mask), expected, **TOLERANCE)
    story = np.repeat(np.arange(3), [len(m) for m in memories]).astype("int32")
    np.testing.assert_allclose(controller(np.concatenate(memories), query, story=story), expected, **TOLERANCE)


# Images


@pytest.mark.parametrize("convolutions", [2, 4])
def test_box_encoder_makes_a_grid_of_memories(random, convolutions):
    encoder = layers.BoxEncoder(5, [120.0, 90.0, 60.0], [50.0, 40.0, 30.0], convolutions=convolutions)
    boxes = random.integers(0, 256, (2, 28, 22, 3)).astype("uint8")
    assert encoder(boxes).shape == encoder.compute_output_shape(boxes.shape) == (2, 4 * 3, 5)
    for weight in encoder.trainable_weights:
        weight.assign(random.normal(size=weight.shape, scale=0.5))
    expected = [equations.grid_of_memories(box, encoder.mean, encoder.deviation, *arrays(encoder)) for box in boxes]
    np.testing.assert_allclose(encoder(boxes), expected, rtol=1e-4, atol=1e-4)
    assert layers.BoxEncoder(24, [0] * 3, [1] * 3).compute_output_shape((7, 50, 50, 3)) == (7, 49, 24)


def perceptron(attention):
    by_name = {weight.path.split(f"{attention.name}/")[-1]: ops.convert_to_numpy(weight) for weight in attention.weights}
    return [(by_name["layer_1_kernel"], by_name["layer_1_bias"])] + [
        (by_name[f"layer_{i}/kernel"], by_name[f"layer_{i}/bias"]) for i in range(2, len(attention.units) + 2)]


@pytest.mark.parametrize("heads, scores, activation", [(1, "tanh", np.tanh), (3, "linear", np.array)])
def test_perceptron_attention_is_its_equation(random, heads, scores, activation):
    attention = layers.PerceptronAttention([6, 5], heads=heads, scores=scores)
    memories = random.normal(size=(3, 7, 4)).astype("float32")
    query = random.normal(size=(3, 2)).astype("float32")
    attention(memories, query)
    enlarge(attention, random)
    expected = [equations.look(m, q, perceptron(attention), activation) for m, q in zip(memories, query)]
    np.testing.assert_allclose(attention(memories, query), expected, **TOLERANCE)
    weights = [equations.look_weights(m, q, perceptron(attention), activation) for m, q in zip(memories, query)]
    np.testing.assert_allclose(attention.attend(memories, query)[1], weights, **TOLERANCE)
    assert attention.compute_output_shape(memories.shape, query.shape) == (3, heads * 4)


@pytest.mark.parametrize("shared", [False, True])
def test_visual_controller_looks_at_each_box_of_each_image(random, shared):
    controller = layers.VisualController(2, 3, [6, 5], shared)
    memories = random.normal(size=(5, 7, 4)).astype("float32")
    sentences = random.normal(size=(2, 3)).astype("float32")
    lists = 1 if shared else 3
    box_of_look = random.integers(0, 5, (6, lists)).astype("int32")
    sentence_of_look = np.tile(np.arange(6) % 2, (lists, 1)).T.astype("int32")
    sentence_of_image = random.integers(0, 2, 4)
    look_of_image = (2 * random.integers(0, 3, (4, 3)) + sentence_of_image[:, None]).astype("int32")
    inputs = memories, sentences, box_of_look, sentence_of_look, look_of_image
    controller(*inputs)
    enlarge(controller, random)
    perceptrons = np.empty((2, 3), object)
    for k in range(2):
        for place in range(3):
            perceptrons[k, place] = perceptron(controller.attention[k if shared else 3 * k + place])
    transition = arrays(controller.transition)
    expected = [equations.visual_controller(
        [memories[box_of_look[look, place % lists]] for place, look in enumerate(looks)], sentences[sentence], transition,
        perceptrons) for looks, sentence in zip(look_of_image, sentence_of_image)]
    np.testing.assert_allclose(controller(*inputs), expected, **TOLERANCE)
    buffer, weights = controller.attend(*inputs)
    np.testing.assert_allclose(buffer, expected, **TOLERANCE)
    for image, (looks, sentence) in enumerate(zip(look_of_image, sentence_of_image)):
        for place, look in enumerate(looks):
            after_first = np.maximum(expected[image][place] @ transition[0] + transition[1], 0.0)
            for k, query in enumerate((sentences[sentence], after_first)):
                np.testing.assert_allclose(weights[image, 3 * k + place], equations.look_weights(
                    memories[box_of_look[look, place % lists]], query, perceptrons[k, place]), **TOLERANCE)


# Reasoning


def reasoning_and_objects(random, number=4):
    reasoning = layers.RelationalReasoning([6, 5, 7])
    objects = random.normal(size=(3, number, 4)).astype("float32")
    condition = random.normal(size=(3, 2)).astype("float32")
    reasoning(objects, condition)
    enlarge(reasoning, random)
    by_name = {weight.path.split("/", maxsplit=1)[1]: ops.convert_to_numpy(weight) for weight in reasoning.weights}
    g = [(by_name["g_1_kernel"], by_name["g_1_bias"])] + [
        (by_name[f"g_{i}/kernel"], by_name[f"g_{i}/bias"]) for i in (2, 3)]
    return reasoning, objects, condition, g


def test_reasoning_is_the_sum_of_g_over_all_pairs(random):
    reasoning, objects, condition, g = reasoning_and_objects(random)
    expected = [equations.relations(o, u, g) for o, u in zip(objects, condition)]
    np.testing.assert_allclose(reasoning(objects, condition), expected, rtol=1e-5, atol=1e-4)


def test_reasoning_leaves_masked_objects_out(random):
    reasoning, objects, condition, g = reasoning_and_objects(random)
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], bool)
    expected = [equations.relations(o[m], u, g) + np.zeros(7) for o, u, m in zip(objects, condition, mask)]
    output = ops.convert_to_numpy(reasoning(objects, condition, objects_mask=mask))
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-4)
    filled = np.where(mask[:, :, None], objects, 50.0).astype("float32")
    np.testing.assert_array_equal(reasoning(filled, condition, objects_mask=mask), output)


def test_reasoning_over_listed_pairs_is_the_double_loop_over_each_story(random):
    """Stories of different lengths end to end, one without objects, with slots of no story and of no pair between them."""
    reasoning, objects, condition, g = reasoning_and_objects(random, number=4)
    lengths, story = [3, 0, 4], np.array([0, 0, 0, -1, 2, 2, 2, 2, -1], "int32")
    laid = np.full((9, 4), 50.0, "float32")
    laid[story >= 0] = np.concatenate([o[:length] for o, length in zip(objects, lengths)])
    pairs = [(i, j) for i in range(9) for j in range(9) if story[i] == story[j] >= 0]
    first, second = np.array(pairs[:7] + [(-1, -1)] * 3 + pairs[7:], "int32").T
    expected = [equations.relations(o[:length], u, g) + np.zeros(7)
                for o, u, length in zip(objects, condition, lengths)]
    np.testing.assert_allclose(reasoning(laid, condition, story=story, first=first, second=second), expected,
                               rtol=1e-5, atol=1e-4)


def test_products_in_bfloat16_are_summed_as_precisely_as_without(random):
    """bfloat16 has 8 bits: a sum of 10,000 equal numbers in it would stop at 256 times the number."""
    reasoning, objects, condition, _ = reasoning_and_objects(random)
    mixed = layers.RelationalReasoning.from_config({**reasoning.get_config(), "dtype": "mixed_bfloat16"})
    alike = np.repeat(objects[:, :1], 100, axis=1)
    mixed(alike, condition)
    mixed.set_weights(reasoning.get_weights())
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in mixed.weights} == {"float32"}
    near = {"rtol": 0.05, "atol": 100}
    np.testing.assert_allclose(ops.cast(mixed(alike, condition), "float32"), reasoning(alike, condition), **near)
    laid, story = alike.reshape(300, -1), np.repeat(np.arange(3, dtype="int32"), 100)
    first, second = (100 * np.arange(3)[:, None, None] + np.indices((100, 100)).reshape(2, 1, -1).swapaxes(0, 1)
                     ).swapaxes(0, 1).reshape(2, -1).astype("int32")
    pairs = {"story": story, "first": first, "second": second}
    np.testing.assert_allclose(
        ops.cast(mixed(laid, condition, **pairs), "float32"), reasoning(laid, condition, **pairs), **near)


def test_a_slot_that_counts_is_as_many_equal_objects(random):
    reasoning, objects, condition, g = reasoning_and_objects(random)
    count = np.array([[1, 2, 3, 1], [4, 0, 0, 1], [1, 1, 1, 1]], "int32")
    expected = [equations.relations(np.repeat(o, c, axis=0), u, g) for o, u, c in zip(objects, condition, count)]
    np.testing.assert_allclose(reasoning(objects, condition, count=count), expected, rtol=1e-5, atol=1e-4)
    first, second = np.array([(i, j) for i in range(12) for j in range(12) if i // 4 == j // 4], "int32").T
    laid = reasoning(objects.reshape(-1, 4), condition, story=np.repeat(np.arange(3), 4).astype("int32"), first=first,
                     second=second, count=count.ravel())
    np.testing.assert_allclose(laid, expected, rtol=1e-5, atol=1e-4)


def test_a_step_down_the_gradient_is_the_same_in_both_layouts(random):
    """Both layouts of the reasoning layer change the objects' encoder by the same gradient."""
    reasoning, objects, condition, _ = reasoning_and_objects(random)
    pairs = [(i, j) for i in range(12) for j in range(12) if i // 4 == j // 4]
    first, second = np.array(pairs, "int32").T
    padded, laid = keras.Input((4, 4)), keras.Input((4,))
    after = []
    for features, relations, inputs in (
            (padded, lambda x, u: reasoning(x, u), [padded, keras.Input((2,))]),
            (laid, lambda x, u: reasoning(x, u, story=np.repeat(np.arange(3), 4).astype("int32"), first=first,
                                          second=second), [laid, keras.Input((2,))])):
        dense = keras.layers.Dense(4, use_bias=False, kernel_initializer="identity")
        model = keras.Model(inputs, relations(dense(features), inputs[1]))
        model.compile(keras.optimizers.SGD(1e-4), "mse", jit_compile=False)
        batch = objects if features is padded else objects.reshape(-1, 4)
        reasoning.trainable = False
        model.train_on_batch([batch, condition], np.zeros((3, 7), "float32"))
        after.append(ops.convert_to_numpy(dense.kernel))
    assert np.abs(after[0] - np.eye(4)).max() > 1e-3
    np.testing.assert_allclose(after[0], after[1], rtol=1e-4, atol=1e-6)


# Configuration, gradients, bad arguments


def all_layers():
    l2 = keras.regularizers.L2(1e-3)
    words, vector = (lambda: keras.Input((5,), dtype="int32")), (lambda: keras.Input((4,)))
    number = (lambda: keras.Input((), dtype="int32"))
    memories = (lambda: keras.Input((6, 4)))
    three = (lambda: keras.Input((3,), dtype="int32"))
    encoder = layers.SentenceEncoder(9, 3, 4)
    return {
        "encoder": (layers.SentenceEncoder(9, 3, 4), [words]),
        "lstm encoder": (layers.SentenceEncoder(9, 3, 4, "lstm", keras.initializers.RandomUniform(-1.0, 1.0)), [words]),
        "reading encoder": (layers.SentenceEncoder(9, 3, 4, kernel_initializer="glorot_normal", padding="zero",
                                                   recurrent_activation="sigmoid", padding_in_front=2), [words]),
        "storage": (layers.ShortTermStorage(encoder), [words, number, number]),
        "reconstruction": (babi_extensions.WordReconstruction(9), [vector, words]),
        "attention": (layers.MultiHeadMemoryAttention(3, 4, l2), [memories, vector]),
        "controller": (layers.AttentionalController(2, 3, 4, l2), [memories, vector]),
        "reasoning": (layers.RelationalReasoning([6, 5], l2), [memories, vector]),
        "box encoder": (layers.BoxEncoder(4, [1.0] * 3, [2.0] * 3, convolutions=3), [lambda: keras.Input((15, 15, 3))]),
        "perceptron": (layers.PerceptronAttention([6, 5], l2), [memories, vector]),
        "visual": (layers.VisualController(2, 3, [6, 5], False, l2), [memories, vector, three, three, three]),
        "visual with heads": (layers.VisualController(2, 3, [6, 5], False, l2, 2, "linear"),
                              [memories, vector, three, three, three]),
    }


def batch_of(inputs, random):
    """Four random rows for each input."""
    return [random.integers(0, 4, (4, *i.shape[1:])).astype("int32") if i.dtype == "int32"
            else random.normal(size=(4, *i.shape[1:])).astype("float32") for i in inputs]


LAYERS = ["encoder", "lstm encoder", "reading encoder", "storage", "reconstruction", "attention", "controller", "reasoning", "box encoder",
          "perceptron", "visual", "visual with heads"]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_survive_saving_and_loading(name, tmp_path, random):
    layer, makers = all_layers()[name]
    inputs = [make() for make in makers]
    model = keras.Model(inputs, layer(*inputs))
    enlarge(layer, random)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    batch = batch_of(inputs, random)
    np.testing.assert_array_equal(loaded(batch), model(batch))
    assert [loss.shape for loss in loaded.losses] == [loss.shape for loss in model.losses]
    assert through_config(layer).get_config() == layer.get_config()


def test_l2_is_on_the_kernels_of_attention_and_reasoning_alone():
    for name, kernels in {"encoder": 0, "attention": 2, "controller": 2 + 2 * 2, "reasoning": 2,
                          "box encoder": 0, "perceptron": 3, "visual": 2 * 3 * 3 + 1}.items():
        layer, makers = all_layers()[name]
        layer(*[make() for make in makers])
        assert len(layer.losses) == kernels


@pytest.mark.parametrize("distribution, largest", [("normal", 3.5), ("uniform", np.sqrt(3))])
def test_glorot_draws_each_kernel_as_if_it_stood_alone(distribution, largest):
    drawn = ops.convert_to_numpy(layers.Glorot(distribution, kernels=3, seed=1)((30, 90)))
    alone = np.sqrt(2 / (30 + 30))
    assert drawn.std() == pytest.approx(alone, rel=0.05)
    assert 0.9 * largest * alone < np.abs(drawn).max() <= (largest if distribution == "uniform" else np.inf) * alone
    assert len({gate.tobytes() for gate in np.split(drawn, 3, axis=1)}) == 3
    with pytest.raises(ValueError, match="'normal' or 'uniform', not 'cauchy'"):
        layers.Glorot("cauchy")


def test_initial_values_have_the_scale_of_the_paper():
    attention = layers.MultiHeadMemoryAttention(8, 30)
    attention.build((None, None, 30), (None, 30))
    head_kernels = ops.convert_to_numpy(attention.head_kernels)
    limit = np.sqrt(6 / 60)  # glorot_uniform of a 30 x 30 matrix
    assert 0.98 * limit < np.abs(head_kernels).max() <= limit
    np.testing.assert_allclose(ops.convert_to_numpy(attention.output_kernel).std(), np.sqrt(2 / 270), rtol=0.1)
    encoder = layers.SentenceEncoder(50, 30, 30)
    encoder.build((None, 5))
    for weight, deviation in ((encoder.embeddings, np.sqrt(2 / 80)), (encoder.kernel, np.sqrt(2 / 60)),
                              (encoder.recurrent_kernel, np.sqrt(2 / 60))):
        np.testing.assert_allclose(ops.convert_to_numpy(weight).std(), deviation, rtol=0.1)
    encoder = layers.SentenceEncoder(50, 30, 30, recurrent_initializer="orthogonal")
    encoder.build((None, 5))
    recurrent = ops.convert_to_numpy(encoder.recurrent_kernel)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(30), atol=1e-5)


@pytest.mark.parametrize("make", [
    lambda: layers.SentenceEncoder(0, 3, 4), lambda: layers.SentenceEncoder(9, 3, -1), lambda: layers.SentenceEncoder(9, 3, True),
    lambda: babi_extensions.WordReconstruction(0),
    lambda: layers.MultiHeadMemoryAttention(2.5, 4), lambda: layers.AttentionalController(0, 3, 4),
    lambda: layers.RelationalReasoning([]), lambda: layers.RelationalReasoning([6, 0]),
    lambda: layers.PerceptronAttention([]), lambda: layers.VisualController(2, 0), lambda: layers.BoxEncoder(2, [0], [1]),
    lambda: layers.BoxEncoder(4, [0], [1], convolutions=1)])
def test_sizes_below_one_are_refused(make):
    with pytest.raises(ValueError, match="whole number from 1 up"):
        make()


def test_wrong_shapes_are_refused_with_the_offending_value():
    with pytest.raises(ValueError, match="units = 4, not 5"):
        layers.MultiHeadMemoryAttention(3, 4)(np.zeros((2, 6, 5), "float32"), np.zeros((2, 4), "float32"))
    with pytest.raises(ValueError, match="need story"):
        layers.MultiHeadMemoryAttention(3, 4)(np.zeros((6, 4), "float32"), np.zeros((2, 4), "float32"))
    with pytest.raises(ValueError, match="need story, first and second"):
        layers.RelationalReasoning([5])(np.zeros((6, 4), "float32"), np.zeros((2, 4), "float32"))
    with pytest.raises(ValueError, match="'gru' or 'lstm', not 'rnn'"):
        layers.SentenceEncoder(9, 3, 4, cell="rnn")
    with pytest.raises(ValueError, match="'masked', 'read' or 'zero', not 'left'"):
        layers.SentenceEncoder(9, 3, 4, padding="left")
    with pytest.raises(ValueError, match="'hard_sigmoid' or 'sigmoid', not 'relu'"):
        layers.SentenceEncoder(9, 3, 4, recurrent_activation="relu")
    with pytest.raises(ValueError, match="3 means and deviations, not 1 and 1"):
        layers.BoxEncoder(4, [0], [1])(np.zeros((2, 50, 50, 3), "uint8"))
    with pytest.raises(ValueError, match="at least 9 x 9 pixels"):
        layers.BoxEncoder(4, [0], [1])(np.zeros((2, 50, 8, 1), "uint8"))
    with pytest.raises(ValueError, match="static"):
        layers.SentenceEncoder(9, 3, 4)(keras.Input((None,), dtype="int32"))
    with pytest.raises(ValueError, match="static"):
        babi_extensions.WordReconstruction(9)(keras.Input((4,)), keras.Input((None,), dtype="int32"))
    with pytest.raises(ValueError, match="static"):
        layers.BoxEncoder(4, [0], [1])(keras.Input((None, 50, 1)))


def test_wrong_shapes_are_refused_while_a_functional_model_is_made():
    facts, query = keras.Input((4,)), keras.Input((4,))
    with pytest.raises(ValueError, match="need story"):
        layers.MultiHeadMemoryAttention(3, 4)(facts, query)
    with pytest.raises(ValueError, match="need story"):
        layers.AttentionalController(2, 3, 4)(facts, query)
    with pytest.raises(ValueError, match="units = 4, not 5"):
        layers.AttentionalController(2, 3, 4)(keras.Input((6, 4)), keras.Input((5,)))
    with pytest.raises(ValueError, match="need story, first and second"):
        layers.RelationalReasoning([5])(facts, query)


ANY_TYPE = ["uint8", "int8", "int64", "float32"]


@pytest.mark.parametrize("dtype", ANY_TYPE)
def test_numbers_may_be_of_any_type(random, dtype):
    """Of words, rows and stories, as keras.layers.Embedding takes them; float32 is that of an input without a dtype."""
    words, of_fact = padded_words(random), np.array([2, 0, 2, 5, 1])
    encoder = layers.SentenceEncoder(12, 4, 3)
    np.testing.assert_array_equal(encoder(words.astype(dtype)), encoder(words))
    storage = layers.ShortTermStorage(layers.SentenceEncoder(12, 4, 3))
    of_facts = of_fact, of_fact + 6
    expected = storage(words, *(x.astype("int32") for x in of_facts))
    np.testing.assert_array_equal(storage(words.astype(dtype), *(x.astype(dtype) for x in of_facts)), expected)
    memories, query = random.normal(size=(5, 4)).astype("float32"), random.normal(size=(2, 4)).astype("float32")
    story, pairs = np.array([0, 0, 1, 1, 1]), np.array([(0, 1), (2, 2), (4, 3)]).T
    attention, reasoning = layers.MultiHeadMemoryAttention(3, 4), layers.RelationalReasoning([6])

    def both(kind):
        return (attention(memories, query, story=story.astype(kind), count=(story + 1).astype(kind)),
                reasoning(memories, query, story=story.astype(kind), first=pairs[0].astype(kind), second=pairs[1].astype(kind)))

    for given, as_int32 in zip(both(dtype), both("int32")):
        np.testing.assert_array_equal(given, as_int32)


def test_what_does_not_belong_together_is_refused_when_it_is_called(random):
    """In both layouts, also by layers that are built: nothing is dropped, repeated or left at zero."""
    attention, reasoning = layers.MultiHeadMemoryAttention(3, 4), layers.RelationalReasoning([6])
    query, memories = random.normal(size=(2, 4)).astype("float32"), random.normal(size=(2, 3, 4)).astype("float32")
    laid, story = memories.reshape(6, 4), np.repeat([0, 1], 3).astype("int32")
    pairs = {"first": np.array([0, 3], "int32"), "second": np.array([1, 4], "int32")}
    attention(memories, query), reasoning(memories, query)
    ones, mask = np.ones((2, 3), "int32"), np.ones((2, 3), bool)
    for layer, argument in (attention, "memories_mask"), (reasoning, "objects_mask"):
        listed = pairs if layer is reasoning else {}
        for inputs, more, reason in [
                ((memories, query[:1]), {}, "stories of the batch have one size"),
                ((memories[:1], query), {}, "stories of the batch have one size"),
                ((memories, query), {"count": ones[:1]}, "stories of the batch have one size"),
                ((memories, query), {"count": ones[:, :2]}, "of a story have one size"),
                ((memories, query), {argument: mask[:, :2]}, "of a story have one size"),
                ((memories, query), {"story": story, **listed}, "leave"),
                ((laid, query), {"story": story[:5], **listed}, "have one size"),
                ((laid, query), {"story": story, "count": np.ones(5, "int32"), **listed}, "have one size"),
                ((laid, query), {"story": story, argument: np.ones(1, bool), **listed}, "have one size")]:
            with pytest.raises(ValueError, match=reason):
                layer(*inputs, **more)
    with pytest.raises(ValueError, match="the pairs have one size, not first 2, second 1"):
        reasoning(laid, query, story=story, first=pairs["first"], second=pairs["second"][:1])
    storage = layers.ShortTermStorage(layers.SentenceEncoder(9, 4, 3))
    with pytest.raises(ValueError, match="the facts have one size, not sentence_of_fact 3, time_of_fact 1"):
        storage(padded_words(random), np.zeros(3, "int32"), np.zeros(1, "int32"))
    with pytest.raises(ValueError, match="the looks have one size"):
        layers.PerceptronAttention([6])(memories, query[:1])
    looks = np.zeros((4, 3), "int32")
    for of_look, of_image, reason in ((looks[:2], looks, "the looks have one size"), (looks[:, :2], looks, "is 3, not 2"),
                                      (looks, looks[:, :1], "the last axis of look_of_image is 3, not 1")):
        with pytest.raises(ValueError, match=reason):
            layers.VisualController(2, 3, [6])(memories, query, looks, of_look, of_image)


def test_sizes_may_be_numbers_of_numpy():
    encoder = layers.SentenceEncoder(np.int64(9), np.int32(3), 4)
    assert through_config(encoder).get_config() == encoder.get_config()


@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_in_the_dtype_of_their_policy(name, random):
    """Whether the policy is that of the layer alone, or of all."""
    policy = "mixed_float16"
    layer, makers = all_layers()[name]
    batch = batch_of([make() for make in makers], random)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        under_policy, _ = all_layers()[name]
    finally:
        keras.config.set_dtype_policy(before)
    alone = type(layer).from_config({**layer.get_config(), "dtype": policy})
    for mixed in [under_policy] if name == "storage" else [under_policy, alone]:  # storage has the dtype of its encoder
        output = mixed(*batch)
        assert keras.backend.standardize_dtype(output.dtype) == "float16"
        assert {weight.dtype for weight in mixed.weights} == {"float32"}
