"""The store in memory: for tests, demos, and bots that may lose what they had when they are stopped."""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice
from operator import itemgetter
from typing import Literal, TypeAlias

import anyio

from caseassist.core.errors import SequenceConflict, StoreFull
from caseassist.core.events import TicketCancel, TicketCreate
from caseassist.core.records import Record, encode
from caseassist.stores.base import Durability, Store, Stored, check_batch

__all__ = ["MemoryStore", "WhenFull"]

WhenFull: TypeAlias = Literal["wait", "reject", "drop_oldest"]

_position_of = itemgetter(0)

MAX_PLACES = 10_000
"""Of so many forgotten sessions it is remembered where they stand, so that whoever has a handle on one can go on."""


class _Kept:
    """What is kept of one session: its latest records, one at least."""

    __slots__ = ("bytes", "next_seq", "stored")

    def __init__(self) -> None:
        self.stored: deque[Stored] = deque()
        self.next_seq = 0
        self.bytes = 0


class MemoryStore(Store):
    """Keeps records in memory, within bounds.

    ``max_records`` and ``max_bytes`` (of JSON) bound what is kept. When they are reached, sessions whose records every
    sink has settled are forgotten: first those that have ended, in that order, then those that were idle the longest.
    A forgotten session cannot be resumed, but whoever has a handle on it can go on. When that does not make room,
    ``when_full`` decides:

    * ``wait``: an append waits for room, first come, first served, up to its own deadline, then raises StoreFull;
    * ``reject``: it raises StoreFull at once;
    * ``drop_oldest``: the oldest record that is not settled yet is dropped; sinks that had not read it count it.

    A sink is known from the first time that its position is asked for, and has its turn with all that is kept then.
    """

    def __init__(
        self, *, max_records: int = 100_000, max_bytes: int = 128 * 1024 * 1024, when_full: WhenFull = "wait"
    ) -> None:
        if max_records < 1 or max_bytes < 1:
            raise ValueError("max_records and max_bytes must be positive")
        if when_full not in ("wait", "reject", "drop_oldest"):
            raise ValueError("when_full must be 'wait', 'reject' or 'drop_oldest'")
        self.max_records = max_records
        self.max_bytes = max_bytes
        self.when_full = when_full
        self._sessions: OrderedDict[str, _Kept] = OrderedDict()
        """The one that was appended to last comes last."""
        self._ended: OrderedDict[str, None] = OrderedDict()
        """Those of them that have ended, in that order."""
        self._places: OrderedDict[str, int] = OrderedDict()
        """The next sequence numbers of sessions that were forgotten."""
        self._log: deque[Stored] = deque()
        """What is not settled by all sinks yet. Empty while there are none."""
        self._positions: dict[str, int] = {}
        self._last = 0
        self._records = 0
        self._bytes = 0
        self._turn = anyio.Lock(fast_acquire=True)
        """Held by the append that has waited for room the longest."""
        self._room = anyio.Event()

    @property
    def durability(self) -> Durability:
        return "memory"

    def __len__(self) -> int:
        """How many records are kept."""
        return self._records

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> int:
        check_batch(records)
        position = self._position_if_stored(records)
        if position is not None:
            return position
        size = sum(len(encode(record)) for record in records)
        if len(records) > self.max_records or size > self.max_bytes:
            raise StoreFull(f"it can hold {self.max_records} records, {self.max_bytes} bytes")
        if not self._turn.locked() and self._make_room(len(records), size):
            return self._append(records, size)
        if self.when_full == "wait":
            with anyio.move_on_after(timeout_s):
                async with self._turn:
                    while (position := self._position_if_stored(records)) is None:  # somebody may have, while we waited
                        if self._make_room(len(records), size):
                            return self._append(records, size)
                        self._room = anyio.Event()
                        await self._room.wait()
                    return position
        raise StoreFull(f"{self._records} records, {self._bytes} bytes")

    async def load(self, session_id: str) -> Sequence[Record]:
        kept = self._sessions.get(session_id)
        if kept is None or kept.stored[0][1].seq != 0:
            return ()
        return [record for _, record in kept.stored]

    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        first = bisect_right(self._log, after, key=_position_of)
        return [self._log[index] for index in range(first, min(first + limit, len(self._log)))]

    async def last_position(self) -> int:
        return self._log[-1][0] if self._log else 0

    async def position(self, sink: str) -> int:
        if sink not in self._positions:
            self._positions[sink] = 0
            kept = (stored for kept in self._sessions.values() for stored in kept.stored)
            self._log = deque(sorted(kept, key=_position_of))
        return self._positions[sink]

    async def commit(self, sink: str, position: int) -> None:
        self._positions[sink] = max(position, await self.position(sink))
        settled = self._settled()
        while self._log and self._log[0][0] <= settled:
            self._log.popleft()
        self._room.set()

    async def aclose(self) -> None:
        """There is nothing to release: what is kept stays readable."""

    def _settled(self) -> int:
        return min(self._positions.values(), default=self._last)

    def _position_if_stored(self, records: Sequence[Record]) -> int | None:
        """The position of the last record, if these very records are stored already.

        Raises SequenceConflict if others are in their place, or may have been.
        """
        first = records[0]
        kept = self._sessions.get(first.session_id)
        next_seq = self._places.get(first.session_id, 0) if kept is None else kept.next_seq
        if first.seq == next_seq:
            return None
        if kept is not None and kept.stored[0][1].seq <= first.seq < next_seq:
            skip = first.seq - kept.stored[0][1].seq
            there = list(islice(kept.stored, skip, skip + len(records)))
            if [record for _, record in there] == list(records):
                return there[-1][0]
        raise SequenceConflict(first.session_id, expected=first.seq, found=next_seq)

    def _append(self, records: Sequence[Record], size: int) -> int:
        session_id = records[0].session_id
        kept = self._sessions.get(session_id)
        if kept is None:
            kept = self._sessions[session_id] = _Kept()
            self._places.pop(session_id, None)
        else:
            self._sessions.move_to_end(session_id)
        for record in records:
            self._last += 1
            stored = (self._last, record)
            kept.stored.append(stored)
            if self._positions:
                self._log.append(stored)
        kept.next_seq = records[-1].seq + 1
        kept.bytes += size
        self._records += len(records)
        self._bytes += size
        if isinstance(records[-1].event, TicketCreate | TicketCancel):
            self._ended[session_id] = None
        return self._last

    def _make_room(self, records: int, size: int) -> bool:
        while self._records + records > self.max_records or self._bytes + size > self.max_bytes:
            if self._forget_settled():
                continue
            if self.when_full != "drop_oldest":
                return False
            self._drop_oldest()
        return True

    def _forget_settled(self) -> bool:
        """Forget one session whose records are settled, if there is one.

        The first of each order is enough to look at: its latest record is older than that of the others.
        """
        settled = self._settled()
        for candidates in (self._ended, self._sessions):
            session_id = next(iter(candidates), None)
            if session_id is not None and self._sessions[session_id].stored[-1][0] <= settled:
                self._forget(session_id)
                return True
        return False

    def _forget(self, session_id: str) -> None:
        kept = self._sessions.pop(session_id)
        self._ended.pop(session_id, None)
        self._records -= len(kept.stored)
        self._bytes -= kept.bytes
        self._places[session_id] = kept.next_seq
        if len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)

    def _drop_oldest(self) -> None:
        position, dropped = self._log.popleft()
        kept = self._sessions[dropped.session_id]
        if kept.stored[-1][0] == position:
            self._forget(dropped.session_id)
            return
        while kept.stored[0][0] <= position:  # what is settled of the session is of no use without this one
            size = len(encode(kept.stored.popleft()[1]))
            kept.bytes -= size
            self._bytes -= size
            self._records -= 1
