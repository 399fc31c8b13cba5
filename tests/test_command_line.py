"""Bad input to the bAbI scripts: one clear line on standard error, exit status 2, nothing saved before is lost."""
import json
import os

import h5py
import pytest

import data_utils
from training import command_line
import RN_bAbI
from helpers import small_babi
from training import run
import WMemNN_bAbI as script
from helpers.run_files import contents

NAME = "WMemNN_bAbI_4_4_3_0_1"


pytestmark = pytest.mark.usefixtures("without_xla")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_babi.write_tasks(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory, without_xla):
    """A models folder with a finished run of one epoch."""
    models = str(tmp_path_factory.mktemp("models"))
    script.main(arguments(data, models))
    return models


def arguments(data, models, *more, rd="0", lr="0.01"):
    return ["4", "4", "3", rd, lr, "1", "--data", data, "--models", models, "--tasks", "1,2", "--epochs", "1",
            "--hops", "2", "--heads", "2", "--relation-units", "5", *more]


def refused(capsys, argv, main=script.main):
    """Run a script, which has to refuse; returns its line on standard error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command_line.run_script(lambda: main(argv), "all is as it was")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.endswith("\n"), error
    return error


@pytest.mark.parametrize("argv, reason", [
    (["thirty"], "argument ez: 'thirty' is not a whole number"),
    (["30", "0"], "argument lz: must be above 0"),
    (["30", "30", "-3"], "mx"),
    (["30", "30", "30", "0.5"], "argument rd: '0.5' is not a whole number"),
    (["30", "30", "30", "0", "0"], "argument lr: must be above 0"),
    (["30", "30", "30", "0", "nan"], "argument lr: 'nan' is not a finite number"),
    (["30", "30", "30", "0", "1e-3", "x"], "argument seed: 'x' is not a whole number"),
    (["30", "30", "30", "0", "1e-3", str(2**32)], "argument seed: must be below 2**32"),
    (["--tasks", "0-3"], "'0-3' is not a task from 1 to 20"),
    (["--tasks", "1,21"], "'21' is not a task from 1 to 20"),
    (["--tasks", "5-2"], "'5-2' is not a task"),
    (["--tasks", "1,16-"], "'16-' is not a task"),
    (["--epochs", "0"], "--epochs: must be above 0"),
    (["--schedule", "linear"], "--schedule"),
    (["--l2", "-1"], "--l2"),
])
def test_arguments(capsys, argv, reason):
    assert reason in refused(capsys, argv)


def test_more_facts_than_fit_into_memory(capsys, data, tmp_path):
    argv = arguments(data, str(tmp_path))
    argv[2] = str(10**14)
    assert "not enough memory" in refused(capsys, argv)


def test_missing_data_says_how_to_get_it(capsys, tmp_path):
    error = refused(capsys, arguments(str(tmp_path / "nowhere"), str(tmp_path)))
    assert "no such file or folder" in error
    assert "data/get_babi.py" in error and "data/simulate_babi.py" in error and "--data PATH" in error


def test_damaged_data_files_are_named(capsys, tmp_path):
    data = small_babi.write_tasks(tmp_path)
    path = os.path.join(data, "tasks_1-20_v1-2", "en-10k", "qa2_two-supporting-facts_train.txt")
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    for broken, reason in (("12 Where is Mary?", "line 12"), ("Mary went", "line 12")):
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([*lines[:11], broken, *lines[12:]]))
        error = refused(capsys, arguments(data, str(tmp_path / "models")))
        assert "qa2_two-supporting-facts_train.txt" in error and reason in error
    assert not os.path.exists(tmp_path / "models")


def test_validation_by_story_of_a_single_story(capsys, tmp_path):
    data = small_babi.write_tasks(tmp_path, train=5)
    assert "task 1: its training file has no story to train on" in refused(
        capsys, arguments(data, str(tmp_path / "models"), "--validation", "story"))
    assert not os.path.exists(tmp_path / "models")


def test_truncated_archive(capsys, tmp_path):
    (tmp_path / "babi.tar.gz").write_bytes(b"\x1f\x8b\x08\x00 not really")
    assert "babi.tar.gz: cannot be read" in refused(
        capsys, arguments(str(tmp_path / "babi.tar.gz"), str(tmp_path / "models")))


def test_refinement_without_the_earlier_run(capsys, data, trained):
    before = contents(trained)
    error = refused(capsys, arguments(data, trained, rd="2"))
    assert "WMemNN_bAbI_4_4_3_1_1.json: no such file" in error
    assert contents(trained) == before


def test_refinement_with_a_cosine(capsys, data, trained):
    assert "--schedule cosine does not go" in refused(
        capsys, arguments(data, trained, "--schedule", "cosine", rd="1"))


def test_final_epochs_that_do_not_go_with_the_rest(capsys, data, trained):
    for options, rd, reason in (
            (["--final-epochs", "1"], "0", "--final-epochs 1 leaves none of --epochs 1"),
            (["--final-epochs", "1", "--epochs", "9", "--patience", "3"], "0", "--patience may end a run before"),
            (["--final-epochs", "1", "--epochs", "9"], "1", "--final-epochs is for the training, rd 0"),
            (["--final-epochs", "-1"], "0", "argument --final-epochs: '-1' is not a whole number")):
        assert reason in refused(capsys, arguments(data, trained, *options, rd=rd))
    assert "--patience may end a run before" in refused(
        capsys, relation_arguments(data, trained, "--final-epochs", "1", "--epochs", "9", "--patience", "30"), RN_bAbI.main)


def test_refinement_of_weights_that_are_not_those_of_the_record(capsys, data, trained, tmp_path):
    for name, content in contents(trained).items():
        (tmp_path / name).write_bytes(content[:5000] if name.endswith("weights.h5") else content)
    assert f"{NAME}.weights.h5: not the weights of the record" in refused(capsys, arguments(data, str(tmp_path), rd="1"))


def test_evaluation_without_weights(capsys, data, tmp_path):
    assert f"{NAME}.json: no such file" in refused(capsys, arguments(data, str(tmp_path), "--evaluate"))


def test_weights_of_other_options(capsys, data, trained):
    error = refused(capsys, arguments(data, trained, "--evaluate", "--hops", "3"))
    assert "trained with --hops 2, not 3" in error


def test_looking_at_runs_that_are_not_saved(capsys, data, trained):
    for option in ("--ensemble", "1,2"), ("--show", "1"):
        assert "add --evaluate" in refused(capsys, arguments(data, trained, *option))
    assert "WMemNN_bAbI_4_4_3_0_2.json: no such file" in refused(
        capsys, arguments(data, trained, "--evaluate", "--ensemble", "1,2"))
    assert "leave --ensemble out" in refused(
        capsys, arguments(data, trained, "--evaluate", "--ensemble", "1,2", "--show", "1"))
    assert "argument --ensemble: '' is not a whole number" in refused(capsys, ["--ensemble", "1,"])
    for seeds in "1", "1,2,1":
        assert f"'{seeds}' is not a list of two different seeds" in refused(capsys, ["--evaluate", "--ensemble", seeds])


def test_looking_at_a_question_without_facts(capsys, trained, tmp_path):
    data = small_babi.write_tasks(tmp_path)
    path = os.path.join(data, "tasks_1-20_v1-2", "en-10k", "qa1_single-supporting-fact_test.txt")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write("1 Where is Mary? \tgarden\t\n" + text)
    assert "--show 1: no fact comes before that question" in refused(capsys, arguments(data, trained, "--evaluate", "--show", "1"))


def test_weights_that_do_not_fit_or_are_damaged(capsys, data, trained, tmp_path):
    record = contents(trained)[f"{NAME}.json"]
    (tmp_path / f"{NAME}.json").write_bytes(record)
    argv = arguments(data, str(tmp_path), "--evaluate")
    assert f"{NAME}.weights.h5: no such file" in refused(capsys, argv)
    (tmp_path / f"{NAME}.weights.h5").write_bytes(contents(trained)[f"{NAME}.weights.h5"][:5000])
    assert f"{NAME}.weights.h5: not the weights of the record" in refused(capsys, argv)
    whole = contents(trained)[f"{NAME}.weights.h5"]
    (tmp_path / f"{NAME}.weights.h5").write_bytes(whole[:4000] + bytes([whole[4000] ^ 1]) + whole[4001:])
    assert f"{NAME}.weights.h5: not the weights of the record" in refused(capsys, argv)
    wider = json.loads(record)
    wider["words"].append("zebra")
    (tmp_path / f"{NAME}.json").write_text(json.dumps(wider))
    (tmp_path / f"{NAME}.weights.h5").write_bytes(whole)
    assert f"{NAME}.weights.h5: the weights do not fit" in refused(capsys, argv)


@pytest.mark.parametrize("content", ["{", "[]", "null", "{}", '{"arguments": {}, "data": {}, "words": 5}'])
def test_a_record_that_is_none(capsys, data, tmp_path, content):
    (tmp_path / f"{NAME}.json").write_text(content)
    assert f"{NAME}.json: cannot be read" in refused(capsys, arguments(data, str(tmp_path), "--evaluate"))


def test_evaluation_of_data_with_other_words(capsys, trained, tmp_path):
    data = small_babi.write_tasks(tmp_path)
    path = os.path.join(data, "tasks_1-20_v1-2", "en-10k", "qa1_single-supporting-fact_test.txt")
    with open(path, "a", encoding="utf-8") as file:
        file.write("1 Mary went to the moon.\n2 Where is Mary? \tgarden\t1\n")
    error = refused(capsys, arguments(data, trained, "--evaluate"))
    assert "qa1_single-supporting-fact_test.txt, line 151: the word 'moon' is unknown" in error


def test_a_run_of_the_same_name_with_other_options(capsys, data, trained, tmp_path):
    before = contents(trained)
    assert "that run had batch_size 32, not 16" in refused(capsys, arguments(data, trained, "--batch-size", "16"))
    assert "that run had lr 0.01, not 0.02" in refused(capsys, arguments(data, trained, lr="0.02"))
    assert "that run read other data files" in refused(capsys, arguments(small_babi.write_tasks(tmp_path, test=60), trained))
    assert contents(trained) == before


def test_a_damaged_state(capsys, data, trained, tmp_path):
    for name, content in contents(trained).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / f"{NAME}.state.npz").write_bytes(b"half a file")
    assert f"{NAME}.state.npz: cannot be read" in refused(capsys, arguments(data, str(tmp_path)))
    assert (tmp_path / f"{NAME}.weights.h5").read_bytes() == contents(trained)[f"{NAME}.weights.h5"]


def test_a_models_folder_that_cannot_be_written(capsys, data, tmp_path):
    (tmp_path / "models").write_text("a file, not a folder")
    assert "models" in refused(capsys, arguments(data, str(tmp_path / "models")))


def test_a_models_folder_that_is_read_only(capsys, data, tmp_path, monkeypatch):
    """A refusal stands in for the rights of the folder, since root may write to any."""
    def refuse(path, *args):
        if os.path.dirname(path) == str(tmp_path):
            raise PermissionError(13, "Permission denied", path)
        return open(path, *args)

    monkeypatch.setattr(command_line, "open", refuse, raising=False)
    assert "cannot be written (Permission denied)" in refused(capsys, arguments(data, str(tmp_path)))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full on this system")
@pytest.mark.parametrize("kind", ["weights.h5", "csv", "json", "state.npz"])
def test_a_full_disk_leaves_what_was_saved(capsys, data, trained, tmp_path, kind):
    for name, content in contents(trained).items():
        (tmp_path / name).write_bytes(content)
    full = tmp_path / f".{NAME}.{kind}.{os.getpid()}"  # where the file is written before it takes its name
    full.symlink_to("/dev/full")
    error = refused(capsys, [*arguments(data, str(tmp_path), "--fresh"), "--steps-per-epoch", "1"])
    assert f"{NAME}.{kind}: cannot be written (No space left on device)" in error
    assert contents(tmp_path / "earlier-1") == contents(trained)
    assert not os.path.lexists(full)


def test_weights_spoilt_by_the_last_update_are_not_saved(data, tmp_path):
    """The loss is taken before the update; only the validation shows what that did."""
    args = script.parse_arguments(arguments(data, str(tmp_path)))
    epochs = run.Epochs(run.Run(args, NAME, {"fingerprint": ""}, {}), network=None, batches=None)
    with pytest.raises(data_utils.DataError, match="the val_loss is nan in epoch 1"):
        epochs.on_epoch_end(0, {"loss": 1.0, "accuracy": 0.5, "val_loss": float("nan"), "val_accuracy": 0.0})
    assert not os.listdir(tmp_path)


def test_a_loss_that_is_not_finite(capsys, data, tmp_path):
    error = refused(capsys, arguments(data, str(tmp_path), lr="1e30"))
    assert "the loss is nan in epoch 1" in error and "lower learning rate" in error
    assert not os.path.exists(tmp_path / f"{NAME}.weights.h5")


def test_states_hold_no_half_written_files(trained):
    assert sorted(contents(trained)) == sorted(
        f"{NAME}.{kind}" for kind in ("csv", "json", "state.npz", "weights.h5"))
    with h5py.File(os.path.join(trained, f"{NAME}.weights.h5")) as file:
        assert "optimizer" not in file


# The Relation Network


@pytest.fixture(scope="module")
def relation_trained(data, tmp_path_factory, without_xla):
    """A models folder with a finished run of RN_bAbI.py of one epoch."""
    models = str(tmp_path_factory.mktemp("relation"))
    RN_bAbI.main(relation_arguments(data, models))
    return models


def relation_arguments(data, models, *more):
    return ["--data", data, "--models", models, "--tasks", "1,2", "--epochs", "1", "--seed", "1", "--embedding-units", "4",
            "--lstm-units", "4", "--mx", "3", "--g-units", "5,6", "--f-units", "7", *more]


@pytest.mark.parametrize("argv, reason", [
    (["30"], "unrecognized arguments: 30"),
    (["--g-units", "none"], "argument --g-units: g has at least one layer"),
    (["--g-units", "256,,256"], "argument --g-units"),
    (["--f-units", "0"], "argument --f-units: must be above 0"),
    (["--dropout", "1"], "argument --dropout: must be below 1"),
    (["--patience", "0"], "argument --patience: must be above 0"),
    (["--seed", str(2**32)], "argument --seed: must be below 2**32"),
])
def test_arguments_of_the_relation_network(capsys, argv, reason):
    assert reason in refused(capsys, argv, RN_bAbI.main)


def test_files_the_relation_network_cannot_use(capsys, data, relation_trained, tmp_path):
    main, before = RN_bAbI.main, contents(relation_trained)
    assert "no such file or folder" in refused(
        capsys, relation_arguments(str(tmp_path / "nowhere"), relation_trained), main)
    for option, value in (("--g-units", "5"), ("--f-units", "none"), ("--mx", "4")):
        error = refused(capsys, relation_arguments(data, relation_trained, "--evaluate", option, value), main)
        trained = dict(zip(*[iter(relation_arguments(data, relation_trained))] * 2))[option]
        assert f"trained with {option} {trained}, not {value}; give {option} {trained}\n" in error
    assert "that run had dropout 0.5, not 0.1" in refused(
        capsys, relation_arguments(data, relation_trained, "--dropout", "0.1"), main)
    assert contents(relation_trained) == before
    assert "RN_bAbI_1.json: no such file" in refused(
        capsys, relation_arguments(data, str(tmp_path), "--evaluate"), main)
    for name, content in before.items():
        (tmp_path / name).write_bytes(content if name.endswith("json") else b"half a file")
    assert "RN_bAbI_1.state.npz: cannot be read" in refused(capsys, relation_arguments(data, str(tmp_path)), main)
    assert "RN_bAbI_1.weights.h5: not the weights" in refused(
        capsys, relation_arguments(data, str(tmp_path), "--evaluate"), main)
