"""How fast are records written as JSON lines, 256 at a time?

Floor: ``encode_lines`` of msgspec on equal Structs that have nothing of ours. Peers: json and orjson on dicts, and
pydantic, cattrs and mashumaro on classes of their own. All begin with the same values and end with the same lines.
"""

import json
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from benchmarks.data import sessions
from benchmarks.peers.models import bare_record
from benchmarks.results import Result, installed, result, turns, versions_of
from caseassist.core.records import encode_lines

BATCH = 256
TYPED = ("pydantic", "cattrs", "mashumaro")


def versions() -> dict[str, str]:
    return versions_of("orjson", *TYPED)


def run(quick: bool) -> list[Result]:
    records = sessions(-(-BATCH // 10))[:BATCH]
    text = encode_lines(records)
    lines = text.splitlines()
    dicts = [msgspec.to_builtins(record, builtin_types=(datetime,)) for record in records]
    bare = msgspec.json.Decoder(bare_record()).decode_lines(text)
    functions: dict[str, Callable[[], bytes]] = {
        "caseassist": lambda: encode_lines(records),
        "bare": partial(msgspec.json.Encoder().encode_lines, bare),
        "json": partial(write_json, dicts),
    }
    if orjson := installed("orjson", "orjson"):
        options = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
        functions["orjson"] = lambda: b"".join([orjson.dumps(record, option=options) for record in dicts])
    for name in TYPED:
        if peer := installed(name, f"benchmarks.peers.{name}"):
            decode, encode = peer.codec()
            functions[name] = partial(encode, decode(lines))
    expected = [json.loads(line) for line in lines]
    for name, function in functions.items():
        assert [json.loads(line) for line in function().splitlines()] == expected, f"{name} writes something else"
    return [
        result(
            "encode", turns(functions, BATCH, 7 if quick else 41, turn_s=0.02, clock=time.process_time), floor="bare"
        )
    ]


def write_json(dicts: list[Any]) -> bytes:
    return b"".join([_ENCODER.encode(record).encode() + b"\n" for record in dicts])


def _with_z(value: object) -> str:
    assert isinstance(value, datetime)
    return value.isoformat().replace("+00:00", "Z")


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False, default=_with_z)
