"""The sinks that reach nothing outside: one keeps what it gets, for tests and demos; one throws it away."""

from collections.abc import Sequence

from caseassist.core.records import Record
from caseassist.sinks.base import Sink

__all__ = ["MemorySink", "NullSink"]


class MemorySink(Sink):
    """Keeps what was delivered in ``records``, in the order of delivery. It grows without bound."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.records: list[Record] = []

    async def deliver(self, records: Sequence[Record]) -> None:
        self.records.extend(records)


class NullSink(Sink):
    """Takes everything and keeps nothing: to measure what comes before it."""

    def __init__(self, name: str = "null") -> None:
        self.name = name

    async def deliver(self, records: Sequence[Record]) -> None:
        """Throw the records away."""
