"""The READMEs' tables and pictures of runs come from the files in models/."""
import os
import re
import shlex
import subprocess
import sys

import pytest

import run_files

from conftest import ROOT


def commands():
    """The arguments of each `python plots/draw.py` in the READMEs."""
    found = (shlex.split(command)[2:] for command in re.findall(r"`(python plots/draw\.py [^`]*)`", run_files.readmes()))
    return [[" ".join(argument.split()) for argument in arguments] for arguments in found]  # a label may be wrapped


@pytest.mark.parametrize("number", range(len(commands())))
def test_the_readmes_have_the_tables_of_their_records(number, tmp_path):
    command = [sys.executable, os.path.join(ROOT, "plots", "draw.py"), *commands()[number], "--out", str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("| ") and printed in run_files.readmes()
    assert os.listdir(tmp_path)
