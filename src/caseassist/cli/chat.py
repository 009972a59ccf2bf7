"""``caseassist chat``: a conversation in the terminal."""

import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import click
import msgspec

from caseassist.bot import Bot, Message
from caseassist.cli.options import (
    REFUSED,
    SINKS,
    UNDELIVERED,
    Unreadable,
    open_sink,
    open_store,
    run,
    sink_option,
    store_option,
    token_option,
    usage_errors,
)
from caseassist.cli.output import counted, printable, summarise, undelivered
from caseassist.cli.service import CASE_ASSIST, ORGANIZATION, load_knowledge
from caseassist.cli.watch import Troubles, close, left_to_deliver
from caseassist.conversation.dialogue import Dialogue
from caseassist.conversation.prompts import Prompt
from caseassist.conversation.texts import LANGUAGES
from caseassist.core.errors import CaseAssistError
from caseassist.core.events import (
    AnyEvent,
    ClassificationsOffered,
    Context,
    DocumentsOffered,
    DocumentSuggestionClick,
    SuggestionRate,
    TicketClassificationClick,
    TurnTaken,
)
from caseassist.core.records import Record, action_name
from caseassist.delivery.reports import DrainReport
from caseassist.helpdesks.memory import MemoryTickets
from caseassist.live import CaseAssist
from caseassist.service.client import CustomerService
from caseassist.service.knowledge import Knowledge

__all__ = ["chat"]

WIDTH = 88
MAX_LINE_BYTES = 65536
"""Terminals give a line at a time, and none that is longer than 4,096 bytes."""
OURS = (ClassificationsOffered, DocumentsOffered, TurnTaken)
"""Events that are never sent to Coveo."""


@click.command(epilog=SINKS, short_help="Talk to a bot that logs every step.")
@click.option(
    "--language", type=click.Choice(sorted(LANGUAGES)), default="en", show_default=True, help="What the bot speaks."
)
@click.option("--trace", is_flag=True, help="Show each event as it is recorded.")
@click.option(
    "--kb",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The knowledge base, in TOML or JSON. Without it, an example.",
)
@click.option(
    "--conversation",
    default="terminal",
    metavar="NAME",
    show_default=True,
    help="With a durable --store: the same name goes on where it was left.",
)
@store_option(required=False)
@sink_option(required=False)
@token_option
def chat(
    language: str,
    trace: bool,
    kb: Path | None,
    conversation: str,
    store: str,
    sinks: Sequence[str],
    token_env: str,
) -> None:
    """Talk to a ready bot in the terminal: describe a problem, look at suggestions, and solve it or file a ticket.

    There is nothing to configure: suggestions come from a stand-in for Coveo's service, out of an example knowledge
    base about generators, and tickets are filed nowhere. Answer with a number, a label or your own words; Ctrl-D stops.
    """
    if "stdout:" in sinks:
        raise click.UsageError("standard output holds the conversation; use another sink than stdout:")
    with usage_errors():
        context = Context(search_hub="caseassist-chat", language=language)
        opened = [open_sink(url, token_env) for url in sinks]
        assist = CaseAssist(context, store=open_store(store), sinks=opened)
    with load_knowledge(kb) as knowledge:
        left = partial(left_to_deliver, assist)
        talk = _Terminal(assist, conversation, language, trace=trace, durable=store != "memory:")
        report, troubles = run(_chat, assist, knowledge, talk, left=left)
    if report.sinks:
        summarise(report, troubles)
    sys.exit(UNDELIVERED if undelivered(report) else REFUSED if talk.failed else 0)


async def _chat(assist: CaseAssist, knowledge: Knowledge, talk: "_Terminal") -> tuple[DrainReport, dict[str, str]]:
    troubles = Troubles(assist)
    async with _service(knowledge) as service, assist:
        await talk.lead(
            Bot(assist, tickets=MemoryTickets(), service=service, dialogue=Dialogue(language=talk.language))
        )
        report = await close(assist, troubles)
    return report, troubles.of(report)


@asynccontextmanager
async def _service(knowledge: Knowledge) -> AsyncGenerator[CustomerService]:
    """The client of a stand-in, over real HTTP."""
    try:
        from caseassist.service.standin import create_app, serve
    except ImportError as error:
        raise Unreadable(str(error)) from error
    async with (
        serve(create_app(knowledge)) as address,
        CustomerService(address, organization=ORGANIZATION, case_assist_id=CASE_ASSIST, token=None) as service,
    ):
        yield service


class _Terminal:
    """One person at a terminal, from where their session stands to its end."""

    def __init__(self, assist: CaseAssist, conversation: str, language: str, *, trace: bool, durable: bool) -> None:
        self.language = language
        self.failed = False
        self._assist = assist
        self._conversation = conversation
        self._trace = trace
        self._durable = durable
        self._width = min(shutil.get_terminal_size().columns, WIDTH)

    async def lead(self, bot: Bot) -> None:
        """Talk until the session ends, or the input does."""
        message = Message(conversation_id=self._conversation, language=self.language)
        while True:
            try:
                reply = await bot.reply(message)
            except CaseAssistError as error:
                self.failed = True
                self._say(bot.trouble(self.language).text, fg="red")
                click.secho(printable(str(error)), fg="red", err=True)
            else:
                self._show_records(reply.records)
                self._show(reply.prompt)
                if reply.prompt.ended:
                    await self._sum_up(reply.session_id)
                    return
            line = await _read_line()
            while line is not None and not line.strip():
                line = await _read_line()
            if line is None:
                self._stop()
                return
            message = Message(conversation_id=self._conversation, text=line, language=self.language)

    def _show(self, prompt: Prompt) -> None:
        click.echo()
        self._say(prompt.text, fg="green")
        for card in prompt.cards:
            click.echo()
            self._say(f"{card.title} ({card.source})", bold=True)
            self._say(card.excerpt or "")
            self._say(card.url, dim=True)
        if prompt.choices and not prompt.ended:
            click.echo()
            for number, choice in enumerate(prompt.choices, 1):
                self._say(choice.label, before=f"{number}. " if prompt.numbered else "- ", fg="cyan")

    def _say(self, text: str, *, before: str = "", **style: Any) -> None:
        for paragraph in text.splitlines():
            lines = textwrap.wrap(
                printable(paragraph),
                self._width - 4,
                initial_indent=before,
                subsequent_indent=" " * len(before),
                break_long_words=False,
                break_on_hyphens=False,
            )
            for line in lines or [""]:
                click.secho(f"  {line}".rstrip(), **style)

    def _show_records(self, records: Sequence[Record]) -> None:
        """A line for each event: its place, its name and what it says."""
        if not self._trace:
            return
        for record in records:
            line = f"#{record.seq:<3} {action_name(record.event):<28} {_told_by(record.event)}"
            if len(line) > self._width - 4:
                line = f"{line[: self._width - 5]}…"
            click.secho(f"  {printable(line)}".rstrip(), fg="yellow", dim=isinstance(record.event, OURS))

    async def _sum_up(self, session_id: str) -> None:
        records = await self._assist.load(session_id)
        sent = [record for record in records if not isinstance(record.event, OURS)]
        click.echo()
        click.secho(f"  {counted(len(sent), 'event')} for Coveo recorded in this session:", bold=True)
        for name, count in Counter(action_name(record.event) for record in sent).items():
            click.echo(f"  {count:>4}  {name}")

    def _stop(self) -> None:
        click.echo()
        if self._durable:
            click.echo("The conversation stays open; the same command goes on with it.")


def _told_by(event: AnyEvent) -> str:
    """What an event says, in short."""
    match event:
        case TurnTaken():
            return f"now {(event.memory or {}).get('step', 'describing')}"
        case ClassificationsOffered():
            return ", ".join(
                f"{item.field_name}: {item.classification.value} {item.classification.confidence:.0%}"
                for item in event.classifications
            )
        case DocumentsOffered():
            return counted(len(event.documents), "document")
        case TicketClassificationClick():
            how = ", automatically" if event.auto_selection else ""
            return f"{event.field_name}: {event.classification.value}{how}"
        case DocumentSuggestionClick():
            return event.suggestion.document_title
        case SuggestionRate():
            return f"{event.rate:g} for {event.suggestion.document_title}"
        case _:
            members = msgspec.to_builtins(event)
            return ", ".join(str(value) for name, value in members.items() if name != "action")


async def _read_line() -> str | None:
    """What the person writes; None when they have stopped."""
    click.echo()
    click.secho("> ", bold=True, nl=False)
    sys.stdout.flush()
    if sys.stdin.isatty():  # no thread that waits for a line that does not come: Ctrl-C must end it
        await anyio.wait_readable(sys.stdin)
        line = os.read(sys.stdin.fileno(), MAX_LINE_BYTES)
    else:
        line = await anyio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True)
    if not line:
        return None
    text = line.decode(errors="replace").rstrip("\r\n")
    if not sys.stdin.isatty():  # so that the conversation can be read in full
        click.echo(printable(text))
    return text
