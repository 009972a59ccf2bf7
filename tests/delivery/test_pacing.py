"""How long to wait before a sink is tried again."""

import random

import pytest

from caseassist.delivery.pacing import BUDGET, MAX_ASKED_S, MAX_DELAY_S, RetryBudget, retry_delay_s


@pytest.mark.parametrize(("attempt", "bound"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (1000, 60.0)])
def test_pauses_are_spread_below_a_bound_that_doubles_up_to_a_minute(attempt: int, bound: float) -> None:
    rng = random.Random(7)
    delays = [retry_delay_s(attempt, None, rng=rng) for _ in range(500)]
    assert 0 <= min(delays) < 0.1 * bound
    assert 0.9 * bound < max(delays) <= bound <= MAX_DELAY_S


@pytest.mark.parametrize(("asked", "floor"), [(7.0, 7.0), (0.0, 0.0), (-5.0, 0.0), (1e99, MAX_ASKED_S)])
def test_what_the_other_side_asks_for_is_the_floor_up_to_an_hour(asked: float, floor: float) -> None:
    rng = random.Random(7)
    delays = [retry_delay_s(1, asked, rng=rng) for _ in range(200)]
    assert floor <= min(delays)
    assert max(delays) <= max(floor * 1.1, 0.5)
    assert max(delays) - min(delays) >= 0.09 * floor, "many that were asked do not come back in the same moment"


def test_the_first_hundred_retries_are_free_and_then_one_a_second() -> None:
    budget = RetryBudget(now=0.0)
    assert [budget.spend(0.0) for _ in range(int(BUDGET))] == [0.0] * int(BUDGET)
    assert [budget.spend(0.0) for _ in range(3)] == [1.0, 2.0, 3.0]
    assert budget.spend(3.0) == 1.0
    assert budget.spend(100.0) == 0.0


def test_ten_successes_allow_for_one_retry_more() -> None:
    budget = RetryBudget(now=0.0)
    for _ in range(int(BUDGET)):
        budget.spend(0.0)
    budget.succeed(10)
    assert budget.spend(0.0) == 0.0
    assert budget.spend(0.0) == 1.0
    budget.succeed(10_000_000)
    assert [budget.spend(0.0) for _ in range(int(BUDGET) + 1)] == [0.0] * int(BUDGET) + [1.0]


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    budget = RetryBudget(now=1000.0)
    assert budget.spend(0.0) == 0.0
    for _ in range(int(BUDGET) - 1):
        budget.spend(0.0)
    assert budget.spend(0.0) == 1.0


@pytest.mark.parametrize("share", [2, 3, 10])
def test_a_sink_that_fails_every_other_time_gets_little_more_than_what_it_takes(share: int) -> None:
    """Each event is tried ``share`` times on average; time passes only as the budget asks for."""
    budget, now, events, tries = RetryBudget(now=0.0), 0.0, 10_000, 0
    for _ in range(events):
        for _ in range(share - 1):
            tries += 1
            now += budget.spend(now)
        tries += 1
        budget.succeed(1)
    assert tries - events <= BUDGET + 0.1 * events + now + 1


def test_the_bound_doubles_from_the_base_that_is_given_to_the_most() -> None:
    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    delays = [retry_delay_s(n, None, base_delay_s=0.1, max_delay_s=2.0, rng=Longest()) for n in range(1, 8)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
