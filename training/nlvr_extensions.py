"""What is not in the paper on NLVR: another attention, fewer or changed images, simulated sentences. All is off by default.

The options are one group, `add_options`. The sentences are made in `simulate_nlvr`.
"""
import argparse
import dataclasses
import itertools

import numpy as np

import data_utils
from training import command_line
from training.backend import keras

DEFAULTS = {"order_colours": False, "augment": False, "images_per_example": data_utils.PERMUTATIONS, "word_dropout": 0.0,
            "convolutions": 2, "batch_normalization": False, "attention": "separate", "attention_units": [256, 128], "heads": 1,
            "scores": "tanh", "simulated_sentences": 0, "simulated_per_epoch": None, "simple_epochs": 0}
# Options that records and states from before them lack, with the values they stand for.
EARLIER = {option: value for option, value in DEFAULTS.items() if option != "attention"}
EARLIER |= {"padding": "masked", "halving": "mean", "statistics": "channels", "sentences": "project", "start": "uniform",
            "embedding_scale": 0.05}

# The colours of items, and of the boxes they are in. Other pixels are mixtures of these four.
COLOURS, BOX_COLOUR = {"yellow": (255, 255, 0), "black": (0, 0, 0), "blue": (0, 153, 255)}, (211, 211, 211)
EXCHANGES = tuple(itertools.permutations(range(len(COLOURS))))  # the first changes nothing


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
    add("--simulated-per-epoch", type=command_line.positive_int, metavar="N",
        help="how many of them an epoch has of each example, drawn anew for each (default all)")
    add("--simple-epochs", type=command_line.natural_number, metavar="N",
        help="in the first N epochs train on simulated sentences of one item or tower alone, such as 'there is a black circle' "
        "(default %(default)s)")
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
    return {"images": args.images_per_example, "sentences": 1 + args.simulated_sentences, "others": args.simulated_per_epoch,
            "first_epochs": args.simple_epochs, "variants": Variants(nlvr, args.order_colours) if args.augment else None}


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
