"""The files of a run, and the results in the pages, read for the tests."""
import csv
import json
import os
import re

import h5py
import numpy as np
import pytest

from conftest import ROOT


def weights(models, name):
    """The saved weights, a dict from their path in the file to an array."""
    values = {}
    with h5py.File(os.path.join(models, f"{name}.weights.h5")) as file:
        file.visititems(lambda key, item: values.update({key: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return values


def assert_same_weights(models, others, name):
    """Both folders hold the same weights, bit for bit."""
    first, second = weights(models, name), weights(others, name)
    assert first and first.keys() == second.keys()
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key], err_msg=key)


def record(models, name):
    """The record, a dict."""
    with open(os.path.join(models, f"{name}.json"), encoding="utf-8") as file:
        return json.load(file)


def log(models, name):
    """The log, a dict of str for each epoch."""
    with open(os.path.join(models, f"{name}.csv"), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """The bytes of every file of a folder, by name."""
    return {name: open(os.path.join(folder, name), "rb").read() for name in os.listdir(folder)}


PAGES = "README.md", *sorted(f"docs/{name}" for name in os.listdir(os.path.join(ROOT, "docs")) if name.endswith(".md"))


def page(name):
    """The text of one of the pages."""
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def assert_error_of_page(printed, label, name):
    """The mean error in what a script printed is the one in the column of that label in a table of the page."""
    (mean_error,) = re.findall(r"mean error ([\d.]+) %", printed)
    tables = re.findall(r"(?:^\|.*\|\n)+", page(name), re.MULTILINE)
    (errors,) = (row[label] for header, *rows in map(cells, tables) if label in header
                 for row in (dict(zip(header, row)) for row in rows) if row[header[0]] == "mean error %")
    assert float(mean_error) == pytest.approx(float(errors), abs=0.03)  # the last bits vary


def cells(table):
    """The rows of a Markdown table, each a list of its cells."""
    return [row.strip("| ").split(" | ") for row in table.splitlines()]
