"""Running the command line, and a server for it to talk to."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from caseassist.cli import main
from caseassist.script import answer_schema

EXAMPLE = Path(__file__).parents[2] / "examples" / "session.jsonl"
CONTEXT = ("--search-hub", "bot", "--language", "en")
START = b'{"session": "a1", "do": "start"}\n'
ANSWERS = Draft202012Validator(answer_schema())
SOLVE = b'{"session": "a1", "do": "solve"}\n'


def run(*args: str, stdin: bytes = b"", env: Mapping[str, str | None] | None = None) -> Result:
    return CliRunner(env={"COVEO_TOKEN": None, **(env or {})}).invoke(main, args, input=stdin)


def answers(result: Result) -> list[Any]:
    """What ``play --format json`` answered, or another command printed as JSON lines; an answer fits its schema."""
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    for line in lines:
        if "ok" in line and "problems" not in line:  # of `verify`
            ANSWERS.validate(line)
    return lines


class Server:
    """A real HTTP server on the loopback interface that keeps what it is sent and answers by ``status``."""

    def __init__(self) -> None:
        self.status = 200
        self.refuses: str | None = None
        """A text in the body of requests that are answered with 400."""
        self.heads: list[bytes] = []
        self.bodies: list[Any] = []

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, suppress(ConnectionError):
            while head := self._read_head(lines):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.heads.append(head)
                body = lines.read(length).decode()
                status = 400 if self.refuses is not None and self.refuses in body else self.status
                self.bodies.append(json.loads(body))
                connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % status)

    @staticmethod
    def _read_head(lines: Any) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = lines.readline()
            if not line:
                return b""
            head += line
        return head


def process(*args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "caseassist.cli", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
