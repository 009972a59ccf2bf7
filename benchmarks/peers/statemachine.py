"""python-statemachine 3: an instance for each session, as it is meant, and ``send``."""

from typing import Any

from statemachine import State, StateChart
from statemachine.transition_list import TransitionList

from benchmarks.peers.by_hand import Destination
from caseassist.core.machine import ENDS, NEW, STATES, cells

__all__ = ["destination"]


def _make() -> type[StateChart[Any]]:
    states = {name: State(name, initial=name == NEW, final=name in ENDS) for name in STATES}
    events: dict[str, TransitionList] = {}
    for action, source, dest in cells():
        events.setdefault(f"do_{action}", TransitionList()).add_transitions(states[source].to(states[dest]))
    return type("LifeCycle", (StateChart,), states | events)


LIFE_CYCLE = _make()


def destination() -> Destination:
    """What finds the states of a new session."""
    machine = LIFE_CYCLE()

    def find(at: tuple[str, str]) -> str:
        machine.send(f"do_{at[1]}")
        return str(machine.current_state_value)

    return find
