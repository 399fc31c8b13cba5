#!/usr/bin/env python3
"""Download the NLVR corpus and install it, checked by its examples and their images.

Suhr, Lewis, Yeh, Artzi, "A Corpus of Natural Language for Visual Reasoning", ACL 2017. The corpus is under the Creative
Commons Attribution 4.0 licence.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import fetch  # before the modules of the root: it adds their folder to the path
from training import command_line
from data_utils import DataError, image_name, intact_png

REPOSITORY = "https://github.com/lil-lab/nlvr"
ARCHIVE = f"{REPOSITORY}/archive/refs/heads/master.zip"
SPLITS = {"train": (74460, 12410), "dev": (5934, 989), "test": (5940, 990), "hidden": (5910, 985)}  # images, examples
OPTIONAL = "hidden"  # was not published with the others
# An image has about 4 KB; the repository also holds the texts of a later corpus.
DOWNLOAD_BYTES, FILE_BYTES, UNPACKED_BYTES = 2_000_000_000, 100_000_000, 4_000_000_000
# The repository calls the last state of the hidden split's examples hidden_final.json.
_EXAMPLES = r"(?P<split>train|dev|test|hidden)/(?P=split)(_final)?\.json"
_IMAGE = r"(?P<image_split>train|dev|test|hidden)/images/[^/]+/(?P=image_split)-\d+-\d+-[0-5]\.png"
_CORPUS = re.compile(rf"(?P<base>(?:.*/)?)(?P<name>{_EXAMPLES}|{_IMAGE})")


def parse_arguments(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--from", dest="source", metavar="PATH",
        help="install from this clone, folder, .zip or .tar.gz of the repository instead of the network")
    add("--out", metavar="DIR", default="data/nlvr", help="the corpus is installed there (default %(default)s)")
    return parser.parse_args(argv)


# Checks


def split_faults(folder, split, images, examples, progress=None):
    """Check one split of an installed corpus: its counts, each example's six images, each image's checksums.

    Args:
        folder: str, which has SPLIT/SPLIT.json and SPLIT/images/*/SPLIT-n-m-k.png.
        split: str.
        images, examples: int, how many there must be.
        progress: function called after each image.
    Returns:
        str, what is wrong; empty if nothing is.
    """
    path = os.path.join(folder, split, f"{split}.json")
    if not os.path.isfile(path):
        return f"{split}.json is missing"
    try:
        directories = _read_examples(path)
    except (OSError, ValueError) as error:
        return f"{split}.json, {error}"
    if len(directories) != examples:
        return f"{split}.json has {len(directories):,} examples, not {examples:,}"
    found, damaged, named_so = {}, [], image_name(split)
    for directory in _folders(os.path.join(folder, split, "images")):
        for entry in os.scandir(directory.path):
            if named_so.fullmatch(entry.name) and entry.is_file():
                if entry.name in found:
                    return f"{entry.name} is in two folders, {' and '.join(sorted((found[entry.name], directory.name)))}"
                found[entry.name] = directory.name
                with open(entry.path, "rb") as file:
                    if not intact_png(file.read(FILE_BYTES)):
                        damaged.append(entry.name)
                if progress:
                    progress()
    missing = [name for identifier, directory in directories.items()
               for name in (f"{split}-{identifier}-{k}.png" for k in range(6))
               if name not in found or directory not in (None, found[name])]
    if missing:
        return f"{len(missing):,} of {images:,} images are missing: {fetch.listing(missing)}"
    if len(found) != images:
        return f"there are {len(found):,} images, not {images:,}"
    return f"{len(damaged):,} of {images:,} images are damaged: {fetch.listing(damaged)}" if damaged else ""


def _folders(path):
    return [entry for entry in os.scandir(path) if entry.is_dir()] if os.path.isdir(path) else []


def _read_examples(path):
    """Dict from each example's identifier to its directory, or to None where it has none. Raises ValueError."""
    directories = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                example = json.loads(line)
                identifier, sentence, label = (example[key] for key in ("identifier", "sentence", "label"))
                directory = example.get("directory")
                good = (re.fullmatch(r"\d+-\d+", identifier) and sentence.strip() and label in ("true", "false")
                        and (directory is None or isinstance(directory, str)))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                good = False
            if not good:
                raise ValueError(f"line {number}: not an example with identifier, sentence and label")
            if identifier in directories:
                raise ValueError(f"line {number}: example {identifier} comes twice")
            directories[identifier] = directory
    return directories


def corpus_faults(folder, expected):
    """Check every split; dict from split to what is wrong, empty strings where nothing is."""
    progress = fetch.Progress("checking", sum(images for images, _ in expected.values()), 1, "images")
    done = 0

    def checked():
        nonlocal done
        done += 1
        progress.update(done)

    try:
        return {split: split_faults(folder, split, *counts, progress=checked) for split, counts in expected.items()}
    finally:
        progress.close()


# Sources


def stage(path, new, expected):
    """Write the corpus that a clone, folder or archive holds into the folder `new`, and check it.

    Args:
        path, new: str.
        expected: dict from split to its images and examples.
    Returns:
        list of str, the splits that are there; a faulty optional split is removed.
    Raises:
        DataError: as `fetch.read_members`; a split that is missing or faulty; two copies of the corpus.
    """
    progress = fetch.Progress("copying", sum(images for images, _ in expected.values()), 1, "files")
    base = None
    try:
        members = fetch.read_members(path, _CORPUS.fullmatch, FILE_BYTES, UNPACKED_BYTES)
        for number, (name, content) in enumerate(members, start=1):
            match = _CORPUS.fullmatch(name)
            if (match["split"] or match["image_split"]) not in expected:
                continue
            base = match["base"] if base is None else base
            if match["base"] != base:
                raise DataError(f"{path}: holds the corpus twice, in {base!r} and {match['base']!r}; give --from the "
                                "folder of one of them")
            fetch.write_file(new, match["name"], content)
            progress.update(number)
    finally:
        progress.close()
    final = os.path.join(new, OPTIONAL, f"{OPTIONAL}_final.json")
    if os.path.exists(final):
        named = os.path.join(new, OPTIONAL, f"{OPTIONAL}.json")
        os.remove(final) if os.path.exists(named) else os.rename(final, named)
    faults = corpus_faults(new, expected)
    required = {split: fault for split, fault in faults.items() if fault and split != OPTIONAL}
    if required:
        raise DataError(f"{path}: {_described(required)}; give --from a whole copy of {REPOSITORY}")
    if faults.get(OPTIONAL):
        there = os.path.exists(os.path.join(new, OPTIONAL))
        print(f"{OPTIONAL}: {f'left out, since {faults[OPTIONAL]}' if there else 'not in this copy'}; "
              f"the other {len(expected) - 1} splits are complete")
        shutil.rmtree(os.path.join(new, OPTIONAL), ignore_errors=True)
    return [split for split, fault in faults.items() if not fault]


def _described(faults):
    return "; ".join(f"{split}: {fault}" for split, fault in faults.items())


def clone(repository, folder, stall=60):
    """Clone a repository's last state into a folder.

    Args:
        repository: str, its address.
        folder: str, empty.
        stall: float, seconds without a sign of life after which it is given up.
    Raises:
        DataError: why it failed, in a few words without the address.
    """
    if shutil.which("git") is None:
        raise DataError("git is not installed")
    process = subprocess.Popen(
        ["git", "-c", "core.symlinks=false", "clone", "--depth", "1", "--progress", "--", repository, folder],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"})
    said, stalled = b"", threading.Event()

    def give_up():
        stalled.set()
        _end(process)

    try:
        while True:
            watchdog = threading.Timer(stall, give_up)
            watchdog.daemon = True
            watchdog.start()
            heard = process.stderr.read1(4096)
            watchdog.cancel()
            if not heard:
                break
            said = (said + heard)[-4000:]
            if sys.stderr.isatty():
                sys.stderr.buffer.write(heard)
                sys.stderr.flush()
        status = process.wait()
    finally:
        _end(process)
        process.stderr.close()
    if stalled.is_set():
        raise DataError(f"git: no answer in {stall:g} s")
    if status:
        lines = [line for line in re.split(r"[\r\n]+", said.decode("utf-8", "replace")) if "fatal:" in line]
        reason = lines[0].partition("fatal: ")[2] if lines else f"git ended with status {status}"
        raise DataError(reason.replace(f"unable to access '{repository}/': ", ""))


def _end(process):
    # git works through child processes, which share its group.
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stage_from_network(target, new, expected, repository, archive, **limits):
    """Stage the corpus from its repository: by git, or else as the archive that the hosting site makes of it.

    Args:
        target: str, absolute path that will be installed.
        new, expected: see `stage`.
        repository, archive: str, addresses.
        limits: seconds and the like, see `fetch.download`.
    Returns:
        list of str, see `stage`.
    Raises:
        DataError: neither way works; the message says why, and what else there is.
    """
    failures, part = [], f"{target}.zip.part"
    try:
        print(f"cloning {repository}", flush=True)
        with fetch.temporary_folder(target) as cloned:
            clone(repository, cloned)
            return stage(cloned, new, expected)
    except DataError as error:
        failures.append(f"{repository} ({fetch.reason(error, cloned)})")
    while True:
        # What the first way left is not mixed with the second.
        shutil.rmtree(new)
        os.mkdir(new)
        try:
            print(f"downloading {archive}", flush=True)
            resumed = fetch.download(archive, part, DOWNLOAD_BYTES, **limits)
        except DataError as error:
            failures.append(f"{archive} ({error})")
            break
        try:
            return stage(part, new, expected)
        except DataError as error:
            if not resumed:
                failures.append(f"{archive} ({fetch.reason(error, part)})")
                break
        finally:
            os.remove(part)
    kept = f" The same command goes on from {part}." if os.path.exists(part) else ""
    raise DataError(f"the corpus cannot be downloaded: {'; '.join(failures)}.{kept} Get a clone or an archive of "
                    f"{REPOSITORY} another way and give it with --from PATH")


# Installing


def get(out, source=None, expected=None, repository=REPOSITORY, archive=ARCHIVE, **limits):
    """Install NLVR as the folder `out`, whole or not at all.

    Args:
        out: str.
        source: str, a clone, folder or archive; by default the network.
        expected: dict from split to its images and examples, by default `SPLITS`.
        repository, archive: str, addresses.
        limits: seconds and the like, see `fetch.download`.
    Raises:
        DataError: the corpus cannot be had, or is not complete. What was there before is as it was.
    """
    expected = expected or SPLITS
    target = os.path.realpath(out)
    complete = []
    if os.path.isdir(target) and any(os.scandir(target)):
        faults = corpus_faults(target, expected)
        complete = [split for split, fault in faults.items() if not fault]
        required = {split: fault for split, fault in faults.items() if fault and split != OPTIONAL}
        if not required and (len(complete) == len(expected) or source is None and not _has(target, OPTIONAL)):
            print(f"{out}: already there, complete: {_counted(complete, expected)}"
                  + ("" if len(complete) == len(expected) else f"; without the {OPTIONAL} split"))
            return
        print(f"{out}: {_described({split: fault for split, fault in faults.items() if fault})}; "
              "it stays until it can be replaced")
    elif os.path.lexists(target) and not os.path.isdir(target):
        print(f"{out}: is not a folder; it stays until it can be replaced")
    with fetch.parent_folder(target), fetch.temporary_folder(target) as new:
        if source is None:
            splits = stage_from_network(target, new, expected, repository, archive, **limits)
        else:
            splits = stage(source, new, expected)
        if complete and set(splits) <= set(complete):
            print(f"{out}: already there, with all that {source or repository} has: {_counted(complete, expected)}")
            return
        former = fetch.install(new, target)
    if former:
        print(f"the former folder, which has files of its own, is now {former}")
    print(f"{out}: installed, {_counted(splits, expected)}")


def _has(target, split):
    return os.path.exists(os.path.join(target, split))


def _counted(splits, expected):
    return ", ".join(f"{split} {expected[split][1]:,} examples with {expected[split][0]:,} images" for split in splits)


def main(argv=None):
    args = parse_arguments(argv)
    get(args.out, args.source)


if __name__ == "__main__":
    fetch.run_script(main)
