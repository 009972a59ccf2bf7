"""The constrained types, and the gate that holds values against them."""

from collections import Counter, OrderedDict, UserDict, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, get_args, get_origin
from unittest.mock import MagicMock
from uuid import UUID

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from msgspec import Meta
from tests import strategies

from caseassist.core import fields
from caseassist.core.errors import InvalidAction
from caseassist.core.events import Classification, ClickEvent, Context, Document, OfferedDocument, Ticket
from caseassist.core.fields import check_custom_data, content_key, language_from_locale
from caseassist.core.gate import build, convert, is_clean_text, kind_of, known_part, members_of, path_of, plain

TYPES = {name: value for name, value in vars(fields).items() if get_origin(value) is Annotated}
CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"


def meta(kind: Any) -> Meta:
    return next(note for note in get_args(kind)[1:] if isinstance(note, Meta))


def accepts(kind: Any, value: Any) -> bool:
    """Whether the gate takes a value; the JSON Schema must say the same."""
    holder = msgspec.defstruct("Holder", [("value", kind)])
    schema = msgspec.json.schema(kind)
    try:
        build(holder, {"value": value})
    except InvalidAction:
        return False
    jsonschema.validate(value, schema)
    return True


def kind_name(value: Any) -> str:
    """How a case is named whose value must not be asked for its name."""
    return type(value).__name__


def refusal(value: Any, kind: Any) -> InvalidAction:
    with pytest.raises(InvalidAction) as caught:
        build(msgspec.defstruct("Holder", [("value", kind)]), {"value": value})
    return caught.value


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_type_says_what_it_expects_and_which_rules_it_keeps(name: str) -> None:
    note = meta(TYPES[name])
    assert note.description
    assert note.extra is not None
    assert note.extra_json_schema is not None
    assert note.extra_json_schema["x-rules"] == list(note.extra["rules"])


ROOM = [
    (name, note.max_length, note.min_length or 0)
    for name, kind in TYPES.items()
    if (note := meta(kind)).max_length is not None and name != "ClientId"
]


@pytest.mark.parametrize(("name", "longest", "shortest"), ROOM)
def test_a_text_has_room_for_its_limit_and_no_more(name: str, longest: int, shortest: int) -> None:
    kind = TYPES[name]
    for length in (shortest, longest):
        for character in ("x", "é", "🙂"):
            assert accepts(kind, character * length)
    assert not accepts(kind, "x" * (longest + 1))
    assert shortest == 0 or not accepts(kind, "x" * (shortest - 1))


IDENTIFIERS = [name for name, kind in TYPES.items() if (meta(kind).extra or {}).get("check") is is_clean_text]


@pytest.mark.parametrize("name", IDENTIFIERS)
@pytest.mark.parametrize(
    "bad", ["", "a\n", "\na", "a\x00", "\x1f", "\x7f", "\x85", "\x9f", "\r\n", "a\ud800"], ids=kind_name
)
def test_an_identifier_has_no_control_characters_wherever_they_stand(name: str, bad: str) -> None:
    # In Python, "$" also matches before a newline that ends the text.
    assert not accepts(TYPES[name], bad)
    assert accepts(TYPES[name], "a b/ü\xa0🙂")


def test_there_are_identifiers_among_the_types() -> None:
    assert {"Identifier", "TicketId", "ResponseId", "EventType"} <= set(IDENTIFIERS)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Rate", [0, 1, 0.5, 1e-300], [-0.1, 1.1, 7, "0.5", True, None]),
        ("Confidence", [0, 1, 0.76], [-1e-9, 1.0000001, "1", False]),
        ("DocumentPosition", [1, 2, 2**63 - 1], [0, -1, 1.5, True, "1", None]),
        ("Outcome", [-5, 0, 5], [-6, 6, 0.5, "0"]),
        ("AutoSelection", [True, False], [0, 1, "true", None]),
        ("Reason", ["Quit", "Solved"], ["quit", "Other", "", 1]),
        ("Cause", ["user", "unload", "timeout"], ["User", "", None]),
        ("Language", ["en", "fr", "zu"], ["EN", "en-US", "xx", "en\n", "", "eng"]),
        (
            "ClientId",
            [CLIENT_ID],
            [CLIENT_ID.upper(), CLIENT_ID + "\n", CLIENT_ID[:-1], "", CLIENT_ID.replace("-", "")],
        ),
    ],
)
def test_other_types_have_their_limits(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert accepts(TYPES[name], value)
    for value in bad:
        assert not accepts(TYPES[name], value)


def test_languages_are_the_two_letter_codes() -> None:
    assert len(fields.LANGUAGES) == 184
    assert all(len(code) == 2 and code.isalpha() and code.islower() and code.isascii() for code in fields.LANGUAGES)
    assert {"en", "fr", "de", "ja", "zh", "he", "id", "yi"} <= fields.LANGUAGES
    assert not {"xx", "zz", "iw", "in", "sh"} & fields.LANGUAGES


@pytest.mark.parametrize(
    ("locale", "code"),
    [
        ("fr-CA", "fr"),
        ("en", "en"),
        ("EN_us", "en"),
        ("de_DE.UTF-8", "de"),
        ("ca@valencia", "ca"),
        ("zh-Hant-TW", "zh"),
    ],
)
def test_a_locale_gives_its_language(locale: str, code: str) -> None:
    assert language_from_locale(locale) == code


@pytest.mark.parametrize("locale", ["", "xx-US", "CANARY", "-en", "C.UTF-8", "e"])
def test_a_locale_without_a_language_is_refused(locale: str) -> None:
    with pytest.raises(ValueError, match="639-1") as caught:
        language_from_locale(locale)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "form"),
    [
        ("My Key", "my_key"),
        ("a", "a"),
        ("contentIDKey", "contentIDKey"),
        ("CONTENTIDKEY", "contentIDKey"),
        ("contentidvalue", "contentIDValue"),
    ],
)
def test_a_key_takes_the_form_that_the_service_gives_it(key: str, form: str) -> None:
    assert content_key(key) == form


@pytest.mark.parametrize(
    "data",
    [{}, {"a": 1, "b_2 C": None}, {"contentIDKey": "permanentid", "contentIDValue": "x" * 512}, {"contentidkey": "k"}],
)
def test_custom_data_whose_keys_the_service_keeps_apart_passes(data: dict[str, Any]) -> None:
    check_custom_data(data, "CL")


@pytest.mark.parametrize(
    ("data", "path", "rule"),
    [
        ({"é": 1}, "$.customData", "CU-D05"),
        ({"a-b": 1}, "$.customData", "CU-D05"),
        ({"": 1}, "$.customData", "CU-D05"),
        ({"a\n" + "x" * 5000: 1}, "$.customData", "CU-D05"),
        ({"k" * 5000: 1, "K" * 5000: 1}, "$.customData", "CU-D07"),
        ({"a b": 1, "a_b": 1}, "$.customData", "CU-D07"),
        ({"Key": 1, "key": 1}, "$.customData", "CU-D07"),
        ({"contentIDKey": ""}, "$.customData.contentIDKey", "CL-019"),
        ({"contentIDKey": "x" * 129}, "$.customData.contentIDKey", "CL-019"),
        ({"contentIDKey": 5}, "$.customData.contentIDKey", "CL-019"),
        ({"contentidvalue": None}, "$.customData.contentidvalue", "CL-020"),
        ({"contentIDValue": "x" * 513}, "$.customData.contentIDValue", "CL-020"),
    ],
)
def test_custom_data_that_the_service_would_alter_is_refused(data: dict[str, Any], path: str, rule: str) -> None:
    with pytest.raises(InvalidAction) as caught:
        check_custom_data(data, "CU")
    assert (caught.value.path, caught.value.rule) == (path, rule)
    assert len(str(caught.value)) < 300


# plain


@given(value=strategies.json_value())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_json_value_comes_out_as_a_copy(value: Any) -> None:
    copy = plain(value)
    assert msgspec.json.encode(copy) == msgspec.json.encode(value)
    assert copy is not value or not isinstance(value, dict | list)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Float64(float):
    pass


class Plain(Enum):
    A = "a"


class Point(NamedTuple):
    x: int
    y: int


class Shouting(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise AssertionError

    __repr__ = __format__ = upper = __str__  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (Colour.RED, "red"),
        (Shouting("x"), "x"),
        (Level.HIGH, 3),
        (Float64(0.5), 0.5),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Counter("aa"), {"a": 2}),
        (Point(1, 2), [1, 2]),
        ((1, (2,)), [1, [2]]),
        ({Colour.RED: {Colour.RED: Level.HIGH}}, {"red": {"red": 3}}),
        (Document(document_title="t", document_url="u", document_position=2, source_name="s"),
         {"documentTitle": "t", "documentUrl": "u", "documentPosition": 2, "sourceName": "s"}),
        (Ticket(subject="x"), {"subject": "x"}),
    ],
    ids=kind_name,
)  # fmt: skip
def test_subclasses_of_the_json_types_and_our_own_values_count_as_what_they_hold(value: Any, result: Any) -> None:
    copy = plain(value)
    assert copy == result
    assert msgspec.json.encode(copy) == msgspec.json.encode(result)
    assert_plain(copy)


def assert_plain(value: Any) -> None:
    assert type(value) in (str, int, float, bool, type(None), dict, list)
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            assert_plain(item)


class Evil:
    """Whatever is called on it raises, even what isinstance() looks at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)

    def __repr__(self) -> str:
        raise AssertionError

    __str__ = __repr__
    __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __getitem__ = __float__ = __index__ = __repr__  # type: ignore[assignment]


def made(value: Any) -> Any:
    """An instance of Evil where the class stands: pytest, too, looks at its parameters."""
    return Evil() if value is Evil else value


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def endless_list() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def many_lists() -> list[Any]:
    value: list[Any] = []
    for _ in range(12):
        value = [value] * 1000
    return value


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "finite"),
        (float("-inf"), "finite"),
        (Float64("inf"), "finite"),
        (2**64, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        (10**5000, "64 bits"),
        ("\ud800", "surrogate"),
        ("x" * 262_145, "262144 characters"),
        (["x" * 140_000, {"a": "y" * 140_000}], "262144 characters"),
        ({"x" * 140_000: "y" * 140_000}, "262144 characters"),
        ([0] * 1025, "1024 members"),
        ([[0] * 600, [0] * 600], "1024 members"),
        (many_lists(), "1024 members"),
        (nested(17), "16 levels"),
        (endless_list(), "16 levels"),
        ({1: 2}, "a whole number"),
        ({10**400: 2}, "a whole number"),
        ({None: 2}, "null"),
        ({True: 2}, "a boolean"),
        ({1.5: 2}, "a number"),
        ({b"a": 2}, "a Python bytes"),
        ({(1, 2): 2}, "an array"),
        ({"\ud800": 2}, "surrogate"),
        (b"x", "a Python bytes"),
        (bytearray(b"x"), "a Python bytearray"),
        ({1, 2}, "a Python set"),
        (Decimal("1.5"), "a Python Decimal"),
        (Fraction(1, 2), "a Python Fraction"),
        (1j, "a Python complex"),
        (datetime(2026, 1, 1, tzinfo=UTC), "a Python datetime"),
        (date(2026, 1, 1), "a Python date"),
        (UUID(CLIENT_ID), "a Python UUID"),
        (Plain.A, "a Python Plain"),
        (range(3), "a Python range"),
        (UserDict(a=1), "a Python UserDict"),
        (MappingProxyType({"a": 1}), "a Python mappingproxy"),
        (object(), "a Python object"),
        (type, "a Python type"),
        (Evil, "a Python Evil"),
        (MagicMock(spec=str), "a Python MagicMock"),
        (MagicMock(spec=dict), "a Python MagicMock"),
        (Ticket(custom={"at": date(2026, 1, 1)}), "a Python date"),
        (Ticket(subject=Decimal(1)), "a Python Decimal"),  # type: ignore[arg-type]
    ],
    ids=kind_name,
)
def test_what_json_cannot_carry_unharmed_is_refused(value: Any, problem: str) -> None:
    with pytest.raises(InvalidAction, match=problem):
        plain(made(value))


def test_the_limits_themselves_are_within_the_limits() -> None:
    for value in ("x" * 262_144, [0] * 1024, nested(16), 2**64 - 1, -(2**63)):
        assert plain(value) == value


def test_an_error_names_the_place() -> None:
    for value, path in [
        (Evil(), "$.ticket"),
        ({"a": [1, {"b c": Evil()}]}, "$.ticket.a[1]['b c']"),
        ({"x" * 100: Evil()}, f"$.ticket['{'x' * 64}']"),
        ({"a\nb": Evil()}, r"$.ticket['a\nb']"),
        ({"größe": Evil()}, "$.ticket.größe"),
    ]:
        with pytest.raises(InvalidAction) as caught:
            plain(value, "$.ticket")
        assert caught.value.path == path


def test_a_path_shows_no_step_that_is_neither_a_name_nor_a_number() -> None:
    assert path_of("$", "a", 0, Evil(), True) == "$.a[0][…][…]"


# members_of


class Broken(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("CANARY-7431")

    def __iter__(self) -> Iterator[str]:
        return iter("a")

    def __len__(self) -> int:
        return 1


def test_members_come_from_objects_mappings_and_our_own_values() -> None:
    given = {"subject": "x"}
    assert members_of(given) == given
    assert members_of(given) is not given
    assert members_of(MappingProxyType(given)) == given
    assert members_of(UserDict(given)) == given
    assert members_of(Ticket(subject="x")) == given
    assert members_of(Context(anonymous=True, language="en")) == {"anonymous": True, "language": "en"}
    click = ClickEvent(action_cause="a", search_query_uid="q", source_name="s", document_position=1)
    assert members_of(click) == {"action": "click", "actionCause": "a", "searchQueryUid": "q", "sourceName": "s"}


@pytest.mark.parametrize(
    "value", [None, 5, "text", b"{}", [], [("a", 1)], Evil, MagicMock(spec=dict), Broken()], ids=kind_name
)
def test_what_has_no_members_is_refused(value: Any) -> None:
    with pytest.raises(InvalidAction, match="expected an object, got ") as caught:
        members_of(made(value), "$.here")
    assert caught.value.path == "$.here"
    assert "CANARY" not in str(caught.value)


# build and convert


class Inner(msgspec.Struct, rename="camel"):
    document_title: fields.DocumentTitle
    note: Annotated[str, Meta(max_length=3)] = ""


class Outer(msgspec.Struct, rename="camel"):
    inner: Inner
    items: tuple[Inner, ...] = ()
    custom: fields.CustomData | None = None
    count: int = 0
    flag: bool = False
    text: str = ""
    number: float = 0


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([], "$: expected an object, got an array"),
        ({}, "$.inner: is required: an object"),
        ({"inner": {}}, ("$.inner.documentTitle: is required: the title of the document: 1 to 1024 characters, "
                        "never cut (rule CL-021)")),
        ({"inner": {"documentTitle": ""}}, ("$.inner.documentTitle: expected the title of the document: "
                                           "1 to 1024 characters, never cut, got an empty string (rule CL-021)")),
        ({"inner": {"documentTitle": "t", "note": "long"}}, ("$.inner.note: expected a string, got a string of "
                                                            "4 characters")),
        ({"inner": {"documentTitle": "t"}, "items": [{"documentTitle": "t"}, {}]},
         ("$.items[1].documentTitle: is required: the title of the document: 1 to 1024 characters, never cut "
         "(rule CL-021)")),
        ({"inner": {"documentTitle": "t"}, "items": {}}, "$.items: expected an array, got an object"),
        ({"inner": {"documentTitle": "t"}, "items": [5]}, "$.items[0]: expected an object, got a whole number"),
        ({"inner": {"documentTitle": "t"}, "custom": []}, ("$.custom: expected an object of key-value pairs, "
                                                          "got an array (rule CL-D01)")),
        ({"inner": {"documentTitle": "t"}, "count": "x"}, ("$.count: expected a whole number, got a string of "
                                                          "1 character")),
        ({"inner": {"documentTitle": "t"}, "flag": None}, "$.flag: expected true or false, got null"),
        ({"inner": {"documentTitle": "t"}, "text": True}, "$.text: expected a string, got a boolean"),
        ({"inner": {"documentTitle": "t"}, "number": {}}, "$.number: expected a number, got an object"),
    ],
)  # fmt: skip
def test_an_error_says_where_what_was_expected_and_what_kind_was_found(data: Any, error: str) -> None:
    with pytest.raises(InvalidAction) as caught:
        build(Outer, data, rules="CL")
    assert str(caught.value) == error


def test_a_number_out_of_range_is_called_so() -> None:
    assert str(refusal(7, fields.Rate)) == (
        "$.value: expected a number from 0 (terrible) to 1 (perfect), got a number outside of that (rule CA-041)"
    )
    assert str(refusal(0, fields.DocumentPosition)) == (
        "$.value: expected an integer from 1, the first position, got a number outside of that (rule CA-049)"
    )


def test_a_text_with_control_characters_is_called_so() -> None:
    assert str(refusal("a\n", fields.Stage)) == (
        "$.value: expected the name of a stage: 1 to 1024 characters, no control characters, "
        "got a string of 2 characters, control characters among them"
    )


def test_the_rule_is_one_of_the_event_at_hand() -> None:
    data = {"suggestionId": "d", "suggestion": {}}
    for rules, rule in (("CD", "CD-006"), ("CQ", "CQ-006"), ("CA", "CA-048"), ("", "CA-048"), ("ZZ", "CA-048")):
        with pytest.raises(InvalidAction) as caught:
            build(OfferedDocument, data, rules=rules)
        assert (caught.value.path, caught.value.rule) == ("$.suggestion.documentTitle", rule)


def test_a_member_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(InvalidAction) as caught:
        build(Classification, {"value": "v", "confidence": 1, "confidense": "CANARY-7431"}, path="$.classification")
    assert str(caught.value) == "$.classification.confidense: there is no such member; known are: confidence, value"


@pytest.mark.parametrize(
    "name", ["x` - at `$.foo", "x - at `$.foo", "`", "a\nb", "$", "", "- at `key` in `$.foo`", "x" * 5000]
)
def test_no_name_of_a_member_breaks_the_error(name: str) -> None:
    with pytest.raises(InvalidAction) as caught:
        build(Classification, {"value": "v", "confidence": 1, name: 1})
    assert "there is no such member" in str(caught.value)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_a_lenient_type_passes_over_what_it_does_not_know() -> None:
    data = {"inner": {"documentTitle": "t", "other": Evil()}, "more": Evil(), 1: 2, Shouting("text"): "x"}
    assert build(Outer, data) == Outer(inner=Inner(document_title="t"), text="x")


def test_what_was_decoded_may_be_of_any_size() -> None:
    data = {"inner": {"documentTitle": "t"}, "custom": {"a": ["x" * 300_000, nested(40), [0] * 5000, 2**200]}}
    assert convert(Outer, data).custom == data["custom"]
    with pytest.raises(InvalidAction):
        build(Outer, data)


def test_the_known_part_is_what_a_type_reads_at_every_level() -> None:
    data = {
        "inner": {"note": 5, "x": 1},
        "items": [{"y": 1}, 7, {"documentTitle": {"z": 1}}],
        "custom": {"a": 1},
        "w": 1,
    }
    assert known_part(data, Outer) == {
        "inner": {"note": 5},
        "items": [{}, 7, {"documentTitle": {"z": 1}}],
        "custom": {"a": 1},
    }
    assert known_part("text", Outer) == "text"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "a boolean"),
        (5, "a whole number"),
        (10**5000, "a whole number"),
        (0.5, "a number that is not whole"),
        (2.0, "a number"),
        (float("nan"), "a number that is not whole"),
        ("", "an empty string"),
        ("x", "a string of 1 character"),
        ("xy", "a string of 2 characters"),
        (Shouting("xy"), "a string of 2 characters"),
        ("x\x00", "a string of 2 characters, control characters among them"),
        ({}, "an object"),
        ([], "an array"),
        ((), "an array"),
        (Evil, "a Python Evil"),
    ],
    ids=kind_name,
)
def test_the_kind_of_a_value_does_not_show_the_value(value: Any, kind: str) -> None:
    assert kind_of(made(value)) == kind
