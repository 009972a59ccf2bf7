"""The store in memory: for tests, demos, and bots that may lose what they had when they are stopped."""

from bisect import bisect_left, bisect_right, insort
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from operator import itemgetter
from typing import Literal, TypeAlias
from uuid import uuid4

import anyio
from msgspec.json import Encoder
from msgspec.structs import replace

from caseassist.core.erasure import erased
from caseassist.core.errors import Forked, PositionConflict, SequenceConflict, SessionErased, StoreFull
from caseassist.core.events import TicketCancel, TicketCreate
from caseassist.core.records import Record, encode
from caseassist.stores.base import (
    DELIVERED,
    Ack,
    Durability,
    Quarantined,
    SinkState,
    Store,
    Stored,
    check_batch,
)
from caseassist.stores.forks import Forks
from caseassist.stores.names import Names

__all__ = ["MemoryStore", "WhenFull"]

WhenFull: TypeAlias = Literal["wait", "reject", "drop_oldest"]

_position_of = itemgetter(0)

ENDS = (TicketCreate, TicketCancel)
MAX_PLACES = 10_000
"""Of so many forgotten sessions it is remembered where they stand, so that whoever has a handle on one can go on."""


class _Kept:
    """What is kept of one session: its latest records, one at least."""

    __slots__ = ("bytes", "erased", "next_seq", "stored")

    def __init__(self) -> None:
        self.stored: list[Stored] = []
        self.next_seq = 0
        self.bytes = 0
        self.erased = False


class _Held:
    """A record that is in quarantine: for how many sinks, and its size in bytes."""

    __slots__ = ("bytes", "sinks")

    def __init__(self, size: int) -> None:
        self.sinks = 0
        self.bytes = size


class _Aside:
    """What did not get delivered to one sink."""

    __slots__ = ("ahead", "dropped", "entries", "positions")

    def __init__(self) -> None:
        self.entries: dict[int, Quarantined] = {}
        self.positions: list[int] = []
        """Those of the entries, in order."""
        self.dropped: Counter[str] = Counter()
        self.ahead: dict[int, str] = {}
        """What was taken out of quarantine beyond the sink's position, and why: see :class:`SinkState`."""


class MemoryStore(Store):
    """Keeps records in memory, within bounds.

    ``max_records`` and ``max_bytes`` (of JSON) bound what is kept. When they are reached, sessions whose records every
    sink has settled are forgotten: first those that have ended, in that order, then those that were idle the longest.
    A forgotten session cannot be resumed, but whoever has a handle on it can go on. When that does not make room,
    ``when_full`` decides:

    * ``wait``: an append waits for room, first come, first served, up to its own deadline, then raises StoreFull;
    * ``reject``: it raises StoreFull at once;
    * ``drop_oldest``: the oldest record that is not settled yet is dropped; sinks that had not read it count it. If
      there is none, the oldest one in quarantine is dropped, and counted as ``removed``.

    Quarantined records count towards the bounds. They are kept until they are resolved, whatever happens to the rest of
    their session.

    A sink is known from the first time that its state is asked for, and has its turn with all that is kept then. What
    is settled by all of them can be loaded, and not read any more.
    """

    def __init__(
        self, *, max_records: int = 100_000, max_bytes: int = 128 * 1024 * 1024, when_full: WhenFull = "wait"
    ) -> None:
        if max_records < 1 or max_bytes < 1:
            raise ValueError("max_records and max_bytes must be positive")
        if when_full not in ("wait", "reject", "drop_oldest"):
            raise ValueError("when_full must be 'wait', 'reject' or 'drop_oldest'")
        self.id = str(uuid4())
        self.max_records = max_records
        self.max_bytes = max_bytes
        self.when_full = when_full
        self._sessions: OrderedDict[str, _Kept] = OrderedDict()
        """The one that was appended to last comes last."""
        self._ended: OrderedDict[str, None] = OrderedDict()
        """Those of them that have ended, in that order."""
        self._started: list[tuple[int, str]] = []
        """Where those that are open were started, in that order, and some that are not open any more."""
        self._places: OrderedDict[str, int | None] = OrderedDict()
        """The next sequence numbers of sessions that were forgotten, None for those that were erased."""
        self._ids = Names()
        """The ids of both."""
        self._log: deque[Stored] = deque()
        """What is not settled by all sinks yet. Empty while there are none."""
        self._positions: dict[str, int] = {}
        self._asides: dict[str, _Aside] = {}
        """Of the sinks that did not get everything delivered."""
        self._held: dict[int, _Held] = {}
        """What is in quarantine, by position."""
        self._claims: set[str] = set()
        self._last = 0
        self._records = 0
        self._bytes = 0
        self._turn = anyio.Lock(fast_acquire=True)
        """Held by the append that has waited for room the longest."""
        self._waiting = 0
        """How many appends wait for room."""
        self._room = anyio.Event()
        self._forks = Forks.watch()
        self._encode_into = Encoder().encode_into
        self._line = bytearray()
        """The record that was measured last: memory that is used again."""

    @property
    def durability(self) -> Durability:
        return "memory"

    def __len__(self) -> int:
        """How many records are kept."""
        return self._records

    async def open(self) -> None:
        """There is nothing to make ready."""
        self._check_process()

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        if self._forks != Forks.count:
            raise Forked
        count = len(records)
        if count != 1:
            check_batch(records)
        first = records[0]
        kept = self._sessions.get(first.session_id)
        if kept is None or first.seq != kept.next_seq or kept.erased:
            position = self._position_if_stored(records)
            if position is not None:
                return Ack(position, "memory")
        if count == 1 and type(first) is Record:  # as a rule: as in _size, but for the call
            self._encode_into(first, self._line)
            size = len(self._line)
        else:
            size = self._size(records)
        if self._waiting or self._records + count > self.max_records or self._bytes + size > self.max_bytes:
            return await self._append_when_there_is_room(records, size, timeout_s)
        return Ack(self._add(kept, records, size), "memory")

    async def _append_when_there_is_room(self, records: Sequence[Record], size: int, timeout_s: float) -> Ack:
        if len(records) > self.max_records or size > self.max_bytes:
            raise StoreFull(f"it can hold {self.max_records} records, {self.max_bytes} bytes")
        if not self._waiting and self._make_room(len(records), size):
            return Ack(self._append(records, size), "memory")
        if self.when_full == "wait":
            self._waiting += 1
            try:
                with anyio.move_on_after(timeout_s):
                    async with self._turn:
                        while (position := self._position_if_stored(records)) is None:  # somebody may have meanwhile
                            if self._make_room(len(records), size):
                                return Ack(self._append(records, size), "memory")
                            self._room = anyio.Event()
                            await self._room.wait()
                        return Ack(position, "memory")
            finally:
                self._waiting -= 1
        raise StoreFull(f"{self._records} records, {self._bytes} bytes")

    async def load(self, session_id: str) -> Sequence[Record]:
        self._check_process()
        kept = self._sessions.get(session_id)
        if kept is None or kept.stored[0][1].seq != 0:
            return ()
        return [record for _, record in kept.stored]

    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        self._check_process()
        log = self._log
        first = bisect_right(log, after, key=_position_of)
        if first <= limit:
            return list(islice(log, first, first + limit))
        return [log[index] for index in range(first, min(first + limit, len(log)))]  # islice would come from afar

    async def last_position(self) -> int:
        self._check_process()
        return self._log[-1][0] if self._log else 0

    async def sessions(self, prefix: str, limit: int) -> Sequence[str]:
        self._check_process()
        return self._ids.latest(prefix, limit)

    async def idle(self, before: datetime, limit: int, after: str | None = None) -> Sequence[str]:
        self._check_process()
        last = self._sessions.get(after) if after is not None else None
        start = 0 if last is None else bisect_right(self._started, last.stored[0][0], key=_position_of)
        found = (
            session_id
            for position, session_id in islice(self._started, start, None)
            if self._is_open(session_id, position) and self._sessions[session_id].stored[-1][1].time < before
        )
        return list(islice(found, limit))

    async def erase(self, *, session_id: str | None = None, client_id: str | None = None) -> Sequence[str]:
        self._check_process()
        if (session_id is None) == (client_id is None):
            raise ValueError("give either the session_id or the client_id of what is to be erased")
        in_quarantine = (entry.record for aside in self._asides.values() for entry in aside.entries.values())
        if session_id is not None:
            known = session_id in self._sessions or session_id in self._places
            known = known or any(record.session_id == session_id for record in in_quarantine)
            found = {session_id} if known else set[str]()
        else:
            kept = (record for kept in self._sessions.values() for _, record in kept.stored)
            found = {
                record.session_id for record in chain(kept, in_quarantine) if record.context.client_id == client_id
            }
        if found:
            self._erase(found)
        return sorted(found)

    async def claim(self, sink: str) -> bool:
        self._check_process()
        if sink in self._claims:
            return False
        self._claims.add(sink)
        return True

    async def release(self, sink: str) -> None:
        self._check_process()
        self._claims.discard(sink)

    async def sinks(self) -> Sequence[str]:
        self._check_process()
        return sorted(self._positions)

    async def state(self, sink: str) -> SinkState:
        self._check_process()
        position = self._position(sink)
        aside = self._asides.get(sink)
        if aside is None:
            return SinkState(position=position)
        return SinkState(
            position=position,
            quarantined=len(aside.positions),
            quarantined_ahead=len(aside.positions) - bisect_right(aside.positions, position),
            dropped=dict(aside.dropped),
            resolved_ahead=dict(aside.ahead),
        )

    async def commit(
        self,
        sink: str,
        *,
        after: int,
        position: int,
        dropped: Mapping[str, int] | None = None,
        quarantined: Sequence[Quarantined] = (),
    ) -> None:
        self._check_process()
        if position < after or (position == after and dropped):
            raise ValueError("positions go up, and what was dropped lies between the old one and the new")
        stands_at = self._position(sink)
        if stands_at != after:
            if stands_at == position:
                return
            raise PositionConflict(sink, expected=after, found=stands_at)
        aside = self._asides.get(sink)
        if aside is None and (dropped or quarantined):
            aside = self._asides[sink] = _Aside()
        if aside is not None:
            for entry in quarantined:
                self._put_aside(sink, aside, entry)
            aside.dropped.update(dropped)
        self._positions[sink] = position
        if aside is not None:
            for passed in [ahead for ahead in aside.ahead if ahead <= position]:
                self._count(sink, aside, passed, aside.ahead.pop(passed))
        settled = self._settled()
        log = self._log
        if log and log[-1][0] <= settled:  # as a rule, that is all of it
            log.clear()
        while log and log[0][0] <= settled:
            log.popleft()
        self._room.set()

    async def quarantined(
        self,
        sink: str,
        *,
        session_id: str | None = None,
        requested: bool = False,
        after: int = 0,
        limit: int = 1000,
    ) -> Sequence[Quarantined]:
        self._check_process()
        aside = self._asides.get(sink)
        if aside is None:
            return ()
        positions = islice(aside.positions, bisect_right(aside.positions, after), None)
        entries = (aside.entries[position] for position in positions)
        found = (e for e in entries if (session_id is None or e.record.session_id == session_id))
        return list(islice((entry for entry in found if entry.requested or not requested), limit))

    async def request_resend(self, sink: str, *, session_id: str | None = None, position: int | None = None) -> int:
        self._check_process()
        aside = self._asides.get(sink)
        if aside is None:
            return 0
        found = _chosen(aside, session_id, position)
        for entry in found:
            aside.entries[entry.position] = replace(entry, requested=True)
        return len(found)

    async def put_back(self, sink: str, entry: Quarantined) -> bool:
        self._check_process()
        aside = self._asides.get(sink)
        if aside is None or entry.position not in aside.entries:
            return False
        aside.entries[entry.position] = entry
        return True

    async def resolve(self, sink: str, position: int) -> bool:
        self._check_process()
        aside = self._asides.get(sink)
        if aside is None or position not in aside.entries:
            return False
        self._take_out(sink, aside, position, DELIVERED)
        self._room.set()
        return True

    async def drop(self, sink: str, *, session_id: str | None = None, position: int | None = None) -> int:
        self._check_process()
        aside = self._asides.get(sink)
        if aside is None:
            return 0
        found = _chosen(aside, session_id, position)
        for entry in found:
            self._take_out(sink, aside, entry.position, "operator")
        self._room.set()
        return len(found)

    async def aclose(self) -> None:
        """Release all claims. What is kept stays readable."""
        self._check_process()
        self._claims.clear()

    def _check_process(self) -> None:
        if self._forks != Forks.count:
            raise Forked

    def _position(self, sink: str) -> int:
        if sink not in self._positions:
            self._positions[sink] = 0
            kept = (stored for kept in self._sessions.values() for stored in kept.stored)
            self._log = deque(sorted(kept, key=_position_of))
        return self._positions[sink]

    def _settled(self) -> int:
        return min(self._positions.values(), default=self._last)

    def _position_if_stored(self, records: Sequence[Record]) -> int | None:
        """The position of the last record, if these very records are stored already.

        Raises SequenceConflict if others are in their place, or may have been, and SessionErased.
        """
        first = records[0]
        kept = self._sessions.get(first.session_id)
        next_seq = self._places.get(first.session_id, 0) if kept is None else kept.next_seq
        if next_seq is None or (kept is not None and kept.erased):
            raise SessionErased(first.session_id)
        if first.seq == next_seq:
            return None
        if kept is not None and kept.stored[0][1].seq <= first.seq < next_seq:
            skip = first.seq - kept.stored[0][1].seq
            there = kept.stored[skip : skip + len(records)]
            if [record for _, record in there] == list(records):
                return there[-1][0]
        raise SequenceConflict(first.session_id, expected=first.seq, found=next_seq)

    def _size(self, records: Sequence[Record]) -> int:
        """The bytes of records as JSON. To write them over each other takes two thirds of the time of keeping each."""
        size = 0
        line = self._line
        for record in records:
            if type(record) is Record:
                self._encode_into(record, line)
                size += len(line)
            else:
                size += len(encode(record))
        return size

    def _append(self, records: Sequence[Record], size: int) -> int:
        return self._add(self._sessions.get(records[0].session_id), records, size)

    def _add(self, kept: _Kept | None, records: Sequence[Record], size: int) -> int:
        """Append to what is kept of a session, if it is kept already. Returns the position of the last record."""
        last = records[-1]
        if kept is None:
            kept = self._begin(last.session_id)
        else:
            self._sessions.move_to_end(last.session_id)
        log = self._log if self._positions else None
        position = self._last
        for record in records:
            position += 1
            stored = (position, record)
            kept.stored.append(stored)
            if log is not None:
                log.append(stored)
        kept.next_seq = last.seq + 1
        kept.bytes += size
        self._last = position
        self._records += len(records)
        self._bytes += size
        if type(last.event) in ENDS:
            self._ended[last.session_id] = None
        return position

    def _begin(self, session_id: str) -> _Kept:
        kept = self._sessions[session_id] = _Kept()
        self._places.pop(session_id, None)
        self._ids.add(session_id)
        self._note_started(self._last + 1, session_id)
        return kept

    def _note_started(self, position: int, session_id: str) -> None:
        self._started.append((position, session_id))
        if len(self._started) > 2 * (len(self._sessions) - len(self._ended)) + 100:
            self._started = [(at, name) for at, name in self._started if name == session_id or self._is_open(name, at)]

    def _is_open(self, session_id: str, position: int) -> bool:
        """Whether a session that was started at that position has not ended and is there from its beginning."""
        kept = self._sessions.get(session_id)
        if kept is None or kept.erased or session_id in self._ended:
            return False
        at, first = kept.stored[0]
        return at == position and first.seq == 0

    def _erase(self, session_ids: set[str]) -> None:
        replaced: dict[int, Stored] = {}
        for session_id in session_ids:
            for sink, aside in self._asides.items():
                positions = [p for p in aside.positions if aside.entries[p].record.session_id == session_id]
                for position in positions:
                    self._take_out(sink, aside, position, "erased")
            kept = self._sessions.get(session_id)
            if kept is None:
                self._remember(session_id, None)
                continue
            kept.erased = True
            kept.stored = [(position, erased(record)) for position, record in kept.stored]
            size = self._size([record for _, record in kept.stored])
            self._bytes += size - kept.bytes
            kept.bytes = size
            replaced.update((stored[0], stored) for stored in kept.stored)
        self._log = deque(replaced.get(stored[0], stored) for stored in self._log)
        self._room.set()

    def _put_aside(self, sink: str, aside: _Aside, entry: Quarantined) -> None:
        position, session_id = entry.position, entry.record.session_id
        kept = self._sessions.get(session_id)
        if self._places.get(session_id, 0) is None or (kept is not None and kept.erased):  # while it was on its way
            self._count(sink, aside, position, "erased")
            return
        if position in aside.entries or position in aside.ahead:  # the commit was repeated
            return
        insort(aside.positions, position)
        held = self._held.get(position)
        if held is None:
            held = self._held[position] = _Held(self._size([entry.record]))
            if not self._keeps(session_id, position):
                self._records += 1
                self._bytes += held.bytes
        held.sinks += 1
        aside.entries[position] = entry

    def _take_out(self, sink: str, aside: _Aside, position: int, why: str) -> None:
        """Take an entry out of quarantine. ``why``: ``delivered``, or the reason for which it is dropped."""
        entry = aside.entries.pop(position)
        del aside.positions[bisect_left(aside.positions, position)]
        self._count(sink, aside, position, why)
        held = self._held[position]
        held.sinks -= 1
        if not held.sinks:
            del self._held[position]
            if not self._keeps(entry.record.session_id, position):
                self._records -= 1
                self._bytes -= held.bytes

    def _count(self, sink: str, aside: _Aside, position: int, why: str) -> None:
        if position > self._positions[sink]:
            aside.ahead.setdefault(position, why)
        elif why != DELIVERED:
            aside.dropped[why] += 1

    def _keeps(self, session_id: str, position: int) -> bool:
        """Whether a record is kept with its session."""
        kept = self._sessions.get(session_id)
        return kept is not None and kept.stored[0][0] <= position

    def _make_room(self, records: int, size: int) -> bool:
        while self._records + records > self.max_records or self._bytes + size > self.max_bytes:
            if self._forget_settled():
                continue
            if self.when_full != "drop_oldest":
                return False
            if self._log:
                self._drop_oldest()
            else:
                self._drop_oldest_aside()
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
        if self._held:
            for position, _ in kept.stored:
                self._hold(position)
        self._remember(session_id, None if kept.erased else kept.next_seq)

    def _hold(self, position: int) -> None:
        """Go on counting a record that is not kept with its session any more, if it is in quarantine."""
        held = self._held.get(position)
        if held is not None:
            self._records += 1
            self._bytes += held.bytes

    def _remember(self, session_id: str, next_seq: int | None) -> None:
        self._ids.add(session_id)
        self._places[session_id] = next_seq
        if len(self._places) > MAX_PLACES:
            gone, _ = self._places.popitem(last=False)
            self._ids.discard(gone)

    def _drop_oldest(self) -> None:
        position, dropped = self._log.popleft()
        kept = self._sessions[dropped.session_id]
        if kept.stored[-1][0] == position:
            self._forget(dropped.session_id)
            return
        count = bisect_right(kept.stored, position, key=_position_of)
        gone = kept.stored[:count]  # what is settled of the session is of no use without this one
        del kept.stored[:count]
        size = self._size([record for _, record in gone])
        kept.bytes -= size
        self._bytes -= size
        self._records -= count
        for settled, _ in gone:
            self._hold(settled)

    def _drop_oldest_aside(self) -> None:
        sink = min((name for name, aside in self._asides.items() if aside.positions), key=self._oldest_aside)
        aside = self._asides[sink]
        self._take_out(sink, aside, aside.positions[0], "removed")

    def _oldest_aside(self, sink: str) -> int:
        return self._asides[sink].positions[0]


def _chosen(aside: _Aside, session_id: str | None, position: int | None) -> Sequence[Quarantined]:
    entries = aside.entries.values() if position is None else filter(None, [aside.entries.get(position)])
    return [entry for entry in entries if session_id in (None, entry.record.session_id)]
