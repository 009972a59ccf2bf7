"""Work that goes on beside its caller, in the event loop, for as long as there is any."""

import sys
from collections.abc import Awaitable, Callable, Coroutine

from anyio import Event, sleep

__all__ = ["Ticker", "on_trio", "start"]


def on_trio() -> bool:
    """Whether the caller runs on trio; else it runs on asyncio."""
    # trio first: in its guest mode, an asyncio loop is running as well.
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())


def start(job: Callable[[], Coroutine[None, None, None]]) -> object:
    """Run ``job`` beside the caller. Keep what is returned: asyncio does not.

    anyio offers task groups only, which bind ``job`` to a block of code in one task. A transport or a store may be
    opened in one task and closed in another.
    """
    if on_trio():
        return sys.modules["trio"].lowlevel.spawn_system_task(job)
    import asyncio  # not at the top: importing caseassist should cost little, and trio's users do without

    return asyncio.get_running_loop().create_task(job())


class Ticker:
    """Looks after all deadlines of one owner: calls ``tick`` again and again until it returns False.

    A cancel scope around each wait would take a fifth to a third of the throughput.
    """

    INTERVAL_S = 0.02
    """How often it looks: a deadline is kept to within that, and a turn of the loop."""

    def __init__(self, tick: Callable[[], Awaitable[bool]]) -> None:
        self._tick = tick
        self._task: object = None
        self._stopped: Event | None = None

    @property
    def running(self) -> bool:
        """Whether it looks."""
        return self._task is not None

    def wake(self) -> None:
        """There is something to look after."""
        if self._task is None:
            self._stopped = Event()
            self._task = start(self._run)

    async def wait_stopped(self) -> None:
        """Return when it does not run (any more)."""
        if self._stopped is not None:
            await self._stopped.wait()

    async def _run(self) -> None:
        try:
            ticking = True
            while ticking:
                await sleep(self.INTERVAL_S)
                ticking = await self._tick()
        finally:
            self._task = None
            assert self._stopped is not None
            self._stopped.set()
