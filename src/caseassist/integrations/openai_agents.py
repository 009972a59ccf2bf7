"""The actions as tools for an agent of openai-agents.

::

    agent = Agent[Chat](name="Support", instructions=tools.instructions, tools=[*case_assist_tools(tools)])
    await Runner.run(agent, "My generator stops", context=Chat(conversation_id="c1"))

Wrong calls are answered with a result that the model can act on; none ends the run. A model that never does better is
ended by the run's ``max_turns``.

Runs on asyncio only, as openai-agents does. Needs the extra ``openai-agents``:
``pip install 'caseassist[openai-agents]'``.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

try:
    from agents import AgentBase, FunctionTool, RunContextWrapper
    from agents.tool_context import ToolContext
except ImportError as error:  # pragma: no cover (the wheel check runs without the extra)
    raise ImportError(
        "the tools for openai-agents need the extra `openai-agents`: pip install 'caseassist[openai-agents]'"
    ) from error

from caseassist.integrations.tool_kinds import Tool
from caseassist.integrations.tools import CaseTools, Chat

__all__ = ["case_assist_tools", "chat_of"]


def chat_of(context: RunContextWrapper[Any]) -> Chat:
    """The chat of a run: its context, which must be a :class:`Chat`. Raises ValueError for anything else."""
    if isinstance(context.context, Chat):
        return context.context
    raise ValueError("which chat is it? Run the agent with context=Chat(conversation_id=…), or pass chat=… here")


def case_assist_tools(
    tools: CaseTools,
    *,
    chat: Callable[[RunContextWrapper[Any]], Chat] = chat_of,
    only_allowed: bool = False,
) -> list[FunctionTool]:
    """The tools of a :class:`CaseTools`, for any number of runs at once.

    ``tools``: what carries the calls out; give the agent ``tools.instructions``. ``chat``: tells whose case a run is
    about; :func:`chat_of` unless given. ``only_allowed``: whether a model is shown only the tools that the state
    allows. Not unless you say so: tools that come and go make the prompt cache useless, and a call to a hidden tool
    ends the run, unless its ``RunConfig`` has ``tool_not_found_behavior="return_error_to_model"``.
    """
    return [_function_tool(tools, tool, chat, only_allowed) for tool in tools.tools]


def _function_tool(
    tools: CaseTools, tool: Tool, chat: Callable[[RunContextWrapper[Any]], Chat], only_allowed: bool
) -> FunctionTool:
    async def invoke(context: ToolContext[Any], arguments: str) -> str:
        answer = await tools.call(chat(context), tool.name, arguments, call_id=context.tool_call_id)
        return msgspec.json.encode(answer).decode()

    async def is_allowed(context: RunContextWrapper[Any], agent: AgentBase[Any]) -> bool:
        del agent
        return tool.name in await tools.allowed(chat(context))

    enabled: bool | Callable[[RunContextWrapper[Any], AgentBase[Any]], Awaitable[bool]]
    enabled = is_allowed if only_allowed else True
    return FunctionTool(
        name=tool.name,
        description=tool.description,
        params_json_schema=tool.parameters,
        on_invoke_tool=invoke,
        strict_json_schema=True,
        is_enabled=enabled,
    )
