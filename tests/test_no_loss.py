"""10,000 sessions, and a server that is slow, then fails, then is well: nothing is lost, and the books balance."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import msgspec
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from tests.canaries import TEXT, TOKEN
from tests.fakes import LONG_S, Pauses

from caseassist import CaseAssist, HTTPSink, MemoryStore
from caseassist.core.identity import event_id

SESSIONS = 10_000
SLOW_REQUESTS = 3_000
FAILING_REQUESTS = 600
IN_FLIGHT = 16

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Counts requests and behaves by their number. ``events``: what it has taken, in order, with repetitions."""

    def __init__(self) -> None:
        self.requests = 0
        self.events: list[str] = []
        self.unanswered: set[str] = set()
        """What it has taken without saying so: the client must send that again."""

    async def serve(self, stream: SocketStream) -> None:
        lines = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                while True:
                    head = await lines.receive_until(b"\r\n\r\n", 8192)
                    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                    answer = await self.answer(await lines.receive_exactly(length))
                    if answer is None:
                        return
                    await stream.send(answer)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return

    async def answer(self, body: bytes) -> bytes | None:
        self.requests += 1
        number = self.requests
        event: str = msgspec.json.decode(body)["z"]
        if number <= SLOW_REQUESTS:
            for _ in range(5):  # others go first
                await anyio.lowlevel.checkpoint()
        elif number <= SLOW_REQUESTS + FAILING_REQUESTS:
            if number % 3 == 0:
                return BUSY
            if number % 3 == 1:
                return TOO_MANY
            if number % 2:  # taken, but the connection breaks before the answer
                self.events.append(event)
                self.unanswered.add(event)
            return None
        self.events.append(event)
        return OK


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[str]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


async def test_nothing_is_lost_and_the_books_balance_at_every_moment() -> None:
    server = Server()
    recorded = 0
    balanced = 0

    def balance() -> None:
        nonlocal balanced
        (books,) = assist.report().sinks
        taken = len(set(server.events))
        assert books.accepted == books.delivered + books.pending + sum(books.dropped.values())
        assert recorded - 1 <= books.accepted <= recorded + 1  # one may be on its way in, or just in
        assert books.delivered <= taken <= books.delivered + IN_FLIGHT * sink.batch_records
        assert books.dropped == {}
        assert len(store) <= store.max_records
        balanced += 1

    async def watch() -> None:
        while True:
            balance()
            for _ in range(200):
                await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10 * LONG_S):
        async with running(server) as url:
            sink = HTTPSink(url, token=TOKEN, sessions_at_once=IN_FLIGHT)
            store = MemoryStore(max_records=2000, when_full="wait")
            async with (
                CaseAssist(
                    store=store, sinks=[sink], append_timeout_s=LONG_S, drain_timeout_s=5 * LONG_S, sleep=Pauses()
                ) as assist,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(watch)
                for number in range(SESSIONS):
                    case = await assist.start(session_id=f"s{number}")
                    recorded += 1
                    await case.update_field("subject", TEXT)
                    recorded += 1
                    await case.solve()
                    recorded += 1
                    if number % 20 == 0:
                        balance()
                report = await assist.flush(5 * LONG_S)
                balance()
                tasks.cancel_scope.cancel()
    (books,) = report.sinks
    assert report.complete
    assert books.delivered == books.accepted == recorded == 3 * SESSIONS
    assert balanced > 500

    # Everything arrived; twice only what the server had taken without saying so; in order within each session.
    expected = [event_id(f"s{number}", seq) for number in range(SESSIONS) for seq in range(3)]
    times = Counter(server.events)
    assert times.keys() == set(expected)
    assert server.unanswered
    assert {event for event, count in times.items() if count > 1} == server.unanswered
    first = {event: place for place, event in reversed(list(enumerate(server.events)))}
    for number in range(SESSIONS):
        places = [first[event_id(f"s{number}", seq)] for seq in range(3)]
        assert places == sorted(places)
