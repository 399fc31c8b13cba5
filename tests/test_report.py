"""What is reported of a run: the table of errors, ensembles, and what was simulated."""
import os

import numpy as np
import pytest

import WMemNN_bAbI as script
import data_utils
from data import simulate_babi
from helpers import run_files
from helpers.small_run import NAME, arguments, data, finished, record  # noqa: F401
from training import report

pytestmark = pytest.mark.usefixtures("without_xla")


def test_evaluation_prints_the_table_of_the_training(finished, data, capsys):
    before = {name: (finished / name).read_bytes() for name in os.listdir(finished)}
    capsys.readouterr()
    script.main(arguments(data, finished, "--evaluate"))
    files = data_utils.read_tasks(data, [1, 2])
    assert report.table(record(finished)["test"], files) in capsys.readouterr().out
    assert {name: (finished / name).read_bytes() for name in os.listdir(finished)} == before


def test_an_ensemble_averages_the_answer_distributions(finished, data, tmp_path, capsys, monkeypatch):
    for name in os.listdir(finished):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    argv = arguments(data, tmp_path, epochs="1")
    argv[5] = "2"
    script.main(argv)
    distributions = {}
    for seed in "1", "2":
        monkeypatch.setattr(report, "test_result", lambda stories, outputs, attention, seed=seed, result=
                            report.test_result: distributions.update({seed: outputs}) or result(stories, outputs))
        argv[5] = seed
        script.main([*argv, "--evaluate"])
        monkeypatch.undo()
    monkeypatch.setattr(report, "test_result", lambda stories, outputs, attention, result=
                        report.test_result: distributions.update(both=outputs) or result(stories, outputs))
    capsys.readouterr()
    script.main([*argv, "--evaluate", "--ensemble", "1,2"])
    out = capsys.readouterr().out
    np.testing.assert_allclose(distributions["both"], (distributions["1"] + distributions["2"]) / 2, rtol=1e-5)
    np.testing.assert_allclose(distributions["both"].sum(axis=1), 1, rtol=1e-5)
    assert f"{NAME}: validation accuracy {record(finished)['best_val_accuracy']:.4f}" in out
    saved = run_files.record(tmp_path, f"{NAME}+2")
    assert list(saved["ensemble"]) == [NAME, NAME[:-1] + "2"]
    assert saved["ensemble"][NAME]["weights_sha256"] == record(finished)["weights_sha256"]
    assert report.table(saved["test"], data_utils.read_tasks(data, [1, 2])) in out
    # Its errors on one of the tasks do not take the place of those on both.
    argv[argv.index("--tasks") + 1] = "2"
    before = run_files.contents(tmp_path)
    script.main([*argv, "--evaluate", "--ensemble", "1,2"])
    assert f"not saved: {tmp_path / NAME}+2.json" in capsys.readouterr().out
    assert run_files.contents(tmp_path) == before


def test_the_supporting_share_counts_the_strongest_attended_facts():
    stories = data_utils.Stories(np.array([[1, 2, 3, 0]] * 3), np.zeros(3), np.zeros(3), np.ones(3),
                                 np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool), np.arange(3))
    attention = np.zeros((3, 4, 2, 2))
    attention[:, :3] = np.array([0.1, 0.5, 0.2])[:, None, None]
    np.testing.assert_array_equal(report.supporting_share(stories, attention), [1, 0, np.nan])
    stories.task[:] = 1, 1, 2
    assert report.test_result(stories, np.ones((3, 1)), attention)["attended"] == {"1": 50.0}


def test_simulated_data_is_named_at_the_start_in_the_record_and_above_the_table():
    test = {"questions": {"4": 10}, "wrong": {"4": 1}, "error": {"4": 10.0}, "mean_error": 10.0, "failed_tasks": [4]}
    for simulated in (True, False):
        files = data_utils.TaskFiles("data", {}, {}, simulated)
        said = report.describe_data(files), report.table(test, files).split("\n")[0]
        assert all(("simulated data, not the released benchmark" in text) == simulated for text in said)
        assert report.data_record(files)["simulated"] is simulated


def test_what_was_trained_on_simulated_data_says_so_wherever_it_is_evaluated(data, tmp_path, capsys):
    simulate_babi.main(["--out", str(tmp_path), "--tasks", "1,2", "--questions", "100", "--test-questions", "50"])
    argv = arguments(str(tmp_path), tmp_path / "models", "--extra-simulated", "40", epochs="1")
    script.main(argv)
    out = capsys.readouterr().out
    assert "260 training and 20 validation questions" in out
    saved = record(tmp_path / "models")
    assert saved["data"]["simulated"] and len(saved["trained_on_simulated"]) == 2
    argv[argv.index("--data") + 1] = data
    script.main([*argv, "--evaluate"])
    out = capsys.readouterr().out
    assert "trained on simulated data, not the released benchmark" in out and "tested on simulated" not in out
    assert "trained with 40 simulated questions a task" in out
