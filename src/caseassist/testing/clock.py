"""A clock for tests: time passes when it is told to, or when everybody waits for it."""

import math
from bisect import insort
from datetime import UTC, datetime, timedelta

import anyio
from anyio.lowlevel import checkpoint

__all__ = ["FakeClock"]

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
TURNS = 20
"""How often other tasks get their turn before time goes on."""


class _Sleeper:
    def __init__(self, until: float) -> None:
        self.until = until
        self.due = False
        self.called = anyio.Event()

    def call(self) -> None:
        self.called.set()


class FakeClock:
    """A wall clock, monotonic seconds and a sleep that belong together: ``CaseAssist(clock=fake.clock,
    sleep=fake.sleep)``. For one event loop, asyncio or trio.

    With ``auto``, the default, nobody waits for long: when other tasks have had some turns, time jumps to the end of
    the shortest sleep. It knows nothing of threads and sockets that others may wait for; where that matters, turn it
    off and call :meth:`advance`.

    ``start``: the time that the wall clock shows at first, with a time zone.
    """

    def __init__(self, start: datetime = NEW_YEAR, *, auto: bool = True) -> None:
        if start.tzinfo is None:
            raise ValueError("start needs a time zone, such as datetime.UTC")
        self.auto = auto
        self._start = start
        self._ahead = timedelta()
        self._now = 0.0
        self._sleepers: list[_Sleeper] = []
        """Those who sleep longest come last; of equals, those who came last."""

    def __repr__(self) -> str:
        return f"<FakeClock {self.clock().isoformat()}, {len(self._sleepers)} sleeping>"

    def clock(self) -> datetime:
        """The time of the wall clock."""
        return self._start + self._ahead + timedelta(seconds=self._now)

    def monotonic(self) -> float:
        """Seconds since the clock was made. Never goes back."""
        return self._now

    def jump(self, wall_seconds: float) -> None:
        """Set the wall clock forward, or back by a negative number of seconds. No sleep ends by that."""
        self._ahead += timedelta(seconds=wall_seconds)

    @property
    def sleeping(self) -> int:
        """How many sleep."""
        return len(self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed on this clock."""
        if not seconds > 0:
            await checkpoint()
            return
        sleeper = _Sleeper(self._now + seconds)
        insort(self._sleepers, sleeper, key=_until)
        try:
            while not sleeper.due:
                if self.auto and self._sleepers[0] is sleeper and sleeper.until < math.inf:
                    await _others_turn()
                    if self._sleepers and self._sleepers[0] is sleeper:
                        self._go_to(sleeper.until)
                else:
                    await sleeper.called.wait()
                    sleeper.called = anyio.Event()
        except BaseException:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                self._call_next()
            raise

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass. Those who sleep wake in the order of their time, and can do what they have to do
        before the next one wakes."""
        if not 0 <= seconds < math.inf:
            raise ValueError("time can only go on: give a number of seconds from 0")
        target = self._now + seconds
        await _others_turn()
        while self._sleepers and self._sleepers[0].until <= target:
            self._go_to(self._sleepers[0].until)
            await _others_turn()
        self._go_to(target)
        await _others_turn()

    def _go_to(self, time: float) -> None:
        self._now = max(time, self._now)
        while self._sleepers and self._sleepers[0].until <= self._now:
            sleeper = self._sleepers.pop(0)
            sleeper.due = True
            sleeper.call()
        self._call_next()

    def _call_next(self) -> None:
        """With ``auto``, the one whose time is next is who makes time jump."""
        if self._sleepers:
            self._sleepers[0].call()


def _until(sleeper: _Sleeper) -> float:
    return sleeper.until


async def _others_turn() -> None:
    for _ in range(TURNS):
        await checkpoint()
