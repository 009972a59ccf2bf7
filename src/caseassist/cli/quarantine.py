"""``caseassist quarantine``: what sinks refused, and what to do with it."""

import sys
import time
from array import array
from bisect import bisect_left
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import anyio
import click

from caseassist.cli.options import (
    UNDELIVERED,
    durable_store,
    form_option,
    known_sink,
    open_sink,
    run,
    shown_url,
    store_option,
    token_option,
    usage_errors,
)
from caseassist.cli.output import Column, json_line, printable, progress_bar, show_table
from caseassist.cli.send import patience_option
from caseassist.cli.watch import LOOK_S, Troubles
from caseassist.core.records import action_name
from caseassist.live import CaseAssist
from caseassist.stores.base import Quarantined
from caseassist.stores.sqlite import SQLiteStore

__all__ = ["quarantine"]

PAGE = 200
ENTRIES = (
    Column("position", right=True),
    Column("session"),
    Column("seq", right=True, spare=1),
    Column("event", spare=2),
    Column("at", spare=3),
    Column("reason", cut=True),
)

session_option = click.option("--session", "session_id", metavar="ID", help="Only records of this session.")
position_option = click.option(
    "--position", type=click.IntRange(min=1), metavar="N", help="Only the record at this position of the store."
)


@click.group(short_help="List, send again, or drop what sinks refused.")
def quarantine() -> None:
    """What a sink refused is put aside with its reason: look at it, mend the cause, and send it again, or drop it.

    A sink is given by its URL, or by its name as `caseassist sinks` shows it.
    """


@quarantine.command("list", short_help="List what is put aside.")
@store_option(required=True)
@click.option("--sink", "sink", metavar="NAME", help="Only of this sink: its name or URL.")
@session_option
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="Lines in the table."
)
@form_option
def list_(store: str, sink: str | None, session_id: str | None, limit: int, form: str) -> None:
    """List what is put aside, sink by sink, oldest first. With --format json all of it, without a limit."""
    opened = durable_store(store)
    if form == "json":
        run(_list_all, opened, sink, session_id)
    else:
        run(_list_some, opened, sink, session_id, limit)


@quarantine.command("resend", short_help="Send again what is put aside for a sink.")
@store_option(required=True)
@click.option(
    "--sink", "url", required=True, metavar="URL", help="The sink: file:PATH, https://HOST/PATH or coveo:ORG."
)
@session_option
@position_option
@token_option
@patience_option
@form_option
def resend(
    store: str, url: str, session_id: str | None, position: int | None, token_env: str, drain_timeout: float, form: str
) -> None:
    """Send again what is put aside for a sink: all, a session's, or one record.

    If a bot delivers to this sink at the moment, it is asked to do so; otherwise this command does, together with what
    else is waiting for the sink. What is refused again stays, with the new reason.

    \b
    Exit status: 0 all of it is delivered, or nothing is put aside; 2 wrong usage, or the store does not
    know the sink; 3 some of it was refused again, or not sent in time.
    """
    _only_one_of(session_id, position)
    opened = durable_store(store)
    name, wanted = run(_wanted, opened, url, session_id, position)
    resending = _Resending(opened, name, session_id, position, wanted)
    if wanted:
        with usage_errors():
            sink = open_sink(url, token_env)
            if sink.name != name:
                raise click.UsageError(f"{shown_url(url)} is the name of a sink, not its URL")
            assist = CaseAssist(store=opened, sinks=[sink], drain_timeout_s=0)
        run(resending.run, assist, drain_timeout, left=resending.left)
    requested, delivered = len(wanted), len(wanted) - resending.waiting - resending.refused
    if form == "json":
        json_line(
            {
                "requested": requested,
                "delivered": delivered,
                "refused": resending.refused,
                "waiting": resending.waiting,
            }
        )
    elif not requested:
        click.echo("nothing is put aside")
    else:
        click.echo(
            f"{requested} requested: {delivered} delivered, {resending.refused} refused again, "
            f"{resending.waiting} still waiting"
        )
    if resending.waiting and resending.trouble:
        click.secho(f"last problem: {printable(resending.trouble)}", fg="red", err=True)
    sys.exit(UNDELIVERED if resending.waiting or resending.refused else 0)


@quarantine.command("drop", short_help="Drop what is put aside: it will never be delivered.")
@store_option(required=True)
@click.option("--sink", "sink", required=True, metavar="NAME", help="The sink: its name or URL.")
@session_option
@position_option
@click.option("--all", "everything", is_flag=True, help="All that is put aside for the sink.")
@form_option
def drop(store: str, sink: str, session_id: str | None, position: int | None, everything: bool, form: str) -> None:
    """Drop what is put aside for a sink. The records stay in the store; they are counted as dropped by an operator."""
    _only_one_of(session_id, position, everything or None)
    if session_id is None and position is None and not everything:
        raise click.UsageError("say what to drop: --position N, --session ID, or --all")
    dropped = run(_drop, durable_store(store), sink, session_id, position)
    if form == "json":
        json_line({"dropped": dropped})
    else:
        click.echo(f"{dropped} dropped")


def _only_one_of(session_id: str | None, position: int | None, everything: bool | None = None) -> None:
    given = {"--session": session_id, "--position": position, "--all": everything}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise click.UsageError(f"only one of {' and '.join(names)}")


async def _list_all(store: SQLiteStore, sink: str | None, session_id: str | None) -> None:
    async with store:
        for name in await _names(store, sink):
            async with aclosing(_entries(store, name, session_id)) as entries:
                async for entry in entries:
                    json_line(
                        {
                            "sink": name,
                            "position": entry.position,
                            "session": entry.record.session_id,
                            "seq": entry.record.seq,
                            "action": action_name(entry.record.event),
                            "reason": entry.reason,
                            "status": entry.status,
                            "at": entry.at,
                            "requested": entry.requested,
                        }
                    )


async def _list_some(store: SQLiteStore, sink: str | None, session_id: str | None, limit: int) -> None:
    """A table for each sink of which there is something."""
    total = more = 0
    async with store:
        for name in await _names(store, sink):
            rows: list[Sequence[str]] = []
            found = 0
            async with aclosing(_entries(store, name, session_id)) as entries:
                async for entry in entries:
                    found += 1
                    if total + found <= limit:
                        rows.append(_row(entry))
                    elif session_id is None:  # the store has the count
                        found = (await store.state(name)).quarantined
                        break
            total += found
            more += found - len(rows)
            if found:
                click.secho(printable(name), bold=True)
            if rows:
                show_table(ENTRIES, rows)
            if found > len(rows):
                click.echo(f"… and {found - len(rows)} more")
            if found:
                click.echo()
    click.echo(f"{total} put aside{f', {more} not shown (--limit)' if more else ''}")


def _row(entry: Quarantined) -> Sequence[str]:
    return (
        str(entry.position),
        entry.record.session_id,
        str(entry.record.seq),
        action_name(entry.record.event),
        f"{entry.at:%Y-%m-%d %H:%M:%S}",
        ("to be sent again; " if entry.requested else "") + entry.reason,
    )


async def _names(store: SQLiteStore, sink: str | None) -> Sequence[str]:
    names = await store.sinks()
    return names if sink is None else [known_sink(sink, names)]


async def _entries(store: SQLiteStore, sink: str, session_id: str | None) -> AsyncGenerator[Quarantined]:
    after = 0
    while page := await store.quarantined(sink, session_id=session_id, after=after, limit=PAGE):
        for entry in page:
            yield entry
        after = page[-1].position


async def _wanted(
    store: SQLiteStore, url: str, session_id: str | None, position: int | None
) -> tuple[str, "array[int]"]:
    """The name of a sink of the store, and the positions of what is put aside for it, in order."""
    async with store:
        (name,) = await _names(store, url)
        if position is not None:
            page = await store.quarantined(name, after=position - 1, limit=1)
            return name, array("q", [entry.position for entry in page if entry.position == position])
        wanted = array("q")
        async with aclosing(_entries(store, name, session_id)) as entries:
            async for entry in entries:
                wanted.append(entry.position)
    return name, wanted


class _Resending:
    """Sending again what is put aside. It keeps eight bytes for each record of it."""

    def __init__(
        self, store: SQLiteStore, sink: str, session_id: str | None, position: int | None, wanted: "array[int]"
    ) -> None:
        self._store = store
        self._sink = sink
        self._session_id = session_id
        self._position = position
        self._wanted = wanted
        self.waiting = len(wanted)
        """How many are not sent."""
        self.refused = 0
        """How many were sent and refused again."""
        self.trouble = ""
        """What stands in the way."""

    def left(self) -> str:
        """What an interrupt has left."""
        return f"{self.waiting} pending, start it again to go on" if self.waiting else ""

    async def run(self, assist: CaseAssist, patience_s: float) -> None:
        """Have it sent and wait, until it is done or nothing moves any more."""
        troubles = Troubles(assist)
        async with assist:
            await assist.resend(self._sink, session_id=self._session_id, position=self._position)
            moved_at, before = time.monotonic(), (-1, -1)
            with progress_bar("sending again", len(self._wanted)) as show:
                while (now := await self._look())[1] and time.monotonic() - moved_at < patience_s:
                    if now != before:
                        moved_at, before = time.monotonic(), now
                    troubles.look()
                    for sink in assist.health().sinks:
                        self.trouble = sink.problem or self.trouble
                    show(len(self._wanted) - self.waiting)
                    await anyio.sleep(LOOK_S)
            self.waiting = self.refused = 0
            async with aclosing(_entries(self._store, self._sink, self._session_id)) as entries:
                async for entry in entries:
                    if self._is_wanted(entry.position):
                        self.waiting += entry.requested
                        self.refused += not entry.requested

    async def _look(self) -> tuple[int, int]:
        """How many are put aside, and where the next one is that is to be sent: both move when something was sent."""
        after = 0 if self._position is None else self._position - 1
        page = await self._store.quarantined(
            self._sink, session_id=self._session_id, requested=True, after=after, limit=1
        )
        next_one = page[0].position if page and page[0].position <= self._wanted[-1] else 0
        self.waiting = len(self._wanted) - bisect_left(self._wanted, next_one) if next_one else 0
        return (await self._store.state(self._sink)).quarantined, next_one

    def _is_wanted(self, position: int) -> bool:
        i = bisect_left(self._wanted, position)
        return i < len(self._wanted) and self._wanted[i] == position


async def _drop(store: SQLiteStore, sink: str, session_id: str | None, position: int | None) -> int:
    async with store:
        (name,) = await _names(store, sink)
        return await store.drop(name, session_id=session_id, position=position)
