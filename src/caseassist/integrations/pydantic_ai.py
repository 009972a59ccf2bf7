"""The actions as tools for an agent of pydantic-ai.

::

    agent = Agent("openai:gpt-5", deps_type=Chat, toolsets=[CaseAssistToolset(tools)])
    await agent.run("My generator stops", deps=Chat(conversation_id="c1"))

Wrong calls are answered with a result, not with a ModelRetry: a retry is charged to the tool, and the second one in a
row would end the run, and with it what the person came for. A model that never does better is ended by the run's
``UsageLimits``.

Runs on asyncio only, as pydantic-ai does. Needs the extra ``pydantic-ai``: ``pip install 'caseassist[pydantic-ai]'``.
"""

from collections.abc import Callable
from typing import Any, Literal, cast

import msgspec

try:
    from pydantic_ai import RunContext
    from pydantic_ai.messages import InstructionPart
    from pydantic_ai.tools import AgentDepsT, ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
except ImportError as error:  # pragma: no cover (the wheel check runs without the extra)
    raise ImportError(
        "the tools for pydantic-ai need the extra `pydantic-ai`: pip install 'caseassist[pydantic-ai]'"
    ) from error

from caseassist.integrations.tools import CaseTools, Chat

__all__ = ["CaseAssistToolset", "chat_of"]

GIVEN = "given"
"""What arguments that are no JSON object are called until the tools refuse them."""


def chat_of(context: RunContext[Any]) -> Chat:
    """The chat of a run: its deps, if they are a :class:`Chat`; otherwise the run's conversation id names it.

    Raises ValueError if there is neither.
    """
    if isinstance(context.deps, Chat):
        return context.deps
    if context.conversation_id is None:  # pragma: no cover (a run has one always; only its type says otherwise)
        raise ValueError("which chat is it? Run the agent with deps=Chat(conversation_id=…), or with conversation_id=…")
    return Chat(conversation_id=context.conversation_id)


class CaseAssistToolset(AbstractToolset[AgentDepsT]):
    """The tools of a :class:`CaseTools`, for any number of runs at once, and the instructions that go with them.

    ``tools``: what carries the calls out. ``chat``: tells whose case a run is about; :func:`chat_of` unless given.
    ``only_allowed``: whether a model is shown only the tools that the state allows. Not unless you say so: tools that
    come and go make the provider's prompt cache useless, a model cannot start a case and fill it in one response, and
    a call to a hidden tool is answered by pydantic-ai, whose second such answer in a row ends the run.
    """

    def __init__(
        self,
        tools: CaseTools,
        *,
        chat: Callable[[RunContext[AgentDepsT]], Chat] = chat_of,
        only_allowed: bool = False,
        id: str | None = "case-assist",  # noqa: A002 (as every toolset calls it)
    ) -> None:
        self._tools = tools
        self._chat = chat
        self._only_allowed = only_allowed
        self._id = id
        self._shown = {
            tool.name: ToolsetTool[AgentDepsT](
                toolset=self,
                # In the order in which the model made the calls, on whatever else the run waits meanwhile.
                tool_def=ToolDefinition(
                    name=tool.name,
                    description=tool.description,
                    parameters_json_schema=tool.parameters,
                    sequential=True,
                ),
                max_retries=0,
                args_validator=_Unchecked(),
            )
            for tool in tools.tools
        }

    @property
    def id(self) -> str | None:
        """The id of the toolset, for durable execution."""
        return self._id

    async def get_instructions(self, ctx: RunContext[AgentDepsT]) -> InstructionPart:
        """How to use the tools: the same text always."""
        del ctx
        return InstructionPart(content=self._tools.instructions)

    async def get_tools(self, ctx: RunContext[AgentDepsT]) -> dict[str, ToolsetTool[AgentDepsT]]:
        """The tools; of these only what the state allows, if that was asked for."""
        if not self._only_allowed:
            return self._shown
        allowed = await self._tools.allowed(self._chat(ctx))
        return {name: self._shown[name] for name in allowed}

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]
    ) -> dict[str, Any]:
        """Carry out a call: see :meth:`CaseTools.call`."""
        del tool
        arguments = tool_args.get(GIVEN) if set(tool_args) == {GIVEN} else tool_args
        return await self._tools.call(self._chat(ctx), name, arguments, call_id=ctx.tool_call_id)


class _Unchecked:
    """Lets all arguments pass: CaseTools checks them, and answers so that a model can do better."""

    def validate_json(
        self,
        input: str | bytes | bytearray,  # noqa: A002 (as pydantic calls it)
        *,
        allow_partial: bool | Literal["off", "on", "trailing-strings"] = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        del allow_partial, kwargs
        try:
            return self.validate_python(msgspec.json.decode(input))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return {GIVEN: input}

    def validate_python(
        self,
        input: Any,  # noqa: A002
        *,
        allow_partial: bool | Literal["off", "on", "trailing-strings"] = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        del allow_partial, kwargs
        return cast("dict[str, Any]", input) if isinstance(input, dict) else {GIVEN: input}
