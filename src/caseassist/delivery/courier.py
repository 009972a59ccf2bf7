"""The courier: it moves records from a store to one sink and keeps the sink's position.

Of all couriers that deliver from one store to one sink, in however many processes, one has the store's claim and works
(see :class:`Turn`); the others stand by, and one of them takes over when it is gone.
"""

import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime

import anyio

from caseassist.core.errors import StoreError
from caseassist.delivery.pacing import Pacing, RetryBudget, retry_delay_s
from caseassist.delivery.reports import Progress, SinkHealth
from caseassist.delivery.signals import Gong, Hurry
from caseassist.delivery.turn import POLL_S, Turn, is_mistake
from caseassist.sinks.base import Sink
from caseassist.stores.base import SinkState, Store

__all__ = ["CLOSE_S", "Courier"]

log = logging.getLogger("caseassist")

STALLED_S = 60.0
"""Seconds without progress, while there is something to do, after which delivery counts as ill."""
CLOSE_S = 2.0
"""Seconds that a sink gets to close when nobody has set a deadline, or whoever waited is cancelled."""
MIN_PART_S = 0.05
"""Seconds that each part of closing gets at least."""


class Courier:
    """Delivers a store's records to one sink: :meth:`open` it, then :meth:`run` it.

    ``rng``, ``sleep``, ``clock`` and ``monotonic`` are where chance and time come in; tests pass their own.
    """

    def __init__(
        self,
        store: Store,
        sink: Sink,
        *,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.sink = sink
        self._pacing = Pacing(
            rng=rng or random.Random(),  # noqa: S311 (jitter, not a secret)
            sleep=sleep,
            clock=clock,
            monotonic=monotonic,
        )
        self._budget = RetryBudget(monotonic())
        self._turn: Turn | None = None
        """While we have the claim."""
        self._state = SinkState()
        """How far somebody else is, while we have not."""
        self._known = 0
        self._moved_at = monotonic()
        """When somebody else got on."""
        self._problem = ""
        """Why we could not see whose turn it is."""
        self._done = Gong()
        self._hurry = Hurry()
        self._scope: anyio.CancelScope | None = None
        self._close_s = CLOSE_S
        self._closed = anyio.Event()

    @property
    def progress(self) -> Progress:
        """What has become of the records so far."""
        if self._turn is not None:
            return self._turn.progress(self._known)
        return Progress.of(self.sink.name, self._state, max(self._known, self._state.position))

    @property
    def health(self) -> SinkHealth:
        """Whether delivery goes well: something is settled while there is something to do, and nothing stands in the
        way that only a person can remove."""
        turn, progress = self._turn, self.progress
        moved_at = self._moved_at if turn is None else turn.moved_at
        stalled_s = max(self._pacing.monotonic() - moved_at, 0.0) if progress.pending else 0.0
        paused = False
        problem = self._problem
        if turn is not None:
            paused = turn.failure is not None and turn.failure.paused
            problem = next(iter(turn.store_problems.values()), str(turn.failure or ""))
        ok = stalled_s < STALLED_S and not paused and not self.closed
        if self.closed:
            problem = "it is closed"
        elif not ok and not problem:
            problem = f"nothing was settled for {stalled_s:.0f} s"
        return SinkHealth(
            sink=self.sink.name,
            ok=ok,
            problem=problem,
            pending=progress.pending,
            quarantined=progress.quarantined,
            stalled_s=stalled_s,
            standby=self.standby,
        )

    @property
    def standby(self) -> bool:
        """Whether somebody else delivers to the sink."""
        return self._turn is None and not self.closed

    @property
    def closed(self) -> bool:
        """Whether nothing will be delivered any more."""
        return self._closed.is_set()

    def notify(self, position: int = 0) -> None:
        """There may be more in the store: records up to ``position`` are."""
        turn = self._turn
        if turn is not None and not turn.more.rung:  # it has looked since it was told the last time
            turn.notify(self._known)
        if position > self._known:
            self._known = position

    def look_for_requests(self) -> None:
        """An operator may want something to be sent again, or has dropped something."""
        if self._turn is not None:
            self._turn.look_for_requests()

    def erase(self, session_ids: Collection[str]) -> None:
        """These sessions were erased: what waits of them is not to be delivered."""
        if self._turn is not None:
            self._turn.erase(session_ids)

    async def drain(self) -> None:
        """Return when all that is known now is settled and that is stored, or when nothing will be delivered any more.

        Meanwhile batches are not waited for, and a lost sink is tried sooner.
        """
        if self.standby:
            with contextlib.suppress(StoreError):  # what others have appended since we looked
                self._known = max(self._known, await self.store.last_position())
        goal = max(self._known, 0 if self._turn is None else self._turn.read)
        with self._hurry:
            if self._turn is not None:
                self._turn.hurry_up()
            while not self._has_settled(goal) and not self.closed:
                await self._done.wait()

    def _has_settled(self, goal: int) -> bool:
        return self._state.position >= goal if self._turn is None else self._turn.has_settled(goal)

    async def open(self) -> None:
        """Open the sink. If that fails, close it and raise what it raised."""
        self._scope = anyio.CancelScope()
        try:
            await self._try_to_claim()
            await self.sink.open()
        except BaseException:
            await self.aclose()
            raise

    async def run(self) -> None:
        """Deliver until stopped or cancelled, then close the sink."""
        assert self._scope is not None
        try:
            with self._scope:
                while True:
                    if self._turn is None:
                        await self._stand_by()
                    assert self._turn is not None
                    await self._turn.run()
                    await self._give_way()
        finally:
            await self.aclose()

    def stop(self, close_s: float = CLOSE_S) -> None:
        """Make :meth:`run` end. ``close_s``: seconds that storing the position and closing the sink may take."""
        self._close_s = close_s
        if self._scope is not None:
            self._scope.cancel()

    async def wait_closed(self) -> None:
        """Return when :meth:`run` has ended and the sink is closed."""
        await self._closed.wait()

    async def aclose(self) -> None:
        """Close the sink, which must not be running. What happens there is logged: it concerns nobody any more."""
        if self._scope is None or self.closed:
            return
        part_s = max(self._close_s / 2, MIN_PART_S)
        try:
            with anyio.move_on_after(part_s, shield=True):
                if self._turn is not None:
                    await self._turn.finish()
            with anyio.move_on_after(part_s, shield=True):
                await self.sink.aclose()
        except BaseException as mistake:
            if not is_mistake(mistake):
                raise
            log.warning("sink %s did not close: unexpected %s", self.sink.name, type(mistake).__name__)
        finally:
            with anyio.move_on_after(MIN_PART_S, shield=True):
                if self._turn is not None:
                    await self._release()
            self._closed.set()
            self._done.strike()

    # Whose turn it is.

    async def _try_to_claim(self) -> bool:
        """Become the one who delivers, or see how far that one is."""
        if await self.store.claim(self.sink.name):
            turn = Turn(self.store, self.sink, self._pacing, self._budget, done=self._done, hurry=self._hurry)
            try:
                await turn.begin()
                self._known = max(self._known, await self.store.last_position())
            except BaseException:
                with anyio.move_on_after(CLOSE_S, shield=True):
                    await self._release()
                raise
            self._turn = turn
        else:
            state = await self.store.state(self.sink.name)
            last = await self.store.last_position()
            if state.position > self._state.position or last > self._known:
                self._moved_at = self._pacing.monotonic()
            self._state = state
            self._known = max(self._known, last)
        self._problem = ""
        self._done.strike()
        return self._turn is not None

    async def _stand_by(self) -> None:
        """Return when it is our turn."""
        failures = 0
        while True:
            try:
                if await self._try_to_claim():
                    log.info("delivering to sink %s from now on", self.sink.name)
                    return
                failures = 0
                await self._pacing.sleep(POLL_S * self._pacing.rng.uniform(0.5, 1.5))
            except Exception as error:  # noqa: BLE001 (a store that fails must not stop the bot)
                failures += 1
                problem = str(error) if isinstance(error, StoreError) else f"the store fails: {type(error).__name__}"
                if problem != self._problem:
                    log.warning("delivery to sink %s is held up: %s", self.sink.name, problem)
                self._problem = problem
                await self._pacing.sleep(retry_delay_s(failures, None, rng=self._pacing.rng))

    async def _give_way(self) -> None:
        """Somebody else delivers all the same: begin again from where they are."""
        assert self._turn is not None
        self._state = self._turn.state
        self._moved_at = self._pacing.monotonic()
        self._turn = None
        await self._release()

    async def _release(self) -> None:
        try:
            await self.store.release(self.sink.name)
        except Exception as error:  # noqa: BLE001 (it ends with the process, at the latest)
            log.warning("the claim of sink %s was not released: %s", self.sink.name, type(error).__name__)
