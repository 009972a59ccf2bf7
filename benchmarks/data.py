"""The one source of data for all benchmarks: whole sessions of ten actions, as bots have them."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeAlias

import msgspec

from caseassist.core.events import Context, Ticket
from caseassist.core.machine import LIFE_CYCLE, LifeCycle
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.core.suggestions import read_classifications, read_documents

NOON = datetime(2026, 11, 20, 12, 0, 0, 123000, tzinfo=UTC)

CONTEXT = Context(client_id="489aa3e3-aed2-4563-8e81-62bb73178a56", search_hub="support-bot", language="en")
TICKET = Ticket(custom={"visitorAge": 18, "rewardsMember": True})

# The answers of the Customer Service API, as they come.
CLASSIFICATIONS_JSON = msgspec.json.encode(
    {
        "fields": {
            "category": {
                "predictions": [
                    {"id": "d8cn3d8-d9n3-s7cb-4knd-d9cnal3njd8c", "value": "Electrical", "confidence": 0.76},
                    {"id": "e1cn3d8-d9n3-s7cb-4knd-d9cnal3njd8d", "value": "Mechanical", "confidence": 0.2},
                ]
            }
        },
        "responseId": "123e4567-e89b-12d3-a456-426614174000",
    }
)
DOCUMENTS_JSON = msgspec.json.encode(
    {
        "documents": [
            {
                "title": f"Generator guide {number}",
                "clickUri": f"https://support.example.com/guide/{number}",
                "fields": {
                    "permanentid": f"0064770b2e4788f42dfd277b384c6e24cef82b0{number}",
                    "source": "Knowledge base",
                    "uri": f"https://support.example.com/guide/{number}",
                },
            }
            for number in range(5)
        ],
        "responseId": "df60b2fb-c276-49ae-b704-2ee45609f3a6",
    }
)
CLASSIFICATIONS = read_classifications(CLASSIFICATIONS_JSON)
DOCUMENTS = read_documents(DOCUMENTS_JSON)

Actions: TypeAlias = tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...]

# Ten actions: what the deciding method is called, and with what.
ACTIONS: Actions = (
    ("start", (TICKET, CONTEXT), {}),
    ("update_field", ("subject", "GC110 malfunction"), {}),
    ("update_field", ("description", "My GC110 electrical panel is cutting off intermittently"), {}),
    ("offer_classifications", (CLASSIFICATIONS,), {}),
    ("select_classification", ("d8cn3d8-d9n3-s7cb-4knd-d9cnal3njd8c",), {}),
    ("next_stage", (), {}),
    ("offer_documents", (DOCUMENTS,), {}),
    ("open_document", ("0064770b2e4788f42dfd277b384c6e24cef82b01",), {}),
    ("rate_document", ("0064770b2e4788f42dfd277b384c6e24cef82b01", 0.75), {}),
    ("create", ("5003000000D8cuI",), {}),
)

TIMES = tuple(NOON + timedelta(seconds=7 * number) for number, _ in enumerate(ACTIONS, 1))

_ANSWERS = {"offer_classifications": CLASSIFICATIONS_JSON, "offer_documents": DOCUMENTS_JSON}
ACTIONS_JSON: Actions = tuple(
    (name, (_ANSWERS[name],) if name in _ANSWERS else args, options) for name, args, options in ACTIONS
)
"""The same with the answers that make offers as bytes: to be read and checked."""

_ids = count()


def next_id() -> str:
    """An id that no session of this process has yet."""
    return f"session-{next(_ids)}"


def play(life_cycle: LifeCycle = LIFE_CYCLE, actions: Actions = ACTIONS) -> list[Record]:
    """Play one session of ten actions, deciding and folding, and return its ten records."""
    session = Session(id=next_id(), life_cycle=life_cycle)
    log: list[Record] = []
    for (name, args, options), at in zip(actions, TIMES, strict=True):
        records = getattr(session, name)(*args, at=at, **options)
        for record in records:
            session = session.apply(record)
        log.extend(records)
    return log


def sessions(number: int) -> list[Record]:
    """The records of so many sessions."""
    return [record for _ in range(number) for record in play()]
