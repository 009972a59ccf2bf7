"""The typed events, the ticket and the context: names, tags, and what they show."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from tests import strategies
from tests.core.life_cycle import EVENTS

from caseassist.core import events
from caseassist.core.events import (
    AnyEvent,
    ClickEvent,
    Context,
    CustomEvent,
    Event,
    Ticket,
    TicketFieldUpdate,
    UnknownEvent,
    WebEvent,
)

CLASSES: tuple[type[Event], ...] = get_args(AnyEvent)
DOCUMENTED = [cls for cls in CLASSES if cls.__struct_config__.tag not in
              {"classifications_offered", "documents_offered", "turn_taken", "click", "custom", "unknown"}]  # fmt: skip


def test_any_event_is_any_of_the_events() -> None:
    public = (getattr(events, name) for name in events.__all__)
    kinds = {value for value in public if isinstance(value, type) and issubclass(value, Event)}
    assert set(CLASSES) == kinds - {Event, WebEvent}


def test_tags_are_the_documented_names_and_each_means_one_event() -> None:
    tags = {cls.__struct_config__.tag for cls in CLASSES}
    assert len(tags) == len(CLASSES)
    assert tags == {tag for _, tag, _ in EVENTS.values()} | {"suggestion_click", "unknown"}
    assert {cls.__struct_config__.tag_field for cls in CLASSES} == {"action"}


@pytest.mark.parametrize("cls", DOCUMENTED)
def test_classes_bear_the_documented_names_in_camel_case(cls: type[Event]) -> None:
    tag = str(cls.__struct_config__.tag)
    assert cls.__name__ == "".join(part[:1].upper() + part[1:] for part in tag.split("_"))


@pytest.mark.parametrize("cls", [*CLASSES, Ticket, Context])
def test_values_are_frozen_strict_and_written_in_camel_case(cls: type[msgspec.Struct]) -> None:
    config = cls.__struct_config__
    assert config.frozen
    assert config.forbid_unknown_fields
    assert config.omit_defaults
    for name, written in zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True):
        assert written == msgspec.structs.fields(cls)[cls.__struct_fields__.index(name)].encode_name
        assert "_" not in written


@pytest.mark.parametrize("cls", CLASSES)
def test_every_event_is_described(cls: type[Event]) -> None:
    assert cls.__doc__


PERSONAL: list[Any] = [
    Ticket(subject="CANARY-7431", custom={"CANARY-7431": 1}),
    Context(username="CANARY-7431", anonymous=False),
    ClickEvent(action_cause="CANARY-7431", search_query_uid="q", source_name="s"),
    CustomEvent(event_type="CANARY-7431", event_value="v", custom_data={"CANARY-7431": "x"}),
]


@pytest.mark.parametrize("value", PERSONAL)
def test_what_may_be_personal_does_not_show(value: Any) -> None:
    assert "CANARY" not in f"{value!r} {value}"
    assert repr(value).startswith(f"{type(value).__name__}(")


def test_a_representation_names_the_members_that_are_set() -> None:
    assert repr(Ticket()) == "Ticket()"
    assert repr(Ticket(subject="x", product_id="")) == "Ticket(subject=…, product_id=…)"


def test_an_event_with_nothing_personal_shows() -> None:
    assert repr(TicketFieldUpdate(field_name="subject")) == "TicketFieldUpdate(field_name='subject')"
    assert repr(UnknownEvent(name="x")) == "UnknownEvent(name='x')"


@given(event=strategies.event())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_an_event_is_the_same_after_being_written_and_read(event: AnyEvent) -> None:
    written = msgspec.json.encode(event)
    assert msgspec.json.decode(written, type=AnyEvent) == event
    assert msgspec.json.encode(msgspec.json.decode(written, type=AnyEvent)) == written
    assert msgspec.json.decode(written)["action"] == type(event).__struct_config__.tag


@given(ticket=strategies.ticket(with_id=True), context=strategies.context())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_tickets_and_contexts_are_the_same_after_being_written_and_read(ticket: Ticket, context: Context) -> None:
    assert msgspec.json.decode(msgspec.json.encode(ticket), type=Ticket) == ticket
    assert msgspec.json.decode(msgspec.json.encode(context), type=Context) == context
