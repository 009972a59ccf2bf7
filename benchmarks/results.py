"""What a benchmark says, and how it is measured."""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

__all__ = ["Result", "installed", "measure", "result", "skip", "turns", "versions_of"]


class Result(msgspec.Struct, kw_only=True):
    """One figure: the median of several repeats."""

    name: str
    """The question, and which of its figures: ``live, trio``."""
    unit: str = "events/s"
    """A rate, which ends in ``/s`` and of which more is better; of every other unit less is better."""
    value: float
    spread: float = 0.0
    """Largest less smallest repeat, as a share of the median."""
    floor: float | None = None
    """The same without our code: what the parts allow."""
    peers: dict[str, float] = {}
    """Other ways to the same end, measured in the same run."""

    @property
    def ratios(self) -> dict[str, float]:
        """How many times better we are than the floor and the peers: 2 is twice the rate, or half the time."""
        others = ({} if self.floor is None else {"floor": self.floor}) | self.peers
        if self.value <= 0:
            return {}
        return {name: times_better(self.unit, self.value, other) for name, other in others.items() if other > 0}


def times_better(unit: str, value: float, other: float) -> float:
    """How many times better ``value`` is than ``other``. Raises ZeroDivisionError as division does."""
    return value / other if unit.endswith("/s") else other / value


def measure(function: Callable[[], object], events: int, repeats: int) -> list[float]:
    """Run a function several times; events per second of each run."""
    rates: list[float] = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        rates.append(events / (time.perf_counter() - begin))
    return rates


def turns(
    functions: Mapping[str, Callable[[], object]],
    events: int | Mapping[str, int],
    repeats: int,
    *,
    turn_s: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Measure several functions in turns, so that a change of the machine's mood hits all of them.

    ``events``: how many there are in one call, of each function or of all. ``turn_s``: a function is called as often
    in a turn as fits into so many seconds, at least once. ``clock``: ``time.process_time`` for what only computes,
    so that other programs disturb it less. Returns the events per second of each turn.
    """
    rates: dict[str, list[float]] = {name: [] for name in functions}
    calls: dict[str, int] = {}
    for name, function in functions.items():
        function()  # warm
        begin = clock()
        function()
        calls[name] = max(1, round(turn_s / (clock() - begin)))
    gc.collect()
    names = list(functions)
    for repeat in range(repeats):
        first = repeat % len(names)  # each comes after each other one: what they leave of memory and caches differs
        for name in names[first:] + names[:first]:
            function, number = functions[name], events if isinstance(events, int) else events[name]
            begin = clock()
            for _ in range(calls[name]):
                function()
            rates[name].append(calls[name] * number / (clock() - begin))
    return rates


def result(
    name: str,
    values: Mapping[str, list[float]],
    *,
    unit: str = "events/s",
    ours: str = "caseassist",
    floor: str | None = None,
) -> Result:
    """Make a result of what was measured in turns: all repeats of ours, of the floor, and of the peers."""
    medians = {key: statistics.median(repeats) for key, repeats in values.items()}
    own = values[ours]
    return Result(
        name=name,
        unit=unit,
        value=medians[ours],
        spread=(max(own) - min(own)) / medians[ours] if medians[ours] else 0.0,
        floor=medians[floor] if floor else None,
        peers={key: value for key, value in medians.items() if key not in (ours, floor)},
    )


def skip(peer: str, reason: str) -> None:
    """Say that a peer is not measured, in one line on standard error."""
    print(f"  {peer}: skipped, {reason}", file=sys.stderr)


def installed(peer: str, module: str) -> Any:
    """Import what a peer needs, and return it; None, with a line that says so, where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        if package in ("benchmarks", "caseassist", "tests"):
            raise
        skip(peer, f"{package} is not installed")
        return None


def versions_of(*distributions: str) -> dict[str, str]:
    """The versions of Python packages; what is not installed is said to be so."""
    versions: dict[str, str] = {}
    for name in distributions:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions
