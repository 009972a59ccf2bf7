"""``caseassist verify``."""

import sys
from contextlib import aclosing

import click

from caseassist.cli.logs import Repeats, each_record, is_store
from caseassist.cli.options import REFUSED, durable_store, form_option, run
from caseassist.cli.output import Problems, counted, json_line
from caseassist.core.errors import CorruptRecord, StoreError, StoreUnavailable
from caseassist.core.session import Session

__all__ = ["verify"]


@click.command(short_help="Check that a log is whole.")
@click.argument("log", metavar="LOG")
@form_option
def verify(log: str, form: str) -> None:
    """Check a LOG: that it can be read, that no record is missing or contradicts another, and that every session folds.

    LOG is a file of records (JSON lines), `-` for a pipe, or a store, such as sqlite:PATH. Nothing is changed.
    A record that is in a file again, byte for byte, is counted and is no problem: delivery is at least once.

    \b
    Exit status: 0 it is whole; 1 it is not; 2 wrong usage, or it cannot be opened.
    """
    problems, repeats = Problems(), Repeats()
    if is_store(log):
        records, sessions = run(_check_store, log, problems)
    else:
        records, sessions = run(_check_file, log, problems, repeats)
    if form == "json":
        json_line(
            {
                "ok": not problems.count,
                "records": records,
                "sessions": sessions,
                "repeated": repeats.count,
                "problems": problems.kept,
                "problemCount": problems.count,
            }
        )
    else:
        problems.show()
        found = counted(problems.count, "problem") if problems.count else "no problems"
        again = f", {repeats.count} repeated" if repeats.count else ""
        click.echo(f"{counted(records, 'record')} of {counted(sessions, 'session')}{again}, {found}")
    sys.exit(REFUSED if problems.count else 0)


async def _check_store(log: str, problems: Problems) -> tuple[int, int]:
    async with durable_store(log) as store:
        for problem in await store.check():
            problems.add(str(problem))
        try:
            return await store.count()
        except StoreUnavailable:  # too damaged to be counted
            return 0, 0


async def _check_file(log: str, problems: Problems, repeats: Repeats) -> tuple[int, int]:
    """Fold every session; a broken one is told once, at the first record that does not fit."""
    sessions: dict[str, Session | None] = {}
    records = 0
    async with aclosing(each_record(log)) as read:
        async for place in read:
            record = place.record
            if isinstance(record, CorruptRecord):
                problems.add(str(record))
                continue
            session = sessions.get(record.session_id, Session(id=record.session_id))
            if session is not None and repeats.has(place, record, session):
                continue
            records += 1
            if session is None:
                continue
            try:
                sessions[record.session_id] = session.apply(record)
                repeats.add(place, record)
            except StoreError as error:
                problems.add(f"{place.where}: {error}")
                sessions[record.session_id] = None
    return records, len(sessions)
