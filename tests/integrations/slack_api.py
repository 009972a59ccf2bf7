"""Slack, as far as a bot sees it: a Web API on a real socket that checks Slack's limits, and the requests of people."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode

from aiohttp import web
from tests.canaries import TOKEN

__all__ = [
    "BOT_USER",
    "CHANNEL",
    "DIRECT",
    "PERSON",
    "TEAM",
    "Slack",
    "buttons_of",
    "escaped",
    "event_body",
    "mention_body",
    "message_body",
    "press_body",
    "problem_of",
    "shown",
    "texts_of",
]

Json = dict[str, Any]

TEAM, BOT_USER, DIRECT, CHANNEL, PERSON = "T1", "UBOT", "D1", "C1", "U1"
LONG_S = 30.0
"""Seconds after which something does not come any more."""


class Slack:
    """The Web API. It refuses blocks that Slack would refuse, and keeps what is posted."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        """In all channels, as they are now."""
        self.failures: dict[str, list[tuple[int, Json, dict[str, str]]]] = {}
        """What the next calls of a method are answered with: status, body, headers."""
        self.calls: list[str] = []
        self.url = ""
        self._times = itertools.count(1)
        self._changed = asyncio.Condition()
        self._envelopes: asyncio.Queue[Json] = asyncio.Queue()
        self.acknowledged: list[str] = []

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Slack"]:
        app = web.Application()
        app.router.add_post("/api/{method}", self._answer)
        app.router.add_get("/link", self._link)
        runner = web.AppRunner(app, shutdown_timeout=1, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
            yield self
        finally:
            await runner.cleanup()

    def now(self) -> str:
        """A time that no other message has."""
        return f"1700000000.{next(self._times):06}"

    async def said(self, number: int) -> None:
        """Wait until there are that many messages, requests are acknowledged, and pressed buttons are gone."""

        def settled() -> bool:
            enough = len(self.messages) >= number and len(self.acknowledged) >= number
            return enough and not any(buttons_of(message) for message in self.messages[:-1])

        async with asyncio.timeout(LONG_S), self._changed:
            await self._changed.wait_for(settled)

    async def push(self, body: str) -> None:
        """Deliver a request in Socket Mode, to whoever is or will be connected."""
        interactive = not body.startswith("{")
        payload = json.loads(parse_qs(body)["payload"][0] if interactive else body)
        kind = "interactive" if interactive else "events_api"
        await self._envelopes.put({"envelope_id": f"e{self.now()}", "type": kind, "payload": payload})

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}})
        sending = asyncio.create_task(self._send_envelopes(socket))
        try:
            async for message in socket:
                async with self._changed:
                    self.acknowledged.append(json.loads(message.data)["envelope_id"])
                    self._changed.notify_all()
        finally:
            sending.cancel()
        return socket

    async def _send_envelopes(self, socket: web.WebSocketResponse) -> None:
        while True:
            await socket.send_json(await self._envelopes.get())

    async def _answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        kind = "xapp" if method == "apps.connections.open" else "xoxb"
        assert request.headers["Authorization"] == f"Bearer {kind}-{TOKEN}"
        self.calls.append(method)
        if self.failures.get(method):
            status, answer, headers = self.failures[method].pop(0)
            return web.json_response(answer, status=status, headers=headers)
        body: Json = await request.json() if request.content_type == "application/json" else {}
        match method:
            case "auth.test":
                return web.json_response(
                    {"ok": True, "team_id": TEAM, "user_id": BOT_USER, "bot_id": "B1", "user": "bot", "team": "team"}
                )
            case "apps.connections.open":
                return web.json_response({"ok": True, "url": self.url.replace("http", "ws").replace("/api/", "/link")})
            case "chat.postMessage" | "chat.update" if problem := problem_of(body):
                return web.json_response({"ok": False, "error": problem})
            case "chat.postMessage":
                shown = [block | {"block_id": f"b{number}"} for number, block in enumerate(body["blocks"])]
                async with self._changed:
                    self.messages.append(body | {"ts": self.now(), "blocks": shown})
                    self._changed.notify_all()
                return web.json_response({"ok": True, "ts": self.messages[-1]["ts"]})
            case "chat.update":
                (message,) = (
                    one for one in self.messages if (one["channel"], one["ts"]) == (body["channel"], body["ts"])
                )
                async with self._changed:
                    message.update(body)
                    self._changed.notify_all()
                return web.json_response({"ok": True})
        return web.json_response({"ok": False, "error": "unknown_method"})


def problem_of(body: Json) -> str | None:
    """What Slack would say of a message, by docs.slack.dev/reference/block-kit."""
    blocks = body["blocks"]
    buttons = [button for block in blocks if block["type"] == "actions" for button in block["elements"]]
    fits = (
        len(blocks) <= 50
        and len(body["text"]) <= 40_000
        and all(1 <= len(block["elements"]) <= 25 for block in blocks)
        and all(text["text"] for text in texts_of(blocks))
        and all(1 <= len(button["text"]["text"]) <= 75 and len(button["value"]) <= 2000 for button in buttons)
        and len({button["action_id"] for button in buttons}) == len(buttons)
        and all(len(button["action_id"]) <= 255 for button in buttons)
        and len({block["block_id"] for block in blocks if "block_id" in block}) in (0, len(blocks))
    )
    if not fits:
        return "invalid_blocks"
    return "msg_blocks_too_long" if sum(len(text["text"]) for text in texts_of(blocks)) > 11_000 else None


def texts_of(blocks: list[Json]) -> list[Json]:
    """The elements of rich text."""
    return [
        element
        for block in blocks
        if block["type"] == "rich_text"
        for section in block["elements"]
        for element in section["elements"]
    ]


def shown(message: Json) -> str:
    """What a person reads in a message, without its buttons."""
    return "\n".join(element["text"] for element in texts_of(message["blocks"]))


def buttons_of(message: Json) -> dict[str, Json]:
    """The buttons of a message by the choice that they are."""
    return {
        button["value"]: button
        for block in message["blocks"]
        if block["type"] == "actions"
        for button in block["elements"]
    }


# --- What people do --------------------------------------------------------------------------------------------------


def event_body(slack: Slack, event: Json) -> str:
    """The request for an event: ``ts`` and ``event_ts`` are those of a new message unless given."""
    ts = slack.now()
    return json.dumps(
        {
            "type": "event_callback",
            "team_id": TEAM,
            "api_app_id": "A1",
            "event_id": f"Ev{ts}",
            "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": True, "is_enterprise_install": False}],
            "event": {"ts": ts, "event_ts": ts} | event,
        }
    )


def message_body(slack: Slack, text: str, **members: Any) -> str:
    """The request for a direct message."""
    message = {"type": "message", "channel": DIRECT, "channel_type": "im", "user": PERSON, "text": text}
    return event_body(slack, message | {"client_msg_id": f"c{slack.now()}"} | members)


def mention_body(slack: Slack, text: str, **members: Any) -> str:
    return event_body(slack, {"type": "app_mention", "channel": CHANNEL, "user": PERSON, "text": text} | members)


def press_body(slack: Slack, message: Json, choice: str, *, user: str = PERSON) -> str:
    """The request for a press of a button of a message. What is plain text comes back escaped, as from Slack."""
    (button,) = (button for button in buttons_of(message).values() if button["value"] == choice)
    label = button["text"]["text"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    message = {member: message[member] for member in ("ts", "text", "blocks", "thread_ts") if message.get(member)}
    payload = {
        "type": "block_actions",
        "team": {"id": TEAM, "domain": "team"},
        "user": {"id": user, "team_id": TEAM, "username": "jo"},
        "api_app_id": "A1",
        "container": {"type": "message", "message_ts": message["ts"], "channel_id": "-"},
        "channel": {"id": next(one["channel"] for one in slack.messages if one["ts"] == message["ts"]), "name": "-"},
        "message": message | {"type": "message", "user": BOT_USER, "bot_id": "B1"},
        "response_url": "https://hooks.slack.invalid/actions",
        "actions": [button | {"text": button["text"] | {"text": label}, "action_ts": slack.now(), "block_id": "-"}],
    }
    return urlencode({"payload": json.dumps(payload)})


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
