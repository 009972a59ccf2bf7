"""How long does a person wait for the bot when 2,000 talk to it at once, over HTTP, with a SQLite store behind?

One server process holds all conversations: Hypercorn, the ASGI integration, a Bot and a SQLiteStore with its default
durability. This process plays the people, through a pool of connections as a chat platform's gateway has it. The
suggestion service answers at once, so what is measured is ours.

Two loads. *thinking*: everybody waits 5 to 15 s before each message, so 2,000 people send 200 messages a second while
all of them talk (the mean is lower: they begin one after the other within 10 s, and end so). What a person waits
counts from the moment at which the message was to be sent. *saturated*: nobody thinks, and all 2,000 wait for an
answer, or for their connection, all the time. A turn *with services* recorded suggestions or filed a ticket; the goal
is a p99 of 50 ms for the others, thinking.

Afterwards the log of every conversation is held against what it must be: nothing lost, nothing doubled.
"""

import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import msgspec
from hypercorn.config import Config
from tests.integrations.conversations import CONTEXT, CONVERSATIONS, Said, Service, Tickets, story, told

from benchmarks.results import Result
from benchmarks.sqlite_store import directory
from caseassist.bot import Bot, Message
from caseassist.core.events import ClassificationsOffered, DocumentsOffered, TicketCreate
from caseassist.core.records import Record
from caseassist.helpdesks.memory import MemoryTickets
from caseassist.integrations.asgi import create_app
from caseassist.live import CaseAssist
from caseassist.stores.sqlite import SQLiteStore
from caseassist.transport import HTTPTransport
from caseassist.wire.http import Origin, Request, TransportError

PEOPLE = 2_000
THINK_S = 10.0
"""Mean; evenly spread from half of it to one and a half."""
TIMEOUT_S = 60.0
TRIES = 60
PAUSE_S = 1.0
"""Before a message is given again: what the bot asks for."""
IDLE_S = 4.0
"""Seconds that the gateway keeps an idle connection: less than Hypercorn's five."""
NAMES = tuple(CONVERSATIONS)


# --- The server, in a process of its own ------------------------------------------------------------------------------


def serve(backend: str, descriptor: int, path: str) -> None:
    """Serve on a socket that listens already, until terminated."""
    hypercorn: Any = import_module(f"hypercorn.{backend}")

    @asynccontextmanager
    async def open_bot() -> AsyncIterator[Bot]:
        async with CaseAssist(CONTEXT, store=SQLiteStore(path)) as assist:
            yield Bot(assist, tickets=MemoryTickets(), service=Service())

    async def terminated() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                return

    async def main() -> None:
        config = Config()
        config.bind = [f"fd://{descriptor}"]
        config.backlog = 4096  # all come at once
        config.errorlog = None
        await hypercorn.serve(create_app(open_bot), config, shutdown_trigger=terminated, mode="asgi")

    anyio.run(main, backend=backend)


@contextmanager
def running(backend: str, path: Path) -> Iterator[Origin]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    command = [sys.executable, "-m", "benchmarks.conversations", backend, str(listener.fileno()), str(path)]
    with listener, subprocess.Popen(command, pass_fds=[listener.fileno()]) as server:
        try:
            yield Origin("http", "127.0.0.1", listener.getsockname()[1])
        finally:
            server.terminate()
    assert server.returncode == 0


# --- The people -------------------------------------------------------------------------------------------------------


class Played(NamedTuple):
    """What came of a load."""

    seconds: float
    alone: list[float]
    """Seconds of each turn without services."""
    served: list[float]
    """Seconds of each turn with services."""
    sent_again: int
    """How often a message was given again, because the connection broke or the store had no time for it (503)."""

    sessions: dict[int, str]
    """The session of each person."""

    @property
    def turns(self) -> int:
        return len(self.alone) + len(self.served)


async def turns_with_services(name: str) -> list[bool]:
    """Which messages of a conversation make the bot ask a service."""
    kinds = ClassificationsOffered | DocumentsOffered | TicketCreate
    async with CaseAssist(CONTEXT) as assist:
        bot = Bot(assist, tickets=Tickets(), service=Service())
        replies = [
            await bot.reply(Message(conversation_id="c", text=said.text, choice=said.choice))
            for said in CONVERSATIONS[name]
        ]
    return [any(isinstance(record.event, kinds) for record in reply.records) for reply in replies]


async def play(origin: Origin, people: int, think_s: float) -> Played:
    """Have everybody talk to the end, all at the same time."""
    served = {name: await turns_with_services(name) for name in NAMES}
    waited: dict[bool, list[float]] = {False: [], True: []}
    sessions: dict[int, str] = {}
    sent_again = 0

    async def send(number: int, said: Said, message_id: str) -> None:
        nonlocal sent_again
        body = {"text": said.text, "choice": said.choice, "messageId": message_id}
        request = Request(
            origin=origin,
            path=f"/conversations/c{number}/messages",
            headers=(("Content-Type", "application/json"),),
            body=msgspec.json.encode({name: value for name, value in body.items() if value is not None}),
        )
        for _ in range(TRIES):
            with suppress(TransportError):
                reply = await transport.send(request, timeout_s=TIMEOUT_S)
                assert reply.status in (200, 503), reply.body
                if reply.status == 200:
                    session_id = msgspec.json.decode(reply.body)["sessionId"]
                    assert sessions.setdefault(number, session_id) == session_id
                    return
            sent_again += 1
            await anyio.sleep(PAUSE_S)
        raise AssertionError("no answer")

    async def talk(number: int) -> None:
        chance = random.Random(number)
        name = NAMES[number % len(NAMES)]
        due = begin + chance.uniform(0, think_s)
        for place, said in enumerate(CONVERSATIONS[name]):
            await anyio.sleep_until(due)
            await send(number, said, f"m{place}")
            now = anyio.current_time()
            waited[served[name][place]].append(now - due)
            due = now + think_s * chance.uniform(0.5, 1.5)

    async with HTTPTransport(max_idle=people, idle_s=IDLE_S) as transport:
        warm = Request(method="GET", origin=origin, path="/")
        await transport.send(warm, timeout_s=TIMEOUT_S)  # it has started then
        started = time.perf_counter()
        begin = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for number in range(people):
                tasks.start_soon(talk, number)
        seconds = time.perf_counter() - started
    return Played(seconds, waited[False], waited[True], sent_again, sessions)


# --- What is in the store afterwards ----------------------------------------------------------------------------------


async def check(path: Path, talked: dict[int, str]) -> int:
    """Hold the log of every conversation against what it must be. Returns how many records there are."""
    expected = {name: msgspec.json.encode(await told(name)) for name in NAMES}
    async with CaseAssist(CONTEXT, store=SQLiteStore(path, create=False)) as assist:
        sessions: dict[str, list[Record]] = {}
        position = 0
        while page := await assist.store.read(position, 1000):
            position = page[-1][0]
            for _, record in page:
                sessions.setdefault(record.session_id, []).append(record)
        assert sorted(sessions) == sorted(talked.values())
        for number, session_id in talked.items():
            records = sessions[session_id]
            log = msgspec.json.encode(story(records))
            if ticket_id := records[-1].ticket.id:
                log = log.replace(ticket_id.encode(), b"CASE-1")
            assert [record.seq for record in records] == list(range(len(records)))
            assert log == expected[NAMES[number % len(NAMES)]], f"conversation {number} is not what it must be"
    return sum(map(len, sessions.values()))


def measure(backend: str, people: int, think_s: float, name: str) -> list[Result]:
    with directory() as folder:
        with running(backend, folder / "cases.db") as origin:
            played = anyio.run(play, origin, people, think_s)
        records = anyio.run(check, folder / "cases.db", played.sessions)
    title = f"conversations, {backend}, {people:,} {name}"
    print(
        f"{title}: {played.turns:,} turns in {played.seconds:.1f} s, {records:,} records, all there once; "
        f"{played.sent_again} times a message was sent again",
        file=sys.stderr,
    )
    figures = [Result(name=title, unit="turns/s", value=played.turns / played.seconds)]
    for kind, seconds in (("without services", played.alone), ("with services", played.served)):
        figures += [
            Result(name=f"{title}, {kind}, {quantile}", unit="ms", value=1e3 * value)
            for quantile, value in quantiles(seconds).items()
        ]
    return figures


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=1000)
    return {"p50": cuts[499], "p99": cuts[989], "max": max(seconds)}


def run(quick: bool) -> list[Result]:
    people, think_s = (100, THINK_S / 30) if quick else (PEOPLE, THINK_S)
    results: list[Result] = []
    for backend in ("asyncio", "trio"):
        results += measure(backend, people, think_s, "thinking")
        results += measure(backend, people, 0.0, "saturated")
    return results


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
