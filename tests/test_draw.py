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


@pytest.mark.parametrize("run, reason", [
    ("models/simulated/WMemNN_bAbI_30_30_30_0_1", "is not LABEL=PATH"),
    ("one=models/nowhere", "models/nowhere.json: No such file"),
    ("one=models/no-penalty/WMemNN_bAbI_30_30_30_0_1", "no test errors")])
def test_runs_that_cannot_be_drawn(run, reason, tmp_path):
    command = [sys.executable, os.path.join(ROOT, "plots", "draw.py"), run, "--out", str(tmp_path / "pictures")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and reason in ended.stderr and ended.stderr.count("\n") == 1
    assert not os.listdir(tmp_path)
