"""WMemNN_NLVR.py from end to end on small scenes: learning, files, evaluation, interruption, report."""
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import data_utils
import WMemNN_NLVR as script
from conftest import ROOT
from helpers import run_files, small_nlvr
from training import command_line, report
from training import run as runs
from training.batches import ImageBatches
from training.nlvr_extensions import DEFAULTS, EARLIER

NAME = "WMemNN_NLVR_6_6_8_9_1"
pytestmark = pytest.mark.usefixtures("without_xla")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_nlvr.write_corpus(tmp_path_factory.mktemp("data") / "nlvr")


def arguments(data, models, *more, epochs="8"):
    return ["6", "6", "8", "9", "1", "--data", data, "--models", str(models), "--epochs", epochs, "--lr", "0.003",
            "--batch-size", "48", "--word-dropout", "0.1", *more]


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory, without_xla):
    """A models folder with a finished run of eight epochs, with dropout of words."""
    models = tmp_path_factory.mktemp("finished")
    script.main(arguments(data, models))
    return models


def assert_same_weights(models, others):
    run_files.assert_same_weights(models, others, NAME)


def record(models):
    return run_files.record(models, NAME)


def log(models):
    return run_files.log(models, NAME)


def refused(capsys, argv):
    """Run the script, which has to refuse; returns its line on standard error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command_line.run_script(lambda: script.main(argv), "all is as it was")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.endswith("\n"), error
    return error


def test_log_and_record_hold_what_they_promise(finished):
    rows = log(finished)
    assert list(rows[0])[-2:] == ["seconds", "images_per_second"] and [row["epoch"] for row in rows] == list("12345678")
    saved = record(finished)
    assert saved["arguments"]["cz"] == 6 and saved["selected_on"] == "dev" and "<unknown>" not in saved["words"]
    assert {option: saved["arguments"][option] for option in script.READING} == script.READING
    assert saved["arguments"]["start"] == "authors" and len(set(saved["data"]["mean"])) == 1
    assert saved["data"]["examples"] == {"train": 80, "dev": 10, "test": 10, "hidden": 10}
    assert saved["best_val_accuracy"] == max(float(row["val_accuracy"]) for row in rows)
    assert {split: result["images"] for split, result in saved["test"].items()} == {"dev": 60, "test": 60, "hidden": 60}
    assert saved["test"]["dev"]["accuracy"] == pytest.approx(100 * saved["best_val_accuracy"], abs=1e-3)


def test_it_learns(finished):
    assert {split: result["majority"] for split, result in record(finished)["test"].items()} == {
        "dev": 50.0, "test": 50.0, "hidden": 50.0}
    assert min(result["accuracy"] for result in record(finished)["test"].values()) > 80


def test_evaluation_prints_and_writes_what_the_training_did(finished, data, capsys):
    before = run_files.contents(finished)
    capsys.readouterr()
    script.main(arguments(data, finished, "--evaluate"))
    assert report.table_of_splits(record(finished)["test"]) in capsys.readouterr().out
    assert run_files.contents(finished) == before


def test_predictions_are_what_the_script_of_the_corpus_reads(finished, data):
    """That script, metrics_images.py, in the steps it takes: by the names of the images, consistency by the sentence."""
    for split in ("dev", "test", "hidden"):
        answers = {}
        for line in (finished / f"{NAME}.{split}.csv").read_text().splitlines():
            name, answer = line.split(",")
            answers["-".join(name.split(".")[0].split("-")[1:])] = answer
        with open(os.path.join(data, split, f"{split}.json"), encoding="utf-8") as file:
            examples = [json.loads(line) for line in file]
        right = {(example["identifier"], k): answers.pop(f"{example['identifier']}-{k}") == example["label"]
                 for example in examples for k in range(6)}
        assert not answers
        sentences = {identifier.split("-")[0] for identifier, _ in right}
        result = record(finished)["test"][split]
        assert result["accuracy"] == pytest.approx(100 * np.mean(list(right.values())), abs=1e-3)
        assert result["sentence_consistency"] == pytest.approx(100 * np.mean([
            all(value for (identifier, _), value in right.items() if identifier.split("-")[0] == sentence)
            for sentence in sentences]), abs=1e-3)


def test_accuracy_and_consistency():
    label = np.array([1, 1, 0, 0], np.float32)
    examples = data_utils.Examples(["0-0", "0-1", "7-0", "7-2"], ["0"] * 4, np.zeros(4, int), label, np.zeros((4, 6, 3), int))
    answers = np.repeat(label[:, None] > 0.5, 6, axis=1)
    assert report.measure(examples, answers) == {
        "images": 24, "examples": 4, "sentences": 2, "majority": 50.0, "accuracy": 100.0, "consistency": 100.0,
        "sentence_consistency": 100.0}
    answers[1, 5] = False
    result = report.measure(examples, answers)
    assert (result["accuracy"], result["consistency"], result["sentence_consistency"]) == (95.8333, 75.0, 50.0)


def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(finished, data, tmp_path):
    """As from the command line, dropout included; killed in the second epoch or while the first is saved."""
    def start():
        return subprocess.Popen(
            [sys.executable, "WMemNN_NLVR.py", *arguments(data, tmp_path)], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})

    process = start()
    assert any(line.startswith("epoch 1/") for line in process.stdout)
    process.kill()
    process.communicate()
    assert len(log(tmp_path)) < 8
    out, error = start().communicate()
    assert not error and "going on after epoch" in out and report.table_of_splits(record(finished)["test"]) in out
    assert_same_weights(tmp_path, finished)


def test_options_train_and_validation_folders_keep_dev_unseen(data, tmp_path, capsys):
    script.main(arguments(data, tmp_path, "--validation-folders", "1", "--attention", "shared", "--clip-norm", "1",
                          "--schedule", "cosine", epochs="1"))
    assert "360 training and 120 validation images, 8 batches of 48" in capsys.readouterr().out
    assert record(tmp_path)["selected_on"] == "1 training folders"


# How the project read the data and started until it did as the authors.
AS_EARLIER = ["--padding", "masked", "--halving", "mean", "--statistics", "channels", "--sentences", "project"]
EXTENDED = ["--attention", "shared", "--simulated-sentences", "1", "--augment", "--images-per-example", "1",
            "--batches", "examples", "--batch-normalization", "--embedding-scale", "1", "--attention-units", "9,8",
            "--heads", "2", "--scores", "linear", "--order-colours", "--convolutions", "3", "--simple-epochs", "1"]


@pytest.mark.parametrize("reading", [[], [*AS_EARLIER, "--start", "uniform"]])
def test_an_extended_run_goes_on_to_the_weights_of_an_uninterrupted_one(data, tmp_path, monkeypatch, capsys, reading):
    options = EXTENDED + reading
    script.main(arguments(data, tmp_path / "whole", *options, epochs="3"))
    save = runs.Run.save

    def save_and_stop(run, *args):
        save(run, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.Run, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        script.main(arguments(data, tmp_path / "parts", *options, epochs="3"))
    monkeypatch.undo()
    script.main(arguments(data, tmp_path / "parts", *options, "--no-test", epochs="3"))
    assert "test" not in record(tmp_path / "parts")
    script.main(arguments(data, tmp_path / "parts", *options, epochs="3"))
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    assert record(tmp_path / "whole")["test"] == record(tmp_path / "parts")["test"]

    said = "trained with 1 simulated sentences about the images of each training example beside its own"
    assert capsys.readouterr().out.count(said) == 2  # with the table

    before = run_files.contents(tmp_path / "whole")
    without = [option for option in EXTENDED
               if option not in ("--simulated-sentences", "1", "--embedding-scale", "--images-per-example", "--simple-epochs")]
    script.main(arguments(data, tmp_path / "whole", *without, "--evaluate"))
    assert run_files.contents(tmp_path / "whole") == before and said in capsys.readouterr().out
    at = EXTENDED.index("--heads")
    fewer = EXTENDED[:at] + EXTENDED[at + 2:]
    assert "that run was trained with --heads 2, not 1" in refused(
        capsys, arguments(data, tmp_path / "whole", *fewer, "--evaluate"))


def test_a_record_from_before_the_options_is_evaluated_and_gone_on_with(data, tmp_path, capsys):
    options = [*AS_EARLIER, "--start", "uniform", "--batches", "examples", "--word-dropout", "0"]
    script.main(arguments(data, tmp_path, *options, epochs="1"))
    saved = record(tmp_path)
    assert saved["arguments"]["embedding_scale"] == 0.05 and len(set(saved["data"]["mean"])) == 3
    assert saved["words"][0] == "<unknown>"
    saved["arguments"] = {key: value for key, value in saved["arguments"].items() if key not in EARLIER}
    (tmp_path / f"{NAME}.json").write_text(json.dumps(saved))
    capsys.readouterr()
    script.main(arguments(data, tmp_path, "--evaluate"))
    assert report.table_of_splits(saved["test"]) in capsys.readouterr().out
    assert "--padding masked, not read; give --padding masked" in refused(
        capsys, arguments(data, tmp_path, "--evaluate", "--padding", "read"))
    with np.load(tmp_path / f"{NAME}.state.npz") as state:
        values = dict(state)
    settings = json.loads(str(values["settings"]))
    values["settings"] = json.dumps({key: value for key, value in settings.items() if key not in EARLIER})
    np.savez(tmp_path / f"{NAME}.state.npz", **values)
    script.main(arguments(data, tmp_path, *options, epochs="1"))
    assert "all 1 epochs are done" in capsys.readouterr().out
    assert "that run had heads 1, not 2" in refused(capsys, arguments(data, tmp_path, *options, "--heads", "2"))
    assert "that run had padding masked, not read" in refused(capsys, arguments(data, tmp_path, *options[2:]))


def test_a_kept_run_is_evaluated_as_it_was_trained():
    folder, name = "earlier-nlvr", "WMemNN_NLVR_100_24_128_50_1234"
    saved = run_files.record(os.path.join(ROOT, "models", folder), name)["arguments"]
    args = script.parse_arguments(["--evaluate", "--models", os.path.join(ROOT, "models", folder)])
    runs.read_run(args, name, script.READING, EARLIER)
    assert {option: getattr(args, option) for option in script.READING} == {
        "padding": "masked", "halving": "mean", "statistics": "channels", "sentences": "project"}
    assert (saved["start"], saved["batches"]) == ("uniform", "examples")


@pytest.mark.parametrize("options, said", [
    ("--simulated-sentences 2 --simulated-per-epoch 3",
     "--simulated-per-epoch 3 is more than --simulated-sentences 2; give as many or fewer"),
    ("--simple-epochs 1", "--simple-epochs needs --simulated-sentences N, sentences for the epochs behind them")])
def test_simulated_sentences_that_are_not_there_are_refused(data, tmp_path, capsys, options, said):
    with pytest.raises(SystemExit, match="2"):
        script.main(arguments(data, tmp_path, *options.split()))
    assert said in capsys.readouterr().err


def test_the_last_batch_of_dev_and_test_counts(data):
    nlvr = small_nlvr.load(data)
    batches = ImageBatches(nlvr, nlvr.splits["dev"], 256)
    assert [len(label) for _, label in (batches[i] for i in range(len(batches)))] == [60]
    batches = ImageBatches(nlvr, nlvr.splits["dev"], 24)
    assert [len(label) for _, label in (batches[i] for i in range(len(batches)))] == [24, 24, 12]
    model = script.build_model(script.parse_arguments(["6", "6", "8"]), nlvr)
    assert model.predict(batches, verbose=0).shape == (60, 1)


def test_images_of_a_batch_do_not_depend_on_its_composition(data):
    nlvr = small_nlvr.load(data)
    model = script.build_model(script.parse_arguments(["6", "6", "8"]), nlvr)
    alone, together = (model.predict(ImageBatches(nlvr, nlvr.splits["test"], size), verbose=0) for size in (6, 60))
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def test_defaults_are_the_papers():
    args = script.parse_arguments([])
    assert (args.ez, args.cz, args.lz, args.mx, args.seed) == (100, 24, 128, 50, 1234)
    assert (args.epochs, args.batch_size, args.lr, args.l2, args.clip_norm) == (60, 256, 1e-3, 1e-3, None)
    assert (args.attention, args.validation_folders) == ("separate", None)
    assert (args.batches, args.padding, args.halving, args.statistics, args.sentences) == (
        "images", "read", "nearest", "one", "authors")
    assert (args.start, args.embedding_scale) == ("authors", None)
    assert all(getattr(args, name) == value for name, value in DEFAULTS.items())


# Bad input


@pytest.mark.parametrize("argv, reason", [
    (["100", "2"], "argument cz: must be above 2"), (["0"], "argument ez: must be above 0"),
    (["--word-dropout", "1"], "argument --word-dropout"), (["--convolutions", "1"], "argument --convolutions: must be at least 2"),
    (["--images-per-example", "7"], "argument --images-per-example: must be at most 6"),
    (["--attention-units", "none"], "argument --attention-units: must have a layer"),
    (["--batches", "boxes"], "argument --batches"), (["--padding", "trained"], "argument --padding"),
    (["--halving", "cubic"], "argument --halving"), (["--statistics", "two"], "argument --statistics"),
    (["--sentences", "mine"], "argument --sentences"), (["--start", "zero"], "argument --start"),
    (["--data", "nowhere"], "nowhere: no such folder"), (["--evaluate", "--models", "nowhere"], "nowhere")])
def test_arguments(capsys, argv, reason):
    assert reason in refused(capsys, argv)


def test_damaged_data_is_one_line_and_starts_nothing(capsys, data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "copy")
    (copy / "train" / "images" / "0" / "train-0-1-2.png").write_bytes(b"")
    assert "train-0-1-2.png: cannot be read" in refused(capsys, arguments(str(copy), tmp_path / "models"))
    assert not os.path.exists(tmp_path / "models") and not os.path.exists(f"{copy}.crops.h5")


def test_a_cache_that_cannot_be_written(capsys, data, tmp_path):
    cache = str(tmp_path / "nowhere" / "crops.h5")
    assert cache in refused(capsys, arguments(data, tmp_path, "--cache", cache))


def test_other_options_than_those_of_the_run(capsys, finished, data):
    before = run_files.contents(finished)
    assert "that run had word_dropout 0.1, not 0.2" in refused(capsys, arguments(data, finished, "--word-dropout", "0.2"))
    assert "--attention separate, not shared" in refused(
        capsys, arguments(data, finished, "--evaluate", "--attention", "shared"))
    for option, (trained, other) in {"padding": ("read", "masked"), "halving": ("nearest", "mean"),
                                     "statistics": ("one", "channels"), "sentences": ("authors", "project")}.items():
        assert f"--{option} {trained}, not {other}; give --{option} {trained}" in refused(
            capsys, arguments(data, finished, "--evaluate", f"--{option}", other))
    assert run_files.contents(finished) == before
