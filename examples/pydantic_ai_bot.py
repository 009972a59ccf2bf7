"""A language model that leads support cases, here in the terminal, with pydantic-ai. It records them in cases.db.

pip install 'caseassist[pydantic-ai,service]' 'pydantic-ai-slim[openai]'
OPENAI_API_KEY=… python pydantic_ai_bot.py, or without a model: python pydantic_ai_bot.py --demo
"""

import asyncio
import os
import sys
import uuid

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from caseassist import CaseAssist, Context, SQLiteStore
from caseassist.helpdesks.memory import MemoryTickets
from caseassist.integrations.pydantic_ai import CaseAssistToolset
from caseassist.integrations.tools import CaseTools, Chat
from caseassist.service.client import CustomerService
from caseassist.service.knowledge import Knowledge
from caseassist.service.standin import create_app, serve


async def demo(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """What stands in for a model with --demo: the first thing said is the problem, then yes or no."""
    del info
    last = messages[-1].parts[-1]
    if isinstance(last, ToolReturnPart):
        answer = last.model_response_object()
        if "suggestions" in answer and answer["suggestions"]["documents"]:
            links = [f"- {document['title']}: {document['url']}" for document in answer["suggestions"]["documents"]]
            return ModelResponse([TextPart("\n".join(["This may help. Did it (yes or no)?", *links]))])
        return ModelResponse([TextPart(f"Your case: {answer['state']} {answer['ticket'].get('id', '')}".strip())])
    text = last.content if isinstance(last, UserPromptPart) and isinstance(last.content, str) else ""
    if len(messages) == 1:
        fill = {"field_name": "description", "value": text}
        calls = [("start_case", {}), ("update_field", fill), ("suggest_documents", {})]
    else:
        calls = [("mark_solved" if text.lower().startswith("y") else "create_ticket", {})]
    return ModelResponse([ToolCallPart(name, arguments) for name, arguments in calls])


async def main() -> None:
    if "--demo" not in sys.argv and not os.environ.get("OPENAI_API_KEY"):
        sys.exit("Set OPENAI_API_KEY, or try it without a model: python pydantic_ai_bot.py --demo")
    model = FunctionModel(demo) if "--demo" in sys.argv else os.environ.get("MODEL", "openai:gpt-5-mini")
    with Knowledge.load() as knowledge:  # a stand-in for Coveo's service, with a few documents
        async with (
            serve(create_app(knowledge)) as url,
            CustomerService(url, organization="demo", case_assist_id="demo", token=None) as service,
            CaseAssist(Context(search_hub="support-bot", language="en"), store=SQLiteStore("cases.db")) as assist,
        ):
            tools = CaseTools(assist, tickets=MemoryTickets(), service=service)
            agent = Agent(model, deps_type=Chat, toolsets=[CaseAssistToolset(tools)])
            chat = Chat(conversation_id=uuid.uuid4().hex)  # in your bot: the platform's id of the chat
            history: list[ModelMessage] = []
            print("What is the problem?")
            while text := (await asyncio.to_thread(input, "> ")).strip():
                result = await agent.run(text, deps=chat, message_history=history)
                history = result.all_messages()
                print(result.output)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (EOFError, KeyboardInterrupt):
        print()
