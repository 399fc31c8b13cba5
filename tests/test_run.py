"""WMemNN_bAbI.py from end to end on small data: learning, files, evaluation, interruption, refinement."""
import json
import os
import platform
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import babi_training
import data_utils
import equations
import run_files
import small_babi
import training
import WMemNN_bAbI as script
from data import simulate_babi

from conftest import ROOT

NAME = "WMemNN_bAbI_8_8_10_0_1"
pytestmark = pytest.mark.usefixtures("without_xla")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_babi.write_tasks(tmp_path_factory.mktemp("data"), train=600, test=200)


def arguments(data, models, *more, rd="0", lr="0.01", epochs="3"):
    return ["8", "8", "10", rd, lr, "1", "--data", data, "--models", str(models), "--tasks", "1,2",
            "--epochs", epochs, "--hops", "2", "--heads", "2", "--relation-units", "8", *more]


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory, without_xla):
    """A models folder with a finished run of three epochs."""
    models = tmp_path_factory.mktemp("finished")
    script.main(arguments(data, models))
    return models


def weights(models, name=NAME):
    return run_files.weights(models, name)


def record(models, name=NAME):
    return run_files.record(models, name)


def log(models, name=NAME):
    return run_files.log(models, name)


def assert_same_weights(models, others):
    run_files.assert_same_weights(models, others, NAME)


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


def test_evaluation_prints_the_table_of_the_training(finished, data, capsys):
    before = {name: (finished / name).read_bytes() for name in os.listdir(finished)}
    capsys.readouterr()
    script.main(arguments(data, finished, "--evaluate"))
    files = data_utils.read_tasks(data, [1, 2])
    assert babi_training.table(record(finished)["test"], files) in capsys.readouterr().out
    assert {name: (finished / name).read_bytes() for name in os.listdir(finished)} == before


def test_an_ensemble_averages_the_answer_distributions(finished, data, tmp_path, capsys, monkeypatch):
    for name in os.listdir(finished):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    argv = arguments(data, tmp_path, epochs="1")
    argv[5] = "2"
    script.main(argv)
    distributions = {}
    for seed in "1", "2":
        monkeypatch.setattr(babi_training, "test_result", lambda stories, outputs, attention, seed=seed, result=
                            babi_training.test_result: distributions.update({seed: outputs}) or result(stories, outputs))
        argv[5] = seed
        script.main([*argv, "--evaluate"])
        monkeypatch.undo()
    monkeypatch.setattr(babi_training, "test_result", lambda stories, outputs, attention, result=
                        babi_training.test_result: distributions.update(both=outputs) or result(stories, outputs))
    capsys.readouterr()
    script.main([*argv, "--evaluate", "--ensemble", "1,2"])
    out = capsys.readouterr().out
    np.testing.assert_allclose(distributions["both"], (distributions["1"] + distributions["2"]) / 2, rtol=1e-5)
    np.testing.assert_allclose(distributions["both"].sum(axis=1), 1, rtol=1e-5)
    assert f"{NAME}: validation accuracy {record(finished)['best_val_accuracy']:.4f}" in out
    saved = run_files.record(tmp_path, f"{NAME}+2")
    assert list(saved["ensemble"]) == [NAME, NAME[:-1] + "2"]
    assert saved["ensemble"][NAME]["weights_sha256"] == record(finished)["weights_sha256"]
    assert babi_training.table(saved["test"], data_utils.read_tasks(data, [1, 2])) in out
    # Its errors on one of the tasks do not take the place of those on both.
    argv[argv.index("--tasks") + 1] = "2"
    before = run_files.contents(tmp_path)
    script.main([*argv, "--evaluate", "--ensemble", "1,2"])
    assert f"not saved: {tmp_path / NAME}+2.json" in capsys.readouterr().out
    assert run_files.contents(tmp_path) == before


def test_show_prints_and_draws_the_attention_on_a_question(finished, data, tmp_path, capsys):
    for name in os.listdir(finished):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    capsys.readouterr()
    script.main(arguments(data, tmp_path, "--evaluate", "--show", "4"))
    lines = capsys.readouterr().out.split("\n")
    (first,) = (i for i, line in enumerate(lines) if line.startswith("question 4, task 1"))
    facts = lines[first + 2:first + 10]  # the fourth question of a story comes after eight facts
    assert sum(line.startswith("*") for line in facts) == 1 and all(" went to the " in line for line in facts)
    assert re.match(r"where is \w+\? \w+ \(\d+ %\), (right|wrong, the answer is \w+)", lines[first + 10])
    with Image.open(tmp_path / f"{NAME}.question-4.png") as picture:
        assert min(picture.size) > 100
    with pytest.raises(data_utils.DataError, match="there are 400 test questions"):
        script.main(arguments(data, tmp_path, "--evaluate", "--show", "401"))


def test_the_supporting_share_counts_the_strongest_attended_facts():
    stories = data_utils.Stories(np.array([[1, 2, 3, 0]] * 3), np.zeros(3), np.zeros(3), np.ones(3),
                                 np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool))
    attention = np.zeros((3, 4, 2, 2))
    attention[:, :3] = np.array([0.1, 0.5, 0.2])[:, None, None]
    np.testing.assert_array_equal(babi_training.supporting_share(stories, attention), [1, 0, np.nan])
    stories.task[:] = 1, 1, 2
    assert babi_training.test_result(stories, np.ones((3, 1)), attention)["attended"] == {"1": 50.0}


def test_a_finished_run_is_left_as_it_is(finished, data, capsys):
    before = record(finished)
    script.main(arguments(data, finished))
    assert "all 3 epochs are done" in capsys.readouterr().out
    assert record(finished) == before


class Crash(BaseException):
    """Stands for the end of the process between two writes."""


def test_a_crash_between_any_two_writes_is_made_good(finished, data, tmp_path, monkeypatch):
    """The run is cut short of each kind of file in turn, the state of the second epoch last, and goes on every time."""
    whole, saved = training.write_whole, []
    for kind, epochs_in_log in (("state.npz", 0), ("weights.h5", 0), ("csv", 0), ("json", 1), ("state.npz", 1)):
        def cut(path, content, kind=kind, epochs_in_log=epochs_in_log):
            done = len(log(tmp_path)) if os.path.exists(tmp_path / f"{NAME}.csv") else 0
            if path.endswith(f"{NAME}.{kind}") and done == epochs_in_log:
                raise Crash
            saved.append(path.rpartition(NAME)[2])
            whole(path, content)

        monkeypatch.setattr(training, "write_whole", cut)
        with pytest.raises(Crash):
            script.main(arguments(data, tmp_path))
    monkeypatch.undo()
    # No epoch was trained twice but the second, of which nothing had been saved.
    assert [kind for kind in saved if kind != ".trial"] == [
        ".state.npz", ".state.npz", ".weights.h5", ".weights.h5", ".csv", ".weights.h5", ".csv", ".json"]
    assert record(tmp_path)["weights_sha256"] == training.file_digest(tmp_path / f"{NAME}.weights.h5")
    script.main(arguments(data, tmp_path))
    assert_same_weights(tmp_path, finished)
    assert [row["val_accuracy"] for row in log(tmp_path)] == [row["val_accuracy"] for row in log(finished)]


def start(argv):
    return subprocess.Popen([sys.executable, "WMemNN_bAbI.py", *argv], cwd=ROOT, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})


def wait_for_epoch(process, epoch):
    for line in process.stdout:
        if line.startswith(f"epoch {epoch}/"):
            return
    raise AssertionError(process.stderr.read())


def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(data, tmp_path):
    """As from the command line, XLA included; killed in the second epoch or while the first is saved."""
    argv = [*arguments(data, tmp_path / "killed"), "--steps-per-epoch", "30"]  # not a multiple of what one execution runs
    process = start(argv)
    wait_for_epoch(process, 1)
    process.kill()
    process.communicate()
    assert len(log(tmp_path / "killed")) < 3
    for models in ("killed", "whole"):
        argv[argv.index("--models") + 1] = str(tmp_path / models)
        _, error = start(argv).communicate()
        assert not error
    assert_same_weights(tmp_path / "killed", tmp_path / "whole")


def test_the_first_epochs_have_questions_of_the_first_tasks_alone(data):
    babi = data_utils.load_babi(data, [1, 2], 10)
    for focus in (0.0, 0.5):
        batches = babi_training.StoryBatches(babi, babi.train, 8, [0], focus=focus, errors=lambda: {1: 0.3, 2: 0.1},
                                             first_tasks=[2], first_epochs=2)
        tasks = []
        for epoch in range(3):
            batches.set_epoch(epoch)
            assert len(batches.order) == len(babi.train)
            _, times = np.unique(batches.order[babi.train.task[batches.order] == 2], return_counts=True)
            tasks.append(set(babi.train.task[batches.order].tolist()))
            assert epoch == 2 or (len(times) == (babi.train.task == 2).sum() and times.max() - times.min() <= 2 * (focus > 0))
        assert tasks == [{2}, {2}, {1, 2}]


def test_first_tasks_need_first_epochs_and_to_be_trained_on(data, tmp_path):
    for options in (["--first-tasks", "1"], ["--first-epochs", "2"], ["--first-tasks", "3", "--first-epochs", "2"]):
        with pytest.raises(data_utils.DataError, match="--first-tasks and --first-epochs need each other"):
            script.main(arguments(data, tmp_path, *options))


def test_the_options_of_the_recipe_do_not_depend_on_where_the_run_was_stopped(data, tmp_path):
    """The auxiliary losses, too, whose own weights are part of the state."""
    options = ["--rename", "--focus", "0.5", "--first-tasks", "2", "--first-epochs", "2", "--reconstruction", "0.3",
               "--overlap", "0.3"]
    script.main(arguments(data, tmp_path / "stopped", *options, epochs="1"))
    script.main(arguments(data, tmp_path / "stopped", *options))
    script.main(arguments(data, tmp_path / "whole", *options))
    assert_same_weights(tmp_path / "stopped", tmp_path / "whole")


def test_renamed_questions_are_others(finished, data, tmp_path):
    script.main(arguments(data, tmp_path, "--rename", epochs="1"))
    assert log(tmp_path)[0]["loss"] != log(finished)[0]["loss"]


@pytest.mark.parametrize("option", ["reconstruction", "overlap"])
def test_an_auxiliary_loss_changes_the_training_and_not_what_is_saved(finished, data, tmp_path, option):
    script.main(arguments(data, tmp_path, f"--{option}", "0.3", epochs="1"))
    changed, plain = weights(tmp_path), weights(finished)
    assert {key: value.shape for key, value in changed.items()} == {key: value.shape for key, value in plain.items()}
    assert record(tmp_path)["parameters"] == record(finished)["parameters"]
    assert float(log(tmp_path)[0]["loss"]) > float(log(finished)[0]["loss"]) + 32 * 0.3
    script.main(arguments(data, tmp_path, "--evaluate"))
    with pytest.raises(training.DataError, match=f"that run had {option} 0.3, not 0.2"):
        script.main(arguments(data, tmp_path, f"--{option}", "0.2"))


@pytest.fixture
def packed(data):
    """A network with its data and arguments, and questions with and without unused slots."""
    babi = data_utils.load_babi(data, [1, 2], 10)
    network = script.build_model(script.parse_arguments(arguments(data, "models")), babi)
    rows = np.arange(0, 100, 7)
    used = data_utils.pack_stories(babi, babi.train, rows)
    slots = data_utils.Slots(len(used.story_of_fact) + 9, len(used.sentences) + 5, 0)
    return network, len(babi.words) + 1, used, data_utils.pack_stories(babi, babi.train, rows, [slots])


def test_the_loss_of_reconstruction_is_the_mean_over_stories_of_the_mean_over_facts(packed):
    """Whatever the number of facts of a story, and of unused slots."""
    network, words, used, batch = packed
    trained = babi_training.with_auxiliary_losses(network, 32, words, reconstruction=0.3)
    np.testing.assert_array_equal(trained(batch), network(batch))
    (loss,) = trained.get_layer("reconstruction").losses
    of_facts, of_questions = (np.array(layer.kernel) for layer in (trained.get_layer("reconstruction").facts,
                                                                   trained.get_layer("reconstruction").questions))
    memories = np.array(network.get_layer("short_term_storage")(*used[1:4]))
    u = np.array(network.get_layer("question_encoder")(used.question))
    facts = [np.mean([equations.word_reconstruction(memories[i], used.sentences[used.sentence_of_fact[i]], of_facts)
                      for i in np.flatnonzero(used.story_of_fact == story)]) for story in range(len(used.question))]
    questions = [equations.word_reconstruction(h, words, of_questions) for h, words in zip(u, used.question)]
    assert float(loss) == pytest.approx(0.3 * 32 * (np.mean(facts) + np.mean(questions)), rel=1e-5)


def test_the_loss_of_overlap_is_the_cross_entropy_of_the_first_hop(packed):
    network, words, used, batch = packed
    trained = babi_training.with_auxiliary_losses(network, 32, words, overlap=0.3)
    np.testing.assert_array_equal(trained(batch), network(batch))
    assert len(trained.losses) == len(network.losses) + 1  # the penalties of the controller count once
    loss = sum(map(float, trained.losses)) - sum(map(float, network.losses))
    first_hop = np.array(script.attend(network, used))[:, 0].mean(axis=1)
    of_stories = []
    for story, question in enumerate(used.question):
        facts = np.flatnonzero(used.story_of_fact == story)
        pointed = equations.word_overlap(question, used.sentences[used.sentence_of_fact[facts]])
        of_stories.append(-pointed @ np.log(first_hop[facts]))
    assert np.mean(of_stories) > 0
    assert loss == pytest.approx(0.3 * 32 * np.mean(of_stories), rel=1e-4)
    assert len(trained.trainable_variables) == len(network.trainable_variables)


def test_a_state_from_before_an_option_goes_on_where_it_is_off(data, tmp_path):
    script.main(arguments(data, tmp_path, epochs="1"))
    path = tmp_path / f"{NAME}.state.npz"
    with np.load(path) as state:
        values = dict(state)
    values["settings"] = json.dumps({key: value for key, value in json.loads(str(values["settings"])).items() if key != "focus"})
    np.savez(path, **values)
    with pytest.raises(training.DataError, match="that run had focus 0.0, not 0.5"):
        script.main(arguments(data, tmp_path, "--focus", "0.5", epochs="2"))
    script.main(arguments(data, tmp_path, epochs="2"))
    assert len(log(tmp_path)) == 2


def test_focus_draws_its_share_in_proportion_to_the_errors(data):
    babi = data_utils.load_babi(data, [1, 2], 10)
    batches = babi_training.StoryBatches(babi, babi.train, 32, [1], focus=0.5, errors=lambda: {1: 0.3, 2: 0.1})
    batches.set_epoch(2)
    tasks = babi.train.task[batches.order]
    assert len(tasks) == len(babi.train) == 1200
    assert np.sum(tasks == 1) == pytest.approx(300 + 450, abs=50)  # half of all, evenly, and three quarters of the other half
    assert set(np.bincount(batches.order)) <= {0, 1, 2}
    first = batches.order
    batches.set_epoch(3)
    assert (batches.order != first).any()
    batches.set_epoch(2)
    np.testing.assert_array_equal(batches.order, first)
    without_errors = babi_training.StoryBatches(babi, babi.train, 32, [1], focus=0.5, errors=lambda: {1: 0.0, 2: 0.0})
    without_errors.set_epoch(2)
    assert sorted(without_errors.order) == list(range(1200))


def test_the_slots_of_a_batch_follow_the_focus(real_babi):
    babi, errors = data_utils.load_babi(real_babi, [1, 3], 30), {1: 0.3, 3: 0.0}
    batches = babi_training.StoryBatches(babi, babi.train, 32, [1], focus=1.0, errors=lambda: errors)
    evenly = batches.sizes
    batches.set_epoch(0)
    short = batches.sizes
    errors.update({1: 0.0, 3: 0.3})
    batches.set_epoch(0)
    assert short[0].facts < evenly[0].facts < batches.sizes[0].facts
    assert len({len(batches[i][0].story_of_fact) for i in range(0, len(batches), 9)}) < 3


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(data, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    process = start([*arguments(data, tmp_path, epochs="5000"), "--steps-per-epoch", "8"])
    signal.signal(signal.SIGINT, before)
    wait_for_epoch(process, 1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command, without --fresh, goes on" in error and "Traceback" not in error
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_more_epochs_of_a_constant_rate_go_on(finished, data, tmp_path):
    script.main(arguments(data, tmp_path, epochs="2"))
    script.main(arguments(data, tmp_path, epochs="3"))
    assert_same_weights(tmp_path, finished)
    assert [part["first_epoch"] for part in record(tmp_path)["parts"]] == [1, 3]
    with pytest.raises(training.DataError, match="3 epochs are done already"):
        script.main(arguments(data, tmp_path, epochs="1"))


def test_fresh_starts_over(finished, data, tmp_path):
    script.main(arguments(data, tmp_path, lr="0.02", epochs="1"))
    before = run_files.contents(tmp_path)
    script.main(arguments(data, tmp_path, "--fresh"))
    assert run_files.contents(tmp_path / "earlier-1") == before
    assert_same_weights(tmp_path, finished)


def test_weights_without_a_state_are_set_aside(finished, data, tmp_path):
    for kind in ("weights.h5", "csv", "json"):
        (tmp_path / f"{NAME}.{kind}").write_bytes((finished / f"{NAME}.{kind}").read_bytes())
    script.main(arguments(data, tmp_path, epochs="1"))
    assert len(log(tmp_path)) == 1
    assert_same_weights(tmp_path / "earlier-1", finished)
    assert record(tmp_path / "earlier-1") == record(finished)


def test_another_seed_gives_another_run(finished, data, tmp_path):
    argv = arguments(data, tmp_path, epochs="1")
    argv[5] = "2"
    script.main(argv)
    first, second = weights(finished), weights(tmp_path, NAME[:-1] + "2")
    assert any((first[key] != second[key]).any() for key in first)


def test_refinement_goes_on_from_the_earlier_run_on_all_questions(data, tmp_path, capsys):
    script.main(arguments(data, tmp_path, epochs="1"))
    capsys.readouterr()
    script.main(arguments(data, tmp_path, rd="1", lr="1e-5", epochs="6"))
    assert "1,200 training and 120 validation questions" in capsys.readouterr().out
    name = NAME.replace("_0_1", "_1_1")
    rates = [float(row["learning_rate"]) for row in log(tmp_path, name)]
    np.testing.assert_allclose(rates, [1e-5] * 5 + [5e-6], rtol=1e-3)
    before, after = weights(tmp_path), weights(tmp_path, name)
    assert record(tmp_path, name)["refines_sha256"] == training.file_digest(tmp_path / f"{NAME}.weights.h5")
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


def test_cosine_rises_then_falls_to_zero():
    args = script.parse_arguments(["--schedule", "cosine", "--warmup-steps", "10", "--epochs", "10"])
    rate = training.learning_rate(args, 0.1, 10)
    np.testing.assert_allclose([float(rate(step)) for step in (0, 5, 10, 55, 100)], [0, 0.05, 0.1, 0.05, 0], atol=1e-6)


def test_the_loss_of_a_batch_is_32_times_its_mean():
    logits = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    cross_entropy = np.log(np.exp(logits).sum(axis=1)) - logits[[0, 1], [0, 2]]
    np.testing.assert_allclose(training.SummedCrossentropy(32)(np.array([0, 2]), logits), 32 * cross_entropy.mean(),
                               rtol=1e-6)


def test_the_losses_clip_probabilities_as_keras_1_does():
    logits = np.array([[40.0, 0.0], [0.0, 40.0]], "float32")
    np.testing.assert_allclose(training.SummedCrossentropy(32)(np.array([1, 1]), logits), 16 * -np.log(1e-7), rtol=1e-5)
    logits = np.array([[40.0], [-40.0], [1.0], [1.0]], "float32")
    expected = np.mean([1e-7, -np.log(1e-7), np.log(1 + np.exp(-1)), 1 + np.log(1 + np.exp(-1))])
    loss = training.BinaryCrossentropy()(np.array([[1.0], [1.0], [1.0], [0.0]], "float32"), logits)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_simulated_data_is_named_at_the_start_in_the_record_and_above_the_table():
    test = {"questions": {"4": 10}, "wrong": {"4": 1}, "error": {"4": 10.0}, "mean_error": 10.0, "failed_tasks": [4]}
    for simulated in (True, False):
        files = data_utils.TaskFiles("data", {}, {}, simulated)
        said = babi_training.describe_data(files), babi_training.table(test, files).split("\n")[0]
        assert all(("simulated data, not the released benchmark" in text) == simulated for text in said)
        assert babi_training.data_record(files)["simulated"] is simulated


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the malloc of glibc can be told")
def test_what_a_step_frees_is_not_taken_from_the_system_again():
    program = """if True:
        import ctypes, resource, training
        libc = ctypes.CDLL(None)
        libc.malloc.restype, size = ctypes.c_void_p, 100 << 20
        libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
        for _ in range(6):
            buffer = libc.malloc(size)
            ctypes.memset(buffer, 1, size)
            libc.free(buffer)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
        """
    output = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    first, *_, last = map(int, output.split())
    assert last - first < (100 << 20) // os.sysconf("SC_PAGE_SIZE")  # less than once more, of five times


def test_a_run_starts_without_git(data, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert training.environment()["git_commit"] is None


def test_tensorboard_without_its_package_is_one_line(data, tmp_path, monkeypatch):
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(data_utils.DataError, match="pip install tensorflow tensorboard"):
        script.main(arguments(data, tmp_path, "--tensorboard", str(tmp_path / "logs")))
