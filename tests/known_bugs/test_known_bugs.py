"""Known bugs come back: each of :mod:`tests.known_bugs.plants` makes the tests fail that it names."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.known_bugs.plants import PLANTS

ROOT = Path(__file__).parents[2]
NOT_NOTICED = re.compile(r"AttributeError|ImportError|NameError|TypeError")
"""A test that fails with one of these has met a plant that does not fit the code any more."""


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    # Nobody reads what the assertions compared: without that, it starts in half the time.
    options = ("-q", "-rfE", "--tb=no", "--assert=plain", "-p", "no:cacheprovider")
    command = (sys.executable, "-m", "pytest", *options, *arguments)
    environment = {**os.environ, "COLUMNS": "1000"}  # or what went wrong is cut short
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> "Iterator[Mapping[str, Future[subprocess.CompletedProcess[str]]]]":
    """The runs with a bug, for each that is asked for: two at a time, as they wait now and then."""
    chosen = [getattr(item, "callspec", None) for item in request.session.items]
    names: Iterable[str] = (spec.params["name"] for spec in chosen if spec and spec.params.get("name") in PLANTS)
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(run, "--plant", name, *PLANTS[name].noticed_by) for name in names}


@pytest.mark.parametrize("name", PLANTS)
def test_a_bug_that_comes_back_is_noticed(
    name: str, runs: "Mapping[str, Future[subprocess.CompletedProcess[str]]]"
) -> None:
    done = runs[name].result()
    said = done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, said
    failed = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    assert not [line for line in failed if NOT_NOTICED.search(line)]
    for test in PLANTS[name].noticed_by:
        assert any(line.startswith(f"FAILED {test}") for line in failed), f"{test} does not notice:\n{said}"


def test_without_a_bug_the_same_tests_pass() -> None:
    done = run(*dict.fromkeys(test for plant in PLANTS.values() for test in plant.noticed_by))
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr


def test_a_bug_that_is_not_known_is_said_with_those_that_are() -> None:
    done = run("--plant", "no_such_bug", "tests/delivery/test_pacing.py")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert all(name in done.stderr for name in ("no_such_bug", *PLANTS))
