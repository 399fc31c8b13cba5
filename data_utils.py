"""Parsing of bAbI: from the released text files to the arrays that the models read.

A story is a row of sentence numbers into one table of word numbers. The joint en-10k data holds only 3,208 distinct
fact sentences and 439 distinct questions, so the tables are small, and a batch can encode each distinct sentence once.

Data: Weston et al. 2015, "Towards AI-Complete Question Answering: A Set of Prerequisite Toy Tasks", arXiv 1502.05698.
"""
import dataclasses
import hashlib
import os
import re
import tarfile
import zlib
from typing import NamedTuple

import numpy as np

RELEASE = "tasks_1-20_v1-2"
HOW_TO_GET_IT = (f"python data/get_babi.py downloads the tasks, python data/simulate_babi.py --out data/babi simulates "
                 f"them, --data PATH names a folder or a {RELEASE}.tar.gz")
LARGEST_FILE = 100_000_000  # bytes; the largest released one has 4.7 million
FAILED = 5.0  # per cent of wrong answers above which a task counts as failed
SIMULATED = "SIMULATED.txt"  # marks a folder of files that a simulator wrote
VARIANTS = ("en", "en-10k", "hn", "hn-10k", "shuffled", "shuffled-10k")
MANIFEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "babi.sha1")
VOCABULARY = os.path.join(os.path.dirname(MANIFEST), "babi_vocabulary.txt")
TASKS = (
    "single-supporting-fact", "two-supporting-facts", "three-supporting-facts", "two-arg-relations",
    "three-arg-relations", "yes-no-questions", "counting", "lists-sets", "simple-negation", "indefinite-knowledge",
    "basic-coreference", "conjunction", "compound-coreference", "time-reasoning", "basic-deduction",
    "basic-induction", "positional-reasoning", "size-reasoning", "path-finding", "agents-motivations",
)

# (Names that may change places throughout a story, tasks where they may.) Not the places and objects of task 20, to which
# its motives lead; and the pronouns of task 11 tell women from men. In task 17 pink stays with its rectangle.
RENAMED = (
    ("daniel john mary sandra bill fred jeff julie", {1, 2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14}),
    ("daniel john", {11}),
    ("mary sandra", {11}),
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


class DataError(ValueError):
    """Input that cannot be used. The message names the file, the line where there is one, and the mend."""


class Question(NamedTuple):
    """One bAbI question with the facts that precede it in its story."""

    facts: tuple  # of str, oldest first, as in the file
    question: str
    answer: str  # the whole answer string: "apple,milk" is one answer
    supporting: tuple  # of int, positions in `facts`, in the file's order


def tokenize(sentence):
    """Split a sentence into lower-case words without punctuation.

    >>> tokenize("Where will sumit go?")
    ['where', 'will', 'sumit', 'go']
    """
    return [word for word in re.split(r"\W+", sentence.lower()) if word]


def parse_task(text, name):
    """Parse the text of one bAbI task file.

    A line is `ID fact.` or `ID question?<TAB>answer<TAB>IDs of the supporting facts`; ID 1 opens a new story.

    Args:
        text: str, the whole file.
        name: str, the file's name for error messages.
    Returns:
        list of `Question`, in the file's order.
    Raises:
        DataError: a line that is neither of the two, with the file's name and the line number.
    """
    questions = []
    facts, fact_of_line, last = [], {}, None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue

        def malformed(what):
            return DataError(f"{name}, line {number}: {what}; restore the released file")

        identifier, _, rest = line.rstrip("\r").partition(" ")
        if not identifier.isdecimal() or len(identifier) > 9 or not rest.strip():
            raise malformed(f"expected 'ID sentence', found {line[:60]!r}")
        identifier = int(identifier)
        if identifier == 1:
            facts, fact_of_line = [], {}
        elif identifier - 1 != last:
            raise malformed(f"ID {identifier} follows ID {last}; IDs count up by one, or restart at 1")
        last = identifier
        if "\t" not in rest:
            if rest.rstrip().endswith("?"):
                raise malformed("the question has no answer; expected 'ID question<TAB>answer<TAB>supporting IDs'")
            fact_of_line[identifier] = len(facts)
            facts.append(rest.strip())
            continue
        question, answer, *supporting = (field.strip() for field in rest.split("\t"))
        if not question or not answer:
            raise malformed("the question has no answer; expected 'ID question<TAB>answer<TAB>supporting IDs'")
        try:
            supporting = tuple(fact_of_line[int(i)] for i in " ".join(supporting).split())
        except (KeyError, ValueError):
            raise malformed(f"supporting facts {' '.join(supporting)!r} are not IDs of facts above") from None
        questions.append(Question(tuple(facts), question, answer, supporting))
    if not questions:
        raise DataError(f"{name}: no question in the file; restore the released file")
    return questions


@dataclasses.dataclass
class TaskFiles:
    """The files of some tasks as read, before parsing.

    Attributes:
        source: str, the folder or archive they came from.
        texts: dict (task, "train" or "test") -> (name, text); names are relative to the release, "en-10k/qa1_...txt".
        hashes: dict name -> SHA-1 of "blob <size>\\0" + content, as in the manifest of released files.
        simulated: bool, whether a simulator's mark lies beside them.
    """

    source: str
    texts: dict
    hashes: dict
    simulated: bool = False

    def differing(self):
        """Names of the files that are not byte for byte the released ones."""
        released = read_manifest()
        return sorted(name for name, digest in self.hashes.items() if released.get(name) != digest)

    def fingerprint(self):
        """SHA-256 over the sorted names and hashes of the files: equal for equal data."""
        listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.hashes.items()))
        return hashlib.sha256(listing.encode()).hexdigest()


def read_manifest(path=MANIFEST):
    """The released files: dict from name, such as "en/qa1_single-supporting-fact_test.txt", to `blob_hash`."""
    with open(path, encoding="utf-8") as manifest:
        return {name: digest for digest, name in (line.split() for line in manifest)}


def read_vocabulary(tasks, path=VOCABULARY):
    """Words and answers of the released en-10k files of some tasks: two sets of str."""
    words, answers = set(), set()
    with open(path, encoding="utf-8") as vocabulary:
        for task, kind, *entries in (line.split() for line in vocabulary):
            if int(task) in tasks:
                (words if kind == "words" else answers).update(entries)
    return words, answers


def blob_hash(content):
    """SHA-1 of "blob <size>\\0" followed by `content` (bytes), which is what git calls the file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def read_tasks(path, tasks=range(1, 21)):
    """Read the train and test files of bAbI tasks from a folder or a .tar.gz, which is read in memory.

    `path` may be the folder of the task files itself, a folder or archive in the release's layout (en-10k is taken),
    or such a folder or archive with a variant appended: `tasks_1-20_v1-2.tar.gz/en` is the 1k data.

    Args:
        path: str.
        tasks: iterable of int, 1 to 20.
    Returns:
        TaskFiles.
    Raises:
        DataError: nothing there, no such task, an unreadable or truncated archive, bytes that are not UTF-8.
    """
    root, variant = path.rstrip("/"), "en-10k"
    if not os.path.exists(root) and os.path.basename(root) in VARIANTS:
        root, variant = os.path.split(root)
    if not os.path.exists(root):
        raise DataError(f"{path}: no such file or folder; {HOW_TO_GET_IT}")
    wanted = {f"qa{task}_{TASKS[task - 1]}_{split}.txt": (task, split)
              for task in tasks for split in ("train", "test")}
    try:
        if os.path.isdir(root):
            places = [os.path.join(root, RELEASE, variant), os.path.join(root, variant)]
            if root == path.rstrip("/"):  # no variant was named, which the files themselves might not be
                places.append(root)
            contents, variant, simulated = _read_folder(places, wanted)
        else:
            contents, simulated = _read_archive(root, variant, wanted)
    except DataError:
        raise
    except (OSError, EOFError, tarfile.TarError, zlib.error, ValueError, OverflowError) as error:
        raise DataError(f"{root}: cannot be read ({error}); get the file again") from None
    missing = [name for name in wanted if name not in contents]
    if missing:
        raise DataError(f"{path}: {len(missing)} of {len(wanted)} task files are missing, the first "
                        f"{missing[0]}; {HOW_TO_GET_IT}")
    digests = {name: blob_hash(contents[name]) for name in wanted}
    if variant not in VARIANTS:  # a folder of any name: the variant is the one whose files these are
        released = read_manifest()
        variant = max(("en-10k", "en"), key=lambda v: sum(released.get(f"{v}/{n}") == h for n, h in digests.items()))
    texts, hashes = {}, {}
    for name, key in wanted.items():
        try:
            texts[key] = f"{variant}/{name}", contents[name].decode("utf-8")
        except UnicodeDecodeError as error:
            line = contents[name].count(b"\n", 0, error.start) + 1
            raise DataError(f"{root}: {variant}/{name}, line {line}: not UTF-8; restore the released file") from None
        hashes[f"{variant}/{name}"] = digests[name]
    return TaskFiles(root, texts, hashes, simulated)


def _read_folder(places, wanted):
    for folder in places:
        found = [name for name in wanted if os.path.isfile(os.path.join(folder, name))]
        if found:
            break
    contents = {}
    for name in found:
        with open(os.path.join(folder, name), "rb") as file:
            contents[name] = file.read()
    simulated = any(os.path.exists(os.path.join(place, SIMULATED)) for place in (folder, os.path.dirname(folder)))
    return contents, os.path.basename(os.path.abspath(folder)), simulated


def _read_archive(root, variant, wanted):
    contents, simulated = {}, False
    with tarfile.open(root, "r:*") as archive:
        for member in archive:
            folder, name = os.path.split(member.name)
            simulated = simulated or name == SIMULATED
            if name in wanted and os.path.basename(folder) == variant and member.isfile():
                if member.size > LARGEST_FILE:
                    raise DataError(f"{root}: {member.name} has {member.size:,} bytes; this is not the released archive")
                contents[name] = archive.extractfile(member).read()
    return contents, simulated


@dataclasses.dataclass
class Stories:
    """Questions with their facts, as rows of numbers into the tables of a `Babi`.

    Attributes:
        facts: int32 (questions, mx), numbers of the facts' sentences, the newest first; 0 stands for no fact.
        question: int32 (questions,), numbers of the questions' sentences.
        answer: int32 (questions,), numbers of the answers.
        task: int32 (questions,), 1 to 20.
        supporting: bool (questions, mx), which of the facts the answer follows from.
    """

    facts: np.ndarray
    question: np.ndarray
    answer: np.ndarray
    task: np.ndarray
    supporting: np.ndarray

    def __len__(self):
        return len(self.question)

    def take(self, rows):
        """The stories of the given rows, as `Stories`."""
        return Stories(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def join(self, other):
        """These stories and then the others, as `Stories`."""
        return Stories(*(np.concatenate(pair) for pair in zip(dataclasses.astuple(self), dataclasses.astuple(other))))


@dataclasses.dataclass
class Babi:
    """bAbI tasks as arrays.

    Attributes:
        words: list of str; word number w is words[w - 1], 0 is padding. Time word r, the recency of a fact
            (1 for the newest), has number len(words) + r.
        answers: list of str; answer number a is answers[a].
        sentences: int32 (distinct fact sentences + 1, longest sentence), word numbers; row 0 is empty.
        questions: int32 (distinct questions, longest question), word numbers.
        padding: str, what absent words and facts are to a model. "read": words are padded on the left, and a batch has a
            slot for the absent facts of a story, see `StoryBatch`. "masked": they are to have no influence.
        train, test: Stories.
        extra: Stories, more questions to train on, none as a rule.
        files: TaskFiles that train and test were read from.
    """

    words: list
    answers: list
    sentences: np.ndarray
    questions: np.ndarray
    train: Stories
    test: Stories
    extra: Stories
    files: TaskFiles
    padding: str = "masked"

    def word_rows(self):
        """Rows of a table of word embeddings: padding, the words, the time words."""
        return 1 + len(self.words) + self.train.facts.shape[1]


def load_babi(path, tasks=range(1, 21), mx=30, words=None, answers=None, extra_train=None, padding="masked",
              word_answers=False):
    """Load bAbI tasks, from files to arrays.

    Args:
        path: str, see `read_tasks`.
        tasks: iterable of int, 1 to 20.
        mx: int, the facts of a story that are kept: the newest.
        words, answers: lists of str, to number words and answers as an earlier run did; by default all answers of the tasks'
            train and test files, and all words and lower-case answers, each in alphabetical order.
        extra_train: dict task -> text of a task file with more questions to train on.
        padding: str, as in `Babi`.
        word_answers: bool, whether the answers are numbered as the words are, 0 and time words included; ignored if `answers`
            are given.
    Returns:
        Babi.
    Raises:
        DataError: as `read_tasks` and `parse_task`; also a word or an answer that is not in the lists given.
    """
    files = read_tasks(path, tasks)
    parsed = {key: parse_task(text, f"{files.source}: {name}") for key, (name, text) in files.texts.items()}
    parsed |= {(task, "extra"): parse_task(text, f"extra training questions of task {task}")
               for task, text in (extra_train or {}).items()}

    fact_numbers, question_numbers = {}, {}
    for task_questions in parsed.values():
        for item in task_questions:
            question_numbers.setdefault(item.question, len(question_numbers))
            for fact in item.facts:
                fact_numbers.setdefault(fact, len(fact_numbers) + 1)
    # Simulated files may lack a rare word or answer of the released ones, and get it all the same.
    known_words, known_answers = read_vocabulary(tasks) if files.simulated else (set(), set())
    numbered_as_words = word_answers and answers is None
    if answers is None:
        answers = sorted(known_answers.union(item.answer for items in parsed.values() for item in items))
    if words is None:  # the authors' vocabulary has the answers, too, each as one word
        words = sorted(known_words.union((answer.lower() for answer in answers), *(
            tokenize(sentence) for sentence in (*fact_numbers, *question_numbers))))
    if numbered_as_words:
        answers = ["", *words, *(f"time {recency}" for recency in range(1, mx + 1))]
    word_numbers = {word: number for number, word in enumerate(words, start=1)}
    answer_numbers = {answer: number for number, answer in enumerate(answers)}

    def unknown(kind, what):
        for name, text in files.texts.values():
            for number, line in enumerate(text.split("\n"), start=1):
                sentence, *fields = line.split("\t")
                if what in (tokenize(sentence) if kind == "word" else map(str.strip, fields[:1])):
                    return DataError(f"{files.source}: {name}, line {number}: the {kind} {what!r} is unknown to the "
                                     "saved weights; use the data and the tasks they were trained with")
        return DataError(f"the {kind} {what!r} of the extra training questions is unknown to the saved weights")

    def table(sentences, first_row):
        rows = [first_row, *map(tokenize, sentences)] if first_row is not None else list(map(tokenize, sentences))
        numbers = np.zeros((len(rows), max(1, *map(len, rows))), np.int32)
        for row, tokens in zip(numbers, rows):
            for column, word in enumerate(tokens, start=len(row) - len(tokens) if padding == "read" else 0):
                if word not in word_numbers:
                    raise unknown("word", word)
                row[column] = word_numbers[word]
        return numbers

    def stories(split):
        keys = sorted(key for key in parsed if key[1] == split)
        items = [(item, key[0]) for key in keys for item in parsed[key]]
        facts = np.zeros((len(items), mx), np.int32)
        supporting = np.zeros((len(items), mx), bool)
        for row, marks, (item, _) in zip(facts, supporting, items):
            newest_first = [fact_numbers[fact] for fact in item.facts[:-mx - 1:-1]]
            row[:len(newest_first)] = newest_first
            recency = [len(item.facts) - 1 - position for position in item.supporting]
            marks[[age for age in recency if age < mx]] = True
        for item, _ in items:
            if item.answer not in answer_numbers and item.answer.lower() not in answer_numbers:
                raise unknown("answer", item.answer)
        return Stories(facts, np.array([question_numbers[item.question] for item, _ in items], np.int32),
                       np.array([answer_numbers.get(item.answer, answer_numbers.get(item.answer.lower())) for item, _ in items],
                                np.int32),
                       np.array([task for _, task in items], np.int32), supporting)

    return Babi(words, answers, table(fact_numbers, []), table(question_numbers, None),
                stories("train"), stories("test"), stories("extra"), files, padding)


def split_validation(stories, seed):
    """Set a tenth of each task's questions apart for validation, at random by question.

    Args:
        stories: Stories.
        seed: int.
    Returns:
        training and validation questions, Stories; 9,000 and 1,000 a task in en-10k.
    Raises:
        DataError: no question is left to train on.
    """
    random = np.random.default_rng([seed, 0])
    held_out = np.zeros(len(stories), bool)
    for task in np.unique(stories.task):
        rows = random.permutation(np.flatnonzero(stories.task == task))
        held_out[rows[:-(-len(rows) // 10)]] = True
    if held_out.all():
        raise DataError("the training files have a question a task; there is none to train on beside those for validation")
    return stories.take(~held_out), stories.take(held_out)


class StoryBatch(NamedTuple):
    """What a model reads: some questions, and the facts of all their stories laid end to end.

    Attributes:
        question: int32 (batch, longest question), word numbers.
        sentences: int32 (sentence slots, longest sentence), word numbers of the distinct sentences.
        sentence_of_fact: int32 (fact slots,), row of `sentences`.
        time_of_fact: int32 (fact slots,), number of the fact's time word; 0 in unused slots.
        story_of_fact: int32 (fact slots,), row of `question`; -1 in unused slots.
        count_of_fact: int32 (fact slots,), how many facts the slot stands for; 0 in unused slots.

    If the padding of the `Babi` is "read", a story of n < mx facts has one slot more, for its mx - n absent facts: an empty
    sentence, time word 0 and a count of mx - n.
    """

    question: np.ndarray
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
    sentences: np.ndarray
    sentence_of_fact: np.ndarray
    time_of_fact: np.ndarray
    story_of_fact: np.ndarray
    count_of_fact: np.ndarray
    first_of_pair: np.ndarray
    second_of_pair: np.ndarray


class Slots(NamedTuple):
    """The sizes a batch is padded to; no pairs where nobody reads them."""

    facts: int
    sentences: int
    pairs: int = 0


class Renaming:
    """Other names for the people, places, things and sides of each story: more stories to train on, out of the same ones.

    The names of each group of `RENAMED` are permuted at random, in facts, question and answer alike, so that what follows
    from the facts is the answer still. Of a group, a task permutes what its training files use.

    Args:
        babi: Babi.
    """

    def __init__(self, babi):
        number_of = {word: number for number, word in enumerate(babi.words, start=1)}
        self.groups = {}
        for task in np.unique(babi.train.task).tolist():
            stories = babi.train.take(babi.train.task == task)
            used = set(babi.sentences[np.unique(stories.facts)].ravel()) | set(babi.questions[np.unique(stories.question)].ravel())
            groups = ([number_of[name] for name in names.split() if number_of.get(name) in used]
                      for names, tasks in RENAMED if task in tasks)
            self.groups[task] = [np.array(group) for group in groups if len(group) > 1]
        self.length = len(babi.words) + 1
        named = {name for names, _ in RENAMED for name in names.split()}
        # Answers made of names, such as "milk,apple", as word numbers; the others stay what they are.
        self.names_of = [[number_of[name] for name in answer.lower().split(",")]
                         if set(answer.lower().split(",")) <= named & number_of.keys() else None for answer in babi.answers]
        self.answer_of = {tuple(names): answer for answer, names in enumerate(self.names_of) if names}

    def draw(self, tasks, answers, random):
        """Draw names for some stories.

        Args:
            tasks, answers: integers (stories,).
            random: np.random.Generator.
        Returns:
            int32 (stories, words + 1), the word number that takes the place of each, and the answers under these names. A
            story whose answer would then be one that has no number keeps its names.
        """
        naming = np.tile(np.arange(self.length, dtype=np.int32), (len(tasks), 1))
        for task in np.unique(tasks).tolist():
            rows = np.flatnonzero(tasks == task)[:, None]
            for group in self.groups[task]:
                naming[rows, group] = group[random.random((len(rows), len(group))).argsort(axis=1)]
        renamed = answers.copy()
        for row, answer in enumerate(answers):
            names = self.names_of[answer]
            if names:
                renamed[row] = self.answer_of.get(tuple(naming[row, names]), -1)
        kept = renamed < 0
        naming[kept], renamed[kept] = np.arange(self.length), answers[kept]
        return naming, renamed


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
    listed = pairs_of_facts(story) if pairs else np.zeros((2, 0), np.int32)
    used = Slots(len(story), len(words), listed.shape[1])
    slots = next(size for size in sizes or [used] if all(have >= need for have, need in zip(size, used)))
    sentences = np.zeros((slots.sentences, babi.sentences.shape[1]), np.int32)
    sentences[:used.sentences] = words
    laid = np.zeros((4, slots.facts), np.int32)
    laid[2] = -1
    real, absent = facts[story, column] > 0, facts.shape[1] - column
    laid[:, :used.facts] = (sentence, np.where(real, column + (len(babi.words) + 1), 0), story, np.where(real, 1, absent))
    batch = StoryBatch(question, sentences, *laid)
    if not pairs:
        return batch
    laid_pairs = np.full((2, slots.pairs), -1, np.int32)
    laid_pairs[:, :used.pairs] = listed
    return PairBatch(*batch, *laid_pairs)


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


def slot_sizes(babi, stories, batch_size, pairs=False, rows=None):
    """Sizes for `pack_stories`: one for nine batches in ten, one for nearly all others, one for any batch there can be.

    Args:
        babi: Babi, for its padding.
        stories: Stories.
        batch_size: int.
        pairs: bool, whether the pairs of facts are read.
        rows: integers, the rows of `stories` that the batches are drawn from, for a mixture that changes over the epochs:
            the sizes are then four for each doubling, so that a compiled model sees few. By default all rows, and
            multiples of 16.
    Returns:
        list of Slots, as seen in random batches.
    """
    even, rows = rows is None, np.arange(len(stories)) if rows is None else rows
    random = np.random.default_rng(0)
    seen = []
    for _ in range(200):
        facts = stories.facts[rows[random.integers(len(rows), size=batch_size)]]
        slots = used_slots(facts, babi.padding).sum(axis=1)
        seen.append((np.sum(slots), len(np.unique(facts)), pairs * np.sum(slots**2)))
    usual, largest = np.quantile(seen, 0.9, axis=0), 1.15 * np.max(seen, axis=0)
    any_batch = batch_size * np.array([stories.facts.shape[1]] * 2 + [pairs * stories.facts.shape[1]**2])
    # Whole multiples of 16 suit the vector units, and keep the sizes of similar data alike.
    least = [16, 16, 16 * pairs]
    any_batch = np.maximum(least, -(-any_batch // 16) * 16)
    sizes = []
    for size in (usual, largest, any_batch):
        size = np.maximum(least, size)
        step = 16 if even else np.maximum(16, 2.0 ** (np.floor(np.log2(np.maximum(16, size))) - 2))
        sizes.append(Slots(*np.minimum(-(-size // step) * step, any_batch).astype(int).tolist()))
    return sizes
