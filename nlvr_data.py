"""Parsing of NLVR: from the released annotations and images to the arrays that the models read.

An image is three boxes side by side. The corpus has 276,732 of them, but only 29,667 distinct ones, so an image is a row
of three numbers into one table of crops, and a batch can encode each distinct crop once.

Data: Suhr, Lewis, Yeh, Artzi 2017, "A Corpus of Natural Language for Visual Reasoning", ACL 2017.
"""
import collections
import concurrent.futures
import dataclasses
import hashlib
import importlib.resources
import io
import itertools
import json
import os
import re
import struct
import zlib
from typing import NamedTuple

import numpy as np

from command_line import write_whole
from data_utils import DataError

SPLITS = ("train", "dev", "test", "hidden")
SPLIT_NAMES = {"dev": "dev", "test": "Test-P", "hidden": "Test-U"}  # as the corpus's paper calls them
PERMUTATIONS = 6  # images of an example: all orders of its three boxes
IMAGE_SIZE, BOX_SIZE, BOX_LEFT = (400, 100), 100, (0, 150, 300)
# The colours of items, and of the boxes they are in. Other pixels are mixtures of these four.
COLOURS, BOX_COLOUR = {"yellow": (255, 255, 0), "black": (0, 0, 0), "blue": (0, 153, 255)}, (211, 211, 211)
EXCHANGES = tuple(itertools.permutations(range(len(COLOURS))))  # the first changes nothing
HOW_TO_GET_IT = "python data/get_nlvr.py gets the corpus and names what is missing or damaged, --data DIR names its folder"
UNKNOWN = "<unknown>"
RARE = 5  # sentences of training; a word of fewer counts as unknown. Up to four examples share a sentence.
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
SENTENCES, HALVINGS, STATISTICS = ("authors", "project"), ("nearest", "mean"), ("one", "channels")  # the authors' ways first
# What the authors' program writes for some words and phrases, regular expressions; "^": at the beginning of a sentence.
AUTHORS_WORDS = {
    "there is": "", "are there": "there are", "is touching": "touching", "which": "", "that": "", "^ll": "", "a": "one",
    "corners?": "edge", "walls?": "edge", "below": "beneath", "bricks?": "block", "contains?": "with", "has": "with",
    "its": "it", "based": "base"}
# Typing errors in the training sentences that are words of their own, or too short to tell by their letters.
TYPING_ERRORS = {"ad": "and", "ans": "and", "bellow": "below", "bow": "box", "lease": "least", "lest": "least",
                 "od": "of", "t": "at", "thee": "the", "tow": "two"}


class SentenceCleaner:
    """A sentence in the project's words: lower case, numbers spelled out, typing errors mended, singular.

    1. Words and numbers, in lower case. A semicolon inside a word is a slip for a letter: "circ;e". Other marks part words.
    2. Numbers up to twelve as words; "colour" as "color".
    3. Words that are neither in the English dictionary (the one that comes with symspellpy) nor in frequent use in the
       training sentences are mended: as two words run together ("atleast"), or else as the nearest word of the training
       sentences, by the number of letters inserted, left out, replaced or swapped (one in a short word, two in a longer
       one), the most frequent of equals. `TYPING_ERRORS` lists those that need more than that.
    4. A plural or verb in -s loses it where the word without is one of the training sentences.

    Args:
        sentences: iterable of str, those of training.

    >>> clean = SentenceCleaner(["There is at least one yellow block.", "The base is black or yellow"] * RARE)
    >>> clean("there is atleast 1 Yelow blocks")
    ['there', 'is', 'at', 'least', 'one', 'yellow', 'block']
    """

    stem_count = RARE  # times that the training sentences have a word for others to lose their -s

    def __init__(self, sentences):
        from symspellpy import SymSpell, Verbosity  # where it is used: the scripts that get data run without

        dictionary = importlib.resources.files("symspellpy") / "frequency_dictionary_en_82_765.txt"
        self.english = {line.split()[0] for line in dictionary.read_text(encoding="utf-8-sig").splitlines()}
        counts = collections.Counter(word for sentence in sentences for word in self._words(sentence))
        counts = {word: count for word, count in counts.items() if self._is_english(word)}
        self.frequent = {word: count for word, count in counts.items() if count >= RARE}
        self.stems = {word for word, count in counts.items() if count >= self.stem_count}
        speller = SymSpell(max_dictionary_edit_distance=2)
        for word, count in self.frequent.items():
            speller.create_dictionary_entry(word, count)
        self._nearest = lambda word: speller.lookup(word, Verbosity.TOP, 1 if len(word) < 5 else 2)

    @staticmethod
    def _words(sentence):
        for word in re.findall(r"[a-z]+(?:;[a-z]+)*|[0-9]+", sentence.lower()):
            if word.isdecimal():
                word = NUMBERS[int(word)] if int(word) < len(NUMBERS) else word
            yield TYPING_ERRORS.get(word, word.replace("colour", "color"))

    def _is_english(self, word):
        return len(word) > 1 and (word in self.english or word.removesuffix("s") in self.english) or word == "a"

    def _mended(self, word):
        if word in self.frequent or word.isdecimal() or self._is_english(word):
            return [word]
        for i in range(1, len(word)):
            if word[:i] in self.frequent and word[i:] in self.frequent:
                return [word[:i], word[i:]]
        nearest = self._nearest(word)
        return [nearest[0].term if nearest else word]

    def _singular(self, word):
        stems = (word.removesuffix("s"), word.removesuffix("es")) if len(word) > 3 else ()
        return next((stem for stem in stems if stem in self.stems), word)

    def __call__(self, sentence):
        return [self._singular(mended) for word in self._words(sentence) for mended in self._mended(word)]


def authors_words(words):
    """A sentence in the project's words, list of str -> in those of the authors' program, by `AUTHORS_WORDS`."""
    text = " ".join(words)
    for before, after in AUTHORS_WORDS.items():
        text = re.sub(rf"\b{before}\b", after, text)
    return text.split()


class AuthorsCleaner(SentenceCleaner):
    """A sentence in the words of the authors' program: as `SentenceCleaner` has them, and then by `AUTHORS_WORDS`.

    Plurals lose their -s where any sentence of training has the singular. That program mends fewer typing errors.

    >>> clean = AuthorsCleaner(["There is a box that has 2 blocks touching the wall.", "a block"] * RARE)
    >>> clean("There is a box that has 2 blocks touching the wall.")
    ['one', 'box', 'with', 'two', 'block', 'touching', 'the', 'edge']
    """

    stem_count = 1

    def __call__(self, sentence):
        return authors_words(super().__call__(sentence))


def number_words(words, numbers):
    """The numbers of words, by a dict from word to number. Any other has that of `UNKNOWN`, or is dropped without one."""
    found = (numbers.get(word, numbers.get(UNKNOWN)) for word in words)
    return [number for number in found if number is not None]


def pad_in_front(rows, length):
    """Rows of word numbers, each a list, as one array: int32 (rows, length), with 0 in front of the shorter ones."""
    table = np.zeros((len(rows), length), np.int32)
    for padded, row in zip(table, rows):
        padded[length - len(row):] = row
    return table


@dataclasses.dataclass
class Examples:
    """Examples of NLVR, each with its six images.

    Attributes:
        identifiers: list of str, "n-m": the m-th example with the n-th sentence.
        folder: list of str, the folder of their images; siblings (of the same n) share it.
        sentence: int32 (examples,), rows of the table of sentences.
        label: float32 (examples,), 1 for true.
        boxes: int32 (examples, 6, 3), numbers of the crops, left to right.
    """

    identifiers: list
    folder: list
    sentence: np.ndarray
    label: np.ndarray
    boxes: np.ndarray

    def __len__(self):
        return len(self.identifiers)

    def take(self, rows):
        """The examples of the given rows, as `Examples`."""
        rows = np.asarray(rows, int)
        return Examples([self.identifiers[row] for row in rows], [self.folder[row] for row in rows],
                        self.sentence[rows], self.label[rows], self.boxes[rows])

    def join(self, other):
        """These examples and the others, as `Examples`."""
        return Examples(self.identifiers + other.identifiers, self.folder + other.folder,
                        *(np.concatenate(pair) for pair in ((self.sentence, other.sentence), (self.label, other.label),
                                                            (self.boxes, other.boxes))))


@dataclasses.dataclass
class Nlvr:
    """NLVR as arrays.

    Attributes:
        words: list of str; word number w is words[w - 1], 0 is padding. `UNKNOWN`, if it is there, stands for all others.
        sentences: int32 (distinct sentences, longest sentence), word numbers, with the padding in front.
        crops: uint8 (distinct crops, 50, 50, 3), each box of every image, at half its size.
        mean, deviation: lists of float, for each colour, over the boxes of the training images, from 0 to 255.
        splits: dict from split to `Examples`; "hidden" may be missing.
        fingerprint: str, SHA-256 of sentences, labels and halved images: equal for equal data.
        sentence_rules: str, one of `SENTENCES`, whose words these are.

    Augmentation: `draw_variants` numbers variants of sentences and crops, beyond the numbers of the tables' own rows.
    """

    words: list
    sentences: np.ndarray
    crops: np.ndarray
    mean: list
    deviation: list
    splits: dict
    fingerprint: str
    sentence_rules: str = SENTENCES[0]

    def take_sentences(self, numbers):
        """Word numbers (numbers, longest sentence). Number e * len(sentences) + s is sentence s after exchange e."""
        exchange, sentence = np.divmod(numbers, len(self.sentences))
        known = [name in self.words for name in COLOURS]
        number_of = {word: number for number, word in enumerate(self.words, start=1)}
        colour = np.array([number_of.get(name, number_of.get(UNKNOWN, 0)) for name in COLOURS])
        words = np.tile(np.arange(len(self.words) + 1, dtype=np.int32), (len(EXCHANGES), 1))
        for row, order in zip(words, EXCHANGES):
            row[colour[known]] = colour[list(order)][known]
        taken = words[exchange[:, None], self.sentences[sentence]]
        if not colour.all():  # a colour without a number is dropped, and what is before it moves up
            taken = np.take_along_axis(taken, np.argsort(taken > 0, axis=1, kind="stable"), axis=1)
        return taken

    def take_crops(self, numbers):
        """Crops, uint8 (numbers, 50, 50, 3). Number (2 e + m) * len(crops) + c is crop c after exchange e, mirrored if m."""
        variants, crops = np.divmod(numbers, len(self.crops))
        taken = self.crops[crops]
        for variant in np.unique(variants[variants > 0]):
            rows = variants == variant
            taken[rows] = exchange_colours(taken[rows], variant // 2)
            if variant % 2:
                taken[rows] = taken[rows][:, :, ::-1]
        return taken


def colour_shares(pixels):
    """The shares of the three `COLOURS` and of `BOX_COLOUR` that each pixel mixes: (..., 3) -> float32 (..., 4)."""
    unmix = np.linalg.inv(np.hstack([[*COLOURS.values(), BOX_COLOUR], np.ones((4, 1))])).astype(np.float32)
    return pixels.astype(np.float32) @ unmix[:3] + unmix[3]


def exchange_colours(pixels, exchange):
    """Pixels, uint8 (..., 3), with the colours of items exchanged: the i-th becomes that of number EXCHANGES[exchange][i]."""
    colours = np.array([*COLOURS.values()], np.float32)[list(EXCHANGES[exchange])]
    changed = colour_shares(pixels) @ np.vstack([colours, np.float32(BOX_COLOUR)])
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def draw_variants(nlvr, example, sentence, boxes, random):
    """Draw a variant of each image that its sentence is as true of: colours exchanged in both, boxes mirrored.

    Each example has one exchange of `EXCHANGES` for all its boxes and sentences; each box is mirrored or not on its own,
    but not where the sentence speaks of a side.

    Args:
        nlvr: Nlvr.
        example: integers (images,), the example of each image, from 0.
        sentence: integers (images,), rows of `nlvr.sentences`.
        boxes: integers (images, 3), rows of `nlvr.crops`.
        random: numpy.random.Generator.
    Returns:
        sentence and boxes as numbers for `Nlvr.take_sentences` and `Nlvr.take_crops`.
    """
    sides = [nlvr.words.index(word) + 1 for word in ("left", "right") if word in nlvr.words]
    without_side = ~np.isin(nlvr.sentences, sides).any(axis=1)
    exchange = random.integers(len(EXCHANGES), size=example.max() + 1)[example]
    mirrored = random.integers(2, size=len(nlvr.crops))[boxes] * without_side[sentence][:, None]
    return (sentence + exchange * len(nlvr.sentences),
            boxes + (2 * exchange[:, None] + mirrored) * len(nlvr.crops))


def load_nlvr(path, mx=50, cache=None, words=None, sentences="authors", halving="nearest", statistics="one"):
    """Load NLVR, from DIR/SPLIT/SPLIT.json and DIR/SPLIT/images/*/SPLIT-n-m-k.png to arrays.

    Args:
        path: str, the folder.
        mx: int, the words of a sentence that are kept.
        cache: str, the file that keeps the decoded images from run to run, see `load_crops`; by default beside the folder,
            one for each halving.
        words: list of str, to number words as an earlier run did; by default those of training.
        sentences: "authors": words as `AuthorsCleaner` has them, those that training lacks are dropped, and the last mx are
            kept; or "project": as `SentenceCleaner` has them, those that training has fewer than `RARE` times are
            `UNKNOWN`, and the first mx are kept.
        halving: "nearest" or "mean", see `image_boxes`.
        statistics: "one" mean and deviation of all pixels and colours, or those of each of the "channels".
    Returns:
        Nlvr.
    Raises:
        DataError: a split, an annotation or an image that is missing or damaged, or an image without annotation.
    """
    if not os.path.isdir(path):
        raise DataError(f"{path}: no such folder; {HOW_TO_GET_IT}")
    splits = [split for split in SPLITS if split != "hidden" or os.path.isdir(os.path.join(path, split))]
    annotations = {split: read_examples(os.path.join(path, split, f"{split}.json")) for split in splits}
    images = {split: find_images(path, split, annotations[split]) for split in splits}
    crops, boxes = load_crops(path, [name for split in splits for name in images[split]],
                              cache or default_cache(path, halving), halving)

    as_authors = sentences == "authors"
    clean = (AuthorsCleaner if as_authors else SentenceCleaner)(example["sentence"] for example in annotations["train"])
    texts = {example["sentence"]: None for split in splits for example in annotations[split]}
    texts = {text: clean(text)[:None if as_authors else mx] for text in texts}
    if words is None:
        counts = collections.Counter(word for example in annotations["train"] for word in texts[example["sentence"]])
        words = sorted(counts) if as_authors else [UNKNOWN, *sorted(word for word, count in counts.items() if count >= RARE)]
    word_numbers = {word: number for number, word in enumerate(words, start=1)}
    rows = [number_words(tokens, word_numbers)[-mx:] for tokens in texts.values()]
    text_numbers = {text: number for number, text in enumerate(texts)}

    found, first = {}, 0
    content = hashlib.sha256(crops)
    for split in splits:
        examples, number = annotations[split], len(images[split])
        found[split] = Examples(
            [example["identifier"] for example in examples],
            [os.path.basename(os.path.dirname(name)) for name in images[split][::PERMUTATIONS]],
            np.array([text_numbers[example["sentence"]] for example in examples], np.int32),
            np.array([example["label"] == "true" for example in examples], np.float32),
            boxes[first:first + number].reshape(-1, PERMUTATIONS, len(BOX_LEFT)))
        first += number
        content.update(json.dumps([[example[key] for key in ("identifier", "sentence", "label")] for example in examples]
                                  ).encode() + found[split].boxes.tobytes())
    mean, deviation = _colour_statistics(crops, found["train"].boxes, statistics)
    table = pad_in_front(rows, max(1, *map(len, rows)))
    return Nlvr(words, table, crops, mean, deviation, found, content.hexdigest(), sentences)


def default_cache(path, halving):
    """The file beside a folder of the corpus that keeps its decoded images."""
    return f"{os.path.abspath(path)}.crops{'' if halving == 'nearest' else f'-{halving}'}.h5"


def _colour_statistics(crops, boxes, statistics):
    weights = np.bincount(boxes.ravel(), minlength=len(crops)) / (boxes.size * crops.shape[1] * crops.shape[2])
    sums = np.zeros((2, crops.shape[3]))
    for first in range(0, len(crops), 1000):  # in parts, for the memory
        part = crops[first:first + 1000].astype(np.float32)
        for power in (1, 2):
            sums[power - 1] += weights[first:first + 1000] @ (part**power).sum(axis=(1, 2), dtype=np.float64)
    if statistics == "one":
        sums[:] = sums.mean(axis=1, keepdims=True)
    # A colour that never varies stays as it is.
    deviation = np.sqrt(np.maximum(sums[1] - sums[0]**2, 0.0))
    return [[round(float(x), 4) for x in values] for values in (sums[0], np.where(deviation < 1e-3, 1.0, deviation))]


def read_examples(path):
    """Read the annotations of a split: a JSON object a line, sorted by identifier.

    Args:
        path: str.
    Returns:
        list of dict with "identifier", "sentence" and "label", "true" or "false".
    Raises:
        DataError: no such file, or a line that is no example, with its number.
    """
    examples = {}
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    example = _read_example(line, f"{path}, line {number}")
                    if example["identifier"] in examples:
                        raise DataError(f"{path}, line {number}: example {example['identifier']} comes twice; restore the "
                                        "released file")
                    examples[example["identifier"]] = example
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); {HOW_TO_GET_IT}") from None
    if not examples:
        raise DataError(f"{path}: no example in the file; {HOW_TO_GET_IT}")
    return [examples[key] for key in sorted(examples, key=lambda key: [int(part) for part in key.split("-")])]


def _read_example(line, where):
    try:
        example = {key: json.loads(line)[key] for key in ("identifier", "sentence", "label")}
        good = (re.fullmatch(r"[0-9]{1,9}-[0-9]{1,9}", example["identifier"]) and example["sentence"].strip()
                and example["label"] in ("true", "false"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        good = False
    if not good:
        raise DataError(f"{where}: expected an object with identifier 'n-m', sentence and label 'true' or 'false', found "
                        f"{line.strip()[:60]!r}; restore the released file")
    return example


def find_images(path, split, examples):
    """Find the six images of each example of a split.

    Returns:
        list of str, relative to `path`: those of the first example by number, then those of the second, and so on.
    Raises:
        DataError: a missing image, or one without an example.
    """
    folder = os.path.join(path, split, "images")
    found = {}
    for directory in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if os.path.isdir(os.path.join(folder, directory)):
            for name in sorted(os.listdir(os.path.join(folder, directory))):
                if name.endswith(".png"):
                    if name in found:
                        raise DataError(f"{path}/{found[name]}: is in folder {directory} too; remove one of the two")
                    found[name] = f"{split}/images/{directory}/{name}"
    wanted = [f"{split}-{example['identifier']}-{k}.png" for example in examples for k in range(PERMUTATIONS)]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{folder}: {len(missing):,} of {len(wanted):,} images of {split}.json are missing, the first "
                        f"{missing[0]}; {HOW_TO_GET_IT}")
    more = sorted(set(found).difference(wanted))
    if more:
        raise DataError(f"{path}/{found[more[0]]}: {split}.json has no example for this image (nor for {len(more) - 1:,} "
                        f"others); restore {split}.json or remove what is not of the corpus")
    return [found[name] for name in wanted]


CACHE_FORMAT = 2
CACHE_CHUNK = 256  # crops; about as many as fill an ordinary chunk cache of 1 MB when they are read in order


def load_crops(path, names, cache, halving="nearest"):
    """The boxes of all images, each distinct one once, from a file kept from an earlier run, or from the images.

    The cache is an HDF5 file with the crops, compressed in chunks, and their numbers in each image. It is taken if it has
    the digest that it was written with, if it was made with the same halving, and if names, sizes and times of the images
    are those it was made of; else one line says why not, and it is made again, whole or not at all.

    Args:
        path: str, the folder of the corpus.
        names: list of str, the images, relative to `path`.
        cache: str, the file.
        halving: "nearest" or "mean", see `image_boxes`.
    Returns:
        crops: uint8 (distinct crops, 50, 50, 3), numbered as they first come.
        boxes: int32 (images, 3), rows of `crops`.
    Raises:
        DataError: an image that cannot be used.
        OSError: the cache cannot be written.
    """
    sources = hashlib.sha256()
    for name in names:
        status = os.stat(os.path.join(path, name))
        sources.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    if os.path.exists(cache):
        try:
            return read_crops(cache, sources.hexdigest(), halving)
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, MemoryError) as error:
            print(f"{cache}: {' '.join(str(error).split())[:100]}; the images are decoded again")
    crops, boxes = decode_images(path, names, halving)
    write_crops(cache, crops, boxes, sources.hexdigest(), halving)
    return crops, boxes


def write_crops(cache, crops, boxes, sources, halving):
    """Write the file that `load_crops` describes, whole or not at all."""
    import h5py

    content = io.BytesIO()  # HDF5 crashes the process when it runs out of space while it writes
    with h5py.File(content, "w") as file:
        file.create_dataset("crops", data=crops, chunks=(min(CACHE_CHUNK, len(crops)), *crops.shape[1:]),
                            compression="gzip", compression_opts=1)
        file.create_dataset("boxes", data=boxes, compression="gzip")
        file.attrs.update({"format": CACHE_FORMAT, "halving": halving, "sources": sources, "digest": _digest(crops, boxes)})
    write_whole(os.path.abspath(cache), content.getvalue())


def read_crops(cache, sources, halving):
    """Read what `write_crops` wrote, chunk by chunk. Raises ValueError, or what h5py does, if it cannot be used."""
    import h5py

    with h5py.File(cache, "r") as file:
        if file.attrs["format"] != CACHE_FORMAT:
            raise ValueError("made by another version of this program")
        if file.attrs["halving"] != halving:
            raise ValueError(f"made with --halving {file.attrs['halving']}, not {halving}")
        if file.attrs["sources"] != sources:
            raise ValueError("made of other images")
        stored = file["crops"]
        if stored.shape[1:] != (BOX_SIZE // 2, BOX_SIZE // 2, 3) or stored.dtype != np.uint8:
            raise ValueError("damaged")
        crops, boxes = np.empty(stored.shape, np.uint8), file["boxes"][()]
        for chunk in stored.iter_chunks():
            stored.read_direct(crops, chunk, chunk)
        if file.attrs["digest"] != _digest(crops, boxes):
            raise ValueError("damaged")
    return crops, boxes


def _digest(crops, boxes):
    digest = hashlib.sha256(repr((crops.shape, boxes.shape, boxes.dtype.str)).encode())
    digest.update(np.ascontiguousarray(crops))
    digest.update(np.ascontiguousarray(boxes))
    return digest.hexdigest()


def decode_images(path, names, halving="nearest"):
    """Decode images in parallel; returns what `load_crops` does."""
    from data import fetch

    progress = fetch.Progress("decoding", len(names), 1, "images")
    numbers, crops, boxes = {}, [], np.empty((len(names), len(BOX_LEFT)), np.int32)
    try:
        # Pillow decodes outside Python's lock, and processes would each import what the calling script does.
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, len(names), 4096):  # not all at once: what is decoded waits for its turn in memory
                paths = [os.path.join(path, name) for name in names[first:first + 4096]]
                for row, image in enumerate(pool.map(image_boxes, paths, itertools.repeat(halving)), start=first):
                    for place, crop in enumerate(image):
                        key = hashlib.blake2b(crop, digest_size=16).digest()
                        if key not in numbers:
                            numbers[key] = len(crops)
                            crops.append(crop)
                        boxes[row, place] = numbers[key]
                    progress.update(row + 1)
    finally:
        progress.close()
    return np.stack(crops), boxes


def image_boxes(path, halving="nearest"):
    """The three boxes of an image file at half their size, uint8 (3, 50, 50, 3).

    The fourth channel, opacity, is 255 everywhere in the corpus and left out.

    Args:
        path: str.
        halving: how a pixel is made of four: "nearest" takes the lower right one, as Pillow's `Image.resize` does by its
            nearest neighbour, "mean" their mean.
    Raises:
        DataError: not a whole PNG file of the corpus's size.
    """
    from PIL import Image

    try:
        with open(path, "rb") as file:
            content = file.read()
        if not intact_png(content):
            raise ValueError("not a whole PNG file")
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size != IMAGE_SIZE:
                raise ValueError(f"{image.size[0]} x {image.size[1]} pixels, not {IMAGE_SIZE[0]} x {IMAGE_SIZE[1]}")
            image = image.convert("RGB")
            pixels = np.asarray(image.reduce(2)) if halving == "mean" else np.asarray(image)[1::2, 1::2]
    except (OSError, ValueError, SyntaxError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); {HOW_TO_GET_IT}") from None
    size = BOX_SIZE // 2
    return np.stack([pixels[:size, left // 2:left // 2 + size] for left in BOX_LEFT])


def intact_png(content):
    """Whether bytes are a whole PNG file: its chunks, each with the right checksum, to the last."""
    position, kind = 8, None
    while kind != b"IEND":
        try:
            length, kind = struct.unpack_from(">I4s", content, position)
            checksum, = struct.unpack_from(">I", content, position + 8 + length)
        except struct.error:
            return False
        if zlib.crc32(content[position + 4:position + 8 + length]) != checksum:
            return False
        position += 12 + length
    return content[:8] == b"\x89PNG\r\n\x1a\n"


def split_folders(examples, folders, seed):
    """Set the examples of some numbered image folders apart for validation. They keep siblings together.

    Args:
        examples: Examples.
        folders: int, how many folders, drawn at random.
        seed: int.
    Returns:
        training and validation examples, Examples.
    Raises:
        DataError: no folder is left to train on.
    """
    names = sorted(set(examples.folder))
    if folders >= len(names):
        raise DataError(f"--validation-folders {folders} leaves none of the {len(names)} training folders; give fewer")
    chosen = set(np.random.default_rng([seed, 0]).permutation(names)[:folders].tolist())
    held_out = np.array([folder in chosen for folder in examples.folder])
    return examples.take(np.flatnonzero(~held_out)), examples.take(np.flatnonzero(held_out))


class ImageBatch(NamedTuple):
    """What a model reads: some images with their sentences, each distinct crop, sentence and look once.

    A look is a box seen with a sentence. Each of the three places has its own list of looks, or all share one.

    Attributes:
        sentence_of_image: int32 (images,), row of `sentences`.
        look_of_image: int32 (images, 3), row of the look at each of its boxes.
        box_of_look: int32 (look slots, lists), row of `crops`; 0 in unused slots, as everywhere but in `crops`. 3 lists or 1.
        sentence_of_look: int32 (look slots, lists), row of `sentences`.
        crops: uint8 (crop slots, 50, 50, 3); unused slots repeat the others.
        sentences: int32 (sentence slots, longest sentence), word numbers, with the padding in front.
    """

    sentence_of_image: np.ndarray
    look_of_image: np.ndarray
    box_of_look: np.ndarray
    sentence_of_look: np.ndarray
    crops: np.ndarray
    sentences: np.ndarray


def _looks(sentence, boxes, shared):
    """The distinct looks of each list, (2, looks): boxes and sentences; and for each place the rows of its looks."""
    base = int(sentence.max()) + 1
    coded = boxes.astype(np.int64) * base + sentence[:, None]
    if shared:
        look, row = np.unique(coded, return_inverse=True)
        looks, rows = [look], list(row.reshape(boxes.shape).T)
    else:
        looks, rows = zip(*(np.unique(column, return_inverse=True) for column in coded.T))
    return [np.stack(np.divmod(look, base)) for look in looks], rows


def slots(sentence, boxes, shared=False):
    """How many looks (the most of all lists), distinct crops and distinct sentences some images have.

    Args:
        sentence, boxes, shared: as in `pack_images`.
    """
    lists, _ = _looks(sentence, boxes, shared)
    return max(look.shape[1] for look in lists), len(np.unique(boxes)), len(np.unique(sentence))


def pack_images(nlvr, sentence, boxes, sizes=None, shared=False):
    """Make a batch of some images.

    Args:
        nlvr: Nlvr, for its tables.
        sentence: integers (images,), rows of `nlvr.sentences`, or numbers of their variants.
        boxes: integers (images, 3), rows of `nlvr.crops`, or numbers of their variants.
        sizes: list of (look slots, crop slots, sentence slots) from small to large, of which the first that is large
            enough is taken, for a model that is compiled for each shape; by default as many as it takes.
        shared: bool, whether all places share one list of looks, for a model that looks at them alike.
    Returns:
        ImageBatch.
    """
    crops, crop_of_box = np.unique(boxes, return_inverse=True)
    sentences, sentence_of_image = np.unique(sentence, return_inverse=True)
    lists, look_of_image = _looks(sentence_of_image, crop_of_box.reshape(boxes.shape), shared)
    needed = max(look.shape[1] for look in lists), len(crops), len(sentences)
    look_slots, crop_slots, sentence_slots = next(size for size in sizes or [needed] if np.all(np.array(size) >= needed))
    of_look = np.zeros((2, look_slots, len(lists)), np.int32)
    for number, look in enumerate(lists):
        of_look[:, :look.shape[1], number] = look
    packed_crops = nlvr.take_crops(np.resize(crops, crop_slots))  # statistics over the slots are of crops alone
    packed_sentences = np.zeros((sentence_slots, nlvr.sentences.shape[1]), np.int32)
    packed_sentences[:len(sentences)] = nlvr.take_sentences(sentences)
    return ImageBatch(sentence_of_image.astype(np.int32), np.stack(look_of_image, axis=1).astype(np.int32), *of_look,
                      packed_crops, packed_sentences)


# Report


def measure(examples, answers):
    """The figures of some answers on one split.

    Args:
        examples: Examples.
        answers: booleans (examples, 6), those of their images.
    Returns:
        dict: "images", "examples" and "sentences", their numbers; "majority", the share of the more frequent label;
        "accuracy"; "consistency", the share of examples with all six images right; "sentence_consistency", that of
        sentences with all images right; shares in per cent.
    """
    right = answers == (examples.label[:, None] > 0.5)
    of_sentence = collections.defaultdict(lambda: True)
    for identifier, all_six in zip(examples.identifiers, right.all(axis=1)):
        of_sentence[identifier.split("-")[0]] &= bool(all_six)
    true = float(examples.label.mean())
    shares = {"majority": max(true, 1 - true), "accuracy": right.mean(), "consistency": right.all(axis=1).mean(),
              "sentence_consistency": np.mean(list(of_sentence.values()))}
    return {"images": right.size, "examples": len(examples), "sentences": len(of_sentence),
            **{key: round(100 * float(share), 4) for key, share in shares.items()}}


def split_name(way):
    """The corpus's name of "SPLIT", or of "SPLIT, averaged"."""
    split, _, averaged = way.partition(",")
    return SPLIT_NAMES[split] + averaged


def table(results):
    """Figures of `measure`, a dict from split, or "SPLIT, averaged", as text."""
    lines = [f"{'':18}  {'images':>6}  {'majority %':>10}  {'accuracy %':>10}  {'consistency %':>13}  {'of sentences %':>14}"]
    for way, result in results.items():
        lines.append(f"{split_name(way):18}  {result['images']:>6,}  {result['majority']:>10.2f}  "
                     f"{result['accuracy']:>10.2f}  {result['consistency']:>13.2f}  {result['sentence_consistency']:>14.2f}")
    return "\n".join(lines)
