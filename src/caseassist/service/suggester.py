"""Suggestions for a case that goes on while the service thinks: late answers are told, not recorded."""

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeVar

from caseassist.core.errors import IllegalTransition, InvalidAction, NoSuggestions
from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.service.base import SuggestionService

__all__ = ["OfferingCase", "Suggester"]

T = TypeVar("T")

_Kind = Literal["classifications", "documents"]


class OfferingCase(Protocol):
    """What a Suggester needs of a case: a ``Case`` has it."""

    @property
    def session(self) -> Session:
        """The session as of after the latest action."""
        ...

    async def offer_classifications(self, response: ClassificationsOffered) -> Record:
        """Record that classifications were shown."""
        ...

    async def offer_documents(self, response: DocumentsOffered) -> Record:
        """Record that documents were shown."""
        ...


class Suggester:
    """Asks a service about a case, as it is, and offers the answer on the case, unless it comes too late.

    ``case``: the live case. ``service``: what is asked, such as a :class:`CustomerService`. An answer is late when the
    ticket is not any more what was asked about, when a newer call for the same thing was answered before, and when the
    session has ended: then it is dropped. So what a person is shown is never replaced by something older.

    One thing is seen too late: a change that was being stored when the answer came. The offer is recorded after it
    then, but the call returns None all the same, so it is not shown; and the answer to a newer call comes after it.

    Any number of calls may run at once. Cancelling one is safe: either the offer is recorded, or nothing is.
    """

    def __init__(self, case: OfferingCase, service: SuggestionService) -> None:
        self.problem: str | None = None
        """Why the call that ended last gave None, for people: no personal data, no token. None when all was well."""
        self._case = case
        self._service = service
        self._calls = 0
        self._answered: dict[_Kind, int] = {"classifications": 0, "documents": 0}
        """The newest call of each kind whose answer was taken."""

    async def classify(self) -> Record | None:
        """Ask for classifications and offer them. Returns the record of the offer, or None: see ``problem``.

        A failure of the service raises nothing, and neither does an answer that is late or that breaks a rule. Raises
        what the case raises when the offer cannot be stored: StoreFull, StoreUnavailable, SequenceConflict,
        SessionErased, AppendUnknown, NotRunning, Forked.
        """
        return await self._suggest("classifications", self._service.classify, self._case.offer_classifications)

    async def suggest_documents(self) -> Record | None:
        """Ask for documents and offer them. Otherwise as :meth:`classify`."""
        return await self._suggest("documents", self._service.suggest_documents, self._case.offer_documents)

    async def _suggest(
        self,
        kind: _Kind,
        ask: Callable[[Ticket, Context], Awaitable[T]],
        offer: Callable[[T], Awaitable[Record]],
    ) -> Record | None:
        self._calls += 1
        call, asked = self._calls, self._case.session
        try:
            answer = await ask(asked.ticket, asked.context)
        except NoSuggestions as failure:
            self.problem = str(failure)
            return None
        self.problem = self._lateness(kind, call, asked.ticket)
        if self.problem is not None:
            return None
        # From here on an older answer is late, even while this one waits for its turn: the case takes turns in order.
        self._answered[kind] = call
        try:
            record = await offer(answer)
        except InvalidAction as error:
            self.problem = f"the answer breaks a rule: {error}"
            return None
        except IllegalTransition:  # it ended, or went to a state of your own, while this one waited for its turn
            self.problem = _MOVED_ON if self._case.session.active else _ENDED
            return None
        self.problem = None if record.ticket == asked.ticket else _CHANGED
        return record if self.problem is None else None

    def _lateness(self, kind: _Kind, call: int, ticket: Ticket) -> str | None:
        if not self._case.session.active:
            return _ENDED
        if self._case.session.ticket != ticket:
            return _CHANGED
        if self._answered[kind] > call:
            return "the answer came late: a newer one was there before"
        return None


_ENDED = "the answer came late: the session has ended"
_MOVED_ON = "the answer came late: the session is in a state in which nothing can be offered"
_CHANGED = "the answer came late: the ticket has changed"
