"""The life cycle of a session: one table, and the machine that is built from it.

The rules of the table:

* ``new`` is where a session begins; ``started``, ``filling`` and ``suggested`` are *active*; ``created``, ``solved``
  and ``quit`` are ends. Nothing is accepted after an end.
* A row stands for one action from each of its sources. What is not in the table is refused.
* ``=`` means that the state stays. An offer with nothing in it leaves the state as it is, too.
* Some events have two rows (``TicketCancel`` by its reason), and one action can lead to different states.

The machine is a :class:`transitions.Machine` with no model registered: it is shared by all sessions and holds none of
their state, so a million sessions cost one machine.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from transitions import Event as Trigger
from transitions import Machine, MachineError, State, Transition

from caseassist.core.errors import IllegalTransition
from caseassist.core.events import (
    ClassificationsOffered,
    ClickEvent,
    CustomEvent,
    DocumentsOffered,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    Event,
    SuggestionRate,
    TicketCancel,
    TicketClassificationClick,
    TicketCreate,
    TicketCreateStart,
    TicketFieldUpdate,
    TicketNextStage,
    TurnTaken,
)

__all__ = ["ACTIVE", "ENDS", "LIFE_CYCLE", "NEW", "PLAN", "SAME", "STATES", "TABLE", "LifeCycle", "Row", "cells"]

NEW = "new"
ACTIVE = ("started", "filling", "suggested")
ENDS = ("created", "solved", "quit")
STATES = (NEW, *ACTIVE, *ENDS)
SAME = "="


class Row(NamedTuple):
    """One action of the table."""

    action: str
    sources: tuple[str, ...]
    dest: str
    event: type[Event]
    wire: str | None
    """The kind of request that carries the event: collect, click or custom. None: the event is never sent."""


TABLE = (
    Row("start", (NEW,), "started", TicketCreateStart, "collect"),
    Row("update_field", ("started", "filling"), "filling", TicketFieldUpdate, "collect"),
    Row("update_field", ("suggested",), "suggested", TicketFieldUpdate, "collect"),
    Row("offer_classifications", ACTIVE, "suggested", ClassificationsOffered, None),
    Row("offer_documents", ACTIVE, "suggested", DocumentsOffered, None),
    Row("select_classification", ("suggested",), "suggested", TicketClassificationClick, "collect"),
    Row("open_document", ("suggested",), "suggested", DocumentSuggestionClick, "click"),
    Row("quickview_document", ("suggested",), "suggested", DocumentSuggestionQuickview, "click"),
    Row("rate_document", ("suggested",), "suggested", SuggestionRate, "collect"),
    Row("next_stage", ACTIVE, SAME, TicketNextStage, "collect"),
    Row("log_click", ACTIVE, SAME, ClickEvent, "click"),
    Row("log_custom", ACTIVE, SAME, CustomEvent, "custom"),
    Row("take_turn", ACTIVE, SAME, TurnTaken, None),
    Row("create", ACTIVE, "created", TicketCreate, "collect"),
    Row("solve", ACTIVE, "solved", TicketCancel, "collect"),
    Row("quit", ACTIVE, "quit", TicketCancel, "collect"),
)


def cells() -> Iterator[tuple[str, str, str]]:
    """Every (action, state, next state) of the table, one by one."""
    for row in TABLE:
        for source in row.sources:
            yield row.action, source, source if row.dest == SAME else row.dest


PLAN: Mapping[str, Mapping[str, str]] = {
    state: {action: dest for action, source, dest in cells() if source == state} for state in STATES
}
"""The table to look up in: by state and action, the next state."""


class _Walker:
    """The throw-away model that takes one step: callbacks of a user's machine find the session on it."""

    __slots__ = ("session", "state")

    def __init__(self, state: str, session: object) -> None:
        self.state = state
        self.session = session


_MACHINERY = frozenset(name for name in vars(Machine) if not name.startswith("__"))
"""What a subclass may not change if the next state is to be looked up."""


class LifeCycle(Machine):
    """The table as a machine. Make one of your own to extend it by transitions' own means.

    ``add_states`` and ``add_transition`` add states and actions, ``conditions`` guard, callbacks listen. Callbacks
    get an :class:`transitions.EventData`; ``event_data.model.session`` is the session as it was before the action.
    A callback that raises refuses the action: the session does not move until its record is stored.

    Conditions and callbacks run when an action is decided, and again whenever its record is folded. So they must
    depend on nothing but the event data, and leave what reaches outside to a sink.

    Make one for all sessions, and keep it: the garbage collector passes over sessions, so a life cycle whose callbacks
    refer to what holds its sessions is never freed.

    ``options``: those of :class:`transitions.Machine`, but for ``queued`` and ``model_attribute``: a queue would answer
    before it knows, and the model is ours.

    An own action is recorded as a CustomEvent with ``event_type="caseassist"`` and the action's name as
    ``event_value``, so that folding the records takes the same way again.

    Where nothing listens and nothing guards, the next state is looked up in the machine's tables: its own way there
    takes some forty Python calls, with the same result.
    """

    _is_stock = True
    """Whether a subclass leaves the machinery as transitions has it."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        bases = (base for base in cls.__mro__ if base not in (LifeCycle, Machine, object))
        cls._is_stock = not any(name in _MACHINERY for base in bases for name in vars(base))

    def __init__(self, **options: Any) -> None:
        super().__init__(
            model=None,
            states=list(STATES),
            initial=NEW,
            transitions=[{"trigger": action, "source": source, "dest": dest} for action, source, dest in cells()],
            auto_transitions=False,
            send_event=True,
            queued=False,
            model_attribute="state",
            **options,
        )

    def destination(self, state: str, action: str, session: object = None) -> str:
        """Return the state that ``action`` leads to. Raises IllegalTransition when it is not allowed."""
        trigger = self.events.get(action)
        if trigger is None or state not in self.states:
            raise IllegalTransition(state, action, self.allowed(state))
        destination = self._look_up(trigger, state)
        if destination is not None:
            return destination
        walker = _Walker(state, session)
        try:
            if trigger.trigger(walker):
                return walker.state
        except MachineError:
            pass
        raise IllegalTransition(state, action, self.allowed(state))

    def _look_up(self, trigger: Trigger, state: str) -> str | None:
        """The state that a trigger leads to, if there is nothing to run on the way: no condition, callback or subclass.

        It looks each time: callbacks can be added to any of the lists at any moment.
        """
        rows = trigger.transitions.get(state)
        if not rows or not self._is_stock or type(trigger) is not Trigger:
            return None
        row = rows[0]
        if type(row) is not Transition or row.prepare or row.conditions or row.before or row.after:
            return None
        if self.prepare_event or self.before_state_change or self.after_state_change or self.finalize_event:
            return None
        if row.dest is None:  # an internal transition: no state is left or entered
            return state
        source, dest = self.states[state], self.states.get(row.dest)
        if type(source) is not State or type(dest) is not State or source.on_exit or dest.on_enter:
            return None
        name = dest.value
        return None if (dest.final and self.on_final) or not isinstance(name, str) else name

    def allowed(self, state: str) -> tuple[str, ...]:
        """The actions that are possible in a state, in the order of the table."""
        return tuple(action for action, event in self.events.items() if state in event.transitions)


class _SharedLifeCycle(LifeCycle):
    """The one machine of all sessions that bring none of their own: nothing is added to it, so a look-up will do.

    It need not even look whether something listens.
    """

    _sealed = False

    def __init__(self) -> None:
        super().__init__()
        self._sealed = True

    def destination(self, state: str, action: str, session: object = None) -> str:
        del session  # nothing listens
        try:
            return PLAN[state][action]
        except KeyError:
            raise IllegalTransition(state, action, self.allowed(state)) from None

    # What would change it is refused: it would have no effect.

    def add_transition(self, *args: Any, **kwargs: Any) -> None:
        self._refuse_change()
        super().add_transition(*args, **kwargs)

    def add_states(self, *args: Any, **kwargs: Any) -> None:
        self._refuse_change()
        super().add_states(*args, **kwargs)

    def add_model(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        self._refuse_change()

    def remove_transition(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        self._refuse_change()

    def __setattr__(self, name: str, value: object) -> None:  # such as before_state_change
        self._refuse_change()
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if self._identify_callback(name)[0] is not None:  # such as on_enter_filling
            self._refuse_change()
        return super().__getattr__(name)

    def _refuse_change(self) -> None:
        if self._sealed:
            raise TypeError("the shared life cycle stays as it is; make your own LifeCycle() and extend that")


LIFE_CYCLE = _SharedLifeCycle()
"""The machine of all sessions that are not given one of their own."""
