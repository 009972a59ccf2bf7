"""How many records a second does the file sink take, in batches of its own size, and of 256?

The floor is ``encode_lines`` and one ``os.write`` for each of the same batches, in a loop that does nothing else. The
sink writes in a thread, as a disk can hang; the hop there and back is part of what it takes.

Peer: ``logging``, one record at a time through a ``FileHandler`` with a formatter that makes the same lines.
"""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import anyio
import msgspec

from benchmarks.data import sessions
from benchmarks.results import Result, result
from caseassist.core.records import Record
from caseassist.sinks.file import FileSink

BATCH = FileSink("unused").batch_records
SMALLER = 256


async def deliver(path: Path, batches: Sequence[Sequence[Record]]) -> float:
    """Seconds."""
    sink = FileSink(path)
    await sink.open()
    begin = time.perf_counter()
    for batch in batches:
        await sink.deliver(batch)
    taken_s = time.perf_counter() - begin
    await sink.aclose()
    return taken_s


def write_bare(path: Path, batches: Sequence[Sequence[Record]]) -> float:
    """Seconds."""
    encode_lines = msgspec.json.Encoder().encode_lines
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        begin = time.perf_counter()
        for batch in batches:
            os.write(file, encode_lines(batch))
        return time.perf_counter() - begin
    finally:
        os.close(file)


class Lines(logging.Formatter):
    """Formats the record that is the message."""

    encode = msgspec.json.Encoder().encode

    def format(self, record: logging.LogRecord) -> str:
        return self.encode(record.msg).decode()


def log(path: Path, batches: Sequence[Sequence[Record]]) -> float:
    """Seconds."""
    logger = logging.Logger("benchmark", logging.INFO)  # noqa: LOG001 (of its own: nothing else handles it)
    handler = logging.FileHandler(path)
    handler.setFormatter(Lines())
    logger.addHandler(handler)
    begin = time.perf_counter()
    for batch in batches:
        for record in batch:
            logger.info(record)
    taken_s = time.perf_counter() - begin
    handler.close()
    return taken_s


def run(quick: bool) -> list[Result]:
    return [
        *measure_batches("", BATCH, quick),
        *measure_batches(f"{SMALLER} a batch, ", SMALLER, quick),
    ]


def measure_batches(name: str, size: int, quick: bool) -> Iterator[Result]:
    """Ours on each backend, the floor and the peer, with batches of so many records."""
    records = sessions(-(-4 * size // 10) if quick else 1024)
    records = records[: len(records) // size * size]
    batches = [records[n : n + size] for n in range(0, len(records), size)]
    seconds: dict[str, Callable[[Path], float]] = {
        backend: lambda path, backend=backend: anyio.run(deliver, path, batches, backend=backend)  # type: ignore[misc]
        for backend in ("asyncio", "trio")
    }
    seconds["floor"] = lambda path: write_bare(path, batches)
    seconds["logging.FileHandler"] = lambda path: log(path, batches)
    rates: dict[str, list[float]] = {key: [] for key in seconds}
    with tempfile.TemporaryDirectory(prefix="caseassist-") as folder:
        path = Path(folder) / "records.jsonl"
        for _ in range(7 if quick else 25):  # in turns, so that a change of the machine's mood hits all of them
            for key, write in seconds.items():
                rates[key].append(len(records) / write(path))
                path.unlink()  # each begins with no file
    others = {key: rates[key] for key in ("floor", "logging.FileHandler")}
    for backend in ("asyncio", "trio"):
        yield result(f"file_sink, {name}{backend}", {"caseassist": rates[backend]} | others, floor="floor")
