"""What a benchmark says, and how it is measured."""

import statistics
import time
from collections.abc import Callable

import msgspec

__all__ = ["Result", "measure", "turns"]


class Result(msgspec.Struct, kw_only=True):
    """One figure: events per second, the median of several repeats."""

    name: str
    unit: str = "events/s"
    value: float
    spread: float
    """Largest less smallest repeat, as a share of the median."""
    floor: float | None = None
    """The same without our code: what the parts allow."""
    peers: dict[str, float] = {}
    """Other ways to the same end, measured in the same run."""

    @property
    def ratios(self) -> dict[str, float]:
        """How many times faster we are than the floor and the peers."""
        others = ({"floor": self.floor} if self.floor else {}) | self.peers
        return {name: self.value / other for name, other in others.items()}


def measure(function: Callable[[], object], events: int, repeats: int) -> list[float]:
    """Run a function several times; events per second of each run."""
    rates: list[float] = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        rates.append(events / (time.perf_counter() - begin))
    return rates


def turns(functions: dict[str, Callable[[], object]], events: int, repeats: int) -> dict[str, list[float]]:
    """Measure several functions in turns, so that a change of the machine's mood hits all of them."""
    rates: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()  # warm
    for _ in range(repeats):
        for name, function in functions.items():
            rates[name] += measure(function, events, 1)
    return rates


def result(name: str, rates: dict[str, list[float]], *, ours: str = "caseassist", floor: str | None = None) -> Result:
    """Make a result of rates measured in turns."""
    medians = {key: statistics.median(values) for key, values in rates.items()}
    own = rates[ours]
    return Result(
        name=name,
        value=medians[ours],
        spread=(max(own) - min(own)) / medians[ours],
        floor=medians[floor] if floor else None,
        peers={key: value for key, value in medians.items() if key not in (ours, floor)},
    )
