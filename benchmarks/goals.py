"""What the figures should come to: the one place where goals are written down.

A goal never fails anything: the table says whether it is met.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from benchmarks.results import Result

__all__ = ["GOALS", "Goal", "goals_of"]


class Goal(NamedTuple):
    """A limit for some figures, or for how many times better they are than something."""

    figure: str
    """The names of the figures, as a pattern: ``live, *``."""
    limit: float
    """At least so much, of a rate or a ratio; at most so much, of anything else."""
    over: str | None = None
    """The limit is one of the ratio to this peer, a pattern too, or to the ``floor``; None: of the figure itself."""


GOALS = (
    Goal("encode", 1 / 1.10, "floor"),
    Goal("encode", 10, "json"),
    Goal("encode", 4, "pydantic"),
    Goal("encode", 1, "orjson"),
    Goal("decode", 1 / 1.25, "floor"),
    Goal("decode", 4, "pydantic"),
    Goal("step", 500_000),
    Goal("step", 6, "stock transitions"),
    Goal("step", 15, "eventsourcing"),
    Goal("step_file", 300_000),
    Goal("live, *", 200_000),
    Goal("file_sink, *", 0.60, "floor"),
    Goal("sqlite_store, bulk", 0.70, "floor"),
    Goal("sqlite_store, 64 sessions, disk, asyncio", 30_000),
    Goal("sqlite_store, 64 sessions, disk, trio", 30_000),
    Goal("sqlite_store, 64 sessions, disk, *, p99", 10),
    Goal("sqlite_store, 64 sessions, disk, *", 10, "eventsourcing*"),
    Goal("http_sink, asyncio, 64 in flight", 15_000),
    Goal("http_sink, trio, 64 in flight", 30_000),
    Goal("http_sink, *, 64 in flight", 6, "coveo.analytics*"),
    Goal("http_sink, *, 64 in flight", 8, "httpx2"),
    Goal("http_sink, *, 64 in flight", 1, "aiohttp"),
    Goal("replay", 0.65, "floor"),
    Goal("replay, peak memory, *", 0.9, "a hundredth of the records"),
    Goal("memory, live session", 1024),
    Goal("memory, growth *", 8),
    Goal("import", 80),
    Goal("import, --help", 300),
)


def goals_of(result: Result) -> Iterator[tuple[str | None, str, bool]]:
    """The goals of a figure: over what (None: the figure itself), the limit, and whether it is met.

    Goals over what was not measured are left out.
    """
    ratios = result.ratios
    for goal in GOALS:
        if not fnmatchcase(result.name, goal.figure):
            continue
        if goal.over is None:
            rate = result.unit.endswith("/s")
            met = result.value >= goal.limit if rate else result.value <= goal.limit
            yield None, f"{'≥' if rate else '≤'} {goal.limit:,.0f}", met
        for peer, ratio in ratios.items():
            if goal.over is not None and fnmatchcase(peer, goal.over):
                yield peer, f"≥ {goal.limit:.2g}", ratio >= goal.limit
