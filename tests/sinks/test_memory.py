"""The sinks that reach nothing outside."""

from caseassist.core.records import Record
from caseassist.sinks.memory import MemorySink, NullSink


async def test_the_memory_sink_keeps_what_it_gets_in_order(records: list[Record]) -> None:
    sink = MemorySink()
    await sink.open()
    await sink.deliver(records[:3])
    await sink.deliver(records[3:])
    await sink.aclose()
    assert sink.records == records
    assert sink.name == "memory"


async def test_the_null_sink_takes_everything(records: list[Record]) -> None:
    sink = NullSink(name="nowhere")
    await sink.open()
    await sink.deliver(records)
    await sink.aclose()
    assert sink.name == "nowhere"
