"""Log Coveo Case Assist sessions: a typed, validated, event-sourced state machine with async delivery."""

from caseassist.core.errors import CaseAssistError
from caseassist.core.events import ClickEvent, Context, CustomEvent, Ticket
from caseassist.core.identity import client_id_from
from caseassist.core.machine import LifeCycle
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.delivery import DrainReport
from caseassist.live import Case, CaseAssist
from caseassist.sinks.file import FileSink
from caseassist.sinks.http import HTTPSink
from caseassist.sinks.memory import MemorySink
from caseassist.stores.memory import MemoryStore

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
    "Session",
    "Ticket",
    "client_id_from",
]
