"""The tools do what a model means, record nothing that is illegal, and answer wrong calls so that it can do better."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import canaries
from tests.integrations.conversations import CONTEXT, DOCUMENTS, Service, Tickets
from tests.integrations.tool_calls import (
    CALLS,
    CHAT,
    WRONG,
    Call,
    log_of,
    opened,
    records_of,
    told_without_turns,
    tools_of,
)

from caseassist.bot import Bot, Message
from caseassist.core.errors import AppendUnknown, InvalidAction, NotRunning, SequenceConflict, StoreUnavailable
from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket, TurnTaken
from caseassist.core.identity import client_id_from
from caseassist.core.machine import LifeCycle
from caseassist.core.records import Record
from caseassist.core.suggestions import read_documents
from caseassist.integrations.tool_kinds import KINDS, TOOLS
from caseassist.integrations.tools import CaseTools, Chat
from caseassist.live import CaseAssist
from caseassist.stores.base import Ack
from caseassist.stores.memory import MemoryStore
from caseassist.stores.sqlite import SQLiteStore

Json = dict[str, Any]


async def make(tools: CaseTools, calls: Sequence[Call], chat: Chat = CHAT, first: int = 0) -> Json:
    """Make calls that must be carried out; their ids are counted from ``first``."""
    answer: Json = {}
    for number, call in enumerate(calls, first):
        answer = await tools.call(chat, call.tool, call.arguments, call_id=f"call-{number}")
        assert answer["ok"], answer
        assert "repeated" not in answer
    return answer


# What a model means


@pytest.mark.parametrize("name", CALLS)
async def test_calls_make_the_same_log_as_the_conversation_in_words(name: str) -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        answer = await make(tools, CALLS[name])
        assert answer["state"] == {"solved": "solved", "created": "created", "left": "quit"}[name]
        assert answer["allowed"] == ["show_case", "start_case"]
        assert answer["ticket"].get("id") == ("CASE-1" if name == "created" else None)
        assert await log_of(tools) == await told_without_turns(name)


@pytest.mark.parametrize("name", CALLS)
async def test_another_worker_goes_on_after_every_call(name: str, tmp_path: Path) -> None:
    tickets = Tickets()
    for number, call in enumerate(CALLS[name]):
        async with opened(tmp_path / "cases.db") as assist:
            await make(tools_of(assist, tickets), [call], first=number)
    async with opened(tmp_path / "cases.db") as assist:
        assert await log_of(tools_of(assist)) == await told_without_turns(name)


async def test_answers_say_how_the_case_stands_and_what_was_suggested() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        assert await tools.call(CHAT, "show_case") == {
            "ok": True,
            "state": "new",
            "stage": 0,
            "ticket": {},
            "allowed": ["show_case", "start_case"],
            "suggestions": {"classifications": [], "documents": []},
        }
        await make(tools, CALLS["solved"][:6])
        shown = await tools.call(CHAT, "suggest_documents", call_id="x")
        assert shown["suggestions"]["classifications"] == [
            {"classification_id": "c1", "field_name": "category", "value": "Electrical", "confidence": 0.6},
            {"classification_id": "c2", "field_name": "category", "value": "Mechanical", "confidence": 0.3},
        ]
        assert shown["suggestions"]["documents"][1] == {
            "suggestion_id": "d2",
            "title": "Fuel and *air*",
            "url": "https://support.example.com/d2",
            "excerpt": "About: Fuel and *air*",
        }
        assert (shown["state"], shown["stage"], shown["ticket"]["category"]) == ("suggested", 1, "Electrical")
        assert set(shown["allowed"]) == set(KINDS) - {"start_case"}
        before = await records_of(tools)
        assert await tools.call(CHAT, "show_case") == shown
        assert await records_of(tools) == before
        opened_one = await tools.call(CHAT, "open_document", {"suggestion_id": "d2"})
        assert opened_one["document"] == {"title": "Fuel and *air*", "url": "https://support.example.com/d2"}


async def test_arguments_may_come_as_text_and_optional_ones_may_be_left_out() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        for tool, arguments in (
            ("start_case", ""),
            ("update_field", '{"field_name": "floor", "value": 3}'),
            ("update_field", '{"field_name": "urgent", "value": true}'),
            ("next_stage", "null"),
            ("suggest_classifications", b"{}"),
            ("select_classification", '{"classification_id": "c2", "auto_selection": true}'),
        ):
            answer = await tools.call(CHAT, tool, arguments)
            assert answer["ok"], answer
        assert answer["ticket"] == {"category": "Mechanical", "custom": {"floor": 3, "urgent": True}}
        assert (await records_of(tools))[-1].event.auto_selection
        cleared = await tools.call(CHAT, "update_field", {"field_name": "floor", "value": None})
        assert cleared["ticket"]["custom"] == {"urgent": True}


async def test_a_new_case_begins_after_an_end() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        for number in range(1, 6):
            await make(tools, [Call("start_case"), Call("leave")], first=number * 100)
            assert len(await tools.session_ids("c1")) == number


async def test_people_are_told_apart_as_the_bot_tells_them() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        bot = Bot(assist, tickets=Tickets(), service=Service())
        stranger = Chat(conversation_id="c3", language="klingon!")
        await make(tools, [Call("start_case")], stranger)
        assert (await records_of(tools, stranger))[0].context.language == "en"
        chat = Chat(conversation_id="c2", user_id="jo", language="fr-CA", ticket={"custom": {"channel": "web"}})
        await make(tools, [Call("start_case")], chat)
        (record, _) = await records_of(tools, chat)
        assert record.session_id == (await bot.session_ids("c2"))[0] == (await tools.session_ids("c2"))[0]
        assert record.context.client_id == client_id_from("jo", "caseassist")
        assert record.context.language == "fr"
        assert record.ticket == Ticket(custom={"channel": "web"})
        assert "web" not in repr(chat)


async def test_somebody_whose_language_nobody_names_gets_that_of_the_tools() -> None:
    async with CaseAssist(Context(search_hub="h")) as assist:
        tools = CaseTools(assist, tickets=Tickets(), service=Service(), language="de-AT")
        await make(
            tools, [Call("start_case"), Call("suggest_documents"), Call("open_document", {"suggestion_id": "d1"})]
        )
        assert (await records_of(tools))[-1].context.language == "de"


async def test_the_dialogue_goes_on_where_the_model_stopped_and_the_other_way() -> None:
    async with opened() as assist:
        tools, bot = tools_of(assist), Bot(assist, tickets=Tickets(), service=Service())
        reply = await bot.reply(Message(conversation_id="c1", text="It smells of fuel", message_id="m1"))
        step = reply.prompt.step
        await make(tools, [Call("update_field", {"field_name": "floor", "value": "2"})])
        reply = await bot.reply(Message(conversation_id="c1", message_id="m2"))
        assert reply.prompt.step == step  # the dialogue remembers
        await bot.reply(Message(conversation_id="c1", choice="leave", message_id="m3"))
        answer = await tools.call(CHAT, "show_case")
        assert (answer["state"], answer["ticket"]["description"]) == ("quit", "It smells of fuel")


async def test_without_a_service_there_are_no_tools_that_need_suggestions() -> None:
    async with CaseAssist() as assist:
        tools = CaseTools(assist, tickets=Tickets())
        names = [tool.name for tool in tools.tools]
        assert names == [
            "show_case",
            "start_case",
            "update_field",
            "next_stage",
            "create_ticket",
            "mark_solved",
            "leave",
        ]
        assert "suggest" not in tools.instructions
        await make(tools, [Call("start_case")])
        answer = await tools.call(CHAT, "suggest_documents")
        assert (answer["ok"], answer["error"]["type"]) == (False, "UnknownTool")
        assert answer["error"]["allowed"] == answer["allowed"]


def test_parameters_keep_to_what_strict_modes_take() -> None:
    for tool in TOOLS:
        jsonschema.Draft202012Validator.check_schema(tool.parameters)
        assert tool.parameters["required"] == [*tool.parameters["properties"]]
        assert tool.parameters["additionalProperties"] is False
        assert tool.description
        for schema in tool.parameters["properties"].values():
            assert set(schema) <= {"type", "description", "anyOf", "minimum", "maximum"}
            assert "description" in str(schema)
    for calls in CALLS.values():
        for call in calls:
            jsonschema.validate(call.arguments, next(one for one in TOOLS if one.name == call.tool).parameters)


@pytest.mark.parametrize(
    "options",
    [{"name": ""}, {"service_timeout_s": 0}, {"ticket_timeout_s": -1}, {"language": "klingon!"}],
    ids=lambda options: next(iter(options)),
)
def test_options_that_make_no_sense_are_refused(options: Json) -> None:
    with pytest.raises(ValueError):
        CaseTools(CaseAssist(CONTEXT), tickets=Tickets(), **options)


def test_suggestions_need_a_search_hub() -> None:
    with pytest.raises(ValueError, match="search hub"):
        CaseTools(CaseAssist(), tickets=Tickets(), service=Service())


# What a model gets wrong


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_call_is_answered_with_what_to_do_and_records_nothing(name: str) -> None:
    wrong = WRONG[name]
    async with opened() as assist:
        tools = tools_of(assist)
        await make(tools, wrong.before)
        before = await records_of(tools)
        stands = await tools.call(CHAT, "show_case")
        answer = await tools.call(CHAT, wrong.call.tool, wrong.call.arguments, call_id="wrong")
        assert await records_of(tools) == before
        assert not answer["ok"]
        assert (answer["error"]["type"], answer["error"].get("path")) == (wrong.type, wrong.path)
        assert answer["error"]["message"]
        assert wrong.next in answer["next"]
        assert (answer["state"], answer["allowed"]) == (stands["state"], stands["allowed"])
        if wrong.type == "IllegalTransition":
            assert answer["error"]["allowed"] == answer["allowed"]
        if wrong.type == "UnknownSuggestion":
            ids = ["c1", "c2"] if wrong.path == "$.classification_id" else ["d1", "d2"]
            assert answer["error"]["allowed"] == ids
            assert answer["suggestions"] == stands["suggestions"]
        msgspec.json.encode(answer)


async def test_a_tool_that_there_is_not_is_answered_with_those_that_there_are() -> None:
    async with opened() as assist:
        answer = await tools_of(assist).call(CHAT, "delete_everything", {})
        assert answer["error"] == {
            "type": "UnknownTool",
            "message": "there is no such tool; possible are: show_case, start_case",
            "allowed": ["show_case", "start_case"],
        }


async def test_errors_do_not_quote_what_the_person_said() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        await make(tools, CALLS["solved"][:7])
        for call in (
            Call("rate_document", {"suggestion_id": "d1", "rate": canaries.TEXT}),
            Call("open_document", {"suggestion_id": f"{canaries.TEXT}\n"}),
            Call("update_field", {"field_name": "subject", "value": [canaries.TEXT]}),
            Call("next_stage", f'"{canaries.TEXT}"'),
            Call("next_stage", f'{{"{canaries.TEXT}'),
        ):
            answer = await tools.call(CHAT, call.tool, call.arguments)
            assert canaries.WORD not in str(answer["error"])


async def test_a_life_cycle_of_the_users_own_is_obeyed_and_told_in_words_of_the_tools() -> None:
    life_cycle = LifeCycle()
    life_cycle.remove_transition("create", "filling", "created")
    life_cycle.add_transition("create", "filling", "created", conditions=lambda event: False)
    async with CaseAssist(CONTEXT, life_cycle=life_cycle) as assist:
        tools = tools_of(assist)
        await make(tools, CALLS["left"][:2])
        answer = await tools.call(CHAT, "create_ticket")
        assert answer["error"]["type"] == "IllegalTransition"
        assert "create" not in answer["error"]["allowed"]
        assert set(answer["error"]["allowed"]) == set(answer["allowed"]) - {"create_ticket"}


# What happens twice, and at once


@pytest.mark.parametrize("place", range(len(CALLS["created"])))
async def test_a_call_that_is_made_twice_acts_once(place: int, tmp_path: Path) -> None:
    tickets = Tickets()
    async with opened(tmp_path / "cases.db") as assist:
        answer = await make(tools_of(assist, tickets), CALLS["created"][: place + 1])
    async with opened(tmp_path / "cases.db") as assist:
        tools = tools_of(assist, tickets)
        before = await records_of(tools)
        call = CALLS["created"][place]
        again = await tools.call(CHAT, call.tool, call.arguments, call_id=f"call-{place}")
        again.pop("document", None)
        answer.pop("document", None)
        assert again == answer | {"repeated": True}
        assert await records_of(tools) == before
        assert len(tickets.tickets) == (place == len(CALLS["created"]) - 1)


async def test_a_call_of_the_case_before_is_known_as_well() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        await make(tools, [Call("start_case"), Call("leave"), Call("start_case")])
        again = await tools.call(CHAT, "leave", call_id="call-1")
        assert (again["ok"], again["repeated"], again["state"]) == (True, True, "started")


async def test_a_refused_call_does_not_use_its_id_up() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        assert not (await tools.call(CHAT, "next_stage", call_id="x"))["ok"]
        await make(tools, [Call("start_case")])
        answer = await tools.call(CHAT, "next_stage", call_id="x")
        assert (answer["ok"], answer["stage"]) == (True, 1)


@pytest.mark.parametrize("call_id", ["x" * 300, "a\nb", "\ud800"], ids=["long", "control", "surrogate"])
async def test_ids_that_cannot_be_recorded_are_known_again_all_the_same(call_id: str) -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        assert "repeated" not in await tools.call(CHAT, "start_case", call_id=call_id)
        assert (await tools.call(CHAT, "start_case", call_id=call_id))["repeated"]


async def test_calls_at_once_all_count() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        await make(tools, [Call("start_case")])
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(fill, tools, number)
        assert (await tools.call(CHAT, "show_case"))["ticket"]["custom"] == {f"f{n}": n for n in range(20)}
        assert len(await records_of(tools)) == 2 + 20 * 2


async def fill(tools: CaseTools, number: int) -> None:
    arguments = {"field_name": f"f{number}", "value": number}
    answer = await tools.call(CHAT, "update_field", arguments, call_id=f"fill-{number}")
    assert answer["ok"], answer


async def test_two_workers_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "cases.db") as one, opened(tmp_path / "cases.db") as two:
        workers = tools_of(one), tools_of(two)
        await make(workers[0], [Call("start_case")])
        async with anyio.create_task_group() as tasks:
            for number in range(6):
                for worker in workers:  # the same call, delivered to both
                    tasks.start_soon(fill, worker, number)
        records = await records_of(workers[0])
        assert records[-1].ticket.custom == {f"f{n}": n for n in range(6)}
        assert len(records) == 2 + 6 * 2
        assert len({record.event.message_id for record in records if isinstance(record.event, TurnTaken)}) == 7


async def test_the_tools_keep_nothing_of_a_conversation_between_calls() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        kept = {name: repr(value) for name, value in vars(tools).items() if name != "assist"}
        await make(tools, CALLS["left"])
        assert {name: repr(value) for name, value in vars(tools).items() if name != "assist"} == kept


# What fails


async def test_a_ticket_that_is_not_filed_is_told_and_can_be_tried_again() -> None:
    async with opened() as assist:
        tickets = Tickets(failures=1)
        tools = tools_of(assist, tickets)
        await make(tools, CALLS["created"][:-1])
        before = await records_of(tools)
        answer = await tools.call(CHAT, "create_ticket", call_id="t1")
        assert (answer["ok"], answer["error"]["type"]) == (False, "TicketNotCreated")
        assert "create_ticket" in answer["next"]
        assert "create_ticket" in answer["allowed"]
        assert await records_of(tools) == before
        assert (await tools.call(CHAT, "create_ticket", call_id="t2"))["ticket"]["id"] == "CASE-1"
        assert [(await records_of(tools))[0].session_id] == [key.split(" ")[0] for key in tickets.filed]


class Broken:
    """Does what no service should: whatever ``do`` does."""

    def __init__(self, do: Callable[[], Any]) -> None:
        self.do = do

    async def classify(self, ticket: Ticket, context: Context) -> ClassificationsOffered:
        return self.do()  # type: ignore[no-any-return]

    async def suggest_documents(self, ticket: Ticket, context: Context) -> DocumentsOffered:
        return self.do()  # type: ignore[no-any-return]

    async def create_ticket(self, ticket: Ticket, context: Context, *, key: str) -> str:
        return self.do()  # type: ignore[no-any-return]


def fail() -> None:
    raise RuntimeError(canaries.TEXT)


@pytest.mark.parametrize(
    ("call", "do", "type_"),
    [
        ("suggest_classifications", fail, "NoSuggestions"),
        ("suggest_documents", fail, "NoSuggestions"),
        ("suggest_documents", lambda: None, "NoSuggestions"),
        ("suggest_documents", lambda: read_documents(DOCUMENTS | {"documents": DOCUMENTS["documents"][::-1]}),
         "NoSuggestions"),
        ("create_ticket", fail, "TicketNotCreated"),
        ("create_ticket", lambda: "", "TicketNotCreated"),
        ("create_ticket", lambda: None, "TicketNotCreated"),
    ],
)  # fmt: skip
async def test_a_service_that_misbehaves_is_told_and_records_nothing(
    call: str, do: Callable[[], Any], type_: str
) -> None:
    async with opened() as assist:
        await make(tools_of(assist), CALLS["solved"][:8])
        tools = CaseTools(assist, tickets=Broken(do), service=Broken(do))
        before = await records_of(tools)
        answer = await tools.call(CHAT, call)
        assert (answer["ok"], answer["error"]["type"]) == (False, type_)
        assert canaries.WORD not in str(answer)
        assert await records_of(tools) == before


class Slow(Broken):
    async def suggest_documents(self, ticket: Ticket, context: Context) -> DocumentsOffered:
        await anyio.sleep_forever()
        raise AssertionError

    async def create_ticket(self, ticket: Ticket, context: Context, *, key: str) -> str:
        await anyio.sleep_forever()
        raise AssertionError


@pytest.mark.parametrize("call", ["suggest_documents", "create_ticket"])
async def test_a_service_that_never_answers_is_not_waited_for(call: str) -> None:
    async with opened() as assist:
        slow = Slow(fail)
        tools = CaseTools(assist, tickets=slow, service=slow, service_timeout_s=0.01, ticket_timeout_s=0.01)
        await make(tools, [Call("start_case")])
        answer = await tools.call(CHAT, call)
        assert answer["error"]["message"] == "there was no answer in 0.01 s"


async def test_a_call_that_is_cut_off_leaves_nothing_behind() -> None:
    async with opened() as assist:
        slow = Slow(fail)
        tools = CaseTools(assist, tickets=slow, service=slow)
        await make(tools, [Call("start_case")])
        before = await records_of(tools)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tools.call, CHAT, "suggest_documents")
            tasks.start_soon(tools.call, CHAT, "next_stage")
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert (await records_of(tools))[: len(before)] == before
        answer = await make(tools, [Call("leave")], first=9)  # nobody stands in its way
        assert answer["state"] == "quit"


async def test_suggestions_that_hold_nothing_leave_the_case_as_it_is() -> None:
    async with opened() as assist:
        nothing = Broken(lambda: DocumentsOffered(response_id="r", documents=()))
        tools = CaseTools(assist, tickets=Tickets(), service=nothing)
        await make(tools, [Call("start_case")])
        answer = await tools.call(CHAT, "suggest_documents")
        assert (answer["ok"], answer["state"], answer["suggestions"]["documents"]) == (True, "started", [])
        assert "open_document" not in answer["allowed"]


class Troubled(MemoryStore):
    """Fails an append as it is told to: before it has stored it, or after."""

    before: Exception | None = None
    after: Exception | None = None
    always: Exception | None = None
    away_after = False
    """Whether it cannot be read after the next append."""
    unreadable = False

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        failure, self.before = self.before or self.always, None
        if failure is not None:
            self.unreadable = self.away_after
            raise failure
        ack = await super().append(records, timeout_s=timeout_s)
        failure, self.after = self.after, None
        if failure is not None:
            raise failure
        return ack

    async def load(self, session_id: str) -> Sequence[Record]:
        if self.unreadable:
            raise StoreUnavailable("it is away")
        return await super().load(session_id)

    async def sessions(self, prefix: str, limit: int) -> Sequence[str]:
        if self.unreadable:
            raise StoreUnavailable("it is away")
        return await super().sessions(prefix, limit)


async def test_an_append_that_was_cut_off_acts_once() -> None:
    store = Troubled()
    async with CaseAssist(CONTEXT, store=store) as assist:
        tools = tools_of(assist)
        for number, call in enumerate(CALLS["created"]):
            setattr(store, "after" if number % 2 else "before", AppendUnknown("s", 0))
            await make(tools, [call], first=number)
        assert await log_of(tools) == await told_without_turns("created")


async def test_a_store_that_fails_is_told() -> None:
    store = Troubled()
    async with CaseAssist(CONTEXT, store=store) as assist:
        tools = tools_of(assist)
        store.before = StoreUnavailable("it is away")
        answer = await tools.call(CHAT, "start_case", call_id="x")
        assert (answer["ok"], answer["state"], answer["error"]["type"]) == (False, "new", "StoreUnavailable")
        store.unreadable = True
        answer = await tools.call(CHAT, "start_case", call_id="x")
        assert (answer["ok"], answer["error"]["type"]) == (False, "StoreUnavailable")
        assert await tools.allowed(CHAT) == tuple(KINDS)
        store.unreadable = False
        assert (await tools.call(CHAT, "start_case", call_id="x"))["ok"]


async def test_a_call_that_others_are_always_faster_than_is_given_up() -> None:
    store = Troubled()
    store.always = SequenceConflict("s", expected=0, found=1)
    async with CaseAssist(CONTEXT, store=store) as assist:
        answer = await tools_of(assist).call(CHAT, "start_case", call_id="x")
        assert (answer["ok"], answer["state"], answer["error"]["type"]) == (False, "new", "SequenceConflict")


async def test_when_nobody_knows_whether_it_is_recorded_that_is_what_is_told() -> None:
    store = Troubled()
    async with CaseAssist(CONTEXT, store=store) as assist:
        tools = tools_of(assist)
        store.before, store.away_after = AppendUnknown("s", 0), True
        answer = await tools.call(CHAT, "start_case", call_id="x")
        assert (answer["ok"], answer["error"]["type"]) == (False, "AppendUnknown")
        assert set(answer) == {"ok", "error", "next"}


async def test_what_no_model_can_help_is_raised() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        with pytest.raises(InvalidAction):
            await tools.call(Chat(conversation_id="c1", ticket={"id": "1"}), "start_case")
        with pytest.raises(InvalidAction):
            await tools.call(Chat(conversation_id="c1", ticket={"subject": 7}), "start_case")
        assert not await records_of(tools)
    with pytest.raises(NotRunning):
        await tools.call(CHAT, "start_case")
    with pytest.raises(NotRunning):
        await tools.allowed(CHAT)


async def test_a_case_that_was_erased_can_be_started_anew(tmp_path: Path) -> None:
    async with CaseAssist(CONTEXT, store=SQLiteStore(tmp_path / "cases.db")) as assist:
        tools = tools_of(assist)
        await make(tools, CALLS["solved"][:3])
        await assist.erase(session_id=(await tools.session_ids("c1"))[0])
        assert (await tools.call(CHAT, "update_field", {"field_name": "subject", "value": "x"}))["state"] == "quit"
        await make(tools, [Call("start_case")], first=9)
        assert await assist.load((await tools.session_ids("c1"))[1])


async def test_only_allowed_tools_are_named_as_allowed() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        assert await tools.allowed(CHAT) == ("show_case", "start_case")
        await make(tools, CALLS["left"][:1])
        assert "start_case" not in await tools.allowed(CHAT)
        assert "open_document" not in await tools.allowed(CHAT)


# Whatever a model does

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["field_name", "value", "classification_id", "auto_selection", "suggestion_id", "rate", "stage"]
)
LIKELY = st.sampled_from(["c1", "c2", "d1", "d2", "subject", "description", "category", "id", 0, 1, 7, 0.5, True, None])
ANY_CALL = st.one_of(
    st.sampled_from([call for calls in CALLS.values() for call in calls]),
    st.builds(
        Call,
        st.sampled_from([*KINDS, "no_such_tool"]),
        st.dictionaries(NAMES, LIKELY | VALUES, max_size=3) | VALUES | st.binary(max_size=10),
    ),
)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=60, deadline=None)
@given(calls=st.lists(st.tuples(ANY_CALL, st.sampled_from([None, None, "a", "b"])), max_size=25))
def test_no_call_raises_and_none_records_an_illegal_step(backend: str, calls: list[tuple[Call, str | None]]) -> None:
    async def play() -> None:
        async with opened() as assist:
            tools = tools_of(assist, Tickets(failures=1))
            before: list[Any] = []
            for call, call_id in calls:
                answer = await tools.call(CHAT, call.tool, call.arguments, call_id=call_id)
                msgspec.json.encode(answer)
                records = await records_of(tools)  # folds them
                if not answer["ok"]:
                    assert answer["error"]["message"]
                    assert answer["next"]
                if not answer["ok"] or "repeated" in answer or call.tool == "show_case":
                    assert records == before
                else:
                    assert len(records) == len(before) + 2
                before = records

    anyio.run(play, backend=backend)
