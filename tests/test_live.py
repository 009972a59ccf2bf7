"""CaseAssist and Case: recorded first, delivered behind, closed in good order."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.cancelling import cut_off
from tests.core.life_cycle import CLASSIFICATIONS, CLICK, CLIENT_ID, CUSTOM, DOCUMENTS
from tests.fakes import LONG_S, Gate, Pauses, ScriptedSink, SlowStore, identities, idle, records_of, until

from caseassist import Case, CaseAssist, Context, MemorySink, MemoryStore
from caseassist.core.errors import (
    AppendUnknown,
    IllegalTransition,
    InvalidAction,
    NotRunning,
    RepeatedMessage,
    SequenceConflict,
    SinkUnavailable,
    StoreFull,
    UnknownSession,
)
from caseassist.core.events import TicketFieldUpdate
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.delivery.turn import Turn
from caseassist.live import BREATHE_EVERY
from caseassist.stores.base import Ack

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONTEXT = Context(client_id=CLIENT_ID, search_hub="bot", language="en")

CONTEXT_ANONYMOUS = Context(client_id=CLIENT_ID, language="en", anonymous=True)


async def whole(assist: CaseAssist) -> Case:
    """A session that takes every action that there is."""
    case = await assist.start({"custom": {"plan": "gold"}}, session_id="a1")
    await case.update_field("subject", "It hums")
    await case.offer_classifications(CLASSIFICATIONS)
    await case.select_classification("c1", auto_selection=True)
    await case.offer_documents(DOCUMENTS)
    await case.open_document("d1")
    await case.quickview_document("d1")
    await case.rate_document("d1", 0.75)
    await case.next_stage("details")
    await case.log_click(CLICK)
    await case.log_custom(CUSTOM)
    await case.take_turn("m1", {"step": "asking"})
    await case.create("5003")
    return case


async def test_every_action_is_recorded_delivered_and_can_be_resumed() -> None:
    one, other = MemorySink("one"), MemorySink("other")
    async with CaseAssist(CONTEXT, sinks=[one, other], clock=lambda: NOON) as assist:
        case = await whole(assist)
        assert (case.id, case.state, case.ticket.category) == ("a1", "created", "Electrical")
        assert repr(case) == "<Case a1 created>"
        resumed = await assist.resume("a1")
        assert resumed.session == case.session
        report = await assist.flush(LONG_S)
    assert report.complete
    assert one.records == other.records == list(await assist.store.load("a1"))
    assert [record.seq for record in one.records] == list(range(13))
    assert {record.time for record in one.records} == {NOON}
    assert Session.fold(one.records) == case.session


async def test_a_session_has_members_of_the_context_of_its_own_false_ones_too() -> None:
    async with CaseAssist(CONTEXT_ANONYMOUS) as assist:
        case = await assist.start(context={"anonymous": False, "username": "jo", "language": None})
        assert (case.session.context.anonymous, case.session.context.username) == (False, "jo")
        assert case.session.context.language == "en"
        case = await assist.start(context=Context(language="fr"))
        assert (case.session.context.anonymous, case.session.context.language) == (True, "fr")


@pytest.mark.parametrize("session_id", [None, 5, []])
async def test_an_id_that_is_no_text_is_refused(session_id: Any) -> None:
    async with CaseAssist(CONTEXT) as assist:
        with pytest.raises(InvalidAction) as caught:
            await assist.resume(session_id)
    assert caught.value.path == "$.session"


@pytest.mark.parametrize("end", ["solve", "quit"])
async def test_the_other_ends(end: str) -> None:
    async with CaseAssist(CONTEXT) as assist:
        case = await assist.start(at=NOON)
        record = await getattr(case, end)(at=NOON)
        assert record.time == NOON
        with pytest.raises(IllegalTransition):
            await getattr(case, end)()


async def test_ids_are_made_where_none_are_given() -> None:
    ids = iter("abcdefghij")

    def new_id() -> str:
        return f"0000000{next(ids)}-0000-4000-8000-000000000000"

    async with CaseAssist({"searchHub": "bot", "language": "en"}, new_id=new_id) as assist:
        first = await assist.start()
        assert first.session.context.client_id == "0000000a-0000-4000-8000-000000000000"
        assert first.id == "0000000b-0000-4000-8000-000000000000"
        second = await assist.start(client_id=CLIENT_ID.upper(), context={"language": "fr"}, session_id="mine")
        assert second.session.context == Context(
            client_id=CLIENT_ID, search_hub="bot", language="fr", origin_context="CaseAssist", origin_level2="default"
        )
        with pytest.raises(SequenceConflict):
            await assist.start(session_id="mine")


async def test_an_action_does_not_wait_for_delivery() -> None:
    gate = Gate()
    sink = ScriptedSink(gate)
    async with CaseAssist(CONTEXT, sinks=[sink], drain_timeout_s=LONG_S) as assist:
        case = await assist.start()
        await gate.entered.wait()
        await case.solve()
        assert assist.report().sinks[0].pending == 2
        assert not (await assist.flush(0)).complete
        gate.opened.set()
        assert (await assist.flush(LONG_S)).complete
    assert len(sink.taken) == 2


async def test_other_tasks_go_on_while_a_bot_acts_without_pause() -> None:
    sink = MemorySink()
    async with CaseAssist(CONTEXT, sinks=[sink]) as assist:
        for _ in range(4 * BREATHE_EVERY):
            await assist.start()
        assert sink.records


async def test_two_actions_at_once_come_one_after_the_other() -> None:
    async with CaseAssist(CONTEXT, store=SlowStore()) as assist:
        case = await assist.start()
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(case.update_field, f"field{number}", number)
        records = await assist.store.load(case.id)
    assert [record.seq for record in records] == list(range(11))
    assert case.ticket.custom == {f"field{number}": number for number in range(10)}


class Slowly:
    """A case whose first action hangs in the store until it is let go, and others behind it that wait for their turn.

    The fields that are updated tell who was when.
    """

    def __init__(self) -> None:
        self.entered, self.opened = anyio.Event(), anyio.Event()
        self.store = MemoryStore()
        self.append, self.store.append = self.store.append, self._append  # type: ignore[method-assign]
        self.scopes: dict[str, anyio.CancelScope] = {}

    async def _append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        if records[0].seq == 1:
            self.entered.set()
            await self.opened.wait()
        return await self.append(records, timeout_s=timeout_s)

    async def act(self, case: Case, name: str) -> None:
        with anyio.CancelScope() as self.scopes[name]:
            await case.update_field(name, name)

    async def start(self, assist: CaseAssist, tasks: anyio.abc.TaskGroup, *names: str) -> Case:
        case = await assist.start()
        for name in names:
            tasks.start_soon(self.act, case, name)
            await idle()
        assert case.session.next_seq == 1
        return case

    def order(self, sink: MemorySink) -> list[str]:
        events = [record.event for record in sink.records[1:]]
        return [event.field_name for event in events if isinstance(event, TicketFieldUpdate)]


async def test_actions_of_a_case_that_wait_are_served_in_the_order_in_which_they_came() -> None:
    slowly, sink = Slowly(), MemorySink()
    async with CaseAssist(CONTEXT, store=slowly.store, sinks=[sink]) as assist:
        with anyio.fail_after(LONG_S):
            async with anyio.create_task_group() as tasks:
                case = await slowly.start(assist, tasks, "a", "b", "c")
                slowly.opened.set()
                await until(lambda: case.session.next_seq > 1)
                await case.update_field("d", "d")  # does not overtake those that wait
    assert slowly.order(sink) == ["a", "b", "c", "d"]


async def test_an_action_that_is_cancelled_while_it_waits_for_its_turn_holds_nobody_up() -> None:
    slowly, sink = Slowly(), MemorySink()
    async with CaseAssist(CONTEXT, store=slowly.store, sinks=[sink]) as assist:
        with anyio.fail_after(LONG_S):
            async with anyio.create_task_group() as tasks:
                case = await slowly.start(assist, tasks, "a", "b", "c")
                slowly.scopes["b"].cancel()
                await idle()
                slowly.opened.set()
            await case.update_field("d", "d")
    assert slowly.order(sink) == ["a", "c", "d"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("behind", [[], ["c"]])
async def test_an_action_that_is_cancelled_just_when_its_turn_has_come_passes_it_on(behind: list[str]) -> None:
    slowly, sink = Slowly(), MemorySink()
    async with CaseAssist(CONTEXT, store=slowly.store, sinks=[sink]) as assist:
        with anyio.fail_after(LONG_S):
            async with anyio.create_task_group() as tasks:
                case = await slowly.start(assist, tasks, "a")
                cut_short = asyncio.create_task(case.update_field("b", "b"))
                await idle()
                for name in behind:
                    tasks.start_soon(slowly.act, case, name)
                    await idle()

                async def cancel_when_its_turn_has_come() -> None:
                    await until(lambda: case.session.next_seq > 1)
                    cut_short.cancel()

                tasks.start_soon(cancel_when_its_turn_has_come)
                slowly.opened.set()
                with pytest.raises(asyncio.CancelledError):
                    await cut_short
            await case.update_field("d", "d")
    assert slowly.order(sink) in (["a", *behind, "d"], ["a", "b", *behind, "d"])


async def test_of_two_handles_the_slower_one_is_told_and_can_go_on_after_resuming() -> None:
    async with CaseAssist(CONTEXT) as assist:
        mine = await assist.start()
        yours = await assist.resume(mine.id)
        await yours.update_field("subject", "yours")
        with pytest.raises(SequenceConflict) as caught:
            await mine.update_field("subject", "mine")
        assert (caught.value.expected, caught.value.found) == (1, 2)
        mine = await assist.resume(mine.id)
        await mine.update_field("subject", "mine")
        assert len(await assist.store.load(mine.id)) == 3


ACTS: dict[str, Callable[[CaseAssist, Case], Any]] = {
    "start": lambda assist, _: assist.start(session_id="new"),
    "update_field": lambda _, case: case.update_field("subject", "x"),
    "whole suggestion": lambda _, case: case.rate_document(
        "d9",
        1,
        response_id="r9",
        suggestion={"documentTitle": "T", "documentUrl": "u", "documentPosition": 1, "sourceName": "S"},
    ),
    "resume": lambda assist, case: assist.resume(case.id),
    "flush": lambda assist, _: assist.flush(LONG_S),
    "aclose": lambda assist, _: assist.aclose(LONG_S),
}


@pytest.mark.parametrize("act", ACTS)
async def test_cut_off_at_every_wait_a_record_is_in_one_place_and_everything_goes_on(act: str) -> None:
    with anyio.fail_after(LONG_S):
        for k in range(1, 100):
            sink, store = ScriptedSink(None, SinkUnavailable("down"), sessions_at_once=2), SlowStore()
            async with CaseAssist(CONTEXT, store=store, sinks=[sink], sleep=Pauses(), drain_timeout_s=LONG_S) as assist:
                case = await assist.start(session_id="a1")
                came_to_it, _ = await cut_off(ACTS[act](assist, case), k)
                if act != "aclose":
                    # No lock is held, and what the store has is what the case knows.
                    await case.update_field("description", "after")
                    assert case.session == Session.fold(await store.load("a1"))
            (books,) = assist.report().sinks
            everything = [*await store.load("a1"), *await store.load("new")]
            assert sorted(identities(sink.taken)) == sorted(identities(everything))
            assert (books.accepted, books.delivered, books.pending) == (len(everything), len(everything), 0)
            if not came_to_it:
                return
    raise AssertionError("it never came to its end")


async def test_after_an_unknown_outcome_the_next_action_looks_what_is_stored() -> None:
    class CutOff(MemoryStore):
        cut = False

        async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
            ack = await super().append(records, timeout_s=timeout_s)
            if self.cut:
                self.cut = False
                raise AppendUnknown(records[0].session_id, records[0].seq)
            return ack

    store = CutOff()
    async with CaseAssist(CONTEXT, store=store) as assist:
        case = await assist.start()
        store.cut = True
        with pytest.raises(AppendUnknown):
            await case.update_field("subject", "was it stored?")
        await case.update_field("description", "yes")
        assert case.ticket.subject == "was it stored?"
        assert case.session == Session.fold(await store.load(case.id))


async def test_a_full_store_is_told_within_the_deadline() -> None:
    gate = Gate()
    store = MemoryStore(max_records=2)
    sinks = [ScriptedSink(gate)]
    async with CaseAssist(CONTEXT, store=store, sinks=sinks, append_timeout_s=0.01, drain_timeout_s=LONG_S) as assist:
        case = await assist.start()
        await case.update_field("subject", "x")
        with pytest.raises(StoreFull):
            await case.update_field("subject", "y")
        assert case.ticket.subject == "x"
        gate.opened.set()


async def test_before_and_after_the_block_nothing_is_recorded() -> None:
    assist = CaseAssist(CONTEXT)
    with pytest.raises(NotRunning):
        await assist.start()
    async with assist:
        case = await assist.start()
    for act in (assist.start, case.solve, lambda: assist.resume(case.id)):
        with pytest.raises(NotRunning, match="async with"):
            await act()
    assert len(await assist.store.load(case.id)) == 1
    with pytest.raises(RuntimeError, match="once"):
        async with assist:
            pass


async def test_an_error_of_the_block_comes_out_as_it_is_and_everything_is_delivered() -> None:
    sink = MemorySink()
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with CaseAssist(CONTEXT, sinks=[sink]) as assist:
            await assist.start()
            raise ZeroDivisionError
    assert len(sink.records) == 1


async def test_a_cancelled_block_is_drained_all_the_same() -> None:
    sink = MemorySink()
    with anyio.move_on_after(LONG_S) as scope:
        async with CaseAssist(CONTEXT, sinks=[sink]) as assist:
            await assist.start()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert len(sink.records) == 1


async def test_the_deadline_of_closing_is_kept_and_what_is_left_is_told() -> None:
    gate = Gate()
    sink = ScriptedSink(gate)
    with anyio.fail_after(LONG_S):
        async with CaseAssist(CONTEXT, sinks=[sink], drain_timeout_s=0.01) as assist:
            await assist.start()
    (books,) = assist.report().sinks
    assert (books.accepted, books.delivered, books.pending) == (1, 0, 1)
    assert not assist.report().complete
    assert sink.closed == 1


async def test_closing_by_hand_within_a_scope_and_twice_and_side_by_side() -> None:
    sink = ScriptedSink()
    with anyio.fail_after(LONG_S):
        async with CaseAssist(CONTEXT, sinks=[sink]) as assist:
            await assist.start()
            with anyio.move_on_after(LONG_S):
                report = await assist.aclose(LONG_S)
            assert report.complete
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(assist.aclose)
                tasks.start_soon(assist.aclose, 0)
            assert await assist.aclose() == report
            with pytest.raises(NotRunning):
                await assist.start()
    assert sink.closed == 1


async def test_a_sink_that_does_not_open_stops_the_start_with_its_own_error() -> None:
    class Shut(ScriptedSink):
        async def open(self) -> None:
            raise OSError("shut")

    fine, shut = ScriptedSink(name="fine"), Shut(name="shut")
    with pytest.raises(OSError, match="shut"):
        async with CaseAssist(CONTEXT, sinks=[fine, shut]):
            raise AssertionError("it is not entered")
    assert fine.closed == shut.closed == 1


async def test_a_broken_sink_does_not_disturb_the_bot_or_the_other_sinks() -> None:
    broken, fine = ScriptedSink(*[RuntimeError("bug")] * 5, name="broken"), MemorySink("fine")
    async with CaseAssist(CONTEXT, sinks=[broken, fine], sleep=Pauses(), drain_timeout_s=LONG_S) as assist:
        case = await assist.start()
        await until(lambda: len(fine.records) == 1)
        await case.solve()
    assert len(fine.records) == len(broken.taken) == 2


def test_two_sinks_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="name of its own"):
        CaseAssist(sinks=[MemorySink(), MemorySink()])


async def test_many_sessions_at_once() -> None:
    sink = MemorySink()
    async with CaseAssist(CONTEXT, sinks=[sink]) as assist:

        async def talk(number: int) -> None:
            case = await assist.start(session_id=f"s{number}")
            for step in range(5):
                await anyio.lowlevel.checkpoint()
                await case.update_field("subject", f"step {step}")
            await case.solve()

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(talk, number)
    assert len(sink.records) == 700
    for number in range(100):
        own = [record for record in sink.records if record.session_id == f"s{number}"]
        assert Session.fold(own).state == "solved"


# --- The end, in all its forms --------------------------------------------------------------------------------------


def test_it_can_be_made_outside_of_an_event_loop(anyio_backend: str) -> None:
    sink = MemorySink()
    assist = CaseAssist(CONTEXT, sinks=[sink])

    async def main() -> None:
        async with assist:
            await assist.start()

    anyio.run(main, backend=anyio_backend)
    assert len(sink.records) == 1


async def test_a_block_in_which_nothing_happens_opens_and_closes_its_sinks() -> None:
    sink = ScriptedSink()
    async with CaseAssist(CONTEXT, sinks=[sink]):
        pass
    assert (sink.opened, sink.closed) == (1, 1)


async def test_closing_what_was_never_entered_does_nothing() -> None:
    sink = ScriptedSink()
    assert (await CaseAssist(CONTEXT, sinks=[sink]).aclose()).complete
    assert sink.closed == 0


async def test_a_message_has_one_turn_however_often_the_session_is_resumed() -> None:
    sink = MemorySink()
    async with CaseAssist(CONTEXT, sinks=[sink]) as assist:
        case = await assist.start(session_id="a1")
        await case.take_turn("m1", {"step": "asking"})
        resumed = await assist.resume("a1")
        assert (resumed.session.message_ids, resumed.session.memory) == (("m1",), {"step": "asking"})
        for handle in (case, resumed):
            with pytest.raises(RepeatedMessage):
                await handle.take_turn("m1", {"step": "another"})
            assert handle.session.memory == {"step": "asking"}
        assert len(await assist.load("a1")) == 2
        await resumed.take_turn("m2")
        with pytest.raises(SequenceConflict):  # the other handle did not hear of it
            await case.take_turn("m2")
        with pytest.raises(RepeatedMessage):
            await case.take_turn("m2")
        assert case.session == resumed.session
        await assist.flush(LONG_S)
    assert identities(sink.records) == [("a1", 0), ("a1", 1), ("a1", 2)]


async def test_a_session_that_is_not_there_cannot_be_resumed() -> None:
    async with CaseAssist(CONTEXT) as assist:
        with pytest.raises(UnknownSession):
            await assist.resume("nobody")


async def test_an_error_of_a_cancelled_block_comes_out_all_the_same() -> None:
    sink = MemorySink()
    with anyio.CancelScope() as scope, pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with CaseAssist(CONTEXT, sinks=[sink]) as assist:
            await assist.start()
            scope.cancel()
            raise ZeroDivisionError
    assert len(sink.records) == 1


async def test_a_group_of_errors_of_the_block_comes_out_as_it_is() -> None:
    group = ExceptionGroup("mine", [ZeroDivisionError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with CaseAssist(CONTEXT, sinks=[MemorySink()]):
            raise group
    assert caught.value is group


async def test_a_start_that_is_cancelled_leaves_nothing_open() -> None:
    class Hanging(ScriptedSink):
        async def open(self) -> None:
            await super().open()
            await anyio.sleep_forever()

    first, hanging, never = ScriptedSink(name="first"), Hanging(name="hanging"), ScriptedSink(name="never")
    with anyio.fail_after(LONG_S), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await until(lambda: hanging.opened)
                scope.cancel()

            tasks.start_soon(cancel)
            async with CaseAssist(CONTEXT, sinks=[first, hanging, never]):
                raise AssertionError("it is not entered")
    assert (first.closed, hanging.closed, never.opened, never.closed) == (1, 1, 0, 0)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("again", [0, 1, 2, 5])
async def test_a_task_that_is_cancelled_the_way_of_asyncio_drains_unless_it_is_cancelled_again(again: int) -> None:
    gate, store = Gate(), MemoryStore()
    sink = ScriptedSink(gate)

    async def main() -> None:
        async with CaseAssist(CONTEXT, store=store, sinks=[sink], drain_timeout_s=LONG_S) as assist:
            await assist.start(session_id="a1")
            await anyio.sleep_forever()

    before = asyncio.all_tasks()
    async with asyncio.timeout(LONG_S):
        task = asyncio.create_task(main())
        await gate.entered.wait()
        task.cancel()
        await idle()
        assert not task.done()
        for _ in range(again):
            task.cancel()
            await asyncio.sleep(0)
        if not again:
            gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert asyncio.all_tasks() == before
    assert sink.closed == 1
    assert len(sink.taken) == (0 if again else 1)
    assert len(await store.load("a1")) == 1


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_passes_through_a_sink_and_comes_out_as_it_is(
    end: type[BaseException], anyio_backend: str
) -> None:
    broken, fine = ScriptedSink(name="broken"), ScriptedSink(name="fine")

    async def act(_: Sequence[Record]) -> None:
        await until(lambda: fine.taken)
        raise end

    broken.script.append(act)

    async def main() -> None:
        async with CaseAssist(CONTEXT, sinks=[broken, fine], drain_timeout_s=LONG_S) as assist:
            await assist.start()
            await anyio.sleep_forever()

    with pytest.raises(end):
        anyio.run(main, backend=anyio_backend)
    assert (broken.closed, fine.closed, len(fine.taken)) == (1, 1, 1)


@pytest.mark.parametrize("couriers", [1, 2])
async def test_a_mistake_of_ours_ends_the_block_loudly(couriers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Turn) -> None:
        await idle()
        raise ZeroDivisionError

    monkeypatch.setattr(Turn, "_feed", broken)
    sinks = [ScriptedSink(name=f"sink {n}") for n in range(couriers)]
    with anyio.fail_after(LONG_S), pytest.raises(ZeroDivisionError if couriers == 1 else ExceptionGroup):  # noqa: PT012
        async with CaseAssist(CONTEXT, sinks=sinks, drain_timeout_s=LONG_S) as assist:
            await assist.start()
            await anyio.sleep_forever()
    assert [sink.closed for sink in sinks] == [1] * couriers


async def test_closing_in_a_scope_that_is_cancelled_still_closes() -> None:
    gate = Gate()
    sink = ScriptedSink(gate)
    with anyio.fail_after(LONG_S):
        async with CaseAssist(CONTEXT, sinks=[sink], drain_timeout_s=LONG_S) as assist:
            await assist.start()
            with anyio.CancelScope() as scope:
                scope.cancel()
                await assist.aclose()
            assert scope.cancelled_caught
            assert sink.closed == 1
            assert assist.report().sinks[0].pending == 1


async def test_closing_at_once_leaves_what_is_not_delivered_in_the_store() -> None:
    gate, store = Gate(), MemoryStore()
    with anyio.fail_after(LONG_S):
        async with CaseAssist(CONTEXT, store=store, sinks=[ScriptedSink(gate, name="same")]) as assist:
            case = await assist.start()
            report = await assist.aclose(0)
        assert not report.complete
        again = MemorySink("same")
        async with CaseAssist(CONTEXT, store=store, sinks=[again]) as assist:
            assert (await assist.flush(LONG_S)).complete
    assert again.records == list(await store.load(case.id))


async def test_a_sink_that_closes_the_assist_does_not_hang_it() -> None:
    sink = ScriptedSink()
    with anyio.fail_after(LONG_S):
        async with CaseAssist(CONTEXT, sinks=[sink], drain_timeout_s=LONG_S) as assist:

            async def close(_: Sequence[Record]) -> None:
                await assist.aclose(0.001)

            sink.script.append(close)
            await assist.start()
            await until(lambda: sink.closed)
    (books,) = assist.report().sinks
    assert (books.accepted, books.delivered) == (1, len(sink.taken))


async def test_sinks_that_hang_when_they_are_closed_share_one_deadline() -> None:
    class Hanging(ScriptedSink):
        async def aclose(self) -> None:
            await anyio.sleep_forever()

    with anyio.fail_after(LONG_S):
        async with CaseAssist(CONTEXT, sinks=[Hanging(name=f"sink {n}") for n in range(1000)], drain_timeout_s=0):
            pass


async def test_an_action_that_waits_for_room_when_the_assist_closes_is_recorded_and_delivered() -> None:
    gate = Gate()
    store, sink = MemoryStore(max_records=1), ScriptedSink(gate)
    async with CaseAssist(
        CONTEXT, store=store, sinks=[sink], append_timeout_s=LONG_S, drain_timeout_s=LONG_S
    ) as assist:
        await assist.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(assist.start)
            await gate.entered.wait()
            await idle()
            tasks.start_soon(assist.aclose)
            await idle()
            gate.opened.set()
    (books,) = assist.report().sinks
    assert (books.accepted, books.delivered, books.pending) == (2, 2, 0)
    assert len(sink.taken) == 2


async def test_an_action_that_let_others_go_first_sees_that_the_assist_was_closed() -> None:
    store = MemoryStore()
    recorded = 0
    async with CaseAssist(CONTEXT, store=store) as assist, anyio.create_task_group() as tasks:
        tasks.start_soon(assist.aclose)
        with pytest.raises(NotRunning):  # noqa: PT012
            for recorded in range(1000):  # noqa: B007
                await assist.start()
    assert len(store) == recorded < 1000


async def test_a_flush_while_a_bot_goes_on_ends() -> None:
    sink = MemorySink()
    with anyio.fail_after(LONG_S):
        async with CaseAssist(CONTEXT, sinks=[sink]) as assist, anyio.create_task_group() as tasks:

            async def go_on() -> None:
                while True:
                    await assist.start()

            tasks.start_soon(go_on)
            await until(lambda: assist.report().sinks[0].accepted > 100)
            accepted = assist.report().sinks[0].accepted
            report = await assist.flush(LONG_S)
            assert report.sinks[0].delivered >= accepted
            tasks.cancel_scope.cancel()


async def test_records_that_somebody_else_decided_are_recorded_and_delivered() -> None:
    sink, records = MemorySink(), records_of("own", 3)
    async with CaseAssist(CONTEXT, sinks=[sink]) as assist:
        await assist.append(records)
        await assist.append(records)  # again: nothing more happens
        with pytest.raises(ValueError, match="at once"):
            await assist.append([])
        assert list(await assist.load("own")) == records
    assert sink.records == records


async def test_an_action_that_was_refused_leaves_the_case_as_it_was() -> None:
    async with CaseAssist(CONTEXT) as assist:
        case = await assist.start()
        before = case.session
        with pytest.raises(InvalidAction):
            await case.create("")
        assert case.session is before
        await case.create("1")


async def test_a_conflict_is_told_once_and_the_next_action_decides_on_what_is_stored() -> None:
    async with CaseAssist(CONTEXT) as assist:
        mine = await assist.start()
        yours = await assist.resume(mine.id)
        await yours.solve()
        with pytest.raises(SequenceConflict):
            await mine.update_field("subject", "mine")
        with pytest.raises(IllegalTransition):
            await mine.update_field("subject", "mine")
        assert mine.state == "solved"
