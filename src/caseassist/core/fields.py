"""The constrained field types, each written once, and the gate that holds values against them.

A type carries its limit, the rules it enforces (ids of docs/reference/rules; the letters name the document and event,
such as CL for the click events of article 2064) and a phrase that says what is expected. The JSON Schema, the
reference pages and the error messages all come from here.

msgspec checks a constraint when it decodes or converts, not when a Struct is constructed. So every value that a caller
hands in passes :func:`build` once; what has passed is trusted from then on.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import Meta

from caseassist.core.errors import InvalidAction

__all__ = [
    "CONTENT_ID_KEYS",
    "LANGUAGES",
    "MAX_ID",
    "ActionCause",
    "Anonymous",
    "AutoSelection",
    "Cause",
    "ClassificationId",
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
    "Stage",
    "SuggestionId",
    "Text",
    "TicketCustom",
    "TicketId",
    "TrackingId",
    "UserAgent",
    "UserDisplayName",
    "Username",
    "build",
    "check_custom_data",
    "content_key",
    "convert",
    "kind_of",
    "known_part",
    "language_from_locale",
    "members_of",
    "path_of",
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
_END = r"(?!\n)$"
"""The end of the text, in Python too: there, ``$`` alone also matches before a newline that ends the text."""


def _meta(expected: str, *rules: str, **limits: Any) -> Meta:
    return Meta(description=expected, extra={"rules": rules}, extra_json_schema={"x-rules": list(rules)}, **limits)


def _id(expected: str, *rules: str, max_length: int = MAX_ID) -> Meta:
    """Opaque text: never empty, no control characters, no half of a surrogate pair."""
    return _meta(f"{expected}: 1 to {max_length} characters, no control characters", *rules,
                 max_length=max_length, pattern=f"^{_NO_CONTROLS}+{_END}")  # fmt: skip


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
ClientId = Annotated[
    str,
    _meta("a UUID in lower case (client_id_from makes one from any name)", "CD-002", "CQ-002", "CL-056", "CU-032",
          "CA-013", pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}" + _END),
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
          pattern=f"^({'|'.join(sorted(LANGUAGES))}){_END}"),
]  # fmt: skip
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


def plain(value: Any, path: str = "$") -> Any:
    """Return a deep copy of a JSON value, or raise InvalidAction for what JSON cannot carry unharmed.

    Refused: NaN and infinities, halves of surrogate pairs, keys that are not strings, Python objects, more than 16
    levels, 1,024 members or 262,144 characters in all, and whole numbers beyond 64 bits. Our own values, and instances
    of subclasses of the JSON types, such as a StrEnum's member, count as what they hold. Nothing is ever called on an
    unknown object, not even ``str()``.
    """
    return _Copy().copy(value, path, 0)


_Place: TypeAlias = "str | tuple[_Place, object]"
"""A path, or a place in what stands at another place: written out only when there is an error to tell."""

# Unbound methods are taken from these: type checkers cannot tell what the collections hold.
_dict: Any = dict
_list: Any = list
_tuple: Any = tuple

_EXACT: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (dict, _dict.copy),
    (list, _list.copy),
    (tuple, _tuple.__iter__),
    (msgspec.Struct, lambda value: _members_of_struct(value)),
)
"""What makes an instance of a JSON type of one of a subclass, without calling anything that the subclass defines."""


class _Copy:
    __slots__ = ("characters", "members")

    def __init__(self) -> None:
        self.characters = MAX_CHARACTERS
        self.members = MAX_MEMBERS

    def copy(self, value: Any, place: _Place, depth: int) -> Any:
        kind = cast("object", type(value))
        if kind is str:
            return self._text(value, place)
        if value is None or kind is bool:
            return value
        if kind is int:
            if -(2**63) <= value < 2**64:
                return value
            raise _refusal("expected a whole number of at most 64 bits", place)
        if kind is float:
            if isfinite(value):
                return value
            raise _refusal("expected a finite number, got NaN or an infinity", place)
        if kind is dict or kind is list or kind is tuple:
            if depth >= MAX_DEPTH:
                raise _refusal(f"nested more than {MAX_DEPTH} levels deep", place)
            self.members -= len(value)
            if self.members < 0:
                raise _refusal(f"more than {MAX_MEMBERS} members in all", place)
            if kind is dict:
                return {
                    self._key(key, place): self.copy(member, (place, key), depth + 1) for key, member in value.items()
                }
            return [self.copy(member, (place, i), depth + 1) for i, member in enumerate(value)]
        for base, exact in _EXACT:
            if issubclass(type(value), base):
                inner = exact(value)
                return self.copy(list(inner) if base is tuple else inner, place, depth)
        raise _refusal(f"expected a JSON value, got {kind_of(value)}", place)

    def _text(self, value: str, place: _Place) -> str:
        self.characters -= len(value)
        if self.characters < 0:
            raise _refusal(f"more than {MAX_CHARACTERS} characters in all", place)
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _refusal("expected text, got half of a surrogate pair in it", place) from None
        return value

    def _key(self, key: Any, place: _Place) -> str:
        if issubclass(type(key), str):
            return self._text(str.__str__(key), place)
        raise _refusal(f"expected keys that are strings, got {kind_of(key)}", place)


def _refusal(problem: str, place: _Place) -> InvalidAction:
    steps: list[object] = []
    while not isinstance(place, str):
        place, step = place
        steps.append(step)
    return InvalidAction(problem, path=path_of(place, *reversed(steps)))


_NAME = re.compile(r"[\w$-]{1,64}")


def path_of(path: str, *steps: object) -> str:
    """Return the path that leads on from ``path``: ``.name`` for a member, ``[0]`` for an item.

    A name that is long or odd is quoted, escaped and cut, so that no input can spoil a message.
    """
    for step in steps:
        if type(step) is str:
            path += f".{step}" if _NAME.fullmatch(step) else f"[{step[:64]!r}]"
        else:
            path += f"[{step}]" if type(step) is int else "[…]"
    return path


def members_of(value: Any, path: str = "$") -> dict[str, Any]:
    """The members of one of our values, or of a JSON object, as a dict. Raises InvalidAction for anything else.

    Members of a value that hold their default are left out.
    """
    if issubclass(type(value), dict):
        return cast("dict[str, Any]", _dict.copy(value))
    if issubclass(type(value), msgspec.Struct):
        return _members_of_struct(value)
    if issubclass(type(value), Mapping):
        try:
            return dict(value)
        except Exception:  # noqa: BLE001 (somebody else's mapping: whatever it raises, it cannot be read)
            raise InvalidAction("expected an object, got a mapping that cannot be read", path=path) from None
    raise InvalidAction(f"expected an object, got {kind_of(value)}", path=path)


def _members_of_struct(value: msgspec.Struct) -> dict[str, Any]:
    config = value.__struct_config__
    members: dict[str, Any] = {} if config.tag_field is None else {config.tag_field: config.tag}
    for field in _fields_of(type(value)):
        member = getattr(value, field.name)
        if member is not field.default:
            members[field.encode_name] = member
    return members


@cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)  # it reads the annotations anew every time


T = TypeVar("T", bound=msgspec.Struct)


def build(cls: type[T], data: Any, *, path: str = "$", rules: str = "") -> T:
    """Make a Struct of a JSON object: the one gate for everything that callers hand in.

    ``data``: a dict with the documented camelCase members. Where ``cls`` passes over unknown members, these are not
    even looked at. ``path``: where it stands in the caller's input. ``rules``: how the ids of the rules begin that
    errors name first (``CL``, ``CU``, …), where a type serves several events.

    Raises InvalidAction with rule, path and what was expected.
    """
    if not cls.__struct_config__.forbid_unknown_fields:
        data = known_part(data, cls)
    return convert(cls, plain(data, path), path=path, rules=rules)


def convert(cls: type[T], data: Any, *, path: str = "$", rules: str = "") -> T:
    """As :func:`build`, for what was decoded from JSON already: of any size."""
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:
        raise _explain(str(error), cls, data, path, rules) from None


def known_part(value: Any, kind: Any) -> Any:
    """Return what a type knows of a JSON value: members that it does not know are left out, at every level."""
    if issubclass(type(value), dict) and (members := _members(kind)):
        named = ((str.__str__(key), item) for key, item in _dict.items(value) if issubclass(type(key), str))
        return {name: known_part(item, members[name]) for name, item in named if name in members}
    if issubclass(type(value), list) and get_origin(kind) is tuple:
        return [known_part(item, get_args(kind)[0]) for item in _list.__iter__(value)]
    return value


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`(?: - at `(?P<path>\$[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>\w+)`(?: - at `(?P<path>\$[^`]*)`)?")
_WRONG = re.compile(r".*?(?P<range>[<>]=.*?)?(?: - at `(?P<path>\$[^`]*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]")


def _explain(message: str, cls: type, data: Any, root: str, rules: str) -> InvalidAction:
    """Say it in our words: msgspec's message may quote the value, and does not know the rule."""
    found = _UNKNOWN.fullmatch(message) or _MISSING.fullmatch(message) or _WRONG.fullmatch(message)
    assert found is not None  # the last takes everything
    place = found["path"] or "$"
    path = root + place[1:]
    if found.re is _UNKNOWN:
        known = ", ".join(sorted(_members(_find(cls, place)[0])))
        return InvalidAction(f"there is no such member; known are: {known}", path=path_of(path, found["name"]))
    if found.re is _MISSING:
        kind, meta = _find(cls, f"{place}.{found['name']}")
        expected = (meta.description if meta else None) or _kind_of_type(kind)
        return InvalidAction(f"is required: {expected}", path=f"{path}.{found['name']}", rule=_rule(meta, rules))
    kind, meta = _find(cls, place)
    expected = (meta.description if meta else None) or _kind_of_type(kind)
    value = _at(data, place)
    got = "a number outside of that" if found["range"] and not isinstance(value, str) else kind_of(value)
    return InvalidAction(f"expected {expected}, got {got}", path=path, rule=_rule(meta, rules))


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


@cache
def _members(kind: Any) -> dict[str, Any]:
    """The members that a Struct has in JSON, with their types."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return {}
    config = kind.__struct_config__
    tag = {} if config.tag_field is None else {config.tag_field: Literal[config.tag]}
    return tag | {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _kind_of_type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    names = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(kind) or ("an array" if get_origin(kind) in (tuple, list) else "an object")


_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def kind_of(value: object) -> str:
    """What sort of thing a value is, without showing it, and without calling anything on it."""
    kind = type(value)
    if value is None:
        return "null"
    if kind is bool:
        return "a boolean"
    if issubclass(kind, int):
        return "a whole number"
    if issubclass(kind, float):
        return "a number" if float.is_integer(cast("float", value)) else "a number that is not whole"
    if issubclass(kind, str):
        text = str.__str__(cast("str", value))
        controls = ", control characters among them" if _CONTROLS.search(text) else ""
        characters = "1 character" if len(text) == 1 else f"{len(text)} characters"
        return f"a string of {characters}{controls}" if text else "an empty string"
    if issubclass(kind, dict):
        return "an object"
    if issubclass(kind, list | tuple):
        return "an array"
    return f"a Python {kind.__name__}"
