"""The weights in models/ give the errors that docs/results.md and docs/LOG.md report."""
import functools
import os
import shutil

import pytest

import data_utils
import RN_bAbI
from helpers import run_files
import WMemNN_bAbI

from conftest import ROOT


@pytest.fixture(scope="module", autouse=True)
def parsed_once():
    """The files of the tasks are the same for every run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_utils, "parse_task", functools.cache(data_utils.parse_task))
        yield


@pytest.mark.parametrize("script, arguments, folder, label", [
    (WMemNN_bAbI, "30 30 30 0 0.001 1", "", "seed 1, trained"),
    (WMemNN_bAbI, "30 30 30 0 0.001 2", "", "seed 2, trained"),
    (WMemNN_bAbI, "30 30 30 1 0.00001 1", "", "seed 1, refined"),
    (WMemNN_bAbI, "30 30 30 1 0.00001 2", "", "seed 2, refined"),
    (WMemNN_bAbI, "30 30 30 1 0.00001 1 --ensemble 1,2", "", "ensemble, refined"),
    (WMemNN_bAbI, "30 30 30 3 0.0005 1 --systematic", "three-seeds", "seed 1"),
    (WMemNN_bAbI, "30 30 30 3 0.0005 2 --systematic", "three-seeds", "seed 2"),
    (WMemNN_bAbI, "30 30 30 3 0.0005 3 --systematic", "three-seeds", "seed 3"),
    (WMemNN_bAbI, "30 30 30 3 0.0005 2 --ensemble 2,3", "three-seeds", "ensemble of 2 and 3"),
    (RN_bAbI, "--seed 1", "relation-network", "Relation Network")])
def test_the_weights_in_the_repository_give_the_errors_of_the_pages(
        real_babi, tmp_path, capsys, script, arguments, folder, label):
    models = os.path.join(ROOT, "models", folder)
    for name in os.listdir(models):
        if name.endswith((".json", ".weights.h5")):
            shutil.copy(os.path.join(models, name), tmp_path)
    capsys.readouterr()
    script.main([*arguments.split(), "--data", real_babi, "--models", str(tmp_path), "--evaluate"])
    plain, _, systematic = capsys.readouterr().out.partition("sys: mean")
    run_files.assert_error_of_page(plain, label, "docs/LOG.md" if folder else "docs/results.md")
    if systematic:
        run_files.assert_error_of_page(f"mean{systematic}", label, "docs/results.md")
