"""Parsing of bAbI and of NLVR: from the released files to the arrays that the models read.

A story of bAbI is a row of sentence numbers into one table of word numbers. The joint en-10k data holds only 3,208 distinct
fact sentences and 439 distinct questions, so the tables are small, and a batch can encode each distinct sentence once.

An image of NLVR is three boxes side by side. The corpus has 276,732 of them, but only 29,667 distinct ones, so an image is
a row of three numbers into one table of crops, and a batch can encode each distinct crop once.

Data: Weston et al. 2015, "Towards AI-Complete Question Answering: A Set of Prerequisite Toy Tasks", arXiv 1502.05698; and
Suhr, Lewis, Yeh, Artzi 2017, "A Corpus of Natural Language for Visual Reasoning", ACL 2017.
"""
import collections
import dataclasses
import functools
import hashlib
import importlib.resources
import io
import json
import os
import re
import struct
import tarfile
import unicodedata
import zlib
from typing import NamedTuple

import numpy as np


class DataError(ValueError):
    """Input that cannot be used. The message names the file, the line where there is one, and the mend."""


# bAbI

RELEASE = "tasks_1-20_v1-2"
HOW_TO_GET_IT = (f"python data/get_babi.py downloads the tasks, python data/simulate_babi.py --out data/babi simulates "
                 f"them, --data PATH names a folder or a {RELEASE}.tar.gz")
LARGEST_FILE = 100_000_000  # bytes; the largest released one has 4.7 million
FAILED = 5.0  # per cent of wrong answers above which a task counts as failed
SIMULATED = "SIMULATED.txt"  # marks a folder of files that a simulator wrote
# The folders of the release: English with 1,000 or 10,000 training questions a task, the same with validation files of their
# own, Hindi in Latin letters, and English with the letters of its words exchanged.
VARIANTS = ("en-10k", "en", "en-valid-10k", "en-valid", "hn-10k", "hn", "shuffled-10k", "shuffled")
MANIFEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "babi.sha1")
VOCABULARY = os.path.join(os.path.dirname(MANIFEST), "babi_vocabulary.txt")
TASKS = (
    "single-supporting-fact", "two-supporting-facts", "three-supporting-facts", "two-arg-relations",
    "three-arg-relations", "yes-no-questions", "counting", "lists-sets", "simple-negation", "indefinite-knowledge",
    "basic-coreference", "conjunction", "compound-coreference", "time-reasoning", "basic-deduction",
    "basic-induction", "positional-reasoning", "size-reasoning", "path-finding", "agents-motivations",
)


class Question(NamedTuple):
    """One bAbI question with the facts that precede it in its story."""

    facts: tuple  # of str, oldest first, as in the file
    question: str
    answer: str  # the whole answer string: "apple,milk" is one answer
    supporting: tuple  # of int, positions in `facts`, in the file's order
    story: int  # number of its story in the file, from 0


_JOINERS = "\u200c\u200d"  # between letters they say how these are drawn, which spells another word in some scripts


def tokenize(sentence):
    """Split a sentence into lower-case words without punctuation, in the normal form NFC.

    A word is of letters and digits of any script, with the marks that belong to them, such as the vowel signs of Devanagari.

    >>> tokenize("Where will sumit go?")
    ['where', 'will', 'sumit', 'go']
    >>> tokenize("मेरी कहाँ है?")
    ['मेरी', 'कहाँ', 'है']
    """
    sentence = sentence.lower()
    if sentence.isascii():
        return re.findall(r"\w+", sentence)
    characters = [" "]
    for character in unicodedata.normalize("NFC", sentence):
        mark = unicodedata.category(character).startswith("M") or character in _JOINERS
        characters.append(character if re.match(r"\w", character) or mark and characters[-1] != " " else " ")
    return [word for word in (word.rstrip(_JOINERS) for word in "".join(characters).split()) if word]


# The names that sys-bAbI exchanges in the test files of some tasks, so that a story is of people that those tasks' training
# files do not name (arXiv 2406.01012; the tasks and names are those of its program).
SYSTEMATIC = {"daniel": "bill", "john": "fred", "sandra": "julie", "bill": "daniel", "fred": "john", "julie": "sandra"}
SYSTEMATIC_TASKS = {1, 2, 3, *range(5, 15)}


def exchange_names(task, text):
    """The text of a task file with the names of sys-bAbI exchanged, in facts, questions and answers alike.

    Whole words change; a name has a capital where the one before had it.

    >>> exchange_names(5, "1 Mary gave Bill the milk.")
    '1 Mary gave Daniel the milk.'
    """
    if task not in SYSTEMATIC_TASKS:
        return text

    def other(match):
        name = SYSTEMATIC.get(match[0].lower(), match[0])
        return name.capitalize() if name != match[0] and match[0][0].isupper() else name

    return re.sub(r"\w+", other, text)


QUESTION_MARKS = "?\uff1f\u061f"  # of Latin and Devanagari, full width, Arabic
_NO_ANSWER = "the question has no answer; expected 'ID question<TAB>answer<TAB>supporting IDs'"
_NO_TABS = "the question's tabs are missing or became spaces; expected 'ID question<TAB>answer<TAB>supporting IDs'"


def task_lines(text):
    """The lines of a task file, whatever their ends, in the normal form NFC, as an iterator of (line number from 1, line)."""
    return enumerate(re.split(r"\r\n|\r|\n", unicodedata.normalize("NFC", text)), start=1)


def parse_task(text, name):
    """Parse the text of one bAbI task file.

    A line is `ID fact.` or `ID question?<TAB>answer<TAB>IDs of the supporting facts`; ID 1 opens a new story. The IDs of the
    supporting facts may be missing. A question ends with a question mark; one without is taken for a question only with
    these IDs. A fact has no question mark.

    Args:
        text: str, the whole file.
        name: str, the file's name for error messages.
    Returns:
        list of `Question`, in the file's order.
    Raises:
        DataError: a line that is neither of the two, with the file's name and the line number.
    """
    questions, doubtful = [], None
    story, facts, fact_of_line, last = -1, [], {}, None
    for number, line in task_lines(text):
        if not line.strip():
            continue

        def malformed(what):
            return DataError(f"{name}, line {number}: {what}; restore the released file")

        identifier, _, rest = line.partition(" ")
        if not identifier.isdecimal() or len(identifier) > 9 or not rest.strip():
            raise malformed(f"expected 'ID sentence', found {line[:60]!r}")
        identifier = int(identifier)
        if identifier == 1:
            story, facts, fact_of_line = story + 1, [], {}
        elif identifier - 1 != last:
            raise malformed(f"ID {identifier} follows ID {last}; IDs count up by one, or restart at 1")
        last = identifier
        if "\t" not in rest:
            after = _after_mark(rest)
            if after is not None:
                raise malformed(_NO_TABS if tokenize(after) else _NO_ANSWER)
            fact = rest.strip()
            if fact[-1].isdecimal() and re.search(r"\s{2,}(\S.*\s)?\d+$", fact):
                raise malformed(_NO_TABS)
            fact_of_line[identifier] = len(facts)
            facts.append(fact)
            continue
        question, answer, *supporting = (field.strip() for field in rest.split("\t"))
        if not question or not answer:
            raise malformed(_NO_ANSWER)
        identifiers = " ".join(supporting).split()
        if not all(i.isdecimal() and len(i) < 10 and int(i) in fact_of_line for i in identifiers):
            raise malformed(f"supporting facts {' '.join(supporting)!r} are not IDs of facts above")
        after = _after_mark(question)
        if (after and tokenize(after)) or _after_mark(answer) is not None:
            raise malformed(_NO_TABS)
        if not identifiers:
            if after is None:
                raise malformed(f"{question[:60]!r} ends without a question mark, and no supporting IDs follow; a fact has no "
                                "tab, a question is 'ID question?<TAB>answer<TAB>supporting IDs'")
            # The last tab may have become a space: "garden 1" is an answer of two words only in a file without such IDs.
            ending = re.search(r"(^|\s+)(\d{1,9})$", answer)
            if ending and int(ending[2]) in fact_of_line:
                fault = malformed(f"the answer {answer[:60]!r} ends with the ID of a fact; a tab comes before such IDs")
                if len(ending[1]) > 1:
                    raise fault
                doubtful = doubtful or fault
        questions.append(Question(tuple(facts), question, answer, tuple(fact_of_line[int(i)] for i in identifiers), story))
    if not questions:
        raise DataError(f"{name}: no question in the file; restore the released file")
    if doubtful and any(question.supporting for question in questions):
        raise doubtful
    return questions


def _after_mark(text):
    """What follows the last question mark of a text; None without one."""
    last = text.rfind("?") if text.isascii() else max(map(text.rfind, QUESTION_MARKS))
    return text[last + 1:] if last >= 0 else None


@dataclasses.dataclass
class TaskFiles:
    """The files of some tasks as read, before parsing.

    Attributes:
        source: str, the folder or archive they came from.
        texts: dict (task, "train", "test" or "valid") -> (name, text); names are relative to the release, "en-10k/qa1_...txt".
        hashes: dict name -> SHA-1 of "blob <size>\\0" + content, as in the manifest of released files.
        simulated: bool, whether a simulator's mark lies beside them.
    """

    source: str
    texts: dict
    hashes: dict
    simulated: bool = False

    @property
    def variant(self):
        """str, one of `VARIANTS`, the folder of the release whose names the files have."""
        return os.path.dirname(next(iter(self.hashes)))

    def compared(self):
        """Whether the hashes of the released files of this variant are known."""
        known = {os.path.dirname(name) for name in read_manifest()}
        return all(os.path.dirname(name) in known for name in self.hashes)

    def differing(self):
        """Names of the files that are not known to be byte for byte the released ones."""
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


def task_files(variant, tasks=range(1, 21)):
    """The files of a variant: dict from a file's name, such as "qa1_train.txt", to its task and "train", "test" or "valid"."""
    if variant.startswith("en-valid"):
        return {f"qa{task}_{split}.txt": (task, split) for task in tasks for split in ("train", "valid", "test")}
    return {f"qa{task}_{TASKS[task - 1]}_{split}.txt": (task, split) for task in tasks for split in ("train", "test")}


def read_tasks(path, tasks=range(1, 21)):
    """Read the files of bAbI tasks from a folder or a .tar.gz, which is read in memory.

    `path` may be the folder of the task files itself, a folder or archive in the release's layout (en-10k is taken),
    or such a folder or archive with one of `VARIANTS` appended: `tasks_1-20_v1-2.tar.gz/en` is the 1k data.

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
    wanted = task_files(variant, tasks)
    try:
        if os.path.isdir(root):
            places = [os.path.join(root, RELEASE, variant), os.path.join(root, variant)]
            if root == path.rstrip("/"):  # no variant was named, which the files themselves might not be
                places.append(root)
                wanted = max((wanted, task_files("en-valid", tasks)), key=lambda names: any(
                    os.path.exists(os.path.join(place, name)) for place in places for name in names))
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
        variant = max((v for v in VARIANTS if task_files(v, tasks) == wanted),
                      key=lambda v: sum(released.get(f"{v}/{name}") == digest for name, digest in digests.items()))
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
        facts: integers (questions, mx), numbers of the facts' sentences, the newest first; 0 stands for no fact.
        question: int32 (questions,), numbers of the questions' sentences.
        answer: int32 (questions,), numbers of the answers.
        task: int32 (questions,), 1 to 20.
        supporting: bool (questions, mx), which of the facts the answer follows from.
        story: int32 (questions,), number of its story; no two stories of a `Babi` share one, whatever task or file.
    """

    facts: np.ndarray
    question: np.ndarray
    answer: np.ndarray
    task: np.ndarray
    supporting: np.ndarray
    story: np.ndarray

    def __len__(self):
        return len(self.question)

    def take(self, rows):
        """The stories of the given rows, as `Stories`."""
        return Stories(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def join(self, other):
        """These stories and then the others, as `Stories`."""
        if not len(other):
            return self
        names = [field.name for field in dataclasses.fields(self)]
        return Stories(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))


@dataclasses.dataclass
class Babi:
    """bAbI tasks as arrays.

    Attributes:
        words: list of str; word number w is words[w - 1], 0 is padding. Time word r, the recency of a fact
            (1 for the newest), has number len(words) + r.
        answers: list of str; answer number a is answers[a].
        sentences: int32 (distinct fact sentences + 1, longest sentence), word numbers, with the padding in front; row 0 is
            empty.
        questions: int32 (distinct questions, longest question), word numbers, with the padding in front.
        padding: str, what absent words and facts are to a model. "read": each word is read, and a batch has a slot for the
            absent facts of a story, see `batches.StoryBatch`. "masked": they are to have no influence.
        validation: Stories of validation files of their own, or None where there are none.
        systematic: Stories, `test` with the names of sys-bAbI exchanged, an answer without a number as -1; or None.
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
    padding: str = "read"
    validation: Stories = None
    systematic: Stories = None

    def word_rows(self):
        """Rows of a table of word embeddings: padding, the words, the time words."""
        return 1 + len(self.words) + self.train.facts.shape[1]

    @functools.cached_property
    def usual_length(self):
        """The number of words that nine of ten training facts do not exceed; without any, that of the longest sentence."""
        lengths = np.count_nonzero(self.sentences, axis=1)
        facts = sum(np.bincount(column, minlength=len(lengths)) for column in self.train.facts.T)[1:]
        if not facts.any():
            return self.sentences.shape[1]
        not_longer = np.cumsum(np.bincount(lengths[1:], facts))
        return int(np.searchsorted(not_longer, 0.9 * not_longer[-1]))


def load_babi(path, tasks=range(1, 21), mx=30, padding="read", like=None, extra_train=None, word_answers=False,
              systematic=False, names=()):
    """Load bAbI tasks, from files to arrays.

    Args:
        path: str, see `read_tasks`.
        tasks: iterable of int, 1 to 20.
        mx: int, the facts of a story that are kept: the newest.
        padding: str, as in `Babi`.
        like: dict with the lists of str "words" and "answers", such as the record of an earlier run, to number words and
            answers as that did. By default all answers of the tasks' train and test files, and all words and lower-case
            answers, each in alphabetical order.
        extra_train: dict task -> text of a task file with more questions, in English, to train on.
        word_answers: bool, whether the answers are numbered as the words are, 0 and time words included; ignored if "answers"
            are given.
        systematic: bool, whether to read the test files also as `exchange_names` has them; in English.
        names: iterable of lower-case names that may take each other's place, in English. All are words, and where one of
            them is an answer, all are, written alike; ignored for the list that is given.
    Returns:
        Babi.
    Raises:
        DataError: as `read_tasks` and `parse_task`; also a word or an answer that is not in the lists given, or more questions
            for files that are not in English.
    """
    words, answers = (like or {}).get("words"), (like or {}).get("answers")
    files = read_tasks(path, tasks)
    for option, asked in (("extra-simulated", extra_train), ("systematic", systematic), ("rename-across-tasks", names)):
        if asked and not files.variant.startswith("en"):
            raise DataError(f"{files.source}: {files.variant} is not in English; leave --{option} out")
    parsed = {key: parse_task(text, f"{files.source}: {name}") for key, (name, text) in files.texts.items()}
    parsed |= {(task, "extra"): parse_task(text, f"extra training questions of task {task}")
               for task, text in (extra_train or {}).items()}
    if systematic:
        parsed |= {(task, "systematic"): parse_task(exchange_names(task, text), f"{files.source}: {name}")
                   for (task, split), (name, text) in files.texts.items() if split == "test"}

    fact_numbers, question_numbers, first_story, stories_before = {}, {}, {}, 0
    for key, task_questions in parsed.items():
        first_story[key] = stories_before
        stories_before += task_questions[-1].story + 1
        for item in task_questions:
            question_numbers.setdefault(item.question, len(question_numbers))
            for fact in item.facts:
                fact_numbers.setdefault(fact, len(fact_numbers) + 1)
    # Simulated files may lack a rare word or answer of the released ones, and get it all the same.
    known_words, known_answers = read_vocabulary(tasks) if files.simulated else (set(), set())
    numbered_as_words = word_answers and answers is None
    if answers is None:
        answers = known_answers.union(item.answer for items in parsed.values() for item in items)
        answers = sorted(answers.union(*(written_as(answer, names) for answer in answers)))
    if words is None:  # the authors' vocabulary has the answers, too, each as one word
        words = sorted(known_words.union(names, (answer.lower() for answer in answers), *(
            tokenize(sentence) for sentence in (*fact_numbers, *question_numbers))))
    if numbered_as_words:
        answers = ["", *words, *(f"time {recency}" for recency in range(1, mx + 1))]
    word_numbers = {word: number for number, word in enumerate(words, start=1)}
    answer_numbers = {answer: number for number, answer in enumerate(answers)}

    def unknown(kind, what):
        for name, text in files.texts.values():
            for number, line in task_lines(text):
                sentence, *fields = line.partition(" ")[2].split("\t")
                if what in (tokenize(sentence) if kind == "word" else map(str.strip, fields[:1])):
                    return DataError(f"{files.source}: {name}, line {number}: the {kind} {what!r} is unknown to the "
                                     "saved weights; use the data and the tasks they were trained with")
        if systematic:
            return DataError(f"{files.source}: the word {what!r}, which --systematic has in the place of {SYSTEMATIC[what]!r}, "
                             "is unknown to the saved weights; use weights that were trained on tasks with it")
        return DataError(f"the {kind} {what!r} of the extra training questions is unknown to the saved weights")

    def table(sentences, first_row):
        rows = [first_row, *map(tokenize, sentences)] if first_row is not None else list(map(tokenize, sentences))
        numbers = np.zeros((len(rows), max(1, *map(len, rows))), np.int32)
        for row, tokens in zip(numbers, rows):
            for column, word in enumerate(tokens, start=len(row) - len(tokens)):
                if word not in word_numbers:
                    raise unknown("word", word)
                row[column] = word_numbers[word]
        return numbers

    def stories(split):
        keys = sorted(key for key in parsed if key[1] == split)
        items = [(item, key) for key in keys for item in parsed[key]]
        facts = np.zeros((len(items), mx), np.min_scalar_type(len(fact_numbers)))
        supporting = np.zeros((len(items), mx), bool)
        for row, marks, (item, _) in zip(facts, supporting, items):
            newest_first = [fact_numbers[fact] for fact in item.facts[:-mx - 1:-1]]
            row[:len(newest_first)] = newest_first
            recency = [len(item.facts) - 1 - position for position in item.supporting]
            marks[[age for age in recency if age < mx]] = True
        numbers = [answer_numbers.get(item.answer, answer_numbers.get(item.answer.lower(), -1)) for item, _ in items]
        if -1 in numbers and split != "systematic":
            raise unknown("answer", items[numbers.index(-1)][0].answer)
        return Stories(facts, np.array([question_numbers[item.question] for item, _ in items], np.int32),
                       np.array(numbers, np.int32), np.array([task for _, (task, _) in items], np.int32), supporting,
                       np.array([first_story[key] + item.story for item, key in items], np.int32))

    return Babi(words, answers, table(fact_numbers, []), table(question_numbers, None),
                stories("train"), stories("test"), stories("extra"), files, padding,
                *(stories(split) if any(split == found for _, found in parsed) else None for split in ("valid", "systematic")))


def spelling(word):
    """How a word is written: str.lower, str.title or str.upper, the first that leaves it as it is; None where none does."""
    return next((write for write in (str.lower, str.title, str.upper) if write(word) == word), None)


def written_as(answer, names):
    """The names as an answer that is one of them is written, a set of str; empty for any other answer.

    >>> sorted(written_as("Mary", ["mary", "john"]))
    ['John', 'Mary']
    """
    write = spelling(answer)
    return {write(name) for name in names} if write and answer.lower() in names else set()


def split_validation(babi, seed, by="question"):
    """What to train on and what to validate on: validation files where there are some, else a tenth of the training files.

    The tenth is of each task's questions, rounded up.

    Args:
        babi: Babi.
        seed: int.
        by: what is drawn at random until the tenth is reached. "question": single questions, so that others of their stories
            are trained on; "story": whole stories, the last of which may go beyond the tenth.
    Returns:
        training and validation questions, Stories; by question 9,000 and 1,000 a task in en-10k.
    Raises:
        DataError: no question is left to train on; by story, of any task.
    """
    if babi.validation is not None:
        return babi.train, babi.validation
    stories = babi.train
    random = np.random.default_rng([seed, 0])
    held_out = np.zeros(len(stories), bool)
    unit = stories.story if by == "story" else np.arange(len(stories))
    for task in np.unique(stories.task):
        units, questions = np.unique(unit[stories.task == task], return_counts=True)
        order = random.permutation(len(units))
        number = 1 + np.searchsorted(np.cumsum(questions[order]), -(-questions.sum() // 10))
        if by == "story" and number == len(units):
            raise DataError(f"task {task}: its training file has no story to train on beside those for validation; give "
                            "--validation question, or a file of more stories")
        held_out |= np.isin(unit, units[order[:number]])
    if held_out.all():
        raise DataError("the training files have a question a task; there is none to train on beside those for validation")
    return stories.take(~held_out), stories.take(held_out)


# NLVR

SPLITS = ("train", "dev", "test", "hidden")
SPLIT_NAMES = {"dev": "dev", "test": "Test-P", "hidden": "Test-U"}  # as the corpus's paper calls them
PERMUTATIONS = 6  # images of an example: all orders of its three boxes
IMAGE_SIZE, BOX_SIZE, BOX_LEFT = (400, 100), 100, (0, 150, 300)
HOW_TO_GET_NLVR = "python data/get_nlvr.py gets the corpus and names what is missing or damaged, --data DIR names its folder"
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
        """The sentences of some numbers: word numbers, int32 (numbers, longest sentence)."""
        return self.sentences[numbers]

    def take_crops(self, numbers):
        """The crops of some numbers, uint8 (numbers, 50, 50, 3)."""
        return self.crops[numbers]


def load_nlvr(path, read_images, mx=50, like=None, sentences="authors", halving="nearest", statistics="one"):
    """Load NLVR, from DIR/SPLIT/SPLIT.json and DIR/SPLIT/images/*/SPLIT-n-m-k.png to arrays.

    Args:
        path: str, the folder.
        read_images: function of (path, names of images, halving) to crops and boxes, such as `data.crops.load_crops`.
        mx: int, the words of a sentence that are kept.
        like: dict with the list of str "words" and perhaps with "data", such as the record of an earlier run, to number words
            and to normalise pixels as that did, by "mean" and "deviation" of the data. By default those of training.
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
        raise DataError(f"{path}: no such folder; {HOW_TO_GET_NLVR}")
    splits = [split for split in SPLITS if split != "hidden" or os.path.isdir(os.path.join(path, split))]
    annotations = {split: read_examples(os.path.join(path, split, f"{split}.json")) for split in splits}
    images = {split: find_images(path, split, annotations[split]) for split in splits}
    crops, boxes = read_images(path, [name for split in splits for name in images[split]], halving)

    as_authors = sentences == "authors"
    clean = (AuthorsCleaner if as_authors else SentenceCleaner)(example["sentence"] for example in annotations["train"])
    texts = {example["sentence"]: None for split in splits for example in annotations[split]}
    texts = {text: clean(text)[:None if as_authors else mx] for text in texts}
    words = (like or {}).get("words")
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
    if "data" in (like or {}):
        mean, deviation = like["data"]["mean"], like["data"]["deviation"]
    table = pad_in_front(rows, max(1, *map(len, rows)))
    return Nlvr(words, table, crops, mean, deviation, found, content.hexdigest(), sentences)


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
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); {HOW_TO_GET_NLVR}") from None
    if not examples:
        raise DataError(f"{path}: no example in the file; {HOW_TO_GET_NLVR}")
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


def image_name(split):
    """The pattern of the names of a split's images; what has another name, such as ._dev-1-0-0.png, is none of them."""
    return re.compile(rf"{split}-[0-9]+-[0-9]+-[0-{PERMUTATIONS - 1}]\.png")


def find_images(path, split, examples):
    """Find the six images of each example of a split, among files whose names are those of images.

    Returns:
        list of str, relative to `path`: those of the first example by number, then those of the second, and so on.
    Raises:
        DataError: a missing image, or one without an example.
    """
    folder, named_so = os.path.join(path, split, "images"), image_name(split)
    found = {}
    for directory in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if os.path.isdir(os.path.join(folder, directory)):
            for name in sorted(os.listdir(os.path.join(folder, directory))):
                if named_so.fullmatch(name) and os.path.isfile(os.path.join(folder, directory, name)):
                    if name in found:
                        raise DataError(f"{path}/{found[name]}: is in folder {directory} too; remove one of the two")
                    found[name] = f"{split}/images/{directory}/{name}"
    wanted = [f"{split}-{example['identifier']}-{k}.png" for example in examples for k in range(PERMUTATIONS)]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{folder}: {len(missing):,} of {len(wanted):,} images of {split}.json are missing, the first "
                        f"{missing[0]}; {HOW_TO_GET_NLVR}")
    more = sorted(set(found).difference(wanted))
    if more:
        raise DataError(f"{path}/{found[more[0]]}: {split}.json has no example for this image (nor for {len(more) - 1:,} "
                        f"others); restore {split}.json or remove what is not of the corpus")
    return [found[name] for name in wanted]


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
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); {HOW_TO_GET_NLVR}") from None
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
