"""The state of a run: interruption at any moment, going on, starting over. Runs on every backend."""
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import WMemNN_bAbI as script
import data_utils
from conftest import ROOT
from helpers import run_files
from helpers.small_run import NAME, arguments, assert_same_weights, data, finished, log, record  # noqa: F401
from training import run

pytestmark = pytest.mark.usefixtures("without_xla")


def test_a_finished_run_is_left_as_it_is(finished, data, capsys):
    before = record(finished)
    script.main(arguments(data, finished))
    assert "all 3 epochs are done" in capsys.readouterr().out
    assert record(finished) == before


class Crash(BaseException):
    """Stands for the end of the process between two writes."""


def test_a_crash_between_any_two_writes_is_made_good(finished, data, tmp_path, monkeypatch):
    """The run is cut short of each kind of file in turn, the state of the second epoch last, and goes on every time."""
    whole, saved = run.write_whole, []
    for kind, epochs_in_log in (("state.npz", 0), ("weights.h5", 0), ("csv", 0), ("json", 1), ("state.npz", 1)):
        def cut(path, content, kind=kind, epochs_in_log=epochs_in_log):
            done = len(log(tmp_path)) if os.path.exists(tmp_path / f"{NAME}.csv") else 0
            if path.endswith(f"{NAME}.{kind}") and done == epochs_in_log:
                raise Crash
            saved.append(path.rpartition(NAME)[2])
            whole(path, content)

        monkeypatch.setattr(run, "write_whole", cut)
        with pytest.raises(Crash):
            script.main(arguments(data, tmp_path))
    monkeypatch.undo()
    # No epoch was trained twice but the second, of which nothing had been saved.
    assert [kind for kind in saved if kind != ".trial"] == [
        ".state.npz", ".state.npz", ".weights.h5", ".weights.h5", ".csv", ".weights.h5", ".csv", ".json"]
    assert record(tmp_path)["weights_sha256"] == run.file_digest(tmp_path / f"{NAME}.weights.h5")
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


def test_a_state_from_before_an_option_goes_on_where_it_is_off(data, tmp_path):
    script.main(arguments(data, tmp_path, epochs="1"))
    path = tmp_path / f"{NAME}.state.npz"
    with np.load(path) as state:
        values = dict(state)
    settings = json.loads(str(values["settings"]))
    values["settings"] = json.dumps({key: value for key, value in settings.items()
                                     if key not in ("focus", "validation", "final_epochs")})
    np.savez(path, **values)
    for options, had in ((["--focus", "0.5"], "focus 0.0, not 0.5"), (["--final-epochs", "1"], "final_epochs 0, not 1"),
                         (["--validation", "story"], "validation question, not story")):
        with pytest.raises(data_utils.DataError, match=f"that run had {had}"):
            script.main(arguments(data, tmp_path, *options, epochs="2"))
    script.main(arguments(data, tmp_path, epochs="2"))
    assert len(log(tmp_path)) == 2


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


def test_a_second_process_of_a_run_is_refused(finished, data, tmp_path):
    """It changes nothing, and what the first one's kill leaves is no lock."""
    argv = [*arguments(data, tmp_path, epochs="5000"), "--steps-per-epoch", "8"]
    first = start(argv)
    wait_for_epoch(first, 1)
    first.send_signal(signal.SIGSTOP)
    before = run_files.contents(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "write_whole", None)
        for options in ([], ["--fresh"]):
            with pytest.raises(data_utils.DataError, match=f"{NAME}.state.npz: another process is training this run"):
                script.main([*argv, *options])
    assert run_files.contents(tmp_path) == before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "lock", lambda path: False)
        script.main(arguments(data, finished, "--evaluate"))  # needs none
    first.kill()
    first.communicate()
    done = len(log(tmp_path))
    argv[argv.index("--epochs") + 1] = str(done + 1)
    script.main(argv)
    assert len(log(tmp_path)) == done + 1
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".lock")]


def test_a_lock_whose_file_is_removed_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    path, flock, tries = tmp_path / ".lock", run.fcntl.flock, []

    def late(descriptor, operation):
        if not tries:
            path.unlink()
        tries.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(run.fcntl, "flock", late)
    assert run.lock(path) and path.exists() and len(tries) == 2
    assert run.lock(path) and len(tries) == 2  # by the same process
    run.unlock(path)
    assert not path.exists()


def test_without_locks_a_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "fcntl", None)
    assert run.lock(tmp_path / ".lock") and not os.listdir(tmp_path)
    run.unlock(tmp_path / ".lock")


def test_more_epochs_of_a_constant_rate_go_on(finished, data, tmp_path):
    script.main(arguments(data, tmp_path, epochs="2"))
    script.main(arguments(data, tmp_path, epochs="3"))
    assert_same_weights(tmp_path, finished)
    assert [part["first_epoch"] for part in record(tmp_path)["parts"]] == [1, 3]
    with pytest.raises(data_utils.DataError, match="3 epochs are done already"):
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


def test_a_run_starts_without_git(data, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert run.environment()["git_commit"] is None


def test_tensorboard_without_its_package_is_one_line(data, tmp_path, monkeypatch):
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(data_utils.DataError, match="pip install tensorflow tensorboard"):
        script.main(arguments(data, tmp_path, "--tensorboard", str(tmp_path / "logs")))
