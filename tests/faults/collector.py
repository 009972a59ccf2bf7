"""A collect endpoint in a process of its own, which writes down every request before it does anything about it.

``python -m tests.faults.collector LOG SEED FAULTS`` listens on 127.0.0.1, prints its port, and ends when its standard
input does. ``FAULTS``: of a thousand requests, how many meet each of the faults.
"""

import asyncio
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Literal, TypeAlias

import msgspec

Fate: TypeAlias = Literal["answered", "slow", "unanswered", "busy", "wait", "reset"]
"""What becomes of a request: it is taken and answered, at once or later; it is taken and the connection is closed; it
is answered with 503 or 429; the connection is broken off."""

FAULTS: tuple[Fate, ...] = ("slow", "unanswered", "busy", "wait", "reset")
ANSWERS = {
    "answered": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "slow": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "busy": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "wait": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
}


class Arrival(msgspec.Struct, frozen=True):
    """One request that came whole. ``token``: whose it is. ``z``: the id of its event."""

    token: str
    z: str
    fate: Fate
    body: str

    @property
    def taken(self) -> bool:
        return self.fate in ("answered", "slow", "unanswered")


class Collector:
    """The process, as seen by who started it."""

    def __init__(self, log: Path, port: int) -> None:
        self.log = log
        self.url = f"http://127.0.0.1:{port}"

    def arrivals(self) -> list[Arrival]:
        """All requests so far, in order."""
        return [msgspec.json.decode(line, type=Arrival) for line in self.log.read_bytes().split(b"\n")[:-1]]

    def count(self) -> int:
        return self.log.read_bytes().count(b"\n")


@contextmanager
def collecting(log: Path, *, seed: int = 0, faults: int = 0) -> Iterator[Collector]:
    """Run it."""
    log.touch()
    command = [sys.executable, "-m", "tests.faults.collector", str(log), str(seed), str(faults)]
    with Popen(command, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Collector(log, int(process.stdout.readline()))
        process.stdin.close()


class _Server:
    def __init__(self, log: int, rng: random.Random, faults: int) -> None:
        self.log, self.rng, self.faults = log, rng, faults

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        fault = self.rng.randrange(1000) // self.faults if self.faults else len(FAULTS)
        fate: Fate = FAULTS[fault] if fault < len(FAULTS) else "answered"
        token = headers.get("authorization", "").removeprefix("bearer ")
        arrival = Arrival(token, msgspec.json.decode(body)["z"], fate, body.decode())
        os.write(self.log, msgspec.json.encode(arrival) + b"\n")
        if fate == "slow":
            await asyncio.sleep(self.rng.uniform(0.0, 0.05))
        if fate == "reset":
            writer.transport.abort()
        if fate not in ANSWERS:
            return False
        writer.write(ANSWERS[fate])
        await writer.drain()
        return True


async def main(log: str, seed: str, faults: str) -> None:
    opened = os.open(log, os.O_WRONLY | os.O_APPEND)
    server = _Server(opened, random.Random(int(seed)), int(faults))
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1000) as listener:
        print(listener.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
