"""Batches of bAbI stories, the facts of all of them laid end to end, and of NLVR images, each distinct box once.

A batch of stories holds each distinct sentence once, and as many slots for facts as its stories have, rounded up to a few
sizes. So the cost of a step follows the real facts and the distinct sentences, and a compiled model sees few shapes. A batch
of images holds each distinct crop and each distinct sentence once.
"""
import sys
from typing import NamedTuple

import numpy as np

from data_utils import BOX_LEFT, PERMUTATIONS
from training.backend import keras

# bAbI


class StoryBatch(NamedTuple):
    """What a model reads: some questions, and the facts of all their stories laid end to end.

    Attributes:
        question: int32 (batch, longest question), word numbers.
        beginnings: int32 (beginning slots, longest sentence - usual length), word numbers of what the longer of the distinct
            sentences begin with, and at least one row of padding.
        sentences: int32 (sentence slots, usual length), word numbers of the distinct sentences, the longer ones first, without
            their beginnings.
        sentence_of_fact: int32 (fact slots,), row of `sentences`.
        time_of_fact: int32 (fact slots,), number of the fact's time word; 0 in unused slots.
        story_of_fact: int32 (fact slots,), row of `question`; -1 in unused slots.
        count_of_fact: int32 (fact slots,), how many facts the slot stands for; 0 in unused slots.

    If the padding of the `Babi` is "read", a story of n < mx facts has one slot more, for its mx - n absent facts: an empty
    sentence, time word 0 and a count of mx - n.
    """

    question: np.ndarray
    beginnings: np.ndarray
    sentences: np.ndarray
    sentence_of_fact: np.ndarray
    time_of_fact: np.ndarray
    story_of_fact: np.ndarray
    count_of_fact: np.ndarray


class PairBatch(NamedTuple):
    """A `StoryBatch` with the pairs of the facts of each story.

    Attributes:
        first_of_pair, second_of_pair: int32 (pair slots,), fact slots; -1 in unused slots.
    """

    question: np.ndarray
    beginnings: np.ndarray
    sentences: np.ndarray
    sentence_of_fact: np.ndarray
    time_of_fact: np.ndarray
    story_of_fact: np.ndarray
    count_of_fact: np.ndarray
    first_of_pair: np.ndarray
    second_of_pair: np.ndarray


UNUSED = {"story_of_fact": -1, "first_of_pair": -1, "second_of_pair": -1}  # what unused slots have; the others have 0


class Slots(NamedTuple):
    """The sizes a batch is padded to; no pairs where nobody reads them."""

    facts: int
    sentences: int
    beginnings: int
    pairs: int = 0


def pack_stories(babi, stories, rows, sizes=None, pairs=False, naming=None):
    """Lay the facts of some questions end to end, each distinct sentence once.

    Args:
        babi: Babi, for its tables.
        stories: Stories.
        rows: integers (batch,), rows of `stories`.
        sizes: list of Slots from small to large; the first that is large enough is taken, so that a compiled model
            sees no other shapes. None gives just the slots that are used.
        pairs: bool, whether to list the pairs of facts.
        naming: int32 (batch, words + 1), other names, as of `Renaming.draw`; by default those of the files.
    Returns:
        StoryBatch, or with `pairs` PairBatch.
    """
    packed = _pack(babi, stories, rows, pairs, naming)
    return _lay(packed, _smallest(sizes, [packed]) if sizes else _used(packed))


def _pack(babi, stories, rows, pairs, naming):
    """As `pack_stories`, with just the slots that are used."""
    facts, question = stories.facts[rows], babi.questions[stories.question[rows]]
    story, column = np.nonzero(used_slots(facts, babi.padding))
    if naming is None:
        distinct, sentence = np.unique(facts[story, column], return_inverse=True)
        words = babi.sentences[distinct]
    else:
        question = np.take_along_axis(naming, question, axis=1)
        renamed = np.take_along_axis(naming[story], babi.sentences[facts[story, column]], axis=1)
        # As bytes, rows compare faster than with axis=0.
        as_bytes = renamed.view(f"V{renamed.itemsize * renamed.shape[1]}").ravel()
        _, first, sentence = np.unique(as_bytes, return_index=True, return_inverse=True)
        words = renamed[first]
    beginnings, sentences = np.split(words, [words.shape[1] - babi.usual_length], axis=1)
    longer = beginnings.any(axis=1)
    order = np.argsort(~longer, kind="stable")
    place = np.argsort(order)
    real, absent = facts[story, column] > 0, facts.shape[1] - column
    times = np.where(real, column + (len(babi.words) + 1), 0)
    batch = StoryBatch(question, np.pad(beginnings[longer], ((0, 1), (0, 0))), sentences[order], *(
        array.astype(np.int32) for array in (place[sentence], times, story, np.where(real, 1, absent))))
    return PairBatch(*batch, *pairs_of_facts(story)) if pairs else batch


def _used(batch):
    """The `Slots` that a batch takes."""
    pairs = len(batch.first_of_pair) if isinstance(batch, PairBatch) else 0
    return Slots(len(batch.story_of_fact), len(batch.sentences), len(batch.beginnings), pairs)


def _smallest(sizes, batches):
    """The first of some sizes, from small to large, that is large enough for all batches."""
    needed = np.max([_used(batch) for batch in batches], axis=0)
    return next(size for size in sizes if np.all(np.array(size) >= needed))


def _lay(batch, slots):
    """A batch with so many slots."""
    slots_of = {"question": len(batch.question), "beginnings": slots.beginnings, "sentences": slots.sentences,
                "first_of_pair": slots.pairs, "second_of_pair": slots.pairs}
    laid = {}
    for name, array in batch._asdict().items():
        laid[name] = np.full((slots_of.get(name, slots.facts), *array.shape[1:]), UNUSED.get(name, 0), np.int32)
        laid[name][:len(array)] = array
    return type(batch)(**laid)


def used_slots(facts, padding):
    """Which of the places of facts take a slot in a batch, booleans (batch, mx).

    Args:
        facts: integers (batch, mx), the newest first, 0 for no fact.
        padding: str; if "read", the first place without a fact has the slot of the absent facts.
    """
    used = facts > 0
    if padding == "read":
        used[:, 1:] |= used[:, :-1]
        used[:, 0] = True
    return used


def pairs_of_facts(story):
    """All ordered pairs of facts of the same story, a fact with itself included.

    Args:
        story: integers (facts,), the story of each fact, ascending.
    Returns:
        int32 (2, pairs), positions in `story` of the first and the second of each pair.
    """
    facts_of_story = np.bincount(story)
    partners = facts_of_story[story]
    first = np.repeat(np.arange(len(story)), partners)
    before = np.repeat(np.cumsum(partners) - partners, partners)
    start_of_story = np.cumsum(facts_of_story) - facts_of_story
    return np.stack([first, np.arange(len(first)) - before + start_of_story[story[first]]]).astype(np.int32)


def slot_sizes(babi, stories, batch_size, pairs=False, rows=None, at_once=1, naming=None):
    """Sizes for batches, or for groups of them: for half, for 19 in 20, for nearly all others, for any there can be.

    Args:
        babi: Babi, for its padding.
        stories: Stories.
        batch_size: int.
        pairs: bool, whether the pairs of facts are read.
        rows: integers, the rows of `stories` that the batches are drawn from, for a mixture that changes over the epochs:
            the sizes are then four for each doubling, and none for half of the batches, so that a compiled model sees few.
            By default all rows, and multiples of 16.
        at_once: int, how many batches have one size, that of the largest.
        naming: function of (rows, np.random.Generator) to other names, as of `pack_stories`; by default those of the files.
    Returns:
        list of Slots, as seen in random batches.
    """
    even, rows = rows is None, np.arange(len(stories)) if rows is None else rows
    random = np.random.default_rng(0)
    seen = []
    for _ in range(200 if at_once == 1 else 1000):
        drawn = rows[random.integers(len(rows), size=batch_size)]
        seen.append(_used(_pack(babi, stories, drawn, pairs, naming(drawn, random) if naming else None)))
    if at_once > 1:
        seen = np.max(np.array(seen)[random.integers(len(seen), size=(200, at_once))], axis=1)
    usual, largest = np.quantile(seen, [0.5, 0.95] if even else [0.95], axis=0), 1.15 * np.max(seen, axis=0)
    facts = batch_size * stories.facts.shape[1]
    any_batch = np.array([facts, facts, facts + 1, pairs * facts * stories.facts.shape[1]])  # one beginning is padding
    # Whole multiples of 16 suit the vector units, and keep the sizes of similar data alike.
    least = [16, 16, 16, 16 * pairs]
    any_batch = np.maximum(least, -(-any_batch // 16) * 16)
    sizes = []
    for size in (*usual, largest, any_batch):
        size = np.maximum(least, size)
        step = 16 if even else np.maximum(16, 2.0 ** (np.floor(np.log2(np.maximum(16, size))) - 2))
        sizes.append(Slots(*np.minimum(-(-size // step) * step, any_batch).astype(int).tolist()))
    return sizes


def story_inputs(babi, pairs=False):
    """The inputs of a functional model, a `StoryBatch` of keras.Input, or a `PairBatch` with `pairs`."""
    kind = PairBatch if pairs else StoryBatch
    words = {"question": babi.questions.shape[1], "beginnings": babi.sentences.shape[1] - babi.usual_length,
             "sentences": babi.usual_length}
    return kind(*(keras.Input((words[name],) if name in words else (), dtype="int32", name=name)
                  for name in kind._fields))


class StoryBatches(keras.utils.PyDataset):
    """Batches of bAbI questions: inputs a `StoryBatch`, targets the numbers of the answers.

    Everything random is drawn from `order_seed` and the epoch, so an epoch has the same batches whatever ran before it.

    Args:
        babi: data_utils.Babi.
        stories: data_utils.Stories.
        batch_size: int.
        order_seed: list of int.
        steps: int, batches in an epoch; by default all.
        course: babi_extensions.Course, other questions in an epoch, and other names in them; by default all as they are.
        at_once: int, how many batches are handed out together, all of one size, laid end to end: for `steps.StepsAtOnce`.
            At the end of an epoch they are as many as remain, and a batch of fewer questions comes alone; of a course with a
            focus an epoch ends with the last whole group. By default one.
        final: (epoch, data_utils.Stories), other stories from an epoch on, counted from 0; by default the same to the end.

    Attributes:
        stories: data_utils.Stories of the epoch that was set last.
        total, steps: int, how many questions and batches such an epoch has.
    """

    pairs = False  # whether the inputs list the pairs of facts
    of = "questions"

    def __init__(self, babi, stories, batch_size, order_seed=(0,), steps=None, course=None, at_once=1, final=None):
        # With one worker Keras lets tf.data tune itself, and ending an epoch then waits for the tuner's next round, whose
        # period doubles. JAX needs no tf.data.
        super().__init__(workers=2 if keras.backend.backend() == "tensorflow" else 1)
        self.babi, self.course = babi, course
        self.batch_size, self.order_seed, self.at_once = batch_size, order_seed, at_once
        self.first, self.final, self.shortened = stories, final, steps or sys.maxsize
        self._take(stories)
        self.even_sizes = self._slot_sizes() if self.fixed_sizes() else None
        self._shuffle(0)

    @classmethod
    def fixed_sizes(cls):
        """Whether a model that reads these is compiled by XLA, which needs batches of a few fixed sizes."""
        return True

    def _slot_sizes(self, rows=None):
        def naming(drawn, random):
            return self.course.renaming.draw(self.stories.task[drawn], self.stories.answer[drawn], random)[0]

        return slot_sizes(self.babi, self.stories, self.batch_size, self.pairs, rows, min(self.at_once, self.steps),
                          naming if self.course and self.course.renaming else None)

    def _stories(self, epoch):
        return self.final[1] if self.final and epoch >= self.final[0] else self.first

    def _steps(self, stories):
        steps = min(self.shortened, -(-len(stories) // self.batch_size))
        if self.course and self.course.focus and steps > self.at_once:
            # Each mixture has its sizes, and so a compilation for each number of batches in one call.
            steps -= steps % self.at_once
        return steps

    def steps_until(self, epoch):
        """How many batches there are before an epoch, counted from 0."""
        return sum(self._steps(self._stories(earlier)) for earlier in range(epoch))

    def _take(self, stories):
        self.stories, self.total, self.steps = stories, len(stories), self._steps(stories)
        whole = min(self.steps, self.total // self.batch_size)
        self.bounds = [*range(0, whole, self.at_once), *range(whole, self.steps), self.steps]

    def _shuffle(self, epoch):
        self.epoch, self.sizes = epoch, self.even_sizes
        self.order = np.random.default_rng([*self.order_seed, epoch]).permutation(np.arange(self.total))

    def set_epoch(self, epoch):
        """Take the stories of an epoch, counted from 0, and draw their order."""
        self._take(self._stories(epoch))
        self._shuffle(epoch)
        if self.course and self.course.mixes(epoch):
            self.order = self.course.order(self.stories, self.order, self.order_seed, epoch)
            if self.sizes:
                self.sizes = self._slot_sizes(self.order)

    def __len__(self):
        return len(self.bounds) - 1

    def __getitem__(self, index):
        batches, answers = zip(*map(self._batch, range(*self.bounds[index:index + 2])))
        size = _smallest(self.sizes, batches) if self.sizes else _used(batches[0])
        batches = [_lay(batch, size) for batch in batches]
        return type(batches[0])(*map(np.concatenate, zip(*batches))), np.concatenate(answers)

    def _batch(self, index):
        rows = self.order[index * self.batch_size:(index + 1) * self.batch_size]
        answers, naming = self.stories.answer[rows], None
        if self.course and self.course.renaming:
            random = np.random.default_rng([*self.order_seed, self.epoch, 1, index])
            naming, answers = self.course.renaming.draw(self.stories.task[rows], answers, random)
        return _pack(self.babi, self.stories, rows, self.pairs, naming), answers


class PairBatches(StoryBatches):
    """Batches of bAbI questions with the pairs of facts of each story: inputs a `PairBatch`."""

    pairs = True

    @classmethod
    def fixed_sizes(cls):
        """As of `StoryBatches`. TensorFlow runs the large products of pairs as fast without XLA, and then needs no unused slots."""
        return keras.backend.backend() != "tensorflow"


def batches_for(network):
    """The kind of batches that a network of `story_inputs` reads."""
    return PairBatches if len(network.inputs) == len(PairBatch._fields) else StoryBatches


# NLVR


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


def pack_images(tables, sentence, boxes, sizes=None, shared=False):
    """Make a batch of some images.

    Args:
        tables: data_utils.Nlvr, or nlvr_extensions.Variants.
        sentence: integers (images,), numbers for `tables.take_sentences`.
        boxes: integers (images, 3), numbers for `tables.take_crops`.
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
    packed_crops = tables.take_crops(np.resize(crops, crop_slots))  # statistics over the slots are of crops alone
    words = tables.take_sentences(sentences)
    packed_sentences = np.zeros((sentence_slots, words.shape[1]), np.int32)
    packed_sentences[:len(sentences)] = words
    return ImageBatch(sentence_of_image.astype(np.int32), np.stack(look_of_image, axis=1).astype(np.int32), *of_look,
                      packed_crops, packed_sentences)


def image_inputs(nlvr, shared=False):
    """The inputs of a functional model, an `ImageBatch` of keras.Input; `shared` as in `pack_images`."""
    places = len(BOX_LEFT)
    lists = 1 if shared else places
    return ImageBatch(
        keras.Input((), dtype="int32", name="sentence_of_image"),
        keras.Input((places,), dtype="int32", name="look_of_image"),
        keras.Input((lists,), dtype="int32", name="box_of_look"),
        keras.Input((lists,), dtype="int32", name="sentence_of_look"),
        keras.Input(nlvr.crops.shape[1:], dtype=nlvr.crops.dtype.name, name="crops"),
        keras.Input((nlvr.sentences.shape[1],), dtype="int32", name="sentences"))


class ImageBatches(keras.utils.PyDataset):
    """Batches of images: inputs an `ImageBatch`, targets 1 for true.

    The order is a permutation drawn from (`order_seed`, epoch), so an epoch has the same batches whatever ran before it.
    So are the images and their variants, where not all are taken as they are.

    Args:
        nlvr: data_utils.Nlvr.
        examples: data_utils.Examples.
        batch_size: int, images; where whole examples are shuffled, the nearest multiple of the images of one.
        by: "examples" or "images", what is shuffled.
        order_seed: list of int; by default the order is that of the examples.
        steps: int, batches in an epoch; by default all.
        shared: bool, whether all places share one list of looks.
        images: int, how many images of each example an epoch has; all six where the order is that of the examples.
        sentences: int, how many parts of the same length `examples` has, with the same images but other sentences. What
            they say of an image stays together.
        others: int, how many sentences of an example an epoch has beside that of the first part; all of them where the order
            is that of the examples, and by default.
        first_epochs: int, epochs that have other sentences alone: those of as many more parts of `examples` as an epoch has
            sentences of an example.
        variants: nlvr_extensions.Variants, of which an epoch draws one of each image; by default they are as they are.
    """

    of = "images"

    def __init__(self, nlvr, examples, batch_size, by="examples", order_seed=None, steps=None, shared=False,
                 images=PERMUTATIONS, sentences=1, others=None, first_epochs=0, variants=None):
        super().__init__(workers=2 if keras.backend.backend() == "tensorflow" else 1)  # as StoryBatches
        self.tables, self.order_seed, self.shared = variants or nlvr, order_seed, shared
        self.images, self.sentences, self.first_epochs, self.variants = images, sentences, first_epochs, variants
        self.others = sentences - 1 if others is None else others
        self.parts = sentences + (1 + self.others if first_epochs else 0)
        self.unit = images * (1 + self.others) if by == "examples" else 1  # images that stay together
        self.batch_size = max(1, round(batch_size / self.unit)) * self.unit
        self.sentence = np.repeat(examples.sentence, PERMUTATIONS)
        self.label = np.repeat(examples.label, PERMUTATIONS)
        self.boxes = examples.boxes.reshape(-1, examples.boxes.shape[2])
        self.total = len(examples) // self.parts * (1 + self.others) * images
        self.steps = min(steps or sys.maxsize, -(-self.total // self.batch_size))
        self.set_epoch(0)
        # What is compiled for each shape gets few of them.
        self.sizes = None if keras.backend.backend() == "tensorflow" else self._slot_sizes()

    def set_epoch(self, epoch):
        """Draw the order of an epoch, counted from 0, and what it has of the images."""
        random = None if self.order_seed is None else np.random.default_rng([*self.order_seed, epoch])
        taken = np.arange(len(self.label)).reshape(-1, PERMUTATIONS)
        if self.images < PERMUTATIONS:
            taken = random.permuted(taken, axis=1)[:, :self.images]
        taken = taken.reshape(self.parts, -1, self.images)
        taken, first = taken[:self.sentences], taken[self.sentences:]
        if epoch < self.first_epochs:
            taken = first
        elif self.others < self.sentences - 1:
            others = random.permuted(np.tile(np.arange(1, self.sentences)[:, None], taken.shape[1]), axis=0)[:self.others]
            taken = np.concatenate([taken[:1], np.take_along_axis(taken, others[..., None], axis=0)])
        units = taken.swapaxes(0, 1).reshape(-1, self.unit)
        self.order = (units if random is None else random.permutation(units)).ravel()
        self.numbers = self.sentence, self.boxes
        if self.variants:
            images = len(self.label) // self.parts  # of different examples
            example = np.arange(len(self.label)) % images // PERMUTATIONS
            self.numbers = self.variants.draw(example, self.sentence, self.boxes, random)

    def _slot_sizes(self):
        """Sizes for `pack_images`: one for nearly all batches, and one for any there can be."""
        batches = (self._images(self._rows(index)) for index in range(min(100, self.steps)))
        largest = np.max([slots(*images, self.shared) for images in batches], axis=0)
        places = self.boxes.shape[1]
        any_batch = np.array([places if self.shared else 1, places, 1]) * self.batch_size
        return [np.minimum(np.ceil(1.1 * largest).astype(int), any_batch), any_batch]

    def _rows(self, index):
        return self.order[index * self.batch_size:(index + 1) * self.batch_size]

    def _images(self, rows):
        return tuple(numbers[rows] for numbers in self.numbers)

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rows = self._rows(index)
        batch = pack_images(self.tables, *self._images(rows), self.sizes, self.shared)
        return batch, self.label[rows, None]
