"""A run: its files, how far it got, the epochs it trains, and the record of what ran."""
import atexit
import contextlib
import hashlib
import importlib.util
import io
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
import zlib

import numpy as np

from data_utils import DataError
from training.backend import keras
from training.command_line import natural_number, positive_int, write_whole

try:
    import fcntl
except ImportError:  # Windows; there nothing keeps two processes from training one run
    fcntl = None

KEPT = "nothing saved is lost; of a training, the same command, without --fresh, goes on from the last finished epoch"
# Options that say where things lie or what to look at: the course of a training does not depend on them.
NOT_OF_THE_COURSE = ("data", "cache", "models", "no_test", "tensorboard", "evaluate", "ensemble", "systematic", "show", "html",
                     "ask", "fresh")


# Options


def add_options(parser, epochs, patience="no"):
    """Add the group of options of a run, with what the help says of the script's own defaults."""
    add = parser.add_argument_group("the run").add_argument
    add("--models", metavar="DIR", default="models", help="where weights, log and record are saved (default %(default)s)")
    add("--epochs", type=positive_int, metavar="N", help=f"passes over the training data (default {epochs})")
    add("--steps-per-epoch", type=positive_int, metavar="N",
        help="shorten an epoch to N batches, for trying things (default: all)")
    add("--schedule", choices=("constant", "cosine"), default="constant",
        help="course of the learning rate; cosine falls to zero over all epochs (default %(default)s)")
    add("--warmup-steps", type=natural_number, metavar="N", default=0,
        help="batches over which a cosine schedule first rises from zero (default %(default)s)")
    add("--patience", type=positive_int, metavar="N",
        help=f"stop after N epochs without a better validation accuracy (default {patience})")
    add("--no-test", action="store_true",
        help="end without a look at the test questions, for runs to choose from; the same command without it tests later")
    add("--tensorboard", metavar="DIR", help="also log there for TensorBoard, a package of its own (default: no)")
    add("--fresh", action="store_true", help="start from the first epoch; an earlier run of this name is moved into a folder earlier-N "
        "beside it; leave it out to go on with the new one")


# One process at a time

_locks = {}  # descriptors by path, held until they are released or this process ends


def lock(path):
    """Lock a file, which is made if need be, until `unlock` or the end of this process, `kill -9` included.

    Args:
        path: str.
    Returns:
        bool, whether no other process holds the lock.
    """
    path = os.path.realpath(path)
    try:
        while fcntl and path not in _locks:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between the two calls the process that held the lock may have removed the file.
                if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    _locks[path] = descriptor
            finally:
                if path not in _locks:
                    os.close(descriptor)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks, or a folder that cannot be written, which the first file will tell
        pass
    return True


def unlock(path):
    """Release what `lock` locked, if it did, and remove the file."""
    descriptor = _locks.pop(os.path.realpath(path), None)
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.remove(path)
        os.close(descriptor)


@atexit.register
def _unlock_all():
    for path in list(_locks):
        unlock(path)


# The state of a run


def uncompiled(model):
    """The same layers without an optimizer, whose moments would treble a file, and without steps in one execution."""
    return keras.Model(model.input, model.output, name=model.name)


def save_weights(model, path):
    """Write the weights of a functional model, whole or not at all."""
    # Not straight to `path`: HDF5 crashes the process when it runs out of space while it writes.
    with tempfile.TemporaryDirectory() as folder:
        temporary = os.path.join(folder, "model.weights.h5")
        uncompiled(model).save_weights(temporary)
        with open(temporary, "rb") as file:
            content = file.read()
    write_whole(path, content)


def file_digest(path):
    """SHA-256 of a file. Raises DataError where there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; train that run first, or give its folder with --models") from None


def load_weights(model, path, digest=None):
    """Load what `save_weights` wrote.

    Args:
        model: functional model.
        path: str.
        digest: str, the `file_digest` that the record of the run holds; by default not checked.
    Raises:
        DataError: the file is missing, damaged, of another model, or not the one of the record.
    """
    found = file_digest(path)
    if digest not in (None, found):
        raise DataError(f"{path}: not the weights of the record beside it, or damaged; let the run end, or restore both")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the error below says
            uncompiled(model).load_weights(path)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise DataError(f"{path}: the weights do not fit these arguments, or the file is damaged ({reason}); "
                        "give the arguments they were trained with, or train again with --fresh") from None


class Run:
    """The files of one run in the models folder, and how far it got.

    NAME.weights.h5 holds the weights of the epoch of `best`, NAME.csv the log, NAME.json the record, and
    NAME.state.npz everything that the next epoch needs: weights, optimizer and log. The state is written first, and the others
    follow from it: where an interruption kept them from being written, the run starts with that. (Keras's ModelCheckpoint,
    CSVLogger and BackupAndRestore write in place and know nothing of each other: a kill between them leaves a log with a
    row too many or a damaged file.)

    Args:
        args: parsed arguments of a script with `add_options`. The course of the training depends on them, but for
            `NOT_OF_THE_COURSE`: a state with others is refused.
        name: str.
        data: dict of JSON values, what was read, with its "fingerprint"; a state with another one is refused.
        earlier: dict, options that states and records from before them lack, with the values they stand for.
        unit: str, what the last column of the log counts per second.
        record: further JSON values for the record.
    """

    METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
    # What to say of settings that are digests of files.
    OF_FILES = {"data": "read other data files, or the same with other content", "refines_sha256": "refined other weights"}

    def __init__(self, args, name, data, earlier, unit="stories", **record):
        self.args, self.models, self.name, self.unit, self.earlier = args, args.models, name, unit, earlier
        self.columns = ("epoch", *self.METRICS, "learning_rate", "seconds", f"{unit}_per_second")
        settings = {option: value for option, value in vars(args).items() if option not in NOT_OF_THE_COURSE}
        settings |= {"data": data["fingerprint"], "backend": keras.backend.backend()}
        self.settings = json.loads(json.dumps(settings))
        self.record = {"arguments": vars(args), "data": data, **record}
        self.rows, self.earlier_parts, self.part = [], [], None
        # Epochs, counted from 0, in which the validation questions are trained on.
        self.final_epochs = range(args.epochs - getattr(args, "final_epochs", 0), args.epochs)
        self._lock = os.path.join(self.models, f".{name}.lock")

    def refine(self, network, name):
        """Start from the weights of another run in the same folder: a refinement. Raises DataError where they do not fit."""
        record = read_record(os.path.join(self.models, f"{name}.json"))
        path = os.path.join(self.models, f"{name}.weights.h5")
        load_weights(network, path, record.get("weights_sha256"))
        self.settings["refines_sha256"] = self.record["refines_sha256"] = file_digest(path)

    def path(self, kind):
        """Path of the run's file of a kind: "weights.h5", "csv", "json" or "state.npz"."""
        return os.path.join(self.models, f"{self.name}.{kind}")

    def best(self):
        """The row of the epoch whose weights are kept; None before the first.

        It is the one with the highest validation accuracy, the first of equals; in the final epochs the last one.
        """
        return self.rows[-1] if self.is_final() else max(self.rows, key=lambda row: row["val_accuracy"], default=None)

    def is_final(self):
        """Whether the last epoch trained on the validation questions, too."""
        return len(self.rows) - 1 in self.final_epochs

    def stalled(self, patience):
        """Whether the last `patience` epochs brought no better validation accuracy; never if `patience` is None."""
        return patience is not None and bool(self.rows) and len(self.rows) - self.best()["epoch"] >= patience

    def check_writable(self):
        """Make the models folder, keep other processes out of this run's files, and try the folder.

        Raises:
            DataError: another process is at work on this run.
            OSError: the folder cannot be written.
        """
        os.makedirs(self.models, exist_ok=True)
        if not lock(self._lock):
            raise DataError(f"{self.path('state.npz')}: another process is training this run; wait for its end or stop it, or "
                            "give --models DIR to train elsewhere")
        trial = os.path.join(self.models, f".{self.name}.trial")
        write_whole(trial, b".")
        os.remove(trial)

    def release(self):
        """Let other processes at this run's files again; the end of this process does so, too."""
        unlock(self._lock)

    def restore(self, model):
        """Bring a compiled model to the last saved state; where there is none to go on from, save the one it is in.

        So weights without a state are those of an earlier run, not of one that was stopped in its first epoch.

        Raises:
            DataError: a state that cannot be read, or that belongs to other settings.
        """
        path = self.path("state.npz")
        if self.args.fresh or not os.path.exists(path):
            self.start(model)
            return
        try:
            with np.load(path, allow_pickle=False) as state:
                settings, rows, parts = (json.loads(str(state[key])) for key in ("settings", "rows", "parts"))
                values = [state[f"variable_{i}"] for i in range(len(state.files) - 3)]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path}: cannot be read ({error}); --fresh starts over") from None
        self._check_settings(settings, path)
        variables = self._variables(model)
        if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
            raise DataError(f"{path}: does not fit the model of these arguments; --fresh starts over")
        for variable, value in zip(variables, values):
            variable.assign(value)
        self.rows, self.earlier_parts = rows, parts

    def start(self, model):
        """Begin with a compiled model; what there is of an earlier run of this name is moved into a folder of its own."""
        # The state first: without it the others are those of an earlier run, also where this is interrupted.
        earlier = [path for path in map(self.path, ("state.npz", "weights.h5", "csv", "json")) if os.path.exists(path)]
        if earlier:
            number = 1
            while os.path.exists(folder := os.path.join(self.models, f"earlier-{number}")):
                number += 1
            os.mkdir(folder)
            for path in earlier:
                os.rename(path, os.path.join(folder, os.path.basename(path)))
            print(f"{self.name}: the files of the earlier run of this name are now in {folder}")
        self.save_state(model)

    def _check_settings(self, saved, path):
        saved = {key: value for key, value in self.earlier.items() if key in self.settings} | saved
        for key in sorted({*saved, *self.settings}):
            before, now = saved.get(key), self.settings.get(key)
            # More epochs of a constant rate only go further on the same course, and so does more patience; but final epochs
            # are counted from the end.
            further = key == "patience" or (
                key == "epochs" and self.settings.get("schedule") == "constant" and not saved.get("final_epochs"))
            if before != now and not further:
                what = self.OF_FILES.get(key, f"had {key} {before}, not {now}")
                raise DataError(f"{path}: that run {what}; give the same, --fresh to set that run aside, or --models DIR to "
                                "train elsewhere")

    @staticmethod
    def _variables(model):
        return [*model.variables, *model.optimizer.variables]

    def save(self, model, network):
        """Save an epoch: the state of `model`, then what follows from it."""
        self.save_state(model)
        self.publish(network)

    def behind(self):
        """Whether the run was stopped after a state was saved, and before all that follows from it was."""
        try:
            return read_record(self.path("json")).get("epochs_done") != len(self.rows)
        except DataError:
            return True

    def publish(self, network):
        """Save what follows from the last state: the weights of `network` if its epoch is the best, the log, the record."""
        if self.best() is self.rows[-1]:
            save_weights(network, self.path("weights.h5"))
        lines = [",".join(self.columns)] + [",".join(str(row[column]) for column in self.columns) for row in self.rows]
        write_whole(self.path("csv"), ("\n".join(lines) + "\n").encode())
        self.save_record()

    def save_state(self, model):
        """Save what the next epoch needs."""
        state = io.BytesIO()
        np.savez(state, settings=json.dumps(self.settings), rows=json.dumps(self.rows),
                 parts=json.dumps(self.parts()), **{f"variable_{i}": keras.ops.convert_to_numpy(variable)
                                                         for i, variable in enumerate(self._variables(model))})
        write_whole(self.path("state.npz"), state.getvalue())

    def parts(self):
        """What ran which epochs: `environment()` with "first_epoch", one for each time the run was started or went on."""
        return self.earlier_parts + ([self.part] if self.part else [])

    def save_record(self):
        """Write the record, with what the log says of the run."""
        best = self.best()
        if self.is_final():
            self.record["validation_inside_training"] = True
        write_record(self.path("json"), {
            **self.record, "epochs_done": len(self.rows), "best_epoch": best["epoch"], "best_val_accuracy": best["val_accuracy"],
            "seconds": round(sum(row["seconds"] for row in self.rows), 1),
            "weights_sha256": file_digest(self.path("weights.h5")), "parts": self.parts()})


class Interruption(keras.callbacks.Callback):
    """Heeds Ctrl-C between two calls of what is compiled while a model trains, a second one at once.

    Raised wherever the program is, as Python does it, it may get lost in a callback of the backend. As a context manager it takes
    Ctrl-C over, unless somebody else has.
    """

    def __init__(self):
        super().__init__()
        self.asked = False

    def _ask(self, *_):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __enter__(self):
        self.before = signal.getsignal(signal.SIGINT)
        if self.before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_):
        if self.before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self.before)

    def on_train_batch_end(self, batch, logs=None):
        if self.asked:
            raise KeyboardInterrupt

    on_test_batch_end = on_train_batch_end


class Epochs(keras.callbacks.Callback):
    """Around each epoch: its order of batches, its row in the log, what is saved, a line for the reader."""

    def __init__(self, run, network, batches):
        super().__init__()
        self.run, self.network, self.batches, self.epochs = run, network, batches, run.args.epochs
        self.line = ""

    def on_epoch_begin(self, epoch, logs=None):
        self._print_line()
        self.batches.set_epoch(epoch)
        self.learning_rate = float(self.model.optimizer.learning_rate)
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self._check_finite("loss", logs)
        self.trained = time.perf_counter()

    def _check_finite(self, key, logs):
        if not math.isfinite(logs[key]):
            done = len(self.run.rows)
            raise DataError(f"the {key} is {logs[key]} in epoch {done + 1}; what was saved until epoch {done} stays; try a "
                            "lower learning rate")

    def on_epoch_end(self, epoch, logs=None):
        self._check_finite("val_loss", logs)  # the last update may have spoilt the weights after the loss was taken
        number = min(self.batches.steps * self.batches.batch_size, self.batches.total)
        seconds = time.perf_counter() - self.started
        row = {"epoch": epoch + 1, **{key: round(float(logs[key]), 6) for key in Run.METRICS},
               "learning_rate": float(f"{self.learning_rate:.6g}"),
               "seconds": round(seconds, 2),
               self.run.columns[-1]: round(number / (self.trained - self.started), 1)}
        self.run.rows.append(row)
        self.run.save(self.model, self.network)
        self.model.stop_training = self.run.stalled(self.run.args.patience)
        best = self.run.best()
        note = "trained on" if self.run.is_final() else f"best {best['val_accuracy']:.4f} in epoch {best['epoch']}"
        left = (self.epochs - epoch - 1) * seconds
        self.line = (
            f"epoch {epoch + 1}/{self.epochs}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.4f}, "
            f"validation {row['val_accuracy']:.4f} ({note}), "
            f"{seconds:.0f} s, {row[self.run.columns[-1]]:.0f} {self.run.unit}/s, {_duration(left)} left\n")
        if not sys.stdout.isatty():  # on a terminal the progress bar is not yet complete
            self._print_line()

    def on_train_end(self, logs=None):
        self._print_line()

    def _print_line(self):
        print(self.line, end="", flush=True)
        self.line = ""


def _duration(seconds):
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def fit(run, network, model, batches, validation):
    """Train from where the run stands to the last epoch; at the end the network has the weights of `Run.best`.

    Args:
        run: Run.
        network: functional model, the part of `model` that is of use after training and whose weights are saved.
        model: compiled functional model: the network, perhaps with auxiliary losses behind it.
        batches, validation: Keras datasets with `steps`, `batch_size`, `total`, `of` (what they hold) and `set_epoch`.
    Raises:
        DataError: the loss is not finite, the run's files do not fit, or another process is at work on them.
        OSError: the models folder cannot be written.
    """
    args = run.args
    if args.tensorboard:
        missing = [package for package in ("tensorflow", "tensorboard") if not importlib.util.find_spec(package)]
        if missing:
            raise DataError(f"--tensorboard needs the package {missing[0]}: pip install {' '.join(missing)}")
    try:
        run.check_writable()
        _train(run, network, model, batches, validation)
    except BaseException:
        run.release()
        raise


def _train(run, network, model, batches, validation):
    args = run.args
    run.record["parameters"] = network.count_params()
    print(f"{run.name}: {network.count_params():,} parameters; {batches.total:,} training and {validation.total:,} validation "
          f"{batches.of}, {batches.steps:,} batches of {batches.batch_size} an epoch")
    if run.final_epochs:
        print(f"{run.name}: from epoch {run.final_epochs.start + 1} on the validation questions are trained on, too, and the "
              "weights of the last epoch are kept")
    model.optimizer.build(model.trainable_variables)
    run.restore(model)
    done = len(run.rows)
    run.record |= environment()  # once: the commit is that of the code that runs, whatever is checked out meanwhile
    if done and run.behind():
        run.publish(network)
    if done > args.epochs:
        raise DataError(f"{run.path('state.npz')}: {done} epochs are done already, more than --epochs {args.epochs}; "
                        "--evaluate prints their table, --fresh trains again")
    stalled = run.stalled(args.patience)
    if done == args.epochs or stalled:
        why = f"no better validation accuracy for {args.patience} epochs" if stalled else f"all {done} epochs are done"
        print(f"{run.name}: {why}; --fresh trains again")
        run.record = read_record(run.path("json"))
    else:
        if done:
            print(f"going on after epoch {done} of {args.epochs}")
        run.part = {"first_epoch": done + 1, **environment()}
        callbacks = [Epochs(run, network, batches)]
        if args.tensorboard:
            callbacks.append(keras.callbacks.TensorBoard(args.tensorboard))
        with Interruption() as interruption:
            # Keras asks once how many batches an epoch has, and the final epochs have more.
            for start, end in ((done, run.final_epochs.start), (max(done, run.final_epochs.start), args.epochs)):
                if start < end:
                    if start in run.final_epochs:
                        batches.set_epoch(start)
                    model.fit(batches, validation_data=validation, initial_epoch=start, epochs=end, shuffle=False,
                              callbacks=[interruption, *callbacks], verbose=1 if sys.stdout.isatty() else 0)
        if run.stalled(args.patience):
            print(f"stopped after epoch {len(run.rows)}: no better validation accuracy for {args.patience} epochs")
    load_weights(network, run.path("weights.h5"))


# Record


def environment():
    """What ran: command, versions, backend, device, commit; for the record."""
    backend = keras.backend.backend()
    versions = {"python": platform.python_version(), "keras": keras.__version__, "numpy": np.__version__,
                backend: sys.modules[backend].__version__}
    return {"command": " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]]), "versions": versions,
            "backend": backend, "device": f"{platform.machine()}, {os.cpu_count()} cores; "
            + ", ".join(keras.distribution.list_devices()),
            "git_commit": _git_commit()}


def _git_commit():
    """The commit of this code, "-dirty" behind it where files differ from it; None where there is no git."""
    here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

    def git(*command):
        return subprocess.run(["git", "-C", here, *command], capture_output=True, text=True, check=False).stdout.strip()

    try:
        if git("rev-parse", "--show-toplevel") != here:
            return None
        # Without models/: a run that goes on changes its own files there, which are no code.
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)models")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except OSError:
        return None


def write_record(path, record):
    """Write a dict of JSON values to a file, whole or not at all."""
    write_whole(path, (json.dumps(record, indent=1) + "\n").encode())


def read_record(path):
    """Read a run's record. Raises DataError where it is missing or damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        if not isinstance(record, dict) or any(
                not isinstance(record.get(key), kind)
                for key, kind in (("arguments", dict), ("data", dict), ("words", list), ("answers", list))):
            raise ValueError("not the record of a run")
        return record
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; the record of a run belongs beside its weights") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); restore it, or train again with --fresh") from None


def read_run(args, name, fixed, earlier):
    """The record of a run whose weights are to be used with some arguments.

    Args:
        args: parsed arguments of `add_options`; options of `fixed` that are None take the value that the run had.
        name: str, of the run.
        fixed: names of the options that the saved weights fix.
        earlier: dict, as of `Run`.
    Raises:
        DataError: no such record, or the run had other values of some fixed options.
    """
    path = os.path.join(args.models, f"{name}.json")
    record = read_record(path)
    record["arguments"] = earlier | record["arguments"]
    for option in fixed:
        before = record["arguments"].get(option)
        if getattr(args, option) is None:
            setattr(args, option, before)
        now = getattr(args, option)
        if before != now:
            flag = f"--{option.replace('_', '-')}"
            if isinstance(before, bool):
                raise DataError(f"{path}: that run was trained {'with' if before else 'without'} {flag}; "
                                f"{'give' if before else 'leave out'} {flag}")
            raise DataError(f"{path}: that run was trained with {flag} {_as_typed(before)}, not {_as_typed(now)}; "
                            f"give {flag} {_as_typed(before)}")
    return record


def _as_typed(value):
    """An option's value as the command line takes it."""
    return (",".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
