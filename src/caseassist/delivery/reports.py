"""What couriers tell: what has become of the records, and whether delivery goes well."""

from collections import Counter
from collections.abc import Mapping
from typing import Self

import msgspec

from caseassist.stores.base import SinkState, StoreHealth

__all__ = ["DrainReport", "Health", "Progress", "SinkHealth"]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of the records for one sink, since the store began.

    ``accepted == delivered + pending + quarantined + sum of dropped``, at any moment and after a restart.
    """

    sink: str
    accepted: int
    delivered: int
    """The sink took them."""
    pending: int
    """Still to be delivered."""
    quarantined: int = 0
    """The sink refused them; they are put aside for an operator."""
    dropped: Mapping[str, int] = {}
    """Will not be delivered, by reason: ``operator`` dropped them, the person was ``erased``, they are ``corrupt``, or
    the store has them no more (``removed``: dropped when it was full, or pruned)."""

    @classmethod
    def of(
        cls,
        sink: str,
        state: SinkState,
        accepted: int,
        *,
        delivered: int = 0,
        aside: int = 0,
        dropped: Mapping[str, int] | None = None,
    ) -> Self:
        """Make the counts of what the store knows and, on top of that, what it does not know yet."""
        resolved = Counter(state.resolved_ahead.values())
        delivered += state.delivered + resolved.pop("delivered", 0)
        quarantined = state.quarantined + aside
        total = Counter(state.dropped) + resolved + Counter(dropped or {})
        return cls(
            sink=sink,
            accepted=accepted,
            delivered=delivered,
            pending=accepted - delivered - quarantined - total.total(),
            quarantined=quarantined,
            dropped=dict(total),
        )


class DrainReport(msgspec.Struct, frozen=True):
    """What a flush or a close has come to, sink by sink."""

    sinks: tuple[Progress, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be delivered."""
        return all(sink.pending == 0 for sink in self.sinks)


class SinkHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Whether delivery to one sink goes well."""

    sink: str
    ok: bool
    problem: str = ""
    """What is wrong, or was at the last try."""
    pending: int
    quarantined: int
    stalled_s: float
    """Seconds since anything was settled, while there is something to do; otherwise 0."""
    standby: bool
    """Somebody else delivers to this sink, and we take over when they stop."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether records can be kept and are delivered."""

    store: StoreHealth
    sinks: tuple[SinkHealth, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything is."""
        return self.store.ok and all(sink.ok for sink in self.sinks)
