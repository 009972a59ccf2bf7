"""How fast are JSON lines read as records, typed and validated, 256 at a time? (``replay`` reads a file of them.)

Floor: ``decode_lines`` of msgspec, typed, into equal Structs that have nothing of ours, and that may hold control
characters anywhere. Peers: pydantic, cattrs and mashumaro with classes of their own and the same limits as ours; json
and orjson, which make dicts and check nothing.
"""

import json
import time
from collections.abc import Callable
from functools import partial

import msgspec

from benchmarks.data import sessions
from benchmarks.encode import BATCH, TYPED
from benchmarks.peers.models import bare_record
from benchmarks.results import Result, installed, result, turns, versions_of
from caseassist.core.records import decode_blocks, encode_lines


def versions() -> dict[str, str]:
    return versions_of("orjson", *TYPED)


def run(quick: bool) -> list[Result]:
    text = encode_lines(sessions(-(-BATCH // 10))[:BATCH])
    lines = text.splitlines()
    decoder = msgspec.json.Decoder(bare_record())
    functions: dict[str, Callable[[], object]] = {
        "caseassist": lambda: list(decode_blocks([text])),
        "bare": partial(decoder.decode_lines, text),
        "json, dicts": lambda: [json.loads(line) for line in lines],
    }
    if orjson := installed("orjson", "orjson"):
        functions["orjson, dicts"] = lambda: [orjson.loads(line) for line in lines]
    for name in TYPED:
        if peer := installed(name, f"benchmarks.peers.{name}"):
            decode, _ = peer.codec()
            functions[name] = partial(decode, lines)
    return [
        result(
            "decode",
            turns(functions, len(lines), 7 if quick else 41, turn_s=0.02, clock=time.process_time),
            floor="bare",
        )
    ]
