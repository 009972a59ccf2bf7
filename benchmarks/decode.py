"""How fast are JSON lines read as records? Floor: msgspec's typed decoder on the same bytes. Peer: json."""

import json

import msgspec

from benchmarks.data import sessions
from benchmarks.results import Result, result, turns
from caseassist.core.records import Record, decode_lines, encode_lines


def run(quick: bool) -> list[Result]:
    text = encode_lines(sessions(100))
    lines = text.splitlines()
    decoder = msgspec.json.Decoder(Record)
    rates = turns(
        {
            "caseassist": lambda: list(decode_lines(lines)),
            "bare decode_lines": lambda: decoder.decode_lines(text),
            "json.loads": lambda: [json.loads(line) for line in lines],
        },
        len(lines),
        5 if quick else 100,
    )
    return [result("decode", rates, floor="bare decode_lines")]
