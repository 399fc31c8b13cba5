"""The README's tables and pictures of runs come from the files in models/."""
import os
import re
import shlex
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def commands():
    """The arguments of each `python plots/draw.py` in the README, and the README."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    found = (shlex.split(command)[2:] for command in re.findall(r"`(python plots/draw\.py [^`]*)`", text))
    return [[" ".join(argument.split()) for argument in arguments] for arguments in found], text  # a label may be wrapped


@pytest.mark.parametrize("number", range(len(commands()[0])))
def test_the_readme_has_the_tables_of_its_records(number, tmp_path):
    found, text = commands()
    command = [sys.executable, os.path.join(ROOT, "plots", "draw.py"), *found[number], "--out", str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("| ") and printed in text
    assert os.listdir(tmp_path)
