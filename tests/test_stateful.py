"""A model against the real thing: the store in a file, CaseAssist with its courier, and a world that takes deliveries.

Hypothesis makes up what happens: people act, workers come, go and crash, the world outside fails in many ways, the
clock jumps, an operator looks after what was refused, people are forgotten. After every step what the model has must be
there, what the world has got must have come in order, and the books must be true. At the end everything must have
arrived.

Time is the machine's own, and each step runs until nobody has anything left to do, so a run can be repeated. More
examples than usual: ``STATEFUL_EXAMPLES=500 pytest tests/test_stateful.py``.
"""

import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio
import anyio.lowlevel
import msgspec
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.fakes import AT, LONG_S, identities

from caseassist import Case, CaseAssist, Context, HTTPSink
from caseassist.core.erasure import is_erased
from caseassist.core.errors import (
    IllegalTransition,
    SequenceConflict,
    SessionErased,
    SinkRefused,
    SinkUnavailable,
    StoreUnavailable,
)
from caseassist.core.events import ClassificationsOffered, TurnTaken
from caseassist.core.identity import event_id
from caseassist.core.machine import ENDS
from caseassist.core.records import Record
from caseassist.core.session import IDLE_S, Session
from caseassist.delivery import courier, turn
from caseassist.delivery.reports import Progress
from caseassist.sinks.base import OnRefused, Sink
from caseassist.stores.base import Ack, Quarantined, Stored
from caseassist.stores.sqlite import SQLiteStore
from caseassist.testing import FakeClock
from caseassist.wire.http import Reply, Request, TransportError

T = TypeVar("T")

EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "5"))
"""For each way to set the machine up."""
STEPS = 30
SINK = "world"
CLIENTS = ("489aa3e3-aed2-4563-8e81-62bb73178a56", "5a3c4d1e-7f64-4b0e-9d50-0c7f3a1b2c3d")
MAX_SEQ = 150
POLL_S = 0.005
"""Real seconds between looks at what other processes have done: this is a wait for threads, not for time."""
QUIET_TURNS = 25
OFFER = {
    "responseId": "r",
    "fields": {"category": {"predictions": [{"id": "c1", "value": "Electrical", "confidence": 0.5}]}},
}

Identity = tuple[str, int]
Verdict = Literal["taken", "unsaid", "refused", "down", "paused", "bug"]
MODES = ("ok", "down", "paused", "bug", "unsaid", "mute", "flaky")
BEGUN = 3
"""Sessions that there are from the beginning."""


class World:
    """The other side. ``taken``: what it has got, in that order, with repetitions.

    ``mode``: ``ok``; ``down``; ``paused`` (wants another token); ``bug`` (the sink breaks down); ``unsaid`` (it takes
    what comes and says that it is not available); ``mute`` (it takes what comes and does not answer until the mode is
    another); ``flaky`` (every other call fails). ``refuses``: sessions whose next record it refuses.
    """

    def __init__(self) -> None:
        self.mode = "ok"
        self.refuses: set[str] = set()
        self.taken: list[Identity] = []
        self.refused: set[Identity] = set()
        self.got_erased = False
        self._calls = 0
        self._changed: anyio.Event | None = None

    async def set_mode(self, mode: str) -> None:
        self.mode = mode
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def give(self, identity: Identity) -> Verdict:
        await anyio.lowlevel.checkpoint()
        self._calls += 1
        if self.mode == "down" or (self.mode == "flaky" and self._calls % 2):
            return "down"
        if self.mode == "paused":
            return "paused"
        if self.mode == "bug":
            return "bug"
        if identity[0] in self.refuses:
            self.refuses.remove(identity[0])
            self.refused.add(identity)
            return "refused"
        self.taken.append(identity)
        if self.mode == "unsaid":
            return "unsaid"
        while self.mode == "mute":
            if self._changed is None:
                self._changed = anyio.Event()
            await self._changed.wait()
        return "taken"


class Door(Sink):
    """A sink into the world."""

    name = SINK
    batch_records = 3

    def __init__(self, world: World, at_once: int, on_refused: OnRefused) -> None:
        self.sessions_at_once = at_once
        self.on_refused = on_refused
        self._world = world

    async def deliver(self, records: Sequence[Record]) -> None:
        for delivered, (session_id, seq) in enumerate(identities(records)):
            self._world.got_erased |= is_erased(records[delivered])
            verdict = await self._world.give((session_id, seq))
            if verdict == "refused":
                raise SinkRefused("no", status=400, delivered=delivered)
            if verdict == "bug":
                raise RuntimeError("a mistake in the sink")
            if verdict != "taken":
                raise SinkUnavailable(verdict, delivered=delivered, paused=verdict == "paused")


class Line:
    """A transport into the world, for HTTPSink."""

    def __init__(self, world: World, identity_of: Callable[[str], Identity]) -> None:
        self._world = world
        self._identity_of = identity_of

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        verdict = await self._world.give(self._identity_of(msgspec.json.decode(request.body)["z"]))
        if verdict == "bug":
            raise RuntimeError("a mistake in the transport")
        if verdict == "unsaid":
            raise TransportError("timeout", "no reply in time", maybe_sent=True)
        return Reply(status={"taken": 200, "refused": 400, "down": 503, "paused": 401}[verdict])


class Mortal(SQLiteStore):
    """A store whose process can die: from then on, nothing that it is told gets to the file.

    ``busy``: how many calls are under way. Threads are at work for them, so nobody else needs to have anything to do.
    """

    linger_s = 0.0  # what follows from an act is to follow at once

    def __init__(self, path: Path) -> None:
        super().__init__(path, durability="os")
        self.dead = False
        self.busy = 0

    async def _live(self, call: Awaitable[T]) -> T:
        self.busy += 1
        try:
            return await call
        finally:
            self.busy -= 1

    async def _write_alive(self, call: Callable[[], Awaitable[T]]) -> T:
        if self.dead:
            raise StoreUnavailable("its process is dead")
        return await self._live(call())

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        return await self._write_alive(lambda: SQLiteStore.append(self, records, timeout_s=timeout_s))

    async def commit(self, sink: str, **what: Any) -> None:
        await self._write_alive(lambda: SQLiteStore.commit(self, sink, **what))

    async def put_back(self, sink: str, entry: Quarantined) -> bool:
        return await self._write_alive(lambda: SQLiteStore.put_back(self, sink, entry))

    async def resolve(self, sink: str, position: int) -> bool:
        return await self._write_alive(lambda: SQLiteStore.resolve(self, sink, position))

    async def drop(self, sink: str, *, session_id: str | None = None, position: int | None = None) -> int:
        return await self._write_alive(lambda: SQLiteStore.drop(self, sink, session_id=session_id, position=position))

    async def claim(self, sink: str) -> bool:
        return await self._write_alive(lambda: SQLiteStore.claim(self, sink))

    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        return await self._live(super().read(after, limit))

    async def state(self, sink: str) -> Any:
        return await self._live(super().state(sink))

    async def last_position(self) -> int:
        return await self._live(super().last_position())

    async def quarantined(self, sink: str, **which: Any) -> Sequence[Quarantined]:
        return await self._live(super().quarantined(sink, **which))


async def told(action: Awaitable[T]) -> T | SequenceConflict:
    """What an action comes to: its result, or a conflict."""
    try:
        return await action
    except SequenceConflict as conflict:
        return conflict


class Handle:
    """A Case, how many records of its session it knows, and whether it will look for more before its next action."""

    def __init__(self, session_id: str, case: Case, known: int) -> None:
        self.session_id = session_id
        self.case = case
        self.known = known
        self.unsure = False


class Worker:
    """A process, as it were."""

    def __init__(self, assist: CaseAssist, store: Mortal, block: AbstractContextManager[CaseAssist]) -> None:
        self.assist = assist
        self.store = store
        self.block = block
        self.handles: list[Handle] = []


class Machine(RuleBasedStateMachine):
    """See the head of the file."""

    backend = "asyncio"
    kind = "door"
    at_once = 1
    on_refused: OnRefused = "continue"

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, list[Record]] = {}
        self.clients: dict[str, str] = {}
        self.erased: set[str] = set()
        self.dropped: set[Identity] = set()
        self.ids: dict[str, Identity] = {}
        self.texts = 0
        self.world = World()
        self.workers: list[Worker] = []
        self.stack = ExitStack()
        self.path = Path(self.stack.enter_context(tempfile.TemporaryDirectory())) / "cases.db"
        self.portal: BlockingPortal = self.stack.enter_context(start_blocking_portal(self.backend))

    # --- What the machine does with the event loop -------------------------------------------------------------------

    def do(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run something in the event loop, and then all that follows from it."""

        async def run() -> T:
            with anyio.fail_after(LONG_S):
                try:
                    return await function()
                finally:
                    await self.settle()

        return self.portal.call(run)

    async def settle(self) -> None:
        """Return when nobody has anything to do before time goes on."""
        if len(self.workers) > 1:  # they look after each other's doings now and then
            await anyio.sleep(2 * POLL_S)
        quiet = 0
        while quiet < QUIET_TURNS:
            await anyio.lowlevel.checkpoint()
            quiet += 1
            if any(worker.store.busy for worker in self.workers):
                quiet = 0
                await anyio.sleep(0.0002)

    async def while_time_passes(self, function: Callable[[], Awaitable[object]], seconds: float) -> bool:
        """Run something for so many seconds at most. Returns whether it came to its end."""
        done = False

        async def run() -> None:
            nonlocal done
            await function()
            done = True

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await self.settle()
            until = self.clock.monotonic() + seconds
            while not done and self.clock.monotonic() < until:
                await self.clock.advance(1.0)
                await self.settle()
            tasks.cancel_scope.cancel()
        return done

    def open(self) -> Worker:
        if self.kind == "door":
            sink: Sink = Door(self.world, self.at_once, self.on_refused)
        else:
            line = Line(self.world, self.ids.__getitem__)
            sink = HTTPSink("https://example.com", token="t", name=SINK, sessions_at_once=self.at_once, transport=line)
            sink.on_refused = self.on_refused
        store = Mortal(self.path)
        assist = CaseAssist(
            Context(search_hub="bot", language="en"),
            store=store,
            sinks=[sink],
            append_timeout_s=LONG_S,
            clock=self.clock.clock,
            sleep=self.clock.sleep,
            monotonic=self.clock.monotonic,
        )
        block = self.portal.wrap_async_context_manager(assist)
        block.__enter__()
        worker = Worker(assist, store, block)
        self.workers.append(worker)
        self.do(anyio.lowlevel.checkpoint)
        return worker

    def leave(self, worker: Worker) -> None:
        worker.block.__exit__(None, None, None)
        self.workers.remove(worker)
        self.do(anyio.lowlevel.checkpoint)

    def worker(self, n: int) -> Worker:
        return self.workers[n % len(self.workers)]

    def session_id(self, n: int) -> str:
        return sorted(self.model)[n % len(self.model)]

    def ended(self, session_id: str, known: int | None = None) -> bool:
        return Session.fold(self.model[session_id][:known]).state in ENDS

    # --- People ------------------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        async def clock() -> FakeClock:
            return FakeClock(AT, auto=False)

        self.clock = self.portal.call(clock)
        self.open()
        for number in range(BEGUN):
            self.start_one(self.workers[0], number % 2)

    @precondition(lambda self: self.workers and len(self.model) < 6)
    @rule(n=st.integers(0, 1), client=st.integers(0, 1))
    def start(self, n: int, client: int) -> None:
        self.start_one(self.worker(n), client)

    def start_one(self, worker: Worker, client: int) -> None:
        session_id = f"s{len(self.model)}"
        self.ids |= {event_id(session_id, seq): (session_id, seq) for seq in range(MAX_SEQ)}
        self.clients[session_id] = CLIENTS[client]
        case = self.do(lambda: worker.assist.start(session_id=session_id, client_id=CLIENTS[client]))
        self.model[session_id] = list(self.do(lambda: worker.store.load(session_id)))
        assert identities(self.model[session_id]) == [(session_id, 0)]
        worker.handles.append(Handle(session_id, case, 1))

    @precondition(lambda self: self.workers and self.model)
    @rule(n=st.integers(0, 1), s=st.integers(0, 5))
    def resume(self, n: int, s: int) -> None:
        worker, session_id = self.worker(n), self.session_id(s)
        if session_id in self.erased:
            with pytest.raises(SessionErased):
                self.do(lambda: worker.assist.resume(session_id))
            return
        case = self.do(lambda: worker.assist.resume(session_id))
        assert case.session == Session.fold(self.model[session_id])
        worker.handles.append(Handle(session_id, case, len(self.model[session_id])))

    def act(self, worker: Worker, handle: Handle, action: str) -> None:
        self.texts += 1
        arguments: dict[str, tuple[Any, ...]] = {
            "update_field": ("subject", f"text {self.texts}"),
            "next_stage": (f"stage {self.texts}",),
            "offer_classifications": ({**OFFER, "responseId": f"r{self.texts}"},),
            "take_turn": (f"m{self.texts}", {"step": f"step {self.texts}"}),
        }
        session_id, model = handle.session_id, self.model[handle.session_id]
        known = len(model) if handle.unsure else handle.known

        async def do() -> Record:
            record: Record = await getattr(handle.case, action)(*arguments.get(action, ()))
            return record

        if self.ended(session_id, known):
            with pytest.raises(IllegalTransition):
                self.do(do)
            if handle.unsure:
                handle.known, handle.unsure = known, False
        elif session_id in self.erased:
            with pytest.raises(SessionErased):
                self.do(do)
            handle.known, handle.unsure = known, True
        elif known < len(model):
            outcome = self.do(lambda: told(do()))
            if isinstance(outcome, Record):  # the very thing that another worker did in the same moment
                assert outcome == model[known]
                handle.known = known + 1
            else:
                assert (outcome.expected, outcome.found) == (known, len(model))
                handle.unsure = True
        else:
            record = self.do(do)
            model.append(record)
            handle.known, handle.unsure = len(model), False
            assert handle.case.session == Session.fold(model)

    @precondition(lambda self: any(worker.handles for worker in self.workers))
    @rule(
        n=st.integers(0, 1),
        h=st.integers(0, 9),
        action=st.sampled_from(["update_field"] * 3 + ["next_stage", "offer_classifications", "take_turn", "solve"]),
        times=st.integers(1, 3),
    )
    def act_on_any_handle(self, n: int, h: int, action: str, times: int) -> None:
        worker = self.worker(n)
        if not worker.handles:
            worker = next(worker for worker in self.workers if worker.handles)
        for _ in range(times):
            self.act(worker, worker.handles[h % len(worker.handles)], action)

    @precondition(lambda self: self.workers and self.model)
    @rule(n=st.integers(0, 1), s=st.integers(0, 5), last=st.integers(1, 3))
    def append_again_what_is_there(self, n: int, s: int, last: int) -> None:
        worker, session_id = self.worker(n), self.session_id(s)
        records = self.model[session_id][-last:]
        if session_id in self.erased:
            with pytest.raises(SessionErased):
                self.do(lambda: worker.assist.append(records))
        else:
            ack = self.do(lambda: worker.assist.append(records))
            ((_, record),) = self.do(lambda: worker.store.read(ack.position - 1, 1))
            assert record == records[-1]

    def fresh(self, worker: Worker, session_id: str) -> Handle | None:
        """A handle on a session in which something can still happen."""
        if session_id in self.erased or self.ended(session_id):
            return None
        case = self.do(lambda: worker.assist.resume(session_id))
        handle = Handle(session_id, case, len(self.model[session_id]))
        worker.handles.append(handle)
        return handle

    @precondition(lambda self: self.workers and self.model)
    @rule(n=st.integers(0, 1), s=st.integers(0, 5), last=st.booleans())
    def somebody_else_is_faster(self, n: int, s: int, last: bool) -> None:
        slow = self.fresh(self.worker(n), self.session_id(s))
        fast = self.fresh(self.worker(n + 1), self.session_id(s))
        if slow and fast:
            self.act(self.worker(n + 1), fast, "solve" if last else "update_field")
            self.act(self.worker(n), slow, "update_field")
            self.act(self.worker(n), slow, "update_field")

    @precondition(lambda self: self.workers and self.model)
    @rule(
        n=st.integers(0, 1),
        s=st.integers(0, 5),
        behind=st.integers(0, 4),
        restart=st.booleans(),
        after=st.sampled_from(["ok", *MODES]),
    )
    def something_is_refused(self, n: int, s: int, behind: int, restart: bool, after: str) -> None:
        """And something comes behind it, perhaps before the world has answered, or with something before it."""
        handle = self.fresh(self.worker(n), self.session_id(s))
        if handle:
            self.do(lambda: self.world.set_mode("down" if behind % 2 else "ok"))
            self.world.refuses.add(handle.session_id)
            for _ in range(1 + behind):
                self.act(self.worker(n), handle, "update_field")
            self.do(lambda: self.world.set_mode("ok"))
            self.do(lambda: self.while_time_passes(anyio.sleep_forever, 100.0 if behind % 2 else 0.0))
            if restart:
                self.a_worker_crashes(n)
                worker = self.open()
                if (handle := self.fresh(worker, handle.session_id)) is not None:
                    self.act(worker, handle, "update_field")
            self.do(lambda: self.world.set_mode(after))

    @precondition(lambda self: self.workers and len(self.model) > 1)
    @rule(s=st.integers(0, 5))
    def something_is_refused_while_another_is_on_its_way_and_dropped(self, s: int) -> None:
        worker = self.worker(0)
        first, second = self.fresh(worker, self.session_id(s)), self.fresh(worker, self.session_id(s + 1))
        if first and second:
            self.do(lambda: self.world.set_mode("mute"))
            self.act(worker, first, "update_field")
            self.world.refuses.add(second.session_id)
            self.act(worker, second, "update_field")
            self.drop(0, 9)
            self.do(lambda: self.world.set_mode("ok"))

    @precondition(lambda self: self.workers and self.model)
    @rule(s=st.integers(0, 5))
    def somebody_is_forgotten_before_it_is_delivered(self, s: int) -> None:
        handle = self.fresh(self.worker(0), self.session_id(s))
        if handle:
            self.do(lambda: self.world.set_mode("down"))
            self.act(self.worker(0), handle, "update_field")
            self.erase(0, sorted(self.model).index(handle.session_id), False)
            self.a_worker_crashes(0)
            self.do(lambda: self.world.set_mode("ok"))
            self.another_worker_comes()

    # --- Time --------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([-86400.0, -61.0, 60.0, IDLE_S - 1, IDLE_S, 86400.0]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.clock.jump(seconds)

    @rule(seconds=st.sampled_from([0.5, 2.0, 30.0, 120.0]))
    def time_passes(self, seconds: float) -> None:
        self.do(lambda: self.clock.advance(seconds))

    @precondition(lambda self: self.workers)
    @rule(n=st.integers(0, 1))
    def expire(self, n: int) -> None:
        worker, now = self.worker(n), self.clock.clock()
        idle = {
            session_id
            for session_id, records in self.model.items()
            if session_id not in self.erased
            and not self.ended(session_id)
            and now - records[-1].time >= timedelta(seconds=IDLE_S)
        }
        assert set(self.do(worker.assist.expire)) == idle
        for session_id in idle:
            record = self.do(lambda session_id=session_id: worker.store.load(session_id))[-1]  # type: ignore[misc]
            self.model[session_id].append(record)
            assert Session.fold(self.model[session_id]).state == "quit"

    # --- The world ---------------------------------------------------------------------------------------------------

    @rule(mode=st.sampled_from(("ok",) * 4 + MODES))
    def the_world_is(self, mode: str) -> None:
        self.do(lambda: self.world.set_mode(mode))

    @precondition(lambda self: self.model)
    @rule(s=st.integers(0, 5))
    def the_world_refuses_the_next_of(self, s: int) -> None:
        self.world.refuses.add(self.session_id(s))

    @precondition(lambda self: self.workers)
    @rule(n=st.integers(0, 1))
    def flush(self, n: int) -> None:
        worker = self.worker(n)
        done = self.do(lambda: self.while_time_passes(lambda: worker.assist.flush(LONG_S), 5.0))
        if done and len(self.workers) == 1:
            (books,) = worker.assist.report().sinks
            assert books.pending == 0

    # --- An operator -------------------------------------------------------------------------------------------------

    def aside(self, worker: Worker) -> Sequence[Quarantined]:
        entries = self.do(lambda: worker.assist.quarantined(SINK))
        assert [entry.position for entry in entries] == sorted({entry.position for entry in entries})
        return entries

    @precondition(lambda self: self.workers)
    @rule(n=st.integers(0, 1), which=st.sampled_from(["all", "session", "first"]))
    def resend(self, n: int, which: str) -> None:
        worker = self.worker(n)
        entries = self.aside(worker)
        chosen: dict[str, Any] = {}
        if which == "session" and entries:
            chosen = {"session_id": entries[-1].record.session_id}
        if which == "first" and entries:
            chosen = {"position": entries[0].position}
        expected = {
            "all": len(entries),
            "session": sum(entry.record.session_id == chosen.get("session_id") for entry in entries),
            "first": len(entries[:1]),
        }
        assert self.do(lambda: worker.assist.resend(SINK, **chosen)) == expected[which]

    @precondition(lambda self: self.workers)
    @rule(n=st.integers(0, 1), e=st.integers(0, 9))
    def drop(self, n: int, e: int) -> None:
        worker = self.worker(n)
        if not (entries := self.aside(worker)):
            assert not self.do(lambda: worker.assist.drop(SINK, position=1))
            return
        entry = entries[e % len(entries)]
        if self.do(lambda: worker.assist.drop(SINK, position=entry.position)):  # or it was sent again in this moment
            self.dropped.add((entry.record.session_id, entry.record.seq))

    @precondition(lambda self: self.workers and self.model)
    @rule(n=st.integers(0, 1), s=st.integers(0, 5), whole=st.booleans())
    def erase(self, n: int, s: int, whole: bool) -> None:
        worker, session_id = self.worker(n), self.session_id(s)
        if whole:
            client = self.clients[session_id]
            expected = {each for each, own in self.clients.items() if own == client} - self.erased
            found = self.do(lambda: worker.assist.erase(client_id=client))
        else:
            expected = {session_id}
            found = self.do(lambda: worker.assist.erase(session_id=session_id))
        assert set(found) == expected
        self.erased |= expected

    # --- Workers -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.workers) < 2)
    @rule()
    def another_worker_comes(self) -> None:
        self.open()

    @precondition(lambda self: self.workers)
    @rule(n=st.integers(0, 1))
    def a_worker_closes_in_good_order(self, n: int) -> None:
        worker = self.worker(n)
        if self.world.mode == "ok":
            assert self.do(lambda: self.while_time_passes(lambda: worker.assist.aclose(LONG_S), 600.0))
        else:
            self.do(lambda: worker.assist.aclose(0.0))
        self.leave(worker)

    @precondition(lambda self: self.workers)
    @rule(n=st.integers(0, 1))
    def a_worker_crashes(self, n: int) -> None:
        worker = self.worker(n)
        worker.store.dead = True
        self.do(lambda: worker.assist.aclose(0.0))
        self.leave(worker)

    # --- What must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def everything_is_there_and_the_books_are_true(self) -> None:
        if self.workers:
            self.do(self.check)

    async def check(self) -> None:
        store = self.workers[0].store
        stored = await store.read(0, 100_000)
        self.check_records(stored)
        self.check_order()
        assert not self.world.got_erased
        state = None
        while state != (state := await store.state(SINK)):  # those of one moment
            aside = {(entry.record.session_id, entry.record.seq): entry for entry in await store.quarantined(SINK)}
        assert state is not None
        place = {(record.session_id, record.seq): position for position, record in stored}
        passed = {identity for identity, position in place.items() if position <= state.position}
        erased = {identity for identity in passed if identity[0] in self.erased} - self.dropped
        arrived = set(self.world.taken) | self.unsent(stored)
        operator = len(passed & self.dropped)
        assert state.dropped.get("operator", 0) == operator
        assert set(state.dropped) <= {"operator", "erased"}
        assert not self.dropped & aside.keys()
        assert not {session_id for session_id, _ in aside} & self.erased
        assert all(place[identity] == entry.position for identity, entry in aside.items())
        assert state.quarantined == len(aside)
        assert state.quarantined_ahead == len(aside.keys() - passed)
        # Whatever the position has passed is in one place.
        settled = passed - aside.keys() - self.dropped - erased
        assert settled <= arrived, "what counts as delivered was not taken"
        erased_but_delivered = len(erased) - state.dropped.get("erased", 0)
        assert 0 <= erased_but_delivered <= len(erased & arrived)
        assert state.delivered == len(settled) + erased_but_delivered
        for worker in self.workers:
            (books,) = worker.assist.report().sinks
            self.check_books(books, len(stored), len(arrived & place.keys()))
            health = worker.assist.health()
            assert health.store.ok
            assert health.sinks[0].pending == books.pending

    def check_records(self, stored: Sequence[Stored]) -> None:
        assert [position for position, _ in stored] == list(range(1, len(stored) + 1))
        there: dict[str, list[Record]] = {}
        for _, record in stored:
            there.setdefault(record.session_id, []).append(record)
        assert there.keys() == self.model.keys()
        for session_id, records in there.items():
            model = self.model[session_id]
            if session_id in self.erased:
                assert all(map(is_erased, records))
                assert identities(records) == identities(model)
                assert [type(record.event) for record in records] == [type(record.event) for record in model]
            else:
                assert records == model

    def check_order(self) -> None:
        """What is new to the world comes in order, without a gap, but for what was refused once."""
        for session_id in self.model:
            taken = list(dict.fromkeys(seq for own, seq in self.world.taken if own == session_id))
            exempt = self.dropped if self.on_refused == "hold" else self.world.refused | self.dropped
            unsent = {seq for own, seq in self.unsent_of(session_id)}
            expected = [
                seq
                for seq in range(len(self.model[session_id]) + 3)
                if (session_id, seq) not in exempt and seq not in unsent
            ]
            first = [seq for seq in taken if (session_id, seq) not in exempt]
            assert first == expected[: len(first)]

    def unsent(self, stored: Sequence[Stored]) -> set[Identity]:
        return {identity for session_id in self.model for identity in self.unsent_of(session_id)}

    def unsent_of(self, session_id: str) -> set[Identity]:
        """Offers and turns count as delivered over HTTP, and are never sent."""
        return {
            (session_id, record.seq)
            for record in self.model[session_id]
            if self.kind == "http" and isinstance(record.event, ClassificationsOffered | TurnTaken)
        }

    def check_books(self, books: Progress, stored: int, arrived: int) -> None:
        assert books.accepted == books.delivered + books.pending + books.quarantined + sum(books.dropped.values())
        assert books.accepted <= stored
        assert min(books.delivered, books.pending, books.quarantined, *books.dropped.values(), 0) == 0
        assert books.delivered <= arrived

    # --- The end -----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.bring_everything_home()
        finally:
            with self.stack:
                for worker in self.workers[:]:
                    worker.store.dead = True
                    self.portal.call(worker.assist.aclose, 0.0)
                    worker.block.__exit__(None, None, None)

    def bring_everything_home(self) -> None:
        while len(self.workers) > 1:
            self.leave_in_peace(self.workers[0])
        worker = self.workers[0] if self.workers else self.open()
        self.world.refuses.clear()
        self.do(lambda: self.world.set_mode("ok"))
        self.do(lambda: self.clock.advance(2.0))  # one that stood by looks whether it is its turn
        for _ in range(100):
            self.do(lambda: worker.assist.resend(SINK))
            self.do(lambda: self.while_time_passes(lambda: worker.assist.flush(LONG_S), 4000.0))
            (books,) = worker.assist.report().sinks
            if not books.pending and not books.quarantined:
                break
            self.do(lambda: self.clock.advance(100.0))
        self.do(self.check)
        (books,) = worker.assist.report().sinks
        state = self.do(lambda: worker.store.state(SINK))
        everything = {identity for records in self.model.values() for identity in identities(records)}
        assert (books.accepted, books.pending, books.quarantined) == (len(everything), 0, 0)
        assert (books.delivered, dict(books.dropped)) == (state.delivered, dict(state.dropped))
        of_erased = {identity for identity in everything if identity[0] in self.erased}
        assert everything - self.dropped - of_erased <= set(self.world.taken) | self.unsent([])
        assert set(self.world.taken) <= everything
        assert list(self.do(worker.store.check)) == []
        self.leave_in_peace(worker)

    def leave_in_peace(self, worker: Worker) -> None:
        self.do(lambda: worker.assist.aclose(0.0))
        self.leave(worker)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "POLL_S", POLL_S)
    monkeypatch.setattr(turn, "POLL_S", POLL_S)


@pytest.mark.parametrize("on_refused", ["continue", "hold"])
@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("kind", ["door", "http"])
def test_nothing_is_lost_whatever_happens(anyio_backend: str, kind: str, at_once: int, on_refused: OnRefused) -> None:
    options = {"backend": anyio_backend, "kind": kind, "at_once": at_once, "on_refused": on_refused}
    own: Any = seed(f"{options}")(type("Machine", (Machine,), options))
    how = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # to shrink an example would take minutes: its steps use real files and threads
    )
    run_state_machine_as_test(own, settings=how)
