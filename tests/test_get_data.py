"""The scripts that get data: downloads from the test's own server, sources of every kind, broken and hostile ones."""
import contextlib
import gzip
import http.server
import io
import json
import os
import random
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
import zlib

import pytest

from conftest import ROOT

import data_utils
import fetch
import get_babi
import get_nlvr
from data_utils import RELEASE, DataError, blob_hash

RANDOM = random.Random(7)
FILES = {f"{variant}/qa{task}_{split}.txt": RANDOM.randbytes(3000)  # so that archives of them do not get small
         for variant in ("en", "en-10k") for task in (1, 2) for split in ("train", "test")}
MANIFEST = {name: blob_hash(content) for name, content in FILES.items()}
NAME = "en-10k/qa2_train.txt"
QUICK = {"timeout": 0.5, "stall": 0.5}


# Servers and archives


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`: path -> content, or path -> function that answers the request itself."""

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        content = self.server.files.get(self.path)
        if callable(content):
            content(self)
        elif content is None:
            self.send_error(404)
        else:
            answer(self, content)

    def log_message(self, *_):
        pass


def answer(handler, content, sent=None, ranges=True):
    """Answer with a content, of which only the first `sent` bytes are sent before the connection closes."""
    wanted = handler.headers.get("Range") if ranges else None
    start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
    if start >= len(content) > 0:
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(content)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    handler.send_response(206 if wanted else 200)
    if wanted:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    handler.wfile.write(content[start:sent])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.files, server.requests = {}, []
        server.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def dead_address():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}/dead.tar.gz"  # bound, but nobody listens


def tar(files=FILES, members=(), base=f"{RELEASE}/", mode="w:gz"):
    """A .tar.gz of files and further TarInfo members, as bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(base + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return packed.getvalue()


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def zipped(files, base="", modes=None):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(base + name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return packed.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def write_folder(folder, files):
    for name, content in files.items():
        write(folder / name, content)
    return str(folder)


def snapshot(folder):
    """Every path under a folder with its content; None for a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")}


def get(out, source=None, **options):
    get_babi.get(str(out), source and str(source), manifest=MANIFEST, **({"addresses": ()} | options))


def installed(out):
    return {name: content for name, content in snapshot(out / RELEASE).items() if content is not None}


# bAbI from the network


def test_download(server, tmp_path, capsys):
    unwanted = {"en-valid/qa1_train.txt": b"x", "en/notes.txt": b"x", "hn/qa1_train.txt": b"x"}
    server.files["/a"] = tar({**unwanted, **FILES, "README.txt": b"read me"})
    get(tmp_path / "new" / "babi", addresses=[f"{server.address}/a"])
    assert installed(tmp_path / "new" / "babi") == {**FILES, "README.txt": b"read me"}
    assert os.listdir(tmp_path / "new" / "babi") == [RELEASE]
    assert "8 of 8 files are the released ones" in capsys.readouterr().out
    assert stat.S_IMODE(os.stat(tmp_path / "new" / "babi" / RELEASE).st_mode) == \
        stat.S_IMODE(os.stat(tmp_path / "new").st_mode)


def test_a_dead_address_is_followed_by_the_next(server, dead_address, tmp_path):
    server.files["/b"] = tar()
    get(tmp_path, addresses=[dead_address, f"{server.address}/missing", f"{server.address}/b"])
    assert installed(tmp_path) == FILES


def silent(handler):
    time.sleep(1)


def dripping(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    with contextlib.suppress(OSError):
        for _ in range(15):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.1)


@pytest.mark.parametrize("answering, said", [
    (silent, "no answer in 0.5 s"), (dripping, "stalled at"), (tar()[:-100], "damaged, cut short"),
    (tar({**FILES, NAME: b"other"}), f"1 of 8 files are not the released ones: {NAME}"),
    (tar({name: content for name, content in FILES.items() if name != NAME}), f"1 of 8 files are missing: {NAME}"),
    (b"<html>no such page</html>", "no archive")])
def test_a_bad_answer_is_followed_by_the_next_address(server, tmp_path, answering, said):
    server.files = {"/a": answering, "/b": tar()}
    get(tmp_path / "both", addresses=[f"{server.address}/a", f"{server.address}/b"], **QUICK)
    assert installed(tmp_path / "both") == FILES
    with pytest.raises(DataError, match=re.escape(said)):
        get(tmp_path / "one", addresses=[f"{server.address}/a"], **QUICK)
    assert answering is dripping or not (tmp_path / "one").exists()


def test_a_broken_connection_is_resumed(server, tmp_path):
    archive = tar()

    def breaking(handler):
        answer(handler, archive, sent=len(archive) * len(server.requests) // 3)

    server.files["/a"] = breaking
    get(tmp_path, addresses=[f"{server.address}/a"])
    assert installed(tmp_path) == FILES
    third = len(archive) // 3
    assert [wanted for _, wanted in server.requests] == [None, f"bytes={third}-", f"bytes={2 * len(archive) // 3}-"]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on_in_the_next_run(server, tmp_path, ranges):
    archive = tar()
    server.files["/a"] = lambda handler: answer(handler, archive, sent=500, ranges=ranges)
    address = f"{server.address}/a"
    with pytest.raises(DataError, match="closed after 500 of .*goes on from .*part"):
        get(tmp_path, addresses=[address])
    assert snapshot(tmp_path) == {f"{RELEASE}.tar.gz.part": archive[:500]}
    server.files["/a"] = lambda handler: answer(handler, archive, ranges=ranges)
    get(tmp_path, addresses=[address])
    assert server.requests[-1] == ("/a", "bytes=500-")
    assert installed(tmp_path) == FILES
    assert os.listdir(tmp_path) == [RELEASE]


def test_a_part_that_is_already_the_whole_file_is_used(server, tmp_path):
    server.files["/a"] = tar()
    write(tmp_path / f"{RELEASE}.tar.gz.part", tar())
    get(tmp_path, addresses=[f"{server.address}/a"])
    assert len(server.requests) == 1
    assert installed(tmp_path) == FILES


@pytest.mark.parametrize("part", [b"of another file" * 20, b"longer than the file" * 10_000])
def test_a_part_of_something_else_is_not_trusted(server, tmp_path, part):
    server.files["/a"] = tar()
    write(tmp_path / f"{RELEASE}.tar.gz.part", part)
    get(tmp_path, addresses=[f"{server.address}/a"])
    assert server.requests[-1] == ("/a", None)
    assert installed(tmp_path) == FILES
    assert os.listdir(tmp_path) == [RELEASE]


def test_an_endless_download_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(get_babi, "DOWNLOAD_BYTES", 5000)

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(1000):
                handler.wfile.write(bytes(1 << 16))

    server.files = {"/announced": bytes(6000), "/endless": endless}
    for path in server.files:
        with pytest.raises(DataError, match="more than the data can be"):
            get(tmp_path / "out", addresses=[server.address + path])
        assert not (tmp_path / "out").exists()


def test_without_a_network_the_message_names_addresses_reasons_and_ways_out(dead_address, tmp_path):
    with pytest.raises(DataError) as failure:
        get(tmp_path / "out", addresses=[dead_address, dead_address.replace("dead", "second")])
    message = str(failure.value)
    for part in (dead_address, "second.tar.gz", "Connection refused", "--from PATH",
                 f"python data/simulate_babi.py --out {tmp_path / 'out'}"):
        assert part in message
    assert os.listdir(tmp_path) == []


# bAbI from archives and folders


@pytest.mark.parametrize("make", [
    lambda path: write(path / "tasks.tar.gz", tar()),
    lambda path: write(path / "tasks.tar", tar(base="./", mode="w")),
    lambda path: write(path / "tasks.zip", zipped(FILES, f"{RELEASE}/")),
    lambda path: write_folder(path / RELEASE, FILES),
    lambda path: os.path.dirname(write_folder(path / "folder" / RELEASE, FILES))])
def test_from_archives_and_folders(tmp_path, make):
    get(tmp_path / "out", make(tmp_path))
    assert installed(tmp_path / "out") == FILES


OTHER_FOLDERS = {f"{variant}/{name}": f"{variant} {name}".encode()
                 for variant in ("en-valid", "hn") for name in data_utils.task_files(variant)}


def test_other_folders_of_the_release_are_installed_where_they_are_whole(tmp_path, capsys):
    part = {"shuffled/qa1_single-supporting-fact_test.txt": b"x"}
    source = write(tmp_path / "tasks.tar.gz", tar({**FILES, **OTHER_FOLDERS, **part}))
    get(tmp_path / "out", source)
    said = capsys.readouterr().out
    assert "shuffled: left out, since 39 of 40 files are missing" in said
    assert ("8 of 8 files are the released ones; folders: en, en-10k, en-valid, hn; no hashes are known of en-valid, hn\n"
            in said)
    assert installed(tmp_path / "out") == {**FILES, **OTHER_FOLDERS}
    before = snapshot(tmp_path)
    get(tmp_path / "out", source)
    get(tmp_path / "out")
    assert capsys.readouterr().out.count("already there") == 2
    assert snapshot(tmp_path) == before


def test_folders_that_a_source_lacks_stay(tmp_path, capsys):
    hindi = {name: content for name, content in OTHER_FOLDERS.items() if name.startswith("hn/")}
    get(tmp_path / "out", write(tmp_path / "tasks.tar.gz", tar({**FILES, "README.txt": b"read me"})))
    assert "8 of 8 files are the released ones; folders: en, en-10k\n" in capsys.readouterr().out
    get(tmp_path / "out", write_folder(tmp_path / "hindi", hindi))
    assert "folders: en, en-10k, hn; no hashes are known of hn\n" in capsys.readouterr().out
    assert installed(tmp_path / "out") == {**FILES, **hindi, "README.txt": b"read me"}
    assert os.listdir(tmp_path / "out") == [RELEASE]


def test_already_there_needs_nothing(server, tmp_path, capsys):
    write_folder(tmp_path / RELEASE, {**FILES, "mine.txt": b"mine"})
    before = snapshot(tmp_path)
    get(tmp_path, "/nowhere")
    get(tmp_path, addresses=[f"{server.address}/a"])
    assert not server.requests
    assert capsys.readouterr().out.count("already there, all 8 files are the released ones") == 2
    assert snapshot(tmp_path) == before


def test_differing_files_are_named_and_need_an_argument(tmp_path, capsys):
    source = write(tmp_path / "tasks.tar.gz", tar({**FILES, NAME: b"other"}))
    with pytest.raises(DataError, match=f"tasks.tar.gz: 1 of 8 .*{NAME}.*--allow-differing"):
        get(tmp_path / "out", source)
    assert not (tmp_path / "out").exists()
    get(tmp_path / "out", source, allow_differing=True)
    assert installed(tmp_path / "out") == {**FILES, NAME: b"other"}
    assert f"not the released ones: {NAME}" in capsys.readouterr().out
    get(tmp_path / "out", source, allow_differing=True)
    assert "already there, the same files" in capsys.readouterr().out
    assert os.listdir(tmp_path / "out") == [RELEASE]


# What was there before


@pytest.mark.parametrize("before", [
    {NAME: FILES[NAME]},  # a part of the release
    {**FILES, NAME: FILES[NAME][:50]},  # a file cut short
    {**{name: b"simulated" for name in FILES}, "SIMULATED.txt": b"seed 1"},
    {**FILES, "SIMULATED.txt": b""}, {}])
def test_damaged_and_simulated_folders_are_replaced(tmp_path, before):
    (tmp_path / "out" / RELEASE).mkdir(parents=True)
    write_folder(tmp_path / "out" / RELEASE, before)
    get(tmp_path / "out", write(tmp_path / "tasks.tar.gz", tar()))
    assert installed(tmp_path / "out") == FILES
    assert os.listdir(tmp_path / "out") == [RELEASE]


@pytest.mark.parametrize("before", [
    {**FILES, NAME: b"my version"}, {NAME: FILES[NAME], "mine.txt": b"mine"}, {NAME: FILES[NAME] + b"more"},
    {"en/qa1_train.txt": b"x", "mine.txt": b"mine", "SIMULATED.txt": b""}])
def test_files_of_the_user_are_kept_aside(tmp_path, capsys, before):
    write_folder(tmp_path / "out" / RELEASE, before)
    write(tmp_path / "out" / f"{RELEASE}.old-1" / "x", b"")
    get(tmp_path / "out", write(tmp_path / "tasks.tar.gz", tar()))
    assert installed(tmp_path / "out") == FILES
    kept = {name: content for name, content in snapshot(tmp_path / "out" / f"{RELEASE}.old-2").items()
            if content is not None}
    assert kept == before
    assert f"{RELEASE}.old-2" in capsys.readouterr().out


def test_a_file_or_a_link_in_the_place_of_the_folder(tmp_path):
    source = write(tmp_path / "tasks.tar.gz", tar())
    write(tmp_path / "file" / RELEASE, b"mine")
    get(tmp_path / "file", source)
    assert (tmp_path / "file" / f"{RELEASE}.old-1").read_bytes() == b"mine"
    (tmp_path / "link").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link" / RELEASE).symlink_to(tmp_path / "elsewhere")
    get(tmp_path / "link", source)
    assert (tmp_path / "link" / RELEASE).is_symlink()
    assert installed(tmp_path / "link") == FILES


def test_a_failed_rename_brings_the_former_folder_back(tmp_path, monkeypatch):
    write_folder(tmp_path / "out" / RELEASE, {NAME: b"mine"})
    before = snapshot(tmp_path / "out")
    rename = os.rename

    def failing(source, target):
        if ".new-" in source:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError):
        get(tmp_path / "out", write(tmp_path / "tasks.tar.gz", tar()))
    assert snapshot(tmp_path / "out") == before


@pytest.mark.parametrize("age, left", [(2 * 86400, []), (60, [f".{RELEASE}.new-killed"])])
def test_what_a_killed_run_left_is_removed_after_a_day(tmp_path, age, left):
    folder = tmp_path / "out" / f".{RELEASE}.new-killed"
    write_folder(folder, {"x": b"x"})
    os.utime(folder, (time.time() - age,) * 2)
    get(tmp_path / "out", write(tmp_path / "tasks.tar.gz", tar()))
    assert sorted(os.listdir(tmp_path / "out")) == [*left, RELEASE]


# Wrong, truncated and hostile archives

INSIDE = f"{RELEASE}/{NAME}"
OTHERS = {name: content for name, content in FILES.items() if name != NAME}
HOSTILE = {
    "empty": b"",
    "no archive": b"text" * 500,
    "truncated": tar()[:12_000],
    "truncated at the checksum": tar()[:-4],
    "truncated tar": tar(mode="w")[:-20_000],
    "damaged": tar()[:9000] + b"\0" * 50 + tar()[9050:],
    "only some files": tar(OTHERS),
    "a file twice": tar({**FILES, f"./{NAME}": b"x"}),
    "the data twice": tar({**FILES, f"copy/{NAME}": b"x"}),
    "absolute path": tar(members=[special("/tmp/escaped", tarfile.REGTYPE)]),
    "drive path": tar(members=[special("C:\\escaped", tarfile.REGTYPE)]),
    "path upwards": tar(members=[special(f"{RELEASE}/../../escaped", tarfile.REGTYPE)]),
    "path upwards to a wanted file": tar({**OTHERS, f"../../{NAME}": FILES[NAME]}),
    "symlink outside": tar(members=[special(f"{RELEASE}/link", tarfile.SYMTYPE, "../../../etc/passwd")]),
    "absolute symlink": tar(members=[special(f"{RELEASE}/link", tarfile.SYMTYPE, "/etc/passwd")]),
    "symlink as a file": tar(OTHERS, [special(INSIDE, tarfile.SYMTYPE, "qa1_train.txt")]),
    "hard link outside": tar(members=[special(f"{RELEASE}/link", tarfile.LNKTYPE, "../../etc/passwd")]),
    "hard link as a file": tar(OTHERS, [special(INSIDE, tarfile.LNKTYPE, f"{RELEASE}/en-10k/qa1_train.txt")]),
    "pipe": tar(members=[special(f"{RELEASE}/pipe", tarfile.FIFOTYPE)]),
    "pipe as a file": tar(OTHERS, [special(INSIDE, tarfile.FIFOTYPE)]),
    "device": tar(members=[special(f"{RELEASE}/zero", tarfile.CHRTYPE)]),
    "large file": tar({**OTHERS, NAME: bytes(30_000)}),
    "bomb": tar({**FILES, "other/bomb": bytes(3_000_000)}),
    "bomb after the archive": gzip.compress(gzip.decompress(tar()) + bytes(3_000_000)),
    "zip path upwards": zipped({**FILES, "../escaped": b"x"}),
    "zip symlink outside": zipped({**FILES, "link": b"/etc/passwd"}, modes={"link": stat.S_IFLNK | 0o777}),
    "zip symlink as a file": zipped({**FILES, NAME: b"qa1_train.txt"}, modes={NAME: stat.S_IFLNK | 0o777}),
    "zip pipe": zipped({**FILES, "pipe": b""}, modes={"pipe": stat.S_IFIFO | 0o644}),
    "zip large file": zipped({**FILES, NAME: bytes(30_000)}),
    "truncated zip": zipped(FILES)[:-50],
    "damaged zip": zipped(FILES)[:100] + b"\0" * 20 + zipped(FILES)[120:],
}


@pytest.mark.parametrize("archive", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("local", [True, False], ids=["local", "downloaded"])
def test_bad_archives_leave_everything_as_it_was(server, tmp_path, monkeypatch, archive, local):
    monkeypatch.setattr(get_babi, "FILE_BYTES", 20_000)
    monkeypatch.setattr(get_babi, "UNPACKED_BYTES", 1_000_000)
    write_folder(tmp_path / "out" / RELEASE, {NAME: b"mine"})
    server.files["/a"] = archive
    source = write(tmp_path / "source" / "tasks.tar.gz", archive) if local else None
    before = snapshot(tmp_path)
    for out in ("out", "new/babi"):
        with pytest.raises(DataError):
            get(tmp_path / out, source, allow_differing=True, addresses=[f"{server.address}/a"])
    assert snapshot(tmp_path) == before
    assert not os.path.exists("/tmp/escaped")


def test_a_link_elsewhere_in_the_archive_does_no_harm(tmp_path):
    links = [special(f"{RELEASE}/a/link", tarfile.SYMTYPE, "../en"),
             special(f"{RELEASE}/a/hard", tarfile.LNKTYPE, f"{RELEASE}/README.txt")]
    get(tmp_path / "out", write(tmp_path / "tasks.tar.gz", tar(members=links)))
    assert installed(tmp_path / "out") == FILES


# The command line


def run(script, *arguments, cwd):
    return subprocess.run([sys.executable, os.path.join(ROOT, "data", script), *map(str, arguments)], cwd=cwd,
                          capture_output=True, text=True, timeout=60, check=False)


def test_errors_are_one_line_and_status_2(tmp_path):
    for script in ("get_babi.py", "get_nlvr.py"):
        result = run(script, "--from", "missing.tar.gz", cwd=tmp_path)
        assert result.returncode == 2
        assert result.stderr == f"{script}: error: missing.tar.gz: no such file or folder; give --from the archive " \
                                "or its unpacked folder\n"
    result = run("get_babi.py", "--allow-differing", cwd=tmp_path)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_no_network_is_one_line_and_status_2(dead_address, tmp_path, monkeypatch):
    # A proxy that nobody answers stands for a missing network.
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, dead_address.removesuffix("/dead.tar.gz"))
    for variable in ("no_proxy", "NO_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    for script, addresses in (("get_babi.py", get_babi.ADDRESSES),
                              ("get_nlvr.py", (get_nlvr.REPOSITORY, get_nlvr.ARCHIVE))):
        result = run(script, cwd=tmp_path)
        assert result.returncode == 2, result.stderr
        assert result.stderr.count("\n") == 1
        assert all(address in result.stderr for address in addresses) and "--from PATH" in result.stderr
    assert os.listdir(tmp_path) == []


def test_the_real_data(real_babi, tmp_path):
    result = run("get_babi.py", "--from", real_babi, "--allow-differing", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"(79|80) of 80 files are the released ones", result.stdout)
    assert sorted(os.listdir(tmp_path / "data" / "babi" / RELEASE))[-2:] == ["en", "en-10k"]


# Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_tells_the_time_left_on_a_terminal_only(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        progress = fetch.Progress("downloading", 10_000_000, stream=stream)
        for second in (0, 1, 2):
            now[0] += 1
            progress.update(second * 1_000_000)
        assert stream.getvalue().endswith(
            "downloading [####................] 2.0 of 10.0 MB, 8 s left" if shown else "")
        assert bool(stream.getvalue()) == shown
        progress.close()


# NLVR


def png(seed=0):
    """A small PNG file."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes([0, seed]))) + chunk(b"IEND", b""))


def corpus(splits=("train", "dev", "test", "hidden"), examples=2):
    files = {}
    for split in splits:
        lines = []
        for example in range(examples):
            identifier, directory = f"{10 + example}-1", str(example % 2)
            lines.append({"identifier": identifier, "sentence": "There is a box.", "label": "true"}
                         | ({} if split == "hidden" else {"directory": directory}))
            for k in range(6):
                files[f"{split}/images/{directory}/{split}-{identifier}-{k}.png"] = png(k)
        files[f"{split}/{split}.json"] = "\n".join(map(json.dumps, lines)).encode()
    return files


CORPUS = corpus()
EXPECTED = dict.fromkeys(("train", "dev", "test", "hidden"), (12, 2))
IMAGE = "dev/images/1/dev-11-1-3.png"
AROUND = dict.fromkeys(("README.md", "nlvr2/data/dev.json", "nlvr/dev/examples.html", "nlvr/hidden/hidden2.json"), b"x")


def get_corpus(out, source=None, **options):
    get_nlvr.get(str(out), source and str(source), **({"expected": EXPECTED, "repository": "/nowhere/repository",
                                                       "archive": "http://127.0.0.1:9/archive"} | options))


def files_of(folder):
    return {name: content for name, content in snapshot(folder).items() if content is not None}


@pytest.mark.parametrize("make", [
    lambda path, files: write(path / "nlvr.zip", zipped(files, "nlvr-master/")),
    lambda path, files: write(path / "nlvr.tar.gz", tar(files, base="nlvr-master/")),
    lambda path, files: write_folder(path / "clone", {**files, ".git/nlvr/dev/dev.json": b"x"}),
    lambda path, files: os.path.join(write_folder(path / "clone", files), "nlvr")])
def test_nlvr_from_archives_and_folders(tmp_path, capsys, make):
    source = make(tmp_path, {**AROUND, **{f"nlvr/{name}": content for name, content in CORPUS.items()}})
    get_corpus(tmp_path / "out", source)
    assert files_of(tmp_path / "out") == CORPUS
    assert "train 2 examples with 12 images" in capsys.readouterr().out
    before = snapshot(tmp_path)
    get_corpus(tmp_path / "out", source)
    assert "already there, complete" in capsys.readouterr().out
    assert snapshot(tmp_path) == before


def test_nlvr_goes_on_without_the_hidden_split(tmp_path, capsys):
    three = corpus(("train", "dev", "test"))
    source = write_folder(tmp_path / "three", three)
    for files, said in ((three, "not in this copy"),
                        ({**three, "hidden/images/0/hidden-1-1-1.png": png()}, "left out, since hidden.json is")):
        get_corpus(tmp_path / f"out{len(files)}", write_folder(tmp_path / f"source{len(files)}", files))
        assert said in capsys.readouterr().out
        assert files_of(tmp_path / f"out{len(files)}") == three
    out = tmp_path / f"out{len(three)}"
    get_corpus(out)
    assert "without the hidden split" in capsys.readouterr().out
    get_corpus(out, source)
    assert "with all that" in capsys.readouterr().out
    get_corpus(out, write_folder(tmp_path / "four", CORPUS))
    assert files_of(out) == CORPUS


def test_nlvr_takes_the_hidden_examples_by_the_repositorys_name(tmp_path):
    renamed = {name.replace("hidden.json", "hidden_final.json"): content for name, content in CORPUS.items()}
    get_corpus(tmp_path / "out", write_folder(tmp_path / "clone", renamed))
    assert files_of(tmp_path / "out") == CORPUS


BROKEN = {
    "an image missing": (corpus(), {IMAGE: None}, "1 of 12 images are missing: dev-11-1-3.png"),
    "an image in another folder": (corpus(), {IMAGE: None, IMAGE.replace("/1/", "/0/"): png()}, "images are missing"),
    "an image more": (corpus(), {"dev/images/1/dev-12-1-3.png": png()}, "13 images, not 12"),
    "an image twice": (corpus(), {IMAGE.replace("/1/", "/0/"): png()}, "dev-11-1-3.png is in two folders, 0 and 1"),
    "an image cut short": (corpus(), {IMAGE: png()[:-5]}, "1 of 12 images are damaged"),
    "an image damaged": (corpus(), {IMAGE: png()[:-18] + b"x" + png()[-17:]}, "1 of 12 images are damaged"),
    "a split missing": (corpus(("train", "dev")), {}, "test.json is missing"),
    "too few examples": (corpus(examples=1), {}, "1 examples, not 2"),
    "an example cut short": (corpus(), {"dev/dev.json": CORPUS["dev/dev.json"][:-9]}, "dev.json, line 2"),
    "an example twice": (corpus(), {"dev/dev.json": CORPUS["dev/dev.json"].split(b"\n")[0] + b"\n"
                                    + CORPUS["dev/dev.json"].split(b"\n")[0]}, "comes twice"),
    "no label": (corpus(), {"dev/dev.json": CORPUS["dev/dev.json"].replace(b"true", b"maybe")}, "dev.json, line 1"),
}


@pytest.mark.parametrize("files, changes, said", BROKEN.values(), ids=BROKEN)
def test_an_incomplete_corpus_is_refused_and_an_installed_one_noticed(tmp_path, capsys, files, changes, said):
    files = {name: content for name, content in {**files, **changes}.items() if content is not None}
    source = write(tmp_path / "nlvr.zip", zipped(files, "nlvr-master/nlvr/"))
    write_folder(tmp_path / "out", {"dev/dev.json": b"mine"})
    before = snapshot(tmp_path)
    for out in ("out", "new/nlvr"):
        with pytest.raises(DataError, match=re.escape(said)):
            get_corpus(tmp_path / out, source)
    assert snapshot(tmp_path) == before
    capsys.readouterr()
    write_folder(tmp_path / "installed", files)
    get_corpus(tmp_path / "installed", write_folder(tmp_path / "whole", CORPUS))
    assert said in capsys.readouterr().out
    assert files_of(tmp_path / "installed") == CORPUS


def test_files_that_are_no_images_of_nlvr_are_left_alone(tmp_path, capsys):
    """By the script and by the training."""
    others = {IMAGE.replace("dev-11", "._dev-11"): b"AppleDouble", "dev/images/1/.DS_Store": b"x", "dev/images/._1": b"x",
              "dev/images/1/thumbnail.png": b"x", "dev/images/0/test-1-1-1.png": b"x", "dev/._dev.json": b"x"}
    get_corpus(tmp_path / "out", write(tmp_path / "nlvr.zip", zipped({**CORPUS, **others})))
    assert files_of(tmp_path / "out") == CORPUS
    write_folder(tmp_path / "out", others)
    get_corpus(tmp_path / "out")
    assert "already there, complete" in capsys.readouterr().out
    for split in EXPECTED:
        examples = data_utils.read_examples(str(tmp_path / "out" / split / f"{split}.json"))
        assert len(data_utils.find_images(str(tmp_path / "out"), split, examples)) == 12


HOSTILE_CORPORA = {
    "truncated": zipped(CORPUS)[:-30],
    "twice": zipped({**CORPUS, f"copy/{IMAGE}": png()}),
    "path upwards": zipped({**CORPUS, "../escaped": b""}),
    "symlink as an image": zipped({**CORPUS, IMAGE: b"dev-11-1-2.png"}, modes={IMAGE: stat.S_IFLNK | 0o777}),
    "symlink outside": tar({**CORPUS}, [special("link", tarfile.SYMTYPE, "/etc")], base="nlvr/"),
    "pipe": tar(CORPUS, [special("pipe", tarfile.FIFOTYPE)], base="nlvr/"),
    "bomb": tar({**CORPUS, "bomb": bytes(3_000_000)}, base="nlvr/"),
    "large image": zipped({**CORPUS, IMAGE: bytes(200_000)}),
}


@pytest.mark.parametrize("archive", HOSTILE_CORPORA.values(), ids=HOSTILE_CORPORA)
def test_bad_archives_of_nlvr_leave_everything_as_it_was(tmp_path, monkeypatch, archive):
    monkeypatch.setattr(get_nlvr, "FILE_BYTES", 100_000)
    monkeypatch.setattr(get_nlvr, "UNPACKED_BYTES", 1_000_000)
    write_folder(tmp_path / "out", {"dev/dev.json": b"mine"})
    source = write(tmp_path / "nlvr.zip", archive)
    before = snapshot(tmp_path)
    for out in ("out", "new/nlvr"):
        with pytest.raises(DataError):
            get_corpus(tmp_path / out, source)
    assert snapshot(tmp_path) == before


def test_nlvr_keeps_files_of_the_user(tmp_path):
    source = write_folder(tmp_path / "source", CORPUS)
    mine = {"dev/dev.json": b"mine", "notes.txt": b"mine"}
    write_folder(tmp_path / "own", mine)
    get_corpus(tmp_path / "own", source)
    assert files_of(tmp_path / "own.old-1") == mine
    assert files_of(tmp_path / "own") == CORPUS
    assert sorted(os.listdir(tmp_path)) == ["own", "own.old-1", "source"]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "repository"
    write_folder(folder, {**AROUND, **{f"nlvr/{name}": content for name, content in CORPUS.items()}})
    for command in (["init", "-q"], ["add", "."],
                    ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "Corpus"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    return f"file://{folder}"


def test_nlvr_by_git(repository, tmp_path):
    get_corpus(tmp_path / "data" / "nlvr", repository=repository)
    assert files_of(tmp_path / "data" / "nlvr") == CORPUS
    assert os.listdir(tmp_path / "data") == ["nlvr"]


@pytest.mark.parametrize("path", [None, ""], ids=["git fails", "no git"])
def test_nlvr_as_an_archive_where_git_fails(server, tmp_path, monkeypatch, path):
    if path is not None:
        monkeypatch.setenv("PATH", path)
    server.files["/nlvr.zip"] = zipped(CORPUS, "nlvr-master/nlvr/")
    get_corpus(tmp_path / "nlvr", archive=f"{server.address}/nlvr.zip")
    assert files_of(tmp_path / "nlvr") == CORPUS
    server.files["/nlvr.zip"] = server.files["/nlvr.zip"][:-50]
    with pytest.raises(DataError, match="repository.*nlvr.zip .damaged.*--from PATH"):
        get_corpus(tmp_path / "other", archive=f"{server.address}/nlvr.zip")
    assert os.listdir(tmp_path) == ["nlvr"]


def test_a_silent_repository_is_given_up(server, tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    server.files["/silent/info/refs?service=git-upload-pack"] = silent
    with pytest.raises(DataError, match="no answer in 0.3 s"):
        get_nlvr.clone(f"{server.address}/silent", str(tmp_path / "clone"), stall=0.3)
