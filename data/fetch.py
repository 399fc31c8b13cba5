"""What the scripts that get the data share: downloads, archives read safely, folders installed whole, errors in a line.

An archive is never unpacked: its plain files are read in memory one by one, within limits, and the caller writes those
it wants into a temporary folder beside the target. The target changes by a rename, once all is there and checked.
"""
import contextlib
import gzip
import http.client
import os
import re
import shutil
import signal
import stat
import struct
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from training import command_line  # noqa: E402
from data_utils import SIMULATED, DataError  # noqa: E402

MEGABYTE = 1e6
_DAMAGE = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, ValueError,
           OverflowError)
_DAY = 86400


def run_script(main):
    """As `command_line.run_script`; a polite kill ends the script as Ctrl-C does, its temporary folders removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    command_line.run_script(main, "what was there before is as it was; the same command goes on")


def listing(names, most=3):
    """The first few of some names, for a message.

    >>> listing(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


class Progress:
    """A line on a terminal that tells how far something is and how long it still takes; silent elsewhere.

    Args:
        label: str, at most 30 characters.
        total: number or None, where it is unknown.
        scale, unit: what is counted; by default bytes, shown as MB.
        stream: text stream, by default standard error.
    """

    def __init__(self, label, total=None, scale=MEGABYTE, unit="MB", stream=None):
        self.label, self.total, self.scale, self.unit = label, total, scale, unit
        self.stream = stream or sys.stderr
        self.shown = self.stream.isatty()
        self.started, self.first, self.printed = time.monotonic(), None, 0.0

    def update(self, done):
        """Show that `done` of the total is done. The first call is where the time starts."""
        now = time.monotonic()
        if self.first is None:
            self.started, self.first = now, done
        if not self.shown or now - self.printed < 0.1:
            return
        self.printed = now
        amount = f"{done / self.scale:,.1f}" if self.scale != 1 else f"{done:,}"
        speed = (done - self.first) / max(now - self.started, 1e-3)
        if self.total:
            whole = f"{self.total / self.scale:,.1f}" if self.scale != 1 else f"{self.total:,}"
            filled = min(20, int(20 * done / self.total))
            left = f", {_duration((self.total - done) / speed)} left" if speed > 0 else ""
            amount = f"[{'#' * filled}{'.' * (20 - filled)}] {amount} of {whole}"
        else:
            left = ""
        self.stream.write(f"\r\033[K{self.label} {amount} {self.unit}{left}")
        self.stream.flush()

    def close(self):
        """Clear the line."""
        if self.shown and self.printed:
            self.stream.write("\r\033[K")
            self.stream.flush()


def _duration(seconds):
    seconds = max(0, round(seconds))
    return f"{seconds // 60} min {seconds % 60:02d} s" if seconds >= 60 else f"{seconds} s"


# Downloads


def download(address, part, limit, timeout=8, stall=20, slowest=2000, attempts=3):
    """Download a file, going on where an earlier download of it stopped if the server can do that.

    What `part` holds after an error is kept for the next time. Nothing here vouches for the content: check it, and
    after a failed check remove `part`.

    Args:
        address: str, http or https.
        part: str, path of the file; its folder is made.
        limit: int, bytes above which the download is refused.
        timeout: float, seconds to wait for a connection, and for any one answer.
        stall, slowest: seconds and bytes per second; a download slower than that over that time is given up.
        attempts: int, connections that may break before the address is given up, if each brought something.
    Returns:
        bool, whether a part of the file is from an earlier run.
    Raises:
        DataError: why it failed, in a few words without the address.
        OSError: `part` cannot be written.
    """
    resumed = _size(part) > 0
    for attempt in range(1, attempts + 1):
        before = _size(part)
        try:
            if _transfer(address, part, limit, timeout, stall, slowest):
                resumed = False
            return resumed
        except _Broken as error:
            if attempt == attempts or _size(part) <= before:
                raise DataError(str(error)) from None


class _Broken(Exception):
    """A connection that failed; the message says why."""


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def _transfer(address, part, limit, timeout, stall, slowest):
    """One connection of `download`. Returns whether the file came from its first byte on."""
    start = _size(part)
    try:
        response = _open(address, start, timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not start:
            raise _Broken(f"HTTP {error.code} {error.reason}") from None
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return False  # the part is the whole file
        os.remove(part)
        return _transfer(address, part, limit, timeout, stall, slowest)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Broken(_reason(error, timeout)) from None
    with response:
        ranged = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if response.status == 206 and ranged and int(ranged[1]) == start:
            total = int(ranged[2])
        elif response.status == 200:
            start, total = 0, int(response.headers.get("Content-Length") or 0) or None
        else:
            raise _Broken(f"an unexpected answer, HTTP {response.status}")
        if total and total > limit:
            raise DataError(f"{total / MEGABYTE:,.0f} MB, which is more than the data can be")
        os.makedirs(os.path.dirname(part) or ".", exist_ok=True)
        with open(part, "ab" if start else "wb") as file:
            done = _receive(response, file, start, total, limit, timeout, stall, slowest)
    if total and done < total:
        raise _Broken(f"the connection closed after {done:,} of {total:,} bytes")
    return start == 0


def _open(address, start, timeout):
    headers = {"User-Agent": "working-memory-networks", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=timeout)


def _receive(response, file, done, total, limit, timeout, stall, slowest):
    progress = Progress("downloading", total)
    window, window_done = time.monotonic(), done
    try:
        while True:
            try:
                # read1 returns what one answer brought; read would wait for its whole count however slowly it comes.
                chunk = response.read1(1 << 16)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise _Broken(f"{_reason(error, timeout)} after {done:,} bytes") from None
            if not chunk:
                return done
            file.write(chunk)
            done += len(chunk)
            progress.update(done)
            if done > limit:
                os.remove(file.name)
                raise DataError(f"more than {limit / MEGABYTE:,.0f} MB, which is more than the data can be")
            now = time.monotonic()
            if now - window > stall:
                if done - window_done < slowest * stall:
                    raise _Broken(f"stalled at {done:,} bytes")
                window, window_done = now, done
    finally:
        progress.close()


def _reason(error, timeout):
    error = getattr(error, "reason", error)
    if isinstance(error, TimeoutError):
        return f"no answer in {timeout:g} s"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


# Reading folders and archives


def read_members(path, wanted, member_bytes, total_bytes):
    """Read the wanted plain files of a folder, a .tar, .tar.gz or .zip, one after the other, each whole in memory.

    Args:
        path: str.
        wanted: function from a name, "folder/file", to whether to read it.
        member_bytes: int, the most that one file may hold.
        total_bytes: int, the most that all may hold; of a .tar.gz, the most that it may unpack to.
    Yields:
        name and content (bytes) of a file.
    Raises:
        DataError: nothing there; damaged; a name that leaves the archive or comes twice; a link that leaves it or
            stands for a wanted file; devices and pipes; more than the limits.
    """
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder; give --from the archive or its unpacked folder")
    if not os.path.isdir(path) and not os.path.isfile(path):
        raise DataError(f"{path}: neither a file nor a folder; give --from the archive or its unpacked folder")
    seen = set()
    try:
        reader = _read_folder if os.path.isdir(path) else _read_zip if _is_zip(path) else _read_tar
        for name, content in reader(path, wanted, member_bytes, total_bytes):
            if name in seen:
                raise _hostile(path, name, "comes twice")
            seen.add(name)
            yield name, content
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{path}: damaged, cut short, or no archive ({error or type(error).__name__}); "
                        "get it again") from None


def reason(error, path):
    """A `DataError` about a downloaded file as a reason: without the path, which is temporary, and the mend."""
    return re.sub(r"; (this is not the archive as released, )?(get it again|give --from .*)$", "",
                  str(error).removeprefix(f"{path}: "))


def _hostile(path, name, what):
    return DataError(f"{path}: {name[:80]!r} {what}; this is not the archive as released, get it again")


def _clean_name(path, name):
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or ".." in parts:
        raise _hostile(path, name, "lies outside the archive")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _check_link(path, name, target, wanted):
    # A link elsewhere in a repository is harmless, since nothing is unpacked, and no reason to refuse the rest.
    inside = os.path.normpath(os.path.join(os.path.dirname(name), target))
    if target.startswith("/") or inside.split("/")[0] == "..":
        raise _hostile(path, name, f"is a link to {target[:80]!r}, outside the archive")
    if wanted(name):
        raise _hostile(path, name, "is a link, not a file")


def _check_size(path, name, size, member_bytes):
    if size > member_bytes:
        raise _hostile(path, name, f"has {size:,} bytes, more than such a file can have")


def _is_zip(path):
    with open(path, "rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _read_folder(path, wanted, member_bytes, total_bytes):
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name != ".git")
        for file_name in sorted(files):
            full = os.path.join(folder, file_name)
            name = os.path.relpath(full, path).replace(os.sep, "/")
            if not wanted(name) or not os.path.isfile(full):
                continue
            _check_size(path, name, os.path.getsize(full), member_bytes)
            with open(full, "rb") as file:
                content = file.read(member_bytes)
            total_bytes -= len(content)
            if total_bytes < 0:
                raise _hostile(path, name, "exceeds what the data can be")
            yield name, content


class _Limited:
    """A readable file that ends with an error where `single` bytes are asked for at once, or `total` in all."""

    def __init__(self, file, path, single, total):
        self.file, self.path, self.single, self.total = file, path, single, total

    def read(self, size):
        self._check(size <= self.single and self.tell() + size <= self.total)
        return self.file.read(size)

    def seek(self, position):
        self._check(position <= self.total)
        return self.file.seek(position)

    def tell(self):
        return self.file.tell()

    def _check(self, fits):
        if not fits:
            raise DataError(f"{self.path}: unpacks to more than {self.total / MEGABYTE:,.0f} MB, which is more than "
                            "the data can be; this is not the archive as released, get it again")


def _read_tar(path, wanted, member_bytes, total_bytes):
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = _Limited(gzip.GzipFile(fileobj=file) if packed else file, path, member_bytes + (1 << 16), total_bytes)
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # tarfile would keep millions of empty members in memory
                name = _clean_name(path, member.name)
                if member.issym():
                    _check_link(path, name, member.linkname, wanted)
                elif member.islnk():
                    # The target of a hard link counts from the archive's root.
                    _check_link(path, name, os.path.relpath(_clean_name(path, member.linkname), os.path.dirname(name)),
                                wanted)
                elif not member.isfile() and not member.isdir():
                    raise _hostile(path, name, "is a device or a pipe")
                elif member.isfile() and wanted(name):
                    _check_size(path, name, member.size, member_bytes)
                    yield name, archive.extractfile(member).read()
        while stream.read(1 << 16):  # to the end, where gzip's checksum is compared
            pass


def _read_zip(path, wanted, member_bytes, total_bytes):
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = _clean_name(path, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                continue
            if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
                raise _hostile(path, name, "is a device or a pipe")
            if kind != stat.S_IFLNK and not wanted(name):
                continue
            _check_size(path, name, info.file_size, member_bytes if kind != stat.S_IFLNK else 4096)
            total_bytes -= info.file_size
            if total_bytes < 0:
                raise _hostile(path, name, "exceeds what the data can be")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _hostile(path, name, "is packed in a way that is not read here")
            content = archive.read(info)
            if kind == stat.S_IFLNK:
                _check_link(path, name, content.decode("utf-8", "replace"), wanted)
            else:
                yield name, content


# Folders installed whole


@contextlib.contextmanager
def parent_folder(target):
    """Make the folder that `target` lies in; at the end remove again what was made and stayed empty."""
    made, folder = [], os.path.dirname(target)
    while not os.path.exists(folder):
        made.append(folder)
        folder = os.path.dirname(folder)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for folder in made:
                os.rmdir(folder)


@contextlib.contextmanager
def temporary_folder(target):
    """An empty folder beside `target`, on the same disk; it is gone at the end, whatever happens.

    Args:
        target: str, absolute path.
    Yields:
        str, its path.
    """
    beside, name = os.path.split(target)
    prefix = f".{name}.new-"
    for other in os.listdir(beside):
        # Left by a run that was killed; another run may be at work in a younger one.
        if other.startswith(prefix) and time.time() - os.path.getmtime(os.path.join(beside, other)) > _DAY:
            shutil.rmtree(os.path.join(beside, other), ignore_errors=True)
    temporary = tempfile.mkdtemp(prefix=prefix, dir=beside)
    folder = os.path.join(temporary, name)
    try:
        os.mkdir(folder)  # mkdtemp's own folder is closed to other users
        yield folder
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(folder, name, content):
    """Write a new file under a folder, with the folders between."""
    path = os.path.join(folder, *name.split("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "xb") as file:
        file.write(content)


def install(new, target):
    """Give a complete folder its name. What has that name already is deleted if the new one makes up for it.

    It does so for files of the same name that are equal, or cut short; and for all files of the same name in a folder
    marked by SIMULATED.txt. A folder with anything else, which may be someone's work, is kept as `target`.old-1, 2, ...

    Args:
        new: str, the complete folder, on the disk of `target`.
        target: str, absolute path.
    Returns:
        str, where the former folder is now; None if there was none or it is deleted.
    Raises:
        OSError: the target is as it was.
    """
    if not os.path.lexists(target):
        os.rename(new, target)
        return None
    disposable = _made_up_for(target, new)
    number = 1
    while os.path.lexists(former := f"{target}.old-{number}"):
        number += 1
    try:
        os.rename(target, former)
        os.rename(new, target)
    except BaseException:
        if os.path.lexists(former) and not os.path.lexists(target):
            os.rename(former, target)
        raise
    if not disposable:
        return former
    shutil.rmtree(former, ignore_errors=True)
    return None


def _made_up_for(old, new):
    if not os.path.isdir(old):
        return False
    simulated = os.path.isfile(os.path.join(old, SIMULATED))
    for folder, folders, files in os.walk(old):
        if any(os.path.islink(os.path.join(folder, name)) for name in folders):
            return False
        for name in files:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, old)
            if simulated and relative == SIMULATED:
                continue
            replacement = os.path.join(new, relative)
            if os.path.islink(path) or not os.path.isfile(path) or not os.path.isfile(replacement):
                return False
            if not simulated and not _begins_with(replacement, path):
                return False
    return True


def _begins_with(whole, beginning):
    if os.path.getsize(beginning) > os.path.getsize(whole):
        return False
    with open(whole, "rb") as whole, open(beginning, "rb") as beginning:
        while content := beginning.read(1 << 20):
            if whole.read(len(content)) != content:
                return False
    return True
