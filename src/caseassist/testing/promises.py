"""What the checks share: records to try things with, and how a broken promise is told."""

from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar, cast

import anyio

from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.testing.cancellation import CancelledAt

__all__ = [
    "AT",
    "CLIENT_ID",
    "LONG_S",
    "PERSONAL",
    "BrokenPromise",
    "broken",
    "broken_by",
    "cut",
    "identities",
    "kept",
    "raised",
    "records_of",
]

E = TypeVar("E", bound=Exception)

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
CLIENT_ID = "5a3c4d1e-7f64-4b0e-9d50-0c7f3a1b2c3d"
PERSONAL = "personal-9f2c1d7e"
"""Stands in every record that is made here, as something that a person wrote."""
LONG_S = 30.0
"""Seconds after which something hangs."""
MOST_WAITS = 1000
"""A call that waits more often than this has no end."""


class BrokenPromise(AssertionError):
    """What the checks raise, as opposed to what the code under test raises."""


def broken(promise: str) -> NoReturn:
    raise BrokenPromise(f"broken promise: {promise}")


def broken_by(error: Exception, promise: str) -> NoReturn:
    """An exception that was not to come: it is told by its type, for its text may hold what is personal. If it tells of
    a broken promise itself, it goes on as it is."""
    told = _told(error)
    if told is not None:
        raise told
    raise BrokenPromise(f"broken promise: {promise} (it raised {_names_of(error)})") from error


def kept(condition: object, promise: str) -> None:
    """Raise AssertionError unless the condition holds."""
    if not condition:
        broken(promise)


async def raised(kind: type[E], call: Awaitable[object], promise: str) -> E:
    """Await a call that must raise an exception of that kind, and return it."""
    try:
        await call
    except kind as error:
        return error
    except Exception as error:  # noqa: BLE001 (whatever it is, it is not what was promised)
        broken_by(error, promise)
    broken(promise)


async def cut(coroutine: Coroutine[Any, Any, object], k: int, *, may_raise: type[Exception]) -> bool:
    """Cancel a call at its ``k``-th wait; say whether it came to that."""
    if k > MOST_WAITS:
        broken(f"a call ends, and does not wait more than {MOST_WAITS} times")
    with anyio.CancelScope() as scope:
        run: Awaitable[object] = CancelledAt(coroutine, scope, k)
        with suppress(may_raise):
            await run
    return scope.cancel_called


def records_of(
    session_id: str,
    count: int,
    *,
    client_id: str = CLIENT_ID,
    ended: bool = False,
    text: str = "",
    at: datetime = AT,
) -> list[Record]:
    """The records of one session, a second apart: a start, updates of a field and, if ``ended``, a solve."""
    session = Session(id=session_id)
    records: list[Record] = []
    for n in range(count):
        time = at + timedelta(seconds=n)
        if n == 0:
            context = {"clientId": client_id, "searchHub": "hub", "language": "en"}
            taken = session.start({"subject": f"{PERSONAL} {text}"}, context, at=time)
        elif ended and n == count - 1:
            taken = session.solve(at=time)
        else:
            taken = session.update_field("description", f"{PERSONAL} {text}{n}", at=time)
        session = session.apply(taken[0])
        records += taken
    return records


def identities(records: Iterable[Record]) -> Sequence[tuple[str, int]]:
    return [(record.session_id, record.seq) for record in records]


def _told(error: BaseException) -> BrokenPromise | None:
    inner = _inner(error)
    if not inner:
        return error if isinstance(error, BrokenPromise) else None
    return next((told for each in inner if (told := _told(each)) is not None), None)


def _names_of(error: BaseException) -> str:
    inner = _inner(error)
    return ", ".join(sorted({_names_of(each) for each in inner})) if inner else type(error).__name__


def _inner(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("BaseExceptionGroup[BaseException]", error).exceptions
