"""What every script shares, those that train and those that get data: arguments, one-line errors, whole files."""
import argparse
import math
import os
import sys

from data_utils import DataError


class Parser(argparse.ArgumentParser):
    """argparse, with its errors in one line, and arguments from files: @FILE stands for the words in FILE, # starts a comment."""

    def __init__(self, **kwargs):
        super().__init__(fromfile_prefix_chars="@", **kwargs)

    def convert_arg_line_to_args(self, arg_line):
        return arg_line.partition("#")[0].split()

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}; --help lists the arguments\n")


def positive_int(text):
    """A whole number from 1 up, for argparse."""
    number = natural_number(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def natural_number(text):
    """A whole number from 0 up, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def seed_number(text):
    """A seed, below 2**32, for argparse."""
    number = natural_number(text)
    if number >= 2**32:
        raise argparse.ArgumentTypeError("must be below 2**32")
    return number


def positive_float(text):
    """A finite number above 0, for argparse."""
    number = natural_float(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def natural_float(text):
    """A finite number from 0 up, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number from 0 up")
    return number


def fraction(text):
    """A number from 0 up and below 1, for argparse."""
    number = natural_float(text)
    if number >= 1:
        raise argparse.ArgumentTypeError("must be below 1")
    return number


def unit_list(text):
    """Sizes of layers such as 256,512, for argparse: a list of int; "none" is an empty one."""
    return [] if text == "none" else [positive_int(size) for size in text.split(",")]


def seed_list(text):
    """Two different seeds or more, such as 1,2, for argparse: a list of int."""
    seeds = [seed_number(seed) for seed in text.split(",")]
    if len(set(seeds)) < max(2, len(seeds)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of two different seeds or more")
    return seeds


def task_list(text):
    """Tasks such as 1,2,16-19, for argparse: a sorted list of int."""
    tasks = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal()) or not 1 <= int(first) <= int(last) <= 20:
            raise argparse.ArgumentTypeError(f"{part!r} is not a task from 1 to 20, nor a range of them")
        tasks.update(range(int(first), int(last) + 1))
    return sorted(tasks)


def add_babi_options(parser):
    """Add the group of options that say which bAbI questions to read."""
    add = parser.add_argument_group("data").add_argument
    add("--data", metavar="PATH", default="data/babi",
        help="folder or .tar.gz of the bAbI tasks v1.2; PATH/en is the 1k data, and so for the release's other folders (default "
        "%(default)s)")
    add("--tasks", type=task_list, metavar="LIST", default=list(range(1, 21)),
        help="tasks to train on jointly, such as 1,2,16-19 (default 1-20)")
    add("--validation", choices=("question", "story"), default="question",
        help="draw the tenth of each task's training questions that is for validation by question or by story; by story, no "
        "story has questions on both sides (default %(default)s)")


def add_padding_option(group, default):
    """Add the option that says what absent words and facts of bAbI are to a network."""
    group.add_argument(
        "--padding", choices=("read", "masked"),
        help="absent words and facts: read as the authors' programs do, words on the left and facts up to mx, or without any "
        f"influence (default {default}; with --evaluate or rd > 0 that of the weights)")


def add_batch_options(group, batch_size, clip_norm=None, of="questions"):
    """Add the options of a batch and its gradient, with a script's own defaults; `of` says what a batch is made of."""
    group.add_argument("--batch-size", type=positive_int, metavar="N", default=batch_size,
                       help=f"{of} in a training batch (default %(default)s)")
    group.add_argument("--clip-norm", type=positive_float, metavar="X", default=clip_norm,
                       help="the gradient's global norm is clipped at X (default " + ("no)" if clip_norm is None else "%(default)g)"))


def add_start_options(group):
    """Add the options that say what the weights start from."""
    group.add_argument(
        "--start", choices=("authors", "port", "uniform"), default="authors",
        help="initial values: of the authors' first version, on Keras 1; of their port to Keras 2; or uniform embeddings and the "
        "port's for the rest (default %(default)s)")
    group.add_argument(
        "--embedding-scale", type=positive_float, metavar="X",
        help="word embeddings start uniform between -X and X, whatever the start of the rest (default: as --start says, 0.05 for "
        "uniform)")


def run_script(main, kept):
    """Run a script's `main()`; bad input and an interruption end with one line on standard error.

    The exit status is 2 for input that cannot be used, 130 after Ctrl-C.

    Args:
        main: function without arguments.
        kept: str, what the reader should know of the state things are left in.
    """
    try:
        main()
    except DataError as error:
        sys.exit(_one_line(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(_one_line(f"{where}{error.strerror or error}; {kept}"))
    except MemoryError as error:
        sys.exit(_one_line(f"not enough memory ({error}); give smaller sizes; {kept}"))
    except KeyboardInterrupt:
        print(f"\nstopped; {kept}", file=sys.stderr)
        sys.exit(130)


def _one_line(error):
    print(f"{os.path.basename(sys.argv[0])}: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def write_whole(path, content):
    """Write bytes to a file whole or not at all: to a temporary file beside it, which then takes the name `path`."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")  # two processes may write the same, such as a cache
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"cannot be written ({error.strerror}); free some space or give another folder", path) from None
    finally:
        if os.path.lexists(temporary):
            os.remove(temporary)
