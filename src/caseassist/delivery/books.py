"""The books of one sink: what has become of the records, what the store knows of it, and what it is still to be told.

What is settled is stored now and then, the position together with what was put aside on the way to it. Nothing is lost
when that fails, or comes too late: what is delivered again after a restart is recognisable.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from caseassist.core.errors import PositionConflict, StoreError
from caseassist.delivery.pacing import Pacing, retry_delay_s
from caseassist.delivery.queue import Queue
from caseassist.delivery.reports import Progress
from caseassist.delivery.signals import Bell, Gong, Hurry
from caseassist.stores.base import Quarantined, SinkState, Store, Stored

__all__ = ["Books"]

log = logging.getLogger("caseassist")

COMMIT_EVERY = 256
COMMIT_EVERY_S = 1.0
"""After so many settled records, or seconds, the position is stored although there is more to do."""
DROPPED = ("erased", "corrupt", "removed")


class _Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be stored, and what it counts."""

    after: int
    position: int
    passed: Counter[str]
    dropped: dict[str, int]
    aside: Sequence[Quarantined]


class Books:
    """Keeps the books: :meth:`keep` them while :class:`Turn` delivers, and :meth:`close` them after it.

    ``state``: how far the sink is, as the store has it. ``queue``: what is settled beyond that. ``room`` rings when
    something was stored; ``done`` is struck then, and when it could not be. ``hurry``: somebody waits for the end.
    """

    def __init__(
        self,
        store: Store,
        sink: str,
        state: SinkState,
        queue: Queue,
        pacing: Pacing,
        *,
        room: Bell,
        done: Gong,
        hurry: Hurry,
    ) -> None:
        self.state = state
        """What the store knows of the sink, as far as we know."""
        self.aside: list[Quarantined] = []
        """Put aside, and not stored yet."""
        self.problems: dict[str, str] = {}
        """What of the store fails at the moment, by what it was asked to do."""
        self._store = store
        self._sink = sink
        self._queue = queue
        self._pacing = pacing
        self._room = room
        self._done = done
        self._hurry = hurry
        self._due = Bell()
        """Rings when it is time to store something."""
        self._counted: Counter[str] = Counter()
        """What of the queue's outcomes is in the state."""
        self._under_way: _Commit | None = None
        """A commit that may be stored or not: it is repeated before anything else is stored."""
        self._stored_at = pacing.monotonic()
        self._keeps_aside = state.quarantined > 0 or bool(state.resolved_ahead)
        """Whether anything was ever put aside: then the store must be asked what has become of it."""

    def progress(self, known: int) -> Progress:
        """What has become of the records so far. ``known``: the last position that is known to be in the store."""
        settled, counted = self._queue.settled, self._counted
        return Progress.of(
            self._sink,
            self.state,
            accepted=max(known, self._queue.read, self.state.position),
            delivered=settled["delivered"] - counted["delivered"],
            aside=len(self.aside),
            dropped={reason: settled[reason] - counted[reason] for reason in DROPPED},
        )

    def have(self, goal: int) -> bool:
        """Whether everything up to a position is settled, and that is stored unless the store fails."""
        return self.state.position >= goal or ("commit" in self.problems and self._queue.position >= goal)

    @property
    def unstored(self) -> int:
        """How much is settled, or put aside, and not stored yet."""
        return self._queue.position - self.state.position + len(self.aside)

    def put_aside(self, aside: Iterable[Stored], reason: str, status: int | None, *, requested: bool = False) -> None:
        """These are settled by being put into quarantine."""
        at = self._pacing.clock()
        self.aside += [
            Quarantined(position=position, record=record, reason=reason, status=status, at=at, requested=requested)
            for position, record in aside
        ]

    def note_settled(self, *, idle: bool = False) -> None:
        """Have the position stored if it is time: nothing else to do, something put aside, or enough of it."""
        moved = self._queue.position - self.state.position
        if (
            self.aside
            or moved >= COMMIT_EVERY
            or (moved and (idle or self._hurry.on or self._pacing.monotonic() - self._stored_at >= COMMIT_EVERY_S))
        ):
            self._due.ring()

    def note_problem(self, asked: str, error: Exception) -> None:
        """The store has failed to do what it was asked."""
        problem = str(error) if isinstance(error, StoreError) else f"the store fails: {type(error).__name__}"
        if self.problems.get(asked) != problem:
            log.warning("delivery to sink %s is held up: %s", self._sink, problem)
        self.problems[asked] = problem
        self._done.strike()

    def hurry_up(self) -> None:
        """Somebody waits from now on."""
        self._due.ring()

    async def look_at_state(self) -> None:
        """Take the state as the store has it, unless a commit comes in between."""
        before = self.state
        state = await self._store.state(self._sink)
        if before is self.state and self._under_way is None and state.position == before.position:
            self.state = state
            self._keeps_aside = self._keeps_aside or state.quarantined > 0 or bool(state.resolved_ahead)
            self._done.strike()

    async def keep(self) -> None:
        """Store what is settled, again and again. What is settled during one commit goes with the next.

        Raises PositionConflict when somebody else delivers.
        """
        failures = 0
        while True:
            await self._due.wait()
            while not await self.commit():
                failures += 1
                await self._pacing.sleep(retry_delay_s(failures, None, rng=self._pacing.rng))
            failures = 0

    async def close(self) -> None:
        """Store what is settled, if the store can. Raises as :meth:`keep` does."""
        while (self.unstored > 0 or self._under_way is not None) and await self.commit():
            pass

    async def commit(self) -> bool:
        """Have the store remember what is settled. False if it could not. Raises as :meth:`keep` does."""
        commit = self._under_way
        if commit is None:
            if self.unstored <= 0:
                return True
            commit = self._under_way = self._next_commit()
        try:
            await self._store.commit(
                self._sink,
                after=commit.after,
                position=commit.position,
                dropped=commit.dropped,
                quarantined=commit.aside,
            )
            self._keeps_aside = self._keeps_aside or bool(commit.aside)
            if self._keeps_aside:  # an operator may have changed something, too
                state = await self._store.state(self._sink)
            else:
                dropped = self.state.dropped
                if commit.dropped:
                    dropped = dict(Counter(dropped) + Counter(commit.dropped))
                state = SinkState(position=commit.position, dropped=dropped)
        except PositionConflict as conflict:
            log.warning("%s", conflict)
            self._under_way = None
            raise
        except Exception as error:  # noqa: BLE001 (a store that fails must not stop the bot)
            self.note_problem("commit", error)
            return False
        self._under_way = None
        del self.aside[: len(commit.aside)]
        self._counted = commit.passed
        self.state = state
        self._stored_at = self._pacing.monotonic()
        self.problems.pop("commit", None)
        self._room.ring()
        self._done.strike()
        return True

    def _next_commit(self) -> _Commit:
        passed = self._queue.passed
        return _Commit(
            after=self.state.position,
            position=self._queue.position,
            passed=passed,
            dropped={reason: more for reason in DROPPED if (more := passed[reason] - self._counted[reason])},
            aside=self.aside[:],
        )
