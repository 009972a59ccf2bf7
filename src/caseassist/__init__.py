"""Log Coveo Case Assist sessions: a typed, validated, event-sourced state machine with async delivery."""

from typing import TYPE_CHECKING, Any

from caseassist.core.errors import CaseAssistError
from caseassist.core.events import ClickEvent, Context, CustomEvent, Ticket
from caseassist.core.identity import client_id_from
from caseassist.core.machine import LifeCycle
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.delivery.reports import DrainReport
from caseassist.live import Case, CaseAssist
from caseassist.sinks.memory import MemorySink
from caseassist.stores.memory import MemoryStore

if TYPE_CHECKING:
    from caseassist.sinks.file import FileSink
    from caseassist.sinks.http import HTTPSink
    from caseassist.stores.sqlite import SQLiteStore

__all__ = [
    "Case",
    "CaseAssist",
    "CaseAssistError",
    "ClickEvent",
    "Context",
    "CustomEvent",
    "DrainReport",
    "FileSink",
    "HTTPSink",
    "LifeCycle",
    "MemorySink",
    "MemoryStore",
    "Record",
    "SQLiteStore",
    "Session",
    "Ticket",
    "client_id_from",
]


def __getattr__(name: str) -> Any:
    """Three names come when they are asked for: importing them takes a third of the time that all take."""
    if name == "FileSink":
        from caseassist.sinks.file import FileSink

        return FileSink
    if name == "HTTPSink":
        from caseassist.sinks.http import HTTPSink

        return HTTPSink
    if name == "SQLiteStore":
        from caseassist.stores.sqlite import SQLiteStore

        return SQLiteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
