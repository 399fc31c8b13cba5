"""The network for NLVR against what the authors' program computes, see original/README.md, and against what it starts from."""
import json
import os

import numpy as np
import pytest

import data_utils
import WMemNN_NLVR as script
from conftest import ROOT
from helpers.gradients import gradients
from original import draw
from training.backend import keras
from training.batches import pack_images
from training.objective import BinaryCrossentropy

ORIGINAL = os.path.join(ROOT, "tests", "original")
WORDS = 156


@pytest.fixture(scope="module")
def original():
    with open(os.path.join(ORIGINAL, "wmemnn_nlvr.json"), encoding="utf-8") as file:
        return json.load(file)


def build(sentences, *options, crops=np.zeros((1, 50, 50, 3), "float32")):
    """The model of the command line's defaults, for pixels that are normalised already; and its tables."""
    nlvr = data_utils.Nlvr([f"word {i}" for i in range(WORDS)], sentences, crops, [0.0] * 3, [1.0] * 3, {}, "")
    return script.build_model(script.parse_arguments(options), nlvr), nlvr


def weights(model):
    """The weights by the names of `draw.nlvr_shapes`, in that order."""
    boxes, encoder, controller, reasoning, hidden, answer = map(model.get_layer, (
        "box_encoder", "sentence_encoder", "visual_controller", "reasoning_module", "hidden", "answer"))
    found = [(layer.kernel, layer.bias) for layer in boxes.convolutions]
    found += [(encoder.embeddings, encoder.kernel, encoder.recurrent_kernel, encoder.bias)]
    perceptrons = [[controller.transition], *([attention, *attention.deeper] for attention in controller.attention),
                   [reasoning, *reasoning.deeper], [hidden], [answer]]
    found += [(layer.kernel, layer.bias) for perceptron in perceptrons for layer in perceptron]
    shapes = draw.nlvr_shapes()
    named = dict(zip(shapes, (weight for of_layer in found for weight in of_layer), strict=True))
    assert {name: tuple(weight.shape) for name, weight in named.items()} == shapes
    assert {id(weight) for weight in named.values()} == {id(weight) for weight in model.weights}
    return named


@pytest.mark.parametrize("in_front", [False, True])
def test_probability_loss_and_gradient_are_the_authors(original, in_front):
    """With padding to 50 words in the table, and with the padding that all sentences have in front of what is read."""
    sentences = np.array(original["sentences"], "int32")
    if in_front:
        sentences = sentences[:, np.flatnonzero(sentences.any(axis=0))[0]:]
    images = draw.images()
    model, nlvr = build(sentences, crops=images.reshape(-1, 50, 50, 3))
    values = draw.draw(draw.nlvr_shapes())
    values["V"] *= 0.2
    named = weights(model)
    for name, weight in named.items():
        weight.assign(values[name])
    box = np.arange(12).reshape(3, 4).T
    batch, label = pack_images(nlvr, np.arange(4), box), np.array(original["label"], "float32")[:, None]

    logits = model(batch)
    probability = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits)).ravel()
    np.testing.assert_allclose(probability, original["probability"], rtol=1e-4)
    penalty = float(sum(model.losses))
    assert penalty == pytest.approx(original["l2"], rel=1e-4)
    loss = BinaryCrossentropy()
    assert float(loss(label, logits)) + penalty == pytest.approx(original["loss"], rel=1e-4)

    of_weight = dict(zip((id(weight) for weight in model.trainable_variables), gradients(model, batch, label, loss)))
    found = draw.fingerprint({name: of_weight[id(weight)] for name, weight in named.items() if name[0] != "C"}, seed=2)
    for name, (size, projection) in original["gradient"].items():
        tolerance = 1e-3 if name[0] == "A" and name.endswith("3_b") else 1e-4  # a small difference of large numbers
        assert found[name] == pytest.approx([size, projection], abs=tolerance * size), name
    assert found.keys() == original["gradient"].keys()


# Initial values

NORMAL, TRUNCATED, UNIFORM = 3.0, 2.366, 1.8  # mean fourth power over the square of the variance


def glorot(shape, distribution, kernels=1):
    return (2 / (shape[0] + shape[1] / kernels)) ** 0.5, distribution


def start(name, shape, kind):
    """Deviation and distribution that a weight starts with, as the table of initial values has them."""
    plain = {"authors": NORMAL, "port": TRUNCATED, "uniform": UNIFORM}[kind]
    if name.startswith("C"):
        window = shape[0] * shape[1]
        return ((2 / (window * (shape[2] + shape[3]))) ** 0.5, UNIFORM) if kind == "uniform" \
            else ((2 / (window * shape[2])) ** 0.5, plain)
    if name == "E":
        return (0.05 / 3**0.5, UNIFORM) if kind == "uniform" else glorot(shape, plain)
    if name in "WU":
        if kind == "authors":
            return glorot(shape, NORMAL, kernels=3)
        return glorot(shape, TRUNCATED) if name == "W" else (shape[1] ** -0.5, NORMAL)  # its rows are orthonormal
    if name.startswith("g"):
        return glorot(shape, NORMAL if kind == "authors" else TRUNCATED)
    return glorot(shape, plain if name in ("t_W", "V") else UNIFORM)


@pytest.mark.parametrize("kind", ["authors", "port", "uniform"])
def test_every_weight_starts_with_its_deviation_and_distribution(kind):
    draws = []
    for seed in range(10):
        keras.utils.set_random_seed(seed)
        model, _ = build(np.zeros((1, 20), "int32"), "--start", kind)
        draws.append({name: keras.ops.convert_to_numpy(weight).astype(float) for name, weight in weights(model).items()})
    for name, shape in draw.nlvr_shapes().items():
        values = np.stack([of_seed[name] for of_seed in draws])
        if len(shape) == 1:
            assert not values.any(), name
            continue
        deviation, distribution = start(name, shape, kind)
        power = np.mean(values**4) / np.mean(values**2) ** 2
        assert np.mean(values**2) ** 0.5 == pytest.approx(deviation, rel=4 * (2 * values.size) ** -0.5), name
        assert power == pytest.approx(distribution, abs=0.02 + 4 * (24 / values.size) ** 0.5), name
        assert len(np.unique(values)) > 0.95 * values.size, name  # every seed draws anew
    for k in (1, 2):
        assert len({draws[0][f"A{k}{p}3_W"].tobytes() for p in (1, 2, 3)}) == 3  # and so does every layer


def test_deviations_of_the_authors_start():
    """The figures as they are known for the sizes of the paper."""
    shapes = draw.nlvr_shapes()
    for name, deviation in {"C1_W": 0.272, "C2_W": 0.096, "E": (2 / 257) ** 0.5, "W": (2 / 228) ** 0.5,
                            "U": (2 / 256) ** 0.5}.items():
        assert start(name, shapes[name], "authors")[0] == pytest.approx(deviation, abs=5e-4)
