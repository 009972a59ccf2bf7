"""The file of a SQLite store: how it is created, known again and upgraded, and what SQLite's errors mean.

Everything here runs in a thread.
"""

import errno
import os
import shutil
import sqlite3
import stat
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, Literal, TypeVar

import msgspec

from caseassist.core.errors import CorruptRecord, StoreError, StoreFull, StoreUnavailable
from caseassist.core.records import Record, decode

__all__ = [
    "APPLICATION_ID",
    "MIGRATIONS",
    "OPENING_S",
    "RECENT_BYTES",
    "File",
    "Recent",
    "close",
    "connect",
    "create_file",
    "is_busy",
    "is_damage",
    "is_full",
    "open_claim",
    "open_file",
    "record_at",
    "storable",
    "store_error",
    "upgrade",
    "words",
]

T = TypeVar("T")

APPLICATION_ID: Final = 0x43415345
"""``CASE``: SQLite keeps it in the header, so that nobody takes another program's database for a store."""

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        # A session is known by a number within the file: the index on (session, seq) stays small, and what is appended
        # at the same time lies side by side in it. Session ids are random, mostly.
        """CREATE TABLE sessions (
            id INTEGER PRIMARY KEY,
            session_id TEXT NOT NULL UNIQUE,
            client_id TEXT,             -- NULL: it was erased
            open INTEGER NOT NULL       -- it has not ended
        )""",
        "CREATE INDEX sessions_of_client ON sessions (client_id)",
        "CREATE INDEX open_sessions ON sessions (id) WHERE open = 1",
        """CREATE TABLE records (
            position INTEGER PRIMARY KEY,
            session INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            record BLOB NOT NULL,       -- as a line of JSON
            UNIQUE (session, seq)
        )""",
        """CREATE TABLE sinks (
            name TEXT PRIMARY KEY,
            position INTEGER NOT NULL,
            dropped TEXT NOT NULL,      -- how many, by reason, in JSON
            aside INTEGER NOT NULL,     -- how many are in its quarantine: to count a million takes long
            ahead INTEGER NOT NULL      -- how many of these are beyond its position
        ) WITHOUT ROWID""",
        """CREATE TABLE quarantine (
            sink TEXT NOT NULL,
            position INTEGER NOT NULL,
            reason TEXT NOT NULL,
            status INTEGER,
            at TEXT NOT NULL,
            requested INTEGER NOT NULL,
            gone TEXT,                  -- delivered, or why it is dropped: known until the sink's position passes it
            PRIMARY KEY (sink, position)
        ) WITHOUT ROWID""",
        "CREATE INDEX quarantined_records ON quarantine (position)",
        # These are named where they are used: SQLite takes the whole primary key for as good as them.
        "CREATE INDEX gone_ahead ON quarantine (sink, position, gone) WHERE gone IS NOT NULL",
        "CREATE INDEX requested_records ON quarantine (sink, position) WHERE requested = 1 AND gone IS NULL",
        """CREATE TABLE erasing (
            session INTEGER PRIMARY KEY, -- it takes no more records, but those that it has are not erased yet
            client_id TEXT
        )""",
    ),
)
"""What makes a file of each version out of one of the version before, one statement at a time. A file's version is how
many of these it has seen."""

RECENT_BYTES = 4 * 1024 * 1024
"""How much is kept of what was appended a moment ago: some thousand records, a second of heavy traffic."""

LOG_PAGES = 4000
"""So many pages of 4 KiB are written to the write-ahead log before they are copied to their places in the file: with
SQLite's own 1000, one append in fifty waits for the copying under heavy traffic; with these, one in two hundred."""

OPENING_S = 10.0
"""How long opening waits for other processes that open, create or upgrade the same file."""

LEAST_SPACE_BYTES = 64 * 1024
"""With less space on the disk, an error of input or output means that it is full: SQLite's shared memory grows by 32
KiB at a time, for one."""

_NO_STORE = "its file {} is empty, and no store: give the path of one"

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_creating = Lock()


class Recent:
    """Records that were appended a moment ago, so that who delivers them need not decode them again: that takes several
    times as long as reading them.

    The bytes that are stored tell whether a record is still what it was. One thread adds, another one looks.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        # Not a dict, which looks for its first entry among all that were taken out of it.
        self._records: OrderedDict[int, tuple[bytes, Record]] = OrderedDict()

    def add(self, added: Iterable[tuple[int, bytes, Record]]) -> None:
        """Keep records that were committed, with their positions and lines, and let go of the oldest ones."""
        records = self._records
        size = self._bytes
        for position, line, record in added:
            records[position] = (line, record)
            size += len(line)
        while size > self._max_bytes:
            size -= len(records.popitem(last=False)[1][0])
        self._bytes = size

    def get(self, position: int, line: object) -> Record | None:
        """The record at a position, if it is still kept and those are its bytes."""
        kept = self._records.get(position)
        return kept[1] if kept is not None and kept[0] == line else None


def storable(text: str) -> str | None:
    """The text, or None (which equals nothing in SQL) if SQLite cannot have it: half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text


def record_at(position: int, line: object) -> Record:
    """The record that is stored at a position. Raises CorruptRecord, and UnsupportedRecord."""
    where = f"position {position}"
    if not isinstance(line, bytes):
        raise CorruptRecord("not a JSON object in UTF-8", where=where, position=position)
    try:
        return decode(line, where=where)
    except CorruptRecord as error:
        raise CorruptRecord(error.problem, where=where, position=position) from None


class File(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store is kept, and how."""

    path: Path
    durability: Literal["disk", "os"]
    create: bool = True
    """Whether to create it."""


def connect(path: Path, timeout_s: float) -> sqlite3.Connection:
    """Connect to a database: every connection of a store is made here.

    ``timeout_s``: how long SQLite waits in the thread for another process.
    """
    return sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def close(connection: sqlite3.Connection) -> None:
    """Close a connection. If that fails, there is nothing left to do with it."""
    with suppress(sqlite3.Error):
        connection.close()


def create_file(path: Path) -> None:
    """Make sure that there is a plain file, for its owner's eyes only.

    Raises StoreUnavailable if that cannot be.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        # Only a file that nobody else can have opened yet is opened here: when a process closes a file, all its locks
        # on it are gone, also those that SQLite has taken for another store in this process.
        with _creating, suppress(FileExistsError):
            os.close(os.open(path, flags, 0o600))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _no_space(path) from None
        raise StoreUnavailable(f"its file {path.name} cannot be created: {error.strerror}") from None
    _check_kind(path)


def _check_kind(path: Path, *, is_store: bool = False) -> None:
    """Raise StoreUnavailable unless there is a plain file, which is not empty if it is said to be a store."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise StoreUnavailable(f"there is no file {path.name}: give the path of one") from None
    except OSError as error:
        raise StoreUnavailable(f"its file {path.name} cannot be had: {error.strerror}") from None
    if stat.S_ISLNK(found.st_mode):
        raise StoreUnavailable(f"its path {path.name} is a symbolic link: give the path of the file itself")
    if not stat.S_ISREG(found.st_mode):
        raise StoreUnavailable(f"its path {path.name} is a directory or a device: give the path of a file")
    if is_store and not found.st_size:
        raise StoreUnavailable(_NO_STORE.format(path.name))


def open_file(file: File) -> sqlite3.Connection:
    """Create a store's file if there is none, upgrade an older one, and return a connection to write with.

    Raises StoreUnavailable if it cannot be had, is something else, or is of a newer version.
    """
    if file.create:
        create_file(file.path)
    else:
        _check_kind(file.path, is_store=True)
    return _patiently(lambda: _open(file), file.path)


def open_claim(path: Path) -> sqlite3.Connection | None:
    """Take a lock that other processes respect and that dies with this one. None if somebody else has it.

    It is SQLite's own lock on an empty database: it works on every system where the store does, and a process that is
    forked does not inherit it.
    """
    create_file(path)
    connection = connect(path, 0)
    try:
        connection.execute("PRAGMA journal_mode = MEMORY")  # it writes nothing: no use for a file
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        connection.close()
        if is_busy(error):
            return None
        raise store_error(error, path) from error
    return connection


def is_busy(error: sqlite3.Error) -> bool:
    """Whether it only means that another process is at work."""
    return _code(error) in _BUSY


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is damaged, or something else."""
    return _code(error) in _DAMAGED


def is_full(error: sqlite3.Error) -> bool:
    """Whether there is no space on the disk."""
    return _code(error) == sqlite3.SQLITE_FULL


def store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """Say what an error of SQLite means for the store in that file, and what to do.

    SQLite's own words are left out: they may quote data.
    """
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    code = _code(error)
    if is_full(error) or (code == sqlite3.SQLITE_IOERR and _has_no_space(path)):
        return _no_space(path)
    if is_busy(error):
        return StoreUnavailable(f"another process is writing to {path.name} ({name})")
    what = f"its file {path.name}"
    if code == sqlite3.SQLITE_CORRUPT:
        return StoreUnavailable(
            f"{what} is damaged ({name}): put back a copy, or see what .recover of the sqlite3 command can save"
        )
    if code == sqlite3.SQLITE_NOTADB:
        return StoreUnavailable(
            f"{what} is damaged, or no store ({name}): put back a copy, or give the path of a store"
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreUnavailable(f"{what} cannot be opened ({name}): see whether its folder is there and may be written")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreUnavailable(f"{what} may not be written ({name}): see the permissions of it and of its folder")
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(f"{what} cannot be read or written ({name}): see whether its disk works")
    return StoreUnavailable(f"{what} cannot be read or written ({name})")


def _has_no_space(path: Path) -> bool:
    """Whether there is so little space on the disk that this is why SQLite failed: it does not always say so."""
    try:
        return shutil.disk_usage(path.parent).free < LEAST_SPACE_BYTES
    except OSError:
        return False


def _no_space(path: Path) -> StoreFull:
    return StoreFull(f"no space on the disk of {path.name}", remedy="free some; the store goes on by itself")


def words(error: StoreError) -> str:
    """What is wrong, as part of a sentence."""
    return error.reason if isinstance(error, StoreUnavailable) else str(error)


def upgrade(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]]) -> None:
    """Bring a database to the newest version. Raises StoreUnavailable if it is something else, or newer."""
    while (version := _version(connection, len(migrations))) < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection, len(migrations)) == version:  # nobody else was faster
                for statement in migrations[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _open(file: File) -> sqlite3.Connection:
    connection = connect(file.path, 0.1)
    try:
        _check_content(connection, file)  # before anything is changed: it may be somebody else's
        _use_wal(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if file.durability == 'disk' else 'NORMAL'}")
        if sys.platform == "darwin":  # where the usual call leaves the data in the drive's own memory
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        upgrade(connection, MIGRATIONS)
        connection.execute("PRAGMA busy_timeout = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_content(connection: sqlite3.Connection, file: File) -> None:
    if not _version(connection, len(MIGRATIONS)) and not file.create:
        raise StoreUnavailable(_NO_STORE.format(file.path.name))


def _use_wal(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreUnavailable("its file system has no shared memory: put the file on a local disk")


def _version(connection: sqlite3.Connection, known: int) -> int:
    # The application id last: it comes in the same transaction as the others, and another process may be at it.
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    if application_id != APPLICATION_ID:
        if application_id or not empty:
            raise StoreUnavailable("its file is the database of another program: give the path of a file of its own")
        return 0
    if version > known:
        raise StoreUnavailable(
            f"its file has version {version} and this caseassist knows versions up to {known}: use a newer caseassist"
        )
    return version


def _patiently(function: Callable[[], T], path: Path) -> T:
    give_up_at = time.monotonic() + OPENING_S
    while True:
        try:
            return function()
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() > give_up_at:
                raise store_error(error, path) from error
        time.sleep(0.005)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
