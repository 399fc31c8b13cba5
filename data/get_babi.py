#!/usr/bin/env python3
"""Download the bAbI tasks v1.2 and install them, checked file by file against the released ones.

The hashes of the folders en and en-10k are known here. The other folders of the release are installed where a source has all
of their files.

Weston et al. 2015, "Towards AI-Complete Question Answering: A Set of Prerequisite Toy Tasks", arXiv 1502.05698.
The tasks are under the Creative Commons Attribution 3.0 licence.
"""
import os

import fetch  # before the modules of the root: it adds their folder to the path
from training import command_line
import data_utils
from data_utils import RELEASE, DataError

ADDRESSES = (
    "http://www.thespermwhale.com/jaseweston/babi/tasks_1-20_v1-2.tar.gz",
    "https://s3.amazonaws.com/text-datasets/babi_tasks_1-20_v1-2.tar.gz",
)
NOTES = ("README.txt", "LICENSE.txt")  # installed where the archive has them
# The archive has 11.7 MB, and its largest task file 4.7.
DOWNLOAD_BYTES, FILE_BYTES, UNPACKED_BYTES = 50_000_000, 20_000_000, 1_000_000_000


def parse_arguments(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--from", dest="source", metavar="PATH", help="install from this archive or folder instead of the network")
    add("--out", metavar="DIR", default="data/babi", help=f"{RELEASE} is installed there (default %(default)s)")
    add("--allow-differing", action="store_true", help="with --from: install files that are not the released ones, too")
    args = parser.parse_args(argv)
    if args.allow_differing and args.source is None:
        parser.error("--allow-differing goes with --from PATH")
    return args


def file_names(manifest):
    """The names of all files of the release, such as "hn/qa1_single-supporting-fact_test.txt": dict from folder to list.

    Args:
        manifest: dict, see `data_utils.read_manifest`.
    """
    names = {variant: [f"{variant}/{name}" for name in data_utils.task_files(variant)] for variant in data_utils.VARIANTS}
    for variant in {os.path.dirname(name) for name in manifest}:
        names[variant] = [name for name in manifest if os.path.dirname(name) == variant]
    return names


def read_files(path, manifest):
    """Read the released files, and the notes beside them, from an archive or folder.

    Args:
        path: str.
        manifest: dict, see `data_utils.read_manifest`.
    Returns:
        dict from name to content: of the folders of the manifest all files, or none where the source has only other
        folders; of each other folder all files, or none where some are missing, which is printed.
    Raises:
        DataError: as `fetch.read_members`; files missing; two copies of the data.
    """
    names = file_names(manifest)
    every = [name for of_variant in names.values() for name in of_variant]
    known = {*every}

    def wanted(name):
        return "/".join(name.split("/")[-2:]) in known or name in NOTES or \
            name in {f"{RELEASE}/{note}" for note in NOTES}

    contents, bases = {}, set()
    for name, content in fetch.read_members(path, wanted, FILE_BYTES, UNPACKED_BYTES):
        contents[name] = content
        if os.path.basename(name) not in NOTES:
            bases.add(name.rpartition("/")[0].rpartition("/")[0])
            if len(bases) > 1:
                raise DataError(f"{path}: holds the tasks twice, in {' and '.join(repr(b) for b in sorted(bases))}; "
                                "give --from the folder of one of them")
    prefix = f"{base}/" if (base := "".join(bases)) else ""
    files = {name: contents[prefix + name] for name in (*every, *NOTES) if prefix + name in contents}
    for variant, of_variant in names.items():
        missing = [name for name in of_variant if name not in files]
        if missing and len(missing) < len(of_variant) and of_variant[0] not in manifest:
            print(f"{variant}: left out, since {len(missing)} of {len(of_variant)} files are missing: "
                  f"{fetch.listing(missing)}")
            files = {name: content for name, content in files.items() if name not in of_variant}
    missing = [name for name in manifest if name not in files]
    if missing and (len(missing) < len(manifest) or not {*files}.difference(NOTES)):
        raise DataError(f"{path}: {len(missing)} of {len(manifest)} files are missing: {fetch.listing(missing)}; "
                        f"give --from the whole {RELEASE}.tar.gz")
    return files


def differing_files(files, manifest):
    """Names of the files whose content is known not to be the released one."""
    return [name for name in manifest if name in files and data_utils.blob_hash(files[name]) != manifest[name]]


def read_installed(folder, manifest):
    """The files of the release that a folder has, notes included: dict from name to content."""
    installed = {}
    for name in (*NOTES, *(name for of_variant in file_names(manifest).values() for name in of_variant)):
        path = os.path.join(folder, *name.split("/"))
        if os.path.isfile(path) and os.path.getsize(path) <= FILE_BYTES:
            with open(path, "rb") as file:
                installed[name] = file.read()
    return installed


def difference(folder, installed, manifest):
    """What keeps a folder from being the release, as str; empty if it is the release."""
    if not os.path.isdir(folder):
        return "is not a folder"
    if os.path.exists(os.path.join(folder, fetch.SIMULATED)):
        return "holds simulated tasks"
    missing = [name for name in manifest if name not in installed]
    differing = differing_files(installed, manifest)
    found = [f"{len(names)} of {len(manifest)} files {what} ({fetch.listing(names)})"
             for names, what in ((missing, "are missing"), (differing, "are not the released ones")) if names]
    return "; ".join(found)


def download_files(part, manifest, addresses, out, **limits):
    """Download the release from the first address that has it.

    Args:
        part: str, path of the file to download into; it stays only where a download broke off.
        manifest: dict, see `data_utils.read_manifest`.
        addresses: iterable of str.
        out: str, the folder to name in the message.
        limits: seconds and the like, see `fetch.download`.
    Returns:
        dict from name to content.
    Raises:
        DataError: no address has it; the message says why, and what else there is.
    """
    failures = []
    for address in addresses:
        print(f"downloading {address}", flush=True)
        try:
            return _download_from(address, part, manifest, limits)
        except DataError as error:
            failures.append(f"{address} ({error})")
    kept = f" The same command goes on from {part}." if os.path.exists(part) else ""
    raise DataError(f"the tasks cannot be downloaded: {'; '.join(failures)}.{kept} Get {RELEASE}.tar.gz another way "
                    f"and give it with --from PATH, or simulate tasks: python data/simulate_babi.py --out {out}")


def _download_from(address, part, manifest, limits):
    while True:
        resumed = fetch.download(address, part, DOWNLOAD_BYTES, **limits)
        try:
            files = read_files(part, manifest)
            if not set(manifest) <= set(files):
                raise DataError(f"lacks the folders {' and '.join(sorted({os.path.dirname(name) for name in manifest}))}")
            differing = differing_files(files, manifest)
            if differing:
                raise DataError(f"{len(differing)} of {len(manifest)} files are not the released ones: "
                                f"{fetch.listing(differing)}")
            return files
        except DataError as error:
            if not resumed:  # else the fault may lie in what an earlier run left
                raise DataError(fetch.reason(error, part)) from None
        finally:
            os.remove(part)


def get(out, source=None, allow_differing=False, manifest=None, addresses=ADDRESSES, **limits):
    """Install the bAbI tasks in the folder `out`, whole or not at all.

    Args:
        out: str.
        source: str, an archive or folder; by default the network.
        allow_differing: bool, install files of `source` that are not the released ones, too.
        manifest: dict, see `data_utils.read_manifest`, which is the default.
        addresses: iterable of str, tried in turn.
        limits: seconds and the like, see `fetch.download`.
    Raises:
        DataError: the tasks cannot be had, or are not the released ones. What was there before is as it was.
    """
    manifest = manifest or data_utils.read_manifest()
    shown = os.path.join(out, RELEASE)
    target = os.path.realpath(shown)
    installed = {}
    if os.path.lexists(target):
        installed = read_installed(target, manifest)
        found = difference(target, installed, manifest)
        if not found and (source is None or not os.path.exists(source)):
            print(f"{shown}: already there, all {len(manifest)} files are the released ones"
                  + _folders(installed, manifest))
            return
        if found:
            print(f"{shown}: {found}; it stays until it can be replaced")
    with fetch.parent_folder(target):
        if source is None:
            files = download_files(f"{target}.tar.gz.part", manifest, addresses, out, **limits)
        else:
            files = read_files(source, manifest)
        differing = differing_files(files, manifest)
        if differing and not allow_differing:
            raise DataError(f"{source}: {len(differing)} of {len(manifest)} files are not the released ones: "
                            f"{fetch.listing(differing, 10)}; --allow-differing installs them all the same")
        simulated = os.path.exists(os.path.join(target, fetch.SIMULATED))
        tasks = {name: content for name, content in files.items() if name not in NOTES}
        if not simulated and all(installed.get(name) == content for name, content in tasks.items()):
            print(f"{shown}: already there, the same files as in {source}{_folders(tasks, manifest)}")
            return
        if not simulated:  # folders of the release that the source lacks stay
            replaced = {os.path.dirname(name) for name in tasks}
            files = {name: content for name, content in installed.items() if os.path.dirname(name) not in replaced} | files
            differing = differing_files(files, manifest)
        with fetch.temporary_folder(target) as new:
            for name, content in files.items():
                fetch.write_file(new, name, content)
            former = fetch.install(new, target)
    if former:
        print(f"the former folder, which has files of its own, is now {former}")
    compared = [name for name in manifest if name in files]
    print(f"{shown}: installed, {len(compared) - len(differing)} of {len(compared)} files are the released ones"
          + (f"; not the released ones: {', '.join(differing)}" if differing else "") + _folders(files, manifest))


def _folders(files, manifest):
    """A few words on the folders of some files, such as "; folders: en, hn; no hashes are known of hn"."""
    folders = sorted({os.path.dirname(name) for name in files}.difference([""]))
    others = [folder for folder in folders if folder not in {os.path.dirname(name) for name in manifest}]
    return f"; folders: {', '.join(folders)}" + (f"; no hashes are known of {', '.join(others)}" if others else "")


def main(argv=None):
    args = parse_arguments(argv)
    get(args.out, args.source, args.allow_differing)


if __name__ == "__main__":
    fetch.run_script(main)
