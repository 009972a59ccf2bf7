"""The steps of a conversation: one table, and the machine that is built from it.

The rules of the table:

* Of the rows of one trigger from one step, the first whose condition holds is taken.
* ``go_on`` leads to what is still to be done in a stage, and to ``reviewing`` when nothing is.
* In ``classifying``, ``suggesting`` and ``filing`` the conversation waits for a service, not for the person. From
  ``filing`` nobody can leave: the ticket may be filed already.
* ``solved``, ``created`` and ``left`` are ends.
"""

from typing import NamedTuple

from transitions import Machine

__all__ = ["ENDS", "STEPS", "TABLE", "WAITING", "Row", "Work", "follow"]

ENDS = ("solved", "created", "left")
WAITING = ("classifying", "suggesting", "filing")
STEPS = ("describing", "classifying", "asking", "suggesting", "reading", "rating", "reviewing", "filing", *ENDS)


class Row(NamedTuple):
    """A way from some steps to another one."""

    trigger: str
    sources: tuple[str, ...]
    dest: str
    condition: str | None = None
    """Member of :class:`Work` that must be true."""


class Work(NamedTuple):
    """What is still to be done in a stage."""

    to_describe: bool = False
    to_classify: bool = False
    to_ask: bool = False
    to_suggest: bool = False
    documents_left: bool = False
    """Documents that were suggested and not yet found useless."""

    @property
    def any(self) -> bool:
        return self.to_describe or self.to_classify or self.to_ask or self.to_suggest


_UNDECIDED = ("describing", "classifying", "asking", "suggesting", "reading", "rating")

TABLE = (
    Row("go_on", _UNDECIDED, "describing", "to_describe"),
    Row("go_on", _UNDECIDED, "classifying", "to_classify"),
    Row("go_on", _UNDECIDED, "asking", "to_ask"),
    Row("go_on", _UNDECIDED, "suggesting", "to_suggest"),
    Row("go_on", _UNDECIDED, "reviewing"),
    Row("show", ("suggesting",), "reading"),
    Row("open", ("reading",), "rating"),
    Row("back", ("rating",), "reading"),
    Row("help", ("asking", "reading", "rating", "reviewing"), "solved"),
    Row("fail", ("rating",), "reading", "documents_left"),
    Row("change_description", ("reviewing",), "describing"),
    Row("change_field", ("reviewing",), "asking"),
    Row("file", ("reviewing",), "filing"),
    Row("be_filed", ("filing",), "created"),
    Row("not_be_filed", ("filing",), "reviewing"),
    Row("leave", (*_UNDECIDED, "reviewing"), "left"),
)


class _Walker:
    """What the machine moves: a step, and what is still to be done."""

    def __init__(self, step: str, work: Work) -> None:
        self.state = step
        for name in Work._fields:
            setattr(self, name, getattr(work, name))


_machine = Machine(
    model=None,
    states=list(STEPS),
    initial=STEPS[0],
    transitions=[
        {"trigger": row.trigger, "source": list(row.sources), "dest": row.dest, "conditions": row.condition}
        for row in TABLE
    ],
    auto_transitions=False,
)


def follow(step: str, trigger: str, work: Work) -> str:
    """Return the step that a trigger leads to. Raises :class:`transitions.MachineError` if it leads nowhere."""
    walker = _Walker(step, work)
    _machine.events[trigger].trigger(walker)
    return walker.state
