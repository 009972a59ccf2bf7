"""pydantic v2: strict models, events told apart by their action, JSON straight from and to the models."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Union

from msgspec import inspect
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model

from benchmarks.peers.models import annotate, limits, model
from caseassist.core.records import Record

__all__ = ["codec"]

CONFIG = ConfigDict(strict=True, extra="forbid", frozen=True, validate_by_name=True)


def codec() -> tuple[Callable[[Sequence[bytes]], list[Any]], Callable[[Sequence[Any]], bytes]]:
    """How lines are read as validated records, and records written as lines."""
    record = _model(Record)
    read = record.__pydantic_validator__.validate_json
    write = record.__pydantic_serializer__.to_json

    def decode(lines: Sequence[bytes]) -> list[Any]:
        return [read(line) for line in lines]

    def encode(records: Sequence[Any]) -> bytes:
        return b"".join([write(record, by_alias=True, exclude_defaults=True) + b"\n" for record in records])

    return decode, encode


@cache
def _model(cls: type) -> type[BaseModel]:
    described = model(cls)
    members: dict[str, Any] = {}
    if described.tag is not None:
        members["action"] = (Literal[described.tag], ...)  # without a default, or it would be left out
    for member in described.members:
        kind = annotate(member.type, _model, scalar=_scalar, union=_union)
        members[member.name] = (kind, Field(... if member.required else member.default, alias=member.key))
    created: type[BaseModel] = create_model(described.name, __config__=CONFIG, **members)
    return created


def _union(classes: list[Any]) -> Any:
    return Annotated[Union[*classes], Field(discriminator="action")]


def _scalar(kind: inspect.Type, plain: Any) -> Any:
    known = limits(kind)
    if known.pop("tz", None):
        return AwareDatetime
    if "pattern" in known:  # in Rust's expressions `$` is the very end, and a string has no surrogates
        known["pattern"] = known["pattern"].replace("(?!\\n)$", "$").replace("\\ud800-\\udfff", "")
    return Annotated[plain, Field(**known)] if known else plain
