"""``caseassist quarantine``: what sinks refused, and what to do with it."""

import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import anyio
import click

from caseassist.cli.options import (
    UNDELIVERED,
    durable_store,
    form_option,
    open_sink,
    run,
    store_option,
    token_option,
    usage_errors,
)
from caseassist.cli.output import json_line, progress_bar, show_table
from caseassist.cli.send import patience_option
from caseassist.core.records import action_name
from caseassist.live import CaseAssist
from caseassist.stores.base import Quarantined
from caseassist.stores.sqlite import SQLiteStore

__all__ = ["quarantine"]

PAGE = 1000
LOOK_S = 0.1

session_option = click.option("--session", "session_id", metavar="ID", help="Only records of this session.")
position_option = click.option(
    "--position", type=click.IntRange(min=1), metavar="N", help="Only the record at this position of the store."
)


@click.group(short_help="List, send again, or drop what sinks refused.")
def quarantine() -> None:
    """What a sink refused is put aside with its reason: look at it, mend the cause, and send it again, or drop it."""


@quarantine.command("list", short_help="List what is put aside.")
@store_option(required=True)
@click.option(
    "--sink", "sink", metavar="NAME", help="Only of this sink; its name is the URL or path that it writes to."
)
@session_option
@form_option
def list_(store: str, sink: str | None, session_id: str | None, form: str) -> None:
    """List what is put aside, oldest first."""
    found = run(_list, durable_store(store), sink, session_id)
    if form == "json":
        for name, entry in found:
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
        return
    rows = (
        (
            name,
            str(entry.position),
            entry.record.session_id,
            str(entry.record.seq),
            action_name(entry.record.event),
            entry.reason + (" (to be sent again)" if entry.requested else ""),
            f"{entry.at:%Y-%m-%d %H:%M:%S}",
        )
        for name, entry in found
    )
    show_table(("sink", "#position", "session", "#seq", "event", "reason", "at"), rows)
    click.echo(f"{len(found)} put aside")


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
    Exit status: 0 all of it is delivered; 2 wrong usage; 3 some of it was refused again, or not sent in time.
    """
    opened = durable_store(store)
    with usage_errors():
        sink = open_sink(url, token_env)
        assist = CaseAssist(store=opened, sinks=[sink], drain_timeout_s=0)
    requested, waiting, kept = run(_resend, assist, opened, sink.name, session_id, position, drain_timeout)
    delivered = requested - waiting - kept
    if form == "json":
        json_line({"requested": requested, "delivered": delivered, "refused": kept, "waiting": waiting})
    else:
        click.echo(f"{requested} requested: {delivered} delivered, {kept} refused again, {waiting} still waiting")
    sys.exit(UNDELIVERED if waiting or kept else 0)


@quarantine.command("drop", short_help="Drop what is put aside: it will never be delivered.")
@store_option(required=True)
@click.option("--sink", "sink", required=True, metavar="NAME", help="The sink's name, as `quarantine list` shows it.")
@session_option
@position_option
@click.option("--all", "everything", is_flag=True, help="All that is put aside for the sink.")
@form_option
def drop(store: str, sink: str, session_id: str | None, position: int | None, everything: bool, form: str) -> None:
    """Drop what is put aside for a sink. The records stay in the store; they are counted as dropped by an operator."""
    if sum((session_id is not None, position is not None, everything)) != 1:
        raise click.UsageError("say what to drop: --position N, --session ID, or --all")
    dropped = run(_drop, durable_store(store), sink, session_id, position)
    if form == "json":
        json_line({"dropped": dropped})
    else:
        click.echo(f"{dropped} dropped")


async def _list(store: SQLiteStore, sink: str | None, session_id: str | None) -> list[tuple[str, Quarantined]]:
    async with store:
        names = await store.sinks() if sink is None else [sink]
        return [(name, entry) for name in names async for entry in _entries(store, name, session_id)]


async def _entries(store: SQLiteStore, sink: str, session_id: str | None) -> AsyncGenerator[Quarantined]:
    after = 0
    while page := await store.quarantined(sink, session_id=session_id, after=after, limit=PAGE):
        for entry in page:
            yield entry
        after = page[-1].position


async def _resend(
    assist: CaseAssist,
    store: SQLiteStore,
    sink: str,
    session_id: str | None,
    position: int | None,
    patience_s: float,
) -> tuple[int, int, int]:
    """How many records were requested, are still waiting, and were put back."""
    async with store:
        wanted = {
            entry.position
            for entry in [entry async for entry in _entries(store, sink, session_id)]
            if position in (None, entry.position)
        }
    async with assist:
        await assist.resend(sink, session_id=session_id, position=position)
        waiting, moved_at = len(wanted), time.monotonic()
        with progress_bar("sending again", len(wanted)) as show:
            while waiting and time.monotonic() - moved_at < patience_s:
                await anyio.sleep(LOOK_S)
                left = {entry.position for entry in await _requested(store, sink)} & wanted
                if len(left) < waiting:
                    waiting, moved_at = len(left), time.monotonic()
                show(len(wanted) - waiting)
        there: set[int] = set()
        async with aclosing(_entries(store, sink, session_id)) as entries:
            async for entry in entries:
                there.add(entry.position)
        left = {entry.position for entry in await _requested(store, sink)} & wanted
    return len(wanted), len(left), len((there & wanted) - left)


async def _requested(store: SQLiteStore, sink: str) -> Sequence[Quarantined]:
    found: list[Quarantined] = []
    after = 0
    while page := await store.quarantined(sink, requested=True, after=after, limit=PAGE):
        found += page
        after = page[-1].position
    return found


async def _drop(store: SQLiteStore, sink: str, session_id: str | None, position: int | None) -> int:
    async with store:
        positions = [
            entry.position
            for entry in [entry async for entry in _entries(store, sink, session_id)]
            if position in (None, entry.position)
        ]
        return sum([await store.resolve(sink, place, delivered=False) for place in positions])
