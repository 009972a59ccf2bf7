"""The constrained field types, each written once, and the gate that holds values against them.

A type carries its limit, the rules it enforces (ids of docs/reference/rules; the letters name the document and event,
such as CL for the click events of article 2064) and a phrase that says what is expected. The JSON Schema, the
reference pages and the error messages all come from here.

msgspec checks a constraint when it decodes or converts, not when a Struct is constructed. So every value that a caller
hands in passes :func:`build` once; what has passed is trusted from then on.
"""

import re
from collections.abc import Mapping
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import Meta

from caseassist.core.errors import InvalidAction

__all__ = [
    "LANGUAGES",
    "ActionCause",
    "ClientId",
    "Confidence",
    "ContentIdKey",
    "ContentIdValue",
    "CustomData",
    "DocumentAuthor",
    "DocumentPosition",
    "DocumentTitle",
    "DocumentUri",
    "DocumentUriHash",
    "DocumentUrl",
    "EventType",
    "EventValue",
    "FieldName",
    "FieldValue",
    "Identifier",
    "Language",
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
    "SuggestionId",
    "Text",
    "TicketId",
    "TrackingId",
    "UserAgent",
    "UserDisplayName",
    "Username",
    "build",
    "check_custom_data",
    "content_key",
    "language_from_locale",
    "plain",
]

# Coveo documents no limit for identifiers and ticket texts. Ours keep one bad value from filling a store.
# Precedents for texts: Salesforce takes 32,000 characters of description, Zendesk 65,536.
MAX_ID = 1024
MAX_TEXT = 65_536
MAX_CHARACTERS = 262_144
MAX_DEPTH = 16
MAX_MEMBERS = 1024

_NO_CONTROLS = r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]"


def _meta(expected: str, *rules: str, **limits: Any) -> Meta:
    return Meta(description=expected, extra={"rules": rules}, extra_json_schema={"x-rules": list(rules)}, **limits)


def _id(expected: str, *rules: str, max_length: int = MAX_ID) -> Meta:
    """Opaque text: never empty, no control characters, no half of a surrogate pair."""
    return _meta(f"{expected}: 1 to {max_length} characters, no control characters", *rules,
                 max_length=max_length, pattern=f"^{_NO_CONTROLS}+$")  # fmt: skip


def _name(expected: str, limit: int, *rules: str) -> Meta:
    return _meta(f"{expected}: at most {limit} characters", *rules, max_length=limit)


# ISO 639-1, as registered with the Library of Congress: 183 codes.
LANGUAGES = frozenset(
    [
        "aa",
        "ab",
        "ae",
        "af",
        "ak",
        "am",
        "an",
        "ar",
        "as",
        "av",
        "ay",
        "az",
        "ba",
        "be",
        "bg",
        "bh",
        "bi",
        "bm",
        "bn",
        "bo",
        "br",
        "bs",
        "ca",
        "ce",
        "ch",
        "co",
        "cr",
        "cs",
        "cu",
        "cv",
        "cy",
        "da",
        "de",
        "dv",
        "dz",
        "ee",
        "el",
        "en",
        "eo",
        "es",
        "et",
        "eu",
        "fa",
        "ff",
        "fi",
        "fj",
        "fo",
        "fr",
        "fy",
        "ga",
        "gd",
        "gl",
        "gn",
        "gu",
        "gv",
        "ha",
        "he",
        "hi",
        "ho",
        "hr",
        "ht",
        "hu",
        "hy",
        "hz",
        "ia",
        "id",
        "ie",
        "ig",
        "ii",
        "ik",
        "io",
        "is",
        "it",
        "iu",
        "ja",
        "jv",
        "ka",
        "kg",
        "ki",
        "kj",
        "kk",
        "kl",
        "km",
        "kn",
        "ko",
        "kr",
        "ks",
        "ku",
        "kv",
        "kw",
        "ky",
        "la",
        "lb",
        "lg",
        "li",
        "ln",
        "lo",
        "lt",
        "lu",
        "lv",
        "mg",
        "mh",
        "mi",
        "mk",
        "ml",
        "mn",
        "mr",
        "ms",
        "mt",
        "my",
        "na",
        "nb",
        "nd",
        "ne",
        "ng",
        "nl",
        "nn",
        "no",
        "nr",
        "nv",
        "ny",
        "oc",
        "oj",
        "om",
        "or",
        "os",
        "pa",
        "pi",
        "pl",
        "ps",
        "pt",
        "qu",
        "rm",
        "rn",
        "ro",
        "ru",
        "rw",
        "sa",
        "sc",
        "sd",
        "se",
        "sg",
        "si",
        "sk",
        "sl",
        "sm",
        "sn",
        "so",
        "sq",
        "sr",
        "ss",
        "st",
        "su",
        "sv",
        "sw",
        "ta",
        "te",
        "tg",
        "th",
        "ti",
        "tk",
        "tl",
        "tn",
        "to",
        "tr",
        "ts",
        "tt",
        "tw",
        "ty",
        "ug",
        "uk",
        "ur",
        "uz",
        "ve",
        "vi",
        "vo",
        "wa",
        "wo",
        "xh",
        "yi",
        "yo",
        "za",
        "zh",
        "zu",
    ]
)

Identifier = Annotated[str, _id("an identifier")]
ClientId = Annotated[
    str,
    _meta("a UUID in lower case", "CD-002", "CQ-002", "CL-056", "CU-032", "CA-013",
          pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
]  # fmt: skip
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
Text = Annotated[
    str, _meta(f"text of at most {MAX_TEXT} characters", "TK-001", "TK-003", "TK-004", max_length=MAX_TEXT)
]
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
SourceName = Annotated[
    str,
    _meta("the source of the document: 1 to 512 characters", "CD-014", "CQ-014", "CL-013",
          min_length=1, max_length=512),
]  # fmt: skip

Language = Annotated[
    str,
    _meta("a two-letter ISO 639-1 code in lower case, such as 'en' (language_from_locale makes one from a locale)",
          "CD-008", "CQ-008", "CL-009", "CL-008", "CL-010", "CU-004", "CU-003", "CU-005",
          pattern=f"^({'|'.join(sorted(LANGUAGES))})$"),
]  # fmt: skip
SearchHub = Annotated[str, _name("the name of the interface", 128, "CA-009", "CL-014", "CU-016")]
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

CONTENT_ID_KEYS = ("contentIDKey", "contentIDValue")
"""The two customData keys that keep their capitals: machine learning models look them up as printed (CL-D11)."""

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
    return key if key in CONTENT_ID_KEYS else key.replace(" ", "_").lower()


def check_custom_data(data: Mapping[str, Any], rules: str, *, path: str = "$.customData") -> None:
    """Raise InvalidAction unless the keys are such that the service keeps them apart.

    ``rules``: ``CL`` or ``CU``, the document whose rules the error names.
    """
    seen: dict[str, str] = {}
    for key in data:
        if not _KEY.fullmatch(key):
            problem = "a key may hold letters, digits, underscores and spaces only (ASCII)"
            raise InvalidAction(problem, path=path, rule=f"{rules}-D05")
        other = seen.setdefault(content_key(key), key)
        if other != key:
            problem = f"the keys {other!r} and {key!r} are one key to the service"
            raise InvalidAction(problem, path=path, rule=f"{rules}-D07")
    for key, limit, rule in (("contentIDKey", 128, "CL-019"), ("contentIDValue", 512, "CL-020")):
        value = data.get(key)
        if key in data and not (isinstance(value, str) and 0 < len(value) <= limit):
            problem = f"expected a string of 1 to {limit} characters, got {_kind(value)}"
            raise InvalidAction(problem, path=f"{path}.{key}", rule=rule)


def plain(value: Any, path: str = "$") -> Any:
    """Return a deep copy of a JSON value, or raise InvalidAction for what JSON cannot carry unharmed.

    Refused: NaN and infinities, halves of surrogate pairs, keys that are not strings, Python objects, more than 16
    levels, 1,024 members or 262,144 characters in all, and whole numbers beyond 64 bits. Nothing is ever called on an
    unknown object, not even ``str()``.
    """
    return _Copy().copy(value, path, 0)


class _Copy:
    __slots__ = ("characters", "members")

    def __init__(self) -> None:
        self.characters = MAX_CHARACTERS
        self.members = MAX_MEMBERS

    def copy(self, value: Any, path: str, depth: int) -> Any:
        kind = cast("object", type(value))
        if kind is str or isinstance(value, str):  # such as a StrEnum's member
            return self._text(str.__str__(value), path)
        if value is None or kind is bool:
            return value
        if kind is int:
            if -(2**63) <= value < 2**64:
                return value
            raise InvalidAction("expected a whole number of at most 64 bits", path=path)
        if kind is float:
            if isfinite(value):
                return value
            raise InvalidAction("expected a finite number, got NaN or an infinity", path=path)
        if depth >= MAX_DEPTH and isinstance(value, dict | list | tuple):
            raise InvalidAction(f"nested more than {MAX_DEPTH} levels deep", path=path)
        if kind is dict:
            self._count(len(value), path)
            return {
                self._key(key, path): self.copy(member, f"{path}.{key}", depth + 1) for key, member in value.items()
            }
        if kind is list or kind is tuple:
            self._count(len(value), path)
            return [self.copy(member, f"{path}[{i}]", depth + 1) for i, member in enumerate(value)]
        raise InvalidAction(f"expected a JSON value, got {_kind(value)}", path=path)

    def _text(self, value: str, path: str) -> str:
        self.characters -= len(value)
        if self.characters < 0:
            raise InvalidAction(f"more than {MAX_CHARACTERS} characters in all", path=path)
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InvalidAction("expected text, got half of a surrogate pair in it", path=path) from None
        return value

    def _key(self, key: object, path: str) -> str:
        if type(key) is not str:
            raise InvalidAction(f"expected keys that are strings, got {_kind(key)}", path=path)
        return self._text(key, path)

    def _count(self, members: int, path: str) -> None:
        self.members -= members
        if self.members < 0:
            raise InvalidAction(f"more than {MAX_MEMBERS} members in all", path=path)


T = TypeVar("T", bound=msgspec.Struct)


def build(cls: type[T], data: Any, *, path: str = "$", rules: str = "") -> T:
    """Make a Struct of a JSON object: the one gate for everything that callers hand in.

    ``data``: a dict with the documented camelCase members. ``path``: where it stands in the caller's input.
    ``rules``: the letters of the rules that errors name first (``CL``, ``CU``, …), where a type serves several events.

    Raises InvalidAction with rule, path and what was expected.
    """
    data = plain(data, path)
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:
        raise _explain(str(error), cls, data, path, rules) from None


_MESSAGE = re.compile(r"(?P<problem>.*?)(?: - at `(?P<path>\$.*?)`| - at `key` in `(?P<keys>\$.*?)`)?", re.DOTALL)
_UNKNOWN = re.compile("Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile("Object missing required field `(.*)`")
_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]")


def _explain(message: str, cls: type, data: Any, root: str, rules: str) -> InvalidAction:
    """Say it in our words: msgspec's message may quote the value, and does not know the rule."""
    found = _MESSAGE.fullmatch(message)
    assert found is not None
    place = found["path"] or found["keys"] or "$"
    path = root + place[1:]
    if unknown := _UNKNOWN.fullmatch(found["problem"]):
        known = ", ".join(sorted(_members(_find(cls, place)[0])))
        return InvalidAction(f"there is no such member; known are: {known}", path=f"{path}.{unknown[1]}")
    if missing := _MISSING.fullmatch(found["problem"]):
        _, meta = _find(cls, f"{place}.{missing[1]}")
        expected = (meta.description if meta else None) or "a value"
        return InvalidAction(f"is required: {expected}", path=f"{path}.{missing[1]}", rule=_rule(meta, rules))
    kind, meta = _find(cls, place)
    expected = (meta.description if meta else None) or _kind_of_type(kind)
    return InvalidAction(f"expected {expected}, got {_kind(_at(data, place))}", path=path, rule=_rule(meta, rules))


def _at(data: Any, place: str) -> Any:
    for name, index in _STEP.findall(place):
        data = data[name] if name else data[int(index)]
    return data


def _rule(meta: Meta | None, letters: str) -> str | None:
    rules: tuple[str, ...] = (meta.extra or {}).get("rules", ()) if meta else ()
    return next((rule for rule in rules if letters and rule.startswith(letters)), rules[0] if rules else None)


def _find(cls: type, place: str) -> tuple[Any, Meta | None]:
    """The type that stands at a place such as ``$.suggestion.documentTitle``, and its Meta."""
    kind, meta = _strip(cls)
    for name, _ in _STEP.findall(place):
        if not name and get_origin(kind) is tuple:
            kind, meta = _strip(get_args(kind)[0])
        elif name in (members := _members(kind)):
            kind, meta = _strip(members[name])
        else:  # inside an object of the caller's choice: the object's own Meta stands
            break
    return kind, meta


def _strip(kind: Any) -> tuple[Any, Meta | None]:
    """Take ``| None`` and ``Annotated`` off a type."""
    if get_origin(kind) in (Union, UnionType):
        return _strip(next(option for option in get_args(kind) if option is not NoneType))
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        return inner, next(note for note in notes if isinstance(note, Meta))
    return kind, None


def _members(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    return {}


def _kind_of_type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    names = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(kind) or ("an array" if get_origin(kind) in (tuple, list) else "an object")


def _kind(value: object) -> str:
    """What sort of thing a value is, without showing it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number" if isfinite(value) else "NaN or an infinity"
        case str():
            return f"a string of {len(value)} characters" if value else "an empty string"
        case dict():
            return "an object"
        case list() | tuple():
            return "an array"
        case _:
            return f"a Python {type(value).__name__}"
