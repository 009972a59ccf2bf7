"""Hold a ticket creator to what a conversation relies on: one key, one ticket."""

from collections.abc import Awaitable, Callable
from itertools import count
from uuid import uuid4

import anyio

from caseassist.core.errors import TicketNotCreated
from caseassist.core.events import Context, Ticket
from caseassist.helpdesks.base import TicketCreator
from caseassist.testing.promises import LONG_S, PERSONAL, broken, broken_by, cut, kept

__all__ = ["check_ticket_creator"]

TICKET = Ticket(subject=PERSONAL, description=PERSONAL, category=PERSONAL, custom={"plan": "gold", "sizes": [1, 2]})
CONTEXT = Context(language="en")
SAME = "a second call with the same key gives the ticket of the first"


async def check_ticket_creator(creator: TicketCreator) -> None:
    """Check that a ticket creator keeps the promises of :class:`TicketCreator`, as far as they can be seen.

    ``creator``: files tickets in a helpdesk for tests that can be reached: it will have some tickets more. What it does
    when the helpdesk cannot be reached is for tests of your own.

    Raises AssertionError that names the promise. To be called on asyncio and on trio.
    """
    run = f"check-{uuid4()}"
    for check in _CHECKS:
        promise = (check.__doc__ or "").strip()
        try:
            with anyio.fail_after(LONG_S):
                await check(creator, f"{run}-{check.__name__.strip('_')}")
        except TimeoutError:
            broken(f"{promise} (it took more than {LONG_S:g} s)")


async def _gives_ids(creator: TicketCreator, key: str) -> None:
    """the id of a ticket is text of 1 to 256 characters, and every key has a ticket of its own"""
    ids = [await _file(creator, f"{key}-{n}") for n in range(2)]
    for ticket in (Ticket(), Ticket(subject=PERSONAL)):
        ids.append(await _file(creator, f"{key}-{len(ids)}", ticket))
    kept(len(set(ids)) == len(ids), "another key gives another ticket")


async def _knows_keys(creator: TicketCreator, key: str) -> None:
    """a second call with the same key gives the ticket of the first"""
    first = await _file(creator, key)
    kept(await _file(creator, key) == first, SAME)
    kept(await _file(creator, key, Ticket(subject=PERSONAL)) == first, f"{SAME}, though more is known now")


async def _can_be_called_at_once(creator: TicketCreator, key: str) -> None:
    """calls with the same key at the same time give one ticket"""
    ids: list[str] = []

    async def file() -> None:
        ids.append(await _file(creator, key))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(file)
    kept(len(set(ids)) == 1, "calls with the same key at the same time give one ticket")


async def _can_be_cut_off(creator: TicketCreator, key: str) -> None:
    """a call that was cancelled can be made again"""
    for k in count(1):
        was_cut = await cut(creator.create_ticket(TICKET, CONTEXT, key=f"{key}-{k}"), k, may_raise=TicketNotCreated)
        first = await _file(creator, f"{key}-{k}")
        kept(await _file(creator, f"{key}-{k}") == first, SAME)
        if not was_cut:
            return


async def _file(creator: TicketCreator, key: str, ticket: Ticket = TICKET) -> str:
    try:
        ticket_id = await creator.create_ticket(ticket, CONTEXT, key=key)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is not what was promised)
        broken_by(error, "a ticket is filed where the helpdesk can be reached")
    kept(isinstance(ticket_id, str) and 1 <= len(ticket_id) <= 256, "the id of a ticket is text of 1 to 256 characters")
    return ticket_id


_CHECKS: tuple[Callable[[TicketCreator, str], Awaitable[None]], ...] = (
    _gives_ids,
    _knows_keys,
    _can_be_called_at_once,
    _can_be_cut_off,
)
