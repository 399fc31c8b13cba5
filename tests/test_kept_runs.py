"""The weights in models/ give the errors that the README reports."""
import os

import pytest

import RN_bAbI
import run_files
import WMemNN_bAbI

from conftest import ROOT


@pytest.mark.parametrize("folder, rd, label", [
    ("", "1", "seed 1, refined"), ("", "0", "seed 1, 55 epochs"), ("40-epochs", "0", "40 epochs"),
    ("simulated", "0", "simulated only, 15 epochs")])
def test_the_weights_in_the_repository_give_the_errors_of_the_readme(real_babi, capsys, folder, rd, label):
    models = os.path.join(ROOT, "models", folder)
    capsys.readouterr()
    WMemNN_bAbI.main(["30", "30", "30", rd, "0.001", "1", "--data", real_babi, "--models", models, "--evaluate"])
    run_files.assert_error_of_readme(capsys.readouterr().out, label)


def test_the_weights_of_the_relation_network_give_the_errors_of_the_readme(real_babi, capsys):
    models = os.path.join(ROOT, "models", "13-epochs")
    RN_bAbI.main(["--seed", "1", "--data", real_babi, "--models", models, "--evaluate"])
    run_files.assert_error_of_readme(capsys.readouterr().out, "Relation Network, 13 epochs")
