"""How fast are sessions decided and written to a file? Floor: writing the same, already decided records."""

import os
import tempfile
from pathlib import Path

import msgspec

from benchmarks.data import ACTIONS, play, sessions
from benchmarks.results import Result, result, turns
from caseassist.core.records import Record, encode_lines

BATCH = 256


def run(quick: bool) -> list[Result]:
    number = 30 if quick else 1000
    done = sessions(number)
    encoder = msgspec.json.Encoder()
    with tempfile.TemporaryDirectory() as folder:
        file = os.open(Path(folder) / "records.jsonl", os.O_WRONLY | os.O_CREAT)

        def ours() -> None:
            os.ftruncate(file, 0)
            batch: list[Record] = []
            for _ in range(number):
                batch += play()
                if len(batch) >= BATCH:
                    os.write(file, encode_lines(batch))
                    batch.clear()
            os.write(file, encode_lines(batch))

        def floor() -> None:
            os.ftruncate(file, 0)
            for begin in range(0, len(done), BATCH):
                os.write(file, encoder.encode_lines(done[begin : begin + BATCH]))

        try:
            rates = turns({"caseassist": ours, "write only": floor}, number * len(ACTIONS), 5 if quick else 7)
        finally:
            os.close(file)
    return [result("step_file", rates, floor="write only")]
