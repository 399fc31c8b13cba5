"""Looking into a trained network: where it looks in facts and images, a page of that, and answers to one's own questions."""
import base64
import collections
import difflib
import html
import io
import json
import os
import sys

import numpy as np

import data_utils
from training import run as runs
from training.babi_extensions import EARLIER
from training.backend import keras
from training.batches import batches_for, pack_images, pack_stories
from training.command_line import write_whole

# The most words of a fact and of a question, in each task of the release, for records that do not say them.
LONGEST = ((6, 3), (6, 4), (6, 7), (7, 6), (6, 7), (6, 5), (6, 6), (6, 4), (7, 5), (9, 5),
           (8, 3), (8, 3), (8, 3), (8, 6), (5, 5), (4, 4), (11, 11), (9, 9), (7, 10), (6, 7))
# Of a box of 50 x 50 pixels, a cell of the grid of memories is made of about 9 x 9, and the next is 6 further on.
CELL_CENTRE, CELL_STEP, BOX_PIXELS = 4.5, 6, data_utils.BOX_SIZE // 2
TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "look.html")
PAGE_BYTES, PAGE_RIGHT, PAGE_IMAGES = 4_500_000, 50, 50  # the largest page; of a task right answers, of a split wrong ones
DIGITS = np.array(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"))


# Attention on facts


def attention_on_facts(model, babi, stories, attend):
    """The attention of a model on the facts of stories, float32 (questions, mx, hops, heads), 0 where there is no fact.

    Args:
        model: functional model.
        attend: function of (model, `batches.StoryBatch`) to the attention on the facts of all stories, (fact slots, hops,
            heads).
        babi: data_utils.Babi.
        stories: data_utils.Stories.
    """
    attention, batch_size = None, 500  # layer by layer, not compiled: the time goes with the batches, the memory with their size
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


# Attention on images


def attention_on_images(network, nlvr, examples, rows, attend, shared):
    """The attention of a model on the cells of the boxes of images, float32 (rows, hops, places, heads, cells).

    Args:
        network: functional model.
        nlvr: data_utils.Nlvr.
        examples: data_utils.Examples.
        rows: integers (rows,), number their images from 0, six of an example after those of another.
        attend: function of (network, `batches.ImageBatch`) to the attention (images, hops * places, heads, cells).
        shared: bool, as in `batches.pack_images`.
    """
    boxes, parts = examples.boxes.reshape(-1, examples.boxes.shape[2]), []
    for first in range(0, len(rows), 256):
        part = np.asarray(rows[first:first + 256])
        batch = pack_images(nlvr, examples.sentence[part // data_utils.PERMUTATIONS], boxes[part], shared=shared)
        weights = keras.ops.convert_to_numpy(attend(network, batch))
        parts.append(weights.reshape(len(part), -1, boxes.shape[1], *weights.shape[2:]))
    return np.concatenate(parts)


def show_image(args, nlvr, logits, network, attend, path):
    """Print an image of Test-P with its sentence and where each hop and head looks in its boxes, and draw it.

    Args:
        args: parsed arguments with `show`, which counts the images from 1, `data` and `attention`.
        nlvr: data_utils.Nlvr.
        logits: (examples, 6), of Test-P.
        network, attend: as of `attention_on_images`.
        path: str, of the picture.
    Raises:
        DataError: no such image.
    """
    examples, row = nlvr.splits["test"], args.show - 1
    if row >= logits.size:
        raise data_utils.DataError(f"--show {args.show}: there are {logits.size:,} images in Test-P")
    example, k = divmod(row, data_utils.PERMUTATIONS)
    (weights,) = attention_on_images(network, nlvr, examples, [row], attend, args.attention == "shared")
    hops, places, heads, cells = weights.shape
    side = round(cells**0.5)
    text = sentences_of(args, nlvr, "test")[examples.identifiers[example]]
    answer, share = said_of(logits.flat[row])
    truth = "true" if examples.label[example] > 0.5 else "false"
    title = f"{text} {answer} ({100 * share:.0f} %), {'right' if answer == truth else f'wrong, it is {truth}'}"
    print(f"image {args.show} of Test-P, test-{examples.identifiers[example]}-{k}.png; read as: "
          f"{sentence(nlvr, nlvr.sentences[examples.sentence[example]])}")
    print("a digit is the attention on a cell in tenths of the largest of its box, which is given above")
    for hop in range(hops):
        for head in range(heads):
            looked = weights[hop, :, head]
            print(f"hop {hop + 1}" + f", head {head + 1}" * (heads > 1) + ": "
                  + ", ".join(f"{largest:.3f}" for largest in looked.max(axis=1)))
            tenths = np.minimum(9, 10 * looked / looked.max(axis=1, keepdims=True)).astype(int).reshape(places, side, side)
            print("\n".join("  " + "  ".join("".join(map(str, of_box)) for of_box in line) for line in tenths.swapaxes(0, 1)))
    print(title)
    draw_image(title, nlvr.take_crops(examples.boxes[example, k]), weights, path)
    print(f"saved: {path}")


def sentences_of(args, nlvr, split):
    """The sentences of a split as its file has them, a dict from the identifier of an example.

    With --order-colours as the network reads them, since the boxes beside them have the colours that it sees.
    """
    if args.order_colours:
        examples = nlvr.splits[split]
        return {name: f"{sentence(nlvr, nlvr.sentences[row])}." for name, row in zip(examples.identifiers, examples.sentence)}
    return {example["identifier"]: example["sentence"]
            for example in data_utils.read_examples(os.path.join(args.data, split, f"{split}.json"))}


def said_of(logit):
    """The answer of a logit, "true" or "false", and its probability."""
    return "true" if logit > 0 else "false", float(1 / (1 + np.exp(-abs(logit))))


def draw_image(title, crops, weights, path):
    """Draw the boxes of an image, crops (places, 50, 50, 3), and a heat map (hops, places, heads, cells) over each of them."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    hops, places, heads, cells = weights.shape
    side = round(cells**0.5)
    first = CELL_CENTRE - CELL_STEP / 2 - 0.5  # the middle of a pixel is at a whole number
    extent = first, first + side * CELL_STEP, first + side * CELL_STEP, first
    figure, axes = plt.subplots(1 + hops * heads, places, figsize=(2 * places, 2.1 * (1 + hops * heads)), layout="constrained")
    for place, crop in enumerate(crops):
        for number, axis in enumerate(axes[:, place]):
            axis.imshow(crop)
            axis.set(xticks=[], yticks=[])
            if number:
                hop, head = divmod(number - 1, heads)
                look = weights[hop, place, head]
                axis.imshow(look.reshape(side, side), cmap="Reds", alpha=look.reshape(side, side) / look.max(), vmin=0,
                            extent=extent)
                axis.set(xlim=(-0.5, BOX_PIXELS - 0.5), ylim=(BOX_PIXELS - 0.5, -0.5))
                axis.set_title(f"hop {hop + 1}" + f", head {head + 1}" * (heads > 1) + f": {look.max():.3f}", fontsize=8)
    figure.suptitle(title, fontsize=10, wrap=True)
    content = io.BytesIO()
    figure.savefig(content, dpi=120)
    plt.close(figure)
    write_whole(path, content.getvalue())


# A page to look at


def write_stories_page(path, name, lines, babi, result, distributions, attention):
    """Write a page of the errors on bAbI, and of questions with the attention on their facts.

    Args:
        path: str, of the page.
        name: str, of the run.
        lines: list of str, what the reader should know of data and training.
        babi: data_utils.Babi.
        result: dict, as of `report.test_result`.
        distributions: (questions, answers).
        attention: (questions, mx, hops, heads).
    """
    stories, answers = babi.test, np.argmax(distributions, axis=1)
    right = answers == stories.answer
    hops, heads = attention.shape[2:]

    def items(rows):
        texts = {}
        found = []
        for row in rows:
            facts, supporting, weights = looks(babi, stories, row, attention)
            found.append({
                "id": f"question-{row + 1}", "name": f"question {row + 1}", "group": str(stories.task[row]),
                "text": sentence(babi, babi.questions[stories.question[row]]) + "?", "answer": babi.answers[answers[row]],
                "share": f"{100 * distributions[row, answers[row]]:.1f}", "truth": babi.answers[stories.answer[row]],
                "right": bool(right[row]), "facts": [texts.setdefault(fact, len(texts)) for fact in facts],
                "supporting": np.flatnonzero(supporting).tolist(), "weights": _in_characters(weights)})
        return {"items": found, "texts": list(texts)}

    groups = {task: f"task {task}, {data_utils.TASKS[int(task) - 1].replace('-', ' ')}" for task in result["error"]}
    attended = result.get("attended", {})
    table = [["task", "questions", "wrong", "error %", "attended %"]] + [
        [groups[task], f"{result['questions'][task]:,}", f"{result['wrong'][task]:,}", f"{error:.1f}",
         f"{attended[task]:.1f}" if task in attended else "–"] for task, error in result["error"].items()]
    _write_page(path, {
        "kind": "facts", "title": f"{name}: test questions", "lines": lines, "table": table, "groups": groups,
        "summary": f"Mean error {result['mean_error']:.2f} %, failed tasks (error > {data_utils.FAILED:g} %): "
                   f"{len(result['failed_tasks'])} of {len(result['error'])}",
        "everything": "all tasks", "hops": hops, "heads": heads}, stories.task, right, items, "task")


def write_images_page(path, name, lines, args, nlvr, results, logits, network, attend):
    """Write a page of the figures on NLVR, and of images with their sentences and where each hop looks in the boxes.

    Args:
        path: str, of the page.
        name: str, of the run.
        lines: list of str, what the reader should know of the training.
        args: parsed arguments with `data` and `attention`.
        nlvr: data_utils.Nlvr.
        results: dict from split to the figures of `report.measure`.
        logits: dict from split to (examples, 6).
        network, attend: as of `attention_on_images`.
    """
    # The first of the six images of each example, of all splits one after the other.
    images = [(split, row) for split, values in logits.items() for row in range(0, values.size, data_utils.PERMUTATIONS)]
    split_of_image = np.array([split for split, _ in images])
    right = np.array([(logits[split].flat[row] > 0) == (nlvr.splits[split].label[row // data_utils.PERMUTATIONS] > 0.5)
                      for split, row in images])
    shape = {}

    def items(chosen):
        crops, found = {}, []
        for split in logits:
            rows = [images[number][1] for number in chosen if images[number][0] == split]
            if not rows:
                continue
            examples, texts = nlvr.splits[split], sentences_of(args, nlvr, split)
            attention = attention_on_images(network, nlvr, examples, rows, attend, args.attention == "shared")
            shape.update(zip(("hops", "places", "heads", "cells"), attention.shape[1:]))
            largest = attention.max(axis=-1, keepdims=True)
            for row, weights, strongest in zip(rows, attention / largest, largest):
                example, k = divmod(row, data_utils.PERMUTATIONS)
                answer, share = said_of(logits[split].flat[row])
                truth = "true" if examples.label[example] > 0.5 else "false"
                image = f"{split}-{examples.identifiers[example]}-{k}"
                found.append({
                    "id": image, "name": f"{image}.png", "group": split, "text": texts[examples.identifiers[example]],
                    "answer": answer, "share": f"{100 * share:.1f}", "truth": truth, "right": answer == truth,
                    "boxes": [crops.setdefault(int(box), len(crops)) for box in examples.boxes[example, k]],
                    "weights": _in_characters(weights), "strongest": np.round(strongest.ravel().astype(float), 4).tolist()})
        return {"items": found, "crops": [_png(crop) for crop in nlvr.take_crops(np.array(list(crops), int))],
                "hops": shape["hops"], "heads": shape["heads"], "side": round(shape["cells"]**0.5),
                "inset": _inset(round(shape["cells"]**0.5))}

    table = [["split", "images", "majority %", "accuracy %", "consistency %", "of sentences %"]] + [
        [data_utils.SPLIT_NAMES[split], f"{result['images']:,}", *(f"{result[key]:.2f}" for key in (
            "majority", "accuracy", "consistency", "sentence_consistency"))] for split, result in results.items()]
    _write_page(path, {
        "kind": "images", "title": f"{name}: images and sentences", "lines": lines, "table": table,
        "groups": {split: data_utils.SPLIT_NAMES[split] for split in logits}, "summary": "Accuracy",
        "everything": "all splits"}, split_of_image, right, items,
        "split, the first of the six images of each example", PAGE_IMAGES)


def _inset(side):
    """Where a grid of cells lies over a box: its distance from the four edges, for CSS."""
    first = 100 * (CELL_CENTRE - CELL_STEP / 2) / BOX_PIXELS
    last = 100 - first - 100 * side * CELL_STEP / BOX_PIXELS
    return f"{first:g}% {last:g}% {last:g}% {first:g}%"


def _png(crop):
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(crop).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def _in_characters(weights):
    """Weights from 0 to 1 as text, a character of `DIGITS` each."""
    return "".join(DIGITS[np.rint((len(DIGITS) - 1) * weights).astype(int).ravel()])


def _write_page(path, page, group, right, items, of, most_wrong=None):
    """Write a page with as many answers as leave it small: wrong ones and the first right ones of each group.

    Args:
        path: str.
        page: dict of JSON values, as the template reads them.
        group: array (answers,), the group of each.
        right: booleans (answers,).
        items: function of the numbers of some answers to a dict with their "items" and what these refer to.
        of: str, what a group is, for the reader.
        most_wrong: int, the most wrong answers of a group; by default all.
    """
    with open(TEMPLATE, encoding="utf-8") as file:
        template = file.read()
    total = max(np.sum(~right & (group == name)) for name in np.unique(group))
    most = most_wrong or max(total, PAGE_RIGHT)
    while True:
        most_right = min(PAGE_RIGHT, most)
        chosen = np.concatenate([np.flatnonzero((group == name) & (right == kind))[:number] for name in np.unique(group)
                                 for kind, number in ((False, most), (True, most_right))])
        kept = (f"Listed of each {of}: {'all' if most >= total else f'the first {most:,}'} wrong and the first {most_right} "
                "right answers.")
        text = json.dumps({**page, **items(np.sort(chosen)), "kept": kept}, ensure_ascii=False, separators=(",", ":"))
        text = text.replace("<", "\\u003c")  # so that no text ends the script that holds it
        content = template.replace("$TITLE", html.escape(page["title"])).replace("$DATA", text).encode()
        if len(content) <= PAGE_BYTES or most <= 1:
            break
        most //= 2
    write_whole(path, content)
    print(f"saved: {path}, {len(content) / 1e6:.1f} MB")


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
                    raise data_utils.DataError("no fact comes before that question, and these weights need one; give a fact "
                                               "first")
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
        near = {word: difflib.get_close_matches(word, one_word) for word in unknown}
        raise data_utils.DataError("; ".join(
            f"{word!r} is unknown to these weights, " + (f"known and near: {', '.join(near[word])}" if near[word] else
                                                         "and no word is near") for word in unknown))
    if len(typed) > longest:
        raise data_utils.DataError(f"{len(typed)} words; these weights were trained with at most {longest} in such a sentence")
    return [known[word] for word in typed]


def _story(args, record, longest, facts, question):
    """A `data_utils.Babi` of a single question, for a network with the words and answers of a record."""
    sentences = data_utils.pad_in_front([[], *facts], longest[0])
    numbers = np.zeros((1, args.mx), np.int32)
    numbers[0, :len(facts)] = np.arange(len(facts), 0, -1)
    zero = np.zeros(1, np.int32)
    stories = data_utils.Stories(numbers, zero, zero, zero, np.zeros(numbers.shape, bool), zero)
    return data_utils.Babi(record["words"], record["answers"], sentences, data_utils.pad_in_front([question], longest[1]),
                           stories.take([]), stories, stories, None, args.padding)


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
