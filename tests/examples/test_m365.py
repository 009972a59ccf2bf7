"""The example as a process, over HTTP, as a channel on this machine would talk to it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "m365_bot.py"
SETTINGS = "CONNECTIONS__SERVICE_CONNECTION__SETTINGS__"
TENANT = "11111111-2222-4333-8444-555555555555"


def start(folder: Path, settings: Mapping[str, str] = {}, coveo: Mapping[str, str] = {}) -> subprocess.Popen[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("CONNECTIONS", "COVEO"))}
    environment = {**own, **coveo} | {"PORT": "0", "PYTHONUNBUFFERED": "1"}
    environment |= {SETTINGS + name: value for name, value in settings.items()}
    return subprocess.Popen(
        [sys.executable, EXAMPLE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
    )


@contextmanager
def running(folder: Path, settings: Mapping[str, str] = {}) -> Iterator[int]:
    """The example while it runs: its port."""
    with start(folder, settings) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if "http://" in line), "")
            assert line, process.communicate()[1]
            yield int(line.partition("127.0.0.1:")[2].partition("/")[0])
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


def post(port: int, activity: dict[str, Any]) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/api/messages", json.dumps(activity), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body) if body.startswith(b"{") else None
    finally:
        connection.close()


def activity(number: int, **members: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "id": str(number),
        "deliveryMode": "expectReplies",
        "channelId": "emulator",
        "serviceUrl": "http://127.0.0.1:9",
        "from": {"id": "jo"},
        "recipient": {"id": "bot"},
        "conversation": {"id": "c1"},
        **members,
    }


def test_it_holds_a_conversation_with_a_channel_on_this_machine_across_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as port:
        status, answer = post(port, activity(1, text="The generator does not start."))
        assert status == 200
        (card,) = answer["activities"][0]["attachments"]
        assert "open:1.1" in str(card)
    with running(tmp_path) as port:
        post(port, activity(2, text="none"))
        status, answer = post(port, activity(3, value={"caseassist": "file"}))
        assert status == 200
        assert "CASE-" in answer["activities"][0]["text"]


@contextmanager
def channel(statuses: list[int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The service of a channel: its URL, and what was sent to it. Answers with ``statuses`` first, then takes all."""
    sent: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = 200
            if received["type"] == "message":
                status = statuses.pop(0) if statuses else 200
                if status == 200:
                    sent.append({"path": self.path, **received})
            body = b'{"id": "1"}'
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name in the base class)
            """Nothing: the tests read what is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", sent
        finally:
            server.shutdown()
            thread.join()


def test_a_message_that_could_not_be_answered_fails_and_is_answered_when_it_comes_again(tmp_path: Path) -> None:
    with channel([500]) as (url, sent), running(tmp_path) as port:
        message = activity(1, text="The generator does not start.", deliveryMode="normal", serviceUrl=url)
        assert post(port, message)[0] == 500
        assert sent == []
        assert post(port, message)[0] == 202
        assert post(port, message)[0] == 202
    assert [one["path"] for one in sent] == ["/v3/conversations/c1/activities/1"]
    assert "open:1.1" in str(sent[0]["attachments"])


def test_with_credentials_nobody_without_a_token_is_answered(tmp_path: Path) -> None:
    with running(tmp_path, {"CLIENTID": TENANT, "CLIENTSECRET": "s", "TENANTID": TENANT}) as port:
        assert post(port, activity(1, text="hello"))[0] == 401


def test_it_says_what_it_needs_for_an_organization(tmp_path: Path) -> None:
    with start(tmp_path, coveo={"COVEO_ORGANIZATION": "myorg", "COVEO_TOKEN": "xx0"}) as process:
        _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (1, "Set COVEO_CASE_ASSIST_ID\n")


@pytest.mark.parametrize("given", ["CLIENTID", "CLIENTSECRET", "TENANTID"])
def test_it_says_which_credentials_are_missing(tmp_path: Path, given: str) -> None:
    with start(tmp_path, {given: "x"}) as process:
        printed, told = process.communicate(timeout=60)
    assert process.returncode == 1
    missing = {"CLIENTID", "CLIENTSECRET", "TENANTID"} - {given}
    assert all(SETTINGS + name in told for name in missing)
    assert SETTINGS + given not in told
    assert "Traceback" not in told + printed
