"""Where nothing listens, a life cycle looks the next state up; with any hook it does as a stock machine does."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from tests.core import life_cycle
from tests.core.life_cycle import ACTIONS, ARGUMENTS, act, session_in
from transitions import Event, EventData, Machine, State, Transition

from caseassist.core.errors import IllegalTransition
from caseassist.core.machine import LIFE_CYCLE, LifeCycle
from caseassist.core.session import Session

Log = list[tuple[object, ...]]
Hook = Callable[[LifeCycle, Callable[..., Any]], object]


class Stock(LifeCycle):
    """Never looks up."""

    def _look_up(self, trigger: Event, state: str) -> None:
        return None


class LoudEvent(Event):
    def _process(self, event_data: EventData) -> bool:
        heard.append(("event", self.name))
        return super()._process(event_data)


class LoudTransition(Transition):
    def execute(self, event_data: EventData) -> bool:
        heard.append(("transition", self.source, self.dest))
        return bool(super().execute(event_data))


class LoudState(State):
    def enter(self, event_data: EventData) -> None:
        heard.append(("state", self.name))
        super().enter(event_data)


class Odd(Enum):
    PAUSED = "paused"


heard: Log = []
"""What the classes above heard: they cannot be given a log."""


def rows(machine: LifeCycle, action: str) -> list[Transition]:
    return machine.get_transitions(action)


def add_guarded(machine: LifeCycle, holds: bool) -> None:
    """A second way from the same state, which is taken where the first is guarded."""
    machine.remove_transition("create")
    machine.add_transition("create", "started", "solved", conditions=lambda event: holds)
    machine.add_transition("create", "started", "created")


def add_state(machine: LifeCycle, state: str | Enum, **options: Any) -> None:
    machine.add_states([state], **options)
    name = state.name if isinstance(state, Enum) else state
    machine.add_transition("pause", ["started", "filling"], name)
    machine.add_transition("go_on", name, "filling")


def end_in(machine: LifeCycle, state: str, hear: Callable[..., Any] | None = None) -> None:
    machine.get_state(state).final = True
    if hear is not None:
        setattr(machine, "on_final", hear)  # noqa: B010 (its types do not know of it)


HOOKS: dict[str, Hook] = {
    "none": lambda machine, hear: None,
    "machine.prepare_event": lambda machine, hear: setattr(machine, "prepare_event", hear),
    "machine.before_state_change": lambda machine, hear: setattr(machine, "before_state_change", hear),
    "machine.after_state_change": lambda machine, hear: setattr(machine, "after_state_change", [hear]),
    "machine.finalize_event": lambda machine, hear: machine.finalize_event.append(hear),
    "machine.on_exception": lambda machine, hear: setattr(machine, "on_exception", hear),
    "machine.on_final": lambda machine, hear: end_in(machine, "created", hear),
    "a final state": lambda machine, hear: end_in(machine, "created"),
    "row.prepare": lambda machine, hear: rows(machine, "create")[0].prepare.append(hear),
    "row.before": lambda machine, hear: machine.before_create(hear),
    "row.after": lambda machine, hear: setattr(rows(machine, "create")[0], "after", [hear]),
    "row.conditions": lambda machine, hear: machine.add_transition("open", "started", "filling", conditions=hear),
    "row.unless": lambda machine, hear: machine.add_transition("open", "started", "filling", unless=hear),
    "event.add_callback": lambda machine, hear: machine.events["update_field"].add_callback("before", hear),
    "the first of two rows holds": lambda machine, hear: add_guarded(machine, True),
    "the first of two rows does not hold": lambda machine, hear: add_guarded(machine, False),
    "state.on_enter": lambda machine, hear: machine.on_enter_filling(hear),
    "state.on_exit": lambda machine, hear: machine.get_state("started").on_exit.append(hear),
    "a state of one's own": lambda machine, hear: add_state(machine, "paused"),
    "a state of one's own that listens": lambda machine, hear: add_state(machine, "paused", on_exit=hear),
    "an Enum's state": lambda machine, hear: add_state(machine, Odd.PAUSED),
    "an action without a change": lambda machine, hear: machine.add_transition("look", "filling", None),
    "an action without a change that listens": lambda machine, hear: machine.add_transition(
        "look", "filling", None, after=hear
    ),
    "a reflexive action": lambda machine, hear: machine.add_transition("look", "filling", "="),
    "a row that is gone": lambda machine, hear: machine.remove_transition("create", source="started"),
    "triggers that are ignored": lambda machine, hear: setattr(machine, "ignore_invalid_triggers", True),
    "an event that raises": lambda machine, hear: setattr(machine, "before_state_change", fail),
}


def fail(event: EventData) -> None:
    raise RuntimeError("not today")


def states_of(machine: LifeCycle) -> list[str]:
    return [*machine.states, "limbo"]


def run(machine: LifeCycle, install: Hook) -> tuple[dict[tuple[str, str], object], Log]:
    """What every cell leads to, and what was heard on the way."""
    log: Log = []
    heard.clear()

    def hear(event: EventData) -> bool:
        log.append((event.event.name, event.state.name, getattr(event.model, "state", None)))
        return True

    install(machine, hear)
    results: dict[tuple[str, str], object] = {}
    for state in states_of(machine):
        for action in [*machine.events, "escalate"]:
            try:
                results[state, action] = machine.destination(state, action)
            except (IllegalTransition, RuntimeError) as error:
                results[state, action] = str(error)
    return results, log + heard


@pytest.mark.parametrize("hook", HOOKS)
def test_every_cell_leads_to_where_a_stock_machine_leads_with_every_kind_of_hook(hook: str) -> None:
    assert run(LifeCycle(), HOOKS[hook]) == run(Stock(), HOOKS[hook])


@pytest.mark.parametrize(
    "hook", [name for name in HOOKS if name.split(".")[0] in ("machine", "row", "state", "event") or "listens" in name]
)
def test_the_hooks_that_are_compared_are_heard(hook: str) -> None:
    _, log = run(LifeCycle(), HOOKS[hook])
    assert log


def test_an_exception_is_heard_where_a_stock_machine_hears_it() -> None:
    def both(machine: LifeCycle, hear: Callable[..., Any]) -> None:
        machine.before_state_change = fail
        machine.on_exception = hear

    assert run(LifeCycle(), both) == run(Stock(), both)
    assert run(LifeCycle(), both)[1]


@pytest.mark.parametrize("option", ["prepare_event", "before_state_change", "after_state_change", "finalize_event"])
def test_hooks_that_are_given_when_the_machine_is_made_are_heard(option: str) -> None:
    log: list[str] = []
    machine = LifeCycle(**{option: lambda event: log.append(event.event.name)})
    machine.destination("started", "quit")
    assert log == ["quit"]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"event_cls": LoudEvent}, id="event_cls"),
        pytest.param({"transition_cls": LoudTransition}, id="transition_cls"),
        pytest.param({"state_cls": LoudState}, id="state_cls"),
    ],
)
def test_parts_of_ones_own_are_used(parts: dict[str, type]) -> None:
    results = []
    for base in (LifeCycle, Stock):
        machine = type("Own", (base,), parts)()
        results.append(run(machine, HOOKS["none"]))
    assert results[0] == results[1]
    assert results[0][1]


class Careful(Machine):
    """A mix-in, such as those that transitions has itself."""

    def callbacks(self, funcs: Any, event_data: EventData) -> None:
        heard.append(("callbacks", event_data.event.name))
        super().callbacks(funcs, event_data)


class Mixed(Careful, LifeCycle):
    pass


class Tagged(LifeCycle):
    """Adds nothing that concerns the machinery."""

    label = "ours"


def test_machinery_of_ones_own_is_used() -> None:
    heard.clear()
    assert Mixed().destination("started", "quit") == "quit"
    assert ("callbacks", "quit") in heard


def test_a_life_cycle_looks_up_unless_its_machinery_is_changed() -> None:
    looked = {cls.__name__: cls()._look_up(cls().events["quit"], "started") for cls in (LifeCycle, Tagged, Mixed)}
    assert looked == {"LifeCycle": "quit", "Tagged": "quit", "Mixed": None}


def test_a_hook_that_is_set_later_is_heard_from_then_on() -> None:
    machine, log = LifeCycle(), list[str]()
    session = act(Session(id="a1", life_cycle=machine), "start", *ARGUMENTS["start"])
    machine.after_update_field(lambda event: log.append(event.event.name))
    act(session, "update_field", "subject", "x")
    assert log == ["update_field", "update_field"]  # decided, and folded


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", life_cycle.STATES)
def test_sessions_of_all_machines_go_the_same_way(state: str, action: str) -> None:
    results = []
    for machine in (LIFE_CYCLE, LifeCycle(), Stock()):
        session = session_in(state, Session(id="a1", life_cycle=machine))
        try:
            session = act(session, action, *ARGUMENTS[action])
        except IllegalTransition as refusal:
            results.append(str(refusal))
        else:
            results.append(session.state)
    assert results[0] == results[1] == results[2]
