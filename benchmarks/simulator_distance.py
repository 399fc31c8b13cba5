"""Measure how close simulated bAbI files (data/simulate_babi.py) are to the released ones.

    python benchmarks/simulator_distance.py --real FOLDER --simulated FOLDER [--tasks 1-20] [--details]

Both folders are tasks_1-20_v1-2 folders. Compared are the training files of en-10k.

Per task the table gives
- the share of distinct released facts and questions that occur in the simulated file, and the other way round;
- whether both sides have the same words and the same answers (a missing answer counts if 10 stories
  with it are expected);
- the total variation distance between the distributions of the answer, of the number of facts before a question, of
  the number of supporting facts, and of the number of facts from the question back to the oldest supporting fact.

Every distance comes with its noise: what two samples of the released distribution, one as large as the released file
and one as large as the simulated one, reach in 95 % of 200 draws of whole stories. A distance above its target but
not above its noise is marked "~": the reference cannot resolve it. "!" marks a missed target; the exit status is
then 1.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np

from training import command_line

COVERAGE_TARGET = 0.99
ANSWER_TARGET = 0.05
SHAPE_TARGET = 0.10
NOISE_DRAWS = 200
RARE = 10

DISTANCES = {  # name: target
    "answer": ANSWER_TARGET, "facts before": SHAPE_TARGET, "supports": SHAPE_TARGET, "oldest": SHAPE_TARGET,
}


def stop(message):
    """Exit status 2, because 1 means that a target was missed."""
    print(f"simulator_distance: {message}", file=sys.stderr)
    sys.exit(2)


def read_stories(path):
    """Stories of a file, each a list of facts (text) and questions (text, answer, distances back to the supports)."""
    stories, fact_number = [], {}
    with open(path, encoding="utf-8") as file:
        for text in file:
            number, _, rest = text.rstrip("\n").partition(" ")
            if number == "1":
                stories.append([])
                fact_number = {}
            if "\t" in rest:
                question, answer, support = rest.split("\t")
                back = [len(fact_number) - fact_number[line] for line in support.split()]
                stories[-1].append((question, answer, back))
            else:
                fact_number[number] = len(fact_number)
                stories[-1].append(rest)
    return stories


def training_file(folder, task):
    found = sorted(Path(folder, "en-10k").glob(f"qa{task}_*_train.txt"))
    if len(found) != 1:
        stop(f"no en-10k training file of task {task} in {folder}")
    return found[0]


def observations(story):
    """For each question of a story the value of every compared distribution."""
    facts = 0
    for line in story:
        if isinstance(line, str):
            facts += 1
        else:
            _, answer, back = line
            yield {"answer": answer, "facts before": facts, "supports": len(back), "oldest": max(back)}


def count_matrix(stories, name, columns):
    """Counts of each value of one distribution, a row per story."""
    matrix = np.zeros((len(stories), len(columns)))
    for row, story in enumerate(stories):
        for seen in observations(story):
            matrix[row, columns[seen[name]]] += 1
    return matrix


def total_variation(first, second):
    return 0.5 * np.abs(first / first.sum(axis=-1, keepdims=True) - second / second.sum(axis=-1, keepdims=True)).sum(-1)


def noise_level(matrix, simulated_stories):
    """95th percentile of the distance between two samples of whole stories from the rows of a count matrix."""
    generator, stories = np.random.default_rng(0), len(matrix)
    even = np.full(stories, 1 / stories)
    first = generator.multinomial(stories, even, size=NOISE_DRAWS) @ matrix
    second = generator.multinomial(simulated_stories, even, size=NOISE_DRAWS) @ matrix
    return float(np.quantile(total_variation(first, second), 0.95))


def covered(sentences, by):
    return len(sentences & by) / len(sentences)


def sentences_and_words(stories):
    facts = {line for story in stories for line in story if isinstance(line, str)}
    questions = {line[0].strip() for story in stories for line in story if not isinstance(line, str)}
    answers = {line[1] for story in stories for line in story if not isinstance(line, str)}
    words = {word.strip(".,?") for sentence in facts | questions for word in sentence.split()}
    return facts, questions, words, answers


def is_expected(answer, here, there):
    """Whether an answer is in enough stories here that at least RARE stories with it are expected there."""
    stories = sum(any(not isinstance(line, str) and line[1] == answer for line in story) for story in here)
    return stories / len(here) * len(there) >= RARE


def some(items, limit=6):
    items = sorted(items)
    return ", ".join(items[:limit]) + (f" and {len(items) - limit} more" if len(items) > limit else "")


def compare_task(real, simulated):
    """Cells of one table row, each (text, missed), and the details of what differs most."""
    cells, details = [], []
    real_facts, real_questions, real_words, real_answers = sentences_and_words(real)
    facts, questions, words, answers = sentences_and_words(simulated)
    for name, ours, theirs in (("facts", facts, real_facts), ("questions", questions, real_questions)):
        shares = covered(theirs, ours), covered(ours, theirs)
        missed = min(shares) < COVERAGE_TARGET
        cells.append(("{:.3f} {:.3f}".format(*shares), missed))
        if missed:
            details.append(f"{name} released only: {some(theirs - ours)}; simulated only: {some(ours - theirs)}")
    for name, ours, theirs in (("words", words, real_words), ("answers", answers, real_answers)):
        lacking, added = theirs - ours, ours - theirs
        if name == "answers":
            lacking = {answer for answer in lacking if is_expected(answer, real, simulated)}
            added = {answer for answer in added if is_expected(answer, simulated, real)}
        missed = bool(lacking or added)
        cells.append(("differ" if missed else "same", missed))
        if missed:
            details.append(f"{name} released only: {some(lacking)}; simulated only: {some(added)}")
    for name, target in DISTANCES.items():
        values = sorted({seen[name] for story in real + simulated for seen in observations(story)})
        columns = {value: column for column, value in enumerate(values)}
        real_counts = count_matrix(real, name, columns)
        real_total, total = real_counts.sum(0), count_matrix(simulated, name, columns).sum(0)
        distance, noise = float(total_variation(real_total, total)), noise_level(real_counts, len(simulated))
        missed = distance > max(target, noise)
        mark = "~" if distance > target and not missed else " "
        cells.append((f"{distance:.3f} ({noise:.3f}){mark}", missed))
        if missed:
            gap = total / total.sum() - real_total / real_total.sum()
            worst = sorted(range(len(values)), key=lambda column: -abs(gap[column]))[:6]
            shares = (
                f"{values[column]}: {real_total[column] / real_total.sum():.3f} -> {total[column] / total.sum():.3f}"
                for column in worst
            )
            details.append(f"{name} released -> simulated: " + ", ".join(shares))
    return cells, details


def main():
    parser = command_line.Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--real", required=True, metavar="FOLDER", help="the released tasks_1-20_v1-2 folder")
    parser.add_argument("--simulated", required=True, metavar="FOLDER", help="a simulated tasks_1-20_v1-2 folder")
    parser.add_argument("--tasks", type=command_line.task_list, metavar="LIST", default=list(range(1, 21)),
                        help="tasks such as 1,2,16-19 (default 1-20)")
    parser.add_argument("--details", action="store_true", help="say what differs most where a target is missed")
    options = parser.parse_args()

    titles = ["facts covered", "quest. covered", "words", "answers"] + [f"{name} (noise)" for name in DISTANCES]
    targets = [f">= {COVERAGE_TARGET}"] * 2 + ["same"] * 2 + [f"<= {target:.2f}" for target in DISTANCES.values()]
    width = [max(len(title), 15) + 1 for title in titles]
    print("task    " + "".join(title.ljust(size) for title, size in zip(titles, width)))
    print("target  " + "".join(target.ljust(size) for target, size in zip(targets, width)))
    missed_cells = Counter()
    for task in options.tasks:
        real = read_stories(training_file(options.real, task))
        simulated = read_stories(training_file(options.simulated, task))
        cells, details = compare_task(real, simulated)
        row = "".join((text + ("!" if missed else "")).ljust(size) for (text, missed), size in zip(cells, width))
        misses = sum(missed for _, missed in cells)
        missed_cells[task] += misses
        print(f"{task:4d}    {row}{'FAIL' if misses else 'pass'}", flush=True)
        if options.details:
            for detail in details:
                print(f"        {detail}")
    failed = [task for task, misses in missed_cells.items() if misses]
    where = f", in tasks {', '.join(map(str, failed))}" if failed else ""
    print(f"{sum(missed_cells.values())} targets missed{where}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
