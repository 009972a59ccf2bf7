"""``caseassist chat``, driven in a real terminal."""

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.runs import run

from caseassist.core.records import Record, decode_lines

COMMAND = [sys.executable, "-W", "error", "-m", "caseassist.cli", "chat"]
PROMPT = "\n> "
PROBLEM = "My generator stops after a minute"
KNOWLEDGE = """
[[documents]]
title = "A generator that stops"
text = "A generator that stops after a minute is short of fuel. Open the valve."

[[documents]]
title = "Smoke"
text = "A generator that smokes wants oil."

[[values]]
field = "category"
value = "Engine"
examples = ["it stops", "it smokes"]

[[values]]
field = "category"
value = "Electrical"
examples = ["it stops", "it flickers"]
"""
"""Has two categories for the problem, and is sure of neither."""
STYLES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A program in a terminal of 80 columns: what it shows, and a keyboard."""

    def __init__(self, master: int, process: "subprocess.Popen[bytes]") -> None:
        self._master = master
        self._process = process
        self.raw = ""

    def shows(self, what: str = PROMPT) -> str:
        """Wait until it shows something, and return what it has shown since the last time."""
        shown = ""
        while what not in (plain := STYLES.sub("", shown).replace("\r\n", "\n")):
            ready, _, _ = select.select([self._master], [], [], 60)
            assert ready, f"waited for {what!r}, got {plain!r}"
            try:
                data = os.read(self._master, 65536)
            except OSError:  # how Linux says that the other side is gone
                data = b""
            assert data, f"it has ended: {plain!r}"
            shown += data.decode(errors="replace")
            self.raw += data.decode(errors="replace")
        return plain

    def types(self, text: str) -> None:
        os.write(self._master, text.encode() + b"\n")

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def ends(self) -> int:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                break
            if not data:
                break
            self.raw += data.decode(errors="replace")
        return self._process.wait(60)

    @property
    def text(self) -> str:
        return STYLES.sub("", self.raw).replace("\r\n", "\n")


@contextmanager
def terminal(*options: str, columns: int = 80) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, columns))
    environment = os.environ | {"TERM": "xterm-256color", "PYTHONWARNINGS": "error"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        [*COMMAND, *options],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        os.close(slave)
        try:
            yield Terminal(master, process)
        finally:
            process.kill()
            os.close(master)


@pytest.fixture
def kb(tmp_path: Path) -> str:
    (tmp_path / "kb.toml").write_text(KNOWLEDGE)
    return str(tmp_path / "kb.toml")


def converse(screen: Terminal, replies: Sequence[str]) -> None:
    for reply in replies:
        screen.shows()
        screen.types(reply)


def records_in(path: Path) -> list[Record]:
    with path.open("rb") as lines:
        return list(decode_lines(lines))


@pytest.mark.parametrize(
    ("replies", "said", "last"),
    [
        ([PROBLEM, "1", "1", "yes"], "Good! This case is closed.", "ticket_cancel"),
        ([PROBLEM, "Engine", "none", "yes"], "Your ticket is filed: CASE-", "ticket_create"),
        (["hello", PROBLEM, "leave"], "All right, this case is closed.", "ticket_cancel"),
    ],
    ids=["solved", "created", "left"],
)
def test_a_conversation_comes_to_each_of_its_ends(
    replies: Sequence[str], said: str, last: str, tmp_path: Path, kb: str
) -> None:
    log = tmp_path / "log.jsonl"
    with terminal("--kb", kb, "--trace", "--sink", f"file:{log}") as screen:
        converse(screen, replies)
        assert screen.ends() == 0
        assert said in screen.text
        assert last in screen.text
        assert "events for Coveo recorded in this session:" in screen.text
        assert all(len(line) <= 80 for line in screen.text.splitlines() if str(log) not in line)
        assert "Traceback" not in screen.text
    records = records_in(log)
    assert [record.seq for record in records] == list(range(len(records)))
    assert records[-1].event.__struct_config__.tag == last


@pytest.mark.parametrize(("language", "greeting"), [("fr", "Bonjour !"), ("de", "Guten Tag!")])
def test_it_speaks_other_languages(language: str, greeting: str) -> None:
    with terminal("--language", language) as screen:
        assert greeting in screen.shows()
        screen.types("leave")
        assert screen.ends() == 0


def test_with_a_store_the_same_command_goes_on_in_the_middle(tmp_path: Path, kb: str) -> None:
    store = f"sqlite:{tmp_path / 'cases.db'}"
    with terminal("--kb", kb, "--store", store) as screen:
        converse(screen, [PROBLEM])
        screen.shows()
        screen.types("\x04")  # Ctrl-D
        assert screen.ends() == 0
        assert "stays open" in screen.text
    with terminal("--kb", kb, "--store", store) as screen:
        assert "What is the category?" in screen.shows()
        screen.types("leave")
        assert screen.ends() == 0
        assert "ticket_field_update" in screen.text


def test_ctrl_c_ends_it_at_once(kb: str) -> None:
    with terminal("--kb", kb) as screen:
        screen.shows()
        screen.press("\x03")
        assert screen.ends() == 130
        assert "Fatal" not in screen.text
        assert "Traceback" not in screen.text


def test_a_narrow_terminal_is_enough(kb: str) -> None:
    with terminal("--kb", kb, "--trace", columns=40) as screen:
        converse(screen, [PROBLEM, "1"])
        screen.shows()
        long = [line for line in screen.text.splitlines() if len(line) > 40 and "http://" not in line]
        assert not long


def test_a_pipe_does_for_a_script() -> None:
    done = run("chat", stdin=f"{PROBLEM}\nleave\n".encode())
    assert done.exit_code == 0, done.stderr
    assert PROBLEM in done.stdout
    assert "this case is closed" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kb", "nowhere.toml"], "cannot read the knowledge base"),
        (["--language", "tlh"], "Invalid value for '--language'"),
        (["--store", "postgres:x"], "unknown store"),
        (["--sink", "stdout:"], "standard output holds the conversation"),
    ],
)
def test_what_is_wrong_is_said(options: Sequence[str], said: str) -> None:
    done = run("chat", *options)
    assert done.exit_code == 2
    assert said in done.stderr
