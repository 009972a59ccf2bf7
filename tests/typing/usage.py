"""Example use, checked by mypy and pyright in strict mode, never run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import assert_type

from caseassist import (
    Case,
    CaseAssist,
    CaseAssistError,
    ClickEvent,
    Context,
    CustomEvent,
    DrainReport,
    FileSink,
    HTTPSink,
    LifeCycle,
    MemorySink,
    MemoryStore,
    Record,
    Session,
    Ticket,
    client_id_from,
)
from caseassist.core.errors import IllegalTransition, InvalidAction
from caseassist.core.events import Classification, Document, TicketFieldUpdate
from caseassist.core.records import decode, decode_lines, encode, encode_lines
from caseassist.sinks.base import Sink


class PrintSink(Sink):
    name = "print"

    async def deliver(self, records: Sequence[Record]) -> None:
        for record in records:
            assert_type(record.ticket.subject, str | None)


async def a_bot(token: str) -> None:
    async with CaseAssist(
        Context(search_hub="support-bot", language="en"),
        store=MemoryStore(max_records=1000, when_full="reject"),
        sinks=[HTTPSink.for_organization("myorg", token=token, hipaa=True), FileSink("log.jsonl"), PrintSink()],
        life_cycle=LifeCycle(),
    ) as assist:
        assert_type(assist, CaseAssist)
        case = await assist.start(
            Ticket(custom={"rewardsMember": True}), client_id=client_id_from("jo@example.com", "my-bot")
        )
        assert_type(case, Case)
        record = await case.update_field("subject", "GC110 malfunction")
        assert_type(record, Record)
        await case.offer_classifications(b"{}")
        await case.select_classification(
            "c1", response_id="r1", field_name="category", classification=Classification(value="x", confidence=0.5)
        )
        await case.offer_documents({"documents": [], "responseId": "r2"})
        await case.open_document("d1")
        await case.quickview_document(
            "d1",
            response_id="r2",
            suggestion=Document(document_title="t", document_url="u", document_position=1, source_name="s"),
        )
        await case.rate_document("d1", 0.75)
        await case.next_stage("details")
        await case.log_click(ClickEvent(action_cause="open", search_query_uid="q", source_name="s"))
        await case.log_custom(CustomEvent(event_type="chat", event_value="handover", custom_data={"queue": "billing"}))
        try:
            await case.create("5003000000D8cuI")
        except InvalidAction as error:
            assert_type(error.rule, str | None)
        except IllegalTransition as error:
            assert_type(error.state, str)
        except CaseAssistError:
            await case.quit("unload")
        report = await assist.flush(5)
        assert_type(report, DrainReport)
        assert_type(report.sinks[0].pending, int)
        assert_type(await assist.resume(case.id), Case)


def offline(lines: list[bytes]) -> None:
    records = list(decode_lines(lines))
    assert_type(records, list[Record])
    session = Session.fold(records)
    more = session.update_field("subject", "text", at=datetime.now(UTC))
    assert_type(more, tuple[Record, ...])
    session = session.apply(more[0])
    assert_type(session, Session)
    assert_type(encode(more[0]), bytes)
    assert_type(encode_lines(more), bytes)
    event = decode(lines[0]).event
    if isinstance(event, TicketFieldUpdate):
        assert_type(event.field_name, str)
    assert_type(MemorySink().records, list[Record])
