"""The sink in memory: for tests and demos."""

from collections.abc import Sequence

from caseassist.core.records import Record
from caseassist.sinks.base import Sink

__all__ = ["MemorySink"]


class MemorySink(Sink):
    """Keeps what was delivered in ``records``, in the order of delivery. It grows without bound."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.records: list[Record] = []

    async def deliver(self, records: Sequence[Record]) -> None:
        self.records.extend(records)
