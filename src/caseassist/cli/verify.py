"""``caseassist verify``."""

import sys
from contextlib import aclosing

import click

from caseassist.cli.logs import each_record, is_store
from caseassist.cli.options import REFUSED, durable_store, form_option, run
from caseassist.cli.output import json_line, show_problems
from caseassist.core.errors import CorruptRecord, StoreError, StoreUnavailable
from caseassist.core.session import Session

__all__ = ["verify"]


@click.command(short_help="Check that a log is whole.")
@click.argument("log", metavar="LOG")
@form_option
def verify(log: str, form: str) -> None:
    """Check a LOG: that it can be read, that no record is missing or twice, and that every session folds.

    LOG is a file of records (JSON lines), `-` for a pipe, or a store, such as sqlite:PATH. Nothing is changed.

    \b
    Exit status: 0 it is whole; 1 it is not; 2 wrong usage, or it cannot be opened.
    """
    records, sessions, problems = run(_check_store if is_store(log) else _check_file, log)
    if form == "json":
        json_line({"ok": not problems, "records": records, "sessions": sessions, "problems": problems})
    else:
        show_problems(problems)
        click.echo(f"{records} records of {sessions} sessions, {len(problems) or 'no'} problems")
    sys.exit(REFUSED if problems else 0)


async def _check_store(log: str) -> tuple[int, int, list[str]]:
    async with durable_store(log) as store:
        problems = [str(problem) for problem in await store.check()]
        try:
            records, sessions = await store.count()
        except StoreUnavailable:  # too damaged to be counted
            records = sessions = 0
    return records, sessions, problems


async def _check_file(log: str) -> tuple[int, int, list[str]]:
    """Fold every session; a broken one is told once, at the first record that does not fit."""
    sessions: dict[str, Session | None] = {}
    problems: list[str] = []
    records = 0
    async with aclosing(each_record(log)) as read:
        async for where, record in read:
            if isinstance(record, CorruptRecord):
                problems.append(str(record))
                continue
            records += 1
            session = sessions.get(record.session_id, Session(id=record.session_id))
            if session is None:
                continue
            try:
                sessions[record.session_id] = session.apply(record)
            except StoreError as error:
                problems.append(f"{where}: {error}")
                sessions[record.session_id] = None
    return records, len(sessions), problems
