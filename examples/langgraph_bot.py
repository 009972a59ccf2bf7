"""A LangGraph graph that leads a support conversation, here in the terminal. Where it stands is kept on disk.

pip install 'caseassist[service]' langgraph langgraph-checkpoint-sqlite
python langgraph_bot.py
"""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from caseassist import CaseAssist, Context, HTTPSink, SQLiteStore
from caseassist.bot import Bot, Message
from caseassist.helpdesks.memory import MemoryTickets
from caseassist.service.client import CustomerService
from caseassist.service.knowledge import Knowledge
from caseassist.service.standin import create_app, serve


class State(TypedDict, total=False):
    """Where the conversation stands is in the store of caseassist: the graph needs its id only."""

    conversation_id: str
    message: dict[str, str]
    """The latest: its ``id``, and ``text`` or ``choice``. Neither of them: the person has come."""
    prompt: dict[str, Any]
    """What to say to it: see caseassist.conversation.prompts."""


def build(bot: Bot, checkpointer: BaseCheckpointSaver[Any]) -> CompiledStateGraph[State, None, State, State]:
    async def talk(state: State) -> State:
        # A node that was cut off is run again from its beginning: by the id of the message, nothing happens twice.
        said = state["message"]
        reply = await bot.reply(
            Message(
                conversation_id=state["conversation_id"],
                message_id=said["id"],
                text=said.get("text"),
                choice=said.get("choice"),
            )
        )
        return {"prompt": msgspec.to_builtins(reply.prompt)}

    def listen(state: State) -> State:
        return {"message": interrupt(state["prompt"])}

    def next_node(state: State) -> str:
        return END if state["prompt"]["ended"] else "listen"

    graph = StateGraph(State)
    graph.add_node("talk", talk)
    graph.add_node("listen", listen)
    graph.add_edge(START, "talk")
    graph.add_conditional_edges("talk", next_node, ["listen", END])
    graph.add_edge("listen", "talk")
    return graph.compile(checkpointer=checkpointer)


async def say(
    graph: CompiledStateGraph[State, None, State, State], conversation_id: str, message: dict[str, str]
) -> dict[str, Any]:
    """Give the graph a message, and return the prompt that it answers with."""
    config: RunnableConfig = {"configurable": {"thread_id": conversation_id}}
    waits = (await graph.aget_state(config)).interrupts
    begins = State(conversation_id=conversation_id, message=message)
    state = await graph.ainvoke(Command(resume=message) if waits else begins, config)
    prompt: dict[str, Any] = state["prompt"]
    return prompt


@asynccontextmanager
async def suggestions() -> AsyncGenerator[CustomerService]:
    """Coveo's Customer Service API, or a stand-in for it on this machine."""
    if organization := os.environ.get("COVEO_ORGANIZATION"):
        case_assist_id, token = os.environ["COVEO_CASE_ASSIST_ID"], os.environ["COVEO_TOKEN"]
        async with CustomerService.for_organization(organization, case_assist_id, token=token) as service:
            yield service
    else:
        with Knowledge.load() as knowledge:  # give it a file of your own
            async with (
                serve(create_app(knowledge)) as address,
                CustomerService(address, organization="demo", case_assist_id="demo", token=None) as service,
            ):
                yield service


async def main(conversation_id: str = "terminal") -> None:
    organization = os.environ.get("COVEO_ORGANIZATION")
    needed = ["COVEO_CASE_ASSIST_ID", "COVEO_TOKEN"] if organization else []
    if missing := [name for name in needed if not os.environ.get(name)]:
        sys.exit(f"Set {' and '.join(missing)}")
    sinks = [HTTPSink.for_organization(organization, token=os.environ["COVEO_TOKEN"])] if organization else []
    context = Context(search_hub="support-bot", language="en")
    async with (
        suggestions() as service,
        CaseAssist(context, store=SQLiteStore("cases.db"), sinks=sinks) as assist,
        AsyncSqliteSaver.from_conn_string("graph.db") as checkpointer,
    ):
        bot = Bot(assist, tickets=MemoryTickets(), service=service, name="langgraph")
        graph = build(bot, checkpointer)
        prompt = await say(graph, conversation_id, {"id": uuid.uuid4().hex})
        while True:
            print(f"\n{prompt['text']}")
            for card in prompt["cards"]:
                print(f"- {card['title']}: {card['url']}")
            for number, choice in enumerate(prompt["choices"], 1):
                print(f"  {number if prompt['numbered'] else '-'} {choice['label']}")
            if prompt["ended"]:
                break
            text = await asyncio.to_thread(input, "> ")
            prompt = await say(graph, conversation_id, {"id": uuid.uuid4().hex, "text": text})


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (EOFError, KeyboardInterrupt):
        print("\nStart it again to go on where you are.")
