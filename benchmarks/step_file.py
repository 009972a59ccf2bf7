"""How fast are sessions decided and written to a file? Floor: writing the same, already decided records."""

import os
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.data import ACTIONS, play, sessions
from benchmarks.results import Result, result, turns
from caseassist.core.records import Record, encode_lines

BATCH = 256


def run(quick: bool) -> list[Result]:
    number = 100 if quick else 1000
    done = sessions(number)
    encoder = msgspec.json.Encoder()
    with tempfile.TemporaryDirectory() as folder:
        file = os.open(Path(folder) / "records.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def ours() -> None:
            os.ftruncate(file, 0)
            batch: list[Record] = []
            for _ in range(number):
                batch += play()
                if len(batch) >= BATCH:
                    os.write(file, encode_lines(batch))
                    batch.clear()
            os.write(file, encode_lines(batch))

        def write_only() -> None:
            os.ftruncate(file, 0)
            for begin in range(0, len(done), BATCH):
                os.write(file, encoder.encode_lines(done[begin : begin + BATCH]))

        try:
            rates = turns(
                {"caseassist": ours, "write only": write_only},
                number * len(ACTIONS),
                7 if quick else 21,
                clock=time.process_time,
            )
        finally:
            os.close(file)
    return [result("step_file", rates, floor="write only")]
