"""The benchmarks run, say what they measured, and compare it. How fast anything is, no test decides."""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from benchmarks.__main__ import QUESTIONS
from benchmarks.goals import GOALS, goals_of
from benchmarks.results import Result, installed, result, turns, versions_of

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What a quick run of two questions printed, and the file of its figures."""
    path = tmp_path_factory.mktemp("figures") / "new.json"
    done = run("encode", "step_file", "--quick", "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert "[1/2] encode" in done.stderr
    assert "[2/2] step_file" in done.stderr
    return done.stdout, path


def test_versions_and_figures_are_printed_in_a_hundred_columns(quick: tuple[str, Path]) -> None:
    printed, _ = quick
    assert f"Python {sys.version.split()[0]}, " in printed
    assert f"msgspec {versions_of('msgspec')['msgspec']}" in printed
    lines = [line.split() for line in printed.splitlines() if line]
    assert {"encode", "step_file", "floor", "json"} <= {words[0] for words in lines if words}
    assert max(map(len, printed.splitlines())) <= 100


def test_figures_are_written_as_a_list_of_what_was_measured(quick: tuple[str, Path]) -> None:
    _, path = quick
    rows: list[dict[str, Any]] = json.loads(path.read_bytes())
    assert [row["name"] for row in rows] == ["encode", "step_file"]
    for row in rows:
        assert set(row) == {"name", "unit", "value", "floor", "peers", "ratios", "spread"}
        assert row["unit"] == "events/s"
        others = {"floor": row["floor"]} | row["peers"]
        assert row["ratios"] == pytest.approx({name: row["value"] / other for name, other in others.items()})
    machine = json.loads(path.with_suffix(".machine.json").read_bytes())
    assert {"Python", "OS", "CPU", "date", "caseassist", "msgspec"} <= set(machine)


def test_being_far_slower_than_before_is_told_and_fails_nothing(quick: tuple[str, Path], tmp_path: Path) -> None:
    _, path = quick
    encode, step_file = json.loads(path.read_bytes())
    encode["name"] = "gone"
    step_file["value"] *= 1e6
    old = tmp_path / "old.json"
    old.write_text(json.dumps([encode, step_file]))
    done = run("step_file", "--quick", "--compare", str(old))
    assert done.returncode == 0, done.stderr
    assert "step_file" in done.stdout
    assert " 0.00 " in done.stdout
    assert "only in the old figures: gone" in done.stdout


def test_what_only_the_new_figures_have_is_named(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("[]")
    done = run("step_file", "--quick", "--compare", str(old))
    assert done.returncode == 0, done.stderr
    assert "only in the new figures: step_file" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["no_such_question"], "no such benchmark: no_such_question"),
        (["step_file", "--compare", "no/such/file.json"], "cannot read no/such/file.json"),
        (["step_file", "--compare", "pyproject.toml"], "cannot read pyproject.toml"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_measured(arguments: Sequence[str], problem: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert not done.stdout


def test_a_ratio_says_how_many_times_better_whatever_the_unit() -> None:
    rate = Result(name="a", value=10, floor=20, peers={"slower": 5})
    time = Result(name="b", unit="ms", value=10, floor=5, peers={"slower": 20, "nothing": 0})
    assert rate.ratios == {"floor": 0.5, "slower": 2.0}
    assert time.ratios == {"floor": 0.5, "slower": 2.0}


def test_a_result_is_the_median_of_its_repeats() -> None:
    made = result("a", {"caseassist": [1, 100, 3], "bare": [6, 4, 5], "peer": [2, 2, 2]}, floor="bare")
    assert made == Result(name="a", value=3, spread=33, floor=5, peers={"peer": 2})


def test_functions_are_measured_in_turns() -> None:
    calls: list[str] = []
    rates = turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, {"a": 1, "b": 10}, 3)
    assert "".join(calls) == "aabb" + "ab" + "ba" + "ab"
    assert {name: len(repeats) for name, repeats in rates.items()} == {"a": 3, "b": 3}


def test_a_peer_that_is_not_installed_is_skipped_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert installed("somebody", "no_such_package.codec") is None
    assert capsys.readouterr().err == "  somebody: skipped, no_such_package is not installed\n"
    assert versions_of("no-such-package") == {"no-such-package": "not installed"}
    with pytest.raises(ModuleNotFoundError):  # a mistake of ours is no reason to skip
        installed("somebody", "benchmarks.peers.no_such_module")


def test_a_goal_is_met_at_its_limit_and_beyond() -> None:
    assert list(goals_of(Result(name="step", value=500_000, peers={"stock transitions": 100_000}))) == [
        (None, "≥ 500,000", True),
        ("stock transitions", "≥ 6", False),
    ]
    assert list(goals_of(Result(name="import", unit="ms", value=80.0))) == [(None, "≤ 80", True)]
    assert list(goals_of(Result(name="import", unit="ms", value=80.1))) == [(None, "≤ 80", False)]


def test_every_goal_is_about_a_question_and_every_question_can_be_run() -> None:
    assert {goal.figure.partition(",")[0] for goal in GOALS} <= set(QUESTIONS)
    for name, module in QUESTIONS.items():
        question = import_module(f"benchmarks.{module}")
        assert callable(question.run), name
        assert "?" in (question.__doc__ or ""), name
