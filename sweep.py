#!/usr/bin/env python3
"""Run a script of this project once for each seed, and for each value of other options, on many cores or machines.

    python sweep.py --seeds 1-10 -- WMemNN_bAbI.py 30 30 30 0 0.001 {seed}

In the command {seed} stands for the seed, {NAME} for a value of --vary NAME=VALUE,VALUE. The same command goes on.
"""
import argparse
import concurrent.futures
import contextlib
import csv
import dataclasses
import importlib.util
import itertools
import json
import multiprocessing
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time

import data_utils
from training import command_line

PACKAGE = "distributed==2026.8.0"
SCRIPTS = ("WMemNN_bAbI.py", "WMemNN_NLVR.py", "RN_bAbI.py")
ROOT = os.path.dirname(os.path.abspath(__file__))
KEPT = "no finished epoch is lost; the same command goes on"
RETRIES = 3  # of a run that a signal ended, such as that of a system without memory
WORKER_DEATHS = 100  # that a run survives on a local cluster; it is not to blame, since it runs in a process of its own
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
                            "TF_NUM_INTEROP_THREADS"), "1")
# A worker leaves Ctrl-C to the sweep, which stops it.
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
CHILD = "--child"  # with which this script runs a command for a worker, see `run_as_child`
PAUSE, NOTICE = 1, 600  # seconds between two looks at the runs, and two lines of progress where there is no terminal


# Arguments


def parse_arguments(argv=None):
    """The parsed arguments, among them `script`, its `words`, and `values`, a dict from name to list of str."""
    parser = command_line.Parser(description=__doc__.split("\n\n", maxsplit=1)[0],
                                 usage="%(prog)s [options] -- SCRIPT ARGUMENT ...", epilog=__doc__.split("\n\n")[-1])
    add = parser.add_argument
    add("--seeds", type=seed_range, metavar="LIST", help="values of {seed}, such as 1-10 or 1,2,7-9")
    add("--vary", type=variation, metavar="NAME=VALUE,VALUE", action="append", default=[],
        help="values of {NAME}, with semicolons between them where a value has commas; may be given several times")
    add("--workers", type=command_line.positive_int, metavar="N",
        help="runs at a time on this machine, each on a core of its own (default: as many as there are cores)")
    add("--scheduler", metavar="ADDRESS", help="use the workers of this dask scheduler instead, such as tcp://HOST:8786")
    argv = sys.argv[1:] if argv is None else argv
    dashes = argv.index("--") if "--" in argv else len(argv)
    args, command = parser.parse_args(argv[:dashes]), argv[dashes + 1:]
    if not command:
        parser.error("give the script and its arguments behind --")
    args.script, args.words = os.path.basename(command[0]), command[1:]
    if args.script not in SCRIPTS:
        parser.error(f"{command[0]!r} is none of {', '.join(SCRIPTS)}")
    if args.scheduler and args.workers:
        parser.error("--workers is for this machine; --scheduler has workers of its own")
    # The seed last: the runs between which only the seed differs come one after the other.
    lists = sorted(args.vary + ([("seed", args.seeds)] if args.seeds else []), key=lambda pair: pair[0] == "seed")
    args.values = dict(lists)
    if len(args.values) < len(lists):
        parser.error("argument --vary: a name is given twice")
    used = set(re.findall(r"\{(\w+)\}", " ".join(args.words)))
    for name in sorted(used ^ args.values.keys()):
        option = "--seeds" if name == "seed" else f"--vary {name}=VALUE,VALUE"
        parser.error(f"{{{name}}} has no values; give {option}" if name in used else
                     f"{option} is given, but the arguments of {args.script} have no {{{name}}}")
    return args


def seed_range(text):
    """Seeds such as 1-10 or 1,2,7-9, for argparse: a list of str."""
    seeds = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        first = command_line.seed_number(first)
        last = command_line.seed_number(last) if dash else first
        if last < first:
            raise argparse.ArgumentTypeError(f"{part!r} is no range of seeds")
        seeds += map(str, range(first, last + 1))
    return seeds


def variation(text):
    """A name and its values such as l2=0,0.001, for argparse: (str, list of str)."""
    name, equals, values = text.partition("=")
    if not (equals and re.fullmatch(r"\w+", name)):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE,VALUE")
    return name, values.split(";" if ";" in values else ",")


# The runs


@dataclasses.dataclass
class Run:
    """A run of the sweep.

    Args:
        values: dict of str, what stands in the command for each name.
        words: list of str, the arguments of the script.
        path: str, the files of the run without their endings.
        arguments: dict, the arguments as the script understands and records them.
        backend: str, of Keras.
        result: dict, the test results in the record of the run; None before they are read.
    """
    values: dict
    words: list
    path: str
    arguments: dict
    backend: str
    result: dict = None

    def read_result(self, over):
        """Read `result` where there is one; of a run that is not known to be `over`, only if it had the same arguments.

        A record has results from the end of a training on, until it goes on with more epochs.
        """
        try:
            with open(f"{self.path}.json", encoding="utf-8") as file:
                record = json.load(file)
            if over or (record["arguments"], record["backend"]) == (self.arguments, self.backend):
                self.result = record["test"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # the script says what is wrong

    def seconds(self):
        """The seconds of each finished epoch."""
        try:
            with open(f"{self.path}.csv", encoding="utf-8", newline="") as file:
                return [float(row["seconds"]) for row in csv.DictReader(file)]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def __str__(self):
        return ", ".join(f"{name} {value}" for name, value in self.values.items()) or os.path.basename(self.path)


def commands(args):
    """For each run of a sweep the values of the names, a dict, and the arguments of the script, a list of str."""
    for chosen in itertools.product(*args.values.values()):
        values = dict(zip(args.values, chosen))
        words = [re.sub(r"\{(\w+)\}", lambda name: values[name[1]], word) for word in args.words]
        yield values, [word for word in words if word]  # an empty value leaves its word out


def plan(args):
    """The runs of a sweep, a list. Raises DataError where two would write the same files, SystemExit for a bad argument."""
    chosen = list(commands(args))
    # TensorFlow would stay in this process, and might take the memory of a GPU.
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        described = process.submit(describe, args.script, [words for _, words in chosen]).result()
    if not isinstance(described, list):
        sys.exit(described)
    runs, of_path = [Run(*run, *rest) for run, rest in zip(chosen, described)], {}
    for run in runs:
        other = of_path.setdefault(run.path, run)
        if other is not run:
            raise data_utils.DataError(f"two runs would write {run.path}: {other}, and {run}; give each value of NAME a "
                                       "folder, such as --models models/{NAME}")
    return runs


def describe(script, commands):
    """What a script makes of its arguments.

    Args:
        script: str, its name.
        commands: list of lists of str, the arguments of each run.
    Returns:
        list of tuples, a `Run` from `path` on; or the exit status where the script refuses arguments, which it says why.
    """
    sys.argv = [script]  # whose name stands in its errors
    described = []
    try:
        module, backend = importlib.import_module(os.path.splitext(script)[0]), importlib.import_module("training.backend")
        for words in commands:
            args = module.parse_arguments(words)
            if args.evaluate or args.fresh:
                raise data_utils.DataError("a sweep trains, and goes on with what there is; leave out --evaluate and --fresh")
            described.append((os.path.abspath(os.path.join(args.models, module.run_name(args, args.seed))),
                              json.loads(json.dumps(vars(args))), backend.keras.backend.backend()))
    except SystemExit as stop:
        return stop.code
    return described


# On a worker


def train(command, path, backend, folder, cores):
    """Run a script in a process of its own, which ends with the worker or when the task is cancelled.

    Args:
        command: list of str.
        path: str, as of `Run`; what the script prints is appended to `path`.log.
        backend: str, of Keras.
        folder: str, where the script runs.
        cores: list of int, which worker number i takes core number i of; or None, for any.
    Returns:
        exit status of the script and the last line that it printed.
    Raises:
        RuntimeError: a signal ended the script; dask tries again, and the run goes on from its last epoch.
    """
    import distributed
    worker = distributed.get_worker()
    key = worker.get_current_task()
    core = str(cores[worker.name % len(cores)]) if cores else "any"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.log", "a+", encoding="utf-8", errors="replace") as log:
        log.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')}, {platform.node()}: {' '.join(command)}\n")
        log.flush()
        start = log.tell()
        with subprocess.Popen([sys.executable, os.path.abspath(__file__), CHILD, core, sys.executable, *command],
                              cwd=folder, env={**os.environ, **ONE_THREAD, "KERAS_BACKEND": backend}, stdin=subprocess.PIPE,
                              stdout=log, stderr=log, start_new_session=True) as child:  # Ctrl-C is for the sweep
            while child.poll() is None:
                time.sleep(0.2)
                task = worker.state.tasks.get(key)
                if task is None or task.state != "executing":
                    child.stdin.close()
        log.seek(start)
        line = ([line.strip() for line in log if line.strip()] or ["no message"])[-1]
    if child.returncode > 128 and child.returncode != 130:  # 130: somebody stopped it
        raise RuntimeError(f"ended by signal {child.returncode - 128}; its last line: {line}")
    return child.returncode, line


# The sweep


@contextlib.contextmanager
def connected(args):
    """A dask client, and the cores of its workers or None, as a context."""
    import dask
    import distributed
    if args.scheduler:
        try:
            client = distributed.Client(args.scheduler, timeout=20)
        except (OSError, ValueError) as error:
            raise data_utils.DataError(f"--scheduler {args.scheduler}: cannot be reached ({error})") from None
        with client:
            yield client, None
        return
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count()))
    with (dask.config.set({"distributed.scheduler.allowed-failures": WORKER_DEATHS}),
          distributed.LocalCluster(n_workers=args.workers or len(cores), threads_per_worker=1, memory_limit=0,
                                   dashboard_address=None, silence_logs="CRITICAL", preload=[DEAF]) as cluster,
          distributed.Client(cluster) as client):
        yield client, cores


def train_all(runs, args):
    """Train runs on the workers of a cluster and tell of their progress. Returns a dict, why runs failed, by their path."""
    failed = {}
    with connected(args) as (client, cores):
        script, folder = os.path.join(ROOT, args.script), os.getcwd()
        waiting = {client.submit(train, [script, *run.words], run.path, run.backend, folder, cores, pure=False,
                                 retries=RETRIES): run for run in runs}
        progress, workers = Progress(runs), set()
        try:
            while waiting:
                for future in [future for future in waiting if future.done()]:
                    run = waiting.pop(future)
                    reason = why_failed(future, run)
                    if reason:
                        failed[run.path] = reason
                    progress.say(outcome(run, reason))
                before, workers = workers, set(client.nthreads())
                if before - workers:
                    progress.say("a worker is gone; what it ran goes on on another")
                if waiting:
                    progress.show(list(waiting.values()), sum(client.nthreads().values()))
                    time.sleep(PAUSE)
        finally:
            client.cancel(list(waiting))
    return failed


def why_failed(future, run):
    """Why a run that is over has no result, in a line; None if it has, which is read."""
    try:
        status, line = future.result()
    except Exception as error:  # of the run, or of dask: all of its workers died
        return " ".join(str(error).split())
    if status:
        return line
    run.read_result(over=True)
    return None if run.result else f"{run.path}.json has no results; does this machine see the files of that worker?"


class Progress:
    """Lines about the runs; the line about what is left stays at the bottom of a terminal."""

    def __init__(self, runs):
        self.runs, self.told, self.shown = runs, time.monotonic(), ""

    def say(self, line):
        """Print a line."""
        self._clear()
        print(line, flush=True)

    def show(self, waiting, workers):
        """Print how far the runs are, and how long those of them that are waiting will take."""
        if sys.stdout.isatty():
            line = progress_line(self.runs, waiting, workers)[:shutil.get_terminal_size().columns - 1]
            if line != self.shown:
                self._clear()
                self.shown = line
                print(line, end="", flush=True)
        elif time.monotonic() > self.told + NOTICE:
            self.told = time.monotonic()
            self.say(progress_line(self.runs, waiting, workers))

    def _clear(self):
        print("\r" + " " * len(self.shown) + "\r" if self.shown else "", end="")
        self.shown = ""


def progress_line(runs, waiting, workers):
    """How far `runs` are, and how long those of them that are `waiting` take on a number of workers."""
    seconds = {run.path: run.seconds() for run in runs}
    known = [value for values in seconds.values() for value in values]
    epochs = sum(run.arguments["epochs"] for run in runs)
    line = f"{len(runs) - len(waiting)} of {len(runs)} runs are over; {len(known):,} of {epochs:,} epochs; workers: {workers}"
    if not known or not workers:
        return line
    left = [max(0, run.arguments["epochs"] - len(seconds[run.path])) * statistics.fmean(seconds[run.path] or known)
            for run in waiting]
    minutes = round(max([*left, sum(left) / workers]) / 60)
    return f"{line}; about {minutes // 60} h {minutes % 60:02d} min left"


# The table


def figures(test):
    """The figures of a run in the table, a dict, from the results in its record."""
    if "mean_error" in test:
        return {"mean error %": test["mean_error"], "failed tasks": len(test["failed_tasks"])}
    return {f"{data_utils.SPLIT_NAMES[split]} %": result["accuracy"] for split, result in test.items()}


def run_as_child(core, *command):
    """Run a command that ends with the process that started it, even where that one is killed.

    Standard input is a pipe that the starting process keeps open: the system closes it with that process, whatever ends it, and
    the command is killed. The exit status is that of the command, 128 and its number for a signal.

    Args:
        core: str, the number of the processor that the command is bound to, or "any".
        command: str, the words.
    """
    if core != "any" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core)])
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def watch():
        os.read(0, 1)
        child.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    sys.exit(status if status >= 0 else 128 - status)


def figure(value):
    """A figure as text."""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def outcome(run, reason=None):
    """A line about a run that is over."""
    return f"{run}: " + (f"not finished: {reason}" if reason else ", ".join(
        f"{name} {figure(value)}" for name, value in figures(run.result).items()))


def table(runs, failed):
    """All runs, and mean and deviation (n - 1) over the seeds, as text.

    Args:
        runs: list of Run.
        failed: dict, why runs failed, by their path.
    """
    names, results = list(runs[0].values), {run.path: figures(run.result) if run.result else {} for run in runs}
    columns = list(dict.fromkeys(name for result in results.values() for name in result))

    def row(values, result, note):
        return [*values.values(), *(figure(result[name]) if name in result else "" for name in columns), note]

    rows = [[*names, *columns, "which" if "failed tasks" in columns else ""]]
    for others, group in itertools.groupby(runs, lambda run: {**run.values, "seed": None}):
        group = list(group)
        for run in group:
            rows.append(row(run.values, results[run.path], f"not finished: {failed[run.path]}" if run.path in failed else
                            ", ".join(map(str, run.result.get("failed_tasks", [])))))
        done = [results[run.path] for run in group if results[run.path]]
        for label, function, least in ("mean", statistics.fmean, 1), ("deviation", statistics.stdev, 2):
            if "seed" in names and len(done) >= least:
                rows.append(row(others | {"seed": label}, {name: float(function([result[name] for result in done]))
                                                           for name in done[0]}, f"of {len(done)}"))
    widths = [max(map(len, column)) for column in list(zip(*rows))[:-1]]
    return "\n".join("  ".join([*(f"{cell:>{width}}" for cell, width in zip(cells, widths)), cells[-1]]).rstrip()
                     for cells in rows)


def main(argv=None):
    args = parse_arguments(argv)
    if not all(map(importlib.util.find_spec, ("dask", "distributed"))):
        raise data_utils.DataError(f"a package is missing: pip install {PACKAGE}")
    runs = plan(args)
    for run in runs:
        run.read_result(over=False)
    left = [run for run in runs if not run.result]
    print(f"{len(runs)} runs of {args.script}, {len(runs) - len(left)} of them finished before; what each prints is in "
          "NAME.log beside its weights", flush=True)
    for run in runs:
        if run.result:
            print(outcome(run))
    failed = train_all(left, args) if left else {}
    print(table(runs, failed))
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        run_as_child(*sys.argv[2:])
    command_line.run_script(main, KEPT)
