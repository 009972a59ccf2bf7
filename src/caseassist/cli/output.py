"""What the commands print: tables and progress for people, JSON lines for programs."""

import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import click
import msgspec

from caseassist.cli.options import Unreadable
from caseassist.delivery.reports import DrainReport

__all__ = [
    "Column",
    "Problems",
    "counted",
    "json_line",
    "output_option",
    "printable",
    "progress_bar",
    "show_table",
    "size_of",
    "summarise",
    "undelivered",
    "write",
]

MOST_PROBLEMS = 1000
SHOWN_PROBLEMS = 20
LEAST_CELLS = 12
"""How narrow a column can become that may be cut."""


class Column(NamedTuple):
    """A column of a table. Ids and names are never cut or folded: somebody will copy them."""

    heading: str
    right: bool = False
    cut: bool = False
    """It holds prose, which can end in `…`."""
    spare: int = 0
    """Where the terminal is too narrow, the column with the highest number is left out first; 0 stays."""


class Problems:
    """What was wrong with the input: the first 1,000, and how many there were."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.count = 0

    def add(self, problem: str) -> None:
        self.count += 1
        if len(self.kept) < MOST_PROBLEMS:
            self.kept.append(problem)

    def show(self) -> None:
        """Say them on standard error."""
        for problem in self.kept[:SHOWN_PROBLEMS]:
            click.secho(printable(problem), fg="red", err=True)
        if self.count > SHOWN_PROBLEMS:
            click.secho(f"and {self.count - SHOWN_PROBLEMS} more", fg="red", err=True)


def json_line(value: Any) -> None:
    """One line of JSON on standard output, flushed at once."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def counted(number: int, what: str) -> str:
    """A number of things, in the singular or the plural."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def show_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """A table for people, one line a row, as wide as the terminal; of any width where there is none."""
    from rich.cells import cell_len, set_cell_size

    cells = [[printable(cell) for cell in row] for row in rows]
    lines = [[column.heading for column in columns], *cells]
    widths = [max(map(cell_len, texts)) for texts in zip(*lines, strict=True)]
    shown = list(range(len(columns)))
    if (terminal := _terminal_width()) is not None:
        least = [
            min(width, LEAST_CELLS) if column.cut else width for column, width in zip(columns, widths, strict=True)
        ]
        while sum(least[i] + 2 for i in shown) - 2 > terminal and any(columns[i].spare for i in shown):
            shown.remove(max(shown, key=lambda i: columns[i].spare))
        excess = sum(widths[i] + 2 for i in shown) - 2 - terminal
        for i in shown:
            if columns[i].cut and excess > 0:
                fits = max(widths[i] - excess, least[i])
                excess -= widths[i] - fits
                widths[i] = fits

    def line(texts: Sequence[str]) -> str:
        parts: list[str] = []
        for i in shown:
            text, width = texts[i], widths[i]
            if (over := cell_len(text) - width) > 0:
                text = set_cell_size(text, width - 1) + "…"
            parts.append(" " * -over + text if columns[i].right else text + " " * -over)
        return "  ".join(parts).rstrip()

    click.secho(line(lines[0]), bold=True)
    for texts in cells:
        click.echo(line(texts))
    if len(shown) < len(columns):
        left_out = ", ".join(column.heading for i, column in enumerate(columns) if i not in shown)
        click.secho(f"(not shown, for want of room: {left_out})", dim=True)


def _terminal_width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def printable(text: str) -> str:
    """Text that cannot steer a terminal, whoever wrote it: control characters and changes of direction are marked."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def summarise(report: DrainReport, troubles: Mapping[str, str] | None = None, *, to_stderr: bool = False) -> None:
    """What became of the records, sink by sink. ``troubles``: what stood in the way, by the sink's name."""
    for sink in report.sinks:
        dropped = ", ".join(f"{count} {reason}" for reason, count in sink.dropped.items()) or "0"
        click.secho(printable(sink.sink), bold=True, err=to_stderr)
        click.echo(
            f"  {sink.delivered} delivered, {sink.pending} pending, {sink.quarantined} quarantined, dropped: {dropped}",
            err=to_stderr,
        )
        if trouble := (troubles or {}).get(sink.sink):
            click.secho(f"  last problem: {printable(trouble)}", fg="red", err=to_stderr)


def undelivered(report: DrainReport) -> bool:
    """Whether something is not delivered, and is not a matter for an operator's own decision either."""
    return any(sink.pending or sink.quarantined for sink in report.sinks)


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
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    return size


output_option = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write, not the terminal."
)


def write(text: str, output: Path | None) -> None:
    """Write text to standard output, or to the file that ``output_option`` names."""
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unreadable(f"cannot write {output}: {error.strerror}") from error
