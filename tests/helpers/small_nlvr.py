"""Small NLVR scenes for tests that run from a clone: drawn in the corpus's format, folders, names, six orders and all."""
import functools
import itertools
import json
import os

import numpy as np
from PIL import Image, ImageDraw

import data_utils
from data.crops import load_crops

COLOURS = {"yellow": (255, 215, 0, 255), "black": (0, 0, 0, 255), "blue": (0, 153, 255, 255)}
SHAPES = ("square", "circle", "triangle")
SENTENCES = ("There is a {} item.", "there is atleast 1 {} block", "There are {} objects")


def draw_box(random, colours):
    """A box of 100 x 100 pixels with an item of each of some colours; returns it as RGBA."""
    image = Image.new("RGBA", (100, 100), (211, 211, 211, 255))
    draw = ImageDraw.Draw(image)
    for column, colour in enumerate(colours):
        left, top, size = 50 * column + int(random.integers(5, 15)), int(random.integers(5, 60)), int(random.integers(20, 35))
        shape, fill = random.choice(SHAPES), COLOURS[colour]
        if shape == "square":
            draw.rectangle((left, top, left + size, top + size), fill)
        elif shape == "circle":
            draw.ellipse((left, top, left + size, top + size), fill)
        else:
            draw.polygon((left, top + size, left + size, top + size, left + size // 2, top), fill)
    return np.asarray(image)


def write_split(folder, split, groups, folders, random):
    """Write a split: groups of two examples that share a sentence, the first true and the second false.

    All ask for the same colour, so that a few epochs teach a small model to see it.
    """
    lines = []
    wanted, *others = COLOURS
    for n in range(groups):
        directory = str(n % folders)
        sentence = str(random.choice(SENTENCES)).format(wanted)
        os.makedirs(os.path.join(folder, split, "images", directory), exist_ok=True)
        for m, label in enumerate(("true", "false")):
            boxes = [draw_box(random, random.choice(others, 2)) for _ in range(3)]
            if m == 0:
                boxes[0] = draw_box(random, [wanted, wanted])
            for k, order in enumerate(itertools.permutations(range(3))):
                image = np.full((100, 400, 4), (128, 128, 128, 255), np.uint8)
                for left, box in zip((0, 150, 300), order):
                    image[:, left:left + 100] = boxes[box]
                Image.fromarray(image).save(
                    os.path.join(folder, split, "images", directory, f"{split}-{n}-{m}-{k}.png"), compress_level=1)
            lines.append(json.dumps({"identifier": f"{n}-{m}", "sentence": sentence, "label": label,
                                     "directory": directory}))
    with open(os.path.join(folder, split, f"{split}.json"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def write_corpus(folder, train=40, others=5):
    """Write all four splits, `train` and `others` groups of two examples in each, and return the folder."""
    random = np.random.default_rng(3)
    for split in ("train", "dev", "test", "hidden"):
        write_split(str(folder), split, *((train, 4) if split == "train" else (others, 2)), random)
    return str(folder)


def load(folder, cache=None, **options):
    """A corpus as `data_utils.load_nlvr` has it, its images read as the script does."""
    return data_utils.load_nlvr(str(folder), functools.partial(load_crops, cache=cache), **options)
