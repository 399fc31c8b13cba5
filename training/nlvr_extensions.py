"""What is not in the paper on NLVR: another attention, fewer or changed images, simulated sentences. All is off by default.

The options are one group, `add_options`. Simulated sentences are about the scenes of the training images. The scenes are flat:
an item is a connected region of one of three colours, and its size and the share of its bounding box that it fills tell its
shape. So the items of a box can be read from its pixels, and a sentence made from a pattern can be checked against them.
Nothing but the pixels of the given examples is used, neither their sentences nor their labels.
"""
import argparse
import dataclasses
import itertools
from random import Random
from typing import NamedTuple

import numpy as np

import data_utils
from training import command_line
from training.backend import keras

DEFAULTS = {"order_colours": False, "augment": False, "images_per_example": data_utils.PERMUTATIONS, "word_dropout": 0.0,
            "convolutions": 2, "batch_normalization": False, "attention": "separate", "attention_units": [256, 128], "heads": 1,
            "scores": "tanh", "simulated_sentences": 0}
# Options that records and states from before them lack, with the values they stand for.
EARLIER = {option: value for option, value in DEFAULTS.items() if option != "attention"}
EARLIER |= {"padding": "masked", "halving": "mean", "statistics": "channels", "sentences": "project", "start": "uniform",
            "embedding_scale": 0.05}

# The colours of items, and of the boxes they are in. Other pixels are mixtures of these four.
COLOURS, BOX_COLOUR = {"yellow": (255, 255, 0), "black": (0, 0, 0), "blue": (0, 153, 255)}, (211, 211, 211)
EXCHANGES = tuple(itertools.permutations(range(len(COLOURS))))  # the first changes nothing
SHAPES = ("triangle", "circle", "square")
FILLED = (0.55, 0.87)  # between the three shapes, as a share of the square around an item
SIDE = 5  # pixels of a small item; a medium one has twice as many, a big one three times
TRIES = 1000  # sentences; only scenes that are all alike agree on so many


def add_options(parser):
    """Add the group of options."""
    add = parser.add_argument_group("not in the paper").add_argument
    add("--order-colours", action="store_true",
        help="exchange the colours of items in images and sentences so that each sentence names yellow first, then black, then "
        "blue; dev and test alike")
    add("--augment", action="store_true",
        help="exchange the colours of items in training images and sentences, and mirror boxes, anew each epoch")
    add("--images-per-example", type=_images_of_example, metavar="N",
        help="how many of the six images of an example an epoch has, drawn anew for each (default %(default)s)")
    add("--word-dropout", type=command_line.fraction, metavar="X",
        help="share of the words of a sentence left out in training (default %(default)g)")
    add("--convolutions", type=_convolutions, metavar="N",
        help="convolutions of a box, of which those from the third on have no pool behind them (default %(default)s)")
    add("--batch-normalization", action="store_true", help="normalise the memories over the batch")
    add("--attention", choices=("separate", "shared"),
        help="whether the three box positions share the weights of the attention (default %(default)s)")
    add("--attention-units", type=_hidden_layers, metavar="LIST",
        help=f"hidden layers of the attention (default {','.join(map(str, DEFAULTS['attention_units']))})")
    add("--heads", type=command_line.positive_int, metavar="N",
        help="heads of the attention, which share its hidden layers (default %(default)s)")
    add("--scores", choices=("tanh", "linear"), help="activation of the attention's scores (default %(default)s)")
    add("--simulated-sentences", type=command_line.natural_number, metavar="N",
        help="train also on N simulated sentences about the images of each training example (default %(default)s)")
    parser.set_defaults(**DEFAULTS)


def _hidden_layers(text):
    """Sizes of one layer or more, for argparse."""
    units = command_line.unit_list(text)
    if not units:
        raise argparse.ArgumentTypeError("must have a layer")
    return units


def _images_of_example(text):
    """A number of images from 1 to 6, for argparse."""
    number = command_line.positive_int(text)
    if number > data_utils.PERMUTATIONS:
        raise argparse.ArgumentTypeError(f"must be at most {data_utils.PERMUTATIONS}")
    return number


def _convolutions(text):
    """A number of convolutions from 2 up, for argparse."""
    number = command_line.positive_int(text)
    if number < 2:
        raise argparse.ArgumentTypeError("must be at least 2")
    return number


def of_an_epoch(args, nlvr):
    """What the options make of the epochs of a training, as keywords of `batches.ImageBatches`."""
    return {"images": args.images_per_example, "sentences": 1 + args.simulated_sentences,
            "variants": Variants(nlvr, args.order_colours) if args.augment else None}


def with_simulated(args, nlvr, examples):
    """Some examples and those that --simulated-sentences asks for beside them, data_utils.Examples."""
    if not args.simulated_sentences:
        return examples
    return examples.join(simulate(nlvr, examples, args.simulated_sentences, args.seed))


def without_some_words(words, share):
    """Word numbers of sentences, in training with so large a share of them replaced by padding, drawn anew in each batch."""
    if not share:
        return words
    kept = keras.layers.Dropout(share, name="word_dropout")(keras.ops.ones_like(words, "float32"))
    return words * keras.ops.cast(kept > 0, words.dtype)


# Variants of images


def colour_shares(pixels):
    """The shares of the three `COLOURS` and of `BOX_COLOUR` that each pixel mixes: (..., 3) -> float32 (..., 4)."""
    unmix = np.linalg.inv(np.hstack([[*COLOURS.values(), BOX_COLOUR], np.ones((4, 1))])).astype(np.float32)
    return pixels.astype(np.float32) @ unmix[:3] + unmix[3]


def exchange_colours(pixels, exchange):
    """Pixels, uint8 (..., 3), with the colours of items exchanged: the i-th becomes that of number EXCHANGES[exchange][i]."""
    colours = np.array([*COLOURS.values()], np.float32)[list(EXCHANGES[exchange])]
    changed = colour_shares(pixels) @ np.vstack([colours, np.float32(BOX_COLOUR)])
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


class Variants:
    """Variants of images that their sentences are as true of: colours exchanged in both, boxes mirrored.

    They have numbers, beyond those of the rows of `nlvr.sentences` and `nlvr.crops`. Number e * len(sentences) + s is sentence
    s after exchange e of `EXCHANGES`; number (2 e + m) * len(crops) + c is crop c after exchange e, mirrored if m is 1.

    Args:
        nlvr: data_utils.Nlvr.
        ordered: bool, whether the colours that a sentence names stay as they are, those of `order_colours`.
    """

    def __init__(self, nlvr, ordered=False):
        self.nlvr = nlvr
        kept = [len(named) for named in named_colours(nlvr)] if ordered else np.zeros(len(nlvr.sentences), int)
        # The first of EXCHANGES are those that leave the first colour, or the first two.
        self.exchanges = np.array([6, 2, 1, 1])[kept]

    def draw(self, example, sentence, boxes, random):
        """Draw a variant of each image.

        Each example has one exchange of colours for all its boxes and sentences; each box is mirrored or not on its own,
        but not where the sentence speaks of a side.

        Args:
            example: integers (images,), the example of each image, from 0.
            sentence: integers (images,), rows of `nlvr.sentences`.
            boxes: integers (images, 3), rows of `nlvr.crops`.
            random: numpy.random.Generator.
        Returns:
            sentence and boxes as numbers for `take_sentences` and `take_crops`.
        """
        nlvr = self.nlvr
        sides = [nlvr.words.index(word) + 1 for word in ("left", "right") if word in nlvr.words]
        without_side = ~np.isin(nlvr.sentences, sides).any(axis=1)
        exchange = random.integers(len(EXCHANGES), size=example.max() + 1)[example] % self.exchanges[sentence]
        mirrored = random.integers(2, size=len(nlvr.crops))[boxes] * without_side[sentence][:, None]
        return self.numbers(sentence, boxes, exchange, mirrored)

    def numbers(self, sentence, boxes, exchange, mirrored=0):
        """The numbers of sentences (rows,) and of their boxes (rows, ...), each row with its exchange, some boxes mirrored."""
        of_boxes = 2 * exchange.reshape(-1, *[1] * (boxes.ndim - 1)) + mirrored
        return sentence + exchange * len(self.nlvr.sentences), boxes + of_boxes * len(self.nlvr.crops)

    def take_sentences(self, numbers):
        """The sentences of some numbers: word numbers, int32 (numbers, longest sentence)."""
        nlvr, unknown = self.nlvr, data_utils.UNKNOWN
        exchange, sentence = np.divmod(numbers, len(nlvr.sentences))
        known = [name in nlvr.words for name in COLOURS]
        number_of = {word: number for number, word in enumerate(nlvr.words, start=1)}
        colour = np.array([number_of.get(name, number_of.get(unknown, 0)) for name in COLOURS])
        words = np.tile(np.arange(len(nlvr.words) + 1, dtype=np.int32), (len(EXCHANGES), 1))
        for row, order in zip(words, EXCHANGES):
            row[colour[known]] = colour[list(order)][known]
        taken = words[exchange[:, None], nlvr.sentences[sentence]]
        if not colour.all():  # a colour without a number is dropped, and what is before it moves up
            taken = np.take_along_axis(taken, np.argsort(taken > 0, axis=1, kind="stable"), axis=1)
        return taken

    def take_crops(self, numbers):
        """The crops of some numbers, uint8 (numbers, 50, 50, 3)."""
        variants, crops = np.divmod(numbers, len(self.nlvr.crops))
        taken = self.nlvr.crops[crops]
        for variant in np.unique(variants[variants > 0]):
            rows = variants == variant
            taken[rows] = exchange_colours(taken[rows], variant // 2)
            if variant % 2:
                taken[rows] = taken[rows][:, :, ::-1]
        return taken


def named_colours(nlvr):
    """The colours that each sentence of `nlvr.sentences` names, lists of numbers in `COLOURS` in the order of their first word."""
    number_of = {word: number for number, word in enumerate(nlvr.words, start=1)}
    colour_of = {number_of[name]: colour for colour, name in enumerate(COLOURS) if name in number_of}
    return [list(dict.fromkeys(colour_of[word] for word in words if word in colour_of)) for words in nlvr.sentences.tolist()]


def order_colours(nlvr, *others):
    """Exchange colours so that every sentence names the first of `COLOURS` first, then the second, then the third.

    The images of an example have the exchange of its sentence, so what it says of them is as true as before, and which
    colours they are tells nothing any more. Colours that a sentence does not name take the places left, in their order.

    Args:
        nlvr: data_utils.Nlvr.
        others: data_utils.Examples of it, beside those of its splits.
    Returns:
        data_utils.Nlvr with these sentences and with the crops that its splits and the others need, and the others.
    """
    variants = Variants(nlvr)
    places = [np.argsort([*named, *sorted(set(range(len(COLOURS))) - set(named))]) for named in named_colours(nlvr)]
    exchange = np.array([EXCHANGES.index(tuple(of_sentence.tolist())) for of_sentence in places])
    examples = [*nlvr.splits.values(), *others]
    numbers = [variants.numbers(part.sentence, part.boxes, exchange[part.sentence])[1] for part in examples]
    used = np.unique(np.concatenate(numbers))
    examples = [dataclasses.replace(part, boxes=np.searchsorted(used, of_part).astype(np.int32))
                for part, of_part in zip(examples, numbers)]
    sentences, _ = variants.numbers(np.arange(len(exchange)), np.zeros_like(exchange), exchange)
    return dataclasses.replace(nlvr, sentences=variants.take_sentences(sentences), crops=variants.take_crops(used),
                               splits=dict(zip(nlvr.splits, examples))), examples[len(nlvr.splits):]


# Scenes and simulated sentences


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


def _kind_of_item(random, towers):
    """A noun with or without adjectives, and a function that tells whether an item is one."""
    words, tests = [], []
    if random.random() < (0.75 if towers else 0.65):
        colour = random.randrange(3)
        words.append(list(COLOURS)[colour])
        tests.append(lambda item: item.colour == colour)
    if not towers and random.random() < 0.1:
        size = random.randrange(3)
        words.insert(0, ("small", "medium", "big")[size])
        tests.append(lambda item: item.size == size)
    if not towers and random.random() < 0.5:
        shape = random.randrange(3)
        words.append(SHAPES[shape])
        tests.append(lambda item: item.shape == shape)
    else:
        words.append(random.choice(("block", "item") if towers else ("item", "object", "block")))
    return words, lambda item: all(test(item) for test in tests)


def _place(random):
    """Where an item touches its box, and a function that tells whether it does."""
    size = data_utils.BOX_SIZE // 2

    def sides(item):
        return [item.bottom >= size, item.top <= 0, item.right >= size or item.left <= 0]

    word, test = [("wall", any), ("edge", any), ("side", any), ("base", lambda touched: touched[0]),
                  ("bottom", lambda touched: touched[0]), ("top", lambda touched: touched[1]),
                  ("corner", lambda touched: (touched[0] or touched[1]) and touched[2])][random.randrange(7)]
    inverted = random.random() < 0.2
    words = ["not"] * inverted + ["closely"] * (random.random() < 0.3) + ["touching", "the", word]
    return words, lambda item: test(sides(item)) != inverted


def _quantity(random, most, none=True):
    """An amount, and a function that tells whether a number is one."""
    k = random.randint(1, most)
    form = random.choice(("a", "least", "exactly", "no") if none else ("a", "least", "exactly"))
    if form == "a":
        return ["a"], lambda number: number >= 1
    if form == "no":
        return ["no"], lambda number: number == 0
    if form == "least":
        return ["at", "least", data_utils.NUMBERS[k]], lambda number: number >= k
    return ["exactly" if random.random() < 0.8 else "only", data_utils.NUMBERS[k]], lambda number: number == k


def _there(amount):
    """How a sentence begins: "there are at least two"."""
    return ["there", "are" if amount[-1] in data_utils.NUMBERS[2:] else "is", *amount]


def _of_tower(random):
    """What stands where in a tower."""
    first, second = (random.randrange(3) for _ in range(2))
    names = list(COLOURS)
    low, high = random.choice(("base", "bottom")), "top"
    form = random.randrange(4)
    if form == 0:
        return ["a", names[first], "block", "at", "the", low], lambda items: items[-1].colour == first
    if form == 1:
        return ["a", names[first], "block", "at", "the", high], lambda items: items[0].colour == first
    if form == 2:
        return (["a", names[first], "block", "at", "the", low, "and", "a", names[second], "block", "at", "the", high],
                lambda items: items[-1].colour == first and items[0].colour == second)
    return (["a", names[first], "block", random.choice(("over", "above", "on")), "a", names[second], "block"],
            lambda items: any(a.colour == first and b.colour == second for a, b in zip(items, items[1:])))


def _of_box(random, towers):
    """What a box or a tower has: words, and a function of its items."""
    form = random.random()
    if towers and form < 0.5:
        return _of_tower(random)
    if form < 0.75:
        parts = []
        for _ in range(1 + (random.random() < 0.3)):
            amount, enough = _quantity(random, 4, none=False)
            noun, fits = _kind_of_item(random, towers)
            parts.append((amount + noun, lambda items, enough=enough, fits=fits: enough(sum(map(fits, items)))))
        words = parts[0][0] + (["and"] + parts[1][0] if len(parts) > 1 else [])
        return words, lambda items: all(test(items) for _, test in parts)
    if form < 0.88:
        noun, fits = _kind_of_item(random, towers)
        return ["only", *noun], lambda items: bool(items) and all(map(fits, items))
    k = random.randint(1, 3)
    noun = "block" if towers else "item"
    words = [noun, "of", "the", "same", "color"] if k == 1 else [noun, "of", data_utils.NUMBERS[k], "different", "color"]
    return words, lambda items: len({item.colour for item in items}) == k


def statement(random, towers):
    """A sentence made at random, and a function that tells whether it is true of three boxes.

    Args:
        random: random.Random.
        towers: bool, whether the boxes have towers of blocks; else they have scattered items.
    Returns:
        words: list of str, as `data_utils.SentenceCleaner` would have them.
        test: function of a list of three lists of Item.
    """
    form = random.random()
    if towers and form < 0.15:
        amount, enough = _quantity(random, 3)
        k, colour = random.randint(1, 4), random.randrange(3)
        exactly = random.random() < 0.5
        words = [*_there(amount), list(COLOURS)[colour], "block", "as", "the", "base", "of", "a", "tower",
                 "with", *(["exactly"] if exactly else ["at", "least"]), data_utils.NUMBERS[k], "block"]
        return words, lambda boxes: enough(sum(
            box[-1].colour == colour and (len(box) == k if exactly else len(box) >= k) for box in boxes))
    if form < 0.45:
        amount, enough = _quantity(random, 5)
        noun, fits = _kind_of_item(random, towers)
        where, there = _place(random) if not towers and random.random() < 0.45 else ([], lambda item: True)
        return ([*_there(amount), *noun, *where],
                lambda boxes: enough(sum(fits(item) and there(item) for box in boxes for item in box)))
    words, of_box = _of_box(random, towers)
    holder = ["tower"] if towers else ["grey", "box"] if random.random() < 0.2 else ["box"]
    if random.random() < 0.1:
        return (["each", *holder, "has", *words], lambda boxes: all(map(of_box, boxes)))
    amount, enough = _quantity(random, 2) if random.random() < 0.5 else (["a"], lambda number: number >= 1)
    return [*_there(amount), *holder, "with", *words], lambda boxes: enough(sum(map(of_box, boxes)))


def simulate(nlvr, examples, number, seed):
    """Make examples with simulated sentences about the images of some examples.

    A sentence is taken if the scene and another one drawn at random disagree on it. So any sentence is as often true as
    false, and tells nothing about its answer.

    The sentences are added to `nlvr.sentences`, in the words of its rules, numbered as `data_utils.number_words` does it.

    Args:
        nlvr: data_utils.Nlvr.
        examples: data_utils.Examples.
        number: int, how many for each example.
        seed: int.
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
    (first, length), count = nlvr.sentences.shape, number * len(scenes)
    sentences, label = [], np.zeros(count, np.float32)
    for i in range(count):
        boxes, towers = scenes[i % len(scenes)], with_towers[i % len(scenes)]
        for _ in range(TRIES):
            words, test = statement(random, towers)
            if test(boxes) != test(random.choice(others[towers])):
                break
        if nlvr.sentence_rules == "authors":
            words = data_utils.authors_words(words)
        sentences.append(data_utils.number_words(words, numbers)[:length])
        label[i] = test(boxes)
    nlvr.sentences = np.concatenate([nlvr.sentences, data_utils.pad_in_front(sentences, length)])
    return data_utils.Examples(
        [f"simulated-{i}" for i in range(count)], examples.folder * number,
        np.arange(first, first + count, dtype=np.int32), label, np.tile(examples.boxes, (number, 1, 1)))
