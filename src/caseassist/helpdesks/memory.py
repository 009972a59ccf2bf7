"""A helpdesk in memory, for demos and tests."""

from hashlib import sha256

from caseassist.core.events import Context, Ticket

__all__ = ["MemoryTickets"]


class MemoryTickets:
    """Files tickets in memory only: nobody will take care of them. A :class:`TicketCreator`."""

    def __init__(self) -> None:
        self.tickets: dict[str, Ticket] = {}
        """What was filed, by the id of the ticket."""

    async def create_ticket(self, ticket: Ticket, context: Context, *, key: str) -> str:
        """File a ticket. Its id is made of the key, so the same key gives the same id in every process."""
        del context
        ticket_id = f"CASE-{sha256(key.encode()).hexdigest()[:8].upper()}"
        self.tickets.setdefault(ticket_id, ticket)
        return ticket_id
