"""How fast are records written as JSON lines? Floor: msgspec's ``encode_lines`` on the same records. Peer: json."""

import json

import msgspec

from benchmarks.data import sessions
from benchmarks.results import Result, result, turns
from caseassist.core.records import encode_lines


def run(quick: bool) -> list[Result]:
    records = sessions(26)[:256]
    plain = [msgspec.to_builtins(record) for record in records]
    encoder = msgspec.json.Encoder()
    rates = turns(
        {
            "caseassist": lambda: encode_lines(records),
            "bare encode_lines": lambda: encoder.encode_lines(records),
            "json.dumps": lambda: [json.dumps(record) for record in plain],
        },
        len(records),
        5 if quick else 200,
    )
    return [result("encode", rates, floor="bare encode_lines")]
