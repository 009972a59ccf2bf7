"""The store in a SQLite file: what is recorded survives, and several processes can share it."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event as ThreadEvent
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from anyio import CancelScope, CapacityLimiter, Event, sleep, to_thread

from caseassist.background import Ticker
from caseassist.core.errors import CorruptRecord, Forked, StoreError, StoreUnavailable
from caseassist.core.machine import LIFE_CYCLE, LifeCycle
from caseassist.core.records import Record
from caseassist.stores.base import (
    Ack,
    Durability,
    Quarantined,
    SinkState,
    Store,
    Stored,
    StoreHealth,
    check_batch,
)
from caseassist.stores.lane import BUSY_S, Job, Lane
from caseassist.stores.sqlite_file import RECENT_BYTES, File, Recent
from caseassist.stores.sqlite_read import Reader, Reading, check
from caseassist.stores.sqlite_write import Append, Change, Outside, Writer

__all__ = ["SQLiteStore"]

T = TypeVar("T")

IMPORTED_AT_ONCE = 500
"""Records in one transaction of an import: long enough to be fast, short enough for others to have their turn."""

PRUNED_AT_ONCE = 200
"""Sessions that are looked at in one transaction of pruning."""

TRUNCATE_TRIES = 20
TRUNCATE_PAUSE_S = 0.05
"""An erasure waits up to a second for readers that keep the write-ahead log from being emptied."""


_open_files: dict[object, tuple[Path, int]] = {}
"""The files that are open, and in which process: one entry for each store.

A process that is forked inherits what SQLite knows of its parent's locks, and takes them for its own: it must not open
a file that was open then. https://www.sqlite.org/howtocorrupt.html, section 2.6.
"""


def _note_open(opened: object, path: Path) -> None:
    """Raise Forked if the file was open when this process was forked from another one."""
    if any(where == path and pid != os.getpid() for where, pid in list(_open_files.values())):
        raise Forked
    _open_files[opened] = (path, os.getpid())


class _Opened:
    """What there is while the store is open: one lane for writing and one for reading, and who keeps the deadlines."""

    def __init__(self, file: File, max_bytes: int | None) -> None:
        self.file = file
        self.pid = os.getpid()
        recent = Recent(RECENT_BYTES)
        self._left = {"writer", "reader"}
        """Who may have the file open."""
        self.writer = Lane(Writer(file, max_bytes, recent), lambda: self._closed("writer"))
        self.reader = Lane(Reader(file, recent), lambda: self._closed("reader"))
        self.ticker = Ticker(self._tick)
        _note_open(self, file.path)

    async def _tick(self) -> bool:
        return self.writer.expire(monotonic())

    def _closed(self, lane: str) -> None:  # in a thread, perhaps
        self._left.discard(lane)
        if not self._left:
            _open_files.pop(self, None)

    def close_soon(self) -> None:
        # The last connection to close empties the write-ahead log. If both closed at once, none would be the last.
        self.reader.close_soon()
        self.writer.close_soon(after=self.reader)

    async def wait_closed(self) -> None:
        """Return when both are closed. Cancelled, they close in the background, and nobody waits for them any more."""
        try:
            await self.reader.wait_closed()
            await self.writer.wait_closed()
        except BaseException:
            self.writer.give_up()
            raise
        await self.ticker.wait_stopped()


class SQLiteStore(Store):
    """Keeps records in a SQLite file, which several processes may use at the same time, on one machine.

    ``path``: the file. It is created when the store is opened, readable for its owner only; files whose names begin
    with its name belong to it (``-wal``, ``-shm``, and an empty one for each sink, ``.claim``). It must be on a local
    disk.

    ``durability``: what an acknowledged record survives: ``disk``, the loss of power; ``os``, the death of the process
    (after a loss of power, the latest ones may be missing). The appends of many sessions go to the disk together.

    ``max_bytes``: how large the file may get; the write-ahead log beside it takes some 20 megabytes more. When it is
    reached, or the disk is full, an append raises StoreFull at once; sinks go on, and :meth:`prune` makes room.

    ``create``: whether the file is created if it is missing or empty. If not, opening raises StoreUnavailable: for who
    only wants to see what is there.

    Positions have no gaps but where :meth:`prune` removed sessions.
    """

    shared = True
    linger_s = 0.02

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["disk", "os"] = "disk",
        max_bytes: int | None = None,
        create: bool = True,
    ) -> None:
        if durability not in ("disk", "os"):
            raise ValueError("durability must be 'disk' or 'os'")
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be positive")
        name = os.fspath(path)
        if name in ("", ":memory:"):
            raise ValueError("path must be the path of a file; to keep records in memory there is MemoryStore")
        if name.startswith("sqlite:"):
            raise ValueError(f"path must be the path alone: {name.removeprefix('sqlite:')!r}, not {name!r}")
        self.path = Path(path)
        self.create = create
        self.max_bytes = max_bytes
        self._durability: Literal["disk", "os"] = durability
        self._opened: _Opened | None = None
        self._opening: Event | None = None

    def __repr__(self) -> str:
        return f"<SQLiteStore {self.path}>"

    @property
    def durability(self) -> Durability:
        return self._durability

    async def open(self) -> None:
        """Create or open the file. An erasure that was cut off, as when its process died, is finished.

        Raises StoreUnavailable when it cannot be had, is something else, is damaged, or is of a newer version, and
        Forked when it was open in the process that this one was forked from.
        """
        while self._opening is not None:  # somebody else is at it
            await self._opening.wait()
        if self._opened is not None:
            self._check_process(self._opened)
            return
        path = self.path.absolute()
        self._opening = Event()
        try:
            opened = _Opened(File(path=path, durability=self._durability, create=self.create), self.max_bytes)
            try:
                left = await _do(opened.writer, Outside(Writer.open))
                await _do(opened.reader, Reading(Reader.open))
                with suppress(StoreError):  # such as a full disk: it can be done later
                    while left:
                        left = await _do(opened.writer, Change(Writer.erase_more, alone=True))
            except BaseException as error:
                opened.close_soon()
                if isinstance(error, StoreError):
                    await opened.wait_closed()
                raise
            self._opened = opened
        finally:
            self._opening.set()
            self._opening = None

    async def aclose(self) -> None:
        """Finish what is being written and close the file. What waits to be written fails, and is not stored.

        Cancelled, as by a deadline, it goes on in the background: a disk that hangs holds up nobody.
        """
        opened = self._opened
        if opened is not None:
            self._check_process(opened)
            self._opened = None
            opened.close_soon()
            await opened.wait_closed()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- Records ----------------------------------------------------------------------------------------------------

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        opened = self._open_one()
        check_batch(records)
        job = Append(records, monotonic() + timeout_s)
        opened.writer.put(job)
        opened.ticker.wake()
        return await opened.writer.result(job)

    async def load(self, session_id: str) -> Sequence[Record]:
        return await self._read(lambda reader: reader.load(session_id))

    async def sessions(self, prefix: str, limit: int) -> Sequence[str]:
        return await self._read(lambda reader: reader.sessions(prefix, limit))

    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        return await self._read(lambda reader: reader.read(after, limit))

    async def last_position(self) -> int:
        return await self._read(Reader.last_position)

    async def idle(self, before: datetime, limit: int, after: str | None = None) -> Sequence[str]:
        """See :meth:`Store.idle`. A session whose latest record cannot be read is passed over: see :meth:`check`."""
        found: list[str] = []
        key: int | None = 0 if after is None else await self._read(lambda reader: reader.key(after))
        while key is not None and len(found) < limit:
            more, key = await self._read(partial(_idle, before, key, limit - len(found)))
            found += more
        return found

    async def erase(self, *, session_id: str | None = None, client_id: str | None = None) -> Sequence[str]:
        """See :meth:`Store.erase`. The old bytes are overwritten in the file, and cut off from its write-ahead log.

        Where there is much to erase, others append in between. No record is added to those sessions from the beginning.
        Cut off, it is finished by the next erasure, or when the file is opened. Of a record that cannot be read,
        nothing is left but its place: :meth:`check` goes on to name it.

        Where somebody reads for longer than a second, the log is emptied later: with a next append, or when the file is
        opened or closed by the last process. Copies of the file, and what the disk itself keeps, are beyond it.
        """
        if (session_id is None) == (client_id is None):
            raise ValueError("give either the session_id or the client_id of what is to be erased")
        found = await self._write(Change(lambda writer: writer.erase(session_id, client_id), alone=True))
        if found:
            while await self._write(Change(Writer.erase_more, alone=True)):  # noqa: ASYNC110 (nobody tells)
                await sleep(2 * BUSY_S)  # so that other processes have their turn, too
            for _ in range(TRUNCATE_TRIES):
                if await self._write(Outside(Writer.truncate)):
                    break
                await sleep(TRUNCATE_PAUSE_S)
        return found

    async def import_records(self, records: Iterable[Record]) -> int:
        """Store records of any sessions in the order given, whatever their place in the session. Return how many.

        Those that are stored already, byte by byte, are passed over, so an import that was cut off can be repeated:
        what came before is stored. To be used for whole sessions: a session with a hole cannot be resumed.

        Raises SequenceConflict at a record whose place is taken by another, SessionErased at one of a session that was
        erased, and StoreFull and StoreUnavailable as :meth:`append` does.
        """
        stored = 0
        records = iter(records)
        while batch := list(islice(records, IMPORTED_AT_ONCE)):
            stored += await self._write(Change(partial(_import, batch), alone=True))
        return stored

    async def prune(self, before: datetime) -> int:
        """Remove sessions that have ended, whose latest record is from before that time, and which every sink has
        settled with nothing left in quarantine. Return how many.

        The session of the newest record stays: its position must not be used again. The file does not get smaller; what
        is free is used for what comes.
        """
        removed = 0
        after: int | None = 0
        while after is not None:
            more, after = await self._write(Change(partial(_prune, before, after), alone=True))
            removed += more
        return removed

    async def check(self, *, life_cycle: LifeCycle = LIFE_CYCLE, limit: int = 100) -> Sequence[CorruptRecord]:
        """Look at everything that is stored, and return up to ``limit`` problems, each with its place.

        The file's structure; whether each record can be read and is where it says that it is; whether each session
        begins at 0, has no hole, and folds by the rules of ``life_cycle``. The store can be used in the meantime.
        Raises StoreUnavailable when the file cannot be read at all.
        """
        opened = self._open_one()
        stop = ThreadEvent()
        try:
            return await to_thread.run_sync(
                check, opened.file, life_cycle, limit, stop, abandon_on_cancel=True, limiter=CapacityLimiter(1)
            )
        finally:
            stop.set()

    async def count(self) -> tuple[int, int]:
        """Return how many records are stored, and of how many sessions."""
        return await self._read(Reader.count)

    # --- Sinks ------------------------------------------------------------------------------------------------------

    async def claim(self, sink: str) -> bool:
        return await self._claim(sink, register=True)

    async def _claim(self, sink: str, *, register: bool) -> bool:
        opened = self._open_one()
        digest = hashlib.sha256(sink.encode()).hexdigest()[:16]
        path = opened.file.path.with_name(f"{opened.file.path.name}-{digest}.claim")

        def undo(outcome: bool | Exception) -> None:
            if outcome is True:
                opened.reader.put(Reading(lambda reader: reader.release(sink)))

        claimed = await _do(opened.reader, Reading(lambda reader: reader.claim(sink, path), undo))
        if claimed and register:
            try:
                await _do(opened.writer, Change(lambda writer: writer.register(sink)))
            except BaseException:
                undo(claimed)
                raise
        return claimed

    async def release(self, sink: str) -> None:
        await self._read(lambda reader: reader.release(sink))

    async def sinks(self) -> Sequence[str]:
        return await self._read(Reader.sinks)

    async def state(self, sink: str) -> SinkState:
        return await self._read(lambda reader: reader.state(sink))

    async def commit(
        self,
        sink: str,
        *,
        after: int,
        position: int,
        dropped: Mapping[str, int] | None = None,
        quarantined: Sequence[Quarantined] = (),
    ) -> None:
        if position < after or (position == after and dropped):
            raise ValueError("positions go up, and what was dropped lies between the old one and the new")
        await self._write(Change(lambda writer: writer.commit(sink, after, position, dropped or {}, quarantined)))

    async def quarantined(
        self,
        sink: str,
        *,
        session_id: str | None = None,
        requested: bool = False,
        after: int = 0,
        limit: int = 1000,
    ) -> Sequence[Quarantined]:
        return await self._read(lambda reader: reader.quarantined(sink, session_id, requested, after, limit))

    async def request_resend(self, sink: str, *, session_id: str | None = None, position: int | None = None) -> int:
        return await self._write(Change(lambda writer: writer.request_resend(sink, session_id, position)))

    async def put_back(self, sink: str, entry: Quarantined) -> bool:
        return await self._write(Change(lambda writer: writer.put_back(sink, entry)))

    async def resolve(self, sink: str, position: int) -> bool:
        return await self._write(Change(lambda writer: writer.resolve(sink, position)))

    async def drop(self, sink: str, *, session_id: str | None = None, position: int | None = None) -> int:
        return await self._write(Change(lambda writer: writer.drop(sink, session_id, position)))

    async def forget_sink(self, sink: str) -> bool:
        """Forget a sink that nothing is delivered to any more: how far it got, and what is put aside for it.

        Until then :meth:`prune` keeps what it has not settled. Returns False if there is no such sink. Raises
        StoreUnavailable while somebody delivers to it.
        """
        if not await self._claim(sink, register=False):
            raise StoreUnavailable(f"somebody delivers to sink {sink!r}; stop that first")
        try:
            return await self._write(Change(lambda writer: writer.forget_sink(sink)))
        finally:
            with CancelScope(shield=True):
                await self.release(sink)

    def health(self) -> StoreHealth:
        """Whether the store works: whether the latest reading and writing did, and none has hung for seconds."""
        opened = self._opened
        if opened is None:
            return StoreHealth(ok=False, problem="it is not open")
        self._check_process(opened)
        for lane in (opened.writer, opened.reader):
            if problem := lane.reported_problem:
                return StoreHealth(ok=False, problem=problem)
        return StoreHealth(ok=True)

    def _open_one(self) -> _Opened:
        opened = self._opened
        if opened is None:
            raise StoreUnavailable("it is not open; open it first")
        self._check_process(opened)
        return opened

    def _check_process(self, opened: _Opened) -> None:
        if opened.pid != os.getpid():
            raise Forked

    async def _read(self, function: Callable[[Reader], T]) -> T:
        return await _do(self._open_one().reader, Reading(function))

    async def _write(self, job: Change[T]) -> T:
        return await _do(self._open_one().writer, job)


async def _do(lane: Lane[Any], job: Job[T]) -> T:
    lane.put(job)
    return await lane.result(job)


def _idle(before: datetime, after: int, limit: int, reader: Reader) -> tuple[list[str], int | None]:
    return reader.idle(before, after, limit)


def _import(records: Sequence[Record], writer: Writer) -> int:
    return writer.import_records(records)


def _prune(before: datetime, after: int, writer: Writer) -> tuple[int, int | None]:
    return writer.prune(before, after, PRUNED_AT_ONCE)
