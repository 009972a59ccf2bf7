"""A lane does jobs in a thread, and tells everybody what became of theirs."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from tests.fakes import LONG_S

from caseassist.core.errors import StoreUnavailable
from caseassist.stores.lane import Job, Lane


class Unknown(Exception):
    pass


class Noted(Job[str]):
    """``orphans``: the outcomes that nobody waited for any more."""

    __slots__ = ("orphans",)

    def __init__(self) -> None:
        super().__init__()
        self.orphans: list[object] = []

    def unknown(self) -> Exception:
        return Unknown()

    def orphaned(self, outcome: str | Exception) -> None:
        self.orphans.append(outcome)


class Scripted:
    """Does with each batch of jobs what comes next in a script."""

    def __init__(self, *script: Callable[[Callable[[], None]], Sequence[object]]) -> None:
        self.problem = ""
        self.script = list(script)
        self.closed = threading.Event()

    def do(self, jobs: Sequence[Job[Any]], begin: Callable[[], None]) -> Sequence[object]:
        return self.script.pop(0)(begin)

    def close(self) -> None:
        self.closed.set()


def done(begin: Callable[[], None]) -> Sequence[object]:
    begin()
    return ["done"]


def forgets_one(begin: Callable[[], None]) -> Sequence[object]:
    begin()
    return []


def breaks_early(begin: Callable[[], None]) -> Sequence[object]:
    raise TypeError("canary")


def breaks_late(begin: Callable[[], None]) -> Sequence[object]:
    begin()
    raise TypeError("canary")


async def result(lane: Lane[Noted]) -> str:
    job = Noted()
    lane.put(job)
    return await lane.result(job)


async def close(lane: Lane[Noted]) -> None:
    lane.close_soon()
    with anyio.fail_after(LONG_S):
        await lane.wait_closed()


@pytest.mark.parametrize(
    ("breaks", "expected"), [(breaks_early, StoreUnavailable), (breaks_late, Unknown), (forgets_one, Unknown)]
)
async def test_a_worker_that_breaks_down_is_told_to_who_waits_and_the_lane_goes_on(
    breaks: Any, expected: type[Exception]
) -> None:
    worker = Scripted(breaks, done)
    lane = Lane[Noted](worker)
    with anyio.fail_after(LONG_S):
        with pytest.raises(expected) as caught:
            await result(lane)
        assert "canary" not in str(caught.value)
        assert isinstance(caught.value.__cause__, TypeError | RuntimeError)
        assert await result(lane) == "done"
    await close(lane)
    assert worker.closed.is_set()


async def test_without_a_thread_to_be_had_nothing_is_done_and_closing_still_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run_sync(*args: object, **options: object) -> None:
        raise RuntimeError("can't start new thread")

    worker = Scripted(done)
    lane = Lane[Noted](worker)
    assert await result(lane) == "done"
    monkeypatch.setattr("anyio.to_thread.run_sync", run_sync)
    with anyio.fail_after(LONG_S), pytest.raises(StoreUnavailable, match="RuntimeError"):
        await result(lane)
    await close(lane)
    assert worker.closed.is_set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_outcome_that_comes_together_with_a_cancellation_is_not_lost(anyio_backend: str) -> None:
    lane = Lane[Noted](Scripted())
    job = Noted()
    waiting = asyncio.get_running_loop().create_task(lane.result(job))
    await anyio.lowlevel.checkpoint()
    job.finish("done")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert job.orphans == ["done"]


async def test_who_was_cancelled_a_moment_before_the_outcome_comes_is_passed_over() -> None:
    lane = Lane[Noted](Scripted())
    job = Noted()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(lane.result, job)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            job.finish("done")
    assert scope.cancelled_caught
    assert job.orphans == ["done"]


async def test_an_outcome_that_is_there_already_is_returned() -> None:
    lane = Lane[Noted](Scripted())
    job = Noted()
    job.finish("done")
    with anyio.fail_after(LONG_S):
        assert await lane.result(job) == "done"


async def test_a_lane_that_was_never_used_is_closed_at_once() -> None:
    closed: list[bool] = []
    lane = Lane[Noted](Scripted(), lambda: closed.append(True))
    lane.close_soon()
    assert closed == [True]
    await lane.wait_closed()
