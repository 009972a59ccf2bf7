"""``caseassist expire``, ``erase`` and ``prune``: what a store needs from time to time."""

from datetime import UTC, datetime, timedelta

import click

from caseassist.cli.options import durable_store, form_option, run, store_option
from caseassist.cli.output import json_line
from caseassist.core.session import IDLE_S
from caseassist.live import CaseAssist
from caseassist.stores.sqlite import SQLiteStore

__all__ = ["erase", "expire", "prune"]


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


async def _expire(store: SQLiteStore, idle_s: float) -> list[str]:
    async with CaseAssist(store=store) as assist:
        return await assist.expire(idle_s=idle_s)


async def _erase(store: SQLiteStore, session_id: str | None, client_id: str | None) -> list[str]:
    async with store:
        return list(await store.erase(session_id=session_id, client_id=client_id and client_id.lower()))


async def _prune(store: SQLiteStore, before: datetime) -> int:
    async with store:
        return await store.prune(before)
