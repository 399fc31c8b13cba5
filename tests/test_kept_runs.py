"""The weights in models/ give the errors that the README reports."""
import os

import pytest

import RN_bAbI
import run_files
import WMemNN_bAbI

from conftest import ROOT


@pytest.mark.parametrize("script, arguments, folder, label", [
    (WMemNN_bAbI, "30 30 30 1 0.001 1", "", "seed 1, refined"),
    (WMemNN_bAbI, "30 30 30 0 0.001 1", "", "seed 1, 55 epochs"),
    (WMemNN_bAbI, "30 30 30 0 0.001 1", "40-epochs", "40 epochs"),
    (WMemNN_bAbI, "30 30 30 0 0.001 1", "wide-embeddings", "embeddings from -1 to 1, 66 epochs"),
    (WMemNN_bAbI, "30 30 30 0 0.001 1", "simulated", "simulated only, 15 epochs"),
    (RN_bAbI, "--seed 1", "13-epochs", "Relation Network, 13 epochs")])
def test_the_weights_in_the_repository_give_the_errors_of_the_readme(real_babi, capsys, script, arguments, folder, label):
    models = os.path.join(ROOT, "models", folder)
    capsys.readouterr()
    script.main([*arguments.split(), "--data", real_babi, "--models", models, "--evaluate"])
    run_files.assert_error_of_readme(capsys.readouterr().out, label)
