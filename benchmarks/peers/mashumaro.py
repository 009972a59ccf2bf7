"""mashumaro: dataclasses that check themselves, through its codecs for orjson.

It takes a number where text is expected, and makes text of it: that is its way.
"""

from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args

import orjson
from mashumaro.codecs.basic import BasicEncoder
from mashumaro.codecs.orjson import ORJSONDecoder
from mashumaro.config import BaseConfig
from mashumaro.mixins.orjson import OrjsonDialect
from mashumaro.types import Discriminator

from benchmarks.peers.models import annotate, model, post_init
from caseassist.core import records as ours

__all__ = ["codec"]


def codec() -> tuple[Callable[[Sequence[bytes]], list[Any]], Callable[[Sequence[Any]], bytes]]:
    """How lines are read as validated records, and records written as lines."""
    record = _build(ours.Record)
    read = ORJSONDecoder(record).decode
    plain = BasicEncoder(record, default_dialect=OrjsonDialect).encode  # ORJSONEncoder takes no options of orjson
    write = orjson.dumps
    options = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

    def decode(lines: Sequence[bytes]) -> list[Any]:
        return [read(line) for line in lines]

    def encode(records: Sequence[Any]) -> bytes:
        return b"".join([write(plain(record), option=options) for record in records])

    return decode, encode


@cache
def _build(cls: type) -> Any:
    described = model(cls)
    members: list[Any] = []
    if described.tag is not None:
        members.append(("action", Literal[described.tag], field()))  # without a default, or it would be left out
    for member in described.members:
        kind = annotate(member.type, _build, union=_union)
        members.append((member.name, kind, field() if member.required else field(default=member.default)))

    class Config(BaseConfig):
        aliases = {member.name: member.key for member in described.members}  # noqa: RUF012
        serialize_by_alias = True
        omit_default = True
        forbid_extra_keys = True

    names = {"Config": Config, "__post_init__": post_init(described), "__module__": __name__}
    built = make_dataclass(described.name, members, kw_only=True, namespace=names)
    globals()[described.name] = built  # where the code that mashumaro writes looks for it
    return built


def _union(classes: list[Any]) -> Any:
    tagged = Discriminator(field="action", include_supertypes=True, variant_tagger_fn=_tag)
    return Annotated[Union[*classes], tagged]


def _tag(cls: type) -> str:
    (tag,) = get_args(cls.__annotations__["action"])
    return str(tag)
