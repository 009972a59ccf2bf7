"""Reading a log: a file of records, a pipe of them, or a store."""

import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import click

from caseassist.cli.options import durable_store
from caseassist.cli.output import progress_bar, size_of
from caseassist.core.errors import CorruptRecord
from caseassist.core.records import Record, decode

__all__ = ["Read", "each_record", "is_store", "records_of_file"]

Read: TypeAlias = tuple[str, Record | CorruptRecord]
"""A place in a log, and what is there."""

PAGE = 1000
CHUNK_LINES = 1000


def is_store(log: str) -> bool:
    """Whether a LOG of the command line is the URL of a store."""
    return log.startswith("sqlite:")


async def each_record(log: str) -> AsyncGenerator[Read]:
    """All records of a log, in order, with a bar on a terminal. Raises UsageError when it cannot be read."""
    if not is_store(log):
        for read in records_of_file(log):
            yield read
        return
    async with durable_store(log) as store:
        last = await store.last_position()
        with progress_bar("reading", last) as show:
            position = 0
            while stored := await store.read(position, PAGE):
                for position, record in stored:
                    yield f"position {position}", record
                show(position)


def records_of_file(name: str) -> Generator[Read]:
    """The records of a file, or of standard input for ``-``. Empty lines are passed over."""
    label = "standard input" if name == "-" else name
    with _opened(name) as file:
        total = size_of(file)
        with progress_bar("reading", total) as show:
            yield from _decoded(file, label, show)


def _decoded(file: BinaryIO, label: str, show: Callable[[int], None]) -> Generator[Read]:
    done = 0
    for number, line in enumerate(file, 1):
        done += len(line)
        if not number % CHUNK_LINES:
            show(done)
        if not line.strip():
            continue
        where = f"{label}, line {number}"
        try:
            yield where, decode(line, where=where)
        except CorruptRecord as error:
            yield where, error


@contextmanager
def _opened(name: str) -> Generator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 (only the opening is a matter of usage)
    except OSError as error:
        raise click.UsageError(f"cannot read {name}: {error.strerror}") from error
    with file:
        yield file
