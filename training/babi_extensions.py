"""What is not in the paper on bAbI: other questions to train on, other names in them, and auxiliary losses. All is off by default.

Their options are one group, `add_options`. They change what is trained on and what else is minimised; the saved network is
the paper's.
"""
import re

import numpy as np

import data_utils
import layers
from training import command_line
from training.backend import keras
from training.batches import StoryBatch

DEFAULTS = {"extra_simulated": 0, "rename": False, "rename_across_tasks": False, "focus": 0.0, "first_tasks": [],
            "first_epochs": 0, "reconstruction": 0.0, "overlap": 0.0, "final_epochs": 0}
# Options that records and states from before them lack, with the values they stand for.
EARLIER = DEFAULTS | {"validation": "question", "padding": "masked", "start": "uniform", "variant": "santoro",
                      "word_answers": False, "bfloat16": False}
RECONSTRUCTED = 4  # of so many facts --reconstruction takes one

# (Names that may change places throughout a story, tasks where they may.) The pronouns of task 11 tell women from men.
PEOPLE = (
    ("daniel john mary sandra bill fred jeff julie", {1, 2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14}),
    ("daniel john bill fred jeff", {11}),
    ("mary sandra julie", {11}),
)
# Not the places and objects of task 20, to which its motives lead. In task 17 pink stays with its rectangle.
RENAMED = (
    *PEOPLE,
    ("bathroom bedroom garden hallway kitchen office cinema park school", {*range(1, 15), 19}),
    ("apple football milk", {2, 3, 5, 6, 7, 8}),
    ("north south", {4}),
    ("east west", {4}),
    ("emily gertrude jessica winona", {15}),
    ("bernhard brian greg julius lily", {16}),
    ("frog lion rhino swan", {16}),
    ("gray green white yellow", {16}),
    ("left right", {17}),
    ("above below", {17}),
    ("blue red yellow", {17}),
    ("chest container suitcase", {18}),
    ("antoine jason sumit yann", {20}),
)


def add_options(parser):
    """Add the group of options."""
    group = parser.add_argument_group("not in the paper")
    add = group.add_argument
    add("--extra-simulated", type=command_line.natural_number, metavar="N",
        help="simulated questions added to the training questions of each task (default %(default)s)")
    add("--rename", action="store_true",
        help="in training, permute the names of people, places, things, colors and sides in each story anew in each epoch")
    add("--rename-across-tasks", action="store_true",
        help="as --rename, and people may also have names of other tasks; where one is an answer, each is a class")
    add("--focus", type=command_line.fraction, metavar="X",
        help="share of the training questions drawn from the tasks in proportion to their validation errors (default "
        "%(default)g)")
    add("--first-tasks", type=command_line.task_list, metavar="LIST",
        help="tasks whose questions alone are trained on in the first epochs, such as 1,15,16; needs --first-epochs")
    add("--first-epochs", type=command_line.positive_int, metavar="N", help="the number of those epochs")
    add("--reconstruction", type=command_line.natural_float, metavar="X",
        help="weight of an auxiliary loss: predict each word of a fact and of the question from its encoding (default "
        "%(default)g)")
    add("--final-epochs", type=command_line.natural_number, metavar="N",
        help="in the last N epochs train on the validation questions, too, and keep the weights of the last one (default "
        "%(default)s)")
    parser.set_defaults(**{name: value for name, value in DEFAULTS.items() if name != "overlap"})
    return group


def add_overlap_option(group):
    """Add the option of a network with hops to the group of `add_options`."""
    group.add_argument("--overlap", type=command_line.natural_float, metavar="X", default=DEFAULTS["overlap"],
        help="weight of an auxiliary loss: the first hop looks at the facts that share words with the question (default "
        "%(default)g)")


def check_options(args):
    """Raise DataError where the options do not fit together."""
    if bool(args.first_tasks) != bool(args.first_epochs) or set(args.first_tasks) - set(args.tasks):
        raise data_utils.DataError("--first-tasks and --first-epochs need each other, and the first tasks to be among --tasks")
    if args.final_epochs and getattr(args, "rd", 0):
        raise data_utils.DataError("--final-epochs is for the training, rd 0; leave it out of a refinement")
    if args.final_epochs and args.patience:
        raise data_utils.DataError("--patience may end a run before its --final-epochs; leave one of the two out")
    if args.final_epochs >= args.epochs:
        raise data_utils.DataError(f"--final-epochs {args.final_epochs} leaves none of --epochs {args.epochs} without the "
                                   "validation questions; give fewer")
    if args.rename_across_tasks and not any(tasks.intersection(args.tasks) for _, tasks in PEOPLE):
        raise data_utils.DataError("--rename-across-tasks: none of --tasks has people whose names may change; leave it out, or "
                                   "give some of the tasks 1-3 and 5-14")


# What is trained on


def simulated_questions(args, simulate):
    """The texts of the simulated task files that --extra-simulated asks for, a dict from task.

    Args:
        args: parsed arguments.
        simulate: function of (task, questions, seed, split) to the text of a task file.
    """
    return {task: simulate(task, args.extra_simulated, args.seed, "extra") for task in args.tasks if args.extra_simulated}


def final_part(args, training, validation):
    """What the last epochs train on, as of `batches.StoryBatches`; None without --final-epochs.

    Args:
        args: parsed arguments with `epochs` and `final_epochs`.
        training: data_utils.Stories of the other epochs.
        validation: batches.StoryBatches.
    """
    return (args.epochs - args.final_epochs, training.join(validation.stories)) if args.final_epochs else None


def names_across_tasks(args):
    """The names that people of any task may have, a set of str; empty without --rename-across-tasks."""
    return {name for names, _ in PEOPLE for name in names.split() if args.rename_across_tasks}


class Course:
    """What an epoch has instead of every question once as it is: first tasks, a focus on what is still wrong, other names.

    Args:
        args: parsed arguments with the options above.
        babi: data_utils.Babi.
        errors: function of nothing to the error of each task, a dict, called before each epoch if there is a focus.
    """

    def __init__(self, args, babi, errors):
        self.focus, self.errors = args.focus, errors
        self.first_tasks, self.first_epochs = args.first_tasks, args.first_epochs
        self.renaming = Renaming(babi, names_across_tasks(args)) if args.rename or args.rename_across_tasks else None

    def mixes(self, epoch):
        """Whether an epoch, counted from 0, has not just every question once."""
        return self.focus > 0 or epoch < self.first_epochs

    def order(self, stories, order, order_seed, epoch):
        """The rows of `stories` that an epoch has, in random order, as many as `order`, which has each of them once."""
        total = len(order)
        if epoch < self.first_epochs:
            rows = np.flatnonzero(np.isin(stories.task, self.first_tasks))
            order = _in_rounds(rows, total, np.random.default_rng([*order_seed, epoch]))
        errors = self.errors() if self.focus else {}
        if epoch < self.first_epochs:
            errors = {task: errors[task] for task in self.first_tasks if task in errors}
        if sum(errors.values()) > 0:
            order = self._focused(stories, order, errors, np.random.default_rng([*order_seed, epoch, 0]))
        return order

    def _focused(self, stories, order, errors, random):
        """Let questions of the tasks with errors take the place of some others."""
        replaced = round(self.focus * len(order))
        chosen = [order[replaced:]]
        last = np.round(replaced * np.cumsum(list(errors.values())) / sum(errors.values())).astype(int)
        for task, number in zip(errors, np.diff(last, prepend=0)):
            chosen.append(_in_rounds(np.flatnonzero(stories.task == task), number, random))
        return random.permutation(np.concatenate(chosen))


def _in_rounds(rows, number, random):
    """So many of the rows in random order, each as often as any other or once more."""
    rounds = [random.permutation(rows) for _ in range(1 + number // len(rows))]
    return np.concatenate(rounds)[:number]


def course(args, babi, network, validation):
    """The `Course` of a training, or None where every epoch has every question once as it is.

    Args:
        args: parsed arguments.
        babi: data_utils.Babi.
        network: functional model, whose errors the focus follows.
        validation: batches.StoryBatches, on which it makes them.
    """
    if not (args.focus or args.first_epochs or args.rename or args.rename_across_tasks):
        return None
    predictor = keras.Model(network.input, network.output)  # not the compiled model, which runs several batches at once

    def errors():
        answers = np.argmax(predictor.predict(validation, verbose=0), axis=1)
        wrong, tasks = answers != validation.stories.answer[validation.order], validation.stories.task[validation.order]
        return {task: float(np.mean(wrong[tasks == task])) for task in args.tasks}

    return Course(args, babi, errors)


class Renaming:
    """Other names for the people, places, things and sides of each story: more stories to train on, out of the same ones.

    The names of each group of `RENAMED` are permuted at random, in facts, question and answer alike, so that what follows
    from the facts is the answer still. Of a group, a task permutes what its training files use, and all `across_tasks`. Where
    it is not sure what would follow, names stay: those of a group with a name inside another word of the task, such as apple
    in apples; and those of a story whose answer neither has names as words nor is a released one without them, such as "two".

    Args:
        babi: Babi.
        across_tasks: set of str, names that a task permutes even if it does not use them, as of `names_across_tasks`.
    Raises:
        DataError: the words or answers, those of weights to refine, lack some of these names.
    """

    def __init__(self, babi, across_tasks=frozenset()):
        number_of = {word: number for number, word in enumerate(babi.words, start=1)}
        needed = across_tasks.union(*(data_utils.written_as(answer, across_tasks) for answer in babi.answers))
        lacking = sorted(needed.difference(babi.words, babi.answers))
        if lacking:
            raise data_utils.DataError(f"--rename-across-tasks: the weights to refine lack {', '.join(lacking)} among their "
                                       "words or answers; leave it out, or refine a training that had it")
        _, released = data_utils.read_vocabulary(range(1, 21))
        released = {tuple(data_utils.tokenize(answer)) for answer in released}
        self.groups, self.parts = {}, {}
        for task in np.unique(babi.train.task).tolist():
            stories = babi.train.take(babi.train.task == task)
            used = set(babi.sentences[np.unique(stories.facts)].ravel()) | set(babi.questions[np.unique(stories.question)].ravel())
            words = [babi.words[number - 1] for number in used if number]
            groups = ([number_of[name] for name in names.split() if name in across_tasks or number_of.get(name) in used]
                      for names, tasks in RENAMED if task in tasks
                      and not any(name in word and name != word for name in names.split() for word in words))
            self.groups[task] = [np.array(group) for group in groups if len(group) > 1]
            names = {babi.words[number - 1]: number for group in self.groups[task] for number in group.tolist()}
            self.parts[task] = [_parts(answer, names, released) for answer in babi.answers]
        self.words, self.length = ["", *babi.words], len(babi.words) + 1
        self.number_of_answer = {answer: number for number, answer in enumerate(babi.answers)}

    def draw(self, tasks, answers, random):
        """Draw names for some stories.

        Args:
            tasks, answers: integers (stories,).
            random: np.random.Generator.
        Returns:
            int32 (stories, words + 1), the word number that takes the place of each, and the answers under these names. A
            story whose answer would then be one that has no number, or cannot be told, keeps its names.
        """
        naming = np.tile(np.arange(self.length, dtype=np.int32), (len(tasks), 1))
        for task in np.unique(tasks).tolist():
            rows = np.flatnonzero(tasks == task)[:, None]
            for group in self.groups[task]:
                naming[rows, group] = group[random.random((len(rows), len(group))).argsort(axis=1)]
        renamed = answers.copy()
        for row, (task, answer) in enumerate(zip(tasks.tolist(), answers.tolist())):
            parts = self.parts[task][answer]
            label = "".join(part if isinstance(part, str) else part[1](self.words[naming[row, part[0]]])
                            for part in parts or ())
            renamed[row] = self.number_of_answer.get(label, -1) if parts else -1
        kept = renamed < 0
        naming[kept], renamed[kept] = np.arange(self.length), answers[kept]
        return naming, renamed


def _parts(answer, names, released):
    """An answer such as "The milk" in parts: what stays, str, and names, each its word number and how it is written.

    None where it is not sure what stands for the answer under other names: a name inside another word, or an answer without
    names that is none of the released ones.

    Args:
        answer: str.
        names: dict from a name to its word number.
        released: set of tuples of words.
    """
    parts = []
    for part in re.split(r"(\w+)", answer):
        write = data_utils.spelling(part)
        if part.lower() in names and write:
            part = names[part.lower()], write
        elif any(name in part.lower() for name in names):
            return None
        parts.append(part)
    known = any(not isinstance(part, str) for part in parts) or tuple(data_utils.tokenize(answer)) in released
    return parts if known else None


# What else is minimised


@keras.saving.register_keras_serializable("wmemnn")
class WordReconstruction(keras.layers.Layer):
    """How hard it is to tell the words of sentences from their encodings: an auxiliary loss for training.

        loss = - sum over the places t with a word of log softmax(h R_t)[word_t]

    h is the encoding of the sentence; each R_t (units, vocabulary_size) has no bias. Not in the paper. An encoder that is
    trained by the answers alone drops words that do not help yet, and a chain of several facts needs all of its words before
    the first of them helps.

    Args:
        vocabulary_size: int, number 0 included.

    Call arguments:
        encodings: h (encodings, units).
        sentences: integers (sentences, length), word numbers, 0 is padding; the length is static.
        sentence_of_encoding: integers (encodings,), the row of each encoding's sentence; by default its own row.

    Returns:
        loss (encodings,), in nats.

    Raises:
        ValueError: a vocabulary_size below 1; sentences without a static length.
    """

    def __init__(self, vocabulary_size, **kwargs):
        super().__init__(**kwargs)
        (self.vocabulary_size,) = layers.positive(vocabulary_size=vocabulary_size)
        self.supports_masking = True  # takes encodings with a mask, and needs none: a sentence without words has loss 0

    def build(self, encodings_shape, sentences_shape, sentence_of_encoding_shape=None):
        if sentences_shape[-1] is None:
            raise ValueError(f"{self.name}: the sentences' last axis, their length, is static; shape {sentences_shape}")
        self.kernel = self.add_weight(
            shape=(encodings_shape[-1], sentences_shape[-1] * self.vocabulary_size), initializer="glorot_normal", name="kernel")

    def call(self, encodings, sentences, sentence_of_encoding=None):
        if sentence_of_encoding is not None:
            sentences = keras.ops.take(sentences, sentence_of_encoding, axis=0)
        loss = 0.0
        # Place by place: the logits of all places at once do not fit into the cache of a processor.
        for place, kernel in enumerate(keras.ops.split(keras.ops.convert_to_tensor(self.kernel), sentences.shape[-1], axis=1)):
            logits, word = keras.ops.matmul(encodings, kernel), sentences[:, place]
            # A sum with the words as 0 and 1, no look-up: its gradient is no scatter.
            of_word = keras.ops.sum(keras.ops.one_hot(word, self.vocabulary_size, dtype=self.compute_dtype) * logits, axis=1)
            loss = loss + keras.ops.cast(word != 0, self.compute_dtype) * (keras.ops.logsumexp(logits, axis=1) - of_word)
        return loss

    def compute_mask(self, encodings, previous_mask=None):
        return None

    def compute_output_shape(self, encodings_shape, sentences_shape, sentence_of_encoding_shape=None):
        return encodings_shape[:1]

    def get_config(self):
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size}


def word_overlap(question, sentences, sentence_of_fact, story):
    """Where the words of a question point to among the facts of its story.

        c_i = sum over the words w of the question that fact i has too of log(n / n_w),   p_i = c_i / sum over i of c_i

    n facts are in the story, n_w of them have the word: one that they all have points to none. Time words do not count.
    Not in the paper: with `AttentionalController.hop` it makes an auxiliary loss for the training of the first hop.

    Args:
        question: integers (batch, length), word numbers as those of the facts, 0 is padding.
        sentences, sentence_of_fact: as in ShortTermStorage.
        story: integers (facts,), the row of `question` that each fact belongs to; the slots with any other number get 0.

    Returns:
        p (facts,), which sums to one over a story, or is 0 in all of it where no word points anywhere.
    """
    batch = keras.ops.shape(question)[0]
    story = layers.with_unused_row(story, batch)
    asked = keras.ops.expand_dims(keras.ops.take(keras.ops.pad(question, ((0, 1), (0, 0))), story, axis=0), 1)
    words = keras.ops.expand_dims(keras.ops.take(sentences, sentence_of_fact, axis=0), 2)
    shared = keras.ops.cast(keras.ops.any((words == asked) & (asked != 0), axis=1), "float32")  # (facts, words of the question)
    facts = keras.ops.segment_sum(keras.ops.ones_like(shared), story, batch + 1)
    with_word = keras.ops.maximum(keras.ops.segment_sum(shared, story, batch + 1), 1.0)
    pointed = keras.ops.sum(shared * keras.ops.take(keras.ops.log(keras.ops.maximum(facts, 1.0) / with_word), story, axis=0), axis=1)
    total = keras.ops.take(keras.ops.segment_sum(pointed, story, batch + 1), story)
    return pointed / keras.ops.where(total > 0, total, 1.0)


def whole_sentences(beginnings, sentences):
    """The sentences of a `batches.StoryBatch` with their beginnings, integers (sentences, longest sentence)."""
    in_front = keras.ops.take(beginnings, layers.row_in_front(sentences, beginnings), axis=0)
    return keras.ops.concatenate([in_front, sentences], axis=1)


class ReconstructionLoss(keras.layers.Layer):
    """Adds to the loss how hard the words of facts and question are to tell from their encodings; passes the logits on.

        loss = X batch_size (mean over stories of mean over its facts i of loss(m_i) + mean over stories of loss(u))

    loss is that of `WordReconstruction`, one for the facts and one for the questions. Of the facts of all stories, laid end to
    end, every fourth is taken, since all would cost too much time; a story without one of them adds nothing.

    Args:
        weight: float, X.
        batch_size: int, questions in a training batch.
        vocabulary_size: int.

    Call arguments:
        logits, memories, question: outputs of the network, of the facts and of the question.
        words: int32 (batch, length), those of the question.
        beginnings, sentences, sentence_of_fact, time_of_fact, story_of_fact, count_of_fact: as in `batches.StoryBatch`.

    Returns:
        logits.
    """

    def __init__(self, weight, batch_size, vocabulary_size, **kwargs):
        super().__init__(**kwargs)
        self.scale = weight * batch_size
        self.facts = WordReconstruction(vocabulary_size, name="facts")
        self.questions = WordReconstruction(vocabulary_size, name="questions")

    def call(self, logits, memories, question, words, beginnings, sentences, sentence_of_fact, time_of_fact, story_of_fact,
             count_of_fact):
        sentences, batch = whole_sentences(beginnings, sentences), keras.ops.shape(words)[0]
        memories, sentence_of_fact, time_of_fact, story_of_fact = (
            of_facts[::RECONSTRUCTED] for of_facts in (memories, sentence_of_fact, time_of_fact, story_of_fact))
        story = layers.with_unused_row(story_of_fact, batch)
        real = keras.ops.cast(time_of_fact > 0, self.compute_dtype)
        facts = keras.ops.segment_sum(real, story, batch + 1)
        share = real / keras.ops.take(keras.ops.maximum(facts, 1.0), story)
        of_facts = keras.ops.sum(share * self.facts(memories, sentences, sentence_of_fact))
        self.add_loss(self.scale * (of_facts + keras.ops.sum(self.questions(question, words)))
                      / keras.ops.cast(batch, self.compute_dtype))
        return logits


class OverlapLoss(keras.layers.Layer):
    """Adds to the loss how far the first hop looks away from the facts that share words with the question; passes the logits on.

        loss = - X batch_size (mean over stories of sum over its facts i of p_i log(mean over heads of a_1i))

    a_1 are the weights of the first hop, p those of `word_overlap`.

    Args:
        weight: float, X.
        batch_size: int, questions in a training batch.
        controller: layers.AttentionalController of the network.

    Call arguments:
        As of `ReconstructionLoss`.

    Returns:
        logits.
    """

    def __init__(self, weight, batch_size, controller, **kwargs):
        super().__init__(**kwargs)
        self.scale = weight * batch_size
        self.controller = controller

    def call(self, logits, memories, question, words, beginnings, sentences, sentence_of_fact, time_of_fact, story_of_fact,
             count_of_fact):
        pointed = word_overlap(words, whole_sentences(beginnings, sentences), sentence_of_fact,
                               keras.ops.where(time_of_fact > 0, story_of_fact, -1))
        _, weights = self.controller.hop(0, question, memories, story_of_fact, count_of_fact)
        attended = keras.ops.where(pointed > 0, keras.ops.mean(weights, axis=1), 1.0)
        # A weight that underflows to 0 would have an infinite loss, and a gradient that is no number.
        told = keras.ops.sum(pointed * keras.ops.log(keras.ops.maximum(attended, 1e-30)))
        self.add_loss(-self.scale * told / keras.ops.cast(keras.ops.shape(words)[0], self.compute_dtype))
        return logits


def with_auxiliary_losses(network, args, babi):
    """A model for training: the network, and behind it the auxiliary losses whose weights are above 0.

    Args:
        network: functional model with the layers of the bAbI scripts; with an `AttentionalController` named
            attentional_controller if there is an overlap.
        args: parsed arguments with `batch_size`, `reconstruction` and, of a network with hops, `overlap`.
        babi: data_utils.Babi.
    """
    overlap = getattr(args, "overlap", 0.0)
    if not (args.reconstruction or overlap):
        return network
    read = {tensor.name: tensor for tensor in network.inputs}
    rest = [*(network.get_layer(name).output for name in ("short_term_storage", "question_encoder")),
            *(read[name] for name in StoryBatch._fields)]
    logits = network.output
    if args.reconstruction:
        logits = ReconstructionLoss(args.reconstruction, args.batch_size, len(babi.words) + 1, name="reconstruction")(logits, *rest)
    if overlap:
        controller = network.get_layer("attentional_controller")
        logits = OverlapLoss(overlap, args.batch_size, controller, name="overlap")(logits, *rest)
    return keras.Model(network.input, logits, name=network.name)
