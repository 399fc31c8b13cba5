"""Runs of a script for several seeds, side by side: a worker that dies, the table, what is refused."""
import os
import re
import statistics
import subprocess
import sys
import time

import pytest

import sweep
from conftest import ROOT
from helpers import run_files, small_babi
from training import command_line

EPOCHS = "12"


@pytest.fixture(scope="module")
def dask():
    """The package that sweeps need; a test that needs it skips where it is not installed."""
    return pytest.importorskip("distributed", reason=f"sweeps need a package: pip install {sweep.PACKAGE}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    small_babi.write_tasks(folder / "data", train=300, test=50)
    return folder


def command(*more, seeds="1-2", kinds="killed,whole"):
    """Runs of RN_bAbI.py, which is not compiled by XLA and so starts quickly."""
    return [sys.executable, "sweep.py", "--seeds", seeds, "--vary", f"kind={kinds}", *more]


def script(folder):
    return ["--", "RN_bAbI.py", "--seed", "{seed}", "--data", str(folder / "data"), "--models", str(folder / "{kind}"),
            "--tasks", "1,2", "--epochs", EPOCHS, "--embedding-units", "4", "--lstm-units", "4", "--mx", "3",
            "--g-units", "5,6", "--f-units", "7"]


def start(argv):
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process):
    """Wait for a condition while a process runs; returns what it is."""
    while process.poll() is None:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(process.stderr.read())


def rows(printed):
    """The table at the end of what a sweep printed: lists of words."""
    lines = printed.splitlines()
    header, = (number for number, line in enumerate(lines) if line.split()[:2] == ["kind", "seed"])
    return [line.split() for line in lines[header + 1:]]


@pytest.fixture(scope="module")
def swept(dask, folder):
    """Four runs on two workers, one of which is killed in the middle of a run. What the sweep printed."""
    import psutil  # comes with dask
    process = start([*command("--workers", "2"), *script(folder)])
    wait_for(lambda: os.path.exists(folder / "killed" / "RN_bAbI_1.csv"), process)
    # Between a worker and a training is what ends the training with the worker.
    worker, training = next((worker, training) for worker in psutil.Process(process.pid).children()
                            for between in worker.children() for training in between.children()
                            if training.cmdline()[1:4] == [os.path.join(ROOT, "RN_bAbI.py"), "--seed", "1"])
    worker.kill()
    training.wait(10)
    assert len(run_files.log(folder / "killed", "RN_bAbI_1")) < int(EPOCHS)
    printed, error = process.communicate()
    assert process.returncode == 0 and not error, error
    return printed


def test_a_killed_worker_changes_nothing(swept, folder):
    assert "a worker is gone" in swept
    for name in "RN_bAbI_1", "RN_bAbI_2":
        run_files.assert_same_weights(folder / "killed", folder / "whole", name)
    with open(folder / "killed" / "RN_bAbI_1.log", encoding="utf-8") as log:
        assert re.search(rf"going on after epoch \d+ of {EPOCHS}\n", log.read())


def test_the_table_is_that_of_the_records(swept, folder):
    table = iter(rows(swept))
    for kind in "killed", "whole":
        tests = [run_files.record(folder / kind, f"RN_bAbI_{seed}")["test"] for seed in (1, 2)]
        for seed, test in zip("12", tests):
            failed = test["failed_tasks"]
            assert next(table)[:4] == [kind, seed, f"{test['mean_error']:.2f}", str(len(failed))]
        errors, numbers = [test["mean_error"] for test in tests], [len(test["failed_tasks"]) for test in tests]
        for label, function in ("mean", statistics.fmean), ("deviation", statistics.stdev):
            assert next(table) == [kind, label, f"{function(errors):.2f}", f"{function(map(float, numbers)):.2f}", "of", "2"]
    assert not list(table)


@pytest.fixture
def in_this_process(monkeypatch):
    """Arguments of scripts are looked at in this process, which has loaded Keras already."""
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sweep.concurrent.futures, "ProcessPoolExecutor",
                        lambda number, context: sweep.concurrent.futures.ThreadPoolExecutor(number))


def test_the_same_command_prints_the_same_table_at_once(swept, folder, in_this_process, capsys):
    before = run_files.contents(folder / "whole")
    sweep.main([*command()[2:], *script(folder)])
    printed = capsys.readouterr().out
    assert "4 of them finished before" in printed
    assert rows(printed) == rows(swept)
    assert run_files.contents(folder / "whole") == before


def test_a_run_that_is_refused_is_reported_and_the_others_stand(swept, folder, dask):
    """On the workers of a scheduler that is there already."""
    os.mkdir(folder / "damaged")
    (folder / "damaged" / "RN_bAbI_1.state.npz").write_bytes(b"half a file")
    with dask.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, host="127.0.0.1",
                           protocol="tcp://") as cluster:
        argv = command("--scheduler", cluster.scheduler_address, kinds="damaged,whole", seeds="1")
        done = subprocess.run([*argv, *script(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not done.stderr
    refused, whole, mean = rows(done.stdout)
    assert " ".join(refused).startswith("damaged 1 not finished: RN_bAbI.py: error: ")
    assert "RN_bAbI_1.state.npz: cannot be read" in " ".join(refused)
    assert whole in rows(swept) and mean[:3] == ["whole", "mean", whole[2]]


def refused(capfd, *argv):
    """Give a sweep what it has to refuse; returns its line on standard error."""
    with pytest.raises(SystemExit) as stop:
        command_line.run_script(lambda: sweep.main(list(argv)), sweep.KEPT)
    assert stop.value.code == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and error.endswith("\n"), error
    return error


@pytest.mark.parametrize("argv, reason", [
    ("--seeds 1-3", "give the script and its arguments behind --"),
    ("--seeds 1-3 -- layers.py", "'layers.py' is none of WMemNN_bAbI.py, WMemNN_NLVR.py, RN_bAbI.py"),
    ("--seeds 1-3 -- WMemNN_bAbI.py", "--seeds is given, but the arguments of WMemNN_bAbI.py have no {seed}"),
    ("-- RN_bAbI.py --seed {seed}", "{seed} has no values; give --seeds"),
    ("--vary l2=0,1 -- WMemNN_bAbI.py --l2 {lr}", "{lr} has no values|no {l2}"),
    ("--seeds 3-1 -- RN_bAbI.py --seed {seed}", "argument --seeds: '3-1' is no range of seeds"),
    ("--seeds 1,x -- RN_bAbI.py --seed {seed}", "argument --seeds: 'x' is not a whole number"),
    ("--seeds 4294967296 -- RN_bAbI.py --seed {seed}", "argument --seeds: must be below 2\\*\\*32"),
    ("--vary 0,1 -- RN_bAbI.py", "argument --vary: '0,1' is not NAME=VALUE,VALUE"),
    ("--vary a=1 --vary a=2 -- RN_bAbI.py --lr {a}", "a name is given twice"),
    ("--workers 0 -- RN_bAbI.py", "argument --workers: must be above 0"),
    ("--workers 2 --scheduler tcp://host:1 -- RN_bAbI.py", "--workers is for this machine"),
])
def test_arguments(capfd, argv, reason):
    assert re.search(reason, refused(capfd, *argv.split()))


@pytest.mark.parametrize("argv, reason", [
    ("--seeds 1,2 -- WMemNN_bAbI.py 9 9 9 0 {seed} 1", "two runs would write .*WMemNN_bAbI_9_9_9_0_1: seed 1, and seed 2;"),
    ("--seeds 1 -- RN_bAbI.py --seed {seed} --fresh", "leave out --evaluate and --fresh"),
    ("--vary l2=0,-1 -- WMemNN_NLVR.py --l2 {l2} --models {l2}", "^WMemNN_NLVR.py: error: argument --l2: '-1' is not a"),
])
def test_what_the_script_makes_of_its_arguments(dask, in_this_process, capfd, argv, reason):
    assert re.search(reason, refused(capfd, *argv.split()))


def test_a_bad_option_of_the_script_is_one_line(dask):
    argv = [sys.executable, "sweep.py", "--seeds", "1-2", "--", "WMemNN_bAbI.py", "30", "30", "x", "0", "0.1", "{seed}"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not done.stdout
    assert re.fullmatch("WMemNN_bAbI.py: error: argument mx: 'x' is not a whole number .*\n", done.stderr)


def test_without_its_package(capfd, monkeypatch):
    monkeypatch.setattr(sweep.importlib.util, "find_spec", lambda name: None)
    assert f"pip install {sweep.PACKAGE}\n" in refused(capfd, "--", "RN_bAbI.py")
    for page in "docs/sweep.md", "tests/requirements.txt":
        assert sweep.PACKAGE in run_files.page(page)


def test_values_of_options_that_have_commas_or_none():
    args = sweep.parse_arguments(["--vary", "f=none;8,9", "--seeds", "3,5-6", "--vary", "focus=,--focus=1", "--", "RN_bAbI.py",
                                  "--f-units", "{f}", "{focus}", "--seed={seed}"])
    assert args.values == {"f": ["none", "8,9"], "focus": ["", "--focus=1"], "seed": ["3", "5", "6"]}
    assert [words for _, words in sweep.commands(args)][:4:3] == [
        ["--f-units", "none", "--seed=3"], ["--f-units", "none", "--focus=1", "--seed=3"]]


def test_accuracies_of_nlvr():
    test = {"dev": {"accuracy": 60.0}, "test": {"accuracy": 59.125}}
    assert sweep.figures(test) == {"dev %": 60.0, "Test-P %": 59.125}


def test_time_left():
    """Two runs of 100 epochs wait, of which one has done 40 of 60 s and the other none."""
    runs = [sweep.Run({}, [], path, {"epochs": 100}, "tensorflow") for path in ("over", "begun", "not begun")]
    for run, done in zip(runs, (100, 40, 0)):
        run.seconds = lambda done=done: [60.0] * done
    for workers, left in (1, "; about 2 h 40 min left"), (8, "; about 1 h 40 min left"), (0, ""):  # one run is not divided
        assert sweep.progress_line(runs, runs[1:], workers) == (
            f"1 of 3 runs are over; 140 of 300 epochs; workers: {workers}{left}")
