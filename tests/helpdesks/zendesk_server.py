"""A Zendesk to test against: what its ticket API is documented to do, in memory. One account, one agent.

It is a behaviour of the library's ScriptServer: ``ScriptServer(reply(503), then=zendesk.answers)``.
"""

from base64 import b64encode
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from caseassist.testing.http import Connection, ReceivedRequest

__all__ = ["EMAIL", "TOKEN", "Zendesk"]

EMAIL = "agent@example.com"
TOKEN = "xx-canary-zendesk-token"
BASIC = f"Basic {b64encode(f'{EMAIL}/token:{TOKEN}'.encode()).decode()}"
BEARER = f"Bearer {TOKEN}"


class Zendesk:
    """``tickets``: those filed, as they were sent, with their ids. ``keys``: the idempotency keys of the last two
    hours, each with the body that it came with and the id of its ticket."""

    def __init__(self) -> None:
        self.tickets: list[dict[str, Any]] = []
        self.keys: dict[str, tuple[bytes, int]] = {}

    def forget_keys(self) -> None:
        """Two hours go by."""
        self.keys.clear()

    async def answers(self, connection: Connection) -> None:
        """Do what is asked, and say so."""
        request = await connection.request()
        status, headers, body = self._act(request)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        data = msgspec.json.encode(body)
        await connection.send(f"HTTP/1.1 {status} -\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    async def loses_answer(self, connection: Connection) -> None:
        """Do what is asked, and break the connection off."""
        self._act(await connection.request())
        await connection.reset()

    async def cuts_answer(self, connection: Connection) -> None:
        """Do what is asked, and answer with a body that breaks off, though its length is right."""
        status, headers, body = self._act(await connection.request())
        data = msgspec.json.encode(body)[:-10]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await connection.send(f"HTTP/1.1 {status} -\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    def _act(self, request: ReceivedRequest) -> tuple[int, dict[str, str], Any]:
        if request.header("authorization") not in (BASIC, BEARER):
            return 401, {}, {"error": "Couldn't authenticate you"}
        url = urlsplit(request.path)
        if url.path != "/api/v2/tickets.json":
            return 404, {}, {"error": "InvalidEndpoint", "description": "Not found"}
        if request.method == "GET":
            wanted = parse_qs(url.query)["external_id"]
            found = [ticket for ticket in self.tickets if ticket.get("external_id") in wanted]
            return 200, {}, {"tickets": found, "next_page": None, "count": len(found)}
        return self._create(request)

    def _create(self, request: ReceivedRequest) -> tuple[int, dict[str, str], Any]:
        key = request.header("idempotency-key")
        if key is not None and key in self.keys:
            body, number = self.keys[key]
            if body != request.body:
                text = "Request parameters don't match the given idempotency key"
                return 400, {}, {"error": "IdempotentRequestError", "description": text}
            lookup = "hit"
        else:
            ticket = msgspec.json.decode(request.body)["ticket"]
            if problem := _problem_of(ticket):
                return 422, {}, {"error": "RecordInvalid", "description": "Record validation errors", **problem}
            number, lookup = 35436 + len(self.tickets), "miss"
            self.tickets.append({"id": number, **ticket})
            if key is not None:
                self.keys[key] = request.body, number
        headers = {
            "Location": f"https://example.zendesk.com/api/v2/tickets/{number}.json",
            "x-idempotency-lookup": lookup,
        }
        return 201, headers, {"ticket": {"id": number, **msgspec.json.decode(request.body)["ticket"]}, "audit": {}}


def _problem_of(ticket: dict[str, Any]) -> dict[str, Any] | None:
    """What Zendesk refuses in a ticket. It repeats what was sent, as Zendesk does."""
    if not ticket.get("comment", {}).get("body"):
        return {"details": {"base": [{"description": "Description: cannot be blank", "error": "BlankValue"}]}}
    requester = ticket.get("requester")
    if requester is not None and "suspended" in requester["email"]:
        told = {"description": f"Requester {requester['email']} is suspended.", "error": "SuspendedUser"}
        return {"details": {"requester": [told], requester["email"]: [told]}}
    return None
