"""What a store is: the append-only log of records, which is the truth, and how far each sink has got with it.

The promises are written so that a table in PostgreSQL or a stream of NATS JetStream can keep them, too. Three of them
are easily broken there, and are why the methods are as they are:

* *No hole that a reader skips.* Numbers that a database hands out before a transaction commits become visible out of
  order. ``read`` promises that nothing ever appears at or before a position that was read, so the numbers must be given
  in the order of the commits: by one writer, under a lock, or by the server.
* *An append can be repeated.* Whoever was cut off does not know whether it was stored; the same append again must be
  recognised by what is stored, for the life of the log, and not by a window of time.
* *A position and what was put aside on the way to it are one commit.* Otherwise a crash between the two loses an event
  or counts it twice.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

import msgspec

from caseassist.core.records import Record

__all__ = [
    "DELIVERED",
    "MAX_APPENDED",
    "Ack",
    "Durability",
    "Quarantined",
    "SinkState",
    "Store",
    "StoreHealth",
    "Stored",
    "check_batch",
]

MAX_APPENDED = 256
"""How many records can be appended at once."""

DELIVERED = "delivered"
"""In :attr:`SinkState.resolved_ahead`: it was delivered after all."""

Durability: TypeAlias = Literal["memory", "os", "disk"]
"""What an acknowledged record survives: nothing (``memory``), the death of the process (``os``), or the loss of power
(``disk``)."""

Stored: TypeAlias = tuple[int, Record]
"""A record with its position in the store."""


class Ack(msgspec.Struct, frozen=True, gc=False):
    """What an append answers."""

    position: int
    """The position of the last record."""
    durability: Durability
    """What the records survive from now on."""


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A record that a sink would not take, put aside for an operator to send again or to drop."""

    position: int
    record: Record
    reason: str
    """Why, in words that hold no personal data and no token."""
    status: int | None = None
    """The HTTP status, where there is one."""
    at: datetime
    """When it was put aside."""
    requested: bool = False
    """An operator wants it to be sent again."""


class SinkState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sink has got. What was delivered follows: every position up to ``position`` is delivered, quarantined
    or dropped."""

    position: int = 0
    """Everything up to here is settled."""
    quarantined: int = 0
    """How many records are put aside, beyond ``position``, too."""
    quarantined_ahead: int = 0
    """How many of these are beyond ``position``."""
    dropped: Mapping[str, int] = {}
    """How many records up to ``position`` will not be delivered, by reason."""
    resolved_ahead: Mapping[int, str] = {}
    """Which records beyond ``position`` were taken out of quarantine, and why: ``delivered``, or the reason for which
    they are dropped. The latter are counted in ``dropped`` when the position has passed them."""

    @property
    def delivered(self) -> int:
        """How many records up to ``position`` were delivered."""
        return self.position - (self.quarantined - self.quarantined_ahead) - sum(self.dropped.values())


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a store works."""

    ok: bool
    problem: str = ""
    """What is wrong, in words without personal data."""


class Store(Protocol):
    """The append-only log of records. Promises:

    * A record's place in its session is taken once. Two writers of one session: one wins, the other gets a
      SequenceConflict and has written nothing.
    * Positions count up from 1 in the order of appending, over all sessions. A reader that goes on after a position
      misses nothing: no record ever appears at or before a position that was read. Within a session, positions grow
      with ``seq``.
    * A position is never used again. A gap means that the record there was removed, by the store's own policy or by an
      operator.
    * What a call writes is written whole or not at all. No call blocks the event loop, and any call can be cancelled.
    * After a fork, the child gets Forked from every call.

    All methods raise StoreUnavailable when the data cannot be reached, and Forked after a fork.
    """

    shared: bool = False
    """Whether other processes may append to the same data and deliver from it."""

    id: str = ""
    """Of a store that begins anew with each process, one that no other has: ids that were made for it are not made
    again for the next one. Empty, if what is stored stays."""

    linger_s: float = 0.0
    """Seconds between one read of a courier and the next, so that more comes with each: where it takes a hop to a
    thread or a server."""

    @property
    def durability(self) -> Durability:
        """What an acknowledged record survives."""
        ...

    async def open(self) -> None:
        """Make it ready, in the event loop that uses it. A second call does nothing; after ``aclose`` it opens anew."""
        return

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        """Store records of one session, all or none.

        ``records``: 1 to 256, of one session, in sequence, and following what is stored. Appending again the very
        records that are stored already succeeds and stores nothing. ``timeout_s``: seconds that the call may take.

        Raises SequenceConflict, SessionErased, StoreFull when there is no room in time, StoreUnavailable when it could
        not be written in time, or ValueError when the records are not as above; all of them have stored nothing.
        Raises AppendUnknown when the call was cut off while writing. Cancelled, it may or may not have stored them.
        """
        ...

    async def load(self, session_id: str) -> Sequence[Record]:
        """Return the records of a session, oldest first; none if there is no such session."""
        ...

    async def sessions(self, prefix: str, limit: int) -> Sequence[str]:
        """Return the ids of up to ``limit`` sessions that begin with a prefix, the greatest first, by code points.

        Those count, too, whose records were erased, or forgotten by the store's own policy, as long as their places
        are taken.
        """
        ...

    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        """Return up to ``limit`` records of all sessions whose position is greater than ``after``, in order.

        None only if there are no more. Ends before a record that cannot be read; raises CorruptRecord, with its
        position, when that would be the first one.
        """
        ...

    async def last_position(self) -> int:
        """Return the position of the newest record that can be read; 0 if there is none."""
        ...

    async def idle(self, before: datetime, limit: int, after: str | None = None) -> Sequence[str]:
        """Return the ids of up to ``limit`` sessions that have not ended and whose latest record is from before that
        time, those that were started first coming first.

        ``after``: only those that were started after that session; from the beginning, if the store does not have it.
        """
        ...

    async def erase(self, *, session_id: str | None = None, client_id: str | None = None) -> Sequence[str]:
        """Erase the personal data of one session, or of all sessions of a client. Return the ids of those sessions.

        Their records stay in their places, without everything that is personal (see :mod:`caseassist.core.erasure`).
        They take no more records. What was put aside of them is dropped, as ``erased``. Cut off, it can be repeated.
        Raises ValueError unless exactly one of the two is given.
        """
        ...

    # How far sinks have got.

    async def claim(self, sink: str) -> bool:
        """Become the one who delivers to a sink. False if somebody else is: ask again later.

        Held until :meth:`release` or :meth:`aclose`, or until the process dies. ``commit`` is for who holds it.
        """
        ...

    async def release(self, sink: str) -> None:
        """Let somebody else deliver to a sink. Does nothing if it is not claimed."""
        ...

    async def sinks(self) -> Sequence[str]:
        """Return the names of all sinks that have been here, sorted."""
        ...

    async def state(self, sink: str) -> SinkState:
        """Return how far a sink has got; the beginning for one that was never seen."""
        ...

    async def commit(
        self,
        sink: str,
        *,
        after: int,
        position: int,
        dropped: Mapping[str, int] | None = None,
        quarantined: Sequence[Quarantined] = (),
    ) -> None:
        """Remember that a sink has settled everything up to ``position``, and what was put aside and dropped.

        ``after``: the sink's position before. ``dropped``: how many records were dropped between ``after`` and
        ``position``, by reason. ``quarantined``: records that were put aside, beyond ``position``, too.
        A commit that is stored already succeeds and stores nothing, so it can be repeated.

        Raises PositionConflict when the sink stands neither at ``after`` nor at ``position``: somebody else delivers.
        """
        ...

    async def quarantined(
        self,
        sink: str,
        *,
        session_id: str | None = None,
        requested: bool = False,
        after: int = 0,
        limit: int = 1000,
    ) -> Sequence[Quarantined]:
        """Return up to ``limit`` records that were put aside for a sink and whose position is greater than ``after``,
        in order: of one session or of all, and with ``requested`` only those that an operator wants to be sent again.

        One that cannot be read any more is passed over.
        """
        ...

    async def request_resend(self, sink: str, *, session_id: str | None = None, position: int | None = None) -> int:
        """Have records sent again that were put aside for a sink: all, those of a session, or the one at a position.

        Whoever delivers to the sink does it, now or later. Returns how many records are requested by this call.
        """
        ...

    async def put_back(self, sink: str, entry: Quarantined) -> bool:
        """Replace what is kept of a record in quarantine: it was refused again.

        Returns False if it was not there, which changes nothing.
        """
        ...

    async def resolve(self, sink: str, position: int) -> bool:
        """Take a record out of a sink's quarantine: it was delivered after all.

        Returns False if it was not there, which changes nothing. Beyond the sink's position it stays known that it was
        delivered, so that it is not delivered once more after a restart.
        """
        ...

    async def drop(self, sink: str, *, session_id: str | None = None, position: int | None = None) -> int:
        """Drop records that were put aside for a sink: all, those of a session, or the one at a position.

        They are counted as dropped, as ``operator``. Returns how many there were.
        """
        ...

    def health(self) -> StoreHealth:
        """Whether the store works, as far as is known."""
        return StoreHealth(ok=True)

    async def aclose(self) -> None:
        """Release everything. A second call does nothing."""
        ...


def check_batch(records: Sequence[Record]) -> None:
    """Raise ValueError unless records can be appended in one call: 1 to 256, of one session, in sequence."""
    if len(records) == 1:
        return
    first = records[0] if records else None
    if first is None or len(records) > MAX_APPENDED:
        raise ValueError(f"1 to {MAX_APPENDED} records can be appended at once, not {len(records)}")
    for seq, record in enumerate(records, first.seq):
        if record.seq != seq or record.session_id != first.session_id:
            raise ValueError("records that are appended at once must be of one session and in sequence")
