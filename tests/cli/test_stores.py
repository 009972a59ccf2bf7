"""Stores, logs, delivery and the quarantine on the command line."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.cli.runs import CONTEXT, EXAMPLE, SOLVE, START, Server, answers, process, run

from caseassist import SQLiteStore
from caseassist.core.records import decode_lines

UPDATE = b'{"session": "a1", "do": "update_field", "fieldName": "subject", "value": "It hums"}\n'
TOKEN = {"COVEO_TOKEN": "xx-canary"}


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with the two sessions of the example."""
    url = f"sqlite:{tmp_path / 'cases.db'}"
    assert run("play", str(EXAMPLE), *CONTEXT, "--store", url).exit_code == 0
    return url


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file with the records of the example."""
    file = tmp_path / "log.jsonl"
    assert run("play", str(EXAMPLE), *CONTEXT, "--sink", f"file:{file}").exit_code == 0
    return file


def parsed(*args: str, status: int = 0, env: Mapping[str, str | None] | None = None) -> list[Any]:
    result = run(*args, "--format", "json", env=env)
    assert result.exit_code == status, result.output
    return answers(result)


# --- Playing into a store -------------------------------------------------------------------------------------------


def test_a_session_goes_on_in_another_run(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'cases.db'}"
    assert run("play", "-", "--store", url, stdin=START).exit_code == 0
    assert run("play", "-", "--store", url, stdin=UPDATE).exit_code == 0
    again = run("play", "-", "--store", url, "--format", "json", stdin=START + SOLVE)
    assert [answer["ok"] for answer in answers(again)] == [False, True]
    assert answers(again)[1]["seq"] == 2


def test_what_was_not_delivered_is_delivered_by_the_next_run(tmp_path: Path, server: Server) -> None:
    url = f"sqlite:{tmp_path / 'cases.db'}"
    server.status = 503
    first = run("play", "-", "--store", url, "--sink", server.url, "--drain-timeout", "0.1", stdin=START, env=TOKEN)
    assert first.exit_code == 3
    server.status = 200
    server.bodies.clear()
    second = run("play", "-", "--store", url, "--sink", server.url, stdin=SOLVE, env=TOKEN)
    assert second.exit_code == 0
    assert [body["svc_action"] for body in server.bodies] == ["ticket_create_start", "ticket_cancel"]
    assert "canary" not in first.output + second.output


@pytest.mark.parametrize("url", ["sqlite:", "sqlite:x?durability=none", "postgres:x", "sqlite"])
def test_a_store_that_is_none_is_said(url: str) -> None:
    result = run("play", "-", "--store", url)
    assert result.exit_code == 2
    assert "store" in result.stderr


@pytest.mark.parametrize("command", [("replay",), ("verify",), ("send", "--sink", "null:")])
def test_a_store_to_be_read_must_be_there(command: Sequence[str], tmp_path: Path) -> None:
    result = run(*command, f"sqlite:{tmp_path / 'no.db'}")
    assert result.exit_code == 2
    assert "there is no store" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_interrupted_without_a_store_it_says_what_is_lost(server: Server) -> None:
    server.status = 503
    with process("play", "-", "--sink", server.url, "--drain-timeout", "0.2", "--format", "json") as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        child.stdin.write(START + UPDATE)
        child.stdin.flush()
        child.stdout.readline()
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.stdin.close()
        assert child.wait() == 130
        assert child.stderr.read().endswith(b"interrupted: 2 records were not delivered and are lost\n")


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX's")
def test_who_waits_at_a_terminal_is_told_for_what(server: Server) -> None:
    server.status = 503
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "caseassist.cli", "play", "-", "--sink", server.url, "--drain-timeout", "1.5"]
    done = subprocess.run(command, input=START, stdout=subprocess.PIPE, stderr=theirs, check=False)
    said = os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 3
    assert b"delivering what is left, 1 pending, for up to 1.5 s; Ctrl-C stops it" in said


def test_what_stood_in_the_way_is_told_with_the_summary(server: Server) -> None:
    server.status = 503
    args = ("play", "-", "--sink", server.url, "--drain-timeout", "0.6")
    result = run(*args, stdin=START)
    assert result.exit_code == 3
    assert "last problem: HTTP 503" in result.stdout
    as_json = run(*args, "--format", "json", stdin=START)
    told = json.loads(as_json.stderr.splitlines()[-1])
    assert told["lastProblems"][f"{server.url}/rest/ua"].startswith("HTTP 503")
    server.status = 200
    assert "last problem" not in run(*args, stdin=START).output


# --- Replay ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["store", "log", "-"])
def test_replay_shows_the_sessions_of_any_log(source: str, store: str, log: Path) -> None:
    name = {"store": store, "log": str(log), "-": "-"}[source]
    result = run("replay", name, "--format", "json", stdin=log.read_bytes())
    assert result.exit_code == 0
    first, second = answers(result)
    assert (first["session"], first["records"], first["state"], first["stage"]) == ("a1", 11, "solved", 1)
    assert second["ticket"]["id"] == "5003000000D8cuI"
    text = run("replay", name, stdin=log.read_bytes()).stdout
    assert "2 sessions, 2 ended" in text
    assert "created" in text


def test_replay_goes_back_in_time(store: str) -> None:
    (then,) = parsed("replay", store, "--session", "a1", "--at", "1")
    (now,) = parsed("replay", store, "--session", "a1")
    assert (then["state"], then["records"], len(then["events"])) == ("filling", 2, 2)
    assert (now["state"], now["records"], len(now["events"])) == ("solved", 11, 11)
    assert then["ticket"] != now["ticket"]
    assert "classifications_offered" in run("replay", store, "--session", "a1", "--at", "3").stdout


def test_replay_names_lines_that_it_cannot_use_and_uses_the_others(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], b"\n", b'{"half": \n', lines[1], lines[3], *lines[4:]]))
    result = run("replay", str(log), "--format", "json")
    assert result.exit_code == 1
    assert f"{log}, line 3: not a JSON object" in result.stderr.replace("\n", " ").replace("  ", " ")
    assert {answer["session"]: answer["state"] for answer in answers(result)} == {"a1": "filling", "b2": "created"}


@pytest.mark.parametrize("source", ["store", "log"])
def test_replay_says_how_many_records_a_session_has(source: str, store: str, log: Path) -> None:
    name = {"store": store, "log": str(log)}[source]
    result = run("replay", name, "--session", "a1", "--at", "99")
    assert result.exit_code == 2
    assert result.stderr == "Error: there is no record 99: the session has 11 records, from 0\n"
    assert run("replay", name, "--session", "a1", "--at", "10").exit_code == 0


def test_a_session_that_is_damaged_in_a_store_is_shown_as_far_as_it_goes(store: str) -> None:
    with sqlite3.connect(store.removeprefix("sqlite:")) as connection:
        connection.execute("UPDATE records SET record = x'7b' WHERE position = 3")
    connection.close()
    result = run("replay", store, "--session", "a1", "--format", "json")
    assert result.exit_code == 1
    assert answers(result)[0]["records"] == 2
    assert "position 3" in result.stderr


def test_what_is_in_a_file_again_byte_for_byte_is_no_problem(log: Path) -> None:
    whole = log.read_bytes()
    log.write_bytes(b"\xef\xbb\xbf" + whole + whole.rstrip(b"\n"))
    (found,) = parsed("verify", str(log))
    assert (found["ok"], found["records"], found["repeated"]) == (True, 15, 15)
    assert "15 records of 2 sessions, 15 repeated, no problems" in run("verify", str(log)).stdout
    assert [session["state"] for session in parsed("replay", str(log))] == ["solved", "created"]
    assert "2 sessions, 2 ended; 15 records repeated" in run("replay", str(log)).stdout
    other = whole.splitlines()[4].replace(b'"time":"2026', b'"time":"2025')
    log.write_bytes(whole + whole + other)
    (found,) = parsed("verify", str(log), status=1)
    assert (found["repeated"], found["problemCount"]) == (15, 1)
    assert "line 31" in found["problems"][0]
    assert run("replay", str(log)).exit_code == 1


def test_a_long_table_is_cut_and_says_so(store: str) -> None:
    assert "2 sessions, 2 ended; 1 shown" in run("replay", store, "--limit", "1").stdout


def test_what_people_have_written_cannot_steer_the_terminal(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'cases.db'}"
    evil = json.dumps({"session": "a1", "do": "update_field", "fieldName": "subject", "value": "\x1b[2Jred\u202e"})
    run("play", "-", "--store", url, stdin=START + evil.encode() + b"\n")
    text = run("replay", url).stdout
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "[2Jred" in text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--at", "3"), "--at needs --session"),
        (("--session", "zz"), "no record of session 'zz'"),
        (("--session", "a1", "--at", "-1"), "-1"),
    ],
)
def test_replay_says_what_it_cannot_show(args: Sequence[str], said: str, store: str) -> None:
    result = run("replay", store, *args)
    assert result.exit_code == 2
    assert said in result.stderr


# --- Verify ---------------------------------------------------------------------------------------------------------


def test_a_whole_log_is_whole(store: str, log: Path) -> None:
    for name in (store, str(log)):
        assert parsed("verify", name) == [
            {"ok": True, "records": 15, "sessions": 2, "repeated": 0, "problems": [], "problemCount": 0}
        ]
    assert "15 records of 2 sessions, no problems" in run("verify", store).stdout


def test_verify_names_what_is_missing_contradicted_or_damaged(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    for changed, said in (
        ([*lines[:2], *lines[3:]], "line 3"),
        ([*lines[:2], lines[1].replace(b'"time":"2026', b'"time":"2025'), *lines[2:]], "line 3"),
        ([*lines[:2], lines[2][:-9] + b"\n", *lines[3:]], "line 3"),
    ):
        log.write_bytes(b"".join(changed))
        (found,) = parsed("verify", str(log), status=1)
        assert not found["ok"]
        assert said in found["problems"][0]


def test_verify_finds_a_damaged_record_of_a_store(store: str) -> None:
    with sqlite3.connect(store.removeprefix("sqlite:")) as connection:
        connection.execute("UPDATE records SET record = x'7b' WHERE position = 3")
    connection.close()
    (found,) = parsed("verify", store, status=1)
    assert "position 3" in found["problems"][0]


def test_verify_says_that_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at as one\n" * 20)
    result = run("verify", f"sqlite:{tmp_path / 'text.db'}")
    assert result.exit_code == 2
    assert "damaged, or no store" in " ".join(result.stderr.split())


# --- Send -----------------------------------------------------------------------------------------------------------


def test_a_file_is_sent_once_however_often_it_is_started(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    for _ in range(2):
        (report,) = parsed("send", str(log), "--sink", f"file:{copy}")
        assert (report["sinks"][0]["delivered"], report["sinks"][0]["pending"]) == (15, 0)
    assert copy.read_bytes() == log.read_bytes()
    with log.open("ab") as file:  # it has grown meanwhile
        file.write(log.read_bytes().splitlines(keepends=True)[0].replace(b'"a1"', b'"c3"'))
    (report,) = parsed("send", str(log), "--sink", f"file:{copy}")
    assert report["sinks"][0]["delivered"] == 16
    assert copy.read_bytes() == log.read_bytes()


def test_a_pipe_is_sent_through_a_store(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    assert run("send", "-", "--sink", f"file:{copy}", stdin=log.read_bytes()).exit_code == 2
    result = run(
        "send", "-", "--sink", f"file:{copy}", "--store", f"sqlite:{tmp_path / 'p.db'}", stdin=log.read_bytes()
    )
    assert result.exit_code == 0
    assert copy.read_bytes() == log.read_bytes()


def test_a_store_is_sent_to_an_endpoint_and_offers_are_not_sent(store: str, server: Server) -> None:
    result = run("send", store, "--sink", server.url, env=TOKEN)
    assert result.exit_code == 0
    assert len(server.bodies) == 13
    assert "canary" not in result.output


def test_lines_that_cannot_be_read_are_named_and_the_rest_is_sent(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    other = lines[0].replace(b'"time":"2026', b'"time":"2025')
    log.write_bytes(b"".join([*lines[:4], b"garbage\n", other, *lines[4:]]))
    (report,) = parsed("send", str(log), "--sink", f"file:{copy}", status=1)
    assert report["sinks"][0]["delivered"] == 15
    assert [problem.rpartition(",")[2] for problem in report["problems"][:1]] == [" line 5: not a JSON object in UTF-8"]
    assert "record 0 of session 'a1' differs" in report["problems"][1]


def test_an_endpoint_that_is_away_is_given_up_after_a_while_and_nothing_is_lost(store: str, server: Server) -> None:
    server.status = 503
    (report,) = parsed("send", store, "--sink", server.url, "--drain-timeout", "0.1", status=3)
    assert report["sinks"][0]["pending"] > 0
    server.status = 200
    assert parsed("send", store, "--sink", server.url)[0]["sinks"][0]["delivered"] == 15


def test_a_store_that_cannot_be_read_is_given_up_before_the_timeout_and_said(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(store.removeprefix("sqlite:"))
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = file.read_bytes()
    page = content.index(b"ticket_create_start") // size * size  # of the oldest record, and not of the newest
    file.write_bytes(content[:page] + b"\xff" * size + content[page + size :])
    monkeypatch.setattr(sys.modules["caseassist.cli.send"], "STORE_PATIENCE_S", 0.3)
    result = run("send", store, "--sink", "null:", "--drain-timeout", "3600")
    assert result.exit_code == 3
    assert "15 pending" in result.stdout
    assert "last problem: " in result.stdout
    assert "damaged" in result.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_interrupted_and_started_again_a_send_goes_on_where_it_was(store: str, server: Server) -> None:
    server.status = 503
    with process("send", store, "--sink", server.url) as child:
        assert child.stderr
        give_up = time.monotonic() + 30
        while not server.bodies and time.monotonic() < give_up:
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        assert child.wait() == 130
        assert child.stderr.read().endswith(b"interrupted: 15 pending, start it again to go on\n")
    server.status = 200
    server.bodies.clear()
    assert parsed("send", store, "--sink", server.url)[0]["sinks"][0]["delivered"] == 15
    assert len({body.get("z", body.get("clientId", "") + str(body)) for body in server.bodies}) == 13


def test_send_says_what_does_not_go_together(store: str, tmp_path: Path) -> None:
    assert run("send", store).exit_code == 2
    result = run("send", store, "--sink", "null:", "--store", "sqlite:other.db")
    assert result.exit_code == 2
    assert "LOG is a store already" in result.stderr
    before = set(tmp_path.iterdir())
    assert run("send", str(tmp_path / "no-such-file"), "--sink", "null:").exit_code == 2
    assert set(tmp_path.iterdir()) == before


# --- Quarantine -----------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(store: str, server: Server) -> str:
    """A store of which an endpoint has refused two records."""
    server.refuses = "ticket_field_update"
    (report,) = parsed("send", store, "--sink", server.url, status=3)
    assert report["sinks"][0]["quarantined"] == 3
    return store


def test_what_was_refused_is_listed_with_its_reason(refused: str, server: Server) -> None:
    found = parsed("quarantine", "list", "--store", refused)
    assert [(entry["session"], entry["seq"], entry["status"]) for entry in found] == [
        ("a1", 1, 400), ("a1", 2, 400), ("b2", 1, 400)
    ]  # fmt: skip
    assert found[0]["sink"] == f"{server.url}/rest/ua"
    assert found[0]["reason"] == "HTTP 400 Bad Request"
    assert found[0]["action"] == "ticket_field_update"
    assert len(parsed("quarantine", "list", "--store", refused, "--session", "b2")) == 1
    text = run("quarantine", "list", "--store", refused).stdout
    assert "3 put aside" in text
    assert "GC110" not in text


def test_what_was_refused_is_sent_again(refused: str, server: Server) -> None:
    args = ("quarantine", "resend", "--store", refused, "--sink", server.url)
    assert parsed(*args, status=3) == [{"requested": 3, "delivered": 0, "refused": 3, "waiting": 0}]
    server.refuses = None
    server.bodies.clear()
    assert parsed(*args, "--session", "a1") == [{"requested": 2, "delivered": 2, "refused": 0, "waiting": 0}]
    (entry,) = parsed("quarantine", "list", "--store", refused)
    result = run(*args, "--position", str(entry["position"]))
    assert result.exit_code == 0
    assert "1 requested: 1 delivered, 0 refused again, 0 still waiting" in result.stdout
    assert [body["svc_action"] for body in server.bodies] == ["ticket_field_update"] * 3
    assert parsed("quarantine", "list", "--store", refused) == []
    assert parsed("send", refused, "--sink", server.url)[0]["sinks"][0]["delivered"] == 15


def test_what_is_not_sent_in_time_stays_requested(refused: str, server: Server) -> None:
    server.status, server.refuses = 503, None
    args = ("quarantine", "resend", "--store", refused, "--sink", server.url, "--drain-timeout", "0.2")
    assert parsed(*args, status=3) == [{"requested": 3, "delivered": 0, "refused": 0, "waiting": 3}]
    assert all(entry["requested"] for entry in parsed("quarantine", "list", "--store", refused))
    server.status = 200
    assert parsed("send", refused, "--sink", server.url)[0]["sinks"][0]["pending"] == 0


def test_what_was_refused_is_dropped_and_counted(refused: str, server: Server) -> None:
    name = f"{server.url}/rest/ua"
    result = run("quarantine", "drop", "--store", refused, "--sink", name)
    assert result.exit_code == 2
    assert "say what to drop" in result.stderr
    assert parsed("quarantine", "drop", "--store", refused, "--sink", name, "--session", "b2") == [{"dropped": 1}]
    assert "2 dropped" in run("quarantine", "drop", "--store", refused, "--sink", name, "--all").stdout
    (report,) = parsed("send", refused, "--sink", server.url)
    assert (report["sinks"][0]["delivered"], report["sinks"][0]["dropped"]) == (12, {"operator": 3})


@pytest.mark.parametrize(
    "args",
    [
        ("quarantine", "list"),
        ("quarantine", "drop", "--all"),
        ("quarantine", "resend"),
        ("quarantine", "resend", "--session", "a1"),
    ],
)
@pytest.mark.parametrize("sink", ["coveo:myorg", "https://host", "file:copy.jsonl", "null:", "another"])
def test_a_sink_that_the_store_does_not_know_is_refused_and_gets_nothing(
    args: Sequence[str], sink: str, refused: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    result = run(*args, "--store", refused, "--sink", sink)
    assert result.exit_code == 2
    assert result.stderr == f"Error: there is no sink {sink} in this store; known: {server.url}/rest/ua\n"
    assert set(tmp_path.iterdir()) == before
    assert len(parsed("quarantine", "list", "--store", refused)) == 3
    assert [sink["sink"] for sink in parsed("sinks", "--store", refused)] == [f"{server.url}/rest/ua"]


def test_a_sink_is_known_by_its_url_or_its_name(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("send", store, "--sink", "file:copy.jsonl", "--sink", "null:").exit_code == 0
    for sink in ("file:copy.jsonl", f"file:{tmp_path}/copy.jsonl", f"file://{tmp_path}/copy.jsonl", "null:", "null"):
        assert parsed("quarantine", "list", "--store", store, "--sink", sink) == []
        assert parsed("quarantine", "drop", "--store", store, "--sink", sink, "--all") == [{"dropped": 0}]
    assert len(parsed("sinks", "--store", store, "--forget", "file:copy.jsonl")) == 1


def test_an_organization_is_known_without_a_token(store: str) -> None:
    async def be_used_once() -> None:
        async with SQLiteStore(store.removeprefix("sqlite:")) as opened:
            assert await opened.claim("https://myorg.analytics.orghipaa.coveo.com/rest/ua")

    anyio.run(be_used_once)
    assert parsed("quarantine", "list", "--store", store, "--sink", "coveo:myorg?hipaa=true") == []
    assert run("quarantine", "list", "--store", store, "--sink", "coveo:myorg").exit_code == 2


def test_when_nothing_is_put_aside_nothing_is_delivered_at_all(store: str, server: Server) -> None:
    server.status = 503
    assert run("send", store, "--sink", server.url, "--drain-timeout", "0.1").exit_code == 3
    server.status = 200
    server.bodies.clear()
    for more in ((), ("--session", "a1"), ("--position", "3")):
        result = run("quarantine", "resend", "--store", store, "--sink", server.url, *more)
        assert (result.exit_code, result.stdout) == (0, "nothing is put aside\n")
    assert server.bodies == []


def test_a_long_list_is_cut_in_the_table_and_whole_in_json(refused: str) -> None:
    text = run("quarantine", "list", "--store", refused, "--limit", "1").stdout
    assert "… and 2 more" in text
    assert "3 put aside, 2 not shown (--limit)" in text
    assert "… and 1 more" in run("quarantine", "list", "--store", refused, "--limit", "1", "--session", "a1").stdout
    assert len(parsed("quarantine", "list", "--store", refused, "--limit", "1")) == 3


def test_only_one_of_two_selectors(refused: str, server: Server) -> None:
    for args, said in (
        (("quarantine", "drop", "--sink", server.url, "--all", "--session", "a1"), "only one of --session and --all"),
        (("quarantine", "resend", "--sink", server.url, "--position", "1", "--session", "a1"), "only one of"),
        (("erase", "--session", "a1", "--client", "b"), "only one of --session and --client"),
    ):
        result = run(*args, "--store", refused)
        assert result.exit_code == 2
        assert said in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_interrupted_a_resend_says_what_is_left(refused: str, server: Server) -> None:
    server.status, server.refuses = 503, None
    server.bodies.clear()
    with process("quarantine", "resend", "--store", refused, "--sink", server.url) as child:
        assert child.stderr
        give_up = time.monotonic() + 30
        while not server.bodies and time.monotonic() < give_up:
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        assert child.wait() == 130
        assert child.stderr.read().endswith(b"interrupted: 3 pending, start it again to go on\n")


# --- Upkeep ---------------------------------------------------------------------------------------------------------


def test_sessions_that_people_have_left_are_quit(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'cases.db'}"
    old = b'{"session": "old", "do": "start", "at": "2026-11-20T12:00:00Z"}\n'
    assert run("play", "-", "--store", url, stdin=old + START).exit_code == 0
    assert parsed("expire", "--store", url) == [{"expired": ["old"]}]
    assert "1 session expired" in run("expire", "--store", url, "--idle", "0").stdout
    assert [session["state"] for session in parsed("replay", url)] == ["quit", "quit"]


def test_a_session_and_a_person_are_erased(store: str) -> None:
    (client_id,) = {session["context"]["clientId"] for session in parsed("replay", store) if session["session"] == "b2"}
    file = Path(store.removeprefix("sqlite:"))
    assert b"electrical panel of my" in file.read_bytes()
    assert parsed("erase", "--store", store, "--session", "a1") == [{"erased": ["a1"]}]
    assert "1 session erased" in run("erase", "--store", store, "--client", client_id.upper()).stdout
    assert b"electrical panel of my" not in file.read_bytes()
    assert [session["ticket"] for session in parsed("replay", store)] == [{}, {}]
    assert run("erase", "--store", store).exit_code == 2
    assert run("erase", "--store", store, "--session", "a1", "--client", client_id).exit_code == 2


def test_who_is_not_there_cannot_be_erased(store: str) -> None:
    result = run("erase", "--store", store, "--client", "not-a-uuid")
    assert result.exit_code == 2
    assert "expected a UUID" in result.stderr
    assert "CL-056" in result.stderr
    for args in (("--session", "zz"), ("--client", "00000000-0000-4000-8000-000000000000")):
        result = run("erase", "--store", store, *args)
        assert (result.exit_code, result.stderr) == (1, "nothing was found\n")
        assert parsed("erase", "--store", store, *args, status=1) == [{"erased": []}]


def test_prune_says_for_whom_sessions_are_kept(refused: str, server: Server) -> None:
    name = f"{server.url}/rest/ua"
    said = run("prune", "--store", refused, "--older-than", "0").stdout
    assert f"kept: sessions of which sink {name} has 3 records in quarantine" in said
    (found,) = parsed("prune", "--store", refused, "--older-than", "0")
    assert (found["removed"], found["behind"][0]["sink"]) == (0, name)
    run("play", "-", "--store", refused, stdin=b'{"session": "new", "do": "start"}\n')
    assert (
        f"sink {name} has 1 record still to be delivered"
        in run("prune", "--store", refused, "--older-than", "0").stdout
    )


def test_what_was_never_delivered_is_not_pruned_by_the_way(store: str) -> None:
    result = run("prune", "--store", store, "--older-than", "0")
    assert result.exit_code == 2
    assert "no sink was ever used with this store" in result.stderr
    assert len(parsed("replay", store)) == 2
    assert parsed("prune", "--store", store, "--older-than", "0", "--undelivered") == [{"removed": 1, "behind": []}]


def test_old_sessions_are_removed(store: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    assert run("send", store, "--sink", f"file:{copy}").exit_code == 0
    assert parsed("prune", "--store", store, "--older-than", "36500") == [{"removed": 0, "behind": []}]
    assert "1 session removed" in run("prune", "--store", store, "--older-than", "0").stdout
    assert [session["session"] for session in parsed("replay", store)] == ["b2"]  # it has the newest record
    assert run("prune", "--store", store, "--older-than", "1e99").exit_code == 2
    assert len(list(decode_lines(copy.read_bytes().splitlines()))) == 15


def test_sinks_are_shown_and_one_that_is_not_used_any_more_is_forgotten(refused: str, server: Server) -> None:
    name = f"{server.url}/rest/ua"
    (sink,) = parsed("sinks", "--store", refused)
    assert sink == {"sink": name, "accepted": 15, "delivered": 12, "pending": 0, "quarantined": 3, "dropped": {}}
    assert "1 sink" in run("sinks", "--store", refused).stdout
    assert run("sinks", "--store", refused, "--forget", "another").exit_code == 2
    assert parsed("sinks", "--store", refused, "--forget", name) == []
    assert parsed("sinks", "--store", refused) == parsed("quarantine", "list", "--store", refused) == []
