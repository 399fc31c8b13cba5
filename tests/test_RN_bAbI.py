"""RN_bAbI.py from end to end on small data. The course of a run, which it shares, is tested with WMemNN_bAbI.py."""
import pytest

from training import report, run
import data_utils
import RN_bAbI
from helpers import run_files
from helpers import small_babi

NAME = "RN_bAbI_1"
pytestmark = pytest.mark.usefixtures("without_xla")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_babi.write_tasks(tmp_path_factory.mktemp("data"), train=600, test=200)


def arguments(data, models, *more, epochs="3", lr="0.003"):
    return ["--data", data, "--models", str(models), "--tasks", "1,2", "--epochs", epochs, "--lr", lr, "--seed", "1",
            "--embedding-units", "6", "--lstm-units", "6", "--mx", "10", "--g-units", "8,8", "--f-units", "8,8", *more]


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory, without_xla):
    """A models folder with a finished run of RN_bAbI.py of three epochs, with dropout."""
    models = tmp_path_factory.mktemp("relation")
    RN_bAbI.main(arguments(data, models))
    return models


def test_the_relation_network_learns_and_says_so_when_evaluated(data, tmp_path, capsys):
    RN_bAbI.main(arguments(data, tmp_path, "--dropout", "0", epochs="12"))
    saved = run_files.record(tmp_path, NAME)
    assert saved["test"]["mean_error"] < 62  # guessing one of four places: 75
    assert saved["backend"] and saved["epochs_done"] == 12 and not saved["validation_inside_training"]
    capsys.readouterr()
    RN_bAbI.main(arguments(data, tmp_path, "--evaluate"))
    files = data_utils.read_tasks(data, [1, 2])
    assert report.table(saved["test"], files) in capsys.readouterr().out


def test_the_relation_network_goes_on_as_if_not_interrupted(data, finished, tmp_path):
    """The numbers that dropout draws are part of the state."""
    RN_bAbI.main(arguments(data, tmp_path, epochs="1"))
    RN_bAbI.main(arguments(data, tmp_path))
    run_files.assert_same_weights(tmp_path, finished, NAME)


def test_bfloat16_is_for_the_products_of_g_alone(data):
    babi = data_utils.load_babi(data, [1, 2], mx=10)
    network = RN_bAbI.build_model(RN_bAbI.parse_arguments(arguments(data, "models", "--bfloat16")), babi)
    policies = {layer.name: layer.compute_dtype for layer in network.layers if layer.weights}
    assert policies.pop("g") == "bfloat16" and set(policies.values()) == {"float32"}
    assert {weight.dtype for weight in network.trainable_weights} == {"float32"}


def test_patience_ends_a_run_that_has_stopped_improving(data, tmp_path, capsys):
    """At this rate nothing changes, so the first epoch stays the best."""
    argv = arguments(data, tmp_path, "--patience", "2", epochs="9", lr="1e-12")
    RN_bAbI.main(argv)
    assert len(run_files.log(tmp_path, NAME)) == 3
    assert "stopped after epoch 3: no better validation accuracy for 2 epochs" in capsys.readouterr().out
    before = run_files.record(tmp_path, NAME)
    RN_bAbI.main(argv)
    assert "no better validation accuracy for 2 epochs" in capsys.readouterr().out
    assert run_files.record(tmp_path, NAME) == before
    args = RN_bAbI.parse_arguments([*argv, "--patience", "3"])
    more = run.Run(args, NAME, before["data"], {})
    more._check_settings({**more.settings, "patience": 2}, "state")  # more patience only goes further


def test_final_epochs_of_the_relation_network_have_no_patience(data, tmp_path):
    argv = arguments(data, tmp_path, "--final-epochs", "1", epochs="2")
    assert (RN_bAbI.parse_arguments(argv).patience, RN_bAbI.parse_arguments([]).patience) == (None, 30)
    RN_bAbI.main(argv)
    saved = run_files.record(tmp_path, NAME)
    assert saved["validation_inside_training"] and saved["best_epoch"] == 2


def test_defaults_of_the_relation_network_are_its_papers():
    args = RN_bAbI.parse_arguments([])
    assert (args.embedding_units, args.lstm_units, args.mx, args.lr, args.batch_size) == (32, 32, 20, 2e-4, 32)
    assert (args.g_units, args.f_units, args.dropout, args.clip_norm) == ([256] * 4, [256, 512], 0.5, None)
    assert RN_bAbI.parse_arguments(["--g-units", "128,128,128,128", "--f-units", "none"]).f_units == []
