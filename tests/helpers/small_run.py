"""A small run of WMemNN_bAbI.py, for the tests of what it does and of the modules that it goes through."""
import pytest

import WMemNN_bAbI as script
from helpers import run_files, small_babi

NAME = "WMemNN_bAbI_8_8_10_0_1"


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
