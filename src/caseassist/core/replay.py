"""Replaying a log: the records of many sessions, each session's in order, folded to what became of them."""

from collections.abc import Iterable, Iterator

from caseassist.core.machine import ENDS, LIFE_CYCLE, LifeCycle
from caseassist.core.records import Record
from caseassist.core.session import Session

__all__ = ["replay"]


def replay(blocks: Iterable[Iterable[Record]], *, life_cycle: LifeCycle = LIFE_CYCLE) -> Iterator[Session]:
    """Fold a log of many sessions. Gives each session once it has ended, and in the end those that have not.

    ``blocks``: the records, such as :func:`~caseassist.core.records.decode_blocks` gives them. Only sessions that have
    not ended are kept, so memory does not grow with the length of the log.

    Raises CorruptRecord and UnsupportedRecord at the first record that cannot be used: one that is there twice, too.
    To go on after it, keep the sessions yourself and use :meth:`Session.apply`.
    """
    own = life_cycle is not LIFE_CYCLE
    sessions: dict[str, Session] = {}
    for block in blocks:
        for record in block:
            session_id = record.session_id
            session = sessions.get(session_id)
            if session is None:
                session = Session(id=session_id, life_cycle=life_cycle)
            session = session.apply(record)
            # Of a life cycle of one's own, an end may be left again.
            if not life_cycle.allowed(session.state) if own else session.state in ENDS:
                sessions.pop(session_id, None)
                yield session
            else:
                sessions[session_id] = session
    yield from sessions.values()
