"""Hold a sink to its promises (see :mod:`caseassist.sinks.base`)."""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any
from uuid import uuid4

import anyio

from caseassist.core.errors import DeliveryError, SinkRefused, SinkUnavailable
from caseassist.core.records import Record, encode
from caseassist.sinks.base import Sink
from caseassist.testing.promises import LONG_S, broken_by, cut, identities, kept, records_of

__all__ = ["check_sink"]

PAUSE_S = 0.01
"""Seconds between two tries, when a sink is busy with what was cancelled."""
MOST_TRIES = 200

Make = Callable[[], Sink]


async def check_sink(make: Callable[[], Sink], taken: Callable[[], Sequence[Record]] | None = None) -> None:
    """Hold a sink to every promise that can be seen from outside.

    ``make``: gives a sink that is not open yet, each time a new one under the same name, to a place that can be
    reached. ``taken``: all the records that this place has taken so far, in that order; None if it cannot tell.

    Records are those of made-up sessions: starts, updates of a field, and ends. The sink may refuse some of them.

    Raises AssertionError, which names the promise that is broken.
    """
    for check in _CHECKS:
        promise = " ".join((check.__doc__ or "").split())
        try:
            with anyio.fail_after(LONG_S):
                await check(make, _Place(taken))
        except Exception as error:  # noqa: BLE001 (whatever it is, it is not what was promised)
            broken_by(error, promise)


class _Place:
    """Where a sink delivers to: what it has taken since this was made."""

    def __init__(self, taken: Callable[[], Sequence[Record]] | None) -> None:
        self._taken = taken
        self._before = 0 if taken is None else len(taken())
        self._run = uuid4().hex[:8]

    def records_of(self, session_id: str, count: int, *, ended: bool = False) -> list[Record]:
        """Records that the place has never seen: it may have been checked before."""
        return records_of(f"{session_id} {self._run}", count, ended=ended)

    def has(self, expected: Sequence[Record], promise: str, *, repeated: bool = False) -> None:
        """Each session's records must be there in sequence; with ``repeated``, with others before them."""
        if self._taken is None:
            return
        there = list(self._taken())[self._before :]
        kept(repeated or len(there) == len(expected), promise)
        for session_id in {record.session_id for record in expected}:
            found = [record for record in there if record.session_id == session_id]
            wanted = [record for record in expected if record.session_id == session_id]
            if repeated:
                found = found[-len(wanted) :]
            kept(identities(found) == identities(wanted), promise)
            kept(found == wanted, "a sink delivers records as they are")


async def _is_described(make: Make, place: _Place) -> None:
    """a sink has a name of its own and says what it can be given"""
    sink, again = make(), make()
    name = sink.name
    kept(isinstance(name, str) and name, "a sink has a name")
    kept(again.name == name, "a sink has the same name after a restart")
    kept(sink.batch_records >= 1, "batch_records is at least 1")
    kept(sink.sessions_at_once >= 1, "sessions_at_once is at least 1")
    kept(0 <= sink.linger_s < math.inf, "linger_s is a number of seconds, at least 0")
    kept(sink.on_refused in ("continue", "hold"), "on_refused is 'continue' or 'hold'")
    async with _opened(sink):
        await _deliver(sink, place.records_of("described", 1))
        kept(sink.name == name, "a sink keeps its name")


async def _takes_all_in_order(make: Make, place: _Place) -> None:
    """a sink takes what it is given, in order"""
    async with _opened(make()) as sink:
        most = min(sink.batch_records, 20)
        one = place.records_of("in order", 3 + most, ended=True)
        took = await _deliver(sink, one[:1]) + await _deliver(sink, one[1 : 1 + most])
        took += await _deliver(sink, one[1 + most : 2 + most]) + await _deliver(sink, one[2 + most :])
        place.has(took, "a sink takes what it is given, in order")
        if sink.sessions_at_once == 1 and most > 1:
            a, b = place.records_of("mixed a", most), place.records_of("mixed b", most)
            mixed = [record for pair in zip(a, b, strict=True) for record in pair]
            for begin in range(0, len(mixed), most):
                took += await _deliver(sink, mixed[begin : begin + most])
            place.has(took, "a sink takes what it is given, in order")
    place.has(took, "closing neither loses nor adds anything")


async def _takes_records_again(make: Make, place: _Place) -> None:
    """a sink can be given again what it has taken"""
    async with _opened(make()) as sink:
        records = place.records_of("again", min(sink.batch_records, 3))
        await _deliver(sink, records)
        took = await _deliver(sink, records)
        place.has(took, "a sink can be given again what it has taken", repeated=True)


async def _takes_sessions_at_once(make: Make, place: _Place) -> None:
    """a sink takes as many sessions at once as it says"""
    took: list[Record] = []

    async def deliver(number: int) -> None:
        records = place.records_of(f"beside {number}", 4)
        for begin in range(0, 4, step):
            took.extend(await _deliver(sink, records[begin : begin + step]))

    async with _opened(make()) as sink:
        step = min(sink.batch_records, 2)
        async with anyio.create_task_group() as tasks:
            for number in range(min(sink.sessions_at_once, 16)):
                tasks.start_soon(deliver, number)
        place.has(took, "a sink takes as many sessions at once as it says, each in order")


async def _can_be_cut_off_delivering(make: Make, place: _Place) -> None:
    """a delivery that was cancelled can be repeated"""
    for k in count(1):
        async with _opened(make()) as sink:
            records = place.records_of(f"cut {k}", min(sink.batch_records, 3))
            was_cut = await _cut(sink.deliver(list(records)), k)
            took = await _deliver(sink, records)
            place.has(took, "a delivery that was cancelled can be repeated, and is in order then", repeated=True)
        if not was_cut:
            return


async def _can_be_cut_off_opening(make: Make, place: _Place) -> None:
    """a sink whose opening was cancelled can be closed, and another one opened"""
    for k in count(1):
        sink = make()
        was_cut = await _cut(sink.open(), k)
        await _close(sink)
        if not was_cut:
            break
    await _works(make, place, "another sink can be opened after the opening of one was cancelled")


async def _can_be_cut_off_closing(make: Make, place: _Place) -> None:
    """a sink whose closing was cancelled leaves its place to the next one"""
    for k in count(1):
        sink = make()
        await sink.open()
        await _deliver(sink, place.records_of(f"closing {k}", 1))
        was_cut = await _cut(sink.aclose(), k)
        await _works(make, place, "a sink whose closing was cancelled leaves its place to the next one")
        if not was_cut:
            return


async def _can_be_closed_after_cancellation(make: Make, place: _Place) -> None:
    """a sink can be closed after a delivery was cancelled, and when it was never open"""
    for k in count(1):
        sink = make()
        await sink.open()
        was_cut = await _cut(sink.deliver(place.records_of(f"left {k}", 1)), k)
        await _close(sink)
        if not was_cut:
            break
    await _close(make())
    await _works(make, place, "a sink that was closed leaves its place to the next one")


@asynccontextmanager
async def _opened(sink: Sink) -> AsyncGenerator[Sink]:
    await sink.open()
    try:
        yield sink
    except BaseException:
        with anyio.move_on_after(LONG_S, shield=True), suppress(Exception):
            await sink.aclose()
        raise
    await _close(sink)


async def _deliver(sink: Sink, records: Sequence[Record]) -> list[Record]:
    """Deliver as a courier does, and return what the sink took: all but what it refused."""
    took: list[Record] = []
    rest = list(records)
    tries = 0
    while rest:
        tries += 1
        kept(tries < MOST_TRIES, "a sink whose place can be reached takes what it is given")
        given, lines = list(rest), [encode(record) for record in rest]
        refused = 0
        try:
            await sink.deliver(given)
            delivered = len(rest)
        except SinkRefused as error:
            delivered, refused = error.delivered, 1
        except SinkUnavailable as error:
            kept(error.retry_after_s is None or error.retry_after_s >= 0, "retry_after_s is at least 0 seconds")
            delivered = error.delivered
            await anyio.sleep(PAUSE_S)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is not what was promised)
            broken_by(error, "deliver raises SinkUnavailable or SinkRefused, and nothing else")
        kept(
            0 <= delivered <= len(rest) - refused,
            "an error says in delivered how many of the records of the call were taken before",
        )
        kept(
            given == rest and [encode(record) for record in given] == lines,
            "a sink leaves the records that it is given as they are",
        )
        took += rest[:delivered]
        rest = rest[delivered + refused :]
    return took


async def _close(sink: Sink) -> None:
    try:
        await sink.aclose()
    except Exception as error:  # noqa: BLE001 (whatever it is, it is not what was promised)
        broken_by(error, "a sink can be closed")


async def _works(make: Make, place: _Place, promise: str) -> None:
    try:
        async with _opened(make()) as sink:
            await _deliver(sink, place.records_of("still works", 1))
    except Exception as error:  # noqa: BLE001 (whatever it is, it is not what was promised)
        broken_by(error, promise)


async def _cut(coroutine: Coroutine[Any, Any, object], k: int) -> bool:
    # It may refuse, or be busy with what was cancelled before.
    return await cut(coroutine, k, may_raise=DeliveryError)


_CHECKS: tuple[Callable[[Make, _Place], Awaitable[None]], ...] = (
    _is_described,
    _takes_all_in_order,
    _takes_records_again,
    _takes_sessions_at_once,
    _can_be_cut_off_delivering,
    _can_be_cut_off_opening,
    _can_be_cut_off_closing,
    _can_be_closed_after_cancellation,
)
