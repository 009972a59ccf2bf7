"""What the commands print where there is little room, none at all, or few characters."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.cli.runs import SOLVE, START, run

from caseassist.cli.output import Column, Problems, counted, show_table

SESSION = "61ee73a7-d539-46c7-842e-0e5a0bbfc6ce"
COLUMNS = (Column("session"), Column("records", right=True, spare=1), Column("at", spare=2), Column("why", cut=True))
ROWS = ((SESSION, "12", "2026-11-24 15:23", "it hums and " * 5), ("a\x1b1", "3", "", "早い" * 10))

posix = pytest.mark.skipif(os.name == "nt", reason="files and signals are POSIX's")


def table(width: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setattr("caseassist.cli.output._terminal_width", lambda: width)
    show_table(COLUMNS, ROWS)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [55, 60, 80, 120])
def test_a_row_is_one_line_and_ids_are_whole(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.cells import cell_len

    lines = table(width, monkeypatch, capsys)
    assert all(cell_len(line) <= width for line in lines)
    assert lines[1].startswith(SESSION)
    assert lines[1].endswith("…")
    assert ("at" in lines[0].split()) == (width >= 80)


def test_what_is_left_out_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(55, monkeypatch, capsys)[-1] == "(not shown, for want of room: records, at)"


def test_where_there_is_no_terminal_nothing_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = table(None, monkeypatch, capsys)
    assert len(lines) == 3
    assert "it hums and " * 4 in lines[1]
    assert "\x1b" not in lines[2]


def test_one_is_one_and_two_are_more() -> None:
    assert [counted(number, "sink") for number in (0, 1, 2)] == ["0 sinks", "1 sink", "2 sinks"]


def test_problems_are_counted_and_only_the_first_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    problems = Problems()
    for number in range(1500):
        problems.add(f"line {number}")
    problems.show()
    assert (problems.count, len(problems.kept)) == (1500, 1000)
    assert capsys.readouterr().err.splitlines()[-1] == "and 1480 more"


@posix
@pytest.mark.parametrize(
    "args", [("--help",), ("play", "-"), ("play", "-", "--format", "json"), ("diagram",), ("schema",)]
)
def test_an_output_that_is_full_is_one_line_and_status_2(args: Sequence[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "caseassist.cli", *args],
            input=START, stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [b"Error: cannot write the output: No space left on device"]


@posix
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reader_that_has_gone_is_nothing_to_complain_about(form: str) -> None:
    script = START + b'{"session": "a1", "do": "next_stage"}\n' * 5000
    with subprocess.Popen(
        [sys.executable, "-m", "caseassist.cli", "play", "-", "--format", form],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        child.stdout = None
        _, said = child.communicate(script)
    assert said == b""


def test_characters_that_a_terminal_does_not_know_are_replaced(tmp_path: Path) -> None:
    line = json.dumps({"session": "\N{SNOWMAN}", "do": "start"}).encode()
    done = subprocess.run(
        [sys.executable, "-m", "caseassist.cli", "play", "-"],
        input=line, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.split()[1] == b"?"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1"])
@pytest.mark.parametrize(
    "args",
    [
        ("play", "-", "--drain-timeout"),
        ("send", "x", "--sink", "null:", "--drain-timeout"),
        ("prune", "--store", "sqlite:x", "--older-than"),
        ("expire", "--store", "sqlite:x", "--idle"),
    ],
)
def test_a_number_is_finite_and_not_negative(args: Sequence[str], value: str) -> None:
    result = run(*args, value)
    assert result.exit_code == 2
    assert args[-1] in result.stderr


@pytest.mark.parametrize("value", ["xx1234-canary", "XX-canary", "1canary", "xxcanary"])
def test_a_token_in_the_place_of_a_name_is_refused_and_not_repeated(value: str) -> None:
    result = run("play", "-", "--token-env", value)
    assert result.exit_code == 2
    assert "not the token itself" in result.stderr
    assert "canary" not in result.output


@pytest.mark.parametrize(
    "args",
    [
        ("--store", "postgres://user:canary@host/db"),
        ("--store", "sqlite:x?key=canary"),
        ("--sink", "ftp://user:ca/nary@host/canary@x"),
        ("--sink", "coveo:myorg?token=canary"),
        ("--sink", "https://user:canary@host/"),
    ],
)
def test_a_password_in_a_url_is_not_repeated(args: Sequence[str]) -> None:
    result = run("play", "-", *args)
    assert result.exit_code == 2
    assert "canary" not in result.output
    assert "nary" not in result.output.replace("canary", "")


def test_what_is_not_a_matter_of_usage_does_not_explain_usage(tmp_path: Path) -> None:
    for args in (("replay", "no-such-file"), ("verify", "sqlite:no.db"), ("send", str(tmp_path), "--sink", "null:")):
        result = run(*args)
        assert result.exit_code == 2
        assert "Usage" not in result.stderr
        assert result.stderr.startswith("Error: ")
    assert "it is a directory" in run("send", str(tmp_path), "--sink", "null:").stderr
    assert "is a directory; a store is a file" in run("sinks", "--store", f"sqlite:{tmp_path}").stderr
    memory = run("send", "-", "--sink", "null:", "--store", "memory:", stdin=START)
    assert memory.exit_code == 2
    assert "keeps nothing to go on from" in memory.stderr


def test_blank_lines_and_a_byte_order_mark_are_passed_over() -> None:
    script = b"\xef\xbb\xbf" + START + b"\n  \n" + b"nonsense\n" + SOLVE
    text = run("play", "-", stdin=script)
    assert text.exit_code == 1
    assert [line.split()[0] for line in text.stdout.splitlines()] == ["1", "5"]
    assert text.stderr.startswith("line 4: refused")
    as_json = run("play", "-", "--format", "json", stdin=script)
    assert [json.loads(line)["ok"] for line in as_json.stdout.splitlines()] == [True, False, False, False, True]
