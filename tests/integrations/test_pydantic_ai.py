"""An agent of pydantic-ai drives sessions with the tools: the real framework, offline, a scripted model in it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from tests.integrations.conversations import Tickets
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

from caseassist.core.errors import NotRunning
from caseassist.integrations.pydantic_ai import CaseAssistToolset
from caseassist.integrations.tools import CaseTools, Chat

Json = dict[str, Any]


@pytest.fixture
def anyio_backend() -> str:
    """Asyncio only: pydantic-ai makes its tasks with asyncio."""
    return "asyncio"


class Script:
    """A model that gives responses one after the other: each makes calls, at once if there are several."""

    def __init__(self, *responses: Sequence[Call], first: int = 0) -> None:
        self.responses = list(responses)
        self.number = first
        self.offered: list[list[str]] = []
        self.instructions: str | None = None
        self.model = FunctionModel(self.respond)

    async def respond(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.offered.append([tool.name for tool in info.function_tools])
        self.instructions = info.instructions
        if not self.responses:
            return ModelResponse(parts=[TextPart("done")])
        parts = []
        for call in self.responses.pop(0):
            parts.append(ToolCallPart(call.tool, call.arguments, tool_call_id=f"call-{self.number}"))
            self.number += 1
        return ModelResponse(parts=parts)


def one_by_one(calls: Sequence[Call]) -> list[list[Call]]:
    return [[call] for call in calls]


def answers(messages: Sequence[ModelMessage]) -> list[Json]:
    """What the tools answered, as the model is told."""
    return [
        json.loads(part.model_response_str())
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]


async def run(tools: CaseTools, script: Script, **options: Any) -> list[Json]:
    """Run an agent, as any worker could: it is made anew."""
    agent = Agent(script.model, deps_type=Chat, toolsets=[CaseAssistToolset(tools, **options)])
    result = await agent.run("My generator stops", deps=CHAT)
    assert result.output == "done"
    assert not script.responses
    return answers(result.all_messages())


@pytest.mark.parametrize("name", CALLS)
async def test_a_model_leads_a_conversation_to_its_end(name: str) -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        script = Script(*one_by_one(CALLS[name]))
        told = await run(tools, script)
        assert all(answer["ok"] for answer in told)
        assert await log_of(tools) == await told_without_turns(name)
        assert script.instructions == tools.instructions.strip()
        assert script.offered[0] == [tool.name for tool in tools.tools]
        assert all(offered == script.offered[0] for offered in script.offered)


@pytest.mark.parametrize("name", CALLS)
async def test_another_worker_goes_on_after_a_restart(name: str, tmp_path: Path) -> None:
    half = len(CALLS[name]) // 2
    async with opened(tmp_path / "cases.db") as assist:
        await run(tools_of(assist), Script(*one_by_one(CALLS[name][:half])))
    async with opened(tmp_path / "cases.db") as assist:
        tools = tools_of(assist)
        await run(tools, Script(*one_by_one(CALLS[name][half:]), first=half))
        assert await log_of(tools) == await told_without_turns(name)


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_call_is_answered_and_records_nothing(name: str) -> None:
    wrong = WRONG[name]
    async with opened() as assist:
        tools = tools_of(assist)
        if wrong.before:
            await run(tools, Script(*one_by_one(wrong.before)))
        before = await records_of(tools)
        # Three times: a model is not thrown out of the run for being slow to learn.
        told = await run(tools, Script([wrong.call], [wrong.call], [wrong.call], first=100))
        assert await records_of(tools) == before
        for answer in told:
            assert (answer["ok"], answer["error"]["type"], answer["error"].get("path")) == (
                False,
                wrong.type,
                wrong.path,
            )
            assert wrong.next in answer["next"]
        assert len(told) == 3


async def test_a_call_that_is_made_twice_acts_once() -> None:
    async with opened() as assist:
        tickets = Tickets()
        tools = tools_of(assist, tickets)
        await run(tools, Script(*one_by_one(CALLS["created"])))
        before = await records_of(tools)
        told = await run(tools, Script(*one_by_one(CALLS["created"])))  # the same ids
        assert all(answer["ok"] and answer["repeated"] for answer in told)
        assert await records_of(tools) == before
        assert len(tickets.tickets) == 1


async def test_a_run_that_died_before_it_was_saved_is_made_good_by_the_calls_in_its_history() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        await run(tools, Script(*one_by_one(CALLS["left"][:3])))
        before = await records_of(tools)
        # The history ends with a call whose answer was lost. pydantic-ai carries it out.
        history: list[ModelMessage] = [
            ModelRequest.user_text_prompt("My generator stops"),
            ModelResponse(parts=[ToolCallPart("start_case", {}, tool_call_id="call-0")]),
        ]
        agent = Agent(Script().model, deps_type=Chat, toolsets=[CaseAssistToolset(tools)])
        result = await agent.run(message_history=history, deps=CHAT)
        assert [answer["repeated"] for answer in answers(result.all_messages())] == [True]
        assert await records_of(tools) == before


async def test_calls_in_one_response_are_carried_out_in_their_order() -> None:
    for name, calls in CALLS.items():
        async with opened() as assist:
            tools = tools_of(assist)
            told = await run(tools, Script(calls))
            assert all(answer["ok"] for answer in told)
            assert await log_of(tools) == await told_without_turns(name)


async def test_the_conversation_id_of_a_run_names_the_chat() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        agent = Agent(Script([Call("start_case")]).model, toolsets=[CaseAssistToolset[None](tools)])
        result = await agent.run("Hello", conversation_id="room-7")
        assert len(await assist.load((await tools.session_ids("room-7"))[0])) == 2
        # It is in the history, too.
        history = ModelMessagesTypeAdapter.validate_json(result.all_messages_json())
        agent = Agent(Script([Call("leave")], first=1).model, toolsets=[CaseAssistToolset[None](tools)])
        await agent.run("No", message_history=history)
        assert len(await assist.load((await tools.session_ids("room-7"))[0])) == 4


async def test_deps_of_your_own_tell_the_chat_in_your_way() -> None:
    def chat(context: RunContext[dict[str, str]]) -> Chat:
        return Chat(conversation_id=context.deps["room"])

    async with opened() as assist:
        tools = tools_of(assist)
        script = Script([Call("start_case")])
        agent = Agent(script.model, deps_type=dict[str, str], toolsets=[CaseAssistToolset(tools, chat=chat)])
        await agent.run("Hello", deps={"room": "r1"})
        assert await assist.load((await tools.session_ids("r1"))[0])


async def test_only_allowed_tools_are_shown_if_that_is_asked_for() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        script = Script(*one_by_one(CALLS["left"]))
        await run(tools, script, only_allowed=True)
        assert script.offered[0] == ["show_case", "start_case"]
        assert "start_case" not in script.offered[1]
        assert "open_document" not in script.offered[1]
        assert "open_document" in script.offered[-2]
        assert script.offered[-1] == ["show_case", "start_case"]
        # A call to a hidden one is refused, too: by pydantic-ai.
        before = await records_of(tools)
        agent = Agent(Script([Call("leave")], first=50).model, deps_type=Chat,
                      toolsets=[CaseAssistToolset(tools, only_allowed=True)])  # fmt: skip
        result = await agent.run("Hello", deps=CHAT)
        assert "Available tools: 'show_case', 'start_case'" in str(result.all_messages())
        with pytest.raises(UnexpectedModelBehavior):  # as the page about it says
            await run(tools, Script([Call("leave")], [Call("leave")], first=60), only_allowed=True)
        assert await records_of(tools) == before


@pytest.mark.parametrize("arguments", ['"{\\"stage\\": null}"', "7", "[]", "tr", '{"given": 1}'])
async def test_arguments_of_any_kind_are_answered(arguments: str) -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        (_, answer) = await run(tools, Script([Call("start_case")], [Call("next_stage", arguments)]))
        assert answer["ok"] == (arguments[0] == '"')  # an object in text in text is one all the same


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_arguments_are_made_up_nothing_illegal_is_recorded(seed: int) -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        before: list[Any] = []
        for before_that in ([], CALLS["solved"][:1], CALLS["solved"][:8]):
            if before_that:
                await run(tools, Script(*one_by_one(before_that), first=seed * 100))
                before = await records_of(tools)
            agent = Agent(TestModel(seed=seed), deps_type=Chat, toolsets=[CaseAssistToolset(tools)])
            result = await agent.run("Hello", deps=CHAT)
            told = answers(result.all_messages())
            assert len(told) == len(tools.tools)
            recorded = await records_of(tools)
            did = [answer for answer in told if answer["ok"] and "repeated" not in answer]
            assert len(recorded) == len(before) + 2 * (len(did) - 1)  # one only looks


async def test_a_program_that_has_closed_its_store_is_told_so() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
    agent = Agent(Script([Call("start_case")]).model, deps_type=Chat, toolsets=[CaseAssistToolset(tools)])
    with pytest.raises(NotRunning):
        await agent.run("Hello", deps=CHAT)


async def test_two_conversations_at_once_are_kept_apart() -> None:
    async with opened() as assist:
        tools = tools_of(assist)
        toolset = CaseAssistToolset[Chat](tools)

        async def talk(name: str) -> None:
            agent = Agent(Script(*one_by_one(CALLS[name])).model, deps_type=Chat, toolsets=[toolset])
            await agent.run("Hello", deps=Chat(conversation_id=name))

        async with anyio.create_task_group() as tasks:
            for name in CALLS:
                tasks.start_soon(talk, name)
        for name in CALLS:
            assert await log_of(tools, Chat(conversation_id=name)) == await told_without_turns(name)
