"""How long to wait before a sink is tried again. No I/O, no clock: the time comes in as a number of seconds."""

import random
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

__all__ = ["Pacing", "RetryBudget", "asked_s", "retry_delay_s"]

BASE_DELAY_S = 0.5
MAX_DELAY_S = 60.0
MAX_ASKED_S = 3600.0
"""The longest wait in seconds that a sink can ask for: a mistake of its must not silence us for ever."""
BUDGET = 100.0
"""Retries that are free: an outage of a moment is over before they are spent."""
SHARE = 0.1
"""Retries that a success allows for: gRPC and Finagle allow a tenth to a fifth."""
REFILL_PER_S = 1.0
"""Retries that time allows for: without, a sink that failed for long would never be tried again."""


class Pacing(msgspec.Struct, frozen=True, kw_only=True):
    """Where chance and time come in."""

    rng: random.Random
    sleep: Callable[[float], Awaitable[None]]
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]


def retry_delay_s(
    attempt: int,
    retry_after_s: float | None,
    *,
    base_delay_s: float = BASE_DELAY_S,
    max_delay_s: float = MAX_DELAY_S,
    rng: random.Random,
) -> float:
    """Seconds to wait before the next try: full jitter below a doubling bound, and what the other side asked for.

    ``attempt``: 1 after the first failure. ``retry_after_s``: the floor, at most an hour of it; a tenth is spread on
    top, so that many clients do not come back in the same moment.
    """
    bound = min(max_delay_s, base_delay_s * 2.0 ** min(attempt - 1, 30))
    return max(asked_s(retry_after_s) * rng.uniform(1.0, 1.1), rng.uniform(0.0, bound))


def asked_s(retry_after_s: float | None) -> float:
    """What a sink asked for, made sense of: 0 to an hour."""
    return min(retry_after_s, MAX_ASKED_S) if retry_after_s is not None and retry_after_s > 0 else 0.0


class RetryBudget:
    """Bounds what a sink that fails now and then costs it: retries are at most a tenth of what succeeds, and one a
    second, beyond the first hundred.

    Growing pauses are enough while a sink is down. They begin anew with each success, so a sink that fails every
    other time would get twice the traffic from us, and just then that is what it can bear the least.
    """

    def __init__(self, now: float) -> None:
        self._tokens = BUDGET
        self._at = now

    def succeed(self, records: int) -> None:
        """So many records were taken."""
        self._tokens = min(BUDGET, self._tokens + SHARE * records)

    def spend(self, now: float) -> float:
        """There will be a retry. Returns how many seconds to wait before it."""
        self._tokens = min(BUDGET, self._tokens + REFILL_PER_S * max(now - self._at, 0.0)) - 1.0
        self._at = now
        return max(-self._tokens / REFILL_PER_S, 0.0)
