"""The watchers see what they are for."""

import logging
import subprocess
import sys

import pytest
from tests import canaries
from tests.canaries import TEXT, TOKEN
from tests.fakes import AT, records_of

from caseassist.core.errors import InvalidAction, SinkUnavailable
from caseassist.core.records import encode
from caseassist.stores.base import Quarantined
from caseassist.stores.memory import MemoryStore
from caseassist.wire.http import TransportError


def seen() -> str:
    """What was found so far, which is then forgotten."""
    (found,) = canaries.found
    canaries.found.clear()
    return found


def test_in_a_log_of_any_level() -> None:
    logging.getLogger("caseassist").debug("sent %s", TOKEN)
    assert seen().startswith("log of caseassist")


def test_in_a_traceback_that_is_logged() -> None:
    logging.getLogger("caseassist").error("oops", exc_info=ValueError(TEXT))
    assert seen().startswith("log of caseassist")


@pytest.mark.parametrize(
    "make", [InvalidAction, SinkUnavailable, lambda text: TransportError("tls", text, maybe_sent=True)]
)
def test_in_an_error(make: type[Exception]) -> None:
    make(TEXT)
    assert TEXT in seen()


async def test_in_the_reason_of_a_quarantine() -> None:
    store, (record,) = MemoryStore(), records_of("a", 1)
    await store.append([record], timeout_s=0)
    entry = Quarantined(position=1, record=record, reason=TEXT, at=AT)
    await store.commit("sink", after=0, position=1, quarantined=[entry])
    assert seen().startswith("reason in quarantine")
    await store.put_back("sink", entry)
    assert seen().startswith("reason in quarantine")


def test_in_the_arguments_of_a_program() -> None:
    subprocess.run([sys.executable, "-c", "pass", "caseassist", TOKEN], check=True)
    assert seen().startswith("arguments of a program")


def test_personal_data_in_the_tests_is_canaries() -> None:
    assert TEXT in encode(records_of("a", 2)[1]).decode()
