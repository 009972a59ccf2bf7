"""A lane: jobs that are done in a thread, in order, by one worker that no other thread uses at the same time.

Whatever waits when the worker comes back is done in the next hop, together: a hop costs about as much as a small
transaction. Nobody waits in the thread: callers wait in the event loop for their own job, so a worker that hangs holds
up nobody longer than they want, and any call can be cancelled.
"""

import math
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from anyio import CapacityLimiter, Event, lowlevel, sleep, to_thread

from caseassist.background import on_trio, start
from caseassist.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from asyncio import Future

__all__ = ["BUSY_S", "MAX_JOBS", "Busy", "Job", "Lane", "Worker"]

T = TypeVar("T")

MAX_JOBS = 256
"""So many jobs are done in one hop, so that other processes have their turn at the file."""

BUSY_S = 0.001
"""How long to wait before the next try when another process writes: about as long as a small transaction takes."""

HUNG_S = 5.0
"""A worker that does not come back for so long is reported as hung: disks that work answer within a second."""


class Busy(Exception):
    """Somebody else has the file; nothing was done. The jobs are done again in a moment."""


class Job(Generic[T]):
    """Something to be done in a lane.

    ``deadline``: when to give up, as time.monotonic() has it. ``alone``: not together with others.
    """

    __slots__ = ("_wake", "alone", "deadline", "ended", "outcome", "over")

    def __init__(self, *, deadline: float = math.inf, alone: bool = False) -> None:
        self.deadline = deadline
        self.alone = alone
        self.over = False
        """Nobody waits for it any more."""
        self.ended = False
        self.outcome: T | Exception | None = None
        self._wake: Callable[[], object] | None = None

    def finish(self, outcome: T | Exception) -> None:
        """Give the outcome to who waits for it."""
        self.outcome = outcome
        self.over = self.ended = True
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    async def wait(self) -> None:
        """Return when it has ended. For one task at most: what wakes any number of them costs three times as much."""
        if self.ended:
            await lowlevel.checkpoint()
            return
        if on_trio():
            trio = sys.modules["trio"].lowlevel
            self._wake = partial(trio.reschedule, trio.current_task())
            await trio.wait_task_rescheduled(partial(self._cut_off, trio.Abort.SUCCEEDED))
        else:
            import asyncio  # not at the top: see `start`

            future: Future[None] = asyncio.get_running_loop().create_future()
            self._wake = partial(_resolve, future)
            await future

    def _cut_off(self, succeeded: object, _raise_cancelled: object) -> object:
        self._wake = None  # trio wakes it by itself
        return succeeded

    def unknown(self) -> Exception:
        """What to raise when nobody knows whether it was done."""
        return StoreUnavailable("the call was cut off; repeat it")

    def orphaned(self, outcome: T | Exception) -> None:
        """It was done, but its caller is gone."""


def _resolve(future: "Future[None]") -> None:
    if not future.done():  # its task may have been cancelled, and not know it yet
        future.set_result(None)


J = TypeVar("J", bound=Job[Any])
J_contra = TypeVar("J_contra", bound=Job[Any], contravariant=True)


class Worker(Protocol[J_contra]):
    """Who does the jobs, in a thread."""

    problem: str
    """Why the latest jobs failed, in words without personal data; empty if they did not."""

    def do(self, jobs: Sequence[J_contra], begin: Callable[[], None]) -> Sequence[object]:
        """Do jobs and return the outcome of each: a result, or an exception. Raises Busy; of anything else, those who
        wait are told that nobody knows.

        ``begin`` is to be called before anything is changed. Jobs that are over by then must not be done: their callers
        were told that they are not.
        """
        ...

    def close(self) -> None:
        """Release everything. A second call does nothing."""
        ...


class Lane(Generic[J]):
    """Does jobs by one worker, in the order in which they come."""

    def __init__(self, worker: Worker[J], closed: Callable[[], object] = lambda: None) -> None:
        """``closed`` is called when the worker is closed for good, perhaps in a thread, and twice at the worst."""
        self._worker = worker
        self._closed = closed
        self._waiting: deque[J] = deque()
        self._at_work: Sequence[J] = ()
        self._since = 0.0
        """When the worker went to work."""
        self._busy_since: float | None = None
        """Since when somebody else has the file."""
        self._limiter = CapacityLimiter(1)  # of our own: hung disks must not use up the one that everybody shares
        self._task: object = None
        self._used = False
        self._stopped = Event()
        self._closing = False
        self._after: Lane[Any] | None = None
        self._guard = Lock()
        self._in_thread = False
        self._begun = False
        """Whether the worker may have changed something."""
        self._abandoned = False

    def put(self, job: J) -> None:
        """Have a job done. It fails if the lane is closing."""
        if self._closing:
            job.finish(StoreUnavailable("it was closed"))
            return
        self._waiting.append(job)
        self._used = True
        if self._task is None:
            self._task = start(self._run)

    async def result(self, job: Job[T]) -> T:
        """Wait for the outcome of a job that was put in. One whose caller is cancelled before it was begun, is not
        done at all."""
        try:
            await job.wait()
        except BaseException:
            if job.ended:  # asyncio can cancel who is about to be told
                job.orphaned(cast("T | Exception", job.outcome))
            raise
        finally:
            job.over = True
        if isinstance(job.outcome, Exception):
            raise job.outcome
        return cast("T", job.outcome)

    def expire(self, now: float) -> bool:
        """End the jobs whose deadline has passed. Returns whether any are left that have one."""
        left = False
        with self._guard:  # or the worker could begin meanwhile
            for job in self._at_work:
                if not job.over and job.deadline <= now:
                    job.finish(job.unknown() if self._begun else self._not_done())
                left = left or (not job.over and job.deadline < math.inf)
        if self._waiting:
            for job in self._waiting:
                if not job.over and job.deadline <= now:
                    job.finish(self._not_done())
            self._waiting = deque(job for job in self._waiting if not job.over)
            left = left or any(job.deadline < math.inf for job in self._waiting)
        return left

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""
        if self._at_work and monotonic() - self._since > HUNG_S:
            return "the disk does not answer"
        if self._busy_since is not None:
            return "another process is writing"
        return self._worker.problem

    @property
    def reported_problem(self) -> str:
        """What is wrong. That others use the file for a moment is nothing to report."""
        since = self._since if self._at_work else self._busy_since
        if since is None or monotonic() - since > HUNG_S:
            return self.problem
        return self._worker.problem

    def close_soon(self, *, after: "Lane[Any] | None" = None) -> None:
        """End what waits, let what is being done be done, and close the worker, ``after`` that of another lane."""
        self._closing = True
        self._after = after
        while self._waiting:
            job = self._waiting.popleft()
            if not job.over:
                job.finish(StoreUnavailable("it was closed"))
        if not self._used:  # there is nothing to close, and perhaps nobody left to do it
            self._closed()
            self._stopped.set()
        elif self._task is None and not self._stopped.is_set():
            self._task = start(self._run)

    async def wait_closed(self) -> None:
        """Return when the worker is closed. Cancelled, it closes in the background, whenever it comes back."""
        try:
            await self._stopped.wait()
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Whoever still waits is told that nobody knows."""
        for job in (*self._at_work, *self._waiting):
            if not job.over:
                job.finish(job.unknown())

    async def _run(self) -> None:
        try:
            while jobs := self._take():
                await self._do(jobs)
            if self._closing:
                if self._after is not None:
                    await self._after._stopped.wait()
                await to_thread.run_sync(self._close_in_thread, abandon_on_cancel=True, limiter=self._limiter)
                self._stopped.set()
        except BaseException as error:  # the event loop is ending, or there is no thread to be had
            self._closing = True
            with self._guard:
                self._abandoned = True
                idle = not self._in_thread
            if idle:
                self._close_worker()  # nobody else will
            self.give_up()
            self._stopped.set()
            if not isinstance(error, Exception):  # or trio would end the whole program
                raise
        finally:
            self._task = None

    def _take(self) -> Sequence[J]:
        jobs: list[J] = []
        waiting = self._waiting
        while waiting and len(jobs) < MAX_JOBS:
            job = waiting[0]
            if job.alone and jobs:
                break
            waiting.popleft()
            if job.over:
                continue
            jobs.append(job)
            if job.alone:
                break
        return jobs

    async def _do(self, jobs: Sequence[J]) -> None:
        self._at_work = jobs
        self._begun = False
        self._since = monotonic()
        try:
            outcomes = await to_thread.run_sync(self._do_in_thread, jobs, abandon_on_cancel=True, limiter=self._limiter)
        except Busy:
            if self._busy_since is None:
                self._busy_since = self._since
            self._at_work = ()
            if self._closing:
                for job in jobs:
                    if not job.over:
                        job.finish(StoreUnavailable("it was closed"))
                return
            self._waiting.extendleft(reversed(jobs))
            await sleep(BUSY_S)
            return
        except Exception as error:  # noqa: BLE001 (whatever it is: who waits is told, and the next ones are served)
            outcomes = [self._failed(job, error) for job in jobs]
        self._busy_since = None
        self._at_work = ()
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job.over:
                job.orphaned(outcome)
            else:
                job.finish(outcome)

    def _not_done(self) -> Exception:
        return StoreUnavailable(self.problem or "there was no time to do it")

    def _failed(self, job: J, error: Exception) -> Exception:
        failed = job.unknown() if self._begun else StoreUnavailable(f"it failed with {type(error).__name__}")
        failed.__cause__ = error
        return failed

    # In the thread. If the event loop gave up in the meantime, nobody but this thread can close the worker.

    def _do_in_thread(self, jobs: Sequence[J]) -> Sequence[object]:
        if not self._enter():
            return ()
        try:
            outcomes = self._worker.do(jobs, self._begin)
            if len(outcomes) != len(jobs):
                raise RuntimeError("a worker must tell what became of each job")
            return outcomes
        finally:
            self._leave()

    def _close_in_thread(self) -> None:
        if self._enter():
            try:
                self._close_worker()
            finally:
                self._leave()

    def _close_worker(self) -> None:
        try:
            self._worker.close()
        finally:
            self._closed()

    def _begin(self) -> None:
        with self._guard:
            self._begun = True

    def _enter(self) -> bool:
        with self._guard:
            self._in_thread = not self._abandoned
            return self._in_thread

    def _leave(self) -> None:
        with self._guard:
            self._in_thread = False
            abandoned = self._abandoned
        if abandoned:
            self._close_worker()
