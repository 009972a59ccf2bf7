"""What the commands print: tables and progress for people, JSON lines for programs."""

import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import click
import msgspec

from caseassist.delivery.reports import DrainReport

__all__ = [
    "json_line",
    "printable",
    "progress_bar",
    "show_problems",
    "show_table",
    "size_of",
    "summarise",
    "undelivered",
]


def json_line(value: Any) -> None:
    """One line of JSON on standard output, flushed at once."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, to_stderr: bool = False) -> None:
    """A table for people. Headings that begin with ``#`` are of numbers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    for heading in headings:
        table.add_column(
            heading.removeprefix("#"), justify="right" if heading.startswith("#") else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(stderr=to_stderr).print(table)


def printable(text: str) -> str:
    """Text that cannot steer a terminal, whoever wrote it: control characters and changes of direction are marked."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def summarise(report: DrainReport, *, to_stderr: bool) -> None:
    """A table of what became of the records, sink by sink."""
    if report.sinks:
        rows = (
            (
                sink.sink,
                str(sink.delivered),
                str(sink.pending),
                str(sink.quarantined),
                ", ".join(f"{count} {reason}" for reason, count in sink.dropped.items()) or "0",
            )
            for sink in report.sinks
        )
        show_table(("sink", "#delivered", "#pending", "#quarantined", "#dropped"), rows, to_stderr=to_stderr)


def undelivered(report: DrainReport) -> bool:
    """Whether something is not delivered, and is not a matter for an operator's own decision either."""
    return any(sink.pending or sink.quarantined for sink in report.sinks)


def show_problems(problems: Sequence[str], shown: int = 20) -> None:
    """What was wrong with the input, on standard error."""
    for problem in problems[:shown]:
        click.secho(printable(problem), fg="red", err=True)
    if len(problems) > shown:
        click.secho(f"and {len(problems) - shown} more", fg="red", err=True)


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Generator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal. Call what it gives with how far it is."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def size_of(file: BinaryIO) -> int | None:
    """How many bytes a file has; None for a pipe."""
    if not file.seekable():
        return None
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    return size
