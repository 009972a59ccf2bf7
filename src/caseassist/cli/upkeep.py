"""``caseassist sinks``, ``expire``, ``erase`` and ``prune``: what a store needs from time to time."""

from datetime import UTC, datetime, timedelta

import click

from caseassist.cli.options import durable_store, form_option, run, store_option
from caseassist.cli.output import json_line, summarise
from caseassist.core.session import IDLE_S
from caseassist.delivery.reports import DrainReport, Progress
from caseassist.live import CaseAssist
from caseassist.stores.sqlite import SQLiteStore

__all__ = ["erase", "expire", "prune", "sinks"]


@click.command(short_help="Show how far each sink is with a store; forget one that is not used any more.")
@store_option(required=True)
@click.option("--forget", metavar="NAME", help="Forget this sink, and what is put aside for it.")
@form_option
def sinks(store: str, forget: str | None, form: str) -> None:
    """Show how far each sink is with a store.

    A sink that is not used any more keeps `caseassist prune` from removing what it never got. Forget it then; if it is
    used again, it gets everything from the beginning.
    """
    found = run(_sinks, durable_store(store), forget)
    if forget is not None and not any(progress.sink == forget for progress in found):
        raise click.UsageError(f"there is no sink {forget!r} in this store")
    left = [progress for progress in found if progress.sink != forget]
    if form == "json":
        for progress in left:
            json_line(progress)
    else:
        summarise(DrainReport(tuple(left)), to_stderr=False)
        click.echo(f"{len(left)} sinks")


@click.command(short_help="Quit the sessions that people have left without a word.")
@store_option(required=True)
@click.option(
    "--idle",
    "idle_s",
    type=click.FloatRange(min=0),
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
        click.echo(f"{len(expired)} sessions expired")


@click.command(short_help="Erase the personal data of a session or of a person.")
@store_option(required=True)
@click.option("--session", "session_id", metavar="ID", help="This session.")
@click.option("--client", "client_id", metavar="UUID", help="All sessions of the person with this client id.")
@form_option
def erase(store: str, session_id: str | None, client_id: str | None, form: str) -> None:
    """Erase from a store everything that is personal in a session, or in all sessions of a person.

    The records stay in their places, without ticket, client id and everything else that could tell who it was. What
    sinks have received already is not in the store's hands.
    """
    if (session_id is None) == (client_id is None):
        raise click.UsageError("say whom to erase: --session ID or --client UUID")
    erased = run(_erase, durable_store(store), session_id, client_id)
    if form == "json":
        json_line({"erased": erased})
    else:
        click.echo(f"{len(erased)} sessions erased")


@click.command(short_help="Remove old sessions that have ended and are delivered.")
@store_option(required=True)
@click.option(
    "--older-than", "days", required=True, type=click.FloatRange(min=0), metavar="DAYS", help="Since the last record."
)
@form_option
def prune(store: str, days: float, form: str) -> None:
    """Remove from a store the sessions that have ended so many days ago and that every sink has settled."""
    try:
        before = datetime.now(UTC) - timedelta(days=days)
    except OverflowError:
        raise click.UsageError("--older-than is more days than there have been") from None
    removed = run(_prune, durable_store(store), before)
    if form == "json":
        json_line({"removed": removed})
    else:
        click.echo(f"{removed} sessions removed")


async def _sinks(store: SQLiteStore, forget: str | None) -> list[Progress]:
    """How far each sink is, the one that is forgotten included."""
    async with store:
        last = await store.last_position()
        found = [Progress.of(name, await store.state(name), last) for name in await store.sinks()]
        if forget is not None:
            await store.forget_sink(forget)
    return found


async def _expire(store: SQLiteStore, idle_s: float) -> list[str]:
    async with CaseAssist(store=store) as assist:
        return await assist.expire(idle_s=idle_s)


async def _erase(store: SQLiteStore, session_id: str | None, client_id: str | None) -> list[str]:
    async with store:
        return list(await store.erase(session_id=session_id, client_id=client_id and client_id.lower()))


async def _prune(store: SQLiteStore, before: datetime) -> int:
    async with store:
        return await store.prune(before)
