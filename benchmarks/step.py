"""How fast are actions decided and applied, in memory?

Floor: the same ten actions, written by hand with as little as they can do with (``peers/by_hand.py``). Peers: the same
step of ours on a stock machine of ``transitions``; the floor with its look-up replaced by such a machine, and by
python-statemachine; an aggregate of eventsourcing, saved in memory after each action. *own LifeCycle()* is a machine
that users can extend.

The second figure has the answers that make offers as the JSON that came, so it reads and checks them, too.
"""

import time
from collections.abc import Callable, Mapping

from benchmarks.data import ACTIONS, ACTIONS_JSON, play
from benchmarks.peers import by_hand, transitions
from benchmarks.results import Result, installed, result, turns, versions_of
from caseassist.core.machine import LifeCycle


class StockLifeCycle(LifeCycle):
    """Ours, but for the machine, which is a stock one."""

    def destination(self, state: str, action: str, session: object = None) -> str:
        del session
        return transitions.destination(state)((state, action))


def versions() -> dict[str, str]:
    return versions_of("python-statemachine", "eventsourcing")


def run(quick: bool) -> list[Result]:
    own, stock = LifeCycle(), StockLifeCycle()
    sessions: dict[str, tuple[Callable[[], object], int]] = {
        "caseassist": (play, 100),
        "by hand": (by_hand.play, 100),
        "own LifeCycle()": (lambda: play(own), 100),
        "stock transitions": (lambda: play(stock), 20),
        "stock transitions, by hand": (lambda: by_hand.play(transitions.destination()), 20),
    }
    if statemachine := installed("python-statemachine", "benchmarks.peers.statemachine"):
        sessions["python-statemachine"] = (lambda: by_hand.play(statemachine.destination()), 3)
    if eventsourcing := installed("eventsourcing", "eventsourcing.application"):
        aggregates = installed("eventsourcing", "benchmarks.peers.eventsourcing")
        application = eventsourcing.Application()
        sessions["eventsourcing"] = (lambda: aggregates.play(application), 10)
    repeats = 7 if quick else 41
    read = {"caseassist": (lambda: play(actions=ACTIONS_JSON), 100)}
    return [
        result("step", turns_of(sessions, repeats), floor="by hand"),
        result("step, offers as JSON", turns_of(read, repeats)),
    ]


def turns_of(sessions: Mapping[str, tuple[Callable[[], object], int]], repeats: int) -> dict[str, list[float]]:
    """Actions per second of functions that play a session, each so many times in a turn."""
    return turns(
        {name: repeated(function, number) for name, (function, number) in sessions.items()},
        {name: number * len(ACTIONS) for name, (_, number) in sessions.items()},
        repeats,
        turn_s=0.01,
        clock=time.process_time,
    )


def repeated(function: Callable[[], object], number: int) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(number):
            function()

    return repeat
