"""A bot over HTTP: webhooks for Starlette, FastAPI and every ASGI server, on asyncio and trio.

::

    @asynccontextmanager
    async def open_bot() -> AsyncIterator[Bot]:
        async with CaseAssist(Context(search_hub="support-bot"), store=SQLiteStore("cases.db")) as assist:
            yield Bot(assist, tickets=...)

    app = create_app(open_bot)

A message is a POST of JSON to ``/conversations/{conversation id}/messages``; docs/how-to/run-a-bot-over-http.md says
what goes in and what comes out.

Needs the extra ``asgi``: ``pip install 'caseassist[asgi]'``.
"""

import hmac
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import msgspec

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError as error:  # pragma: no cover (the wheel check runs without the extra)
    raise ImportError("webhooks need the extra `asgi`: pip install 'caseassist[asgi]'") from error

from caseassist.bot import Bot, Message
from caseassist.conversation.prompts import Prompt
from caseassist.core.errors import InvalidAction, NotRunning, StoreError
from caseassist.core.gate import convert, members_of

__all__ = ["create_app", "routes"]

log = logging.getLogger("caseassist")

MAX_BODY_BYTES = 262_144
"""As much as a description may hold."""
RETRY_AFTER_S = 1


def create_app(
    open_bot: Callable[[], AbstractAsyncContextManager[Bot]],
    *,
    token: str | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> Starlette:
    """An application that is the bot and nothing else.

    ``open_bot``: opens the bot and all that it needs, when the server starts, and closes them when it stops. Every
    worker process opens its own. Otherwise as :func:`routes`.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[Mapping[str, Any]]:
        async with open_bot() as bot:
            yield {"bot": bot}

    def bot_of(request: Request) -> Bot:
        bot: Bot = request.state.bot
        return bot

    return Starlette(
        routes=routes(bot_of, token=token, max_body_bytes=max_body_bytes),
        exception_handlers={HTTPException: _on_http_exception},
        lifespan=lifespan,
    )


def routes(
    bot: Bot | Callable[[Request], Bot], *, token: str | None = None, max_body_bytes: int = MAX_BODY_BYTES
) -> list[Route]:
    """The routes of a bot, for an application of your own: ``Mount("/support", routes=routes(bot))``.

    ``bot``: with its CaseAssist open while requests come; or a function that finds it, such as
    ``lambda request: request.state.bot`` when your lifespan yields ``{"bot": bot}``. ``token``: what callers must give
    as ``Authorization: Bearer``. Without one, everybody who can reach the server and knows a conversation's id can read
    it and go on with it. ``max_body_bytes``: of a message.

    Raises ValueError for a token that no header can carry.
    """
    if token is not None and not (token and token.isascii() and token.isprintable() and token == token.strip()):
        raise ValueError("a token is printable ASCII without spaces around; to ask for none, leave it out")

    async def post_message(request: Request) -> Response:
        leading = bot if isinstance(bot, Bot) else bot(request)
        language: str | None = None
        try:
            if token is not None:
                _check_token(request, token)
            said = await _read(request, max_body_bytes)
            language = said.language
            reply = await leading.reply(said.message(request))
        except _Refused as refusal:
            return _error(refusal.status, refusal.kind, refusal.message, headers=refusal.headers)
        except InvalidAction as error:
            return _error(400, type(error).__name__, str(error), rule=error.rule, path=error.path)
        except (StoreError, NotRunning) as error:
            log.warning("a message was not taken: %s", error)
            return _error(
                503,
                type(error).__name__,
                "not now; it is safe to give the same message again",  # ours names sessions and places in the store
                headers={"Retry-After": str(RETRY_AFTER_S)},
                prompt=leading.trouble(language),
            )
        except ClientDisconnect:  # there is nobody to answer
            return Response(status_code=400)
        return _json({"sessionId": reply.session_id, "repeated": reply.repeated, "prompt": reply.prompt})

    # An id of somebody else's platform may hold a slash, and servers decode %2F before they look for a route.
    return [Route("/conversations/{conversation_id:path}/messages", post_message, methods=["POST"])]


class _Said(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of a request: a message without what the path and the headers say."""

    text: str | None = None
    choice: str | None = None
    message_id: str | None = None
    user_id: str | None = None
    language: str | None = None
    ticket: Mapping[str, Any] | None = None

    def message(self, request: Request) -> Message:
        return Message(
            conversation_id=request.path_params["conversation_id"],
            text=self.text,
            choice=self.choice,
            message_id=self.message_id or _unquoted(request.headers.get("idempotency-key", "")) or None,
            user_id=self.user_id,
            language=self.language,
            ticket=self.ticket,
        )


class _Refused(Exception):
    """A request that is no message."""

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, kind, message)
        self.status = status
        self.kind = kind
        self.message = message
        self.headers = headers


def _check_token(request: Request, token: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise _Refused(401, "Unauthorized", "give the bearer token in Authorization", {"WWW-Authenticate": "Bearer"})


async def _read(request: Request, max_body_bytes: int) -> _Said:
    """Raises InvalidAction for what is no message, and _Refused."""
    # A page of anybody can have a browser post any other kind here, without asking us.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Refused(415, "UnsupportedMediaType", "the content type must be application/json")
    if not request.path_params["conversation_id"]:
        raise InvalidAction("the path must hold the id of a conversation", path="$.conversationId")
    chunks: list[bytes] = []
    size = 0
    async with aclosing(request.stream()) as body:
        async for chunk in body:
            size += len(chunk)
            if size > max_body_bytes:
                raise _Refused(413, "ContentTooLarge", f"a message has at most {max_body_bytes} bytes")
            chunks.append(chunk)
    try:
        decoded = msgspec.json.decode(b"".join(chunks))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise InvalidAction("expected a JSON object in UTF-8") from None
    said = convert(_Said, members_of(decoded))
    if said.text is not None and said.choice is not None:
        raise InvalidAction("a message is a text or a choice, not both", path="$.choice")
    return said


def _unquoted(key: str) -> str:
    """The header as the IETF's draft has it is a string in quotes; most clients leave them out."""
    return key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    """What Starlette's router says: no such path, no such method."""
    assert isinstance(error, HTTPException)
    kind = {404: "NotFound", 405: "MethodNotAllowed"}.get(error.status_code, "Error")
    return _error(error.status_code, kind, error.detail, headers=error.headers)


def _error(
    status: int,
    kind: str,
    message: str,
    *,
    rule: str | None = None,
    path: str | None = None,
    headers: Mapping[str, str] | None = None,
    prompt: Prompt | None = None,
) -> Response:
    told = {"type": kind, "message": message, "rule": rule, "path": path}
    body: dict[str, Any] = {"error": {name: value for name, value in told.items() if value is not None}}
    if prompt is not None:
        body["prompt"] = prompt
    return _json(body, status=status, headers=headers)


def _json(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, "application/json")
