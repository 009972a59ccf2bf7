"""The store in memory: for tests, demos, and bots that may lose what they had when they are stopped."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Literal, TypeAlias

import anyio

from caseassist.core.errors import SequenceConflict, StoreFull
from caseassist.core.events import TicketCancel, TicketCreate
from caseassist.core.records import Record, encode
from caseassist.stores.base import Durability, Store, Stored

__all__ = ["MemoryStore", "WhenFull"]

WhenFull: TypeAlias = Literal["wait", "reject", "drop_oldest"]


class _Kept:
    """What is kept of one session."""

    __slots__ = ("bytes", "ended", "next_seq", "stored")

    def __init__(self) -> None:
        self.stored: deque[Stored] = deque()
        self.next_seq = 0
        self.bytes = 0
        self.ended = False


class MemoryStore(Store):
    """Keeps records in memory, within bounds.

    ``max_records`` and ``max_bytes`` (of JSON) bound what is kept. When they are reached, sessions that have ended and
    are delivered everywhere are forgotten, oldest first. When that does not make room, ``when_full`` decides:

    * ``wait``: an append waits for room, up to its own deadline, then raises StoreFull;
    * ``reject``: it raises StoreFull at once;
    * ``drop_oldest``: the oldest record that is not delivered yet is dropped; sinks count it as dropped.
    """

    def __init__(
        self, *, max_records: int = 100_000, max_bytes: int = 128 * 1024 * 1024, when_full: WhenFull = "wait"
    ) -> None:
        if max_records < 1 or max_bytes < 1:
            raise ValueError("max_records and max_bytes must be positive")
        self.max_records = max_records
        self.max_bytes = max_bytes
        self.when_full = when_full
        self._log: deque[Stored] = deque()
        """What is not settled by all sinks yet."""
        self._sessions: dict[str, _Kept] = {}
        self._ended: deque[str] = deque()
        self._positions: dict[str, int] = {}
        self._last = 0
        self._records = 0
        self._bytes = 0
        self._room: anyio.Event | None = None

    @property
    def durability(self) -> Durability:
        return "memory"

    def __len__(self) -> int:
        """How many records are kept."""
        return self._records

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> int:
        size = sum(len(encode(record)) for record in records)
        if self._is_stored(records):
            return self._position_of(records[-1])
        if not self._make_room(len(records), size):
            await self._wait_for_room(records, size, timeout_s)
            if self._is_stored(records):  # while we waited
                return self._position_of(records[-1])
        kept = self._sessions.setdefault(records[0].session_id, _Kept())
        for record in records:
            self._last += 1
            stored = (self._last, record)
            kept.stored.append(stored)
            self._log.append(stored)
            if isinstance(record.event, TicketCreate | TicketCancel):
                kept.ended = True
                self._ended.append(record.session_id)
        kept.next_seq += len(records)
        kept.bytes += size
        self._records += len(records)
        self._bytes += size
        if not self._positions:
            self._log.clear()  # nobody reads
        return self._last

    async def load(self, session_id: str) -> Sequence[Record]:
        kept = self._sessions.get(session_id)
        if kept is None or not kept.stored or kept.stored[0][1].seq != 0:
            return ()
        return [record for _, record in kept.stored]

    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        if not self._log or self._log[-1][0] <= after:
            return ()
        skip = max(after - self._log[0][0] + 1, 0)
        if skip == 0 or (skip < len(self._log) and self._log[skip][0] == after + 1):
            return list(islice(self._log, skip, skip + limit))
        return list(islice((stored for stored in self._log if stored[0] > after), limit))  # there are gaps

    async def position(self, sink: str) -> int:
        return self._positions.setdefault(sink, 0)

    async def commit(self, sink: str, position: int) -> None:
        self._positions[sink] = max(position, self._positions.get(sink, 0))
        settled = self._settled()
        while self._log and self._log[0][0] <= settled:
            self._log.popleft()
        if self._room is not None:
            self._room.set()
            self._room = None

    async def aclose(self) -> None:
        """There is nothing to release: what is kept stays readable."""

    def _settled(self) -> int:
        return min(self._positions.values(), default=self._last)

    def _is_stored(self, records: Sequence[Record]) -> bool:
        """Whether these very records are stored already. Raises SequenceConflict if others are in their place."""
        first = records[0]
        kept = self._sessions.get(first.session_id)
        next_seq = kept.next_seq if kept else 0
        if first.seq == next_seq:
            return False
        if kept and first.seq < next_seq:
            there = [record for _, record in kept.stored if record.seq >= first.seq]
            if there[: len(records)] == list(records):
                return True
        raise SequenceConflict(first.session_id, expected=first.seq, found=next_seq)

    def _position_of(self, record: Record) -> int:
        return next(position for position, there in self._sessions[record.session_id].stored if there == record)

    async def _wait_for_room(self, records: Sequence[Record], size: int, timeout_s: float) -> None:
        if self.when_full == "wait" and len(records) <= self.max_records and size <= self.max_bytes:
            with anyio.move_on_after(timeout_s):
                while True:
                    self._room = self._room or anyio.Event()
                    await self._room.wait()
                    if self._is_stored(records) or self._make_room(len(records), size):
                        return
        raise StoreFull(f"{self._records} records, {self._bytes} bytes")

    def _make_room(self, records: int, size: int) -> bool:
        while self._records + records > self.max_records or self._bytes + size > self.max_bytes:
            if not self._forget_ended() and not (self.when_full == "drop_oldest" and self._drop_oldest()):
                return False
        return True

    def _forget_ended(self) -> bool:
        """Forget the session that ended first, if it is delivered everywhere."""
        if not self._ended:
            return False
        kept = self._sessions[self._ended[0]]
        if kept.stored and kept.stored[-1][0] > self._settled():
            return False
        del self._sessions[self._ended.popleft()]
        self._records -= len(kept.stored)
        self._bytes -= kept.bytes
        return True

    def _drop_oldest(self) -> bool:
        if not self._log:
            return False
        _, record = self._log.popleft()
        kept = self._sessions[record.session_id]
        while kept.stored:  # what is settled of the session goes first: it is of no use without this one
            _, there = kept.stored.popleft()
            size = len(encode(there))
            kept.bytes -= size
            self._bytes -= size
            self._records -= 1
            if there is record:
                break
        return True
