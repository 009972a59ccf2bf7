"""The stock machine of ``transitions``, in the fastest way: one for all, its triggers called on models."""

from transitions import Machine

from benchmarks.peers.by_hand import Destination
from caseassist.core.machine import NEW, STATES, cells

__all__ = ["destination"]

MACHINE = Machine(
    model=None,
    states=list(STATES),
    initial=NEW,
    transitions=[{"trigger": action, "source": source, "dest": dest} for action, source, dest in cells()],
    auto_transitions=False,
)
EVENTS = MACHINE.events


class Model:
    """A session, for the machine."""

    def __init__(self, state: str) -> None:
        self.state = state


def destination(state: str = NEW) -> Destination:
    """What finds the states of a session, by triggers that change it."""
    model = Model(state)

    def find(at: tuple[str, str]) -> str:
        EVENTS[at[1]].trigger(model)
        return model.state

    return find
