"""The life cycle, cell by cell, on the machines themselves."""

from typing import Any

import pytest
from tests.core import life_cycle
from tests.core.life_cycle import ACTIONS, ARGUMENTS, CELLS, EVENTS, EXPECTED, NOW, act, session_in
from transitions import EventData, Machine

from caseassist.core.errors import IllegalTransition, InvalidAction
from caseassist.core.events import CustomEvent
from caseassist.core.machine import ACTIVE, ENDS, LIFE_CYCLE, STATES, TABLE, LifeCycle, cells
from caseassist.core.session import Session


def model_of(event: EventData) -> Any:
    return event.model


MACHINES = [pytest.param(LifeCycle(), id="stock"), pytest.param(LIFE_CYCLE, id="shared")]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("state", "action"), CELLS)
def test_every_cell_of_the_machine_is_as_the_design_has_it(machine: LifeCycle, state: str, action: str) -> None:
    if action in EXPECTED[state]:
        assert machine.destination(state, action) == EXPECTED[state][action]
        return
    with pytest.raises(IllegalTransition) as caught:
        machine.destination(state, action)
    assert (caught.value.state, caught.value.action) == (state, action)
    assert set(caught.value.allowed or ()) == set(EXPECTED[state])


def test_the_table_has_the_states_and_actions_of_the_design_and_no_others() -> None:
    assert STATES == life_cycle.STATES
    assert ACTIVE == ("started", "filling", "suggested")
    assert ENDS == ("created", "solved", "quit")
    assert dict.fromkeys(row.action for row in TABLE) == dict.fromkeys(ACTIONS)
    assert {(state, action): dest for action, state, dest in cells()} == {
        (state, action): dest for state, row in EXPECTED.items() for action, dest in row.items()
    }


def test_no_cell_is_in_the_table_twice() -> None:
    # transitions would take the first of two and say nothing.
    taken = [(action, state) for action, state, _ in cells()]
    assert len(taken) == len(set(taken))


def test_every_row_names_its_event_and_how_it_is_sent() -> None:
    for row in TABLE:
        assert (row.event, row.event.__struct_config__.tag, row.wire) == EVENTS[row.action]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("state", life_cycle.STATES)
def test_allowed_lists_the_actions_of_a_state_in_the_order_of_the_table(machine: LifeCycle, state: str) -> None:
    assert machine.allowed(state) == tuple(action for action in ACTIONS if action in EXPECTED[state])


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("state", life_cycle.STATES)
def test_an_unknown_action_is_refused_in_every_state(machine: LifeCycle, state: str) -> None:
    with pytest.raises(IllegalTransition):
        machine.destination(state, "escalate")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("action", ACTIONS)
def test_an_unknown_state_allows_nothing(machine: LifeCycle, action: str) -> None:
    with pytest.raises(IllegalTransition) as caught:
        machine.destination("limbo", action)
    assert caught.value.allowed == ()


def test_no_action_is_added_by_transitions_itself() -> None:
    # Such as to_filling, which goes anywhere from anywhere.
    assert set(LifeCycle().events) == set(ACTIONS)


# A life cycle of one's own.


def paused() -> LifeCycle:
    machine = LifeCycle()
    machine.add_states(["paused"])
    machine.add_transition("pause", ["started", "filling"], "paused")
    machine.add_transition("go_on", "paused", "filling")
    machine.add_transition("quit", "paused", "quit")
    return machine


def own(session: Session, action: str) -> Session:
    return act(session, "log_custom", {"eventType": "caseassist", "eventValue": action})


def test_own_states_and_actions_are_recorded_as_custom_events_and_fold_to_the_same() -> None:
    session = Session(id="a1", life_cycle=paused())
    records = list(session.start(None, life_cycle.CONTEXT, at=NOW))
    states = []
    for action in ("pause", "go_on", "pause"):
        session = Session.fold(records, Session(id="a1", life_cycle=session.life_cycle))
        records += session.log_custom({"eventType": "caseassist", "eventValue": action}, at=NOW)
        states.append(Session.fold(records, Session(id="a1", life_cycle=session.life_cycle)).state)
    assert states == ["paused", "filling", "paused"]
    assert [record.event for record in records[1:]] == [
        CustomEvent(event_type="caseassist", event_value=action) for action in ("pause", "go_on", "pause")
    ]


def test_own_states_refuse_what_they_have_no_row_for() -> None:
    session = own(session_in("filling", Session(id="a1", life_cycle=paused())), "pause")
    assert session.state == "paused"
    assert session.active
    with pytest.raises(IllegalTransition) as caught:
        session.update_field("subject", "x", at=NOW)
    assert caught.value.allowed == ("quit", "go_on")
    assert act(session, "quit").state == "quit"


def test_a_state_of_ones_own_that_allows_nothing_is_an_end() -> None:
    machine = paused()
    machine.add_states(["escalated"])
    machine.add_transition("escalate", "*", "escalated")
    machine.remove_transition("escalate", source="escalated")
    session = own(session_in("filling", Session(id="a1", life_cycle=machine)), "escalate")
    assert session.state == "escalated"
    assert not session.active
    assert session.expire(NOW, idle_s=0) == ()


@pytest.mark.parametrize("action", [action for action in ACTIONS if action != "log_custom"])
def test_an_own_action_cannot_pass_for_one_of_the_table(action: str) -> None:
    session = session_in("suggested")
    event = {"eventType": "caseassist", "eventValue": action}
    with pytest.raises(InvalidAction) as caught:
        session.log_custom(event, at=NOW)
    assert caught.value.path == "$.event.eventValue"
    assert action in str(caught.value)


def test_an_own_action_is_refused_by_the_shared_life_cycle() -> None:
    with pytest.raises(IllegalTransition, match="pause"):
        own(session_in("filling"), "pause")


def test_a_condition_that_does_not_hold_refuses_the_action() -> None:
    machine = LifeCycle()
    seen = []

    def has_subject(event: EventData) -> bool:
        seen.append(model_of(event).session.ticket.subject)
        return model_of(event).session.ticket.subject is not None

    machine.add_transition("escalate", ["started", "filling"], "created", conditions=has_subject)
    session = act(Session(id="a1", life_cycle=machine), "start", None, life_cycle.CONTEXT)
    with pytest.raises(IllegalTransition) as caught:
        own(session, "escalate")
    assert (caught.value.state, caught.value.action) == ("started", "escalate")
    assert own(act(session, "update_field", "subject", "x"), "escalate").state == "created"
    assert seen == [None, "x", "x"]  # decided, decided, folded


def test_an_unless_that_holds_refuses_the_action() -> None:
    machine = LifeCycle()
    machine.remove_transition("create", source="started")
    machine.add_transition("create", "started", "created", unless=lambda event: model_of(event).session.stage == 0)
    session = session_in("started", Session(id="a1", life_cycle=machine))
    with pytest.raises(IllegalTransition):
        session.create("1", at=NOW)
    assert act(act(session, "next_stage"), "create", "1").state == "created"


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("action", "rest"),
    [
        ("select_classification", {"field_name": "category", "classification": {"value": "v", "confidence": 1}}),
        (
            "open_document",
            {"suggestion": {"documentTitle": "t", "documentUrl": "u", "documentPosition": 1, "sourceName": "s"}},
        ),
    ],
)
def test_a_condition_holds_for_a_whole_suggestion_too(action: str, rest: dict[str, Any], whole: bool) -> None:
    machine = LifeCycle()
    machine.remove_transition(action)
    machine.add_transition(action, "suggested", "=", conditions=lambda event: False)
    session = session_in("suggested", Session(id="a1", life_cycle=machine))
    arguments = {"response_id": "new", **rest} if whole else {}
    with pytest.raises(IllegalTransition):
        getattr(session, action)("c1" if action == "select_classification" else "d1", at=NOW, **arguments)


def test_a_whole_suggestion_is_refused_where_an_offer_is() -> None:
    machine = paused()
    machine.add_transition("select_classification", "paused", "=")
    session = own(session_in("filling", Session(id="a1", life_cycle=machine)), "pause")
    with pytest.raises(IllegalTransition) as caught:
        session.select_classification(
            "c", response_id="r", field_name="f", classification={"value": "v", "confidence": 1}, at=NOW
        )
    assert caught.value.action == "offer_classifications"


def test_callbacks_hear_of_an_action_and_see_the_session_before_it() -> None:
    machine = LifeCycle()
    heard = []

    def hear(event: EventData) -> None:
        heard.append((event.event.name, model_of(event).session.state, model_of(event).state))

    machine.before_create(hear)
    machine.on_enter_created(hear)
    machine.after_create(hear)
    session_in("started", Session(id="a1", life_cycle=machine)).create("1", at=NOW)
    assert heard == [
        ("create", "started", "started"),
        ("create", "started", "created"),
        ("create", "started", "created"),
    ]


@pytest.mark.parametrize("when", ["before_create", "on_exit_filling", "on_enter_created", "after_create"])
def test_a_callback_that_raises_refuses_the_action_and_the_session_stays(when: str) -> None:
    machine = LifeCycle()
    refusals = [RuntimeError("not on Sundays")]
    refused = refusals[0]

    def refuse_once(event: EventData) -> None:
        if refusals:
            raise refusals.pop()

    session = session_in("filling", Session(id="a1", life_cycle=machine))
    getattr(machine, when)(refuse_once)
    with pytest.raises(RuntimeError) as caught:
        session.create("1", at=NOW)
    assert caught.value is refused
    assert session == session_in("filling", Session(id="a1", life_cycle=machine))
    assert act(session, "create", "1").state == "created"


def test_callbacks_can_be_given_when_the_machine_is_made() -> None:
    heard: list[str] = []
    machine = LifeCycle(after_state_change=lambda event: heard.append(event.event.name))
    machine.destination("started", "quit")
    assert heard == ["quit"]


def test_triggers_that_are_told_to_be_ignored_are_refused_all_the_same() -> None:
    with pytest.raises(IllegalTransition):
        LifeCycle(ignore_invalid_triggers=True).destination("quit", "create")


def test_an_exception_handler_does_not_turn_a_refusal_into_a_success() -> None:
    with pytest.raises(IllegalTransition):
        LifeCycle(on_exception=lambda event: None).destination("quit", "create")


@pytest.mark.parametrize("option", [{"queued": True}, {"model_attribute": "status"}, {"send_event": False}])
def test_options_that_could_not_be_honoured_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        LifeCycle(**option)


def test_the_machine_holds_no_session() -> None:
    machine = LifeCycle()
    session_in("created", Session(id="a1", life_cycle=machine))
    assert machine.models == []
    assert LIFE_CYCLE.models == []


# The shared life cycle stays as it is.


@pytest.mark.parametrize(
    "change",
    [
        lambda: LIFE_CYCLE.add_states(["paused"]),
        lambda: LIFE_CYCLE.add_state("paused"),
        lambda: LIFE_CYCLE.add_transition("pause", "started", "paused"),
        lambda: LIFE_CYCLE.add_transitions([["pause", "started", "filling"]]),
        lambda: LIFE_CYCLE.add_ordered_transitions(),
        lambda: LIFE_CYCLE.remove_transition("quit"),
        lambda: LIFE_CYCLE.on_enter_filling(print),
        lambda: LIFE_CYCLE.on_exit_filling(print),
        lambda: LIFE_CYCLE.before_create(print),
        lambda: LIFE_CYCLE.after_create(print),
        lambda: setattr(LIFE_CYCLE, "before_state_change", print),
        lambda: LIFE_CYCLE.add_model(object()),
    ],
)
def test_the_shared_life_cycle_refuses_being_extended(change: Any) -> None:
    with pytest.raises(TypeError, match=r"make your own LifeCycle\(\)"):
        change()
    assert {(s, a): LIFE_CYCLE.destination(s, a) for a, s, _ in cells()} == {(s, a): d for a, s, d in cells()}


def test_the_shared_life_cycle_has_no_more_attributes_than_another() -> None:
    assert isinstance(LIFE_CYCLE, Machine)
    assert not hasattr(LIFE_CYCLE, "no_such_thing")


def test_a_session_has_the_shared_life_cycle_unless_it_is_given_one() -> None:
    assert Session(id="a1").life_cycle is LIFE_CYCLE
    machine = LifeCycle()
    session = act(Session(id="a1", life_cycle=machine), "start", *ARGUMENTS["start"])
    assert session.life_cycle is machine
