"""What was read from the store and is not settled, and who is served next. No I/O, no clock."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
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


class Queue:
    """Records from the moment that they are read to the moment that they are settled.

    With ``by_session`` a batch holds records of one session, and no session has two batches out at a time; without,
    a batch holds what comes next, and one batch is out at a time. ``window``: how many records should wait at most.
    ``settled``: positions beyond ``position`` of records that are put aside already, or were.

    Sessions take turns. One whose batch came back unfinished is served next once the sink is well, so that the position
    gets on; if that happens to it again and again, it waits for its turn like all the others, and holds nobody up.
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
        self.passed: Counter[str] = Counter()
        """How many of these are not beyond ``position``."""
        self._batch_records = batch_records
        self._by_session = by_session
        self._window = window
        self._lanes: dict[str, deque[Stored]] = {}
        self._ready: deque[str] = deque()
        self._unfinished: deque[str] = deque()
        """Those of the lanes that are to be served next once the sink is well."""
        self._failed: set[str] = set()
        """Lanes whose latest batch came back unfinished."""
        self._open: deque[tuple[int, int]] = deque()
        """Positions beyond ``position``, each with how many before it are missing."""
        self._outcomes: dict[int, Outcome] = {}
        """Of those of them that are settled."""
        self._settled_before = deque(sorted(settled))

    @property
    def room(self) -> int:
        """How many records should be put in now; 0 while there is enough to do."""
        if self.size * 2 > self._window:
            return 0
        return max(min(self._window - self.size, AHEAD_WINDOWS * self._window - len(self._open)), 0)

    def put(self, stored: Iterable[Stored], settled: Callable[[Stored], Outcome | None] = lambda _: None) -> int:
        """Put in what was read from the store, in order. Returns how many more batches can be taken for it.

        ``settled`` tells what became of a record that is not to be delivered.
        """
        ready = len(self._ready)
        for item in stored:
            position, record = item
            if self._come_to(position):
                self._settle(position, "quarantined")
            elif (outcome := settled(item)) is not None:
                self._settle(position, outcome)
            else:
                self.size += 1
                key = self._key(record)
                lane = self._lanes.get(key)
                if lane is None:
                    self._lanes[key] = deque((item,))
                    self._ready.append(key)
                else:
                    lane.append(item)
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
        lane = self._lanes[ready.popleft()]
        batch = [lane.popleft() for _ in range(min(len(lane), self._batch_records))]
        self.size -= len(batch)
        return batch

    def settle(self, batch: Sequence[Stored], outcomes: Sequence[Outcome | None]) -> None:
        """A batch is back, with what became of each record.

        Those without an outcome wait again, ahead of their session, which can be served again after those that are
        ready now.
        """
        key = self._key(batch[0][1])
        lane = self._lanes[key]
        rest: list[Stored] = []
        for item, outcome in zip(batch, outcomes, strict=True):
            if outcome is None:
                rest.append(item)
            else:
                self._settle(item[0], outcome)
        self.size += len(rest)
        lane.extendleft(reversed(rest))
        if not lane:
            del self._lanes[key]
        elif rest and key not in self._failed:
            self._unfinished.append(key)
        else:
            self._ready.append(key)
        if rest:
            self._failed.add(key)
        else:
            self._failed.discard(key)
        self._pass()

    def go_on(self) -> int:
        """The sink is well: those that were cut short are served next. Returns how many they are."""
        count = len(self._unfinished)
        self._ready.extendleft(reversed(self._unfinished))
        self._unfinished.clear()
        return count

    def pull(self, session_id: str, outcome: Outcome) -> list[Stored]:
        """Settle all that waits of a session, and return it."""
        key = session_id if self._by_session else ""
        lane = self._lanes.get(key, deque())
        pulled = [item for item in lane if item[1].session_id == session_id]
        if pulled:
            left = deque(item for item in lane if item[1].session_id != session_id)
            self.size -= len(pulled)
            for position, _ in pulled:
                self._settle(position, outcome)
            for ready in (self._ready, self._unfinished):
                if key in ready and not left:
                    ready.remove(key)
                    del self._lanes[key]
            if key in self._lanes:  # there is more in it, or a batch of it is out
                self._lanes[key] = left
            self._pass()
        return pulled

    def _come_to(self, position: int) -> bool:
        """Note that a position was read. Returns whether its record is put aside already."""
        missing = position - self.read - 1
        before = self._settled_before
        while before and before[0] < position:
            before.popleft()
            missing -= 1  # it is counted as put aside
        self.settled["removed"] += missing
        self.read = position
        self._open.append((position, missing))
        if before and before[0] == position:
            before.popleft()
            return True
        return False

    def _settle(self, position: int, outcome: Outcome) -> None:
        self._outcomes[position] = outcome
        self.settled[outcome] += 1

    def _pass(self) -> None:
        """Move the position on over what is settled."""
        while self._open and (position := self._open[0][0]) in self._outcomes:
            _, missing = self._open.popleft()
            self.passed["removed"] += missing
            self.passed[self._outcomes.pop(position)] += 1
            self.position = position

    def _key(self, record: Record) -> str:
        return record.session_id if self._by_session else ""
