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

Outcome: TypeAlias = Literal["delivered", "quarantined", "erased", "removed"]
"""What became of a record: the sink took it; it is put aside; its person was erased; the store has it no more."""


class Queue:
    """Records from the moment that they are read to the moment that they are settled.

    With ``by_session`` a batch holds records of one session, and no session has two batches out at a time; without,
    a batch holds what comes next, and one batch is out at a time. ``window``: how many records should wait at most.
    ``settled``: positions beyond ``position`` of records that are put aside already, or were.
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
        self._open: deque[tuple[int, int]] = deque()
        """Positions beyond ``position``, each with how many before it are missing."""
        self._outcomes: dict[int, Outcome] = {}
        """Of those of them that are settled."""
        self._settled_before = set(settled)

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
            missing = position - self.read - 1
            if self._settled_before:
                before = {place for place in self._settled_before if place <= position}
                self._settled_before -= before
                missing -= len(before - {position})
                outcome = "quarantined" if position in before else settled(item)
            else:
                outcome = settled(item)
            self.settled["removed"] += missing
            self.read = position
            self._open.append((position, missing))
            if outcome is not None:
                self._settle(item, outcome)
                continue
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

    def take(self) -> list[Stored]:
        """Take the next batch out; empty if there is none to be served now."""
        if not self._ready:
            return []
        lane = self._lanes[self._ready.popleft()]
        batch = [lane.popleft() for _ in range(min(len(lane), self._batch_records))]
        self.size -= len(batch)
        return batch

    def settle(
        self, batch: Sequence[Stored], delivered: int, *, refused: bool = False, held: bool = False
    ) -> list[Stored]:
        """A batch is back: its first ``delivered`` are, and the rest waits again, ahead of its session.

        ``refused``: the one after these was refused. ``held``: and what waits of its session is put aside with it.
        Returns what is put aside by this. The session can be served again, after those that are ready now.
        """
        for item in batch[:delivered]:
            self._settle(item, "delivered")
        aside = list(batch[delivered : delivered + refused])
        key = self._key(batch[0][1])
        lane = self._lanes[key]
        rest = batch[delivered + refused :]
        self.size += len(rest)
        lane.extendleft(reversed(rest))
        if refused and held:
            session_id = aside[0][1].session_id
            behind = [item for item in lane if item[1].session_id == session_id]
            if behind:
                aside += behind
                self.size -= len(behind)
                self._lanes[key] = lane = deque(item for item in lane if item[1].session_id != session_id)
        for item in aside:
            self._settle(item, "quarantined")
        if lane:
            self._ready.append(key)
        else:
            del self._lanes[key]
        self._pass()
        return aside

    def _settle(self, item: Stored, outcome: Outcome) -> None:
        self._outcomes[item[0]] = outcome
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
