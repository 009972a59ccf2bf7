"""Every promise of the guarantees names tests that prove it, and these tests are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/reference/guarantees.md").read_text(encoding="utf-8")

PROMISED, _, NOT_PROMISED = PAGE.partition("\n## What is not promised\n")
LEAVES = [section for section in re.split(r"^#{2,3} ", PROMISED, flags=re.MULTILINE)[1:] if section.count("\n") > 2]
PROMISES = {section.partition("\n")[0]: section for section in LEAVES}
PROOF = re.compile(r"^- `(tests/[\w/]+\.py)::(test_\w+)`", re.MULTILINE)


def names_in(path: str) -> set[str]:
    """The names of the functions in a file: those of tests, without what they are parametrised with."""
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_all_promises_are_found() -> None:
    assert len(PROMISES) > 20
    assert "A reader misses nothing" in PROMISES
    assert NOT_PROMISED.count("\n- ") > 10


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_says_what_it_does_not_cover_and_what_proves_it(promise: str) -> None:
    covered, found, proved_by = PROMISES[promise].partition("\n*Not covered:* ")
    assert found
    assert len(covered.splitlines()) > 1
    assert "\n*Proved by*\n" in proved_by
    assert PROOF.search(proved_by)


@pytest.mark.parametrize(("path", "name"), dict.fromkeys(PROOF.findall(PROMISED)))
def test_a_test_that_is_named_is_there(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert name in names_in(path)


def test_no_test_is_named_in_a_way_that_is_not_looked_at() -> None:
    assert len(re.findall("::", PAGE)) == len(PROOF.findall(PROMISED)) + PAGE.count("FILE::NAME")
