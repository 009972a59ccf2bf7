"""What a sink is: where records are delivered."""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from caseassist.core.records import Record

__all__ = ["OnRefused", "Sink"]

OnRefused: TypeAlias = Literal["continue", "hold"]
"""What becomes of the records of a session after one that was refused."""


class Sink(Protocol):
    """A place where records are delivered. Derive from it and write :meth:`deliver`; the rest has defaults.

    A courier calls ``deliver`` with what is to be delivered and decides by what it raises:

    * It returns when all the records are taken. What that means (written, synced, answered) is the sink's to say.
    * It raises SinkUnavailable when it can take nothing at the moment. The courier waits and calls again with the
      records that are left.
    * It raises SinkRefused when it will never take one record. The courier puts that one into quarantine and goes on
      after it (see ``on_refused``).
    * Both say in ``delivered`` how many records of the call were taken before.
    * Any other exception is a mistake in the sink. It is logged and treated like SinkUnavailable: nothing is lost.
      KeyboardInterrupt, SystemExit and cancellation pass.

    Delivery is at least once: a record can come again after a restart. ``(session_id, seq)`` tells.
    """

    name: str
    """Names the sink's position in the store: unique in a CaseAssist, and the same after a restart."""

    batch_records: int = 256
    """At most so many records in a call."""

    linger_s: float = 0.0
    """Seconds to wait for a batch to fill."""

    sessions_at_once: int = 1
    """1: one call at a time, with records of all sessions in the order of the store. More: so many calls at a time,
    each with the records of one session, and never two of the same session."""

    on_refused: OnRefused = "continue"
    """``continue``: the session goes on without the refused record. ``hold``: what follows in the session is put aside,
    too, until an operator has sent or dropped all that is put aside of it."""

    async def open(self) -> None:
        """Called once before the first delivery, in the event loop that delivers. Raise what stops the start.

        Not in the task that delivers: a task group or cancel scope of the sink's own cannot be left open here.
        """
        return

    async def deliver(self, records: Sequence[Record]) -> None:
        """Take records. ``records``: 1 to ``batch_records``, each session's in sequence."""
        ...

    async def aclose(self) -> None:
        """Release everything; called once, after the last delivery has returned or was cancelled, or open failed.

        It is cancelled when the time for closing is up. What it raises is logged and goes no further.
        """
        return
