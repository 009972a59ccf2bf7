"""The life cycle: states, actions, the table, and its pictures."""

from docs.generators.markdown import block, one_line, table

from caseassist import diagram
from caseassist.core.machine import ACTIVE, ENDS, LIFE_CYCLE, NEW, SAME, STATES, TABLE
from caseassist.core.session import Session

MEANINGS = {
    "new": "nothing has happened yet; the session has no records",
    "started": "the person has entered",
    "filling": "the person has filled a field and was offered nothing yet",
    "suggested": "classifications or documents were offered",
    "created": "a ticket was created",
    "solved": "the person said that the case is solved",
    "quit": "the person left, or was idle for too long",
}

INTRODUCTION = """\
# States and actions

A session is in one of seven states. An *action* is what somebody asks of it. The table below says which action is
possible in which state, where it leads to, and which event is recorded. The machine, the error messages and this page
are made from the same table.
"""

NOTES = """\
## What the table does not say

- A classification or document can be selected, opened, looked at or rated only if it was offered in this session, by
  any response of it. Its title, position, value and so on are taken from the offer.
- Whoever shows suggestions without offering them here first passes the whole suggestion. Then the offer of that one
  suggestion is recorded first, and the action after it: two records. This works in every active state.
- An offer with nothing in it is recorded and leaves the state as it is.
- `update_field` with `subject`, `description`, `category` or `productId` sets that member of the ticket. Any other name
  sets a member of `ticket.custom`. `id` is refused: only `create` gives a ticket its id. An empty value clears.
- `select_classification` sets the ticket's field to the selected value.
- `rate_document` may be repeated, and needs no click before it.
- `next_stage` adds one to the session's `stage`.
- `log_click` and `log_custom` record any other interaction. A custom event with the type `caseassist` stands for an
  [action of your own](../how-to/extend-the-life-cycle.md).
- `take_turn` records that a conversation has heard a message, and what it must remember. A message that had its turn in
  the session is refused: [RepeatedMessage](errors.md#repeatedmessage). The latest 256 messages are known.
- `quit` has a cause: `user`, `unload` or `timeout`. It is recorded and not sent.
- There are no timers. `Session.expire(now)` gives the record of a quit with the cause `timeout` when nothing happened
  for 30 minutes; the program that knows the time calls it, or quits the session itself.
- A session ends once. Nothing is accepted after an end. A new attempt of the same person is a new session with the same
  client id.

An action that is not in the table raises
[IllegalTransition](errors.md#illegaltransition): nothing is recorded, and the session stays as it was.
"""


def render() -> str:
    kinds = {NEW: "beginning", **dict.fromkeys(ACTIVE, "active"), **dict.fromkeys(ENDS, "end")}
    states = table(("state", "kind", "meaning"), ((f"`{state}`", kinds[state], MEANINGS[state]) for state in STATES))
    rows = table(
        ("action", "from", "to", "event", "sent as"),
        (
            (
                f"`{row.action}`",
                "any active state" if row.sources == ACTIVE else ", ".join(f"`{state}`" for state in row.sources),
                "the same" if row.dest == SAME else f"`{row.dest}`",
                f"[{row.event.__name__}](events.md#{row.event.__name__.lower()})",
                row.wire or "never",
            )
            for row in TABLE
        ),
    )
    actions = list(dict.fromkeys(row.action for row in TABLE))
    meanings = table(
        ("action", "what happens"),
        ((f"`{action}`", one_line((getattr(Session, action).__doc__ or "").split("\n\n")[0])) for action in actions),
    )
    cells = table(
        ("", *(f"`{state}`" for state in STATES)),
        (
            (f"`{action}`", *("✓" if action in LIFE_CYCLE.allowed(state) else "" for state in STATES))
            for action in actions
        ),
    )
    return "\n".join(
        [
            INTRODUCTION,
            "![The life cycle of a session; the tables below say the same in words](life-cycle.svg)\n",
            "## States\n",
            states,
            "## Actions\n",
            "They are methods of `Case` and of `Session`; [the API](api.md#case) has their arguments.\n",
            meanings,
            "## The table\n",
            "*Sent as* is the kind of request that carries the event to Coveo. What is never sent stays in the log.\n",
            rows,
            "## What is possible where\n",
            cells,
            NOTES,
            "## As Mermaid\n",
            "`caseassist diagram` prints this, for pages that draw Mermaid; `--format svg` gives the picture above.\n",
            block("mermaid", diagram.mermaid()),
        ]
    )
