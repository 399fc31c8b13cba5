"""What is not in the paper on NLVR: variants of images, and simulated sentences.

Of the sentences: what is found in the pixels, what is said of it, and whether that is true.
"""
import dataclasses
import itertools
import os
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageDraw

import data_utils
from data import crops
from helpers import small_nlvr
from training import nlvr_extensions, simulate_nlvr
from training.backend import keras

COLOURS = list(nlvr_extensions.COLOURS)


def test_words_are_left_out_in_training_alone():
    words = keras.Input((20,), dtype="int32")
    model = keras.Model(words, nlvr_extensions.without_some_words(words, 0.25))
    sentences = np.arange(20000, dtype="int32").reshape(1000, 20) + 1
    np.testing.assert_array_equal(model(sentences), sentences)
    left = np.asarray(model(sentences, training=True))
    assert np.all((left == sentences) | (left == 0)) and np.mean(left == 0) == pytest.approx(0.25, abs=0.02)


def draw(*items):
    """A box as the corpus has it, of items (colour, shape, size from 0, left, top) in pixels of the halved image."""
    image = Image.new("RGB", (100, 100), nlvr_extensions.BOX_COLOUR)
    pen = ImageDraw.Draw(image)
    for colour, shape, size, left, top in items:
        side, left, top, fill = 10 * (size + 1) - 1, 2 * left, 2 * top, nlvr_extensions.COLOURS[colour]
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
    every = list(itertools.product(COLOURS, simulate_nlvr.SHAPES, range(3)))
    boxes = [draw((*item, 3, 30), ("black", "circle", 0, 40, 2)) for item in every]
    for (colour, shape, size), items in zip(every, simulate_nlvr.find_items(np.stack(boxes))):
        small, item = items
        assert (small.colour, small.shape, small.size) == (COLOURS.index("black"), 1, 0)
        assert (item.colour, item.shape, item.size) == (COLOURS.index(colour), simulate_nlvr.SHAPES.index(shape), size)
        assert abs(item.left - 3) <= 1 and abs(item.top - 30) <= 1 and abs(item.bottom - 35 - 5 * size) <= 1


def test_no_item_of_the_released_images_is_near_another_shape(real_nlvr, monkeypatch):
    names = data_utils.find_images(real_nlvr, "dev", data_utils.read_examples(os.path.join(real_nlvr, "dev", "dev.json")))
    found, _ = crops.decode_images(real_nlvr, names[:400], "nearest")
    items = simulate_nlvr.find_items(found)
    assert {item.shape for box in items for item in box} == {0, 1, 2}
    for shift in (-0.06, 0.06):
        monkeypatch.setattr(simulate_nlvr, "FILLED", tuple(np.array(simulate_nlvr.FILLED) + shift))
        assert simulate_nlvr.find_items(found) == items


def test_a_tower_is_found_from_top_to_bottom():
    found, = simulate_nlvr.find_items(tower("yellow", "blue", "blue", "black")[None])
    assert [COLOURS[item.colour] for item in found] == ["yellow", "blue", "blue", "black"]
    assert {(item.shape, item.size) for item in found} == {(2, 1)}


BOXES = [draw(("yellow", "circle", 2, 2, 2), ("yellow", "square", 0, 20, 45), ("blue", "triangle", 1, 30, 10)),
         draw(("black", "square", 1, 20, 20), ("black", "triangle", 0, 40, 3)), draw()]
TOWERS = [tower("yellow", "blue"), tower("black", "black", "blue"), tower("yellow")]


@pytest.mark.parametrize("boxes, true, false", [
    (BOXES, ["there is a yellow circle", "there are exactly two triangle", "there is no big square",
             "there is a box with only black item", "a box with exactly two yellow object", "a box with only yellow and blue item",
             "a box with two item of two are black", "a box with three item of two different color", "a box with item of the same color",
             "a box with a yellow item and a blue item", "at least two black object", "two black item", "a grey box with two item",
             "a yellow item touching the base", "exactly one yellow item touching the edge", "a yellow circle not touching any edge"],
     ["there is no blue item", "there are at least three triangle", "there is a box with only blue item",
      "there is a blue circle", "each box with a yellow item", "there are exactly two black square", "three black item",
      "a box with three item of the same color", "a box with three item of two are blue", "a box with at least four item",
      "a black item touching the base", "a yellow circle touching any edge", "a blue item touching right edge of a box"]),
    (TOWERS, ["there is a tower with a blue block at the base", "there is a tower with a black block at the top",
              "a tower with a yellow block over a blue block", "a blue block beneath a black block", "a yellow tower",
              "there is exactly one tower with a yellow block at the base", "a tower with a black block in the middle",
              "two blue block as the base of a tower", "a tower with two black block stacked together",
              "a tower with three block and a black block at the top", "a tower with exactly one block is yellow",
              "a tower with the second block from the base is yellow", "a tower with one block",
              "a tower with a blue block at the base and a yellow block at the top"],
     ["there is a tower with a black block at the base", "there is a tower with a blue block over a yellow block",
      "there is no tower with only yellow block", "each tower with a blue block at the base", "a blue tower",
      "a tower with two yellow block stacked together", "a tower with a yellow block in the middle",
      "a tower with three block and a yellow block at the top", "a tower with exactly one block is blue",
      "three blue block as the base of a tower"])])
def test_statements_are_true_of_what_they_say(boxes, true, false):
    """Each is drawn before long; and whatever is drawn depends on the scene alone, not on when it is asked."""
    items = simulate_nlvr.find_items(np.stack(boxes))
    wanted = {**dict.fromkeys(true, True), **dict.fromkeys(false, False)}
    random, found = Random(1), {}
    for _ in range(200_000):
        words, test = simulate_nlvr.statement(random, boxes is TOWERS)
        if " ".join(words) in wanted:
            found[" ".join(words)] = bool(test(items))
    assert found == wanted


@pytest.mark.parametrize("boxes, true, false", [
    (BOXES, ["there is a yellow circle", "there is a blue triangle", "there is a big yellow item",
             "there is a yellow item touching the base", "there is a yellow item not touching the edge"],
     ["there is a blue circle", "there is a small blue item", "there is a black item touching a corner",
      "there is a black item touching the base"]),
    (TOWERS, ["there is a tower with a black block at the top", "there is a tower with a black block above a black block"],
     ["there is a tower with a blue block at the top", "there is a tower with a yellow block beneath a blue block"])])
def test_simple_statements_are_true_of_what_they_say(boxes, true, false):
    items = simulate_nlvr.find_items(np.stack(boxes))
    random, found = Random(1), {}
    for _ in range(20_000):
        words, test = simulate_nlvr.simple_statement(random, boxes is TOWERS)
        found[" ".join(words)] = bool(test(items))
    assert {text: found[text] for text in true + false} == {**dict.fromkeys(true, True), **dict.fromkeys(false, False)}


@pytest.fixture
def nlvr(tmp_path):
    return small_nlvr.load(small_nlvr.write_corpus(tmp_path / "nlvr", train=10, others=1))


def test_simulated_examples_say_new_things_of_the_same_images(nlvr):
    train, before = nlvr.splits["train"], nlvr.sentences
    simulated = simulate_nlvr.simulate(nlvr, train, 30, seed=4)
    assert len(simulated) == 30 * len(train) == 600 and 0.4 < simulated.label.mean() < 0.6
    np.testing.assert_array_equal(simulated.boxes.reshape(30, *train.boxes.shape), [train.boxes] * 30)
    np.testing.assert_array_equal(nlvr.sentences[:len(before)], before)
    assert simulated.sentence.tolist() == list(range(len(before), len(nlvr.sentences)))
    again = dataclasses.replace(nlvr, sentences=before)
    np.testing.assert_array_equal(simulate_nlvr.simulate(again, train, 30, seed=4).label, simulated.label)
    np.testing.assert_array_equal(again.sentences, nlvr.sentences)
    again = dataclasses.replace(nlvr, sentences=before)
    with_simple = simulate_nlvr.simulate(again, train, 30, seed=4, simple=2)
    assert len(with_simple) == 640
    np.testing.assert_array_equal(with_simple.label[:600], simulated.label)
    np.testing.assert_array_equal(again.sentences[:len(nlvr.sentences)], nlvr.sentences)
    assert max((row > 0).sum() for row in again.sentences[len(nlvr.sentences):]) <= 8
    both = train.join(simulated)
    assert len(both) == 620 and both.take([20]).identifiers == ["simulated-0"]
    np.testing.assert_array_equal(both.label, [*train.label, *simulated.label])


@pytest.mark.parametrize("sentences, expected", [
    ("authors", ["one", "yellow", "item"]), ("project", ["there", "is", "a", "yellow", data_utils.UNKNOWN, "item"])])
def test_simulated_sentences_follow_the_rules_of_the_corpus(tmp_path, monkeypatch, sentences, expected):
    nlvr = small_nlvr.load(small_nlvr.write_corpus(tmp_path / "nlvr", train=20, others=1), sentences=sentences)
    words = ["there", "is", "a", "yellow", "rhinoceros", "item"]
    monkeypatch.setattr(simulate_nlvr, "statement", lambda random, towers: (words, lambda boxes: random.random() < 0.5))
    simulated = simulate_nlvr.simulate(nlvr, nlvr.splits["train"], 1, seed=1)
    for row in nlvr.sentences[simulated.sentence]:
        assert [nlvr.words[number - 1] for number in row[-len(expected):]] == expected and not row[:-len(expected)].any()


# Variants of images


def test_exchanged_colours_are_those_of_the_scene_drawn_with_them(random=np.random.default_rng(5)):
    """Smooth edges included: scenes drawn large and reduced have mixtures of up to three colours."""
    names = list(nlvr_extensions.COLOURS)
    for exchange, order in enumerate(nlvr_extensions.EXCHANGES):
        points = random.integers(0, 400, (9, 3, 2))
        drawn = []
        for colours in (names, [names[i] for i in order]):
            image = Image.new("RGB", (400, 400), nlvr_extensions.BOX_COLOUR)
            draw = ImageDraw.Draw(image)
            for number, corners in enumerate(points):
                draw.polygon([tuple(corner) for corner in corners.tolist()], nlvr_extensions.COLOURS[colours[number % 3]])
            drawn.append(np.asarray(image.reduce(8)))
        assert len(np.unique(drawn[0].reshape(-1, 3), axis=0)) > 50
        changed = nlvr_extensions.exchange_colours(drawn[0], exchange)
        assert changed.dtype == np.uint8 and np.abs(changed.astype(int) - drawn[1]).max() <= 3  # rounding, enlarged


@pytest.fixture(scope="module")
def coloured():
    """A table of crops and sentences with all colours, and sides."""
    words = [data_utils.UNKNOWN, "black", "blue", "item", "right", "touching", "yellow"]
    sentences = np.array([[3, 4, 2, 4, 0], [7, 4, 6, 5, 0], [4, 6, 7, 7, 3]], np.int32)
    colours = np.array([*nlvr_extensions.COLOURS.values(), nlvr_extensions.BOX_COLOUR], np.uint8)
    crops = colours[np.random.default_rng(2).integers(4, size=(5, 50, 50))]
    return data_utils.Nlvr(words, sentences, crops, [], [], {}, "")


def test_words_and_boxes_are_exchanged_alike(coloured):
    """The variants of an image say the same: wherever a word's colour was in a box, the new word's colour is."""
    images = 300
    sentence, boxes = np.arange(images) % 3, np.arange(3 * images).reshape(-1, 3) % 5
    variants = nlvr_extensions.Variants(coloured)
    numbers = variants.draw(np.arange(images), sentence, boxes, np.random.default_rng(1))
    words = variants.take_sentences(numbers[0])
    crops = variants.take_crops(numbers[1].ravel()).reshape(-1, 3, 50, 50, 3)
    seen = set()
    for row in range(images):
        before, after = coloured.sentences[sentence[row]], words[row]
        exchanged = {coloured.words[a - 1]: coloured.words[b - 1] for a, b in zip(before, after) if a}
        seen.add(tuple(sorted(exchanged.items())))
        for place in range(3):
            old = coloured.crops[boxes[row, place]]
            choices = [crops[row, place]] + [crops[row, place][:, ::-1]] * (5 not in before)
            for a, b in exchanged.items():
                if a in nlvr_extensions.COLOURS:
                    where = (old == nlvr_extensions.COLOURS[a]).all(axis=-1)
                    choices = [new for new in choices if ((new == nlvr_extensions.COLOURS[b]).all(axis=-1) == where).all()]
                else:
                    assert a == b
            assert choices  # mirrored or not, but nowhere mirrored where the sentence speaks of a side
    assert len(seen) == 6 + 3 + 6  # all exchanges, of which the second sentence shows where one colour went


def test_what_is_said_of_the_same_images_has_their_variants(coloured):
    boxes = np.random.default_rng(3).integers(0, 5, (20, 3))
    example, sentence = np.tile(np.arange(20), 2), np.repeat([0, 2], 20)  # neither speaks of a side
    sentence, boxes = nlvr_extensions.Variants(coloured).draw(
        example, sentence, np.tile(boxes, (2, 1)), np.random.default_rng(4))
    np.testing.assert_array_equal(boxes[:20], boxes[20:])
    np.testing.assert_array_equal(sentence[:20] + 2, sentence[20:])


def examples_of(sentences, boxes):
    number = len(sentences)
    return data_utils.Examples(["1-1"] * number, ["1"] * number, np.array(sentences, np.int32), np.ones(number, np.float32),
                               boxes.astype(np.int32))


def test_colours_are_ordered_in_sentences_and_images_alike(coloured):
    """The third sentence names yellow and blue, which becomes black in it and in its images."""
    boxes = np.random.default_rng(6).integers(0, 5, (4, 6, 3))
    nlvr = dataclasses.replace(coloured, splits={"dev": examples_of([0, 1], boxes[:2])})
    ordered, (other,) = nlvr_extensions.order_colours(nlvr, examples_of([2, 0], boxes[2:]))
    words = [[ordered.words[number - 1] for number in row if number] for row in ordered.sentences]
    assert words == [["yellow", "item", "black", "item"], ["yellow", "item", "touching", "right"],
                     ["item", "touching", "yellow", "yellow", "black"]]
    becomes = [["blue", "black", "yellow"], ["yellow", "black", "blue"], ["yellow", "blue", "black"]]  # yellow, black and blue now
    for part, rows, first in ((ordered.splits["dev"], [0, 1], 0), (other, [2, 0], 2)):
        assert part.sentence.tolist() == rows
        for sentence, old, new in zip(rows, boxes[first:], part.boxes):
            for colour, now in zip(becomes[sentence], COLOURS):
                was, is_now = (crops == nlvr_extensions.COLOURS[name] for crops, name in
                               ((coloured.crops[old], colour), (ordered.crops[new], now)))
                np.testing.assert_array_equal(was.all(axis=-1), is_now.all(axis=-1))
    assert len(ordered.crops) == len(np.unique(np.concatenate([ordered.splits["dev"].boxes, other.boxes])))


def test_variants_leave_the_colours_that_ordered_sentences_name(coloured):
    boxes = np.random.default_rng(7).integers(0, 5, (3, 6, 3))
    ordered, _ = nlvr_extensions.order_colours(dataclasses.replace(coloured, splits={"dev": examples_of([0, 1, 2], boxes)}))
    variants, images = nlvr_extensions.Variants(ordered, ordered=True), 300
    sentence = np.arange(images) % 3
    numbers, crops = variants.draw(np.arange(images), sentence, np.zeros((images, 3), int), np.random.default_rng(8))
    np.testing.assert_array_equal(variants.take_sentences(numbers), ordered.sentences[sentence])
    exchanges = [{int(number) // (2 * len(ordered.crops)) for number in crops[sentence == row].ravel()} for row in range(3)]
    assert exchanges == [{0}, {0, 1}, {0}]  # yellow alone is named by the second: black and blue are still exchanged


def test_variants_by_number(coloured):
    crops = np.arange(5)
    variants = nlvr_extensions.Variants(coloured)
    mirrored = variants.take_crops(crops + 5)
    np.testing.assert_array_equal(mirrored[:, :, ::-1], coloured.crops)
    np.testing.assert_array_equal(variants.take_crops(crops), coloured.crops)
    np.testing.assert_array_equal(variants.take_sentences(np.arange(3)), coloured.sentences)
    without_blue = dataclasses.replace(coloured, words=[*coloured.words[:2], "box", *coloured.words[3:]])
    for exchange, order in enumerate(nlvr_extensions.EXCHANGES):
        to = {"yellow": 7, "black": 2, "blue": 1}[list(nlvr_extensions.COLOURS)[order[0]]]
        taken = nlvr_extensions.Variants(without_blue).take_sentences(np.array([2 + 3 * exchange]))
        assert taken.tolist() == [[4, 6, to, to, 3]]


def test_a_colour_that_training_does_not_name_is_dropped(coloured):
    """Where there is no number for unknown words either; what is before it moves up."""
    words = ["item", "yellow", "black"]
    sentences = np.array([[0, 3, 1, 2], [1, 2, 3, 3]], np.int32)
    nlvr = dataclasses.replace(coloured, words=words, sentences=sentences)
    for exchange, order in enumerate(nlvr_extensions.EXCHANGES):
        named = dict(zip(nlvr_extensions.COLOURS, (list(nlvr_extensions.COLOURS)[i] for i in order)))
        for row, taken in zip(sentences, nlvr_extensions.Variants(nlvr).take_sentences(np.array([0, 1]) + 2 * exchange)):
            new = [named.get(words[number - 1], words[number - 1]) for number in row if number]
            new = [words.index(word) + 1 for word in new if word != "blue"]
            assert taken.tolist() == [0] * (4 - len(new)) + new
