"""The gate: what callers hand in is held against the types here, once, and trusted from then on.

msgspec checks a constraint when it decodes or converts, not when a Struct is constructed. So every value that a caller
hands in passes :func:`build` once: it is copied, stripped of what JSON cannot carry, checked, and refused with an error
that names the rule, the place and what was expected, never the value.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, TypeGuard, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import Meta

from caseassist.core.errors import InvalidAction

__all__ = [
    "CHECK",
    "CLEAN_PATTERN",
    "build",
    "convert",
    "is_clean",
    "is_clean_text",
    "is_id",
    "is_scalar",
    "is_text",
    "kind_of",
    "known_part",
    "members_of",
    "path_of",
    "plain",
]

CHECK = "check"
"""In the ``extra`` of a type's Meta: a function that tells whether a text keeps what msgspec does not check."""
CLEAN_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+(?!\n)$"
"""No control characters, and no half of a surrogate pair."""

# What one value may hold, so that a bad one cannot fill a store.
MAX_CHARACTERS = 262_144
MAX_DEPTH = 16
MAX_MEMBERS = 1024


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
        if not (value.isascii() or _can_be_encoded(value)):
            raise _refusal("expected text, got half of a surrogate pair in it", place)
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
        value = msgspec.convert(data, cls)
    except msgspec.ValidationError as error:
        raise _explain(str(error), cls, data, path, rules) from None
    place = _unclean(value)
    if place is not None:
        raise _wrong(cls, data, f"${place}", path, rules)
    return value


_match_clean = re.compile(CLEAN_PATTERN).match


def is_clean_text(text: str) -> bool:
    """Whether a text is not empty and has no control characters."""
    return text.isprintable() if text.isascii() and text else _match_clean(text) is not None


def is_clean(value: msgspec.Struct) -> bool:
    """Whether the identifiers in a value are what they should be."""
    return _unclean(value) is None


def is_id(value: object, longest: int) -> TypeGuard[str]:
    """Whether a value is an identifier of at most so many characters: the gate takes ten times as long to say so."""
    return type(value) is str and 0 < len(value) <= longest and (value.isprintable() or is_clean_text(value))


def is_text(value: object, longest: int) -> TypeGuard[str]:
    """Whether a value is text of at most so many characters."""
    return type(value) is str and len(value) <= longest and (value.isascii() or _can_be_encoded(value))


def is_scalar(value: object) -> bool:
    """Whether a value is null, a boolean, a whole number or a short text: such as JSON carries unharmed."""
    kind = type(value)
    if kind is str:
        return is_text(value, 1024)
    return value is None or kind is bool or (kind is int and -(2**63) <= cast("int", value) < 2**63)


def _can_be_encoded(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _unclean(value: msgspec.Struct) -> str | None:
    """Where in a value an identifier is not what it should be, such as ``.documents[0].suggestionId``."""
    ids, parts = _texts_of(type(value))
    for name, encoded, check in ids:
        text = getattr(value, name)
        if text is not None and not check(text):
            return f".{encoded}"
    for name, encoded in parts:
        part = getattr(value, name)
        if part is None:
            continue
        if not isinstance(part, tuple):
            place = _unclean(part)
            if place is not None:
                return f".{encoded}{place}"
            continue
        for i, item in enumerate(cast("tuple[msgspec.Struct, ...]", part)):
            place = _unclean(item)
            if place is not None:
                return f".{encoded}[{i}]{place}"
    return None


_Ids: TypeAlias = tuple[tuple[str, str, Callable[[str], bool]], ...]
_Parts: TypeAlias = tuple[tuple[str, str], ...]


@cache
def _texts_of(kind: type[msgspec.Struct]) -> tuple[_Ids, _Parts]:
    """The members of a Struct that are identifiers, and those that hold Structs: their names here and in JSON."""
    ids: list[tuple[str, str, Callable[[str], bool]]] = []
    parts: list[tuple[str, str]] = []
    for field in _fields_of(kind):
        inner, meta = _strip(field.type)
        if meta is not None and meta.extra is not None and CHECK in meta.extra:
            ids.append((field.name, field.encode_name, meta.extra[CHECK]))
        elif _members(get_args(inner)[0] if get_origin(inner) is tuple else inner):
            parts.append((field.name, field.encode_name))
    return tuple(ids), tuple(parts)


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
    return _wrong(cls, data, place, root, rules, out_of_range=bool(found["range"]))


def _wrong(cls: type, data: Any, place: str, root: str, rules: str, *, out_of_range: bool = False) -> InvalidAction:
    kind, meta = _find(cls, place)
    expected = (meta.description if meta else None) or _kind_of_type(kind)
    value = _at(data, place)
    got = "a number outside of that" if out_of_range and not isinstance(value, str) else kind_of(value)
    return InvalidAction(f"expected {expected}, got {got}", path=root + place[1:], rule=_rule(meta, rules))


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
