"""``caseassist play``."""

import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import anyio.to_thread
import click
import msgspec

from caseassist.cli.options import (
    REFUSED,
    SINKS,
    UNDELIVERED,
    Amount,
    Unreadable,
    form_option,
    open_sink,
    open_store,
    read_context,
    run,
    sink_option,
    store_option,
    token_option,
    usage_errors,
)
from caseassist.cli.output import json_line, summarise, undelivered
from caseassist.cli.watch import Troubles, close, left_to_deliver
from caseassist.core.records import action_name
from caseassist.delivery.reports import DrainReport
from caseassist.live import CaseAssist
from caseassist.script import Agreement, Answer, Player, Refusal

__all__ = ["MAX_LINE_BYTES", "play"]

MAX_LINE_BYTES = 1024 * 1024


@click.command(epilog=SINKS, short_help="Play a script of actions through sessions.")
@click.argument("script_file", metavar="SCRIPT")
@sink_option(required=False)
@store_option(required=False)
@click.option("--search-hub", metavar="NAME", help="Name of the interface (searchHub, originLevel1).")
@click.option("--language", metavar="CODE", help="ISO 639-1 code, such as en.")
@click.option(
    "--context",
    "context_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="JSON object with more members of the context, such as userAgent.",
)
@token_option
@click.option(
    "--drain-timeout",
    type=Amount(),
    default=10.0,
    metavar="SECONDS",
    show_default=True,
    help="How long to wait for delivery at the end.",
)
@form_option
def play(
    script_file: str,
    sinks: Sequence[str],
    store: str,
    search_hub: str | None,
    language: str | None,
    context_file: Path | None,
    token_env: str,
    drain_timeout: float,
    form: str,
) -> None:
    """Play a SCRIPT of actions, one JSON object a line, through sessions; `-` reads standard input.

    \b
    {"session": "a1", "do": "start", "ticket": {"custom": {"plan": "gold"}}}
    {"session": "a1", "do": "update_field", "fieldName": "subject", "value": "It hums"}
    {"session": "a1", "do": "solve"}

    Every line is answered, in order and at once; a line that is refused changes nothing, and the rest goes on.
    With --format json the answers are JSON lines on standard output, for programs that drive sessions through a pipe.
    Such a program begins with {"protocol": 1}, and is told whether that version is spoken here.
    Blank lines are passed over, but with --format json, where every line has its answer.
    With --store sqlite:PATH sessions go on where an earlier run left them, and so does delivery.

    \b
    Exit status: 0 all accepted and delivered; 1 some lines refused; 2 wrong usage, or input that
    cannot be read; 3 accepted but not all delivered by the drain timeout.
    """
    if form == "json" and "stdout:" in sinks:
        raise click.UsageError("with --format json standard output holds the answers; use another sink than stdout:")
    with usage_errors():
        context = read_context(context_file, search_hub, language)
        opened = [open_sink(url, token_env) for url in sinks]
        assist = CaseAssist(context, store=open_store(store), sinks=opened, drain_timeout_s=drain_timeout)
    with _open_script(script_file) as lines:
        left = partial(left_to_deliver, assist)
        answers = _show_json if form == "json" else partial(_show_text, to_stderr="stdout:" in sinks)
        refused, report, troubles = run(_play_lines, assist, lines, answers, form == "text", left=left)
    failed = undelivered(report)
    if form == "text":
        summarise(report, troubles, to_stderr="stdout:" in sinks)
    elif failed:
        click.echo(msgspec.json.encode({"sinks": report.sinks, "lastProblems": troubles}), err=True)
    sys.exit(UNDELIVERED if failed else REFUSED if refused else 0)


@contextmanager
def _open_script(name: str) -> Generator[BinaryIO]:
    """The lines of a file, or of standard input for ``-``."""
    if name == "-":
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(Path(name).open("rb"))
        except OSError as error:
            raise Unreadable(f"cannot read the script {name}: {error.strerror}") from error
        yield file


async def _play_lines(
    assist: CaseAssist, lines: BinaryIO, show: Callable[[Answer | Agreement | Refusal, int], None], skip_blank: bool
) -> tuple[int, DrainReport, dict[str, str]]:
    """Play all lines. Returns how many were refused, what became of the records, and what stood in their way."""
    troubles = Troubles(assist)
    async with assist:
        player = Player(assist)
        while line := await anyio.to_thread.run_sync(_read_line, lines, abandon_on_cancel=True):
            if not player.lines:
                line = line.removeprefix(BOM_UTF8)
            if skip_blank and not line.strip():
                player.lines += 1  # answers are numbered as the lines of the file are
                continue
            show(await player.play(line), player.lines)
        report = await close(assist, troubles)
    return player.refused, report, troubles.of(report)


def _read_line(lines: BinaryIO) -> bytes:
    """The next line, not longer than it may be: what comes after is passed over, and the line is no JSON any more."""
    try:
        line = lines.readline(MAX_LINE_BYTES)
        rest = line
        while len(rest) == MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = lines.readline(MAX_LINE_BYTES)
    except OSError as error:
        raise Unreadable(f"cannot read the script: {error.strerror}") from error
    return line


def _show_json(answer: Answer | Agreement | Refusal, number: int) -> None:
    del number
    json_line(answer)


def _show_text(answer: Answer | Agreement | Refusal, number: int, *, to_stderr: bool) -> None:
    """A line for people: accepted ones where the output goes, refused ones always on standard error."""
    if isinstance(answer, Refusal):
        text = f"line {number}: refused, nothing recorded: {answer.error.message}"
        click.secho(text, fg="red", err=True)
        return
    if isinstance(answer, Agreement):
        click.echo(f"{number:>5}  protocol {answer.protocol}", err=to_stderr)
        return
    name = action_name(answer.event)
    state = click.style(answer.state, fg="cyan")
    click.echo(f"{number:>5}  {answer.session}  #{answer.seq:<3} {name:<28} {state}", err=to_stderr)
