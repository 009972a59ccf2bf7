"""The code blocks of the README and of the docs are run as tests.

Every page has a folder of its own to run in, which holds the examples and no more. The blocks of a page run in order:

* ``python``: runs; the blocks of a page share their names.
* ``console``: a line that begins with ``$`` is a command, ``>`` goes on with it. What follows must be what it prints;
  ``...`` stands for anything. A command must succeed, unless ``$ echo $?`` comes next. One shell runs a block.
* ``js``: runs where node is installed.
* ``output``: what the block before it must have printed.
* ``sh``: run as a whole; must succeed.

``<!-- skip: next, and why -->`` before a block leaves it out.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import redirect_stdout
from doctest import ELLIPSIS, OutputChecker
from pathlib import Path
from typing import Any
from unittest import SkipTest

from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser
from sybil.parsers.markdown import SkipParser as PlainSkipParser

ROOT = Path(__file__).parent
END = "-- end of command:"
TIMEOUT_S = 60

run_python = PythonEvaluator()


class SkipParser(PlainSkipParser):
    """Takes whatever follows ``skip: next`` as the reason."""

    def __call__(self, document: Document) -> Iterable[Region]:
        for region in super().__call__(document):
            action, reason = region.parsed
            region.parsed = (action, repr((reason or "no reason given").strip(" ,():")))
            yield region


def python(example: Example) -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        run_python(example)
    example.namespace["__printed__"] = printed.getvalue()


def javascript(example: Example) -> None:
    node = shutil.which("node")
    if node is None:
        example.namespace["__printed__"] = None
        raise SkipTest("node is not installed")
    example.namespace["__printed__"] = shell(node, "-", stdin=example.parsed)


def output(example: Example) -> str | None:
    printed = example.namespace.pop("__printed__")
    return None if printed is None else difference(example.parsed, printed, "the block before")


def script(example: Example) -> None:
    shell("bash", "-eu", "-c", example.parsed)


def console(example: Example) -> str | None:
    commands = commands_of(example.parsed)
    text = "".join(
        f"{command}\n__status=$?; echo; echo '{END}' $__status; (exit $__status)\n" for command, _ in commands
    )
    results = re.split(f"^{END} ([0-9]+)\n", shell("bash", "-s", stdin=text + "exit 0\n"), flags=re.MULTILINE)
    for number, (command, expected) in enumerate(commands):
        printed, status = results[2 * number : 2 * number + 2]
        status_is_told = number + 1 < len(commands) and commands[number + 1][0] == "echo $?"
        if status != "0" and not status_is_told:
            return f"$ {command}\nexit status {status}:\n{printed}"
        if found := difference(expected, printed, f"$ {command}"):
            return found
    return None


def commands_of(block: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it should print."""
    commands: list[tuple[str, str]] = []
    for line in block.splitlines():
        command, expected = commands[-1] if commands else ("", "")
        if line.startswith("$ "):
            commands.append((line[2:], ""))
        elif line.startswith("> ") and not expected:
            commands[-1] = (f"{command}\n{line[2:]}", "")
        else:
            commands[-1] = (command, f"{expected}{line}\n")
    return commands


def difference(expected: str, printed: str, what: str) -> str | None:
    expected, printed = (
        "".join(f"{line.rstrip()}\n" for line in text.strip().splitlines()) for text in (expected, printed)
    )
    if OutputChecker().check_output(expected, printed, ELLIPSIS):
        return None
    return f"{what} printed\n\n{printed}\nnot\n\n{expected}"


def shell(*command: str, stdin: str = "") -> str:
    """Run a command where the page runs and return what it prints, errors included."""
    environment = {
        "HOME": str(Path.cwd()),
        "LANG": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "80",
    }
    done = subprocess.run(  # noqa: S603
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env=environment,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{command[0]} ended with status {done.returncode}:\n{done.stdout}")
    return done.stdout


def enter_folder(namespace: dict[str, Any]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="caseassist-docs-"))
    shutil.copytree(ROOT / "examples", folder / "examples")
    namespace["__folders__"] = Path.cwd(), folder
    os.chdir(folder)


def leave_folder(namespace: dict[str, Any]) -> None:
    before, folder = namespace["__folders__"]
    os.chdir(before)
    shutil.rmtree(folder)


pytest_collect_file = Sybil(
    parsers=[
        SkipParser(),
        CodeBlockParser("python", python),
        CodeBlockParser("console", console),
        CodeBlockParser("js", javascript),
        CodeBlockParser("output", output),
        CodeBlockParser("sh", script),
    ],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    setup=enter_folder,
    teardown=leave_folder,
).pytest()
