"""The tables and pictures of runs in the README and the pages of docs/ come from the files in models/."""
import os
import re
import shlex
import subprocess
import sys

import pytest

from helpers import run_files

from conftest import ROOT


def commands():
    """(page, arguments) of each `python -m plots.draw` in the pages."""
    for name in run_files.PAGES:
        for command in re.findall(r"`(python -m plots\.draw [^`]*)`", run_files.page(name)):
            yield name, shlex.split(command)[3:]


COMMANDS = list(commands())


def test_all_commands_are_found():
    assert len(COMMANDS) == sum(run_files.page(name).count("`python -m plots.draw ") for name in run_files.PAGES)
    assert [name for name, _ in COMMANDS].count("docs/LOG.md") == 3


@pytest.mark.parametrize("name, arguments", COMMANDS)
def test_the_pages_have_the_tables_of_their_records(name, arguments, tmp_path):
    command = [sys.executable, "-m", "plots.draw", *arguments, "--out", str(tmp_path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("| ") and printed in run_files.page(name)
    assert os.listdir(tmp_path)


@pytest.mark.parametrize("run, reason", [
    ("models/simulated/WMemNN_bAbI_30_30_30_0_1", "is not LABEL=PATH"),
    ("one=models/nowhere", "models/nowhere.json: No such file"),
    ("one=models/no-penalty/WMemNN_bAbI_30_30_30_0_1", "no test errors")])
def test_runs_that_cannot_be_drawn(run, reason, tmp_path):
    refused([run], reason, tmp_path)
    assert not os.listdir(tmp_path)


def refused(runs, reason, folder):
    command = [sys.executable, "-m", "plots.draw", *runs, "--out", str(folder / "pictures")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and reason in ended.stderr and ended.stderr.count("\n") == 1
    assert not os.path.exists(folder / "pictures")


def test_a_damaged_record_labels_and_seeds_that_do_not_fit(tmp_path):
    run = "models/simulated/WMemNN_bAbI_30_30_30_0_1"
    (tmp_path / "damaged.json").write_text("{")
    refused([f"one={tmp_path}/damaged"], "damaged.json: not a record", tmp_path)
    refused([f"one={run}", f"one={run}"], "two runs have the same label", tmp_path)
    refused([f"one={run}", "--seeds", "2"], "not 2 of 1", tmp_path)
    refused([f"one={run}", "--seeds", "1"], "not 1 of 1", tmp_path)
