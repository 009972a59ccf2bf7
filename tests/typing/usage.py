"""Example use, checked by mypy and pyright in strict mode, never run."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, assert_type

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
    SQLiteStore,
    Ticket,
    client_id_from,
)
from caseassist.core.errors import IllegalTransition, InvalidAction, RepeatedMessage, SequenceConflict
from caseassist.core.events import Classification, Document, TicketFieldUpdate
from caseassist.core.records import decode, decode_lines, encode, encode_lines
from caseassist.delivery.reports import Health
from caseassist.sinks.base import Sink
from caseassist.sinks.redacting import RedactingSink, ticket_members
from caseassist.stores.base import Durability, Quarantined
from caseassist.testing import check_sink, check_store
from caseassist.wire.secret import Secret


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
            assert_type(await case.take_turn("m1", {"step": "asking"}), Record)
        except RepeatedMessage as repeated:
            assert_type(repeated.message_id, str)
        assert_type(case.session.memory, Mapping[str, Any] | None)
        assert_type(case.session.message_ids, tuple[str, ...])
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


async def ask_the_vault() -> Secret:
    return Secret("xx-token")


async def many_workers(session_id: str) -> None:
    redacted = RedactingSink(
        HTTPSink("https://host", token=ask_the_vault, on_refused="hold"), ticket_members("description")
    )
    async with CaseAssist(store=SQLiteStore("cases.db", durability="os", max_bytes=2**30), sinks=[redacted]) as assist:
        case = await assist.resume(session_id)
        try:
            await case.solve()
        except SequenceConflict as conflict:
            assert_type(conflict.found, int)
        assert_type(await assist.expire(), list[str])
        assert_type(await assist.quarantined(redacted.name), Sequence[Quarantined])
        assert_type(await assist.resend(redacted.name, session_id=case.id), int)
        assert_type(await assist.drop(redacted.name, position=7), int)
        assert_type(await assist.erase(client_id="489aa3e3-aed2-4563-8e81-62bb73178a56"), Sequence[str])
        health = assist.health()
        assert_type(health, Health)
        assert_type(health.ok, bool)
        ack = await assist.append(case.session.update_field("subject", "x", at=datetime.now(UTC)))
        assert_type(ack.durability, Durability)


async def check_my_own() -> None:
    await check_store(MemoryStore)
    await check_sink(MemorySink)


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
