"""Connections on asyncio: how one is opened, and what its protocol makes of what comes when nobody waits for it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator

import anyio
import pytest

from caseassist.connections import on_asyncio
from caseassist.wire.http import Reply
from caseassist.wire.http1 import ReplyParser

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Open = Callable[[str, int], Awaitable[asyncio.Transport]]


class FakeTransport(asyncio.Transport):
    """What of a transport the race for a connection needs."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class Network:
    """Addresses that accept, refuse, or do not answer."""

    def __init__(self, **behaviours: str) -> None:
        self.behaviours = behaviours
        self.tried: list[str] = []
        self.given_up: list[str] = []
        self.opened: list[FakeTransport] = []

    async def open(self, address: str, _: int) -> asyncio.Transport:
        self.tried.append(address)
        if self.behaviours[address] == "refuses":
            raise ConnectionRefusedError
        if self.behaviours[address] == "is silent":
            try:
                await anyio.sleep_forever()
            finally:
                self.given_up.append(address)
        transport = FakeTransport(address)
        self.opened.append(transport)
        return transport


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Network]:
    def make(**behaviours: str) -> Network:
        network = Network(**behaviours)
        monkeypatch.setattr(on_asyncio, "_open", network.open)
        return network

    return make


async def test_the_first_address_that_accepts_is_used(network: Callable[..., Network]) -> None:
    addresses = network(a="refuses", b="accepts", c="accepts")
    transport = await on_asyncio._race(["a", "b", "c"], 80)
    assert isinstance(transport, FakeTransport)
    assert (transport.address, transport.aborted) == ("b", False)
    assert addresses.tried == ["a", "b"]


async def test_an_address_that_does_not_answer_is_overtaken_and_given_up(
    network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_asyncio, "_HEAD_START_S", 0.0)
    addresses = network(a="is silent", b="accepts")
    transport = await on_asyncio._race(["a", "b"], 80)
    assert isinstance(transport, FakeTransport)
    assert transport.address == "b"
    assert addresses.given_up == ["a"]


async def test_where_every_address_refuses_there_is_no_connection(network: Callable[..., Network]) -> None:
    addresses = network(a="refuses", b="refuses")
    with pytest.raises(OSError, match="no address") as caught:
        await on_asyncio._race(["a", "b"], 80)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert addresses.tried == ["a", "b"]


async def test_of_two_that_answer_at_once_one_is_closed(
    network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_asyncio, "_HEAD_START_S", 0.0)
    answer = anyio.Event()
    addresses = network(a="accepts", b="accepts")

    async def open_together(address: str, port: int) -> asyncio.Transport:
        with anyio.CancelScope(shield=True):
            await answer.wait()
        return await addresses.open(address, port)

    monkeypatch.setattr(on_asyncio, "_open", open_together)
    async with anyio.create_task_group() as tasks:

        async def race() -> None:
            transport = await on_asyncio._race(["a", "b"], 80)
            assert isinstance(transport, FakeTransport)
            assert not transport.aborted

        tasks.start_soon(race)
        await anyio.wait_all_tasks_blocked()
        answer.set()
    assert sorted(transport.aborted for transport in addresses.opened) == [False, True]


async def test_a_race_that_is_cancelled_when_it_is_won_closes_the_connection(
    network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = network(a="accepts", b="accepts")
    with anyio.CancelScope() as scope:

        async def open_too_late(address: str, port: int) -> asyncio.Transport:
            transport = await addresses.open(address, port)
            scope.cancel()
            return transport

        monkeypatch.setattr(on_asyncio, "_open", open_too_late)
        await on_asyncio._race(["a", "b"], 80)
    assert scope.cancelled_caught
    assert [transport.aborted for transport in addresses.opened] == [True]


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("many.example", ["2001:db8::1", "192.0.2.1", "192.0.2.2", "2001:db8::2"]),
    ],
)
async def test_the_first_of_both_kinds_of_address_goes_ahead(
    host: str, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[tuple[object, ...]]:
        found = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]
        return [(socket.AF_INET6 if ":" in address else socket.AF_INET, 1, 6, "", (address, 80)) for address in found]

    monkeypatch.setattr(on_asyncio, "getaddrinfo", getaddrinfo)
    assert await on_asyncio._addresses(host, 80) == addresses


# The protocol


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    here.setblocking(False)
    there.settimeout(30)
    with here, there:
        yield here, there


async def connected(here: socket.socket) -> on_asyncio._AsyncioConnection:
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=here)
    return on_asyncio._AsyncioConnection(transport, ReplyParser(1000, 1000))


async def exchanged(connection: on_asyncio._AsyncioConnection, there: socket.socket, *received: bytes) -> Reply:
    """Exchange a request for what the loop hands over piece by piece before the waiting task runs again."""
    exchange = asyncio.create_task(connection.exchange(b"request"))
    await anyio.wait_all_tasks_blocked()
    assert there.recv(100) == b"request"
    for piece in received:
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))
    return await exchange


async def test_what_comes_right_after_a_reply_is_not_taken_for_the_next_one(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    here, there = sockets
    connection = await connected(here)
    assert (await exchanged(connection, there, OK)).body == b"ok"
    assert not connection.is_stale()
    assert (await exchanged(connection, there, OK, OK)).body == b"ok"
    assert not connection.parser.reusable
    assert connection.is_stale()


async def test_what_comes_on_an_idle_connection_closes_it(sockets: tuple[socket.socket, socket.socket]) -> None:
    here, there = sockets
    connection = await connected(here)
    await exchanged(connection, there, OK)
    there.sendall(OK)
    with anyio.fail_after(30):
        while connection.parser.reusable:
            await anyio.lowlevel.checkpoint()
        assert connection.is_stale()
        while here.fileno() >= 0:
            await anyio.lowlevel.checkpoint()


async def test_a_closed_connection_takes_no_request(sockets: tuple[socket.socket, socket.socket]) -> None:
    here, there = sockets
    connection = await connected(here)
    connection.close()
    with pytest.raises(ConnectionError):
        await connection.exchange(b"request")
    with anyio.fail_after(30):
        while here.fileno() >= 0:
            await anyio.lowlevel.checkpoint()
    assert there.recv(100) == b""
