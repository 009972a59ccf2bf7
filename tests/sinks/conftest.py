"""Records to deliver."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from caseassist.core.records import Record
from caseassist.core.session import Session

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"


def make_records(amount: int, session_id: str = "a1") -> list[Record]:
    session = Session(id=session_id)
    records: list[Record] = []
    for n in range(amount):
        at = AT + timedelta(seconds=n)
        if n == 0:
            taken = session.start(context={"clientId": CLIENT_ID, "searchHub": "support-bot"}, at=at)
        else:
            taken = session.update_field("subject", f"Störung № {n} \N{SNOWMAN} \N{PILE OF POO}\n\u2028", at=at)
        for record in taken:
            session = session.apply(record)
            records.append(record)
    return records


@pytest.fixture(scope="session")
def made() -> Callable[..., list[Record]]:
    """``made(amount, session_id="a1")``: the records of one session."""
    return make_records


@pytest.fixture(scope="session")
def records() -> list[Record]:
    return make_records(8)
