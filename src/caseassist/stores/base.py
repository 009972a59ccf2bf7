"""What a store is: the append-only log of records, which is the truth."""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from caseassist.core.records import Record

__all__ = ["MAX_APPENDED", "Durability", "Store", "Stored", "check_batch"]

MAX_APPENDED = 256
"""How many records can be appended at once."""

Durability: TypeAlias = Literal["memory", "os", "disk"]
"""What an acknowledged record survives: nothing (``memory``), the death of the process (``os``), or the loss of power
(``disk``)."""

Stored: TypeAlias = tuple[int, Record]
"""A record with its position in the store."""


class Store(Protocol):
    """The append-only log of records. Promises:

    * A record's place in its session is taken once. Two writers of one session: one wins, the other gets a
      SequenceConflict and has written nothing.
    * Positions count up from 1 in the order of appending, over all sessions. A reader that goes on after a position
      misses nothing: no record ever appears at or before a position that was read. Within a session, positions grow
      with ``seq``.
    * A position is never used again. A gap means that the record there was dropped, by the store's own policy.
    """

    @property
    def durability(self) -> Durability:
        """What an acknowledged record survives."""
        ...

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> int:
        """Store records of one session, all or none, and return the position of the last.

        ``records``: 1 to 256, of one session, in sequence, and following what is stored. Appending again the very
        records that are stored already succeeds and stores nothing. ``timeout_s``: seconds to wait for room.

        Raises SequenceConflict, StoreFull when there is no room in time, or ValueError when the records are not as
        above; all of them have stored nothing. Raises AppendUnknown when the call was cut off while writing.
        """
        ...

    async def load(self, session_id: str) -> Sequence[Record]:
        """Return the records of a session, oldest first; none if there is no such session."""
        ...

    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        """Return up to ``limit`` records of all sessions whose position is greater than ``after``, in order.

        None only if there are no more.
        """
        ...

    async def last_position(self) -> int:
        """Return the position of the newest record that can be read; 0 if there is none."""
        ...

    async def position(self, sink: str) -> int:
        """Return the position up to which a sink has settled everything; 0 for a sink that was never seen."""
        ...

    async def commit(self, sink: str, position: int) -> None:
        """Remember that a sink has settled everything up to a position. Positions of a sink never go back."""
        ...

    async def aclose(self) -> None:
        """Release everything. A second call does nothing."""
        ...


def check_batch(records: Sequence[Record]) -> None:
    """Raise ValueError unless records can be appended in one call: 1 to 256, of one session, in sequence."""
    first = records[0] if records else None
    if first is None or len(records) > MAX_APPENDED:
        raise ValueError(f"1 to {MAX_APPENDED} records can be appended at once, not {len(records)}")
    for seq, record in enumerate(records, first.seq):
        if record.seq != seq or record.session_id != first.session_id:
            raise ValueError("records that are appended at once must be of one session and in sequence")
