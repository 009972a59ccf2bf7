"""What was read from the store and is not settled, and who is served next. No I/O, no clock."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from typing import Literal, TypeAlias

from caseassist.core.records import Record
from caseassist.stores.base import Stored

__all__ = ["WINDOW_BATCHES", "Outcome", "Queue"]

WINDOW_BATCHES = 4
AHEAD_WINDOWS = 64
"""How far delivery runs ahead of a record that does not get through: it bounds memory, and what is delivered a second
time after a restart."""

Outcome: TypeAlias = Literal["delivered", "quarantined", "erased", "corrupt", "removed"]
"""What became of a record: the sink took it; it is put aside; its person was erased; it cannot be read; the store has
it no more."""

NOTHING: Mapping[int, Outcome] = {}


class _Lane:
    """What was read of one session, or of all of them, and is not settled."""

    __slots__ = ("failed", "first", "out", "waiting")

    def __init__(self, first: int) -> None:
        self.first = first
        """Position of the first record of it, waiting or out in a batch; 0 when there is none any more."""
        self.waiting: deque[Stored] = deque()
        self.out = False
        """Whether a batch of it is out."""
        self.failed = False
        """Whether its latest batch came back unfinished."""


class Queue:
    """Records from the moment that they are read to the moment that they are settled.

    With ``by_session`` a batch holds records of one session, and no session has two batches out at a time; without,
    a batch holds what comes next, and one batch is out at a time. ``window``: how many records should wait at most.
    ``settled``: positions beyond ``position`` of records that are put aside already, or were.

    Sessions take turns. One whose batch came back unfinished is served next once the sink is well, so that the position
    gets on; if that happens to it again and again, it waits for its turn like all the others, and holds nobody up.

    A delivery costs next to nothing for each record: what is delivered is only counted. A record is looked at by
    itself if something else becomes of it.
    """

    def __init__(
        self, position: int, *, batch_records: int, by_session: bool, window: int, settled: Iterable[int] = ()
    ) -> None:
        self.read = position
        """Position of the last record that was put in."""
        self.position = position
        """Everything up to here is settled."""
        self.size = 0
        """How many records are waiting: put in, and not in a batch."""
        self.settled: Counter[str] = Counter()
        """How many positions are settled, by outcome, also beyond ``position``."""
        self._begin = position
        self._batch_records = batch_records
        self._by_session = by_session
        self._window = window
        self._lanes: dict[str, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._unfinished: deque[_Lane] = deque()
        """Those of the lanes that are to be served next once the sink is well."""
        self._firsts: list[tuple[int, _Lane]] = []
        """A heap: where each lane began, or goes on if that is known to be settled. Everything before the first of all
        lanes is settled."""
        self._others: list[tuple[int, Outcome, int]] = []
        """A heap: positions beyond ``position`` of what is settled and not delivered, how, and how many end there."""
        self._passed: Counter[str] = Counter()
        """How many of those there were up to ``position``."""
        self._settled_before = deque(sorted(settled))

    @property
    def passed(self) -> Counter[str]:
        """How many positions are settled up to ``position``, by outcome."""
        passed = self._passed.copy()
        passed["delivered"] = self.position - self._begin - passed.total()
        return passed

    @property
    def room(self) -> int:
        """How many records should be put in now; 0 while there is enough to do."""
        if self.size * 2 > self._window:
            return 0
        removed = self.settled["removed"] - self._passed["removed"]
        ahead = self.read - self.position - removed
        return max(min(self._window - self.size, AHEAD_WINDOWS * self._window - ahead), 0)

    def put(self, stored: Sequence[Stored], outcomes: Mapping[int, Outcome] = NOTHING) -> int:
        """Put in what was read from the store, in order. Returns how many more batches can be taken for it.

        ``outcomes``: by position, what became of those records that are not to be delivered.
        """
        if not stored:
            return 0
        ready = len(self._ready)
        last = stored[-1][0]
        if outcomes or self._settled_before or last - self.read > len(stored):
            stored = self._sort_out(stored, outcomes)
        self.read = last
        self.size += len(stored)
        self._line_up(stored)
        self._pass()
        return len(self._ready) - ready

    def skip(self, position: int, outcome: Outcome) -> None:
        """What comes next in the store, at ``position``, has no record to put in."""
        self._settle(position, "quarantined" if self._come_to(position) else outcome)
        self._pass()

    def take(self) -> list[Stored]:
        """Take the next batch out; empty if there is none to be served now."""
        ready = self._ready or self._unfinished
        if not ready:
            return []
        lane = ready.popleft()
        lane.out = True
        waiting = lane.waiting
        if len(waiting) <= self._batch_records:
            batch = list(waiting)
            waiting.clear()
        else:
            batch = [waiting.popleft() for _ in range(self._batch_records)]
        self.size -= len(batch)
        return batch

    def settle(self, batch: Sequence[Stored], delivered: int, others: Mapping[int, Outcome] = NOTHING) -> None:
        """A batch is back. ``delivered``: so many of it, the first ones, were. ``others``: by position, what became of
        those that were not.

        What is in neither waits again, ahead of its session, which can be served again after those that are ready now.
        """
        key = self._key(batch[0][1])
        lane = self._lanes[key]
        lane.out = False
        self.settled["delivered"] += delivered
        for position, outcome in others.items():
            self._settle(position, outcome)
        rest = [item for item in batch[delivered:] if item[0] not in others]
        if rest:
            self.size += len(rest)
            lane.waiting.extendleft(reversed(rest))
        if self._go_on_in(key, lane):
            (self._unfinished if rest and not lane.failed else self._ready).append(lane)
        lane.failed = bool(rest)
        self._pass()

    def go_on(self) -> int:
        """The sink is well: those that were cut short are served next. Returns how many they are."""
        count = len(self._unfinished)
        if count:
            self._ready.extendleft(reversed(self._unfinished))
            self._unfinished.clear()
        return count

    def pull(self, session_id: str, outcome: Outcome) -> list[Stored]:
        """Settle all that waits of a session, and return it."""
        key = session_id if self._by_session else ""
        lane = self._lanes.get(key)
        if lane is None:
            return []
        pulled = [item for item in lane.waiting if item[1].session_id == session_id]
        if pulled:
            lane.waiting = deque(item for item in lane.waiting if item[1].session_id != session_id)
            self.size -= len(pulled)
            for position, _ in pulled:
                self._settle(position, outcome)
            if not lane.out and not self._go_on_in(key, lane):
                (self._ready if lane in self._ready else self._unfinished).remove(lane)
            self._pass()
        return pulled

    def _sort_out(self, stored: Sequence[Stored], outcomes: Mapping[int, Outcome]) -> list[Stored]:
        """Settle what is not to be delivered, and what is missing in between. Returns the rest."""
        rest: list[Stored] = []
        for item in stored:
            position = item[0]
            outcome = "quarantined" if self._come_to(position) else outcomes.get(position)
            if outcome is None:
                rest.append(item)
            else:
                self._settle(position, outcome)
        return rest

    def _come_to(self, position: int) -> bool:
        """Note that a position was read. Returns whether its record is put aside already."""
        missing = position - self.read - 1
        before = self._settled_before
        while before and before[0] < position:
            self._settle(before.popleft(), "quarantined")
            missing -= 1
        if missing:
            self._settle(position - 1, "removed", missing)
        self.read = position
        if before and before[0] == position:
            before.popleft()
            return True
        return False

    def _line_up(self, stored: Sequence[Stored]) -> None:
        if not self._by_session:  # all of them in one go
            if stored:
                self._lane("", stored[0][0]).waiting.extend(stored)
            return
        for item in stored:
            self._lane(self._key(item[1]), item[0]).waiting.append(item)

    def _lane(self, key: str, position: int) -> _Lane:
        """The lane that is joined by what is at a position."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(position)
            self._ready.append(lane)
            heappush(self._firsts, (position, lane))
        return lane

    def _go_on_in(self, key: str, lane: _Lane) -> bool:
        """Note where a lane goes on, of which no batch is out. Returns whether there is anything in it."""
        if lane.waiting:
            lane.first = lane.waiting[0][0]
            return True
        lane.first = 0
        del self._lanes[key]
        return False

    def _settle(self, position: int, outcome: Outcome, count: int = 1) -> None:
        """Something else than a delivery has become of a record, or of so many that end at the position."""
        self.settled[outcome] += count
        heappush(self._others, (position, outcome, count))

    def _pass(self) -> None:
        """Move the position on over what is settled."""
        firsts = self._firsts
        while firsts and firsts[0][0] != (first := firsts[0][1].first):
            if first:
                heapreplace(firsts, (first, firsts[0][1]))
            else:
                heappop(firsts)
        self.position = firsts[0][0] - 1 if firsts else self.read
        while self._others and self._others[0][0] <= self.position:
            _, outcome, count = heappop(self._others)
            self._passed[outcome] += count

    def _key(self, record: Record) -> str:
        return record.session_id if self._by_session else ""
