"""Looking into a trained network: where it looks on the facts of a question, and what it answers to questions of one's own."""
import collections
import difflib
import io
import os
import sys

import numpy as np

import data_utils
from training import run as runs
from training.babi_extensions import EARLIER
from training.backend import keras
from training.batches import batches_for, pack_stories
from training.command_line import write_whole

# The most words of a fact and of a question, in each task of the release, for records that do not say them.
LONGEST = ((6, 3), (6, 4), (6, 7), (7, 6), (6, 7), (6, 5), (6, 6), (6, 4), (7, 5), (9, 5), (8, 3), (8, 3), (8, 3), (8, 6), (5, 5),
           (4, 4), (11, 11), (9, 9), (7, 10), (6, 7))


# Attention on facts


def attention_on_facts(model, babi, stories, attend):
    """The attention of a model on the facts of stories, float32 (questions, mx, hops, heads), 0 where there is no fact.

    Args:
        model: functional model.
        attend: function of (model, `batches.StoryBatch`) to the attention on the facts of all stories, (fact slots, hops, heads).
        babi: data_utils.Babi.
        stories: data_utils.Stories.
    """
    attention, batch_size = None, 2000  # layer by layer, not compiled: the time goes with the number of batches
    for first in range(0, len(stories), batch_size):
        rows = np.arange(first, min(first + batch_size, len(stories)))
        batch = pack_stories(babi, stories, rows)
        weights = keras.ops.convert_to_numpy(attend(model, batch))
        if attention is None:
            attention = np.zeros((*stories.facts.shape, *weights.shape[1:]), np.float32)
        real = batch.time_of_fact > 0
        attention[rows[batch.story_of_fact[real]], batch.time_of_fact[real] - len(babi.words) - 1] = weights[real]
    return attention


def show_question(babi, number, distributions, attention, path):
    """Print a test question with the attention of each hop and head on its facts, and draw it as a heat map.

    Args:
        babi: data_utils.Babi.
        number: int, counts the test questions from 1.
        distributions: (questions, answers).
        attention: (questions, mx, hops, heads).
        path: str, of the picture.
    Raises:
        DataError: no such question, or one without facts.
    """
    stories = babi.test
    if number > len(stories):
        raise data_utils.DataError(f"--show {number}: there are {len(stories)} test questions in the chosen tasks")
    row = number - 1
    if not stories.facts[row].any():
        raise data_utils.DataError(f"--show {number}: no fact comes before that question; give another")
    facts, supporting, weights = looks(babi, stories, row, attention)
    facts = [f"{'*' if supports else ' '} {fact}" for fact, supports in zip(facts, supporting)]
    answer, right = np.argmax(distributions[row]), stories.answer[row]
    verdict = "right" if answer == right else f"wrong, the answer is {babi.answers[right]}"
    title = (f"{sentence(babi, babi.questions[stories.question[row]])}? {babi.answers[answer]} "
             f"({100 * distributions[row, answer]:.0f} %), {verdict}")
    print(f"question {number}, task {stories.task[row]}; * supports the answer; a digit is the attention of a head in tenths")
    print(in_digits(facts, weights))
    print(title)
    draw_attention(title, facts, weights, path)
    print(f"saved: {path}")


def sentence(babi, words):
    """The words of a sentence as text, from word numbers."""
    return " ".join(babi.words[word - 1] for word in words if word)


def looks(babi, stories, row, attention):
    """The facts of a question, the oldest first, and the attention on them.

    Where the padding is read, the absent facts have a row of their own in front: what the others leave of the attention.

    Args:
        babi: data_utils.Babi.
        stories: data_utils.Stories.
        row: int, of `stories`.
        attention: (questions, mx, hops, heads), as of `attention_on_facts`.
    Returns:
        facts: list of str.
        supporting: list of bool, which of them the answer follows from.
        weights: (facts, hops, heads).
    """
    places = np.flatnonzero(stories.facts[row])[::-1]
    facts = [sentence(babi, babi.sentences[number]) for number in stories.facts[row, places]]
    supporting, weights = stories.supporting[row, places].tolist(), attention[row, places]
    absent = stories.facts.shape[1] - len(places)
    if absent and babi.padding == "read":
        facts, supporting = [f"({absent} absent facts)" if absent > 1 else "(an absent fact)", *facts], [False, *supporting]
        weights = np.concatenate([np.maximum(0, 1 - weights.sum(axis=0, keepdims=True)), weights])
    return facts, supporting, weights


def in_digits(facts, weights):
    """The attention (facts, hops, heads) on facts as text: a line for each, a digit for a head, in tenths, 9 above 0.9."""
    width, (hops, heads) = max(map(len, facts)), weights.shape[1:]
    lines = [f"{'':{width}}  " + "  ".join(f"{f'hop {hop + 1}':{heads}}" for hop in range(hops))]
    for fact, of_fact in zip(facts, weights):
        digits = ("".join(str(min(9, int(10 * weight))) for weight in of_hop) for of_hop in of_fact)
        lines.append(f"{fact:{width}}  " + "  ".join(f"{text:{max(heads, len('hop 1'))}}" for text in digits))
    return "\n".join(lines)


def draw_attention(title, facts, weights, path):
    """Draw the attention (facts, hops, heads) on the facts of a question as a heat map, a column a head."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    hops, heads = weights.shape[1:]
    figure, axes = plt.subplots(figsize=(4 + 0.18 * hops * heads, 1.3 + 0.24 * len(facts)), layout="constrained")
    image = axes.imshow(weights.reshape(len(facts), -1), aspect="auto", cmap="Blues", vmin=0, vmax=1)
    axes.set_yticks(range(len(facts)), facts)
    for label, fact in zip(axes.get_yticklabels(), facts):
        label.set_fontweight("bold" if fact.startswith("*") else "normal")
    axes.set_xticks([(hop + 0.5) * heads - 0.5 for hop in range(hops)], [f"hop {hop + 1}" for hop in range(hops)])
    for hop in range(1, hops):
        axes.axvline(hop * heads - 0.5, color="black", linewidth=0.8)
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, label="attention")
    content = io.BytesIO()
    figure.savefig(content, dpi=120)
    plt.close(figure)
    write_whole(path, content.getvalue())


# Questions of one's own


def ask(args, name, fixed, build_model, attend=None):
    """Answer questions from standard input with the weights of a run, and print where the network looks.

    A line is a fact, or a question if it ends with "?"; an empty one starts a new story. The words are those of the record,
    and no data is read. In a terminal, a line that cannot be used is left out of the story.

    Args:
        args: parsed arguments.
        name: str, of the run.
        fixed: names of the options that the saved weights fix.
        build_model: function of (args, babi) to a functional model.
        attend: as of `attention_on_facts`; None for a network without attention on facts.
    Raises:
        DataError: no such run, options or files that do not fit; or, from a pipe, a line that cannot be used.
    """
    record = runs.read_run(args, name, fixed, EARLIER)
    longest = record.get("longest") or np.max([LONGEST[task - 1] for task in record["arguments"]["tasks"]], axis=0)
    network = build_model(args, _story(args, record, longest, [], []))
    runs.load_weights(network, os.path.join(args.models, f"{name}.weights.h5"), record.get("weights_sha256"))
    for line in record.get("trained_on_simulated", []):
        print(line, file=sys.stderr)
    terminal = sys.stdin.isatty()
    if terminal:
        print("type facts, a line each, then a question, which ends with \"?\"; an empty line starts a new story, Ctrl-D ends")
    facts = collections.deque(maxlen=args.mx)
    for number, line in enumerate(_typed_lines(terminal), start=1):
        try:
            if not line.strip():
                facts.clear()
            elif not line.rstrip().endswith("?"):
                facts.append(_numbers(line, record["words"], longest[0]))
            else:
                question = _numbers(line, record["words"], longest[1])
                if not facts and args.padding == "masked":
                    raise data_utils.DataError("no fact comes before that question, and these weights need one; give a fact first")
                print(_answer(network, _story(args, record, longest, facts, question), attend), flush=True)
        except data_utils.DataError as error:
            if not terminal:
                raise data_utils.DataError(f"standard input, line {number}: {error}") from None
            print(f"{error}; this line is left out")


def _typed_lines(terminal):
    """The lines of standard input, each as soon as it is there."""
    try:
        if not terminal:
            yield from iter(sys.stdin.readline, "")
            return
        import readline  # noqa: F401  arrow keys, and the lines typed before
        while True:
            yield input("> ")
    except EOFError:
        print()
    except UnicodeDecodeError:
        raise data_utils.DataError("standard input: not UTF-8; save the text as UTF-8") from None


def _numbers(line, words, longest):
    """The word numbers of a typed line. Raises DataError where they are none, too many, or unknown."""
    typed, known = data_utils.tokenize(line), {word: number for number, word in enumerate(words, start=1)}
    if not typed:
        raise data_utils.DataError(f"no word in {line.strip()!r}")
    unknown = [word for word in dict.fromkeys(typed) if word not in known]
    if unknown:
        one_word = [word for word in words if data_utils.tokenize(word) == [word]]  # some words are lists, as answers
        raise data_utils.DataError("; ".join(
            f"{word!r} is unknown to these weights, "
            + ("known and near: " + ", ".join(near) if (near := difflib.get_close_matches(word, one_word)) else "and no word is near")
            for word in unknown))
    if len(typed) > longest:
        raise data_utils.DataError(f"{len(typed)} words; these weights were trained with at most {longest} in such a sentence")
    return [known[word] for word in typed]


def _story(args, record, longest, facts, question):
    """A `data_utils.Babi` of a single question, for a network with the words and answers of a record."""
    sentences = data_utils.pad_in_front([[], *facts], longest[0])
    numbers = np.zeros((1, args.mx), np.int32)
    numbers[0, :len(facts)] = np.arange(len(facts), 0, -1)
    zero = np.zeros(1, np.int32)
    stories = data_utils.Stories(numbers, zero, zero, zero, np.zeros(numbers.shape, bool))
    return data_utils.Babi(record["words"], record["answers"], sentences, data_utils.pad_in_front([question], longest[1]),
                           stories, stories, stories, None, args.padding)


def _answer(network, babi, attend):
    """What is printed for the question of `_story`: where the network looks, lines that begin with a space, and its answer."""
    batch = pack_stories(babi, babi.test, [0], pairs=batches_for(network).pairs)
    (distribution,) = keras.ops.convert_to_numpy(keras.ops.softmax(network(batch, training=False)))
    answer = np.argmax(distribution)
    lines = []
    if attend:
        facts, _, weights = looks(babi, babi.test, 0, attention_on_facts(network, babi, babi.test, attend))
        lines.append(in_digits([f"  {fact}" for fact in facts], weights))
    lines.append(f"{sentence(babi, babi.questions[0])}? {babi.answers[answer]} ({100 * distribution[answer]:.1f} %)")
    return "\n".join(lines)
