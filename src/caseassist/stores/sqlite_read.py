"""The one who reads the file of a SQLite store, and the one who checks it. Everything here runs in a thread."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import msgspec

from caseassist.core.errors import CaseAssistError, CorruptRecord, StoreUnavailable, UnsupportedRecord
from caseassist.core.machine import LifeCycle
from caseassist.core.records import Record, decode
from caseassist.core.session import Session
from caseassist.stores import sqlite_file
from caseassist.stores.base import Quarantined, SinkState, Stored
from caseassist.stores.lane import Job
from caseassist.stores.sqlite_file import (
    File,
    Recent,
    close,
    is_busy,
    is_damage,
    open_claim,
    record_at,
    storable,
    store_error,
    words,
)

__all__ = ["Reader", "Reading", "check"]

T = TypeVar("T")

READ_TIMEOUT_S = 2.0
"""How long a reader waits in the thread: it only has to when another process recovers the file after a crash."""

PAGE = 1000
"""So many records or sessions are looked at in a row."""

_read_counts = msgspec.json.Decoder(dict[str, int]).decode
_read_reasons = msgspec.json.Decoder(dict[int, str], strict=False).decode


_ENTRY = "SELECT r.position, record, reason, status, at, requested FROM"
_OF_SINK = (
    f"{_ENTRY} quarantine AS q CROSS JOIN records AS r ON r.position = q.position"
    " WHERE sink = :sink AND q.position > :after AND gone IS NULL"
)
_REQUESTED = (
    f"{_ENTRY} quarantine AS q INDEXED BY requested_records CROSS JOIN records AS r ON r.position = q.position"
    " WHERE sink = :sink AND q.position > :after AND gone IS NULL AND requested = 1"
)
_OF_SESSION = (  # a session has few records, and a sink may have put aside a million
    f"{_ENTRY} records AS r CROSS JOIN quarantine AS q ON q.position = r.position"  # noqa: S608
    " WHERE session = (SELECT id FROM sessions WHERE session_id = :session_id)"
    " AND sink = :sink AND r.position > :after AND gone IS NULL"
)


class Reading(Job[T]):
    """Something to be read. ``undo``: what to do when its caller is gone by then."""

    __slots__ = ("function", "undo")

    def __init__(self, function: Callable[["Reader"], T], undo: Callable[[T | Exception], None] | None = None) -> None:
        super().__init__()
        self.function = function
        self.undo = undo

    def orphaned(self, outcome: T | Exception) -> None:
        if self.undo is not None:
            self.undo(outcome)


class Reader:
    """Reads from the file, and holds the claims of sinks."""

    def __init__(self, file: File, recent: Recent) -> None:
        self.file = file
        self._recent = recent
        self.problem = ""
        self._connection: sqlite3.Connection | None = None
        self._claims: dict[str, sqlite3.Connection] = {}

    # --- As a worker ------------------------------------------------------------------------------------------------

    def do(self, jobs: Sequence[Reading[Any]], begin: Callable[[], None]) -> Sequence[object]:
        """Do jobs one after the other: see :class:`Worker`."""
        begin()
        return [None if job.over else self._one(job) for job in jobs]

    def close(self) -> None:
        while self._claims:
            close(self._claims.popitem()[1])
        self._drop_connection()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection to the file, made anew if it was lost."""
        if self._connection is None:
            self._connection = _connect(self.file.path)
        return self._connection

    def open(self) -> None:
        """Connect. No record is looked at: a damaged file must be open to be checked."""
        self.connection.execute("PRAGMA user_version").fetchone()

    def _one(self, job: Reading[T]) -> T | Exception:
        try:
            outcome = job.function(self)
        except sqlite3.Error as error:
            failed = store_error(error, self.file.path)
            failed.__cause__ = error
            self.problem = words(failed)
            if not is_busy(error):
                self._drop_connection()
            return failed
        except CaseAssistError as error:
            return error
        except Exception as error:  # noqa: BLE001 (whatever it is: who waits is told, and the next ones are served)
            self.problem = f"reading failed with {type(error).__name__}"
            unavailable = StoreUnavailable(self.problem)
            unavailable.__cause__ = error
            return unavailable
        self.problem = ""
        return outcome

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            close(connection)

    # --- Records ----------------------------------------------------------------------------------------------------

    def load(self, session_id: str) -> Sequence[Record]:
        """Return the records of a session: see :meth:`Store.load`."""
        rows = self.connection.execute(
            "SELECT position, record FROM records"
            " WHERE session = (SELECT id FROM sessions WHERE session_id = ?) ORDER BY seq",
            (storable(session_id),),
        ).fetchall()
        return [record_at(position, line) for position, line in rows]

    def read(self, after: int, limit: int) -> Sequence[Stored]:
        """Return the records after a position: see :meth:`Store.read`."""
        rows = self.connection.execute(
            "SELECT position, record FROM records WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
        ).fetchall()
        recent = self._recent.get
        stored: list[Stored] = []
        for position, line in rows:
            try:
                stored.append((position, recent(position, line) or record_at(position, line)))
            except CorruptRecord:
                if stored:
                    break
                raise
        return stored

    def last_position(self) -> int:
        """Return the newest record's position: see :meth:`Store.last_position`."""
        position: int = self.connection.execute("SELECT ifnull(max(position), 0) FROM records").fetchone()[0]
        return position

    def count(self) -> tuple[int, int]:
        """Return how many records and sessions there are: see :meth:`SQLiteStore.count`."""
        counts: tuple[int, int] = self.connection.execute(
            "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM sessions)"
        ).fetchone()
        return counts

    def key(self, session_id: str) -> int:
        """Return the number of a session within the file; 0, which is before all, if there is no such session."""
        row = self.connection.execute(
            "SELECT id FROM sessions WHERE session_id = ?", (storable(session_id),)
        ).fetchone()
        return 0 if row is None else row[0]

    def sessions(self, prefix: str, limit: int) -> list[str]:
        """Return the ids that begin with a prefix, the greatest first: SQLite compares UTF-8, which has that order."""
        if (first := storable(prefix)) is None:
            return []
        found = self.connection.execute(
            "SELECT session_id FROM sessions WHERE session_id >= ? AND session_id < ? ORDER BY session_id DESC LIMIT ?",
            (first, f"{first}\U0010ffff", limit),
        )
        return [row[0] for row in found]

    def idle(self, before: datetime, after: int, limit: int) -> tuple[list[str], int | None]:
        """Return those idle of some sessions that come after a number, and where to go on."""
        sessions = self.connection.execute(
            "SELECT id, session_id, (SELECT record FROM records WHERE session = id ORDER BY seq DESC LIMIT 1)"
            " FROM sessions INDEXED BY open_sessions WHERE open = 1 AND id > ? ORDER BY id LIMIT ?",
            (after, PAGE),
        ).fetchall()
        found: list[str] = []
        for _, session_id, line in sessions:
            try:
                if line is not None and decode(line).time < before:
                    found.append(session_id)
            except CorruptRecord:
                continue  # it must not keep all others from ending; `check` names it
            if len(found) == limit:
                return found, None
        return found, sessions[-1][0] if len(sessions) == PAGE else None

    # --- Sinks ------------------------------------------------------------------------------------------------------

    def claim(self, sink: str, path: Path) -> bool:
        """Take the claim of a sink, which is a lock on a file: see :meth:`Store.claim`."""
        if sink in self._claims:
            return False
        connection = open_claim(path)
        if connection is None:
            return False
        self._claims[sink] = connection
        return True

    def release(self, sink: str) -> None:
        """Let go of a claim: see :meth:`Store.release`."""
        connection = self._claims.pop(sink, None)
        if connection is not None:
            close(connection)

    def sinks(self) -> Sequence[str]:
        """Return the names of sinks: see :meth:`Store.sinks`."""
        return [name for (name,) in self.connection.execute("SELECT name FROM sinks ORDER BY name").fetchall()]

    def state(self, sink: str) -> SinkState:
        """Return how far a sink has got: see :meth:`Store.state`."""
        row = self.connection.execute(
            "SELECT position, dropped, aside, ahead, (SELECT json_group_object(position, gone)"
            "  FROM quarantine INDEXED BY gone_ahead WHERE sink = :sink AND gone IS NOT NULL)"
            " FROM sinks WHERE name = :sink",
            {"sink": sink},
        ).fetchone()
        if row is None:
            return SinkState()
        position, dropped, aside, aside_ahead, gone = row
        return SinkState(
            position=position,
            dropped=_read_counts(dropped),
            quarantined=aside,
            quarantined_ahead=aside_ahead,
            resolved_ahead=_read_reasons(gone),
        )

    def quarantined(
        self, sink: str, session_id: str | None, requested: bool, after: int, limit: int
    ) -> Sequence[Quarantined]:
        """Return what was put aside: see :meth:`Store.quarantined`."""
        found: list[Quarantined] = []
        if session_id is not None:
            sql = f"{_OF_SESSION} {'AND requested = 1' if requested else ''} ORDER BY r.position"
        else:
            sql = f"{_REQUESTED if requested else _OF_SINK} ORDER BY q.position"
        name = None if session_id is None else storable(session_id)
        while len(found) < limit:
            wanted = limit - len(found)
            rows = self.connection.execute(
                f"{sql} LIMIT :limit",
                {"sink": sink, "after": after, "session_id": name, "limit": wanted},
            ).fetchall()
            for after, line, reason, status, at, asked in rows:
                try:
                    record = record_at(after, line)
                except CorruptRecord:
                    continue  # it must not keep the others from being seen; `check` names it
                found.append(
                    Quarantined(
                        position=after,
                        record=record,
                        reason=reason,
                        status=status,
                        at=datetime.fromisoformat(at),
                        requested=bool(asked),
                    )
                )
            if len(rows) < wanted:
                break
        return found


def check(file: File, life_cycle: LifeCycle, limit: int, stop: Event) -> list[CorruptRecord]:
    """Look at everything in the file: see :meth:`SQLiteStore.check`. ``stop`` ends it."""
    problems: list[CorruptRecord] = []
    connection = _connect(file.path)
    try:
        connection.set_progress_handler(lambda: int(stop.is_set()), 10_000)
        for problem in _problems(connection, life_cycle, limit):
            problems.append(problem)
            if len(problems) >= limit or stop.is_set():
                break
    except sqlite3.Error as error:
        if not is_damage(error):
            raise store_error(error, file.path) from error
        # It is so damaged that the rest cannot be looked at.
        problems.append(CorruptRecord(words(store_error(error, file.path)), where="the database"))
    finally:
        close(connection)
    return problems


def _problems(connection: sqlite3.Connection, life_cycle: LifeCycle, limit: int) -> Iterator[CorruptRecord]:
    for (found,) in connection.execute(f"PRAGMA integrity_check({limit:d})"):
        if found != "ok":
            yield CorruptRecord(found, where="the database")
    lost = (
        "SELECT q.sink, q.position FROM quarantine AS q LEFT JOIN records AS r USING (position) WHERE session IS NULL"
    )
    for sink, position in connection.execute(lost).fetchmany(limit):
        yield CorruptRecord(
            f"put aside for sink {sink!r}, but not there", where=f"position {position}", position=position
        )
    strays = "SELECT position FROM records WHERE session NOT IN (SELECT id FROM sessions)"
    for (position,) in connection.execute(strays).fetchmany(limit):
        yield CorruptRecord("it belongs to no session", where=f"position {position}", position=position)
    key, seq = 0, -1
    walk = _Walk(life_cycle)
    while True:  # a page at a time: a long look at one state of the file would keep its write-ahead log from ending
        page = connection.execute(
            "SELECT session, seq, position, session_id, record FROM records JOIN sessions ON id = session"
            " WHERE (session, seq) > (?, ?) ORDER BY session, seq LIMIT ?",
            (key, seq, PAGE),
        ).fetchall()
        for row in page:
            yield from walk.step(*row)
        if len(page) < PAGE:
            return
        key, seq = page[-1][:2]


class _Walk:
    """Goes through all records, session by session."""

    def __init__(self, life_cycle: LifeCycle) -> None:
        self._life_cycle = life_cycle
        self._key = 0
        self._next_seq = 0
        self._session: Session | None = None

    def step(self, key: int, seq: int, position: int, session_id: str, line: object) -> Iterator[CorruptRecord]:
        where = f"position {position}, record {seq} of session {session_id!r}"
        if key != self._key:
            self._key, self._next_seq = key, 0
            self._session = Session(id=session_id, life_cycle=self._life_cycle)
        if seq != self._next_seq:
            yield CorruptRecord(f"expected record {self._next_seq}: some are missing", where=where, position=position)
            self._session = None
        self._next_seq = seq + 1
        try:
            record = record_at(position, line)
            if (record.session_id, record.seq) != (session_id, seq):
                yield CorruptRecord("it says that it is another record", where=where, position=position)
                self._session = None
            if self._session is not None:
                self._session = self._session.apply(record)
        except UnsupportedRecord:  # fine: it is kept
            self._session = None
        except CorruptRecord as error:
            self._session = None
            yield CorruptRecord(error.problem, where=where, position=position)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite_file.connect(path, READ_TIMEOUT_S)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection
