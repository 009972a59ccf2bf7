"""The example's own graph, with LangGraph's own checkpointer on disk."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import anyio
import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from tests.integrations.conversations import CONTEXT, CONVERSATIONS, PROBLEM, Said, Service, Tickets, story, told

from caseassist.bot import Bot, Message, Reply
from caseassist.live import CaseAssist
from caseassist.stores.sqlite import SQLiteStore

EXAMPLE = Path(__file__).parents[2] / "examples" / "langgraph_bot.py"


def load() -> Any:
    spec = spec_from_file_location("langgraph_bot", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load()


@pytest.fixture
def anyio_backend() -> str:
    """LangGraph runs its nodes as tasks of asyncio."""
    return "asyncio"


class Dying(Bot):
    """Does what it is told, and is gone before it can say so: ``deaths`` times."""

    deaths = 0

    async def reply(self, message: Message) -> Reply:
        reply = await super().reply(message)
        if self.deaths:
            self.deaths -= 1
            raise KeyError("the process has died")
        return reply


class Talk:
    def __init__(self, assist: CaseAssist, bot: Dying, graph: Any) -> None:
        self.assist = assist
        self.bot = bot
        self.graph = graph

    async def say(self, said: Said, message_id: str) -> dict[str, Any]:
        message = {"id": message_id} | {name: value for name, value in said._asdict().items() if value is not None}
        prompt: dict[str, Any] = await example.say(self.graph, "c1", message)
        return prompt

    async def log(self, number: int = 1) -> list[dict[str, Any]]:
        return story(await self.assist.load((await self.bot.session_ids("c1"))[number - 1]))


@asynccontextmanager
async def talk(folder: Path, tickets: Tickets | None = None) -> AsyncIterator[Talk]:
    """A new process: nothing is left of an earlier one but what is in the folder."""
    async with (
        CaseAssist(CONTEXT, store=SQLiteStore(folder / "cases.db")) as assist,
        AsyncSqliteSaver.from_conn_string(str(folder / "graph.db")) as checkpointer,
    ):
        bot = Dying(assist, tickets=tickets or Tickets(), service=Service())
        yield Talk(assist, bot, example.build(bot, checkpointer))


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_makes_the_same_log_as_everywhere(tmp_path: Path, name: str) -> None:
    async with talk(tmp_path) as one:
        for number, said in enumerate(CONVERSATIONS[name]):
            prompt = await one.say(said, f"m{number}")
        assert (prompt["step"], prompt["ended"]) == (name, True)
        assert await one.log() == await told(name)


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_new_graph_goes_on_after_a_restart_in_the_middle(tmp_path: Path, name: str) -> None:
    tickets = Tickets()
    for number, said in enumerate(CONVERSATIONS[name]):
        async with talk(tmp_path, tickets) as one:
            await one.say(said, f"m{number}")
    async with talk(tmp_path, tickets) as one:
        assert await one.log() == await told(name)


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_node_that_is_run_again_does_nothing_twice(tmp_path: Path, name: str) -> None:
    tickets = Tickets()
    for number, said in enumerate(CONVERSATIONS[name]):
        async with talk(tmp_path, tickets) as one:
            one.bot.deaths = 1
            with pytest.raises(KeyError):
                await one.say(said, f"m{number}")
            log = await one.log()
        async with talk(tmp_path, tickets) as one:
            state = await one.graph.ainvoke(None, {"configurable": {"thread_id": "c1"}})
            assert state["message"]["id"] == f"m{number}"
            assert await one.log() == log
    async with talk(tmp_path, tickets) as one:
        assert state["prompt"]["step"] == name
        assert await one.log() == await told(name)


async def test_a_graph_that_is_wound_back_answers_as_the_conversation_stands_and_does_nothing_twice(
    tmp_path: Path,
) -> None:
    async with talk(tmp_path) as one:
        prompt = await one.say(Said(text=PROBLEM), "m1")
        log = await one.log()
        config = {"configurable": {"thread_id": "c1"}}
        before = [state async for state in one.graph.aget_state_history(config) if state.next == ("talk",)]
        state = await one.graph.ainvoke(None, before[0].config)
        assert state["prompt"] == prompt
        assert await one.log() == log


async def test_a_message_that_comes_again_is_answered_and_does_nothing(tmp_path: Path) -> None:
    async with talk(tmp_path) as one:
        for number, said in enumerate(CONVERSATIONS["created"]):
            prompt = await one.say(said, f"m{number}")
            assert await one.say(said, f"m{number}") == prompt
        assert await one.log() == await told("created")


async def test_conversations_are_held_side_by_side(tmp_path: Path) -> None:
    async with talk(tmp_path) as one:

        async def hold(conversation_id: str, name: str) -> None:
            for number, said in enumerate(CONVERSATIONS[name]):
                message = {"id": f"m{number}", **({"text": said.text} if said.text else {"choice": said.choice})}
                await example.say(one.graph, conversation_id, message)

        async with anyio.create_task_group() as tasks:
            for name in CONVERSATIONS:
                tasks.start_soon(hold, name, name)
        for name in CONVERSATIONS:
            assert story(await one.assist.load((await one.bot.session_ids(name))[0])) == await told(name)


async def test_after_an_end_a_new_case_can_begin(tmp_path: Path) -> None:
    async with talk(tmp_path) as one:
        for number, said in enumerate(CONVERSATIONS["left"]):
            await one.say(said, f"m{number}")
        assert (await one.say(Said(text="thanks a lot"), "after"))["ended"]
        assert (await one.say(Said(choice="new"), "new"))["step"] == "describing"
        assert (await one.say(Said(text=PROBLEM), "again"))["step"] == "asking"
        assert (await one.log(2))[-1]["ticket"]["description"] == PROBLEM


async def test_the_graph_keeps_the_id_the_message_and_the_prompt_only(tmp_path: Path) -> None:
    async with talk(tmp_path) as one:
        await one.say(Said(text=PROBLEM), "m1")
        state = await one.graph.aget_state({"configurable": {"thread_id": "c1"}})
        assert set(state.values) == {"conversation_id", "message", "prompt"}


def test_it_runs_in_the_terminal_and_goes_on_where_it_was(tmp_path: Path) -> None:
    def run(*lines: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", EXAMPLE],
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            timeout=60,
        )
        assert done.stderr == ""
        return done.stdout

    assert "Start it again to go on where you are." in run("The generator does not start.")
    printed = run("none", "file")
    assert "Hello" not in printed
    assert "Your ticket is filed: CASE-" in printed
