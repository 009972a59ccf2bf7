"""Lines of a script: read, played, answered."""

import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from caseassist import CaseAssist, Context, MemorySink, MemoryStore
from caseassist.core.errors import InvalidAction
from caseassist.core.machine import TABLE
from caseassist.core.records import action_name
from caseassist.script import (
    LINES,
    PROTOCOL,
    Agreement,
    Answer,
    Failure,
    Player,
    Refusal,
    answer_schema,
    read_line,
    schema,
)

CLASSIFY = {
    "fields": {"category": {"predictions": [{"id": "c1", "value": "Electrical", "confidence": 0.76}]}},
    "responseId": "r1",
}
SUGGEST = {
    "documents": [{"title": "Panel", "clickUri": "https://x/1", "fields": {"permanentid": "d1", "source": "KB"}}],
    "responseId": "r2",
}
DOCUMENT = {"documentTitle": "Other", "documentUrl": "https://x/2", "documentPosition": 1, "sourceName": "KB"}

SESSION: list[dict[str, Any]] = [
    {"do": "start", "clientId": "489aa3e3-aed2-4563-8e81-62bb73178a56", "ticket": {"custom": {"plan": "gold"}}},
    {"do": "update_field", "fieldName": "subject", "value": "It hums", "at": "2026-11-20T12:00:00+02:00"},
    {"do": "offer_classifications", "response": CLASSIFY},
    {"do": "select_classification", "classificationId": "c1", "responseId": "r1", "autoSelection": True},
    {
        "do": "select_classification",
        "classificationId": "c9",
        "responseId": "r9",
        "fieldName": "urgency",
        "classification": {"value": "High", "confidence": 0.5},
    },
    {"do": "offer_documents", "response": SUGGEST},
    {"do": "open_document", "suggestionId": "d1"},
    {"do": "quickview_document", "suggestionId": "d7", "responseId": "r7", "suggestion": DOCUMENT},
    {"do": "rate_document", "suggestionId": "d1", "rate": 0.5},
    {"do": "next_stage", "stage": "details"},
    {"do": "log_click", "event": {"actionCause": "open", "searchQueryUid": "q", "sourceName": "KB"}},
    {"do": "log_custom", "event": {"eventType": "chat", "eventValue": "handover"}},
    {"do": "take_turn", "messageId": "m1", "memory": {"step": "asking"}},
    {"do": "take_turn"},
    {"do": "create", "id": "5003000000D8cuI"},
]


def text(line: dict[str, Any], session: str = "a1") -> bytes:
    return json.dumps({"session": session} | line).encode()


async def play(*lines: bytes) -> tuple[list[Answer | Agreement | Refusal], MemorySink]:
    sink = MemorySink()
    async with CaseAssist(Context(search_hub="bot", language="en"), sinks=[sink]) as assist:
        player = Player(assist)
        answers = [await player.play(line) for line in lines]
    return answers, sink


def test_there_is_a_line_for_every_action_of_the_table() -> None:
    assert set(LINES) == {row.action for row in TABLE}


@pytest.mark.anyio
async def test_a_whole_session_is_accepted_line_by_line() -> None:
    answers, sink = await play(*(text(line) for line in SESSION))
    assert [answer.ok for answer in answers] == [True] * len(SESSION)
    assert [answer.state for answer in answers if isinstance(answer, Answer)][-1] == "created"
    # Two suggestions came whole: their offers are recorded, too.
    assert [record.seq for record in sink.records] == list(range(len(SESSION) + 2))
    ticket = sink.records[-1].ticket
    assert (ticket.subject, ticket.category, ticket.custom) == (
        "It hums",
        "Electrical",
        {"plan": "gold", "urgency": "High"},
    )
    assert sink.records[1].time.isoformat() == "2026-11-20T10:00:00+00:00"


@pytest.mark.anyio
@pytest.mark.parametrize("end", [{"do": "solve"}, {"do": "quit"}, {"do": "quit", "cause": "unload"}])
async def test_other_ends(end: dict[str, Any]) -> None:
    answers, _ = await play(text({"do": "start"}), text(end))
    assert [answer.ok for answer in answers] == [True, True]


@pytest.mark.anyio
async def test_a_refused_line_is_answered_and_the_rest_goes_on() -> None:
    answers, sink = await play(
        text({"do": "start"}),
        b"nonsense",
        b"",
        b'{"session": "a1", "do": "dance"}',
        text({"do": "rate_document", "suggestionId": "d1", "rate": 7}),
        text({"do": "solve"}, session="zz"),
        text({"do": "start"}),
        text({"do": "open_document", "suggestionId": "d1"}),
        text({"do": "solve", "cause": "user"}),
        text({"do": "solve"}),
        text({"do": "solve"}),
    )
    assert [answer.ok for answer in answers] == [True, *[False] * 8, True, False]
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    assert [refusal.line for refusal in refusals] == [2, 3, 4, 5, 6, 7, 8, 9, 11]
    assert [refusal.session for refusal in refusals] == [None, None, "a1", "a1", "zz", "a1", "a1", "a1", "a1"]
    assert [refusal.error.type for refusal in refusals] == [
        "InvalidAction",
        "InvalidAction",
        "InvalidAction",
        "InvalidAction",
        "UnknownSession",
        "IllegalTransition",
        "IllegalTransition",
        "InvalidAction",
        "IllegalTransition",
    ]
    assert refusals[3].error.rule == "CA-041"
    assert refusals[3].error.path == "$.rate"
    assert refusals[6].error.allowed is not None
    assert "update_field" in refusals[6].error.allowed
    assert refusals[8].error.allowed == ()
    assert len(sink.records) == 2


@pytest.mark.anyio
async def test_an_answer_of_the_service_may_have_as_many_members_as_it_likes() -> None:
    fields = {f"field{number}": number for number in range(3000)} | {"permanentid": "d1", "source": "KB"}
    answer = {"documents": [{"title": "T", "clickUri": "u", "fields": fields}], "responseId": "r"}
    answers, _ = await play(text({"do": "start"}), text({"do": "offer_documents", "response": answer}))
    assert [answer.ok for answer in answers] == [True, True]


@pytest.mark.anyio
async def test_a_message_that_repeats_is_refused_and_nothing_is_recorded() -> None:
    turn = text({"do": "take_turn", "messageId": "m1", "memory": {"step": "asking"}})
    answers, sink = await play(
        text({"do": "start"}), turn, text({"do": "take_turn", "messageId": "m1"}), text({"do": "take_turn"}), turn
    )
    assert [answer.ok for answer in answers] == [True, True, False, True, False]
    for refusal in (answers[2], answers[4]):
        assert isinstance(refusal, Refusal)
        assert (refusal.error.type, refusal.error.path) == ("RepeatedMessage", "$.messageId")
    assert [action_name(record.event) for record in sink.records] == ["ticket_create_start", "turn_taken", "turn_taken"]


@pytest.mark.anyio
async def test_a_session_of_the_store_goes_on() -> None:
    store = MemoryStore()
    async with CaseAssist(store=store) as assist:
        await Player(assist).play(text({"do": "start"}))
        answer = await Player(assist).play(text({"do": "update_field", "fieldName": "subject", "value": "x"}))
    assert isinstance(answer, Answer)
    assert (answer.seq, answer.state) == (1, "filling")


@pytest.mark.anyio
async def test_a_message_that_repeats_is_refused_by_another_player_too() -> None:
    store = MemoryStore()
    turn = text({"do": "take_turn", "messageId": "m1"})
    async with CaseAssist(store=store) as assist:
        for line in (text({"do": "start"}), turn):
            assert (await Player(assist).play(line)).ok
        answer = await Player(assist).play(turn)
        assert isinstance(answer, Refusal)
        assert answer.error.type == "RepeatedMessage"
        assert len(await assist.load("a1")) == 2


def test_a_line_is_read_with_its_types() -> None:
    line = read_line(text({"do": "rate_document", "suggestionId": "d1", "rate": 1}))
    assert type(line) is LINES["rate_document"]
    with pytest.raises(InvalidAction, match=r"\$\.do: expected one of start, update_field"):
        read_line(b'{"session": "a1"}')


@pytest.mark.parametrize("line", SESSION, ids=lambda line: str(line["do"]))
def test_the_schema_takes_what_is_taken(line: dict[str, Any]) -> None:
    Draft202012Validator(schema()).validate({"session": "a1"} | line)


def test_the_schema_refuses_what_is_refused() -> None:
    validator = Draft202012Validator(schema())
    for line in ({"do": "dance"}, {"do": "rate_document", "suggestionId": "d1", "rate": 7}, {"do": "solve", "x": 1}):
        assert not validator.is_valid({"session": "a1"} | line)


@pytest.mark.anyio
async def test_a_version_can_be_asked_for_and_tells_what_can_be_done() -> None:
    (answer, *_), sink = await play(b'{"protocol": 1}', text({"do": "start"}))
    assert isinstance(answer, Agreement)
    assert (answer.protocol, answer.actions) == (PROTOCOL, tuple(LINES))
    assert answer.caseassist
    assert len(sink.records) == 1


@pytest.mark.anyio
async def test_what_follows_a_version_that_is_refused_is_refused_until_one_is_accepted() -> None:
    answers, sink = await play(
        b'{"protocol": 99}', text({"do": "start"}), b'{"protocol": "1"}', b'{"protocol": 1}', text({"do": "start"})
    )
    assert [answer.ok for answer in answers] == [False, False, False, True, True]
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    assert [refusal.error.type for refusal in refusals] == ["UnsupportedProtocol"] * 2 + ["InvalidAction"]
    assert [refusal.session for refusal in refusals] == [None, "a1", None]
    assert [refusal.line for refusal in refusals] == [1, 2, 3]
    assert len(sink.records) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("line", [b'{"protocol": 1, "x": 1}', b'{"protocol": 1, "do": "start", "session": "a1"}'])
async def test_a_version_stands_alone_on_its_line(line: bytes) -> None:
    (answer,), _ = await play(line)
    assert isinstance(answer, Refusal)
    assert answer.error.type == "InvalidAction"


def test_the_schema_of_answers_is_one() -> None:
    Draft202012Validator.check_schema(answer_schema())
    Draft202012Validator.check_schema(schema())
    Draft202012Validator(schema()).validate({"protocol": 1})
    assert "UnknownEvent" not in json.dumps(answer_schema())


@pytest.mark.anyio
async def test_the_schema_takes_every_answer_and_members_that_come_later() -> None:
    validator = Draft202012Validator(answer_schema())
    lines = [b'{"protocol": 1}', *map(text, SESSION), text({"do": "solve"}), b"", b'{"protocol": 2}']
    answers, _ = await play(*lines)
    assert {type(answer) for answer in answers} == {Answer, Agreement, Refusal}
    for answer in msgspec.json.decode(msgspec.json.encode(answers)):
        validator.validate(answer)
        validator.validate(answer | {"later": 1})
        assert not validator.is_valid(answer | {"ok": not answer["ok"]})
        del answer["ok"]
        assert not validator.is_valid(answer)


def test_answers_have_the_documented_members() -> None:
    refusal = Refusal(session="a1", line=3, error=Failure(type="T", message="m"))
    assert msgspec.to_builtins(refusal) == {
        "ok": False,
        "session": "a1",
        "line": 3,
        "error": {"type": "T", "message": "m"},
    }
