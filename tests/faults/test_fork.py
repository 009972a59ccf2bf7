"""Forks: what was opened before says so in the child, and goes on in the parent."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from tests.fakes import LONG_S
from tests.faults.forker import SINK

from caseassist.delivery.reports import Progress
from caseassist.stores.sqlite import SQLiteStore


def forked(when: str, path: Path, backend: str) -> list[dict[str, Any]]:
    """What parent and child say, the child first."""
    # Newer Pythons warn of any fork beside threads.
    python = [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    done = subprocess.run(
        [*python, "-m", "tests.faults.forker", when, str(path), backend],
        capture_output=True,
        text=True,
        timeout=2 * LONG_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said: list[dict[str, Any]] = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    return sorted(said, key=lambda each: "child" not in each)


async def stored(path: Path) -> dict[str, int]:
    """How many records there are of each session."""
    lengths: dict[str, int] = {}
    async with SQLiteStore(path) as store:
        for _, record in await store.read(0, 10_000):
            assert record.seq == lengths.get(record.session_id, 0)
            lengths[record.session_id] = record.seq + 1
        assert await store.check() == []
        assert (await store.state(SINK)).delivered == sum(lengths.values())
    return lengths


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_child_gets_forked_from_every_call_and_the_parent_goes_on(backend: str, tmp_path: Path) -> None:
    child, parent = forked("after", tmp_path / "cases.db", backend)
    assert len(child["child"]) > 20
    assert {name: outcome for name, outcome in child["child"].items() if outcome != "Forked"} == {}
    assert parent["status"] == 0
    lengths = anyio.run(stored, tmp_path / "cases.db")
    assert sorted(lengths.values()) == [2, 51, 51]
    expected = Progress(sink=SINK, accepted=104, delivered=104, pending=0)
    assert msgspec.convert(parent["report"], Progress) == expected


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_is_opened_after_the_fork_works_in_both(backend: str, tmp_path: Path) -> None:
    _, parent = forked("before", tmp_path / "cases.db", backend)
    assert parent["status"] == 0
    assert anyio.run(stored, tmp_path / "cases.db") == {"parent": 51, "child": 51}
