"""Reading a log: a file of records, a pipe of them, or a store."""

import sys
from array import array
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from caseassist.cli.options import Unreadable, durable_store
from caseassist.cli.output import progress_bar, size_of
from caseassist.core.errors import CorruptRecord
from caseassist.core.records import Record, decode, decode_plain, whole_lines
from caseassist.core.session import Session

__all__ = ["Place", "Repeats", "each_record", "is_store", "records_of_file"]

PAGE = 1000
BLOCK_BYTES = 1 << 20


class Place(NamedTuple):
    """A place in a log, and what is there."""

    where: str
    record: Record | CorruptRecord
    line: bytes = b""
    """As it is written in a file."""


class Repeats:
    """Recognises a record that is in a file once more, byte for byte: a sink that delivers at least once leaves such.

    It remembers eight bytes for each record.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lines: dict[str, array[int]] = {}

    def add(self, place: Place, record: Record) -> None:
        """Remember a record that was used: each session's, in order from 0."""
        self._lines.setdefault(record.session_id, array("q")).append(hash(place.line))

    def has(self, place: Place, record: Record, session: Session) -> bool:
        """Whether a record is there again, which is counted."""
        if not place.line or record.seq >= session.next_seq:
            return False
        there = self._lines[record.session_id][record.seq] == hash(place.line)
        self.count += there
        return there


def is_store(log: str) -> bool:
    """Whether a LOG of the command line is the URL of a store."""
    return log.startswith("sqlite:")


async def each_record(log: str) -> AsyncGenerator[Place]:
    """All records of a log, in order, with a bar on a terminal. Raises Unreadable when it cannot be read."""
    if not is_store(log):
        for place in records_of_file(log):
            yield place
        return
    async with durable_store(log) as store:
        last = await store.last_position()
        with progress_bar("reading", last) as show:
            position = 0
            while True:
                try:
                    stored = await store.read(position, PAGE)
                except CorruptRecord as error:
                    yield Place("", error)
                    if error.position is None or error.position <= position:
                        return
                    position = error.position
                    continue
                if not stored:
                    return
                for position, record in stored:
                    yield Place(f"position {position}", record)
                show(position)


def records_of_file(name: str) -> Generator[Place]:
    """The records of a file, or of standard input for ``-``. Empty lines are passed over."""
    label = "standard input" if name == "-" else name
    with _opened(name) as file:
        total = size_of(file)
        with progress_bar("reading", total) as show:
            try:
                yield from _decoded(file, label, show)
            except OSError as error:
                raise Unreadable(f"cannot read {name}: {error.strerror}") from error


def _decoded(file: BinaryIO, label: str, show: Callable[[int], None]) -> Generator[Place]:
    done = number = 0
    for read in whole_lines(_blocks(file)):
        lines = read if number else read.removeprefix(BOM_UTF8)
        records, split = decode_plain(lines), lines.removesuffix(b"\n").split(b"\n")
        if records is not None and all(split):
            for record, line in zip(records, split, strict=True):
                number += 1
                yield Place(f"{label}, line {number}", record, line.strip())
        else:
            for line in split:
                number += 1
                if stripped := line.strip():
                    yield _read(stripped, f"{label}, line {number}")
        done += len(read)
        show(done)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """What there is to read, a megabyte at most: a pipe is read as it comes."""
    read = cast("BufferedReader", file).read1
    return iter(lambda: read(BLOCK_BYTES), b"")


def _read(line: bytes, where: str) -> Place:
    try:
        return Place(where, decode(line, where=where), line)
    except CorruptRecord as error:
        return Place(where, error, line)


@contextmanager
def _opened(name: str) -> Generator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 (only the opening is told so)
    except OSError as error:
        raise Unreadable(f"cannot read {name}: {error.strerror}") from error
    with file:
        yield file
