"""A stand-in for Coveo's Customer Service API, on a knowledge base: real HTTP, real shapes, on this machine only.

::

    with Knowledge.load("my-kb.toml") as knowledge:
        async with serve(create_app(knowledge)) as base_url:
            ...

Needs the extra ``service``: ``pip install 'caseassist[service]'``.
"""

import hmac
import logging
import re
import socket
import sys
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing, asynccontextmanager
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias, cast
from urllib.parse import quote

import anyio
import msgspec

try:
    from hypercorn.config import Config, Sockets
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, PlainTextResponse, Response
    from starlette.routing import Route
except ImportError as error:  # pragma: no cover (the wheel check runs without the extra)
    raise ImportError("the stand-in needs the extra `service`: pip install 'caseassist[service]'") from error

from caseassist.core.errors import InvalidAction
from caseassist.core.fields import language_from_locale
from caseassist.core.gate import kind_of, members_of, path_of
from caseassist.service.knowledge import Document, Knowledge
from caseassist.service.pages import markup, page
from caseassist.wire.secret import Secret

__all__ = ["create_app", "serve"]

HOST = "127.0.0.1"
MAX_BODY_BYTES = 1 << 20
MOST_RESULTS = 100
USUAL_RESULTS = 5
GRACE_S = 1.0
"""Seconds that requests have to end when the server stops."""

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

# --- The application --------------------------------------------------------------------------------------------------


def create_app(knowledge: Knowledge, *, token: str | Secret | None = None) -> Starlette:
    """The stand-in as an ASGI application, for :func:`serve` or a server of your own.

    ``knowledge``: stays open for as long as the application runs. ``token``: what a caller has to give as the bearer
    token; without one, any token or none is fine. Raises ValueError for a token that no header can hold.
    """
    service = _Service(knowledge)
    path = "/rest/organizations/{organization}/caseassists/{case_assist}"
    routes = [
        Route(f"{path}/classify", _guarded(service.classify, token), methods=["POST"]),
        Route(f"{path}/documents/suggest", _guarded(service.suggest_documents, token), methods=["POST"]),
        Route("/documents/{permanentid:path}", service.show_document),
        Route("/", service.introduce),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _on_http_exception, Exception: _on_exception})


_Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class _Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, kind, message)
        self.status = status
        self.kind = kind
        self.message = message
        self.headers = headers

    def response(self) -> Response:
        body = {"statusCode": self.status, "message": self.message, "type": self.kind}
        return _json(body, status=self.status, headers=self.headers)


def _json(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, "application/json")


def _guarded(endpoint: _Endpoint, token: str | Secret | None) -> _Endpoint:
    """Let those in who give the token, and answer refusals."""
    expected = None if token is None else Secret(token)

    async def guarded(request: Request) -> Response:
        try:
            if expected is not None:
                _check_token(request.headers.get("authorization", ""), expected.reveal())
            return await endpoint(request)
        except _Refusal as refusal:
            return refusal.response()
        except InvalidAction as error:
            return _Refusal(400, "InvalidParameter", f"{error.path}: {error.problem}").response()
        except ClientDisconnect:  # there is nobody to answer
            return Response(status_code=400)

    return guarded


def _check_token(authorization: str, expected: str) -> None:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), expected.encode()):
        return
    problem = "the bearer token is not the right one" if given else "there is no bearer token"
    raise _Refusal(401, "InvalidToken", f"Authorization: {problem}", {"WWW-Authenticate": "Bearer"})


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What Starlette's router says: no such path, no such method."""
    assert isinstance(error, HTTPException)
    kind, message = {
        404: ("NotFound", f"there is nothing at {request.url.path}"),
        405: ("MethodNotAllowed", f"{request.method} is not possible at {request.url.path}"),
    }.get(error.status_code, ("Error", error.detail))
    return _Refusal(error.status_code, kind, message, error.headers).response()


async def _on_exception(_: Request, error: Exception) -> Response:
    return _Refusal(500, "InternalError", f"the stand-in has failed: {type(error).__name__}").response()


class _Asked(NamedTuple):
    """What a request says."""

    text: str
    """All that is written in it, line by line."""
    language: str | None


class _Service:
    """The answers."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge

    async def classify(self, request: Request) -> Response:
        asked = _read(await _body_of(request), with_context=False)
        debug = _flag(request, "debug")
        predicted = await anyio.to_thread.run_sync(self._knowledge.classify, asked.text)
        fields = {
            field: {"predictions": [prediction._asdict() for prediction in predictions]}
            for field, predictions in predicted.items()
        }
        answer: dict[str, Any] = {"fields": fields, "responseId": str(uuid.uuid4())}
        if debug:
            answer["debug"] = {"text": asked.text, "fields": list(self._knowledge.fields)}
        return _json(answer)

    async def suggest_documents(self, request: Request) -> Response:
        asked = _read(await _body_of(request), with_context=True)
        limit = _number_of_results(request)
        debug = _flag(request, "debug")
        found = await anyio.to_thread.run_sync(
            lambda: self._knowledge.search(asked.text, language=asked.language, limit=limit)
        )
        address = _address(request)
        answer: dict[str, Any] = {
            "documents": [_suggestion(document, excerpt, address) for document, excerpt in found.documents],
            "totalCount": found.total,
            "responseId": str(uuid.uuid4()),
        }
        if debug:
            answer["debug"] = {"text": asked.text, "language": asked.language}
        return _json(answer)

    async def show_document(self, request: Request) -> Response:
        document = self._knowledge.documents.get(request.path_params["permanentid"])
        if document is None:
            missing = "<p>This knowledge base has no such document.</p>"
            return HTMLResponse(page("No such document", missing, language="en"), 404)
        return HTMLResponse(
            page(document.title, markup(document.text), language=document.language, source=document.source)
        )

    async def introduce(self, request: Request) -> Response:
        address = _address(request)
        known = ", ".join(self._knowledge.fields) or "nothing"
        lines = [
            "This is a stand-in for Coveo's Customer Service API, part of caseassist. It runs on this machine only.",
            "",
            f"It knows {len(self._knowledge.documents)} documents, and classifies: {known}.",
            "",
            f"POST {address}/rest/organizations/{{any}}/caseassists/{{any}}/classify",
            f"POST {address}/rest/organizations/{{any}}/caseassists/{{any}}/documents/suggest",
            "",
            'with a body such as {"fields": {"subject": {"value": "My generator stops"}}, "locale": "en-US"}',
            "",
            "Documents:",
            *(f"{_location(document, address)}  {document.title}" for document in self._knowledge.documents.values()),
        ]
        return PlainTextResponse("\n".join(lines) + "\n")


def _address(request: Request) -> str:
    """Where the application is. Not as the caller says in ``Host``, which may be anything."""
    host, port = cast("tuple[str, int | None]", request.scope.get("server") or ("localhost", None))
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}{'' if port is None else f':{port}'}{request.scope.get('root_path', '')}"


def _location(document: Document, address: str) -> str:
    return document.url or f"{address}/documents/{quote(document.permanentid, safe='')}"


def _suggestion(document: Document, excerpt: str, address: str) -> dict[str, Any]:
    location = _location(document, address)
    fields: dict[str, Any] = {
        "permanentid": document.permanentid,
        "source": document.source,
        "uri": location,
        "urihash": uuid.uuid5(uuid.NAMESPACE_URL, location).hex[:16],
        "filetype": "html",
    }
    if document.language is not None:
        fields["language"] = [document.language]
    return {
        "uniqueId": f"42.{document.source}${document.permanentid}",
        "title": document.title,
        "clickUri": location,
        "excerpt": excerpt,
        "hasHtmlVersion": True,
        "fields": fields,
    }


# --- Requests ---------------------------------------------------------------------------------------------------------


async def _body_of(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                message = f"the body is larger than {MAX_BODY_BYTES} bytes"
                raise _Refusal(400, "RequestTooLarge", message, {"Connection": "close"})
            chunks.append(chunk)
    return b"".join(chunks)


def _read(body: bytes, *, with_context: bool) -> _Asked:
    """Raises InvalidAction. Members that are not of use here, such as ``analytics``, are passed over."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise InvalidAction("expected a JSON object in UTF-8") from None
    members = members_of(decoded)
    if "fields" not in members:
        raise InvalidAction("is required: an object of {name: {value}}", path="$.fields")
    texts: list[str] = []
    for name, field in members_of(members["fields"], "$.fields").items():
        path = path_of("$.fields", name)
        value = members_of(field, path).get("value")
        if not isinstance(value, str):
            raise InvalidAction(f"expected a string, got {kind_of(value)}", path=f"{path}.value")
        if name != "id":
            texts.append(value)
    if with_context and members.get("context") is not None:
        context = members_of(members["context"], "$.context")
        texts += [value for value in context.values() if isinstance(value, str)]
    return _Asked("\n".join(texts), _language_of(members.get("locale")))


def _language_of(locale: Any) -> str | None:
    if locale is None:
        return None
    if not isinstance(locale, str):
        raise InvalidAction(f"expected a locale such as 'en-US', got {kind_of(locale)}", path="$.locale")
    try:
        return language_from_locale(locale)
    except ValueError:
        return None


def _number_of_results(request: Request) -> int:
    text = request.query_params.get("numberOfResults", str(USUAL_RESULTS))
    if not re.fullmatch("[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= MOST_RESULTS:
        raise _Refusal(400, "InvalidParameter", f"numberOfResults: expected a whole number from 1 to {MOST_RESULTS}")
    return int(text)


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "0").lower()
    if text not in ("0", "1", "false", "true"):
        raise _Refusal(400, "InvalidParameter", f"{name}: expected 0 or 1")
    return text in ("1", "true")


# --- Serving ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serve(app: ASGIApp, *, port: int = 0) -> AsyncGenerator[str]:
    """Serve an ASGI application on 127.0.0.1 within an ``async with`` block, which is given the address.

    ``port``: 0 takes any that is free. On leaving, requests have a second to end.
    Raises OSError if the port cannot be had.
    """
    listener = _listen(port)
    raised: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            stopping = anyio.Event()
            tasks.start_soon(_run, app, listener, stopping)
            try:
                yield f"http://{HOST}:{listener.getsockname()[1]}"
            except Exception as error:  # noqa: BLE001 (it leaves as it is; a task group would put it into a group)
                raised = error
            finally:
                stopping.set()
    finally:
        listener.close()
    if raised is not None:
        raise raised


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        if sys.platform != "win32":  # there, it would let two programs have the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((HOST, port))
        listener.listen(128)  # connections wait from now on, so that nobody comes too early
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class _Config(Config):
    """Takes the socket that is bound already."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.errorlog = logging.getLogger("caseassist.service")  # its own would add a handler that prints
        self.graceful_timeout = 2 * GRACE_S  # requests are ended by then
        self.include_server_header = False

    def create_sockets(self) -> Sockets:
        return Sockets([], [self._listener], [])


class _Requests:
    """Passes requests on to an application, and can end those that do not end by themselves.

    Hypercorn closes what is idle when it stops, and on Python 3.12 and later waits without a limit for the others, such
    as for the rest of a request that never comes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._scopes: set[anyio.CancelScope] = set()
        self._over = False

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        with anyio.CancelScope() as cancel_scope:
            self._scopes.add(cancel_scope)
            try:
                if self._over:
                    cancel_scope.cancel()
                await self._app(scope, receive, send)
            finally:
                self._scopes.discard(cancel_scope)

    async def end(self, stopping: anyio.Event) -> None:
        """End them, when it has been stopping for long enough."""
        await stopping.wait()
        await anyio.sleep(GRACE_S)
        self._over = True
        for cancel_scope in list(self._scopes):
            cancel_scope.cancel()


async def _run(app: ASGIApp, listener: socket.socket, stopping: anyio.Event) -> None:
    """Hypercorn, from its start to a stop in good order, which a cancellation of the block asks for as well."""
    trio = sys.modules.get("trio")
    backend = "trio" if trio is not None and trio.lowlevel.in_trio_task() else "asyncio"
    hypercorn: Any = import_module(f"hypercorn.{backend}")
    requests = _Requests(app)
    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(requests.end, stopping)
            await hypercorn.serve(requests, _Config(listener), shutdown_trigger=stopping.wait, mode="asgi")
            tasks.cancel_scope.cancel()
