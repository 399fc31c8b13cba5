"""Looking into a trained network: where it looks on the facts of a question."""
import io

import numpy as np

import data_utils
from training.backend import keras
from training.batches import pack_stories
from training.command_line import write_whole


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

    def sentence(words):
        return " ".join(babi.words[word - 1] for word in words if word)

    oldest_first = np.flatnonzero(stories.facts[row])[::-1]
    facts = [f"{'*' if stories.supporting[row, i] else ' '} {sentence(babi.sentences[stories.facts[row, i]])}"
             for i in oldest_first]
    weights = attention[row, oldest_first]
    answer, right = np.argmax(distributions[row]), stories.answer[row]
    verdict = "right" if answer == right else f"wrong, the answer is {babi.answers[right]}"
    title = (f"{sentence(babi.questions[stories.question[row]])}? {babi.answers[answer]} "
             f"({100 * distributions[row, answer]:.0f} %), {verdict}")
    print(f"question {number}, task {stories.task[row]}; * supports the answer; a digit is the attention of a head in tenths")
    width = max(map(len, facts))
    hops, heads = weights.shape[1:]
    print(f"{'':{width}}  " + "  ".join(f"{f'hop {hop + 1}':{heads}}" for hop in range(hops)))
    for fact, of_fact in zip(facts, weights):
        digits = ("".join(str(min(9, int(10 * weight))) for weight in of_hop) for of_hop in of_fact)
        print(f"{fact:{width}}  " + "  ".join(f"{text:{max(heads, len('hop 1'))}}" for text in digits))
    print(title)
    draw_attention(title, facts, weights, path)
    print(f"saved: {path}")


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
