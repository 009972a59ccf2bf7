"""How fast a client sent events, and at what cost: what is said of each of them in ``http_sink``."""

import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Pace", "start"]


class Pace(NamedTuple):
    """Of events sent one after the other, or many at a time."""

    events_per_s: float
    cpu_us: float
    """CPU time of the client's process for one event, in microseconds: it hardly depends on what else runs here."""


def start() -> Callable[[int], Pace]:
    """Start the clocks; call what is returned with the number of events that have been sent since."""
    cpu_s, begin_s = time.process_time(), time.perf_counter()
    return lambda events: Pace(events / (time.perf_counter() - begin_s), (time.process_time() - cpu_s) / events * 1e6)
