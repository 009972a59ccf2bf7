"""The check of ticket creators: it lets good ones pass, and finds what is broken."""

from typing import Any

import anyio.lowlevel
import pytest
from tests.helpdesks.zendesk_server import EMAIL, TOKEN, Zendesk

from caseassist.core.errors import TicketNotCreated
from caseassist.core.events import Context, Ticket
from caseassist.helpdesks.zendesk import ZendeskTickets
from caseassist.testing import check_ticket_creator
from caseassist.testing.http import ScriptServer


async def test_zendesk_keeps_the_promises() -> None:
    zendesk = Zendesk()
    async with (
        ScriptServer(then=zendesk.answers) as server,
        ZendeskTickets(server.url, token=TOKEN, email=EMAIL) as tickets,
    ):
        await check_ticket_creator(tickets)
    keys = [ticket["external_id"] for ticket in zendesk.tickets]
    assert len(keys) == len(set(keys)) > 5


class Table:
    """Keeps the promises, unless it is told to break one."""

    def __init__(self, breaks: str = "") -> None:
        self.breaks = breaks
        self.ids: dict[str, str] = {}
        self.seen: set[str] = set()

    async def create_ticket(self, ticket: Ticket, context: Context, *, key: str) -> Any:
        if self.breaks == "cut off" and "cut_off" in key:
            if key in self.seen:
                raise TicketNotCreated("there is something already")
            self.seen.add(key)
        if self.breaks == "at once":
            known = self.ids.get(key)
            await anyio.lowlevel.checkpoint()
            return known or self.ids.setdefault(f"{key}-{len(self.ids)}", str(len(self.ids)))
        await anyio.lowlevel.checkpoint()
        if self.breaks == "fails":
            raise TicketNotCreated("no")
        if self.breaks == "other error":
            raise LookupError
        if self.breaks == "number":
            return 7
        if self.breaks == "empty":
            return ""
        if self.breaks == "long":
            return key * 256
        if self.breaks == "same for all":
            return "1"
        if self.breaks == "forgets":
            key = f"{key}-{len(self.ids)}"
        if self.breaks == "goes by the ticket":
            key = f"{key}-{ticket.description}"
        return self.ids.setdefault(key, str(len(self.ids)))


async def test_a_good_one_passes() -> None:
    await check_ticket_creator(Table())


@pytest.mark.parametrize(
    ("breaks", "promise"),
    [
        ("fails", "a ticket is filed .* TicketNotCreated"),
        ("other error", "a ticket is filed .* LookupError"),
        ("number", "1 to 256 characters"),
        ("empty", "1 to 256 characters"),
        ("long", "1 to 256 characters"),
        ("same for all", "another key gives another ticket"),
        ("forgets", "a second call with the same key"),
        ("goes by the ticket", "though more is known now"),
        ("at once", "same key"),
        ("cut off", "a ticket is filed"),
    ],
)
async def test_a_broken_promise_is_named(breaks: str, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        await check_ticket_creator(Table(breaks))
