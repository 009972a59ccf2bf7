"""What files tickets: the seam between a conversation and a helpdesk, small enough to fake."""

from typing import Protocol

from caseassist.core.events import Context, Ticket

__all__ = ["TicketCreator"]


class TicketCreator(Protocol):
    """Files tickets in a helpdesk."""

    async def create_ticket(self, ticket: Ticket, context: Context, *, key: str) -> str:
        """File a ticket and return its id in the helpdesk, 1 to 256 characters.

        ``ticket``: as the conversation knows it, without an id. ``context``: who asks, and the language.
        ``key``: of one attempt to get a case filed (the session id). A second call with the same key must give the
        ticket of the first and file nothing: whoever was cut off calls again.

        Raises TicketNotCreated. Cancelling a call leaves the outcome unknown, as ``maybe_created`` does.
        """
        ...
