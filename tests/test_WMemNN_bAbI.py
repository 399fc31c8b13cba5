"""WMemNN_bAbI.py from end to end on small data: learning, files, another seed, refinement."""
import numpy as np
import pytest

import WMemNN_bAbI as script
import data_utils
from helpers.small_run import NAME, arguments, data, finished, log, record, weights  # noqa: F401
from training import run

pytestmark = pytest.mark.usefixtures("without_xla")


def test_log_and_record_hold_what_they_promise(finished):
    rows = log(finished)
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
                             "stories_per_second"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[2]["loss"]) < float(rows[0]["loss"])
    assert {row["learning_rate"] for row in rows} == {"0.01"}
    saved = record(finished)
    assert saved["arguments"]["lz"] == 8 and saved["arguments"]["clip_norm"] == 40.0
    assert [part["first_epoch"] for part in saved["parts"]] == [1]
    assert saved["backend"] in saved["versions"] and saved["parameters"] > 0 and saved["device"]
    assert len(saved["data"]["fingerprint"]) == 64 and len(saved["data"]["differ_from_release"]) == 4
    best = max(rows, key=lambda row: float(row["val_accuracy"]))
    assert saved["best_epoch"] == int(best["epoch"]) and saved["epochs_done"] == 3
    test = saved["test"]
    assert test["questions"] == {"1": 200, "2": 200}
    assert test["error"] == {task: round(100 * wrong / 200, 4) for task, wrong in test["wrong"].items()}
    assert test["mean_error"] == pytest.approx(sum(test["error"].values()) / 2)
    assert test["failed_tasks"] == [int(task) for task, error in test["error"].items() if error > 5]


def test_it_learns(data, tmp_path):
    script.main(arguments(data, tmp_path, epochs="20", lr="0.003"))
    assert record(tmp_path)["test"]["mean_error"] < 62  # guessing one of four places: 75


def test_a_run_to_choose_from_does_not_look_at_the_test(data, tmp_path, capsys):
    """The same command without the option tests the weights that were saved."""
    script.main(arguments(data, tmp_path, "--no-test", epochs="1"))
    assert "mean error" not in capsys.readouterr().out and "test" not in record(tmp_path)
    before = weights(tmp_path)
    script.main(arguments(data, tmp_path, epochs="1"))
    assert "mean error" in capsys.readouterr().out and record(tmp_path)["test"]["questions"] == {"1": 200, "2": 200}
    assert all((before[key] == after).all() for key, after in weights(tmp_path).items()) and len(log(tmp_path)) == 1


def test_another_seed_gives_another_run(finished, data, tmp_path):
    argv = arguments(data, tmp_path, epochs="1")
    argv[5] = "2"
    script.main(argv)
    first, second = weights(finished), weights(tmp_path, NAME[:-1] + "2")
    assert any((first[key] != second[key]).any() for key in first)


def test_validation_by_story_has_other_questions(finished, data, tmp_path, capsys):
    script.main(arguments(data, tmp_path, "--validation", "story", epochs="1"))
    assert "1,080 training and 120 validation questions" in capsys.readouterr().out
    assert log(tmp_path)[0]["val_loss"] != log(finished)[0]["val_loss"]


def test_refinement_goes_on_from_the_earlier_run_on_all_questions(data, tmp_path, capsys):
    script.main(arguments(data, tmp_path, epochs="1"))
    capsys.readouterr()
    script.main(arguments(data, tmp_path, rd="1", lr="1e-5", epochs="6"))
    assert "1,200 training and 120 validation questions" in capsys.readouterr().out
    name = NAME.replace("_0_1", "_1_1")
    rates = [float(row["learning_rate"]) for row in log(tmp_path, name)]
    np.testing.assert_allclose(rates, [1e-5] * 5 + [5e-6], rtol=1e-3)
    before, after = weights(tmp_path), weights(tmp_path, name)
    assert record(tmp_path, name)["refines_sha256"] == run.file_digest(tmp_path / f"{NAME}.weights.h5")
    script.main(arguments(data, tmp_path, epochs="2"))
    with pytest.raises(data_utils.DataError, match="that run refined other weights"):
        script.main(arguments(data, tmp_path, rd="1", lr="1e-5", epochs="6"))
    largest = max(np.abs(before[key] - after[key]).max() for key in before)
    assert 0 < largest < 1e-5 * 34 * 6 * 1.2  # a step of Adam is no longer than about the rate


def test_defaults_are_the_papers():
    args = script.parse_arguments([])
    assert (args.ez, args.lz, args.mx, args.rd, args.lr, args.seed) == (30, 30, 30, 0, 1e-3, 1234)
    assert (args.epochs, args.batch_size, args.hops, args.heads, args.relation_units) == (400, 32, 4, 8, 128)
    assert (args.l2, args.clip_norm, args.schedule, args.tasks) == (1e-3, 40.0, "constant", list(range(1, 21)))
    refining = script.parse_arguments(["30", "30", "30", "1"])
    assert (refining.epochs, refining.lr) == (20, 1e-5)
    assert script.parse_arguments(["--tasks", "1,2,16-19"]).tasks == [1, 2, 16, 17, 18, 19]
