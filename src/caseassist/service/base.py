"""What gives suggestions: the seam between a conversation and the Customer Service API, small enough to fake."""

from typing import Protocol

from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket

__all__ = ["SuggestionService"]


class SuggestionService(Protocol):
    """Suggests values for a ticket's fields, and documents that may solve the case.

    Any number of calls may run at once. Cancelling a call is safe. Nothing is recorded by it: an answer goes into
    ``case.offer_classifications`` or ``case.offer_documents``.
    """

    async def classify(self, ticket: Ticket, context: Context) -> ClassificationsOffered:
        """Propose values for the fields of a ticket, the surest first; none is an answer, too.

        ``ticket``: what is known so far. ``context``: whose ticket it is, and the language.

        Raises NoSuggestions when there is no answer in the time that the service has.
        """
        ...

    async def suggest_documents(self, ticket: Ticket, context: Context) -> DocumentsOffered:
        """Suggest documents for a ticket, the best first; none is an answer, too. Otherwise as :meth:`classify`."""
        ...
