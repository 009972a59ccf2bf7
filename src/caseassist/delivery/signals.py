"""How the tasks of a courier wake each other."""

from collections import deque

import anyio

__all__ = ["Bell", "Gong", "Hurry"]


class Bell:
    """Wakes whoever waits. A ring that nobody waits for is remembered."""

    def __init__(self) -> None:
        self.rung = False
        """Whether it was rung, and nobody has come yet: then there is no need to ring again."""
        self._event: anyio.Event | None = None
        """While somebody waits."""

    async def wait(self) -> None:
        """Return after a ring since the last time; at once, without a checkpoint, if there was one."""
        if not self.rung:
            if self._event is None:
                self._event = anyio.Event()
            await self._event.wait()
        self.rung = False

    def ring(self) -> None:
        if not self.rung:
            self.rung = True
            if self._event is not None:
                self._event.set()
                self._event = None


class Gong:
    """Wakes tasks that wait for something to happen. Nobody else hears it."""

    def __init__(self) -> None:
        self._waiting: deque[anyio.Event] = deque()

    async def wait(self) -> None:
        event = anyio.Event()
        self._waiting.append(event)
        try:
            await event.wait()
        finally:
            if event in self._waiting:
                self._waiting.remove(event)

    def strike(self, tasks: int | None = None) -> None:
        """Wake so many tasks, those that wait the longest; or all."""
        for _ in range(len(self._waiting) if tasks is None else min(tasks, len(self._waiting))):
            self._waiting.popleft().set()


class Hurry:
    """Whether somebody waits for everything to be delivered. Enter it to be one who does."""

    def __init__(self) -> None:
        self._waiting = 0
        self._event = anyio.Event()

    def __enter__(self) -> None:
        self._waiting += 1
        self._event.set()

    def __exit__(self, *_: object) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._event = anyio.Event()

    @property
    def on(self) -> bool:
        """Whether somebody does."""
        return self._waiting > 0

    async def wait(self) -> None:
        """Return as soon as somebody does."""
        await self._event.wait()
