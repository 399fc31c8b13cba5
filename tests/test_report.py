"""What is reported of a run: the table of errors, ensembles, and what was simulated."""
import os
import re
import shutil

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
        monkeypatch.setattr(report, "test_result", lambda stories, outputs, share, seed=seed, result=
                            report.test_result: distributions.update({seed: outputs}) or result(stories, outputs))
        argv[5] = seed
        script.main([*argv, "--evaluate"])
        monkeypatch.undo()
    monkeypatch.setattr(report, "test_result", lambda stories, outputs, share, result=
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


@pytest.fixture(scope="module")
def acquainted(data, tmp_path_factory, without_xla):
    """The arguments of a run that knows the exchanged names."""
    argv = arguments(data, tmp_path_factory.mktemp("acquainted"), "--rename-across-tasks", epochs="1")
    script.main(argv)
    return argv


def test_evaluation_with_exchanged_names_prints_both_errors_side_by_side(acquainted, data, tmp_path, capsys):
    """And leaves the plain ones as they are."""
    shutil.copytree(data, tmp_path / "exchanged")
    for path in tmp_path.rglob("*_test.txt"):
        path.write_text(path.read_text(encoding="utf-8").replace("Daniel", "Bill").replace("John", "Fred"), encoding="utf-8")
    plain, other = (evaluated([*acquainted, "--data", str(source), "--evaluate"], capsys)
                    for source in (data, tmp_path / "exchanged"))
    both = evaluated([*acquainted, "--evaluate", "--systematic"], capsys)
    assert "sys: with the names of sys-bAbI exchanged" in both
    assert both[-1] == f"sys: {other[-1]}" != f"sys: {plain[-1]}" and both[-2] == plain[-1]
    rows = [[line.split() for line in lines if re.match(" +[12] ", line)] for lines in (both, plain, other)]
    for of_both, of_plain, of_other in zip(*rows, strict=True):
        at = of_plain.index("200")  # behind the name of the task
        assert of_both[:at + 3] == of_plain[:at + 3]
        assert of_both[at + 3:at + 5] == of_other[at + 1:at + 3]
        assert of_both[at + 5] == of_plain[at + 3]  # attended
    assert len(rows[0]) == 2


def evaluated(argv, capsys):
    """The lines that an evaluation prints."""
    capsys.readouterr()
    script.main(argv)
    return capsys.readouterr().out.splitlines()


def test_an_answer_without_a_class_is_wrong_whatever_the_output():
    stories = data_utils.Stories(np.ones((4, 1)), np.zeros(4), np.array([0, 1, -1, -1]), np.array([1, 1, 1, 5]),
                                 np.ones((4, 1)), np.arange(4))
    outputs = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    result = report.test_result(stories, outputs)
    assert result["wrong"] == {"1": 1, "5": 1} and result["without_class"] == 2
    assert "without_class" not in report.test_result(stories.take(slice(2)), outputs[:2])
    lines = report.table(result, data_utils.TaskFiles("data", {}, {}), result).splitlines()
    assert lines[0] == "sys: with the names of sys-bAbI exchanged; 2 answers have no class, and count as wrong"
    assert [line.endswith("  failed  sys failed") for line in lines] == [False, False, True, True, False, False]


def test_exchanged_names_go_with_a_table_alone_and_with_words_that_the_weights_know(finished, data):
    for more, reason in ((["--systematic"], "--systematic: only of saved runs; add --evaluate"),
                         (["--systematic", "--evaluate", "--show", "1"], "--show looks at .* leave --systematic out"),
                         (["--systematic", "--evaluate", "--html", "x"], "--html looks at .* leave --systematic out"),
                         (["--systematic", "--evaluate"], "the word '(bill|fred)', which --systematic has in the place of "
                          "'(daniel|john)', is unknown to the saved weights")):
        with pytest.raises(data_utils.DataError, match=reason):
            script.main(arguments(data, finished, *more))


def test_an_ensemble_keeps_its_errors_with_exchanged_names(acquainted, tmp_path):
    models = acquainted[acquainted.index("--models") + 1]
    for kind in "json", "weights.h5":
        for name in NAME, NAME[:-1] + "2":
            shutil.copy(os.path.join(models, f"{NAME}.{kind}"), tmp_path / f"{name}.{kind}")
    argv = [*acquainted, "--models", str(tmp_path), "--evaluate", "--ensemble", "1,2"]
    script.main([*argv, "--systematic"])
    saved = run_files.record(tmp_path, f"{NAME}+2")
    assert saved["test"] | {"attended": ...} == record(models)["test"] | {"attended": ...}
    assert saved["systematic"].keys() == saved["test"].keys() and saved["systematic"]["wrong"] != saved["test"]["wrong"]
    script.main(argv)
    again = run_files.record(tmp_path, f"{NAME}+2")
    assert again["test"] == saved["test"] and "systematic" not in again


def test_the_supporting_share_counts_the_strongest_attended_facts():
    stories = data_utils.Stories(np.array([[1, 2, 3, 0]] * 3), np.zeros(3), np.zeros(3), np.ones(3),
                                 np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool), np.arange(3))
    attention = np.zeros((3, 4, 2, 2))
    attention[:, :3] = np.array([0.1, 0.5, 0.2])[:, None, None]
    np.testing.assert_array_equal(report.supporting_share(stories, attention), [1, 0, np.nan])
    stories.task[:] = 1, 1, 2
    share = report.supporting_share(stories, attention)
    assert report.test_result(stories, np.ones((3, 1)), share)["attended"] == {"1": 50.0}


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
