"""Whatever people write, and whenever services fail: the conversation goes on, and its log is right."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caseassist.conversation.conversation import Classify, Conversation, FileTicket, Need, SuggestDocuments, Turn
from caseassist.conversation.dialogue import Dialogue, Field, Stage
from caseassist.conversation.memory import Memory
from caseassist.conversation.steps import STEPS, WAITING
from caseassist.core.errors import NoSuggestions, ServiceError, TicketNotCreated
from caseassist.core.events import Context
from caseassist.core.identity import client_id_from
from caseassist.core.records import Record, action_name, decode, encode
from caseassist.core.session import Session
from caseassist.core.suggestions import read_classifications, read_documents

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

DIALOGUES = (
    Dialogue(),
    Dialogue(
        stages=(
            Stage(
                name="all",
                classify=True,
                documents=True,
                fields=(
                    Field(name="description"),
                    Field(name="category", values=("Electrical", "Mechanical", "Other")),
                    Field(name="urgency", required=False),
                    Field(name="productId"),
                ),
            ),
            Stage(name="more", documents=True, fields=(Field(name="serial number", required=False),)),
        ),
        auto_select_from=0.5,
        proposals=1,
        documents=2,
        language="de",
    ),
    Dialogue(stages=(Stage(name="only"),), auto_select_from=2),
    Dialogue(
        stages=(Stage(name="a", documents=True), Stage(name="b", classify=True, fields=(Field(name="category"),)))
    ),
)

FAILURES = (
    NoSuggestions("down"),
    TicketNotCreated("down"),
    TicketNotCreated("?", maybe_created=True),
    ServiceError("odd"),
)

TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=st.characters(exclude_categories=())),  # halves of surrogate pairs, too
    st.sampled_from(["", " ", "1", "2", "3", "9", "no", "yes", "none", "leave", "oui", "nein", "Electrical", "hello",
                     "\u0661", "²", "\x00", "{ticket}", "file", "skip", "back", "fixed",
                     "no thanks", "change description", "🙂" * 30, "x" * 70_000, "a\nb"]),
)  # fmt: skip


@st.composite
def classifications(draw: st.DrawFn) -> Any:
    names = st.sampled_from(["category", "urgency", "productId", "serial number", "unheard of", "subject"])
    proposal = st.fixed_dictionaries(
        {
            "id": st.sampled_from("abcde"),
            "value": st.sampled_from(["Electrical", "Mechanical", "Strange", "é"]),
            "confidence": st.floats(0, 1),
        }
    )
    fields = draw(st.dictionaries(names, st.builds(lambda p: {"predictions": p}, st.lists(proposal, max_size=4))))
    return {"responseId": draw(st.sampled_from(["r1", "r2", "r3"])), "fields": fields}


@st.composite
def documents(draw: st.DrawFn) -> Any:
    document = st.fixed_dictionaries(
        {
            "title": st.sampled_from(["One", "{two}", "Drei “3”"]),
            "clickUri": st.sampled_from(["https://a.example/1", "https://a.example/2"]),
            "excerpt": st.none() | st.text(max_size=5),
            "fields": st.fixed_dictionaries({"permanentid": st.sampled_from("pqrs"), "source": st.just("Docs")}),
        }
    )
    return {
        "responseId": draw(st.sampled_from(["s1", "s2", "s3"])),
        "documents": draw(st.lists(document, max_size=4)),
    }


def an_answer(data: st.DataObject, need: Need) -> Any:
    if data.draw(st.integers(0, 3)) == 0:
        return data.draw(st.sampled_from(FAILURES))
    match need:
        case Classify():
            return read_classifications(data.draw(classifications()))
        case SuggestDocuments():
            return read_documents(data.draw(documents()))
        case FileTicket():
            return data.draw(st.sampled_from(["T-1", "", "\n", "x" * 2000]))


def check(turn: Turn, log: list[Record]) -> Conversation:
    """What holds after every turn."""
    conversation = turn.conversation
    log += turn.records
    stored = [decode(encode(record)) for record in log]
    session = Session.fold(stored)  # every step was legal, and survives being written down
    again = Conversation(conversation.dialogue, session)
    assert again.session == conversation.session
    assert again.prompt == conversation.prompt, "the prompt is the same in every process"
    assert again.need == conversation.need
    prompt = conversation.prompt
    assert prompt.step == conversation.step in STEPS
    assert prompt.text
    ways = {choice.id for choice in prompt.choices} - {"leave"}
    assert ways or prompt.takes_text or conversation.need, "there is a way on"
    assert len({choice.id for choice in prompt.choices}) == len(prompt.choices)
    assert all(choice.label for choice in prompt.choices)
    assert conversation.ended == prompt.ended == (not session.active)
    assert (conversation.need is not None) == (conversation.step in WAITING)
    assert all(len(notice) < 60 for notice in (session.memory or {}).get("notices", ()))
    if "change:description" in ways:
        check_going_back(conversation)
    return conversation


def check_going_back(conversation: Conversation) -> None:
    """Who wants to change the description and keeps it has changed nothing."""
    if conversation.session.ticket.description is None:
        return
    changing = conversation.reply(choice="change:description", at=NOW)
    back = changing.conversation.reply(choice="back:description", at=NOW)
    assert [action_name(record.event) for record in (*changing.records, *back.records)] == ["turn_taken"] * 2
    assert back.conversation.memory == msgspec.structs.replace(conversation.memory, notices=())
    assert back.conversation.session.ticket == conversation.session.ticket
    assert back.conversation.prompt.choices == conversation.prompt.choices


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(data=st.data(), dialogue=st.sampled_from(DIALOGUES), language=st.sampled_from(["en", "fr", "de", "ja"]))
def test_a_conversation_goes_on_whatever_happens(data: st.DataObject, dialogue: Dialogue, language: str) -> None:
    log: list[Record] = []
    context = Context(client_id=client_id_from("jo", "bot"), search_hub="hub", language=language)
    first = data.draw(st.none() | TEXTS)
    conversation = check(Conversation(dialogue, Session(id="c1")).start(first, context=context, at=NOW), log)
    for number in range(data.draw(st.integers(0, 25))):
        before = len(log)
        need = conversation.need
        if need is not None and data.draw(st.integers(0, 4)):
            turn = conversation.answer(need, an_answer(data, need), at=NOW)
            assert turn.records
        else:
            ids = [choice.id for choice in conversation.prompt.choices]
            choice = (
                data.draw(st.sampled_from([*ids, "open:9.9", "category:7", "", "\n"]))
                if data.draw(st.booleans())
                else None
            )
            text = None if choice is not None else data.draw(TEXTS)
            turn = conversation.reply(text, choice=choice, message_id=f"m{number}", at=NOW)
            assert bool(turn.records) == (not conversation.ended)
            again = turn.conversation.reply(text, choice=choice, message_id=f"m{number}", at=NOW)
            assert again.records == ()
            assert again.repeated == (not conversation.ended)
            assert again.conversation.session == turn.conversation.session
        conversation = check(turn, log)
        if need is not None and len(log) > before and conversation.need != need:
            late = conversation.answer(need, NoSuggestions("late"), at=NOW)
            assert late.late
            assert late.records == ()


@settings(max_examples=200, deadline=None)
@given(
    memory=st.dictionaries(
        st.sampled_from([*Memory.__struct_encode_fields__, "other"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-3, 9),
            st.sampled_from([*STEPS, "nowhere"]),
            st.lists(st.text(max_size=3)),
        ),
    )
)
def test_what_another_conversation_left_behind_is_no_dead_end(memory: dict[str, Any]) -> None:
    session = Session(id="c1")
    context = Context(client_id=client_id_from("jo", "bot"), search_hub="hub", language="en")
    session = Session.fold(session.start(context=context, at=NOW), session)
    session = Session.fold(session.take_turn("m1", memory, at=NOW), session)
    conversation = Conversation(Dialogue(), session)
    assert conversation.prompt.text
    for reply in ("It is broken", "1", "2", "leave"):
        while (need := conversation.need) is not None:
            conversation = conversation.answer(need, NoSuggestions("down"), at=NOW).conversation
        conversation = conversation.reply(reply, at=NOW).conversation
    assert conversation.ended
    assert msgspec.json.encode(conversation.prompt)
