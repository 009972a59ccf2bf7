"""Playing scripts, and the life cycle and the schemas, as a person and as a program use them."""

import json
import os
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.cli.runs import CONTEXT, EXAMPLE, SOLVE, START, Server, answers, process, run

from caseassist.cli import main
from caseassist.cli.play import MAX_LINE_BYTES
from caseassist.cli.quarantine import quarantine
from caseassist.core.machine import STATES, TABLE
from caseassist.core.records import decode_lines


def test_the_example_is_played_to_a_file_and_told_to_people(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    result = run("play", str(EXAMPLE), *CONTEXT, "--sink", f"file:{file}")
    assert result.exit_code == 0
    lines = EXAMPLE.read_bytes().splitlines()
    with file.open("rb") as written:
        records = list(decode_lines(written))
    assert len(records) == len(lines)
    assert [record.time.isoformat()[:19] + "Z" for record in records] == [json.loads(line)["at"] for line in lines]
    told = result.stdout.splitlines()
    assert told[0].split() == ["1", "a1", "#0", "ticket_create_start", "started"]
    assert "".join(str(file).split()) in "".join(part for part in result.stdout.split() if not part.isdigit())


def test_records_on_standard_output_are_alone_there(tmp_path: Path) -> None:
    result = run("play", str(EXAMPLE), *CONTEXT, "--sink", "stdout:", "--sink", "null:", "--sink", "memory:")
    assert result.exit_code == 0
    assert len(list(decode_lines(result.stdout.encode().splitlines()))) == 15
    assert "ticket_create_start" in result.stderr


def test_json_has_one_answer_per_line_in_order() -> None:
    script = START + b"nonsense\n\n" + b'{"session": "zz", "do": "solve"}\n' + SOLVE + b"\xff\xfe\n"
    result = run("play", "-", "--format", "json", stdin=script)
    assert [answer["ok"] for answer in answers(result)] == [True, False, False, False, True, False]
    assert answers(result)[0] == {
        "ok": True,
        "session": "a1",
        "seq": 0,
        "state": "started",
        "event": {"action": "ticket_create_start"},
    }
    assert answers(result)[3]["line"] == 4
    assert answers(result)[3]["error"]["type"] == "UnknownSession"
    assert result.exit_code == 1


def test_a_refused_line_is_told_with_its_number_and_what_was_expected() -> None:
    result = run("play", "-", stdin=START + b'{"session": "a1", "do": "quit", "cause": "boredom"}\n' + SOLVE)
    assert result.exit_code == 1
    assert "line 2: refused, nothing recorded: $.cause: expected 'user', 'unload' or 'timeout'" in result.stderr
    assert "boredom" not in result.output
    assert "ticket_cancel" in result.stdout


def test_a_line_that_is_too_long_is_refused_and_the_next_one_is_read() -> None:
    endless = b'{"session": "' + b"x" * (3 * MAX_LINE_BYTES) + b'"}\n'
    result = run("play", "-", "--format", "json", stdin=endless + START)
    assert [answer["ok"] for answer in answers(result)] == [False, True]


def test_an_empty_script_is_fine() -> None:
    assert run("play", "-").exit_code == 0


def test_events_go_to_an_endpoint_with_the_token_of_the_environment(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}"
    result = run("play", "-", *CONTEXT, "--sink", url, stdin=START + SOLVE, env={"COVEO_TOKEN": "xx-canary"})
    assert result.exit_code == 0
    assert [body["svc_action"] for body in server.bodies] == ["ticket_create_start", "ticket_cancel"]
    assert server.heads[0].startswith(b"POST /rest/ua/v15/analytics/collect HTTP/1.1\r\n")
    assert b"Authorization: Bearer xx-canary\r\n" in server.heads[0]
    assert "canary" not in result.output


def test_another_variable_can_hold_the_token(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/own/path"
    result = run("play", "-", "--sink", url, "--token-env", "MINE", stdin=START, env={"MINE": "abc"})
    assert result.exit_code == 0
    assert server.heads[0].startswith(b"POST /own/path/v15/analytics/collect HTTP/1.1\r\n")
    assert b"Authorization: Bearer abc\r\n" in server.heads[0]


@pytest.mark.parametrize("status", [400, 503])
def test_what_is_not_delivered_shows_in_the_exit_status(server: Server, status: int) -> None:
    server.status = status
    url = f"http://127.0.0.1:{server.port}"
    result = run("play", "-", "--sink", url, "--drain-timeout", "0.2", stdin=START)
    assert result.exit_code == 3
    as_json = run("play", "-", "--sink", url, "--drain-timeout", "0.2", "--format", "json", stdin=START)
    assert as_json.exit_code == 3
    assert [answer["ok"] for answer in answers(as_json)] == [True]


def test_the_context_comes_from_a_file_and_the_options_go_over_it(tmp_path: Path) -> None:
    file = tmp_path / "context.json"
    file.write_text('{"searchHub": "file", "language": "fr", "userAgent": "bot/1"}')
    out = tmp_path / "out.jsonl"
    result = run("play", "-", "--context", str(file), "--language", "de", "--sink", f"file://{out}", stdin=START)
    assert result.exit_code == 0
    (record,) = decode_lines(out.read_bytes().splitlines())
    context = record.context
    assert (context.search_hub, context.language, context.user_agent) == ("file", "de", "bot/1")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("play",), "Missing argument 'SCRIPT'"),
        (("play", "no-such-file"), "cannot read the script no-such-file: No such file"),
        (("play", "-", "--sink", "ftp://host"), "unknown sink"),
        (("play", "-", "--sink", "stdout:x"), "unknown sink"),
        (("play", "-", "--sink", "file:"), "unknown sink"),
        (("play", "-", "--sink", "nowhere"), "unknown sink"),
        (("play", "-", "--sink", "http://user:pw@host/"), "no user and no password"),
        (("play", "-", "--sink", "coveo:myorg"), "needs a token in the environment variable COVEO_TOKEN"),
        (("play", "-", "--sink", "coveo:myorg?x=y"), "unknown option"),
        (("play", "-", "--sink", "null:", "--sink", "null:"), "name of its own"),
        (("play", "-", "--store", "paper:"), "unknown store"),
        (("play", "-", "--language", "english"), "$.context.language: expected a two-letter"),
        (("play", "-", "--context", "no-such-file"), "cannot read the context file"),
        (("play", "-", "--context", str(EXAMPLE)), "is no JSON object"),
        (("play", "-", "--drain-timeout", "-1"), "-1"),
        (("play", "-", "--format", "json", "--sink", "stdout:"), "standard output holds the answers"),
        (("diagram", "--format", "gif"), "gif"),
        (("diagram", "-o", "no-such-folder/x"), "cannot write"),
        (("schema", "everything"), "everything"),
        (("dance",), "No such command"),
    ],
)
def test_wrong_usage_is_status_2_and_says_what_is_wrong(args: tuple[str, ...], said: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_coveo_organization_needs_its_id_in_order() -> None:
    result = run("play", "-", "--sink", "coveo:My Org", env={"COVEO_TOKEN": "abc"})
    assert result.exit_code == 2
    assert "lower-case letters, digits and hyphens" in result.stderr


def test_a_file_that_cannot_be_opened_is_said_before_anything_is_played(tmp_path: Path) -> None:
    result = run("play", "-", "--sink", f"file:{tmp_path}", stdin=START)
    assert result.exit_code == 2
    assert "ticket_create_start" not in result.output
    assert str(tmp_path) in result.stderr.replace("\n", "")


def test_the_diagram_has_every_state_and_action() -> None:
    text = run("diagram").stdout
    picture = run("diagram", "--format", "svg").stdout
    for word in {*STATES, *(row.action for row in TABLE)}:
        assert word in text
        assert f">{word}<" in picture or f"{word}, " in picture or f", {word}<" in picture
    assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_results_can_go_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    assert run("schema", "-o", str(file)).stdout == ""
    assert json.loads(file.read_text())["$schema"].endswith("2020-12/schema")
    for what in ("script", "answer"):
        assert json.loads(run("schema", what).stdout)["oneOf"]


def test_a_program_asks_for_the_version_of_the_protocol() -> None:
    result = run("play", "-", "--format", "json", stdin=b'{"protocol": 1}\n' + START + SOLVE)
    agreed, *others = answers(result)
    assert (agreed["ok"], agreed["protocol"]) == (True, 1)
    assert result.exit_code == 0
    assert [answer["ok"] for answer in others] == [True, True]
    assert run("play", "-", stdin=b'{"protocol": 1}\n' + START).stdout.splitlines()[0].split() == ["1", "protocol", "1"]


def test_after_a_version_that_is_not_spoken_nothing_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    lines = b'{"protocol": 2}\n' + START + SOLVE
    result = run("play", "-", "--format", "json", "--sink", f"file:{file}", stdin=lines)
    assert [answer["error"]["type"] for answer in answers(result)] == ["UnsupportedProtocol"] * 3
    assert [answer["error"]["allowed"] for answer in answers(result)] == [["1"]] * 3
    assert result.exit_code == 1
    assert not file.exists() or file.read_bytes() == b""


@pytest.mark.parametrize(
    "command", [(), *((name,) for name in main.commands), *(("quarantine", name) for name in quarantine.commands)]
)
def test_help_is_there(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_a_pipe_is_answered_line_by_line() -> None:
    with process("play", "-", "--format", "json") as child:
        assert child.stdin
        assert child.stdout
        for line, state in ((START, "started"), (SOLVE, "solved")):
            child.stdin.write(line)
            child.stdin.flush()
            assert json.loads(child.stdout.readline())["state"] == state
        child.stdin.close()
        assert child.wait() == 0


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_an_interrupt_ends_it_in_good_order(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    with process("play", "-", "--format", "json", "--sink", f"file:{file}") as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        child.stdin.write(START)
        child.stdin.flush()
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.stdin.close()
        assert child.wait() == 130
        assert child.stderr.read() == b"interrupted\n"
    assert len(list(decode_lines(file.read_bytes().splitlines()))) == 1
