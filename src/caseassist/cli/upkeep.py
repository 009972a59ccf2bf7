"""``caseassist sinks``, ``expire``, ``erase`` and ``prune``: what a store needs from time to time."""

import sys
from datetime import UTC, datetime, timedelta

import click

from caseassist.cli.options import (
    REFUSED,
    Amount,
    Unreadable,
    durable_store,
    form_option,
    known_sink,
    run,
    store_option,
    usage_errors,
)
from caseassist.cli.output import counted, json_line, printable, summarise
from caseassist.core.checked import checked_context
from caseassist.core.session import IDLE_S
from caseassist.delivery.reports import DrainReport, Progress
from caseassist.live import CaseAssist
from caseassist.stores.sqlite import SQLiteStore

__all__ = ["erase", "expire", "prune", "sinks"]


@click.command(short_help="Show how far each sink is with a store; forget one that is not used any more.")
@store_option(required=True)
@click.option("--forget", metavar="NAME", help="Forget this sink, by its name or URL, and what is put aside for it.")
@form_option
def sinks(store: str, forget: str | None, form: str) -> None:
    """Show how far each sink is with a store.

    A sink that is not used any more keeps `caseassist prune` from removing what it never got. Forget it then; if it is
    used again, it gets everything from the beginning.
    """
    left = run(_sinks, durable_store(store), forget)
    if form == "json":
        for progress in left:
            json_line(progress)
    else:
        summarise(DrainReport(tuple(left)))
        click.echo(counted(len(left), "sink"))


@click.command(short_help="Quit the sessions that people have left without a word.")
@store_option(required=True)
@click.option(
    "--idle",
    "idle_s",
    type=Amount(),
    default=float(IDLE_S),
    show_default=True,
    metavar="SECONDS",
    help="How long nothing must have happened.",
)
@form_option
def expire(store: str, idle_s: float, form: str) -> None:
    """Record `quit` with cause timeout in every session in which nothing has happened for 30 minutes."""
    expired = run(_expire, durable_store(store), idle_s)
    if form == "json":
        json_line({"expired": expired})
    else:
        click.echo(f"{counted(len(expired), 'session')} expired")


@click.command(short_help="Erase the personal data of a session or of a person.")
@store_option(required=True)
@click.option("--session", "session_id", metavar="ID", help="This session.")
@click.option("--client", "client_id", metavar="UUID", help="All sessions of the person with this client id.")
@form_option
def erase(store: str, session_id: str | None, client_id: str | None, form: str) -> None:
    """Erase from a store everything that is personal in a session, or in all sessions of a person.

    The records stay in their places, without ticket, client id and everything else that could tell who it was. What
    sinks have received already is not in the store's hands.

    \b
    Exit status: 0 erased; 1 there is nothing of that session or person; 2 wrong usage, or the store
    cannot be opened.
    """
    if session_id is None and client_id is None:
        raise click.UsageError("say whom to erase: --session ID or --client UUID")
    if session_id is not None and client_id is not None:
        raise click.UsageError("only one of --session and --client")
    with usage_errors():
        client_id = checked_context({"clientId": client_id}).client_id
    erased = run(_erase, durable_store(store), session_id, client_id)
    if form == "json":
        json_line({"erased": erased})
    elif erased:
        click.echo(f"{counted(len(erased), 'session')} erased")
    if not erased:
        click.echo("nothing was found", err=True)
        sys.exit(REFUSED)


@click.command(short_help="Remove old sessions that have ended and are delivered.")
@store_option(required=True)
@click.option("--older-than", "days", required=True, type=Amount(), metavar="DAYS", help="Since the last record.")
@click.option("--undelivered", is_flag=True, help="Also from a store that no sink was ever used with.")
@form_option
def prune(store: str, days: float, undelivered: bool, form: str) -> None:
    """Remove from a store the sessions that have ended so many days ago and that every sink has settled.

    It says which sinks have not settled everything, or have something put aside: what they still need is kept. If no
    sink was ever used with the store, nothing of it was delivered, and --undelivered must be given.
    """
    try:
        before = datetime.now(UTC) - timedelta(days=days)
    except OverflowError:
        raise click.UsageError("--older-than is more days than there have been") from None
    removed, behind = run(_prune, durable_store(store), before, undelivered)
    if form == "json":
        json_line({"removed": removed, "behind": behind})
        return
    click.echo(f"{counted(removed, 'session')} removed")
    for progress in behind:
        if progress.pending:
            what = f"has {counted(progress.pending, 'record')} still to be delivered"
            click.echo(f"kept: sink {printable(progress.sink)} {what}, and what comes after the first of them")
        if progress.quarantined:
            what = f"{counted(progress.quarantined, 'record')} in quarantine"
            click.echo(f"kept: sessions of which sink {printable(progress.sink)} has {what}")


async def _sinks(store: SQLiteStore, forget: str | None) -> list[Progress]:
    """How far each sink is, after one was forgotten."""
    async with store:
        if forget is not None:
            await store.forget_sink(known_sink(forget, await store.sinks()))
        return await _progress(store)


async def _progress(store: SQLiteStore) -> list[Progress]:
    last = await store.last_position()
    return [Progress.of(name, await store.state(name), last) for name in await store.sinks()]


async def _expire(store: SQLiteStore, idle_s: float) -> list[str]:
    async with CaseAssist(store=store) as assist:
        return await assist.expire(idle_s=idle_s)


async def _erase(store: SQLiteStore, session_id: str | None, client_id: str | None) -> list[str]:
    async with store:
        return list(await store.erase(session_id=session_id, client_id=client_id))


async def _prune(store: SQLiteStore, before: datetime, undelivered: bool) -> tuple[int, list[Progress]]:
    """How many sessions were removed, and the sinks that others are kept for."""
    async with store:
        if not undelivered and not await store.sinks():
            raise Unreadable("no sink was ever used with this store, so nothing was delivered; see --undelivered")
        removed = await store.prune(before)
        return removed, [progress for progress in await _progress(store) if progress.pending or progress.quarantined]
