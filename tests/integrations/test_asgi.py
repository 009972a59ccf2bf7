"""The bot over HTTP: real Starlette, served by Hypercorn on a real socket, with a SQLite file behind."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests import canaries
from tests.integrations.conversations import CONTEXT, CONVERSATIONS, PROBLEM, Said, Service, Tickets, story, told

from caseassist.bot import Bot
from caseassist.core.events import ClassificationsOffered, Context, Ticket
from caseassist.core.records import Record
from caseassist.integrations.asgi import create_app, routes
from caseassist.live import CaseAssist
from caseassist.service.standin import serve
from caseassist.stores.sqlite import SQLiteStore
from caseassist.transport import HTTPTransport
from caseassist.wire.http import Origin, Reply, Request

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30
JSON = {"Content-Type": "application/json"}


class Worker:
    """A running server, and how to talk to it."""

    def __init__(self, port: int, transport: HTTPTransport) -> None:
        self.origin = Origin("http", "127.0.0.1", port)
        self._transport = transport

    async def request(
        self, path: str, body: bytes, headers: Mapping[str, str] = JSON, *, method: str = "POST"
    ) -> Reply:
        request = Request(method=method, origin=self.origin, path=path, headers=tuple(headers.items()), body=body)
        return await self._transport.send(request, timeout_s=TIMEOUT_S)

    async def post(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Reply:
        return await self.request("/conversations/c1/messages", msgspec.json.encode(body), JSON | dict(headers or {}))

    async def say(self, said: Said, message_id: str | None = None) -> dict[str, Any]:
        members = {"text": said.text, "choice": said.choice, "messageId": message_id}
        return answer(await self.post({name: value for name, value in members.items() if value is not None}))


def answer(reply: Reply, status: int = 200) -> dict[str, Any]:
    assert reply.status == status, reply.body
    assert reply.header("content-type") == "application/json"
    members: dict[str, Any] = msgspec.json.decode(reply.body)
    return members


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[Worker]:
    async with serve(app) as url, HTTPTransport() as transport:
        yield Worker(int(url.rpartition(":")[2]), transport)


@asynccontextmanager
async def worker(
    path: Path, *, service: Any = None, tickets: Tickets | None = None, token: str | None = None
) -> AsyncIterator[Worker]:
    """A server of its own on the store at ``path``."""

    @asynccontextmanager
    async def open_bot() -> AsyncIterator[Bot]:
        async with CaseAssist(CONTEXT, store=SQLiteStore(path)) as assist:
            yield Bot(assist, tickets=tickets or Tickets(), service=service or Service())

    async with served(create_app(open_bot, token=token)) as running:
        yield running


async def stored(path: Path, session_id: str) -> list[Record]:
    async with CaseAssist(CONTEXT, store=SQLiteStore(path, create=False)) as assist:
        return list(await assist.load(session_id))


# Whole conversations


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_makes_the_log_that_it_makes_everywhere(name: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    async with worker(path) as running:
        for number, said in enumerate(CONVERSATIONS[name], 1):
            last = await running.say(said, f"m{number}")
            assert last["repeated"] is False
    assert last["prompt"]["step"] == name
    assert last["prompt"]["ended"] is True
    assert story(await stored(path, last["sessionId"])) == await told(name)


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_restart_between_any_two_messages_changes_nothing(name: str, tmp_path: Path) -> None:
    expected = await told(name)
    script = list(enumerate(CONVERSATIONS[name], 1))
    for cut in range(1, len(script)):
        path = tmp_path / f"{cut}.db"
        tickets = Tickets()
        async with worker(path, tickets=tickets) as before:
            for number, said in script[:cut]:
                prompt = (await before.say(said, f"m{number}"))["prompt"]
        async with worker(path, tickets=tickets) as after:
            again = await after.say(script[cut - 1][1], f"m{cut}")
            assert (again["prompt"], again["repeated"]) == (prompt, True)
            for number, said in script[cut:]:
                last = await after.say(said, f"m{number}")
        assert last["prompt"]["step"] == name
        assert story(await stored(path, last["sessionId"])) == expected


async def test_what_comes_back_is_all_that_a_page_needs_to_show(tmp_path: Path) -> None:
    async with worker(tmp_path / "cases.db") as running:
        await running.say(Said(text=PROBLEM), "m1")
        shown = (await running.say(Said(choice="category:0.1"), "m2"))["prompt"]
    assert shown["step"] == "reading"
    assert shown["takesText"] is False
    assert shown["cards"][0] == {
        "suggestionId": "d1",
        "title": "Ignition <basics> & more",
        "url": "https://support.example.com/d1",
        "source": "Docs",
        "excerpt": "About: Ignition <basics> & more",
        "choice": "open:1.1",
    }
    assert {"id": "solved", "label": "That solved it"}.keys() == shown["choices"][0].keys()


async def test_opening_a_chat_again_shows_where_it_stands(tmp_path: Path) -> None:
    async with worker(tmp_path / "cases.db") as running:
        greeting = answer(await running.post({"language": "fr-CA", "userId": "jo", "ticket": {"productId": "GC110"}}))
        assert greeting["prompt"]["step"] == "describing"
        asked = await running.say(Said(text=PROBLEM))
        assert answer(await running.post({})) == asked
    first, *_ = await stored(tmp_path / "cases.db", asked["sessionId"])
    assert first.context.language == "fr"
    assert first.ticket.product_id == "GC110"


# The same message twice, two messages at once


@pytest.mark.parametrize("key", ["m2", '"m2"'])
async def test_a_message_that_comes_again_records_nothing(key: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    async with worker(path) as running:
        await running.say(Said(text=PROBLEM), "m1")
        once = await running.say(Said(choice="category:0.1"), "m2")
        before = await stored(path, once["sessionId"])
        again = answer(await running.post({"choice": "category:0.1"}, {"Idempotency-Key": key}))
        assert again == once | {"repeated": True}
        assert await stored(path, once["sessionId"]) == before
        other = answer(await running.post({"text": "?", "messageId": "m3"}, {"Idempotency-Key": key}))
        assert other["repeated"] is False


async def test_two_messages_at_once_through_two_workers_are_both_taken(tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    async with worker(path) as one, worker(path) as two:
        session_id = (await one.say(Said(text=PROBLEM), "m0"))["sessionId"]
        for number in range(1, 9):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.say, Said(text=f"a {number}"), f"a{number}")
                tasks.start_soon(two.say, Said(text=f"b {number}"), f"b{number}")
        records = await stored(path, session_id)
    assert [record.seq for record in records] == list(range(len(records)))
    heard = [data["event"]["messageId"] for data in plain(records) if "messageId" in data["event"]]
    assert sorted(heard) == sorted(["m0", *(f"{who}{number}" for who in "ab" for number in range(1, 9))])


async def test_a_redelivery_that_races_the_original_makes_one_turn(tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    script = list(enumerate(CONVERSATIONS["created"], 1))
    tickets = Tickets()
    async with worker(path, tickets=tickets) as one, worker(path, tickets=tickets) as two:
        for number, said in script:
            replies: list[dict[str, Any]] = []

            async def say(
                running: Worker, said: Said = said, number: int = number, replies: list[dict[str, Any]] = replies
            ) -> None:
                replies.append(await running.say(said, f"m{number}"))

            async with anyio.create_task_group() as tasks:
                for running in (one, two, one):
                    tasks.start_soon(say, running)
            assert replies[0]["sessionId"] == replies[1]["sessionId"] == replies[2]["sessionId"]
        records = await stored(path, replies[0]["sessionId"])
    assert [record.seq for record in records] == list(range(len(records)))
    heard = [data["event"]["messageId"] for data in plain(records) if "messageId" in data["event"]]
    assert heard == [f"m{number}" for number, _ in script]
    assert records[-1].ticket.id == "CASE-1"
    assert len(tickets.tickets) == 1


def plain(records: list[Record]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(msgspec.json.encode(record)) for record in records]


# Requests that are no messages


@pytest.mark.parametrize(
    ("body", "status", "kind", "path"),
    [
        (b"", 400, "InvalidAction", "$"),
        (b"[]", 400, "InvalidAction", "$"),
        (b'{"text": "half', 400, "InvalidAction", "$"),
        (b'{"text": "\xff"}', 400, "InvalidAction", "$"),
        (b"[" * 100_000, 400, "InvalidAction", "$"),
        (b'{"text": 7}', 400, "InvalidAction", "$.text"),
        (b'{"text": "a", "choice": "b"}', 400, "InvalidAction", "$.choice"),
        (b'{"txet": "canary text of a person"}', 400, "InvalidAction", "$.txet"),
        (b'{"messageId": 7}', 400, "InvalidAction", "$.messageId"),
        (b'{"ticket": "canary text of a person"}', 400, "InvalidAction", "$.ticket"),
        (b'{"ticket": {"category": ["canary text of a person"]}}', 400, "InvalidAction", "$.ticket.category"),
        (b'{"text": "%s"}' % (b"canary " * 40_000), 413, "ContentTooLarge", None),
    ],
)
async def test_what_is_no_message_is_refused_with_the_place(
    body: bytes, status: int, kind: str, path: str | None, tmp_path: Path
) -> None:
    async with worker(tmp_path / "cases.db") as running:
        reply = await running.request("/conversations/c1/messages", body)
        error = answer(reply, status)["error"]
        assert (error["type"], error.get("path")) == (kind, path)
        assert b"canary" not in reply.body
        assert answer(await running.post({}))["prompt"]["step"] == "describing"


async def test_what_is_not_there_is_told_in_json(tmp_path: Path) -> None:
    async with worker(tmp_path / "cases.db") as running:
        where = "/conversations/c1/messages"
        assert answer(await running.request("/nowhere", b"{}"), 404)["error"]["type"] == "NotFound"
        assert answer(await running.request(where, b"", method="GET"), 405)["error"]["type"] == "MethodNotAllowed"
        assert answer(await running.request("/conversations//messages", b"{}"), 400)["error"]["path"] == (
            "$.conversationId"
        )


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}])
async def test_a_page_of_anybody_cannot_post_messages(headers: dict[str, str], tmp_path: Path) -> None:
    async with worker(tmp_path / "cases.db") as running:
        reply = await running.request("/conversations/c1/messages", b"{}", headers)
        assert answer(reply, 415)["error"]["type"] == "UnsupportedMediaType"


async def test_an_id_of_a_conversation_may_hold_anything(tmp_path: Path) -> None:
    async with worker(tmp_path / "cases.db") as running:
        ids = [
            answer(await running.request(f"/conversations/{name}/messages", b"{}"))["sessionId"]
            for name in ("team%2Fc%201", "team/c%201", "%E2%82%AC", "c1")
        ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


# Who may


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {canaries.TOKEN}", f"Bearer {canaries.TOKEN}x", "Bearer é"],
)
async def test_nobody_gets_in_without_the_token(authorization: str | None, tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    async with worker(path, token=canaries.TOKEN) as running:
        refused = await running.post({}, {} if authorization is None else {"Authorization": authorization})
        assert answer(refused, 401)["error"]["type"] == "Unauthorized"
        assert refused.header("www-authenticate") == "Bearer"
        assert b"canary" not in refused.body
        taken = answer(await running.post({}, {"Authorization": f"bearer {canaries.TOKEN}"}))
    async with CaseAssist(CONTEXT, store=SQLiteStore(path)) as assist:
        assert {record.session_id for _, record in await assist.store.read(0, 100)} == {taken["sessionId"]}


@pytest.mark.parametrize("token", ["", " ", "two\nlines", "é", " spaced "])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        routes(Bot(CaseAssist(CONTEXT), tickets=Tickets()), token=token)


# What goes wrong behind it


async def test_a_service_that_is_down_is_told_and_the_conversation_goes_on(tmp_path: Path) -> None:
    service = Service()
    service.down = True
    async with worker(tmp_path / "cases.db", service=service) as running:
        asked = (await running.say(Said(text=PROBLEM)))["prompt"]
        assert asked["step"] == "asking"
        assert "go on without" in asked["text"]
        assert (await running.say(Said(text="Electrical")))["prompt"]["step"] == "reviewing"
        assert (await running.say(Said(choice="file")))["prompt"]["step"] == "created"


async def test_a_ticket_that_could_not_be_filed_can_be_filed_again(tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    tickets = Tickets(failures=1)
    async with worker(path, tickets=tickets) as running:
        for said in CONVERSATIONS["created"]:
            failed = await running.say(said)
        assert failed["prompt"]["step"] == "reviewing"
        assert "could not" in failed["prompt"]["text"]
        filed = await running.say(Said(choice="file"))
        assert filed["prompt"]["step"] == "created"
    assert (await stored(path, filed["sessionId"]))[-1].ticket.id == "CASE-1"


async def test_a_store_that_is_full_is_told_to_the_person_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assist = CaseAssist(CONTEXT, store=SQLiteStore(tmp_path / "cases.db", max_bytes=1))
    bot = Bot(assist, tickets=Tickets())
    async with assist, served(Starlette(routes=routes(bot))) as running:
        reply = await running.post({"text": canaries.TEXT, "language": "de"})
        told = answer(reply, 503)
        assert told["error"]["type"] == "StoreFull"
        assert told["prompt"]["text"] == bot.trouble("de").text
        assert reply.header("retry-after") == "1"
    assert any("the store is full" in message for message in caplog.messages)


async def test_a_bot_that_is_not_open_is_not_there() -> None:
    async with served(Starlette(routes=routes(Bot(CaseAssist(CONTEXT), tickets=Tickets())))) as running:
        assert answer(await running.post({"text": "hi"}), 503)["error"]["type"] == "NotRunning"


# In an application of somebody else's


async def test_the_routes_can_be_mounted_with_the_bot_of_the_lifespan(tmp_path: Path) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        async with CaseAssist(CONTEXT, store=SQLiteStore(tmp_path / "cases.db")) as assist:
            yield {"support": Bot(assist, tickets=Tickets())}

    mounted = Mount("/help", routes=routes(lambda request: request.state.support))
    async with served(Starlette(routes=[mounted], lifespan=lifespan)) as running:
        reply = await running.request("/help/conversations/c1/messages", b'{"text": "hi"}')
        assert answer(reply)["prompt"]["step"] == "describing"


# Cut off


class Stuck(Service):
    """Does not answer the first call before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = anyio.Event()
        self.go_on = anyio.Event()

    async def classify(self, ticket: Ticket, context: Context) -> ClassificationsOffered:
        if not self.asked.is_set():
            self.asked.set()
            await self.go_on.wait()
        return await super().classify(ticket, context)


def head(length: int) -> bytes:
    return (
        b"POST /conversations/c1/messages HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length
    )


async def test_a_client_that_goes_away_in_the_middle_of_its_message_can_send_it_again(tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    body = msgspec.json.encode({"text": PROBLEM, "messageId": "m1"})
    async with worker(path) as running:
        async with await anyio.connect_tcp("127.0.0.1", running.origin.port) as stream:
            await stream.send(head(len(body)) + body[:20])
        first = await running.say(Said(text=PROBLEM), "m1")
        assert first["repeated"] is False
        for number, said in list(enumerate(CONVERSATIONS["solved"], 1))[1:]:
            await running.say(said, f"m{number}")
    assert story(await stored(path, first["sessionId"])) == await told("solved")


async def test_a_client_that_goes_away_before_the_answer_can_send_it_again(tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    body = msgspec.json.encode({"text": PROBLEM, "messageId": "m1"})
    service = Stuck()
    async with worker(path, service=service) as running:
        async with await anyio.connect_tcp("127.0.0.1", running.origin.port) as stream:
            await stream.send(head(len(body)) + body)
            await service.asked.wait()
        service.go_on.set()
        for number, said in enumerate(CONVERSATIONS["solved"], 1):
            last = await running.say(said, f"m{number}")
    assert last["prompt"]["step"] == "solved"
    assert story(await stored(path, last["sessionId"])) == await told("solved")


async def test_a_server_that_is_stopped_in_the_middle_of_a_turn_can_be_sent_it_again(tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    body = msgspec.json.encode({"text": PROBLEM, "messageId": "m1"})
    service = Stuck()
    async with worker(path, service=service) as running:
        stream = await anyio.connect_tcp("127.0.0.1", running.origin.port)
        await stream.send(head(len(body)) + body)
        await service.asked.wait()
    await stream.aclose()
    assert not service.calls
    async with worker(path) as running:
        for number, said in enumerate(CONVERSATIONS["solved"], 1):
            last = await running.say(said, f"m{number}")
    assert story(await stored(path, last["sessionId"])) == await told("solved")


# The example


@pytest.fixture
def example(tmp_path: Path) -> Iterator[int]:
    """The port of the example, which runs with nothing to configure."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "examples/webhook_bot.py"), str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert "Running on" in server.stderr.readline()
        try:
            yield port
        finally:
            server.terminate()
            server.stderr.read()
    assert server.returncode == 0


async def test_the_example_solves_a_case_and_has_a_page(example: int) -> None:
    async with HTTPTransport() as transport:
        running = Worker(example, transport)
        page = await running.request("/", b"", {}, method="GET")
        assert page.header("content-type") == "text/html; charset=utf-8"
        read = await running.say(Said(text="The panel of my GC110 switches off"))
        assert read["prompt"]["step"] == "reading"
        card = read["prompt"]["cards"][0]
        assert card["title"] == "Why the panel of a GC110 switches off"
        document = int(card["url"].partition(":")[2].rpartition(":")[2].partition("/")[0])
        shown = await Worker(document, transport).request(card["url"].partition(str(document))[2], b"", method="GET")
        assert card["title"].encode() in shown.body
        assert (await running.say(Said(choice="solved")))["prompt"]["step"] == "solved"
