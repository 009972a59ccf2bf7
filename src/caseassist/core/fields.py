"""The constrained field types, each written once.

A type carries its limit, the rules it enforces (ids of docs/reference/rules; the letters name the document and event,
such as CL for the click events of article 2064) and a phrase that says what is expected. The JSON Schema, the
reference pages and the error messages all come from here. :mod:`caseassist.core.gate` holds values against them.

msgspec checks all of it but the form of identifiers. A regular expression for each would take two thirds of the time
of decoding a record: the gate looks itself, and only where there can be something to find.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from caseassist.core.errors import InvalidAction
from caseassist.core.gate import CHECK, CLEAN_PATTERN, is_clean_text, kind_of

__all__ = [
    "CONTENT_ID_KEYS",
    "LANGUAGES",
    "MAX_CLICK_URI",
    "MAX_EXCERPT",
    "MAX_ID",
    "MAX_TEXT",
    "ActionCause",
    "Anonymous",
    "AutoSelection",
    "Category",
    "Cause",
    "ClassificationId",
    "ClickUri",
    "ClientId",
    "Confidence",
    "ContentIdKey",
    "ContentIdValue",
    "CustomData",
    "Description",
    "DocumentAuthor",
    "DocumentPosition",
    "DocumentTitle",
    "DocumentUri",
    "DocumentUriHash",
    "DocumentUrl",
    "EventClientId",
    "EventType",
    "EventValue",
    "Excerpt",
    "FieldName",
    "FieldValue",
    "Identifier",
    "Language",
    "Memory",
    "MessageId",
    "OriginContext",
    "OriginLevel1",
    "OriginLevel2",
    "OriginLevel3",
    "Outcome",
    "QueryPipeline",
    "RankingModifier",
    "Rate",
    "Reason",
    "ResponseId",
    "SearchHub",
    "SearchQueryUid",
    "SourceName",
    "SplitTestRunName",
    "SplitTestRunVersion",
    "Stage",
    "Subject",
    "SuggestionId",
    "Text",
    "TicketCustom",
    "TicketId",
    "TrackingId",
    "UserAgent",
    "UserDisplayName",
    "Username",
    "check_custom_data",
    "content_key",
    "is_client_id",
    "language_from_locale",
]

# Coveo documents no limit for identifiers and ticket texts. Ours keep one bad value from filling a store.
# Precedents for texts: Salesforce takes 32,000 characters of description, Zendesk 65,536.
MAX_ID = 1024
MAX_TEXT = 65_536

_END = r"(?!\n)$"
"""The end of the text, in Python too: there, ``$`` alone also matches before a newline that ends the text."""


def _meta(expected: str, *rules: str, **limits: Any) -> Meta:
    return Meta(description=expected, extra={"rules": rules}, extra_json_schema={"x-rules": list(rules)}, **limits)


def _looked_at(expected: str, check: Callable[[str], bool], pattern: str, *rules: str, **limits: Any) -> Meta:
    """A type that the gate looks at itself. ``pattern``: the same for JSON Schema."""
    extra_json_schema = {"x-rules": list(rules), "pattern": pattern}
    return Meta(
        description=expected, extra={"rules": rules, CHECK: check}, extra_json_schema=extra_json_schema, **limits
    )


def _id(expected: str, *rules: str, max_length: int = MAX_ID) -> Meta:
    """Opaque text: never empty, no control characters, no half of a surrogate pair."""
    expected = f"{expected}: 1 to {max_length} characters, no control characters"
    return _looked_at(expected, is_clean_text, CLEAN_PATTERN, *rules, min_length=1, max_length=max_length)


def _name(expected: str, limit: int, *rules: str) -> Meta:
    return _meta(f"{expected}: at most {limit} characters", *rules, max_length=limit)


# ISO 639-1, as registered with the Library of Congress: 183 codes, and bh, which was withdrawn in 2021.
# fmt: off
LANGUAGES = frozenset([
    "aa", "ab", "ae", "af", "ak", "am", "an", "ar", "as", "av", "ay", "az", "ba", "be", "bg", "bh", "bi", "bm",
    "bn", "bo", "br", "bs", "ca", "ce", "ch", "co", "cr", "cs", "cu", "cv", "cy", "da", "de", "dv", "dz", "ee",
    "el", "en", "eo", "es", "et", "eu", "fa", "ff", "fi", "fj", "fo", "fr", "fy", "ga", "gd", "gl", "gn", "gu",
    "gv", "ha", "he", "hi", "ho", "hr", "ht", "hu", "hy", "hz", "ia", "id", "ie", "ig", "ii", "ik", "io", "is",
    "it", "iu", "ja", "jv", "ka", "kg", "ki", "kj", "kk", "kl", "km", "kn", "ko", "kr", "ks", "ku", "kv", "kw",
    "ky", "la", "lb", "lg", "li", "ln", "lo", "lt", "lu", "lv", "mg", "mh", "mi", "mk", "ml", "mn", "mr", "ms",
    "mt", "my", "na", "nb", "nd", "ne", "ng", "nl", "nn", "no", "nr", "nv", "ny", "oc", "oj", "om", "or", "os",
    "pa", "pi", "pl", "ps", "pt", "qu", "rm", "rn", "ro", "ru", "rw", "sa", "sc", "sd", "se", "sg", "si", "sk",
    "sl", "sm", "sn", "so", "sq", "sr", "ss", "st", "su", "sv", "sw", "ta", "te", "tg", "th", "ti", "tk", "tl",
    "tn", "to", "tr", "ts", "tt", "tw", "ty", "ug", "uk", "ur", "uz", "ve", "vi", "vo", "wa", "wo", "xh", "yi",
    "yo", "za", "zh", "zu",
])
# fmt: on

Identifier = Annotated[str, _id("an identifier")]
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_match_uuid = re.compile(_UUID).fullmatch


def is_client_id(text: str) -> bool:
    """Whether a text is a UUID in lower case."""
    return _match_uuid(text) is not None


ClientId = Annotated[
    str,
    _looked_at("a UUID in lower case (client_id_from makes one from any name)", is_client_id, f"^{_UUID}{_END}",
               "CD-002", "CQ-002", "CL-056", "CU-032", "CA-013", min_length=36, max_length=36),
]  # fmt: skip
EventClientId = Annotated[
    str,
    _meta("a UUID in lower case, that of the session", "CL-056", "CU-032", "CA-014", pattern=f"^{_UUID}{_END}"),
]
"""Seldom there, and always checked: msgspec may take its time."""
FieldName = Annotated[str, _id("the name of a field", "CA-031", "CA-063")]
FieldValue = Annotated[
    str,
    _meta("the value of the selected suggestion, not empty", "CA-066", min_length=1, max_length=MAX_TEXT),
]
ClassificationId = Annotated[str, _id("the id of a classification", "CA-061")]
SuggestionId = Annotated[str, _id("the permanentid of a document", "CA-043", "CD-004", "CQ-004", "CS-002",
                                  max_length=512)]  # fmt: skip
ResponseId = Annotated[
    str, _id("the id of the response that offered the suggestion", "CA-044", "CA-062", "CD-013", "CQ-013", "CS-003")
]
TicketId = Annotated[str, _id("the id of the created ticket", "CC-003", "TK-005")]
Stage = Annotated[str, _id("the name of a stage")]
_TEXT = f"text of at most {MAX_TEXT} characters"
Text = Annotated[str, _meta(_TEXT, max_length=MAX_TEXT)]
Category = Annotated[str, _meta(_TEXT, "TK-001", max_length=MAX_TEXT)]
Description = Annotated[str, _meta(_TEXT, "TK-003", max_length=MAX_TEXT)]
Subject = Annotated[str, _meta(_TEXT, "TK-004", max_length=MAX_TEXT)]
Rate = Annotated[float, _meta("a number from 0 (terrible) to 1 (perfect)", "CA-041", "CA-042", ge=0, le=1)]
Confidence = Annotated[float, _meta("a number from 0 to 1", "CA-067", ge=0, le=1)]
AutoSelection = Annotated[bool, _meta("true or false", "CA-068", "CA-069")]
Reason = Annotated[Literal["Quit", "Solved"], _meta("'Quit' or 'Solved'", "CX-002", "CX-003", "CX-004")]
Cause = Annotated[Literal["user", "unload", "timeout"], _meta("'user', 'unload' or 'timeout'")]

DocumentPosition = Annotated[
    int, _meta("an integer from 1, the first position", "CA-049", "CD-005", "CQ-005", "CL-004", "CS-008", ge=1)
]
DocumentTitle = Annotated[
    str,
    _meta("the title of the document: 1 to 1024 characters, never cut", "CA-048", "CD-006", "CQ-006", "CL-021",
          "CL-022", "CS-007", min_length=1, max_length=1024),
]  # fmt: skip
DocumentUrl = Annotated[
    str,
    _meta("the uri of the document: 1 to 1024 characters, never cut", "CA-047", "CD-007", "CQ-007", "CL-023",
          "CL-024", "CS-006", min_length=1, max_length=1024),
]  # fmt: skip
DocumentUriHash = Annotated[
    str, _name("the urihash of the document (deprecated)", 32, "CL-006", "CL-007", "CL-D13", "CA-046", "CS-005")
]
DocumentUri = Annotated[
    str, _meta(f"the uri of the document (deprecated): at most {MAX_TEXT} characters", "CL-039", max_length=MAX_TEXT)
]
DocumentAuthor = Annotated[str, _name("the author of the document", 128, "CL-038")]
MAX_EXCERPT = 1024
Excerpt = Annotated[str, _name("a few sentences of the document", MAX_EXCERPT)]
MAX_CLICK_URI = 2048
ClickUri = Annotated[str, _id("the URL at which a person opens the document", max_length=MAX_CLICK_URI)]
SourceName = Annotated[
    str,
    _meta("the source of the document: 1 to 512 characters", "CD-014", "CQ-014", "CL-013",
          min_length=1, max_length=512),
]  # fmt: skip

_LANGUAGE = _meta(
    "a two-letter ISO 639-1 code in lower case, such as 'en' (language_from_locale makes one from a locale)",
    "CD-008", "CQ-008", "CL-009", "CL-008", "CL-010", "CU-004", "CU-003", "CU-005",
)  # fmt: skip
if TYPE_CHECKING:
    Language = Annotated[str, _LANGUAGE]
else:
    Language = Annotated[Literal[tuple(sorted(LANGUAGES))], _LANGUAGE]
SearchHub = Annotated[str, _name("the name of the interface", 128, "CA-009", "CL-014", "CU-016", "CD-010", "CQ-010")]
OriginContext = Annotated[str, _name("the deployment", 128, "CD-009", "CQ-009", "CL-040", "CL-041", "CU-015")]
OriginLevel1 = Annotated[
    str, _name("the name of the interface (search hub)", 128, "CD-010", "CQ-010", "CL-014", "CL-016", "CU-016")
]
OriginLevel2 = Annotated[str, _name("the tab", 128, "CD-011", "CQ-011", "CL-030", "CL-031", "CU-019", "CU-020")]
OriginLevel3 = Annotated[
    str, _meta(f"the referring URL: at most {MAX_TEXT} characters (the wire carries the first 128)", "CD-012",
               "CQ-012", "CL-042", "CU-021", max_length=MAX_TEXT),
]  # fmt: skip
UserAgent = Annotated[str, _name("the user agent", 1024, "CD-015", "CQ-015", "CL-027")]
Username = Annotated[str, _name("the user's security identity", 128, "CL-052", "CU-028")]
UserDisplayName = Annotated[str, _name("the user's display name", 128, "CL-050", "CU-026")]
TrackingId = Annotated[str, _id("the name of the web property", "CL-049", "CU-025")]

ActionCause = Annotated[str, _id("the identifier of the user action", "CL-001")]
SearchQueryUid = Annotated[str, _id("the id of the query", "CL-011", "CL-012", "CU-013", "CU-014")]
EventType = Annotated[str, _id("the type of the custom event", "CU-001", max_length=128)]
EventValue = Annotated[str, _id("the value of the custom event", "CU-002", max_length=128)]
Outcome = Annotated[int, _meta("an integer from -5 (worst) to 5 (best)", "CL-033", "CU-022", ge=-5, le=5)]
RankingModifier = Annotated[str, _name("the ranking modifier", 128, "CL-025")]
QueryPipeline = Annotated[str, _name("the query pipeline", 128, "CL-043", "CL-045")]
SplitTestRunName = Annotated[str, _name("the name of the A/B test", 128, "CL-047", "CU-023")]
SplitTestRunVersion = Annotated[str, _name("the version of the A/B test", 128, "CL-048", "CU-024")]
ContentIdKey = Annotated[str, _id("the name of an index field", "CD-003", "CQ-003", "CL-019", max_length=128)]
ContentIdValue = Annotated[str, _id("the value of the index field", "CD-004", "CQ-004", "CL-020", max_length=512)]
Anonymous = Annotated[bool, _meta("true or false", "CL-034", "CU-010")]
CustomData = Annotated[
    Mapping[str, Any],
    _meta("an object of key-value pairs", "CL-D01", "CL-D02", "CU-D01", "CU-D02"),
]
TicketCustom = Annotated[Mapping[str, Any], _meta("an object with values of your choice", "TK-002", "TK-006")]

MessageId = Annotated[str, _id("the platform's id of a message")]
Memory = Annotated[Mapping[str, Any], _meta("an object with what the conversation must know to go on")]

CONTENT_ID_KEYS = ("contentIDKey", "contentIDValue")
"""The two customData keys that keep their capitals: machine learning models look them up as printed (CL-D11)."""

_CONTENT_ID_KEYS = {key.lower(): key for key in CONTENT_ID_KEYS}

_KEY = re.compile("[A-Za-z0-9_ ]+")


def language_from_locale(locale: str) -> str:
    """Return the language code of a locale, as the documents want it: ``fr-CA`` gives ``fr``.

    Raises ValueError when the locale does not begin with an ISO 639-1 code.
    """
    code = re.split("[-_.@]", locale, maxsplit=1)[0].lower()
    if code not in LANGUAGES:
        raise ValueError("the locale does not begin with an ISO 639-1 code")
    return code


def content_key(key: str) -> str:
    """The form that Coveo gives to a customData key: spaces become underscores, capitals small (CL-D06, CL-D07)."""
    small = key.replace(" ", "_").lower()
    return _CONTENT_ID_KEYS.get(small, small)


def check_custom_data(data: Mapping[str, Any], rules: str, *, path: str = "$.customData") -> None:
    """Raise InvalidAction unless the keys are such that the service keeps them apart.

    ``rules``: ``CL`` or ``CU``, the document whose rules the error names.
    """
    seen: dict[str, str] = {}
    for key in data:
        if not _KEY.fullmatch(key):
            problem = f"a key may hold letters, digits, underscores and spaces only (ASCII), unlike {key[:64]!r}"
            raise InvalidAction(problem, path=path, rule=f"{rules}-D05")
        other = seen.setdefault(content_key(key), key)
        if other != key:
            problem = f"the keys {other[:64]!r} and {key[:64]!r} are one key to the service"
            raise InvalidAction(problem, path=path, rule=f"{rules}-D07")
    for name, limit, rule in (("contentIDKey", 128, "CL-019"), ("contentIDValue", 512, "CL-020")):
        key = seen.get(name, name)  # as it is spelt here
        value = data.get(key)
        if key in data and not (isinstance(value, str) and 0 < len(value) <= limit):
            problem = f"expected a string of 1 to {limit} characters, got {kind_of(value)}"
            raise InvalidAction(problem, path=f"{path}.{key}", rule=rule)
