"""``caseassist replay``."""

import sys
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime

import click
import msgspec

from caseassist.cli.logs import Place, Repeats, each_record, is_store
from caseassist.cli.options import REFUSED, Unreadable, durable_store, form_option, run
from caseassist.cli.output import Column, Problems, counted, json_line, show_table
from caseassist.core.errors import CorruptRecord, StoreError
from caseassist.core.records import Record, action_name
from caseassist.core.session import Session

__all__ = ["replay"]

SESSIONS = (
    Column("session"),
    Column("records", right=True, spare=2),
    Column("state"),
    Column("stage", right=True, spare=4),
    Column("latest", spare=3),
    Column("ticket", spare=1),
    Column("subject", cut=True),
)
STORY = (Column("seq", right=True), Column("time", spare=1), Column("event"), Column("state"))


@click.command(short_help="Fold a log: what has become of its sessions.")
@click.argument("log", metavar="LOG")
@click.option("--session", "session_id", metavar="ID", help="Only this session, record by record.")
@click.option("--at", "at", type=click.IntRange(min=0), metavar="SEQ", help="That session as of this record.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="Sessions in the table."
)
@form_option
def replay(log: str, session_id: str | None, at: int | None, limit: int, form: str) -> None:
    """Fold a LOG and show its sessions: state, stage, ticket.

    LOG is a file of records (JSON lines), `-` for a pipe, or a store, such as sqlite:PATH. A record that is in a file
    again, byte for byte, is passed over: delivery is at least once.

    \b
    Exit status: 0 all records were used; 1 some could not be; 2 wrong usage, or no such session.
    """
    if at is not None and session_id is None:
        raise click.UsageError("--at needs --session")
    fold = _Fold(session_id, at)
    run(_read, log, fold)
    fold.problems.show()
    if session_id is not None:
        session = fold.sessions.get(session_id)
        if session is None:
            raise Unreadable(f"there is no record of session {session_id!r}")
        if at is not None and at >= session.next_seq:
            raise Unreadable(f"there is no record {at}: the session has {counted(session.next_seq, 'record')}, from 0")
        _show_one(session, fold.story, form)
    elif form == "json":
        for session in fold.sessions.values():
            json_line(_plain(session))
    else:
        _show_all(list(fold.sessions.values()), limit, fold.repeats.count)
    sys.exit(REFUSED if fold.problems.count else 0)


class _Fold:
    """Sessions that grow record by record. ``story``: the records of the one that is looked at."""

    def __init__(self, only: str | None, at: int | None) -> None:
        self.sessions: dict[str, Session] = {}
        self.story: list[tuple[Record, str]] = []
        self.problems = Problems()
        self.repeats = Repeats()
        self.only = only
        self._at = at

    def add(self, place: Place) -> None:
        record = place.record
        if isinstance(record, CorruptRecord):
            self.problems.add(str(record))
            return
        if self.only is not None and (
            record.session_id != self.only or (self._at is not None and record.seq > self._at)
        ):
            return
        session = self.sessions.get(record.session_id) or Session(id=record.session_id)
        if self.repeats.has(place, record, session):
            return
        try:
            session = session.apply(record)
        except StoreError as error:
            self.problems.add(f"{place.where}: {error}")
            return
        if place.line:
            self.repeats.add(place, record)
        self.sessions[record.session_id] = session
        if self.only is not None:
            self.story.append((record, session.state))


async def _read(log: str, fold: _Fold) -> None:
    if is_store(log) and fold.only is not None:
        try:
            async with durable_store(log) as store:
                records = await store.load(fold.only)
        except CorruptRecord:
            pass  # what of it can be read is shown all the same
        else:
            for record in records:
                fold.add(Place(f"record {record.seq}", record))
            return
    async with aclosing(each_record(log)) as places:
        async for place in places:
            fold.add(place)


def _plain(session: Session) -> dict[str, object]:
    """A session as JSON has it."""
    return {
        "session": session.id,
        "records": session.next_seq,
        "state": session.state,
        "stage": session.stage,
        "startedAt": session.started_at,
        "lastAt": session.last_at,
        "ticket": session.ticket,
        "context": session.context,
    }


def _show_all(sessions: Sequence[Session], limit: int, repeated: int) -> None:
    rows = (
        (
            session.id,
            str(session.next_seq),
            session.state,
            str(session.stage),
            _text(session.last_at),
            session.ticket.id or "",
            session.ticket.subject or "",
        )
        for session in sessions[:limit]
    )
    show_table(SESSIONS, rows)
    ended = sum(not session.active for session in sessions)
    again = f"; {counted(repeated, 'record')} repeated" if repeated else ""
    more = f"; {limit} shown (--limit)" if len(sessions) > limit else ""
    click.echo(f"{counted(len(sessions), 'session')}, {ended} ended{again}{more}")


def _show_one(session: Session, story: Sequence[tuple[Record, str]], form: str) -> None:
    if form == "json":
        events = [{"seq": record.seq, "time": record.time, "event": record.event} for record, _ in story]
        json_line(_plain(session) | {"events": events})
        return
    rows = ((str(record.seq), _text(record.time), action_name(record.event), state) for record, state in story)
    show_table(STORY, rows)
    click.echo(f"session {session.id}: {session.state}, stage {session.stage}")
    ticket = msgspec.json.format(msgspec.json.encode(session.ticket), indent=2).decode()
    click.echo(f"ticket {ticket}")


def _text(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"
