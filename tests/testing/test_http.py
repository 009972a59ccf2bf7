"""The scriptable server itself, asked by a plain socket. tests/test_http_script.py plays what it can do."""

import socket

import anyio
import anyio.abc
import pytest
from tests.fakes import LONG_S

from caseassist.testing.http import (
    Behaviour,
    Connection,
    ScriptServer,
    closes_after_request,
    closes_before_reading,
    half_closes_before_reply,
    informational,
    raw,
    reply,
    resets_mid_reply,
    resets_mid_request,
)

POST = b"POST /p?q=1 HTTP/1.1\r\nHost: h\r\nX-Two:  a b \r\nContent-Length: 4\r\n\r\nbody"


async def connect(server: ScriptServer) -> anyio.abc.SocketStream:
    return await anyio.connect_tcp("127.0.0.1", server.port)


async def ask(server: ScriptServer, data: bytes = POST) -> bytes:
    """What comes back on a new connection until the server closes it; ``RESET`` if it breaks it off."""
    answer = b""
    with anyio.fail_after(LONG_S):
        async with await connect(server) as stream:
            try:
                await stream.send(data)
                while True:
                    answer += await stream.receive()
            except anyio.EndOfStream:
                return answer
            except (anyio.BrokenResourceError, OSError):
                return answer + b"RESET"


async def test_requests_are_kept_and_counted() -> None:
    async with ScriptServer(reply(), reply(500, b"no", {"X": "1"})) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        async with await connect(server) as stream:
            await stream.send(POST[:30])
            await stream.send(POST[30:])
            assert await stream.receive() == b"HTTP/1.1 200 Scripted\r\nContent-Length: 2\r\n\r\n{}"
            assert (len(server.requests), server.connections, server.played, len(server.script)) == (1, 1, 1, 1)
            await stream.send(POST + POST)  # both at once
            answer = b""
            while not answer.endswith(b"{}"):
                answer += await stream.receive()
            assert answer.startswith(b"HTTP/1.1 500 Scripted\r\nX: 1\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 200")
        assert (len(server.requests), server.connections, server.played, server.script) == (3, 1, 3, [])
    (request, *_) = server.requests
    assert (request.method, request.path, request.body, request.connection) == ("POST", "/p?q=1", b"body", 1)
    assert request.headers == (("host", "h"), ("x-two", "a b"), ("content-length", "4"))
    assert (request.header("x-two"), request.header("x-three")) == ("a b", None)
    assert repr(request) == "<ReceivedRequest POST /p?q=1 4 body bytes>"
    assert server.most_at_once == 1


@pytest.mark.parametrize(
    ("behaviour", "answer", "requests"),
    [
        (raw(b"a", b"b", close=True), b"ab", 1),
        (closes_after_request(), b"", 1),
        (closes_before_reading(), b"RESET", 0),
        (resets_mid_request(), b"RESET", 0),
        (half_closes_before_reply(), b"", 1),
        (informational(100, then=raw(b"x", close=True)), b"HTTP/1.1 100 Scripted\r\n\r\nx", 1),
    ],
)
async def test_the_network_does_what_the_name_says(behaviour: Behaviour, answer: bytes, requests: int) -> None:
    async with ScriptServer(behaviour) as server:
        assert await ask(server) == answer
    assert len(server.requests) == requests


async def test_a_reset_in_the_middle_of_a_reply_is_a_reset() -> None:
    async with ScriptServer(resets_mid_reply()) as server:
        assert (await ask(server)).endswith(b"RESET")


@pytest.mark.parametrize("data", [b"", b"POST", POST[:-1], b"x" * 200_000])
async def test_a_client_that_does_not_speak_on_is_no_error(data: bytes) -> None:
    async with ScriptServer(reply(201)) as server:
        async with await connect(server) as stream:
            if data:
                await stream.send(data)
            await stream.send_eof()
            with anyio.fail_after(LONG_S), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
        assert server.requests == []


async def test_what_a_behaviour_does_wrong_comes_out() -> None:
    async def wrong(_: Connection) -> None:
        raise ZeroDivisionError

    async def play() -> None:
        async with ScriptServer(wrong) as server:
            await ask(server)
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await play()
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


async def test_what_the_block_raises_leaves_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with ScriptServer():
            raise ZeroDivisionError


async def test_a_cancelled_block_ends() -> None:
    with anyio.CancelScope() as scope:
        async with ScriptServer() as server, await connect(server):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_leaving_closes_everything() -> None:
    async with ScriptServer() as server:
        stream = await connect(server)
        await stream.send(POST)
        await stream.receive()
    with anyio.fail_after(LONG_S), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
        await stream.receive()
    await stream.aclose()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
