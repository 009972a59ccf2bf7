"""A language model that leads support cases, here in the terminal, with openai-agents. It records them in cases.db.

pip install 'caseassist[openai-agents,service]'
OPENAI_API_KEY=… python openai_agents_bot.py, or without a model: python openai_agents_bot.py --demo
"""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, TResponseInputItem, Usage, set_tracing_disabled
from agents.items import TResponseStreamEvent
from agents.testing import assistant_message, function_call

from caseassist import CaseAssist, Context, SQLiteStore
from caseassist.helpdesks.memory import MemoryTickets
from caseassist.integrations.openai_agents import case_assist_tools
from caseassist.integrations.tools import CaseTools, Chat
from caseassist.service.client import CustomerService
from caseassist.service.knowledge import Knowledge
from caseassist.service.standin import create_app, serve


class Demo(Model):
    """What stands in for a model with --demo: the first thing said is the problem, then yes or no."""

    async def get_response(self, system_instructions: Any, input: Any, *_: Any, **options: Any) -> ModelResponse:  # noqa: A002
        del system_instructions, options
        last = input[-1]
        if "output" in last:
            output = [assistant_message(self.words(json.loads(last["output"])))]
        else:
            fill = {"field_name": "description", "value": last["content"]}
            calls: list[tuple[str, Any]] = [("start_case", {}), ("update_field", fill), ("suggest_documents", {})]
            if len(input) > 1:
                calls = [("mark_solved" if last["content"].lower().startswith("y") else "create_ticket", {})]
            output = [function_call(name, arguments, call_id=uuid.uuid4().hex) for name, arguments in calls]
        return ModelResponse(output=output, usage=Usage(), response_id=None)

    def words(self, answer: dict[str, Any]) -> str:
        if documents := answer.get("suggestions", {}).get("documents"):
            links = [f"- {document['title']}: {document['url']}" for document in documents]
            return "\n".join(["This may help. Did it (yes or no)?", *links])
        return f"Your case: {answer['state']} {answer['ticket'].get('id', '')}".strip()

    def stream_response(self, *_: Any, **options: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise NotImplementedError


async def main() -> None:
    if "--demo" not in sys.argv and not os.environ.get("OPENAI_API_KEY"):
        sys.exit("Set OPENAI_API_KEY, or try it without a model: python openai_agents_bot.py --demo")
    set_tracing_disabled(True)  # what people say would be sent to the vendor's trace viewer
    model = Demo() if "--demo" in sys.argv else os.environ.get("MODEL", "gpt-5-mini")
    with Knowledge.load() as knowledge:  # a stand-in for Coveo's service, with a few documents
        async with (
            serve(create_app(knowledge)) as url,
            CustomerService(url, organization="demo", case_assist_id="demo", token=None) as service,
            CaseAssist(Context(search_hub="support-bot", language="en"), store=SQLiteStore("cases.db")) as assist,
        ):
            tools = CaseTools(assist, tickets=MemoryTickets(), service=service)
            agent = Agent[Chat](
                name="Support", model=model, instructions=tools.instructions, tools=[*case_assist_tools(tools)]
            )
            chat = Chat(conversation_id=uuid.uuid4().hex)  # in your bot: the platform's id of the chat
            history: list[TResponseInputItem] = []
            print("What is the problem?")
            while text := (await asyncio.to_thread(input, "> ")).strip():
                result = await Runner.run(agent, [*history, {"role": "user", "content": text}], context=chat)
                history = result.to_input_list()
                print(result.final_output)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (EOFError, KeyboardInterrupt):
        print()
