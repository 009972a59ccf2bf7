"""The command line. It needs the extra ``cli``: ``pip install 'caseassist[cli]'``."""

import json
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import anyio
import anyio.to_thread
import msgspec

try:
    import click
except ImportError as error:  # pragma: no cover (the wheel check runs without the extra)
    raise SystemExit("the command line needs the extra `cli`: pip install 'caseassist[cli]'") from error

from caseassist import diagram as pictures
from caseassist import script
from caseassist.core import records
from caseassist.core.errors import CaseAssistError, InvalidAction
from caseassist.core.events import Context
from caseassist.core.records import action_name
from caseassist.core.session import checked_context
from caseassist.delivery import DrainReport
from caseassist.live import CaseAssist
from caseassist.script import Answer, Player, Refusal
from caseassist.sinks.base import Sink
from caseassist.sinks.file import FileSink
from caseassist.sinks.http import HTTPSink
from caseassist.sinks.memory import MemorySink, NullSink
from caseassist.sinks.stream import StreamSink
from caseassist.stores.base import Store
from caseassist.stores.memory import MemoryStore

__all__ = ["main"]

REFUSED = 1
UNREADABLE = 2
UNDELIVERED = 3
INTERRUPTED = 130

MAX_LINE_BYTES = 1024 * 1024

SINKS = """\b
Sinks:
  stdout:            JSON lines on standard output
  file:PATH          JSON lines at the end of a file
  null:              nowhere
  memory:            nowhere, but counted
  https://HOST/PATH  a Usage Analytics endpoint; without PATH, /rest/ua
  coveo:ORG          the organization ORG; coveo:ORG?hipaa=true for HIPAA
"""

F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version_of("caseassist"), prog_name="caseassist")
def main() -> None:
    """Log Coveo Case Assist sessions.

    Start with `caseassist play examples/session.jsonl`, and see the life cycle with `caseassist diagram`.
    """


def delivery_options(command: F) -> F:
    """The options of all commands that record or deliver."""
    options = (
        click.option(
            "--sink", "sinks", multiple=True, metavar="URL", help="Where records are delivered; repeatable. See below."
        ),
        click.option(
            "--store", "store", default="memory:", metavar="URL", show_default=True, help="Where records are kept."
        ),
        click.option("--search-hub", metavar="NAME", help="Name of the interface (searchHub, originLevel1)."),
        click.option("--language", metavar="CODE", help="ISO 639-1 code, such as en."),
        click.option(
            "--context",
            "context_file",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="JSON object with more members of the context, such as userAgent.",
        ),
        click.option(
            "--token-env",
            default="COVEO_TOKEN",
            metavar="NAME",
            show_default=True,
            help="Environment variable that holds the token.",
        ),
        click.option(
            "--drain-timeout",
            type=click.FloatRange(min=0),
            default=10.0,
            metavar="SECONDS",
            show_default=True,
            help="How long to wait for delivery at the end.",
        ),
        click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command(epilog=SINKS, short_help="Play a script of actions through sessions.")
@click.argument("script_file", metavar="SCRIPT")
@delivery_options
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
    with open_script(script_file) as lines:
        answers = show_json if form == "json" else partial(show_text, to_stderr="stdout:" in sinks)
        refused, report = run(play_lines, assist, lines, answers)
    if form == "text":
        summarise(report, to_stderr="stdout:" in sinks)
    elif not report.complete or any(sink.dropped for sink in report.sinks):
        click.echo(msgspec.json.encode(report), err=True)
    undelivered = not report.complete or any(sink.dropped for sink in report.sinks)
    sys.exit(UNDELIVERED if undelivered else REFUSED if refused else 0)


@main.command(short_help="Draw the life cycle of a session.")
@click.option("--format", "form", type=click.Choice(["mermaid", "svg"]), default="mermaid", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write, not the terminal."
)
def diagram(form: str, output: Path | None) -> None:
    """Draw the life cycle of a session, from the table that the machine is built of."""
    write(pictures.svg() if form == "svg" else pictures.mermaid(), output)


@main.command(short_help="Print the JSON Schema of records or scripts.")
@click.argument("what", type=click.Choice(["record", "script"]), default="record")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write, not the terminal."
)
def schema(what: str, output: Path | None) -> None:
    """Print the JSON Schema of a record and its events, or of a line of a script."""
    text = json.dumps(script.schema() if what == "script" else records.schema(), indent=2, ensure_ascii=False)
    write(text + "\n", output)


def write(text: str, output: Path | None) -> None:
    """Write to a file, or to standard output."""
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {output}: {error.strerror}") from error


@contextmanager
def usage_errors() -> Generator[None]:
    """Say as wrong usage what is wrong with a value of the command line."""
    try:
        yield
    except (InvalidAction, ValueError) as error:
        raise click.UsageError(str(error)) from error


def read_context(file: Path | None, search_hub: str | None, language: str | None) -> Context:
    """The context of a file, with the command line's members over it."""
    members: dict[str, Any] = {}
    if file is not None:
        try:
            members = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        except OSError as error:
            raise click.UsageError(f"cannot read the context file {file}: {error.strerror}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise click.UsageError(f"the context file {file} is no JSON object in UTF-8") from error
    if search_hub is not None:
        members["searchHub"] = search_hub
    if language is not None:
        members["language"] = language
    return checked_context(members)


def open_sink(url: str, token_env: str) -> Sink:
    """The sink that a URL names. Raises UsageError for one that is none."""
    scheme, colon, rest = url.partition(":")
    match scheme if colon else "":
        case "stdout" if not rest:
            return StreamSink(sys.stdout.buffer, name="stdout")
        case "null" if not rest:
            return NullSink()
        case "memory" if not rest:
            return MemorySink()
        case "file" if rest.removeprefix("//"):
            return FileSink(rest.removeprefix("//"))
        case "http" | "https":
            return HTTPSink(url, token=os.environ.get(token_env))
        case "coveo":
            organization, _, query = rest.partition("?")
            if query not in ("", "hipaa=true", "hipaa=false"):
                raise click.UsageError(f"unknown option in --sink {url}; known is ?hipaa=true")
            token = os.environ.get(token_env)
            if not token:
                raise click.UsageError(f"--sink {url} needs a token in the environment variable {token_env}")
            return HTTPSink.for_organization(organization, hipaa=query == "hipaa=true", token=token)
        case _:
            known = "stdout:, file:PATH, null:, memory:, http(s)://HOST/PATH, coveo:ORG"
            raise click.UsageError(f"unknown sink {url!r}; known are {known}")


def open_store(url: str) -> Store:
    """The store that a URL names. Raises UsageError for one that is none."""
    if url == "memory:":
        return MemoryStore()
    raise click.UsageError(f"unknown store {url!r}; known is memory:")


@contextmanager
def open_script(name: str) -> Generator[BinaryIO]:
    """The lines of a file, or of standard input for ``-``."""
    if name == "-":
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(Path(name).open("rb"))
        except OSError as error:
            raise click.UsageError(f"cannot read the script {name}: {error.strerror}") from error
        yield file


def run(function: Callable[..., Any], *args: Any) -> Any:
    """Run an async function to its end. The first interrupt stops it in good order, a second one at once."""
    try:
        return anyio.run(function, *args)
    except CaseAssistError as error:  # lines that are refused are answered: this is a sink that cannot be opened
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)


async def play_lines(
    assist: CaseAssist, lines: BinaryIO, show: Callable[[Answer | Refusal, int], None]
) -> tuple[int, DrainReport]:
    """Play all lines. Returns how many were refused, and what became of the records."""
    async with assist:
        player = Player(assist)
        while line := await anyio.to_thread.run_sync(read_line, lines, abandon_on_cancel=True):
            show(await player.play(line), player.lines)
    return player.refused, assist.report()


def read_line(lines: BinaryIO) -> bytes:
    """The next line, not longer than it may be: what comes after is passed over, and the line is no JSON any more."""
    try:
        line = lines.readline(MAX_LINE_BYTES)
        rest = line
        while len(rest) == MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = lines.readline(MAX_LINE_BYTES)
    except OSError as error:
        raise click.UsageError(f"cannot read the script: {error.strerror}") from error
    return line


def show_json(answer: Answer | Refusal, number: int) -> None:
    """One line of JSON on standard output, flushed at once."""
    del number
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def show_text(answer: Answer | Refusal, number: int, *, to_stderr: bool) -> None:
    """A line for people: accepted ones where the output goes, refused ones always on standard error."""
    if isinstance(answer, Refusal):
        text = f"line {number}: refused, nothing recorded: {answer.error.message}"
        click.secho(text, fg="red", err=True)
        return
    name = action_name(answer.event)
    state = click.style(answer.state, fg="cyan")
    click.echo(f"{number:>5}  {answer.session}  #{answer.seq:<3} {name:<28} {state}", err=to_stderr)


def summarise(report: DrainReport, *, to_stderr: bool) -> None:
    """A table of what became of the records, sink by sink."""
    if not report.sinks:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for heading in ("sink", "delivered", "pending", "dropped"):
        table.add_column(heading, justify="left" if heading == "sink" else "right", overflow="fold")
    for sink in report.sinks:
        dropped = ", ".join(f"{count} {reason}" for reason, count in sink.dropped.items()) or "0"
        table.add_row(sink.sink, str(sink.delivered), str(sink.pending), dropped)
    Console(stderr=to_stderr).print(table)


if __name__ == "__main__":
    main()
