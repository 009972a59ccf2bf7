"""How fast are actions decided and applied, in memory? Peer: the same on a stock machine of ``transitions``.

Floor: the least that each step must do, without our code: look the next state up, check one argument, construct the
event and the record.
"""

from benchmarks.data import ACTIONS, NOON, play
from benchmarks.results import Result, result, turns
from caseassist.core.events import Context, Ticket, TicketFieldUpdate
from caseassist.core.machine import LifeCycle, cells
from caseassist.core.records import Record

PLAN = {(state, action): dest for action, state, dest in cells()}
STOCK = LifeCycle()


def floor(number: int) -> None:
    for _ in range(number):
        floor_session()


def floor_session() -> None:
    state, ticket, context = "started", Ticket(), Context()
    log: list[Record] = []
    for seq in range(len(ACTIONS)):
        name = "subject"
        state = PLAN[state, "update_field"]
        if type(name) is not str or not 0 < len(name) <= 1024:
            raise ValueError(name)
        event = TicketFieldUpdate(field_name=name)
        log.append(Record(session_id="a", seq=seq, time=NOON, event=event, ticket=ticket, context=context))


def run(quick: bool) -> list[Result]:
    number = 20 if quick else 500
    rates = turns(
        {
            "caseassist": lambda: [play() for _ in range(number)],
            "floor": lambda: floor(number),
            "stock transitions": lambda: [play(STOCK) for _ in range(number)],
        },
        number * len(ACTIONS),
        5 if quick else 9,
    )
    return [result("step", rates, floor="floor")]
