"""The sink in a file: one record, one line of JSON.

The promise is about lines: whatever fails, a file holds whole lines only, or is made so before the next one is written.
Everything here runs in a worker thread, one call at a time; the event loop only waits.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO

from anyio import CancelScope, to_thread

from caseassist.core.errors import CorruptRecord, SinkUnavailable
from caseassist.core.records import Record, decode, encode_lines
from caseassist.sinks.base import Sink

__all__ = ["FileSink"]

_FLAGS: int = (
    os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)  # Python adds O_CLOEXEC itself (PEP 446).

_MODE = 0o600
"""Records are personal data: for the owner only."""

_BLOCK_BYTES = 1 << 20
"""How much of a file is looked at in one go. A longer last line is taken as torn without trying to read it."""


class FileSink(Sink):
    """Appends records to a file, a batch at a time.

    When :meth:`deliver` returns, the batch was handed to the operating system, which survives the death of the process;
    with ``fsync`` also to the disk, which survives the loss of power (on macOS as far as ``fsync`` goes there: the
    drive may still hold it in its cache). There is no buffer in between.

    A batch that cannot be written whole is cut off again before SinkUnavailable is raised, so the file holds no torn
    line and a retry makes no duplicate. A torn last line that a crash left behind is saved as ``<path>.torn-1`` (or the
    next free number) and cut off before the first batch is written. If it only lacks its newline, it gets one.

    A file that was moved or deleted by somebody else, such as logrotate, is noticed and begun anew (not on Windows,
    where an open file stays where it is). The mode of an existing file is left as it is; a new one gets 0600, which
    Windows ignores. Several sinks or processes that write the same file are *not* supported: nothing detects it, and
    one may cut off what another has written.

    Cancellation waits for the write in progress, however long the disk takes; the batch then counts as delivered.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        batch_records: int = 1024,
        linger_s: float = 0.05,
        max_bytes: int | None = None,
        backups: int | None = None,
        fsync: bool = False,
    ) -> None:
        """Name the file; :meth:`open` opens it.

        ``path``: a regular file or none yet, in a directory that exists. The file itself must not be a symbolic link.
        ``name``: of the sink's position in the store; default ``file:`` and the absolute path.
        ``batch_records``: records per write, ≥ 1; default 1024. (To go to a thread and back can take as long as to
        encode 256 of them.)
        ``linger_s``: seconds to wait for a batch to fill, ≥ 0; default 0.05.
        ``max_bytes``: bytes, ≥ 1, that a file should not exceed; default None, no limit. The batch that would exceed it
        goes to a new file, and the full one is renamed to ``<path>.1``, that one before to ``<path>.2``, and so on.
        A batch is never split: one that is larger on its own gets a file to itself.
        ``backups``: how many renamed files stay, ≥ 1, the oldest being deleted; default None, all. Needs ``max_bytes``.
        ``fsync``: whether each batch is synced to the disk, and the name of each new file; default False.

        Raises ValueError for an option out of its range.
        """
        if batch_records < 1:
            raise ValueError(f"batch_records must be at least 1, not {batch_records}")
        if not linger_s >= 0:
            raise ValueError(f"linger_s must be at least 0 seconds, not {linger_s}")
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        if backups is not None and (backups < 1 or max_bytes is None):
            raise ValueError(f"backups must be at least 1 and needs max_bytes, not {backups} with {max_bytes}")
        self._path = Path(path).absolute()
        self.name = f"file:{self._path}" if name is None else name
        self.batch_records = batch_records
        self.linger_s = linger_s
        self._max_bytes = max_bytes
        self._backups = backups
        self._fsync = fsync
        self._fd: int | None = None
        self._mended = False
        """Whether the open file was looked at: it has whole lines and, with ``fsync``, a name that lasts."""
        self._cut_at: int | None = None
        """Length to cut the open file to, while a batch is not wholly written."""
        # A shielded thread call is waited for, but asyncio's own Task.cancel() gets past anyio's shield and leaves the
        # thread running. With the lock, whoever comes next waits until it is through, in a thread of its own.
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    async def open(self) -> None:
        """Open the file, or create it. What is in it is left alone until the first batch is written.

        Raises SinkUnavailable when the path is no regular file, its directory is missing, or access is denied.
        """
        await to_thread.run_sync(self._locked, self._open)

    async def deliver(self, records: Sequence[Record]) -> None:
        """Append records, all or none. Opens the file if it is not open.

        Raises SinkUnavailable, with ``delivered`` 0, when that fails for any reason.
        """
        await to_thread.run_sync(self._locked, partial(self._append, records))

    async def aclose(self) -> None:
        """Close the file, even when cancelled. Doing it twice is fine."""
        with CancelScope(shield=True):
            await to_thread.run_sync(self._locked, self._release)

    def _locked(self, work: Callable[[], object]) -> None:
        with self._lock, _as_unavailable(self._path):
            work()

    def _append(self, records: Sequence[Record]) -> None:
        lines = encode_lines(records)
        fd, self._cut_at = self._ready(len(lines))
        try:
            _write_all(fd, lines)
            if self._fsync:
                os.fsync(fd)
        except OSError:
            with suppress(OSError):  # then before the next batch
                self._cut_back(fd)
            raise
        self._cut_at = None

    def _ready(self, coming_bytes: int) -> tuple[int, int]:
        """Return the descriptor and the length of a file of whole lines with room for what is coming."""
        if self._fd is not None and self._was_replaced(self._fd):
            self._release()
        fd = self._open()
        self._cut_back(fd)
        if not self._mended:
            _mend(fd, self._path)
            if self._fsync:
                _sync_directory(self._path.parent)
            self._mended = True
        size = os.fstat(fd).st_size
        if self._max_bytes is None or size == 0 or size + coming_bytes <= self._max_bytes:
            return fd, size
        self._release()  # Windows renames no open file.
        self._rotate()
        return self._ready(coming_bytes)

    def _open(self) -> int:
        if self._fd is None:
            _refuse_misfit(self._path)
            try:
                self._fd = os.open(self._path, _FLAGS, _MODE)
            except FileNotFoundError as exc:
                why = f"there is no directory {self._path.parent}; create it first"
                raise SinkUnavailable(f"cannot write {self._path}: {why}") from exc
            self._mended = False
        return self._fd

    def _release(self) -> None:
        fd, self._fd = self._fd, None
        if fd is None:
            return
        with suppress(OSError):  # What stays torn is mended when the file is opened again.
            self._cut_back(fd)
        self._cut_at = None
        with suppress(OSError):  # The descriptor is gone either way, and what was promised of the data was kept.
            os.close(fd)

    def _cut_back(self, fd: int) -> None:
        """Remove what is there of a batch that could not be written."""
        if self._cut_at is not None:
            if os.fstat(fd).st_size > self._cut_at:  # never lengthen: somebody may have emptied the file
                os.ftruncate(fd, self._cut_at)
            self._cut_at = None

    def _was_replaced(self, fd: int) -> bool:
        if os.name == "nt":  # pragma: no cover
            return False
        there = _lstat(self._path)
        return there is None or not os.path.samestat(there, os.fstat(fd))

    def _rotate(self) -> None:
        """Rename the files, oldest first, into the first free number (or over the last that may stay).

        A crash or an error half way leaves a number free, which the next try fills: no file is lost or out of order.
        """
        free = 1
        while free != self._backups and _lstat(self._numbered(free)) is not None:
            free += 1
        for n in range(free, 0, -1):
            self._numbered(n - 1).replace(self._numbered(n))
        if self._backups is not None:
            surplus = self._backups + 1  # left by a sink that kept more
            while _lstat(self._numbered(surplus)) is not None:
                self._numbered(surplus).unlink()
                surplus += 1

    def _numbered(self, n: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{n}") if n else self._path


@contextmanager
def _as_unavailable(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as exc:
        raise SinkUnavailable(f"cannot write {path}: {exc}") from exc


def _refuse_misfit(path: Path) -> None:
    """Say clearly what the system would say darkly, or only after it has waited for the other end of a pipe."""
    there = _lstat(path)
    if there is None or stat.S_ISREG(there.st_mode):
        return
    if stat.S_ISLNK(there.st_mode):
        # Followed, it would let whoever may write the directory choose which of our files is appended to.
        raise SinkUnavailable(f"cannot write {path}: it is a symbolic link; name the file that it points to")
    kind = "a directory" if stat.S_ISDIR(there.st_mode) else "a pipe, socket or device"
    raise SinkUnavailable(f"cannot write {path}: it is {kind}, not a regular file")


def _lstat(path: Path) -> os.stat_result | None:
    """Return what is at the path itself, or None if there is nothing. Other errors do not pass for nothing."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = os.write(fd, rest)
        if not written:
            raise OSError(errno.EIO, "no error, but nothing was written")
        rest = rest[written:]


def _mend(fd: int, path: Path) -> None:
    """End the last line of the file, or save it beside the file and cut it off.

    A line without its newline was never reported as delivered. If it is a record all the same (a strict prefix of a
    JSON object never is), somebody's editor has left out the newline.
    """
    with os.fdopen(fd, "rb", closefd=False) as file:
        size = file.seek(0, os.SEEK_END)
        start = _last_line_start(file, size)
        if start == size:
            return
        file.seek(start)
        if size - start <= _BLOCK_BYTES and _is_record(file.read()):
            _write_all(fd, b"\n")
            return
        file.seek(start)
        beside, copy = _create_beside(path)
        try:
            with copy:
                copyfileobj(file, copy)
                copy.flush()
                os.fsync(copy.fileno())
            _sync_directory(path.parent)
            os.ftruncate(fd, start)
        except OSError:
            with suppress(OSError):  # Nothing was cut off; a disk that is full need not fill up with copies.
                beside.unlink()
            raise


def _last_line_start(file: BinaryIO, size: int) -> int:
    """Return the offset after the last newline, looking from the end: the file may be large, and so may the line."""
    end = size
    while end:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _is_record(line: bytes) -> bool:
    try:
        decode(line)
    except CorruptRecord:
        return False
    return True


def _create_beside(path: Path) -> tuple[Path, BinaryIO]:
    flags: int = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    n = 1
    while True:
        beside = path.with_name(f"{path.name}.torn-{n}")
        try:
            return beside, os.fdopen(os.open(beside, flags, _MODE), "wb")
        except FileExistsError:
            n += 1


def _sync_directory(directory: Path) -> None:
    """Make new names in a directory survive the loss of power. Windows has no means to ask for it."""
    if os.name == "nt":  # pragma: no cover
        return
    try:
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        # Not every file system can, and not every directory may be read. PostgreSQL (fsync_fname) passes over the same.
        if exc.errno not in {errno.EACCES, errno.EBADF, errno.EINVAL}:
            raise
