"""How fast is a log folded into sessions, and in how much memory?

The log is a file of JSON lines, 64 sessions at a time, read by the megabyte. Floor: decoding the same blocks and
folding nothing. Peers: msgspec's typed decoder alone; eventsourcing, which rebuilds its aggregates from memory.

*Peak memory* is that of a process that replays a stream of records and keeps no session, beside the same for a
hundredth of the records. Its floor is what the process took before.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.data import play
from benchmarks.peers.models import bare_record
from benchmarks.results import Result, installed, result, turns, versions_of
from caseassist.core.records import decode_blocks, encode_lines, whole_lines
from caseassist.core.replay import replay
from caseassist.core.session import Session

BLOCK_BYTES = 1 << 20
AT_ONCE = 64
LENGTH = 10


def versions() -> dict[str, str]:
    return versions_of("eventsourcing")


def interleaved() -> bytes:
    """The lines of 64 sessions that were played at the same time."""
    logs = [play() for _ in range(AT_ONCE)]
    return encode_lines([record for records in zip(*logs, strict=True) for record in records])


def stream(rounds: int) -> Iterator[bytes]:
    """The lines of so many times 64 sessions, each with an id of its own."""
    text = interleaved()
    for number in range(rounds):
        yield text.replace(b'"sessionId":"', b'"sessionId":"%d-' % number)


def read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(partial(file.read, BLOCK_BYTES), b"")


def count(sessions: Iterable[Session]) -> int:
    """How many sessions there are; they are not kept."""
    return sum(1 for _ in sessions)


def run(quick: bool) -> list[Result]:
    rounds = 16 if quick else 157  # 100,480 records
    events = rounds * AT_ONCE * LENGTH
    decoder = msgspec.json.Decoder(bare_record())
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "records.jsonl"
        with log.open("wb") as file:
            file.writelines(stream(rounds))
        assert count(replay(decode_blocks(read(log)))) == rounds * AT_ONCE
        functions: dict[str, Callable[[], object]] = {
            "caseassist": lambda: count(replay(decode_blocks(read(log)))),
            "decode only": lambda: sum(map(len, decode_blocks(read(log)))),
            "bare decode_lines": lambda: sum(len(decoder.decode_lines(lines)) for lines in whole_lines(read(log))),
        }
        numbers = dict.fromkeys(functions, events)
        if eventsourcing := installed("eventsourcing", "eventsourcing.application"):
            peer = installed("eventsourcing", "benchmarks.peers.eventsourcing")
            application = eventsourcing.Application()
            ids = [peer.play(application) for _ in range(20 if quick else 500)]
            functions["eventsourcing"] = lambda: peer.rebuild(application, ids)
            numbers["eventsourcing"] = len(ids) * LENGTH
        rates = turns(functions, numbers, 5 if quick else 11, clock=time.process_time)
    return [result("replay", rates, floor="decode only"), measure_memory(1_000 if not quick else 10)]


def measure_memory(hundreds: int) -> Result:
    few, many = (peak_mb(rounds) for rounds in (16 * hundreds // 100 or 1, 16 * hundreds))
    records = 16 * hundreds * AT_ONCE * LENGTH
    return Result(
        name=f"replay, peak memory, {records:,} records",
        unit="MB",
        value=many[1],
        floor=many[0],
        peers={"a hundredth of the records": few[1]},
    )


def peak_mb(rounds: int) -> tuple[float, float]:
    """The most memory that a process takes before and after it folds so many times 640 records."""
    command = [sys.executable, "-m", "benchmarks.replay", str(rounds)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    before_kb, after_kb = map(int, printed)
    return before_kb / 1e3, after_kb / 1e3


def most_kb() -> int:
    """The most memory that this process has taken."""
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere, what the parent took before it started this one may be counted in
        return int(status.read_text().partition("VmHWM:")[2].split()[0])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    wanted = int(sys.argv[1])
    before = most_kb()
    assert count(replay(decode_blocks(stream(wanted)))) == wanted * AT_ONCE
    print(before, most_kb())
