"""Cancelled at every await: each operation of CaseAssist and Case, on each store, with each sink.

Whatever is cut off: a record is stored whole or not at all, once; the Case goes on; no lock is held and no task left;
the sink gets everything once, or says why not; the books are exact, and the store can be opened again.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

import anyio
import anyio.lowlevel
import msgspec
import pytest
import sniffio
from tests.core.life_cycle import CLASSIFICATIONS, CLICK, CLIENT_ID, DOCUMENTS
from tests.fakes import LONG_S, Pauses, SlowStore, identities, until

from caseassist import Case, CaseAssist, Context, FileSink, HTTPSink, MemorySink
from caseassist.core.erasure import is_erased
from caseassist.core.errors import IllegalTransition, SessionErased, SinkRefused
from caseassist.core.events import ClassificationsOffered, CustomEvent, DocumentsOffered, TurnTaken
from caseassist.core.identity import event_id
from caseassist.core.records import Record, decode
from caseassist.core.session import Session
from caseassist.sinks.base import Sink
from caseassist.stores.base import Store
from caseassist.stores.sqlite import SQLiteStore
from caseassist.testing import CancelledAt, cut_off
from caseassist.wire.http import Reply, Request

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONTEXT = Context(client_id=CLIENT_ID, search_hub="bot", language="en")
POISON = {"eventType": "poison", "eventValue": "poison"}
"""What the sinks of these tests refuse, until they are told to take it."""
WHOLE = {"documentTitle": "T", "documentUrl": "https://u", "documentPosition": 1, "sourceName": "S"}
MOST = 400

CutOff = Callable[[Coroutine[Any, Any, Any], int], Awaitable[tuple[bool, Any]]]


async def cut_off_natively(coroutine: Coroutine[Any, Any, Any], k: int) -> tuple[bool, Any]:
    """As ``cut_off``, by the means of asyncio, which does not know of scopes and shields."""

    async def run() -> Any:
        task = cast("Any", asyncio.current_task())
        return await CancelledAt(coroutine, task, k)

    task = asyncio.ensure_future(run())
    try:
        return False, await task
    except asyncio.CancelledError:
        return True, None


# --- Sinks that refuse poison, and tell what they have got -----------------------------------------------------------


class Picky:
    """What the sinks below share."""

    picky = True

    def check(self, records: Sequence[Record]) -> None:
        for delivered, record in enumerate(records):
            if self.picky and isinstance(record.event, CustomEvent) and record.event.event_type == "poison":
                raise SinkRefused("poison", status=400, delivered=delivered)


class PickyMemory(MemorySink, Picky):
    async def deliver(self, records: Sequence[Record]) -> None:
        await anyio.lowlevel.checkpoint()
        try:
            self.check(records)
        except SinkRefused as refusal:
            await super().deliver(records[: refusal.delivered])
            raise
        await super().deliver(records)
        await anyio.lowlevel.checkpoint()

    def got(self) -> list[tuple[str, int]]:
        return identities(self.records)


class PickyFile(FileSink, Picky):
    def __init__(self, path: Path) -> None:
        super().__init__(path, name="file", linger_s=0.0)
        self.file = path

    async def deliver(self, records: Sequence[Record]) -> None:
        try:
            self.check(records)
        except SinkRefused as refusal:
            if refusal.delivered:
                await super().deliver(records[: refusal.delivered])
            raise
        await super().deliver(records)

    def got(self) -> list[tuple[str, int]]:
        return identities(decode(line) for line in self.file.read_bytes().splitlines())


class PickyHTTP(HTTPSink, Picky):
    def __init__(self) -> None:
        self.requests: list[Request] = []
        super().__init__("https://example.com", token="t", name="http", sessions_at_once=4, transport=self)

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        await anyio.lowlevel.checkpoint()
        if self.picky and b"poison" in request.body:
            return Reply(status=400)
        self.requests.append(request)
        await anyio.lowlevel.checkpoint()
        return Reply(status=200)


class World(NamedTuple):
    """What a test has to do with."""

    kind: str
    new_store: Callable[[], Store]
    new_sink: Callable[[], Any]


@pytest.fixture(params=["memory", "file", "http"])
def sink_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(params=["memory store", "sqlite store"])
def world(request: pytest.FixtureRequest, sink_kind: str, tmp_path: Path) -> World:
    memory = SlowStore()
    sinks: dict[str, Callable[[], Any]] = {
        "memory": PickyMemory,
        "file": lambda: PickyFile(tmp_path / "records.jsonl"),
        "http": PickyHTTP,
    }
    path = tmp_path / "cases.db"
    stores: dict[str, Callable[[], Store]] = {
        "memory store": lambda: memory,
        "sqlite store": lambda: SQLiteStore(path, durability="os"),
    }
    return World(sink_kind, stores[request.param], sinks[sink_kind])


def new_assist(store: Store, sink: Sink) -> CaseAssist:
    return CaseAssist(
        CONTEXT,
        store=store,
        sinks=[sink],
        clock=lambda: NOW,
        sleep=Pauses(),
        append_timeout_s=LONG_S,
        drain_timeout_s=LONG_S,
    )


def check_arrived(sink: Any, records: Sequence[Record], *, again: bool = False) -> None:
    """Everything has arrived, in order within each session. Once, unless it may have come ``again``."""
    if isinstance(sink, PickyHTTP):
        unsent = ClassificationsOffered | DocumentsOffered | TurnTaken
        sent = [record for record in records if not isinstance(record.event, unsent)]
        bodies = [msgspec.json.decode(request.body) for request in sink.requests]
        assert len(bodies) == len(sent)
        events = [body["z"] for body in bodies if "z" in body]
        expected = {event_id(record.session_id, record.seq) for record in sent}
        assert len(events) == len(set(events))
        assert set(events) <= expected
        return
    got = sink.got()
    assert sorted(got) == sorted(identities(records))
    for session_id in {record.session_id for record in records}:
        seqs = [seq for own, seq in got if own == session_id]
        assert seqs == sorted(seqs)


def tasks() -> set[object]:
    """All tasks of the event loop."""
    if sniffio.current_async_library() == "asyncio":
        return set(asyncio.all_tasks())
    import trio

    found: set[object] = set()
    left = [trio.lowlevel.current_root_task()]
    while left:
        if (task := left.pop()) is not None:
            found.add(task)
            left += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """What works in the background comes to its end, though it may have to wait for a thread; nothing is forgotten."""
    before = tasks()
    yield
    with anyio.fail_after(LONG_S):
        while tasks() - before:  # noqa: ASYNC110 (tasks of others set no events of ours)
            await anyio.sleep(0.001)
    gc.collect()  # what is not closed says so


async def stored_by(store: Store) -> list[Record]:
    """Everything in a store, which is opened for that: it must be possible."""
    await store.open()
    try:
        if isinstance(store, SQLiteStore):
            assert list(await store.check()) == []
            return [record for _, record in await store.read(0, 100_000)]
        sessions = cast("Any", store)._sessions
        return [record for kept in sessions.values() for _, record in kept.stored]
    finally:
        await store.aclose()


# --- Actions ---------------------------------------------------------------------------------------------------------

ACTIONS: dict[str, tuple[int, tuple[Any, ...], dict[str, Any]]] = {
    "update_field": (1, ("subject", "It hums"), {}),
    "offer_classifications": (1, (CLASSIFICATIONS,), {}),
    "select_classification": (1, ("c1",), {"auto_selection": True}),
    "offer_documents": (1, (DOCUMENTS,), {}),
    "open_document": (1, ("d1",), {}),
    "quickview_document": (1, ("d1",), {}),
    "rate_document": (1, ("d1", 0.75), {}),
    "rate_document whole": (2, ("d9", 1), {"response_id": "r9", "suggestion": WHOLE}),
    "next_stage": (1, ("details",), {}),
    "log_click": (1, (CLICK,), {}),
    "log_custom": (1, ({"eventType": "chat", "eventValue": "hello"},), {}),
    "take_turn": (1, ("m1", {"step": "asking"}), {}),
    "create": (1, ("5003",), {}),
    "solve": (1, (), {}),
    "quit": (1, (), {}),
}
"""How many records each makes, and its arguments."""


async def session_with_offers(assist: CaseAssist, session_id: str) -> Case:
    case = await assist.start(session_id=session_id)
    await case.offer_classifications(CLASSIFICATIONS)
    await case.offer_documents(DOCUMENTS)
    return case


async def try_action(assist: CaseAssist, action: str, k: int, cut: CutOff) -> bool:
    """Cut an action off and see that it is there or not, and that its Case goes on."""
    many, args, kwargs = ACTIONS[action]
    case = await session_with_offers(assist, f"{action} {k}")
    before = list(await assist.load(case.id))
    method = getattr(case, action.split()[0])
    came_to_it, record = await cut(method(*args, **kwargs), k)
    there = await assist.load(case.id)
    assert list(there[: len(before)]) == before
    assert len(there) - len(before) in ((0, many) if came_to_it else (many,))
    if not came_to_it:
        assert record == there[-1]
    if Session.fold(there).active:
        await case.update_field("description", "after")
    else:
        with pytest.raises(IllegalTransition):
            await case.update_field("description", "after")
    assert case.session == Session.fold(await assist.load(case.id))
    return came_to_it


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_action(action: str, world: World) -> None:
    await see_through(world, lambda assist, _, k: try_action(assist, action, k, cut_off))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("action", ["update_field", "rate_document whole", "solve"])
async def test_an_action_by_the_means_of_asyncio(action: str, world: World) -> None:
    await see_through(world, lambda assist, _, k: try_action(assist, action, k, cut_off_natively))


# --- Everything else that is asked of a CaseAssist -------------------------------------------------------------------


class Asked(NamedTuple):
    """A CaseAssist with its sink, at the k-th try."""

    assist: CaseAssist
    sink: Any
    k: int
    cut: CutOff


async def start(asked: Asked) -> bool:
    session_id = f"start {asked.k}"
    came_to_it, case = await asked.cut(asked.assist.start(session_id=session_id), asked.k)
    assert len(await asked.assist.load(session_id)) in ((0, 1) if came_to_it else (1,))
    case = await asked.assist.start(session_id=session_id)  # as it was: the same record, now there for sure
    await case.solve()
    assert identities(await asked.assist.load(session_id)) == [(session_id, 0), (session_id, 1)]
    return came_to_it


async def append(asked: Asked) -> bool:
    records = list(Session(id=f"append {asked.k}").start(None, {"clientId": CLIENT_ID}, at=NOW))
    session = Session.fold(records)
    records += session.update_field("subject", "x", at=NOW)
    came_to_it, _ = await asked.cut(asked.assist.append(records), asked.k)
    assert list(await asked.assist.load(session.id)) in (([], records) if came_to_it else (records,))
    await asked.assist.append(records)
    assert list(await asked.assist.load(session.id)) == records
    return came_to_it


async def resume(asked: Asked) -> bool:
    case = await session_with_offers(asked.assist, f"resume {asked.k}")
    came_to_it, resumed = await asked.cut(asked.assist.resume(case.id), asked.k)
    assert came_to_it or resumed.session == case.session
    await (await asked.assist.resume(case.id)).solve()
    return came_to_it


async def load(asked: Asked) -> bool:
    case = await session_with_offers(asked.assist, f"load {asked.k}")
    came_to_it, records = await asked.cut(asked.assist.load(case.id), asked.k)
    assert came_to_it or Session.fold(records) == case.session
    assert Session.fold(await asked.assist.load(case.id)) == case.session
    return came_to_it


async def expire(asked: Asked) -> bool:
    ids = [f"expire {asked.k} {n}" for n in range(3)]
    for session_id in ids:
        await asked.assist.start(session_id=session_id)
    later = NOW + timedelta(hours=1)
    came_to_it, expired = await asked.cut(asked.assist.expire(later), asked.k)
    over = {session_id for session_id in ids if len(await asked.assist.load(session_id)) == 2}
    assert came_to_it or set(expired) >= set(ids) == over
    assert set(await asked.assist.expire(later)) & set(ids) == set(ids) - over
    for session_id in ids:
        assert identities(await asked.assist.load(session_id)) == [(session_id, 0), (session_id, 1)]
    return came_to_it


async def erase(asked: Asked) -> bool:
    case = await session_with_offers(asked.assist, f"erase {asked.k}")
    await asked.assist.flush(LONG_S)
    came_to_it, _ = await asked.cut(asked.assist.erase(session_id=case.id), asked.k)
    records = await asked.assist.load(case.id)
    assert {is_erased(record) for record in records} in (({True}, {False}) if came_to_it else ({True},))
    assert list(await asked.assist.erase(session_id=case.id)) == [case.id]
    with pytest.raises(SessionErased):
        await case.solve()
    assert list(map(is_erased, await asked.assist.load(case.id))) == [True] * 3
    return came_to_it


async def put_aside(asked: Asked, name: str) -> tuple[Case, int]:
    """A session of which a record is in quarantine, and its position."""
    asked.sink.picky = True
    case = await asked.assist.start(session_id=f"{name} {asked.k}")
    await case.log_custom(POISON)
    await asked.assist.flush(LONG_S)
    (entry,) = await asked.assist.quarantined(asked.sink.name)
    return case, entry.position


async def quarantined(asked: Asked) -> bool:
    case, _ = await put_aside(asked, "quarantined")
    came_to_it, entries = await asked.cut(asked.assist.quarantined(asked.sink.name), asked.k)
    assert came_to_it or [entry.record for entry in entries] == list(await asked.assist.load(case.id))[1:]
    return await sent_after_all(asked, came_to_it)


async def resend(asked: Asked) -> bool:
    _, position = await put_aside(asked, "resend")
    asked.sink.picky = False
    came_to_it, _ = await asked.cut(asked.assist.resend(asked.sink.name, position=position), asked.k)
    return await sent_after_all(asked, came_to_it)


async def sent_after_all(asked: Asked, came_to_it: bool) -> bool:
    asked.sink.picky = False
    await asked.assist.resend(asked.sink.name)
    with anyio.fail_after(LONG_S):
        while await asked.assist.quarantined(asked.sink.name):
            await anyio.lowlevel.checkpoint()
    return came_to_it


async def drop(asked: Asked) -> bool:
    _, position = await put_aside(asked, "drop")
    came_to_it, dropped = await asked.cut(asked.assist.drop(asked.sink.name, position=position), asked.k)
    assert came_to_it or dropped
    await asked.assist.drop(asked.sink.name, position=position)
    assert not await asked.assist.drop(asked.sink.name, position=position)
    assert (await asked.assist.store.state(asked.sink.name)).dropped == {"operator": asked.k}
    return came_to_it


async def flush(asked: Asked) -> bool:
    await session_with_offers(asked.assist, f"flush {asked.k}")
    came_to_it, report = await asked.cut(asked.assist.flush(LONG_S), asked.k)
    assert came_to_it or report.complete
    assert (await asked.assist.flush(LONG_S)).complete
    return came_to_it


ASKED: dict[str, Callable[[Asked], Awaitable[bool]]] = {
    function.__name__: function
    for function in (start, append, resume, load, expire, erase, quarantined, resend, drop, flush)
}


@pytest.mark.parametrize("what", ASKED)
async def test_what_is_asked_of_a_case_assist(what: str, world: World) -> None:
    await see_through(world, lambda assist, sink, k: ASKED[what](Asked(assist, sink, k, cut_off)))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("what", ["start", "expire", "erase", "drop", "flush"])
async def test_what_is_asked_of_a_case_assist_by_the_means_of_asyncio(what: str, world: World) -> None:
    await see_through(world, lambda assist, sink, k: ASKED[what](Asked(assist, sink, k, cut_off_natively)))


async def see_through(world: World, attempt: Callable[[CaseAssist, Any, int], Awaitable[bool]]) -> None:
    """Cut off at the first wait, the second, and so on to the last, all with one CaseAssist; then look at it all."""
    store, sink = world.new_store(), world.new_sink()
    with anyio.fail_after(LONG_S):
        async with no_task_left():
            async with new_assist(store, sink) as assist:
                for k in range(1, MOST):
                    if not await attempt(assist, sink, k):
                        break
                else:
                    raise AssertionError("it never came to its end")
                assert k > 1 or world.kind != "sqlite store", "there was nothing to cut off"
                await assist.flush(LONG_S)
                await until(lambda: not assist.report().sinks[0].quarantined)  # a courier looks a moment later
                (books,) = assist.report().sinks
                state = await assist.store.state(sink.name)
            dropped = sum(books.dropped.values())
            assert books.pending == 0
            assert books.accepted == books.delivered + dropped
            assert (state.delivered, dict(state.dropped)) == (books.delivered, dict(books.dropped))
            stored = await stored_by(store)
            assert books.accepted == len(stored)
            arrived = [record for record in stored if not (dropped and isinstance(record.event, CustomEvent))]
            assert books.delivered == len(arrived)
            check_arrived(sink, arrived)


# --- Opening and closing ---------------------------------------------------------------------------------------------


async def whole(world: World, k: int, sinks: list[Any], cut: CutOff) -> bool:
    """From opening to the end of the block, cut off once on the way."""
    sink = world.new_sink()
    sinks.append(sink)

    async def run() -> None:
        async with new_assist(world.new_store(), sink) as assist:
            case = await assist.start(session_id=f"whole {k}")
            await case.solve()

    came_to_it, _ = await cut(run(), k)
    return came_to_it


async def check_whole(world: World, cut: CutOff) -> None:
    sinks: list[Any] = []
    with anyio.fail_after(LONG_S):
        for k in range(1, MOST):
            async with no_task_left():
                came_to_it = await whole(world, k, sinks, cut)
            if not came_to_it:
                break
        else:
            raise AssertionError("it never came to its end")
        # Whoever comes next delivers what is left.
        last = world.new_sink()
        async with no_task_left():
            async with new_assist(world.new_store(), last) as assist:
                report = await assist.flush(LONG_S)
            (books,) = report.sinks
            stored = await stored_by(world.new_store())
        assert (books.accepted, books.delivered, books.pending) == (len(stored), len(stored), 0)
        sessions = {record.session_id: record.seq for record in stored}
        assert sessions[f"whole {k}"] == 1
        arrived = set()
        for sink in (*sinks, last):
            if isinstance(sink, PickyHTTP):
                arrived |= {msgspec.json.decode(request.body)["z"] for request in sink.requests}
            else:
                arrived |= {event_id(*identity) for identity in sink.got()}
        assert arrived == {event_id(record.session_id, record.seq) for record in stored}


async def test_opening_and_leaving_the_block(world: World) -> None:
    await check_whole(world, cut_off)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_opening_and_leaving_the_block_by_the_means_of_asyncio(world: World) -> None:
    await check_whole(world, cut_off_natively)


async def test_closing(world: World) -> None:
    with anyio.fail_after(LONG_S):
        for k in range(1, MOST):
            store, sink = world.new_store(), world.new_sink()
            async with no_task_left(), new_assist(store, sink) as assist:
                await session_with_offers(assist, f"closing {k}")
                came_to_it, report = await cut_off(assist.aclose(LONG_S), k)
                assert came_to_it or (report and report.complete)
            (books,) = assist.report().sinks
            stored = await stored_by(store)
            assert books.accepted == books.delivered + books.pending == len(stored) == 3 * k
            await store.open()
            state = await store.state(sink.name)
            await store.aclose()
            assert state.delivered <= 3 * k
            if not came_to_it:
                assert state.delivered == books.delivered == 3 * k
                return
    raise AssertionError("it never came to its end")
