"""Simulated sentences about the scenes of NLVR's training images, with their truth.

The scenes are flat: an item is a connected region of one of three colours, and its size and the share of its bounding box that
it fills tell its shape. So the items of a box can be read from its pixels, and a sentence made at random can be checked against
them. The forms of the sentences, and how often each is drawn, were written down after reading the training sentences; what
the words mean was checked against the training labels. Nothing of dev or test was used.
"""
import itertools
from random import Random
from typing import NamedTuple

import numpy as np

import data_utils
from training.nlvr_extensions import COLOURS, colour_shares

SHAPES = ("triangle", "circle", "square")
FILLED = (0.68, 0.9)  # between the three shapes, as a share of the square around an item
SIDE = 5  # pixels of a small item; a medium one has twice as many, a big one three times
PLACES = {"bottom": ("the base", "the bottom", "the bottom of a box"), "top": ("the top", "the roof of a box"),
          "right": ("right edge of a box", "the right edge", "the right side"),
          "left": ("left edge of a box", "the left edge", "the left side"), "corner": ("a corner", "a corner of a box")}
TRIES = 1000  # sentences; only scenes that are all alike agree on so many


def with_simulated(args, nlvr, examples):
    """Some examples and those that --simulated-sentences and --simple-epochs ask for beside them, data_utils.Examples."""
    if not args.simulated_sentences:
        return examples
    simple = 1 + (args.simulated_per_epoch or args.simulated_sentences) if args.simple_epochs else 0
    return examples.join(simulate(nlvr, examples, args.simulated_sentences, args.seed, simple))


# Scenes


class Item(NamedTuple):
    """An item of a box: colour, number in `COLOURS`, shape, number in `SHAPES`, size from 0, bounds in pixels."""

    colour: int
    shape: int
    size: int
    left: int
    top: int
    right: int
    bottom: int


def find_items(crops):
    """The items of boxes, from top to bottom; those of one colour that touch are none.

    Args:
        crops: uint8 (boxes, 50, 50, 3).
    Returns:
        list of list of Item.
    """
    from scipy import ndimage

    found = [[] for _ in crops]
    neighbours = np.zeros((3, 3, 3), bool)  # within a box
    neighbours[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    for first in range(0, len(crops), 1000):  # in parts, for the memory
        shares = colour_shares(crops[first:first + 1000])
        for colour in range(len(COLOURS)):
            share = shares[..., colour]
            regions, number = ndimage.label(share > 0.49, neighbours)  # half and more, but for rounding
            areas = ndimage.sum_labels(share, regions, np.arange(1, number + 1))
            for (box, rows, columns), area in zip(ndimage.find_objects(regions), areas):
                longest = max(rows.stop - rows.start, columns.stop - columns.start)
                size = min(max(round(longest / SIDE), 1), 3)
                if abs(longest - size * SIDE) <= 1:
                    shape = int(np.digitize(area / (size * SIDE)**2, FILLED))
                    found[first + box.start].append(
                        Item(colour, shape, size - 1, columns.start, rows.start, columns.stop, rows.stop))
    return [sorted(items, key=lambda item: item.top) for items in found]


# Sentences

# Their parts: words, as `data_utils.SentenceCleaner` would have them, and a function that tests a number, an item or
# the items of a box. The forms are those of the training sentences, and roughly as frequent.


def _drawn(random, **weights):
    """One of the names, as often as its weight says."""
    return random.choices([*weights], [*weights.values()])[0]


def _amount(random, most, **weights):
    """An amount, and whether a number is one.

    Args:
        random: random.Random.
        most: int, the largest number in it.
        weights: how often each form is drawn: a, number, exactly, only, at_least, at_most, no.
    """
    form, k = _drawn(random, **weights), min(random.randint(1, most), random.randint(1, most))
    if form == "a":
        return ["a"], lambda number: number >= 1
    if form == "no":
        return ["no"], lambda number: number == 0
    if form == "number":  # from two up; "one" is what "a" becomes
        k = max(k, 2)
    word = data_utils.NUMBERS[k]
    if form == "at_least":
        return ["at", "least", word], lambda number: number >= k
    if form == "at_most":
        return ["at", "most", word], lambda number: number <= k
    return [word] if form == "number" else [form, word], lambda number: number == k


def _colour(random):
    """A colour, and whether an item has it."""
    colour = random.randrange(3)
    return list(COLOURS)[colour], lambda item: item.colour == colour


def _shape(random):
    """A shape, and whether an item has it."""
    shape = random.randrange(3)
    return SHAPES[shape], lambda item: item.shape == shape


def _size(random):
    """A size, and whether an item has it."""
    size = random.randrange(3)
    return ("small", "medium", "big")[size], lambda item: item.size == size


def _noun(random, towers):
    """A noun, mostly with a colour, and whether an item is one."""
    words, tests = [], []
    if random.random() < (0.9 if towers else 0.75):
        word, test = _colour(random)
        words.append(word)
        tests.append(test)
    if towers:
        words.append("block")
    else:
        if random.random() < 0.06:
            word, test = _size(random)
            words.insert(0, word)
            tests.append(test)
        if random.random() < 0.6:
            word, test = _shape(random)
            words.append(word)
            tests.append(test)
        else:
            words.append(_drawn(random, item=6, object=3, block=1))
    return words, lambda item: all(test(item) for test in tests)


def _place(random):
    """Where an item touches its box, and whether it does."""
    size = data_utils.BOX_SIZE // 2
    touches = {"bottom": lambda item: item.bottom >= size, "top": lambda item: item.top <= 0,
               "right": lambda item: item.right >= size, "left": lambda item: item.left <= 0}
    bottom, top, right, left = touches.values()
    touches["edge"] = lambda item: bottom(item) or top(item) or right(item) or left(item)
    touches["corner"] = lambda item: (bottom(item) or top(item)) and (right(item) or left(item))
    place = _drawn(random, edge=10, bottom=9, right=3, top=1, left=0.5, corner=4)
    if place == "edge":
        words = [random.choice(("the", "the", "any")), _drawn(random, edge=6, wall=2, side=1)]
    else:
        words = random.choice(PLACES[place]).split()
    inverted = random.random() < 0.2
    words = ["not"] * inverted + ["closely"] * (random.random() < 0.4) + ["touching", *words]
    return words, lambda item: touches[place](item) != inverted


def _in_place(random, noun, fits):
    """A noun with where an item touches its box, and whether an item is one and does."""
    place, there = _place(random)
    return noun + place, lambda item: fits(item) and there(item)


def _listed(random, towers):
    """Amounts of one to three kinds, "a black circle and two blue item", and whether the items of a box have them."""
    parts = []
    for _ in range(random.choices((1, 2, 3), (10, 6, 2))[0]):
        amount, enough = _amount(random, 4, a=10, number=5, exactly=3, at_least=4, only=2)
        noun, fits = _noun(random, towers)
        parts.append((amount + noun, lambda items, enough=enough, fits=fits: enough(sum(map(fits, items)))))
    *first, (last, _) = parts
    words = [word for part, _ in first for word in part] + ["and"] * bool(first) + last
    return words, lambda items: all(test(items) for _, test in parts)


def _number_of_items(random, noun, most):
    """A number of items, and whether a box has it."""
    if random.random() < 0.1:
        return ["one", noun], lambda items: len(items) == 1
    amount, enough = _amount(random, most, number=4, exactly=6, only=3, at_least=2, at_most=0.5)
    return [*amount, noun], lambda items: enough(len(items))


def _of_colours(random, noun):
    """Which colours the items of a box have."""
    form = _drawn(random, same=1, different=2, of_only=2, only=4, some=3)
    number, k = random.randint(2, 6), random.randint(1, 3)
    (first, is_first), (second, is_second) = _colour(random), _colour(random)
    colours = lambda items: {item.colour for item in items}
    counted, right = ([data_utils.NUMBERS[number], noun], lambda items: len(items) == number) if random.random() < 0.7 else (
        [noun], lambda items: True)
    if form == "same":
        return [*counted, "of", "the", "same", "color"], lambda items: right(items) and len(colours(items)) == 1
    if form == "different":
        return ([*counted, "of", data_utils.NUMBERS[max(k, 2)], "different", "color"],
                lambda items: right(items) and len(colours(items)) == max(k, 2))
    if form == "some":
        of = random.choice((["of"], ["and", "the"]))
        return ([data_utils.NUMBERS[number], noun, *of, data_utils.NUMBERS[k], "are", first],
                lambda items: len(items) == number and sum(map(is_first, items)) == k)
    names = [first, "and", second] if first != second else [first]
    test = lambda items: (all(is_first(item) or is_second(item) for item in items)
                          and any(map(is_first, items)) and any(map(is_second, items)))
    if form == "only":
        return ["only", *names, noun], test
    return [*counted, "of", *["only"] * (random.random() < 0.7), *names, "color"], lambda items: right(items) and test(items)


def _of_tower(random):
    """What stands where in a tower, and whether it does."""
    (first, is_first), (second, is_second) = _colour(random), _colour(random)
    form = _drawn(random, end=10, number=2, both=1, pair=6, run=3, second=0.5, middle=0.5, single=1)
    end, of_end = random.choice((("top", 0), ("base", -1), ("base", -1), ("bottom", -1)))
    k = random.randint(2, 4)
    at_end = ["a", first, "block", "at", "the", end]
    if form == "end":
        return at_end, lambda items: is_first(items[of_end])
    if form == "number":
        words, right = _number_of_items(random, "block", 4)
        return ([*words, random.choice(("with", "having", "and")), *at_end],
                lambda items: right(items) and is_first(items[of_end]))
    if form == "both":
        return (["a", first, "block", "at", "the", "base", "and", "a", second, "block", "at", "the", "top"],
                lambda items: is_first(items[-1]) and is_second(items[0]))
    if form == "pair":
        words, pairs = _pair(random)
        return ["a", *words], lambda items: pairs(items) > 0
    if form == "run":
        return ([data_utils.NUMBERS[k], first, "block", "stacked", "together"],
                lambda items: any(all(map(is_first, items[i:i + k])) for i in range(len(items) - k + 1)))
    if form == "second":
        return (["the", "second", "block", "from", "the", "base", "is", first],
                lambda items: len(items) > 1 and is_first(items[-2]))
    if form == "middle":
        return ["a", first, "block", "in", "the", "middle"], lambda items: any(map(is_first, items[1:-1]))
    return (["exactly", "one", "block", *random.choice((["is", "of", first, "color"], ["is", first]))],
            lambda items: len(items) == 1 and is_first(items[0]))


def _pair(random):
    """A block on another, and how many of them a tower has."""
    (first, is_first), (second, is_second) = _colour(random), _colour(random)
    word = _drawn(random, on=5, above=5, over=4, beneath=3)
    over, under = (is_second, is_first) if word == "beneath" else (is_first, is_second)
    return ([first, "block", word, "a", second, "block"],
            lambda items: sum(over(a) and under(b) for a, b in zip(items, items[1:])))


def _of_box(random, towers):
    """What a box or a tower has, and whether its items are that."""
    noun = "block" if towers else _drawn(random, item=4, object=1)
    form = _drawn(random, tower=7 if towers else 0, listed=3 if towers else 6, number=3, colours=1.5 if towers else 3,
                  place=0 if towers else 1)
    if form == "tower":
        return _of_tower(random)
    if form == "listed":
        return _listed(random, towers)
    if form == "number":
        return _number_of_items(random, noun, 4 if towers else 7)
    if form == "colours":
        return _of_colours(random, noun)
    amount, enough = _amount(random, 3, a=6, number=2, exactly=1, at_least=1)
    kind, fits = _in_place(random, *_noun(random, towers))
    return amount + kind, lambda items: enough(sum(map(fits, items)))


def _there(random, amount):
    """An amount that begins a sentence: half of the time "there are at least two"."""
    return ["there", "is" if amount[-1] in ("a", "no", "one") else "are", *amount] if random.random() < 0.5 else amount


def _items(random, towers):
    """How many items of a kind all boxes have, and whether they do."""
    amount, enough = _amount(random, 5, a=8, number=6, exactly=5, at_least=4, no=1.5, only=0.5)
    noun, fits = _noun(random, towers)
    of_box = lambda box: sum(map(fits, box))
    if towers:
        form = _drawn(random, all=3, end=5, pair=4)
        if form == "end":
            end, of_end = random.choice((("top", 0), ("base", -1)))
            colour, is_colour = _colour(random)
            number, right = _number_of_items(random, "block", 4) if random.random() < 0.5 else ([], lambda box: True)
            noun = [colour, "block", "as", "the", end, "of", "a", "tower", *["with"] * bool(number), *number]
            of_box = lambda box: is_colour(box[of_end]) and right(box)
        elif form == "pair":
            noun, of_box = _pair(random)
    elif random.random() < 0.6:
        noun, fits = _in_place(random, noun, fits)
    return [*_there(random, amount), *noun], lambda boxes: enough(sum(map(of_box, boxes)))


def statement(random, towers):
    """A sentence made at random, and a function that tells whether it is true of three boxes.

    Args:
        random: random.Random.
        towers: bool, whether the boxes have towers of blocks; else they have scattered items.
    Returns:
        words: list of str, as `data_utils.SentenceCleaner` would have them.
        test: function of a list of three lists of Item.
    """
    if random.random() < 0.4:
        return _items(random, towers)
    if towers and random.random() < 0.05:
        colour, is_colour = _colour(random)
        return ["a", colour, "tower"], lambda boxes: any(all(map(is_colour, box)) for box in boxes)
    words, of_box = _of_box(random, towers)
    holder = ["tower"] if towers else ["grey", "box"] if random.random() < 0.2 else ["box"]
    if random.random() < 0.06:
        return [random.choice(("each", "every", "all")), *holder, "with", *words], lambda boxes: all(map(of_box, boxes))
    amount, enough = _amount(random, 3, a=10, number=3, exactly=3, at_least=4, only=0.5, no=0.5)
    return [*_there(random, amount), *holder, "with", *words], lambda boxes: enough(sum(map(of_box, boxes)))


def simple_statement(random, towers):
    """A statement of one item or one tower, as `statement` has it: a shape, size or place, or what stands where in a tower."""
    if towers:
        words, of_box = _of_tower(random)
        return ["there", "is", "a", "tower", "with", *words], lambda boxes: any(map(of_box, boxes))
    colour, is_colour = _colour(random)
    form = _drawn(random, shape=4, place=4, size=1)
    if form == "place":
        noun, has = _in_place(random, [colour, "item"], is_colour)
    elif form == "shape":
        shape, has = _shape(random)
        noun = [colour, shape]
    else:
        size, has = _size(random)
        noun = [size, colour, "item"]
    return ["there", "is", "a", *noun], lambda boxes: any(is_colour(item) and has(item) for box in boxes for item in box)


def simulate(nlvr, examples, number, seed, simple=0):
    """Make examples with simulated sentences about the images of some examples.

    A sentence is taken if the scene and another one drawn at random disagree on it. So any sentence is as often true as
    false, and tells nothing about its answer.

    The sentences are added to `nlvr.sentences`, in the words of its rules, numbered as `data_utils.number_words` does it.

    Args:
        nlvr: data_utils.Nlvr.
        examples: data_utils.Examples.
        number: int, how many for each example.
        seed: int.
        simple: int, how many more for each example that are as `simple_statement` has them.
    Returns:
        data_utils.Examples, one for each of `examples` in their order, then a second one for each, and so on.
    """
    random = Random(seed)
    used = np.unique(examples.boxes[:, 0])
    items = dict(zip(used.tolist(), find_items(nlvr.crops[used])))
    scenes = [[items[crop] for crop in boxes] for boxes in examples.boxes[:, 0].tolist()]
    with_towers = [all(boxes) and all(item.shape == 2 and item.size == 1 and abs(item.left - box[0].left) <= 1
                                      for box in boxes for item in box) for boxes in scenes]
    others = {kind: [boxes for boxes, towers in zip(scenes, with_towers) if towers == kind] for kind in (False, True)}
    numbers = {word: number for number, word in enumerate(nlvr.words, start=1)}
    first, length = nlvr.sentences.shape
    parts = [statement] * number + [simple_statement] * simple
    sentences, label = [], []
    for drawn, (boxes, towers) in itertools.product(parts, zip(scenes, with_towers)):
        for _ in range(TRIES):
            words, test = drawn(random, towers)
            if test(boxes) != test(random.choice(others[towers])):
                break
        if nlvr.sentence_rules == "authors":
            words = data_utils.authors_words(words)
        sentences.append(data_utils.number_words(words, numbers)[:length])
        label.append(test(boxes))
    nlvr.sentences = np.concatenate([nlvr.sentences, data_utils.pad_in_front(sentences, length)])
    return data_utils.Examples(
        [f"simulated-{i}" for i in range(len(label))], examples.folder * len(parts),
        np.arange(first, len(nlvr.sentences), dtype=np.int32), np.array(label, np.float32),
        np.tile(examples.boxes, (len(parts), 1, 1)))
