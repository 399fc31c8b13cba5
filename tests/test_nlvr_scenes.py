"""Simulated sentences about NLVR scenes: what is found in the pixels, what is said of it, and whether that is true."""
import dataclasses
import itertools
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageDraw

import nlvr_data
import nlvr_scenes
import small_nlvr

COLOURS = list(nlvr_data.COLOURS)


def draw(*items):
    """A box as the corpus has it, of items (colour, shape, size from 0, left, top) in pixels of the halved image."""
    image = Image.new("RGB", (100, 100), nlvr_data.BOX_COLOUR)
    pen = ImageDraw.Draw(image)
    for colour, shape, size, left, top in items:
        side, left, top, fill = 10 * (size + 1) - 1, 2 * left, 2 * top, nlvr_data.COLOURS[colour]
        if shape == "square":
            pen.rectangle((left, top, left + side, top + side), fill)
        elif shape == "circle":
            pen.ellipse((left, top, left + side, top + side), fill)
        else:
            pen.polygon((left, top + side, left + side, top + side, left + side // 2, top), fill)
    return np.asarray(image.reduce(2))


def tower(*colours):
    """A tower of medium blocks, from the top."""
    return draw(*((colour, "square", 1, 20, 50 - 11 * (len(colours) - above)) for above, colour in enumerate(colours)))


def test_items_are_found_with_their_properties():
    every = list(itertools.product(COLOURS, nlvr_scenes.SHAPES, range(3)))
    boxes = [draw((*item, 3, 30), ("black", "circle", 0, 40, 2)) for item in every]
    for (colour, shape, size), items in zip(every, nlvr_scenes.find_items(np.stack(boxes))):
        small, item = items
        assert (small.colour, small.shape, small.size) == (COLOURS.index("black"), 1, 0)
        assert (item.colour, item.shape, item.size) == (COLOURS.index(colour), nlvr_scenes.SHAPES.index(shape), size)
        assert abs(item.left - 3) <= 1 and abs(item.top - 30) <= 1 and abs(item.bottom - 35 - 5 * size) <= 1


def test_a_tower_is_found_from_top_to_bottom():
    found, = nlvr_scenes.find_items(tower("yellow", "blue", "blue", "black")[None])
    assert [COLOURS[item.colour] for item in found] == ["yellow", "blue", "blue", "black"]
    assert {(item.shape, item.size) for item in found} == {(2, 1)}


BOXES = [draw(("yellow", "circle", 2, 2, 2), ("yellow", "square", 0, 20, 44), ("blue", "triangle", 1, 30, 10)),
         draw(("black", "square", 1, 20, 20), ("black", "triangle", 0, 40, 3)), draw()]
TOWERS = [tower("yellow", "blue"), tower("black", "black", "blue"), tower("yellow")]


@pytest.mark.parametrize("boxes, true, false", [
    (BOXES, ["there is a yellow circle", "there are exactly two triangle", "there is no big square",
             "there is a box with only black item", "there is a box with exactly two yellow item",
             "there is a box with item of two different color", "there is no yellow triangle",
             "there is a box with a yellow circle and a blue triangle", "there are at least two small item"],
     ["there is no blue item", "there are at least three triangle", "there is a box with only blue item",
      "there is a blue circle", "each box has a yellow item", "there are exactly two black square",
      "there is a box with item of three different color", "there are at least three small item"]),
    (TOWERS, ["there is a tower with a blue block at the base", "there is a tower with a black block at the top",
              "there is a tower with a yellow block over a blue block",
              "there is exactly one tower with a yellow block at the base",
              "there are exactly two blue block as the base of a tower with at least two block"],
     ["there is a tower with a black block at the base", "there is a tower with a blue block over a yellow block",
      "there is no tower with only yellow block", "each tower has a blue block at the base"])])
def test_statements_are_true_of_what_they_say(boxes, true, false):
    """Each is drawn before long; and whatever is drawn depends on the scene alone, not on when it is asked."""
    items = nlvr_scenes.find_items(np.stack(boxes))
    wanted = {**dict.fromkeys(true, True), **dict.fromkeys(false, False)}
    random, found = Random(1), {}
    for _ in range(60_000):
        words, test = nlvr_scenes.statement(random, boxes is TOWERS)
        if " ".join(words) in wanted:
            found[" ".join(words)] = bool(test(items))
    assert found == wanted


@pytest.fixture
def nlvr(tmp_path):
    return nlvr_data.load_nlvr(small_nlvr.write_corpus(tmp_path / "nlvr", train=10, others=1))


def test_simulated_examples_say_new_things_of_the_same_images(nlvr):
    train, before = nlvr.splits["train"], nlvr.sentences
    simulated = nlvr_scenes.simulate(nlvr, train, 30, seed=4)
    assert len(simulated) == 30 * len(train) == 600 and 0.4 < simulated.label.mean() < 0.6
    np.testing.assert_array_equal(simulated.boxes.reshape(30, *train.boxes.shape), [train.boxes] * 30)
    np.testing.assert_array_equal(nlvr.sentences[:len(before)], before)
    assert simulated.sentence.tolist() == list(range(len(before), len(nlvr.sentences)))
    again = dataclasses.replace(nlvr, sentences=before)
    np.testing.assert_array_equal(nlvr_scenes.simulate(again, train, 30, seed=4).label, simulated.label)
    np.testing.assert_array_equal(again.sentences, nlvr.sentences)
    both = train.join(simulated)
    assert len(both) == 620 and both.take([20]).identifiers == ["simulated-0"]
    np.testing.assert_array_equal(both.label, [*train.label, *simulated.label])


@pytest.mark.parametrize("sentences, expected", [
    ("authors", ["one", "yellow", "item"]), ("project", ["there", "is", "a", "yellow", nlvr_data.UNKNOWN, "item"])])
def test_simulated_sentences_follow_the_rules_of_the_corpus(tmp_path, monkeypatch, sentences, expected):
    nlvr = nlvr_data.load_nlvr(small_nlvr.write_corpus(tmp_path / "nlvr", train=20, others=1), sentences=sentences)
    words = ["there", "is", "a", "yellow", "rhinoceros", "item"]
    monkeypatch.setattr(nlvr_scenes, "statement", lambda random, towers: (words, lambda boxes: random.random() < 0.5))
    simulated = nlvr_scenes.simulate(nlvr, nlvr.splits["train"], 1, seed=1)
    for row in nlvr.sentences[simulated.sentence]:
        assert [nlvr.words[number - 1] for number in row[-len(expected):]] == expected and not row[:-len(expected)].any()
