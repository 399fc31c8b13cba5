"""Small bAbI files for tests that run from a clone: stories of one kind, written in the released format."""
import os

import numpy as np

PLACES = ("garden", "kitchen", "office", "hallway")
PEOPLE = ("Mary", "John", "Daniel")


def write_task(folder, task_name, questions, seed):
    """Write a task file of the kind of task 1; each story has two facts before each of its five questions."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(-(-questions // 5)):
        number, told = 0, {}
        for _ in range(5):
            for _ in range(2):
                number += 1
                person, place = random.choice(PEOPLE), random.choice(PLACES)
                told[person] = number, place
                lines.append(f"{number} {person} went to the {place}.")
            number += 1
            person = random.choice(list(told))
            lines.append(f"{number} Where is {person}? \t{told[person][1]}\t{told[person][0]}")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, task_name), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def write_tasks(folder, train=200, test=50):
    """Write train and test files of tasks 1 and 2, in the release's layout, and return the folder."""
    for number, (task, name) in enumerate(((1, "single-supporting-fact"), (2, "two-supporting-facts"))):
        for split, questions in (("train", train), ("test", test)):
            write_task(os.path.join(folder, "tasks_1-20_v1-2", "en-10k"), f"qa{task}_{name}_{split}.txt", questions,
                       10 * number + len(split))
    return str(folder)
