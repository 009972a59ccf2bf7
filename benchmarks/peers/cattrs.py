"""cattrs: attrs classes that check themselves, through orjson, with the settings that its documentation calls fast.

It takes a number where text is expected, and makes text of it: that is its way.
"""

from collections.abc import Callable, Sequence
from functools import cache, reduce
from operator import or_
from typing import Any

import attrs
import orjson
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.orjson import make_converter
from cattrs.strategies import configure_tagged_union

from benchmarks.peers.models import annotate, model, post_init
from caseassist.core.records import Record

__all__ = ["codec"]


def codec() -> tuple[Callable[[Sequence[bytes]], list[Any]], Callable[[Sequence[Any]], bytes]]:
    """How lines are read as validated records, and records written as lines."""
    converter = make_converter(detailed_validation=False, forbid_extra_keys=True)
    options = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

    @cache
    def build(ours: type) -> Any:
        described = model(ours)
        cls = attrs.make_class(
            described.name,
            {
                member.name: attrs.field(
                    type=annotate(member.type, build, union=union),
                    default=attrs.NOTHING if member.required else member.default,
                )
                for member in described.members
            },
            kw_only=True,
            slots=True,
            class_body={"__attrs_post_init__": post_init(described)},
        )
        names: Any = {
            member.name: override(rename=member.key, omit_if_default=not member.required)
            for member in described.members
        }
        read: Any = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **names)
        converter.register_structure_hook(cls, read)
        converter.register_unstructure_hook(cls, make_dict_unstructure_fn(cls, converter, **names))
        tags[cls] = described.tag or ""
        return cls

    def union(classes: list[Any]) -> Any:
        joined = reduce(or_, classes)
        configure_tagged_union(joined, converter, tag_name="action", tag_generator=lambda cls: tags[cls])
        return joined

    tags: dict[type, str] = {}
    record = build(Record)

    def decode(lines: Sequence[bytes]) -> list[Any]:
        return [converter.loads(line, record) for line in lines]

    def encode(records: Sequence[Any]) -> bytes:
        return b"".join([converter.dumps(record, option=options) for record in records])

    return decode, encode
