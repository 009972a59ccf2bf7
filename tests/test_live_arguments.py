"""What a CaseAssist, a flush, a start and an organization's sink are given is looked at before anything is done."""

import math
from typing import Any
from uuid import uuid4

import pytest

from caseassist import CaseAssist, HTTPSink, MemorySink, MemoryStore, SQLiteStore


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"store": "cases.db"}, "store is a str: pass a store, such as SQLiteStore"),
        ({"store": SQLiteStore}, "store is the class SQLiteStore: make one of it"),
        ({"store": MemorySink()}, "store is a MemorySink: pass a store"),
        ({"sinks": ["null:"]}, r"sinks\[0\] is a str: pass a sink"),
        ({"sinks": "null:"}, "sinks is a str: pass a list of sinks"),
        ({"sinks": MemorySink()}, "sinks is a MemorySink: pass a list of sinks"),
        ({"sinks": MemorySink}, "sinks is a MemorySink: pass a list of sinks"),
        ({"sinks": None}, "sinks is a NoneType: pass a list of sinks"),
        ({"sinks": [MemorySink(), MemorySink]}, r"sinks\[1\] is the class MemorySink: make one of it"),
        ({"sinks": [MemoryStore()]}, r"sinks\[0\] is a MemoryStore: pass a sink"),
    ],
)
def test_what_is_no_store_or_no_sink_is_said_at_once(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        CaseAssist(**arguments)


@pytest.mark.parametrize("value", [math.nan, -1, -math.inf, "5", None, True])
@pytest.mark.parametrize("name", ["append_timeout_s", "drain_timeout_s"])
def test_a_timeout_is_a_number_of_seconds(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number of seconds"):
        CaseAssist(**{name: value})


@pytest.mark.parametrize("value", [math.nan, -0.1, "5", None])
async def test_a_flush_takes_a_number_of_seconds(value: Any) -> None:
    async with CaseAssist() as assist:
        with pytest.raises(ValueError, match="timeout_s must be a number of seconds"):
            await assist.flush(value)


async def test_timeouts_can_be_none_at_all_or_endless_and_sinks_any_iterable() -> None:
    sink = MemorySink()
    async with CaseAssist(sinks=(each for each in [sink]), drain_timeout_s=math.inf, append_timeout_s=0) as assist:  # type: ignore[arg-type]
        await assist.start()
        assert (await assist.flush(math.inf)).complete
    assert len(sink.records) == 1


async def test_a_client_id_can_be_a_uuid() -> None:
    client_id = uuid4()
    async with CaseAssist() as assist:
        case = await assist.start(client_id=client_id)
    assert case.session.context.client_id == str(client_id)


def test_an_organization_takes_nothing_without_a_token() -> None:
    with pytest.raises(ValueError, match="without a token"):
        HTTPSink.for_organization("myorg", token=None)  # type: ignore[arg-type]
