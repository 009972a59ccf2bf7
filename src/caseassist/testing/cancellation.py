"""Cancel at every await: run something again and again, and cut it off at its first wait, its second, and so on."""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

import anyio

__all__ = ["CancelledAt", "cut_off"]

T = TypeVar("T")


class CancelledAt(Generic[T]):
    """Awaits a coroutine and cancels a scope when it waits for the ``k``-th time. ``waits``: how often it did."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], scope: anyio.CancelScope, k: int) -> None:
        self.waits = 0
        self._coroutine, self._scope, self._k = coroutine, scope, k

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            try:
                waits_for = step(value)
            except StopIteration as stop:
                result: T = stop.value
                return result
            self.waits += 1
            if self.waits == self._k:
                self._scope.cancel()
            try:
                step, value = self._coroutine.send, (yield waits_for)
            except BaseException as error:  # noqa: BLE001 (it is thrown in, whatever it is)
                step, value = self._coroutine.throw, error


async def cut_off(coroutine: Coroutine[Any, Any, T], k: int) -> tuple[bool, T | None]:
    """Run a coroutine and cancel it when it waits for the ``k``-th time.

    Returns whether it came to that (if not, it is done with fewer waits), and its result, None if it was cut off.
    """
    result: T | None = None
    with anyio.CancelScope() as scope:
        run: Awaitable[T] = CancelledAt(coroutine, scope, k)
        result = await run
    return scope.cancel_called, result
