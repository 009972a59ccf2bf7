"""The one who writes to the file of a SQLite store: many jobs in one transaction. Everything here runs in a thread."""

import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from caseassist.core import erasure
from caseassist.core.errors import (
    AppendUnknown,
    CaseAssistError,
    CorruptRecord,
    PositionConflict,
    SequenceConflict,
    SessionErased,
    StoreFull,
    StoreUnavailable,
)
from caseassist.core.events import TicketCancel, TicketCreate
from caseassist.core.records import Record, decode, encode
from caseassist.stores.base import DELIVERED, Ack, Durability, Quarantined
from caseassist.stores.lane import Busy, Job
from caseassist.stores.sqlite_file import (
    File,
    Recent,
    close,
    is_busy,
    is_full,
    open_file,
    record_at,
    storable,
    store_error,
    words,
)

__all__ = ["MAX_PLACES", "Append", "Change", "Outside", "WriteJob", "Writer"]

T = TypeVar("T")
E = TypeVar("E", bound=CaseAssistError)

MAX_PLACES = 100_000
"""Of so many sessions it is remembered where they stand, so that an append needs no look at the file."""

ERASED_AT_ONCE = 1000
"""Records in one transaction of an erasure, or little more: others append in between."""

TRUNCATE_EVERY_S = 1.0
"""How often another try is made to cut off what was erased from the write-ahead log."""

_INSERT_SESSION = "INSERT INTO sessions (id, session_id, client_id, open) VALUES (?, ?, ?, ?)"
_INSERT_RECORD = "INSERT INTO records (position, session, seq, record) VALUES (?, ?, ?, ?)"
_AT_ONCE = 16
"""Rows that one statement inserts, where there are as many: some 5 % less time than one by one."""
_INSERT_RECORDS = _INSERT_RECORD + ", (?, ?, ?, ?)" * (_AT_ONCE - 1)
_END_SESSION = "UPDATE sessions SET open = 0 WHERE id = ?"
_PASSED = "SELECT gone, count(*) FROM quarantine WHERE sink = ? AND position > ? AND position <= ? GROUP BY gone"
_FORGET_PASSED = "DELETE FROM quarantine INDEXED BY gone_ahead WHERE sink = ? AND position <= ? AND gone IS NOT NULL"
_IS_ERASED = "SELECT 1 FROM records JOIN sessions ON id = session WHERE position = ? AND client_id IS NULL"
_PUT_ASIDE_OF = (  # in this order: it must not begin with the quarantine
    "SELECT q.sink, q.position, q.gone FROM records AS r CROSS JOIN quarantine AS q ON q.position = r.position"
    " WHERE r.session = ?"
)

_ENDS = frozenset({TicketCreate, TicketCancel})

_read_counts = msgspec.json.Decoder(dict[str, int]).decode
_write_counts = msgspec.json.Encoder().encode


class WriteJob(Job[T]):
    """What the writer does, within its transaction."""

    __slots__ = ()

    def run(self, writer: "Writer") -> T:
        """Do it. Unless it is alone, it changes nothing if it raises an error of ours."""
        raise NotImplementedError

    def failure(self, error: sqlite3.Error, path: Path, *, committing: bool) -> Exception:
        """What to raise when SQLite failed, perhaps while committing."""
        # What has no room was not written. Of other errors of a commit, the system does not say what became of it.
        return self.unknown() if committing and not is_full(error) else store_error(error, path)


class Append(WriteJob[Ack]):
    """Records of one session, to be appended."""

    __slots__ = ("lines", "records")

    def __init__(self, records: Sequence[Record], deadline: float) -> None:
        # Once for each append: spelled out, it takes half the time.
        self.deadline = deadline
        self.alone = self.over = self.ended = False
        self.outcome = self._wake = None
        self.records = tuple(records)  # what becomes of the caller's list is the caller's matter
        self.lines = [encode(record) for record in records]

    @property
    def session_id(self) -> str:
        """Whose records they are."""
        return self.records[0].session_id

    @property
    def seq(self) -> int:
        """The place of the first one."""
        return self.records[0].seq

    def run(self, writer: "Writer") -> Ack:
        return writer.append(self)

    def unknown(self) -> Exception:
        return AppendUnknown(self.session_id, self.seq)


class Change(WriteJob[T]):
    """Any other change."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[["Writer"], T], *, alone: bool = False) -> None:
        super().__init__(alone=alone)
        self.function = function

    def run(self, writer: "Writer") -> T:
        return self.function(writer)


class Outside(Change[T]):
    """What is done outside of a transaction."""

    __slots__ = ()

    def __init__(self, function: Callable[["Writer"], T]) -> None:
        super().__init__(function, alone=True)


class _Place:
    """Where a session stands."""

    __slots__ = ("erased", "key", "next_seq")

    def __init__(self, key: int, next_seq: int, erased: bool) -> None:
        self.key = key
        self.next_seq = next_seq
        self.erased = erased


class _Books:
    """What is kept of a sink: see :class:`SinkState`."""

    __slots__ = ("ahead", "aside", "dropped", "position")

    def __init__(self, position: int, dropped: dict[str, int], aside: int, ahead: int) -> None:
        self.position = position
        self.dropped = dropped
        self.aside = aside
        self.ahead = ahead

    def count(self, reason: str, number: int) -> None:
        """Records up to the position are dropped."""
        self.dropped[reason] = self.dropped.get(reason, 0) + number


class Writer:
    """Writes to the file.

    Positions are counted here, under SQLite's lock for writing, so they become visible in order. The record with the
    greatest position is never removed, so that no position is used again.
    """

    def __init__(self, file: File, max_bytes: int | None, recent: Recent) -> None:
        self.file = file
        self.recent = recent
        self.max_bytes = max_bytes
        self.problem = ""
        self.durability: Durability = file.durability
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._truncate_at: float | None = None
        self._room = 0
        self._data_version = -1
        self._last = self._last_key = 0
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._sessions: list[tuple[int, str, str | None, bool]] = []
        self._values: list[int | bytes] = []
        """Of the rows to be inserted, one after the other."""
        self._added: list[tuple[int, bytes, Record]] = []
        self._ended: list[tuple[int]] = []

    # --- As a worker ------------------------------------------------------------------------------------------------

    def do(self, jobs: Sequence[WriteJob[Any]], begin: Callable[[], None]) -> Sequence[object]:
        """Do jobs in one transaction: see :class:`Worker`."""
        first = jobs[0]
        committing = False
        try:
            if isinstance(first, Outside):
                begin()
                return [first.run(self)]
            connection = self.connection
            self._check_file()
            connection.execute("BEGIN IMMEDIATE")
            begin()
            outcomes = self._run(connection, jobs)
            committing = True
            connection.execute("COMMIT")
            self.recent.add(self._added)
            self._added = []
        except sqlite3.Error as error:
            self._roll_back()
            if is_busy(error) and not isinstance(first, Outside):
                raise Busy from None
            self.problem = words(store_error(error, self.file.path))
            return self._failed(jobs, error, committing, begin)
        except CaseAssistError as error:
            self._roll_back()
            if isinstance(error, StoreFull | StoreUnavailable):
                self.problem = words(error)
            return [error, *(_another(error) for _ in jobs[1:])]
        except Exception as error:  # noqa: BLE001 (whatever it is: those who wait are told, and the next ones served)
            self._roll_back()
            self.problem = f"writing failed with {type(error).__name__}"
            return [_caused(StoreUnavailable(self.problem), error) for _ in jobs]
        self.problem = next((str(outcome) for outcome in outcomes if isinstance(outcome, StoreFull)), "")
        if self._truncate_at is not None and time.monotonic() >= self._truncate_at:
            self._truncate_again()
        return outcomes

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            close(connection)

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection to the file, made anew if it was lost."""
        if self._connection is None:
            self._forget()
            self._connection = open_file(self.file)
            if self._identity is None:
                self._identity = _identity_of(self.file)
        return self._connection

    def open(self) -> bool:
        """Open the file; what was erased from it before is cut off from its write-ahead log.

        Returns whether an erasure was cut off: see :meth:`erase_more`.
        """
        connection = self.connection
        self.truncate()
        return connection.execute("SELECT 1 FROM erasing LIMIT 1").fetchone() is not None

    def truncate(self) -> bool:
        """Empty the write-ahead log, which holds what was overwritten. Returns False if readers are in the way."""
        try:
            busy = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error as error:
            if not is_busy(error):
                raise
            busy = 1
        if not busy:
            self._truncate_at = None
        return not busy

    def _check_file(self) -> None:
        """What is written to a file that has no name any more is lost."""
        try:
            same = _identity_of(self.file) == self._identity
        except OSError:
            same = False
        if not same:
            raise StoreUnavailable(f"its file {self.file.path.name} was removed or replaced; close it and open it anew")

    def _run(self, connection: sqlite3.Connection, jobs: Sequence[WriteJob[Any]]) -> Sequence[object]:
        data_version = connection.execute("PRAGMA data_version").fetchone()[0]
        if data_version != self._data_version:  # somebody else has written, or nothing is known yet
            self._forget()
            self._data_version = data_version
            self._last = connection.execute("SELECT ifnull(max(position), 0) FROM records").fetchone()[0]
            self._last_key = connection.execute("SELECT ifnull(max(id), 0) FROM sessions").fetchone()[0]
        if self.max_bytes is not None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            free = connection.execute("PRAGMA freelist_count").fetchone()[0]
            page_size = connection.execute("PRAGMA page_size").fetchone()[0]
            self._room = self.max_bytes - (pages - free) * page_size
        if jobs[0].alone:
            outcomes: list[object] = [None if jobs[0].over else jobs[0].run(self)]
        else:
            outcomes = []
            for job in jobs:
                try:
                    outcomes.append(None if job.over else job.run(self))
                except CaseAssistError as error:
                    outcomes.append(error)
        self._flush()
        return outcomes

    def _flush(self) -> None:
        connection = self.connection
        if self._sessions:
            connection.executemany(_INSERT_SESSION, self._sessions)
            self._sessions = []
        if self._values:
            values, self._values = self._values, []
            chunk = 4 * _AT_ONCE
            rest = len(values) - len(values) % chunk
            if rest:
                connection.executemany(_INSERT_RECORDS, [values[n : n + chunk] for n in range(0, rest, chunk)])
            if rest < len(values):
                connection.executemany(_INSERT_RECORD, [values[n : n + 4] for n in range(rest, len(values), 4)])
        if self._ended:
            connection.executemany(_END_SESSION, self._ended)
            self._ended = []

    def _failed(
        self, jobs: Sequence[WriteJob[Any]], error: sqlite3.Error, committing: bool, begin: Callable[[], None]
    ) -> Sequence[object]:
        outcomes: list[object] = [
            _caused(job.failure(error, self.file.path, committing=committing), error) for job in jobs
        ]
        if is_full(error):
            # Positions take almost no room. Without them, what was delivered would be delivered again.
            small = [index for index, job in enumerate(jobs) if not isinstance(job, Append)]
            if 0 < len(small) < len(jobs):
                problem = self.problem
                for index, outcome in zip(small, self.do([jobs[index] for index in small], begin), strict=True):
                    outcomes[index] = outcome
                self.problem = problem
        return outcomes

    def _roll_back(self) -> None:
        self._forget()
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass
        if connection.in_transaction:  # it is of no use any more
            self.close()

    def _forget(self) -> None:
        self._data_version = -1
        self._places.clear()
        self._sessions, self._values, self._ended, self._added = [], [], [], []

    def _truncate_again(self) -> None:
        self._truncate_at = time.monotonic() + TRUNCATE_EVERY_S
        try:
            self.truncate()
        except sqlite3.Error as error:
            self.problem = words(store_error(error, self.file.path))

    # --- Records ----------------------------------------------------------------------------------------------------

    def append(self, job: Append) -> Ack:
        """Append the records of one session: see :meth:`Store.append`."""
        session_id, seq = job.session_id, job.seq
        place = self._place(session_id)
        if place is None:
            if seq != 0:
                raise SequenceConflict(session_id, expected=seq, found=0)
        elif place.erased:
            raise SessionErased(session_id)
        elif place.next_seq != seq:
            return self._appended_before(job, place)
        if self.max_bytes is not None:
            self._take_room(sum(map(len, job.lines)))
        if place is None:
            place = self._add_session(session_id, job.records[0].context.client_id or "")
        position, key = self._last, place.key
        values, added = self._values, self._added
        for line, record in zip(job.lines, job.records, strict=True):
            position += 1
            values += (position, key, seq, line)
            added.append((position, line, record))
            seq += 1
            if type(record.event) in _ENDS:
                self._ended.append((key,))
        place.next_seq = seq
        self._last = position
        return Ack(position, self.durability)

    def import_records(self, records: Iterable[Record]) -> int:
        """Store records as they are: see :meth:`SQLiteStore.import_records`."""
        stored = 0
        for record in records:
            line = encode(record)
            client_id = record.context.client_id
            place = self._place(record.session_id)
            if place is not None:
                if record.seq < place.next_seq and (there := self._lines(place.key, record.seq, record.seq)):
                    if there[0][1] != line:
                        raise SequenceConflict(record.session_id, expected=record.seq, found=place.next_seq)
                    continue
                if place.erased and client_id is not None:
                    raise SessionErased(record.session_id)
            if self.max_bytes is not None:
                self._take_room(len(line))
            if place is None:
                place = self._add_session(record.session_id, client_id)
            self._last += 1
            self._values += (self._last, place.key, record.seq, line)
            place.next_seq = max(place.next_seq, record.seq + 1)
            if type(record.event) in _ENDS:
                self._ended.append((place.key,))
            stored += 1
        return stored

    def erase(self, session_id: str | None, client_id: str | None) -> Sequence[str]:
        """Let sessions take no more records, and begin to erase them: see :meth:`Store.erase`.

        Returns their ids. :meth:`erase_more` is to be called until nothing is left.
        """
        execute = self.connection.execute
        column, name = ("session_id", session_id or "") if client_id is None else ("client_id", client_id)
        which = (storable(name),)
        execute(f"INSERT OR IGNORE INTO erasing SELECT id, client_id FROM sessions WHERE {column} = ?", which)  # noqa: S608
        execute(f"UPDATE sessions SET client_id = NULL, open = 0 WHERE {column} = ?", which)  # noqa: S608
        # Among them are those that an erasure which was cut off has left.
        column = "s.session_id" if client_id is None else "e.client_id"
        found = execute(
            f"SELECT s.session_id FROM erasing AS e CROSS JOIN sessions AS s ON id = session WHERE {column} = ?",  # noqa: S608
            which,
        ).fetchall()
        for (erased_id,) in found:
            self._places.pop(erased_id, None)
        if found:
            self._truncate_at = 0.0
            self.erase_more()
        return sorted(erased_id for (erased_id,) in found)

    def erase_more(self) -> bool:
        """Take what is personal out of some of the sessions that are to be erased. Returns whether any are left."""
        execute = self.connection.execute
        room = ERASED_AT_ONCE
        for (key,) in execute("SELECT session FROM erasing ORDER BY session LIMIT ?", (ERASED_AT_ONCE,)).fetchall():
            if room <= 0:
                return True
            lines = self._lines(key)
            room -= max(len(lines), 1)
            for position, line in lines:
                left = _erased(position, line)
                if left != line:
                    execute("UPDATE records SET record = ? WHERE position = ?", (left, position))
            for sink, position, gone in execute(_PUT_ASIDE_OF, (key,)).fetchall():
                if gone is None:
                    self._take_out_chosen(sink, None, position, "erased")
            execute("DELETE FROM erasing WHERE session = ?", (key,))
        return execute("SELECT 1 FROM erasing LIMIT 1").fetchone() is not None

    def prune(self, before: datetime, after: int, limit: int) -> tuple[int, int | None]:
        """Remove ended sessions, of ``limit`` that come after a number. Returns how many, and where to go on."""
        execute = self.connection.execute
        newest = execute("SELECT ifnull(max(position), 0) FROM records").fetchone()[0]
        settled = execute("SELECT ifnull(min(position), ?) FROM sinks", (newest,)).fetchone()[0]
        ended = "SELECT id, session_id FROM sessions WHERE open = 0 AND id > ? ORDER BY id LIMIT ?"
        found = execute(ended, (after, limit)).fetchall()
        removed = 0
        for key, name in found:
            last, line = execute(
                # max() decides which row the other column is of
                "SELECT ifnull(max(position), 0), record FROM records WHERE session = ?",
                (key,),
            ).fetchone()
            if not 0 < last <= settled or last == newest or execute(_PUT_ASIDE_OF, (key,)).fetchone():
                continue
            try:
                old = decode(line).time < before
            except CorruptRecord:
                continue  # for `check` to find
            if old:
                execute("DELETE FROM records WHERE session = ?", (key,))
                execute("DELETE FROM sessions WHERE id = ?", (key,))
                execute("DELETE FROM erasing WHERE session = ?", (key,))  # or it would erase who gets that number
                self._places.pop(name, None)
                removed += 1
        return removed, found[-1][0] if len(found) == limit else None

    def _appended_before(self, job: Append, place: _Place) -> Ack:
        there = self._lines(place.key, job.seq, job.seq + len(job.lines) - 1)
        if [line for _, line in there] != job.lines:
            raise SequenceConflict(job.session_id, expected=job.seq, found=place.next_seq)
        return Ack(there[-1][0], self.durability)

    def _place(self, session_id: str) -> _Place | None:
        place = self._places.get(session_id)
        if place is not None:
            self._places.move_to_end(session_id)
            return place
        row = self.connection.execute(
            "SELECT id, (SELECT ifnull(max(seq) + 1, 0) FROM records WHERE session = id), client_id IS NULL"
            " FROM sessions WHERE session_id = ?",
            (session_id,),
        ).fetchone()
        return None if row is None else self._remember(session_id, _Place(row[0], row[1], bool(row[2])))

    def _add_session(self, session_id: str, client_id: str | None) -> _Place:
        self._last_key += 1
        self._sessions.append((self._last_key, session_id, client_id, client_id is not None))
        return self._remember(session_id, _Place(self._last_key, 0, client_id is None))

    def _remember(self, session_id: str, place: _Place) -> _Place:
        if len(self._places) >= MAX_PLACES:
            self._flush()  # or the forgotten one could not be found in the file
            self._places.popitem(last=False)
        self._places[session_id] = place
        return place

    def _take_room(self, size: int) -> None:
        if size > self._room:
            raise StoreFull(
                f"its limit is {self.max_bytes} bytes", remedy="prune it, see why sinks do not deliver, or raise it"
            )
        self._room -= size

    def _lines(self, key: int, first: int = 0, last: int = 2**62) -> list[tuple[int, bytes]]:
        """Records of a session, with their positions."""
        self._flush()
        return self.connection.execute(
            "SELECT position, record FROM records WHERE session = ? AND seq BETWEEN ? AND ? ORDER BY seq",
            (key, first, last),
        ).fetchall()

    # --- Sinks ------------------------------------------------------------------------------------------------------

    def forget_sink(self, sink: str) -> bool:
        """Know a sink no more: see :meth:`SQLiteStore.forget_sink`."""
        self.connection.execute("DELETE FROM quarantine WHERE sink = ?", (sink,))
        return self.connection.execute("DELETE FROM sinks WHERE name = ?", (sink,)).rowcount > 0

    def register(self, sink: str) -> None:
        """Know a sink from now on."""
        self.connection.execute("INSERT OR IGNORE INTO sinks VALUES (?, 0, '{}', 0, 0)", (sink,))

    def commit(
        self, sink: str, after: int, position: int, dropped: Mapping[str, int], quarantined: Sequence[Quarantined]
    ) -> None:
        """Move a sink's position: see :meth:`Store.commit`."""
        execute = self.connection.execute
        books = self._books(sink)
        if books.position != after:
            if books.position == position:
                return
            raise PositionConflict(sink, expected=after, found=books.position)
        if quarantined:
            self._flush()
        for entry in quarantined:
            added = execute(
                "INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (sink, entry.position, entry.reason, entry.status, entry.at.isoformat(), entry.requested),
            ).rowcount
            if added:
                books.aside += 1
                books.ahead += entry.position > after
                if execute(_IS_ERASED, (entry.position,)).fetchone():  # while it was on its way
                    self._take_out(books, *_chosen(sink, None, entry.position), "erased")
        # After what is put aside: a record that is taken out already stays so.
        passed = execute(_PASSED, (sink, after, position)).fetchall()
        for reason, number in (*dropped.items(), *passed):
            if reason is None:
                books.ahead -= number
            elif reason != DELIVERED:
                books.count(reason, number)
        if any(reason is not None for reason, _ in passed):
            execute(_FORGET_PASSED, (sink, position))
        books.position = position
        self._keep(sink, books)

    def request_resend(self, sink: str, session_id: str | None, position: int | None) -> int:
        """Mark what was put aside: see :meth:`Store.request_resend`."""
        where, values = _chosen(sink, session_id, position)
        return self.connection.execute(f"UPDATE quarantine SET requested = 1 WHERE {where}", values).rowcount  # noqa: S608

    def put_back(self, sink: str, entry: Quarantined) -> bool:
        """Replace what is kept of a record: see :meth:`Store.put_back`."""
        done = self.connection.execute(
            "UPDATE quarantine SET reason = ?, status = ?, at = ?, requested = ?"
            " WHERE sink = ? AND position = ? AND gone IS NULL",
            (entry.reason, entry.status, entry.at.isoformat(), entry.requested, sink, entry.position),
        )
        return done.rowcount > 0

    def resolve(self, sink: str, position: int) -> bool:
        """Take a record out of quarantine: see :meth:`Store.resolve`."""
        return self._take_out_chosen(sink, None, position, DELIVERED) > 0

    def drop(self, sink: str, session_id: str | None, position: int | None) -> int:
        """Drop what was put aside: see :meth:`Store.drop`."""
        return self._take_out_chosen(sink, session_id, position, "operator")

    def _take_out_chosen(self, sink: str, session_id: str | None, position: int | None, why: str) -> int:
        books = self._books(sink)
        where, values = _chosen(sink, session_id, position)
        taken = self._take_out(books, where, values, why)
        if taken:
            self._keep(sink, books)
        return taken

    def _take_out(self, books: "_Books", where: str, values: Sequence[object], why: str) -> int:
        """Take records out of quarantine. ``why``: ``delivered``, or the reason for which they are dropped.

        Beyond the sink's position they stay known, and cannot be counted yet. Returns how many there were.
        """
        execute = self.connection.execute
        # The + keeps SQLite from looking at all that is on one side of the position, instead of at the chosen ones.
        ahead = execute(
            f"UPDATE quarantine SET gone = ? WHERE {where} AND +position > ?",  # noqa: S608
            (why, *values, books.position),
        ).rowcount
        there = execute(f"DELETE FROM quarantine WHERE {where} AND +position <= ?", (*values, books.position)).rowcount  # noqa: S608
        books.aside -= ahead + there
        books.ahead -= ahead
        if there and why != DELIVERED:
            books.count(why, there)
        return ahead + there

    def _books(self, sink: str) -> "_Books":
        row = self.connection.execute(
            "SELECT position, dropped, aside, ahead FROM sinks WHERE name = ?", (sink,)
        ).fetchone()
        return _Books(0, {}, 0, 0) if row is None else _Books(row[0], _read_counts(row[1]), *row[2:])

    def _keep(self, sink: str, books: "_Books") -> None:
        self.connection.execute(
            "INSERT OR REPLACE INTO sinks VALUES (?, ?, ?, ?, ?)",
            (sink, books.position, _write_counts(books.dropped).decode(), books.aside, books.ahead),
        )


def _chosen(sink: str, session_id: str | None, position: int | None) -> tuple[str, Sequence[object]]:
    """A condition for what an operator means of a sink's quarantine, and its values."""
    where, values = "sink = ? AND gone IS NULL", [cast("object", sink)]
    if position is not None:
        where += " AND position = ?"
        values.append(position)
    if session_id is not None:
        where += (
            " AND position IN (SELECT position FROM records"
            " WHERE session = (SELECT id FROM sessions WHERE session_id = ?))"
        )
        values.append(storable(session_id))
    return where, values


def _erased(position: int, line: object) -> bytes:
    """What stays of a record. Nothing of one that cannot be read: who knows what it says."""
    try:
        return encode(erasure.erased(record_at(position, line)))
    except CorruptRecord:
        return b""


def _identity_of(file: File) -> tuple[int, int]:
    found = os.stat(file.path)  # noqa: PTH116 (for every transaction: a third of the time of the other way)
    return found.st_dev, found.st_ino


def _another(error: E) -> E:
    """The same error once more: each who waits raises one of their own. Not by its arguments: some take names only."""
    another = error.__class__.__new__(error.__class__, *error.args)
    another.__dict__.update(error.__dict__)
    another.__cause__ = error.__cause__
    return another


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error
