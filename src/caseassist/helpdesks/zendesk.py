"""Tickets in Zendesk."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

import anyio

from caseassist.core.errors import TicketNotCreated
from caseassist.core.events import Context, Ticket
from caseassist.delivery.pacing import retry_delay_s
from caseassist.transport import HTTPTransport, Transport, TransportError
from caseassist.wire import zendesk
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Reply, Request
from caseassist.wire.replies import retry_after_s
from caseassist.wire.secret import Secret

__all__ = ["Requester", "ZendeskTickets"]

Requester: TypeAlias = Callable[[Ticket, Context], Mapping[str, Any] | None]
"""Says who asks, as Zendesk has it: ``{"email": …, "name": …}``, with ``locale_id`` if you like; None for nobody."""

_RETRIED = frozenset({408, 409, 425, 429})
"""With 409, Zendesk asks for another try (Requests, "Status codes")."""
_NOT_DONE = frozenset({425, 429})
"""Answered before anything is done."""
_MAX_DELAY_S = 4.0
_MAX_BODY_BYTES = 4 << 20
"""The reply repeats a comment of at most 64 KiB three times, with escapes."""


class ZendeskTickets:
    """Files tickets with Zendesk's ticket API. A :class:`TicketCreator`.

    Close it with ``async with`` or :meth:`aclose`.

    ``url``: of the account, such as ``https://mycompany.zendesk.com``. ``token``: an API token, with the ``email`` of
    the agent that it acts for; or, without ``email``, an OAuth access token. It must be allowed to read and to write
    tickets. ``custom_fields``: ids of ticket fields in Zendesk by their names in the ticket (``category``,
    ``productId``, and those in ``custom``). What has no id is listed below the description, where the person sees it,
    too; what has None is not sent. ``tags``: given to every ticket. ``requester``: says who asks; unless given, it is
    whoever the context names by an e-mail address as ``username``, and nobody who is ``anonymous``. Without one,
    Zendesk takes the agent for the requester, and the context's ``user_display_name`` stands below the description.
    ``timeout_s``: seconds for a whole call, with all its tries. ``transport``: carries the requests; its own unless
    given. ``sleep``: how it waits between tries. ``rng``: for the jitter. ``allow_insecure_http``: permit ``http://``
    to hosts other than this one.

    Every call first asks Zendesk for a ticket with the key as ``external_id``, and then files one with the key as
    ``external_id`` and ``Idempotency-Key``. Zendesk forgets an idempotency key after two hours, and a person may come
    back tomorrow. It costs one more request a ticket, of the limit that Zendesk has for listing tickets.

    Raises ValueError for a URL, token or address that cannot be one.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | Secret,
        email: str | None = None,
        custom_fields: Mapping[str, int | None] | None = None,
        tags: Sequence[str] = (),
        requester: Requester | None = None,
        timeout_s: float = 15.0,
        transport: Transport | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        rng: random.Random | None = None,
        allow_insecure_http: bool = False,
    ) -> None:
        if timeout_s <= 0:
            raise ValueError("timeout_s must be positive")
        endpoint = Endpoint.parse(f"{url.rstrip('/')}/api/v2")
        if endpoint.origin.scheme == "http" and not (endpoint.origin.is_loopback or allow_insecure_http):
            raise ValueError("http:// is for this host only: use https://, or allow_insecure_http=True")
        if email is not None and (not email.isascii() or not email.isprintable() or set(email) & {" ", ":"}):
            raise ValueError("email is printable ASCII without spaces and colons")
        self._account = zendesk.Account(endpoint=endpoint, token=Secret(token), email=email)
        self._custom_fields = dict(custom_fields or {})
        self._tags = tuple(tags)
        self._requester = requester
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 (jitter)
        self._own: HTTPTransport | None = None
        if transport is None:
            transport = self._own = HTTPTransport(
                max_body_bytes=_MAX_BODY_BYTES, allow_insecure_http=allow_insecure_http
            )
        self._transport: Transport = transport

    def __repr__(self) -> str:
        return f"<ZendeskTickets {self._account.endpoint.origin}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections. A transport that was given stays open."""
        if self._own is not None:
            await self._own.aclose()

    async def create_ticket(self, ticket: Ticket, context: Context, *, key: str) -> str:
        """File a ticket and return its id: see :meth:`TicketCreator.create_ticket`.

        429, 5xx and the network's troubles are tried again, with full jitter, as long as ``timeout_s`` allows.
        ``maybe_created`` speaks of this call only.

        If the key came with another ticket in the last two hours and Zendesk shows no ticket for it, none is filed.
        """
        reference = zendesk.reference_of(key)
        body = self._body(ticket, context, reference)
        filing = _Filing(anyio.current_time() + self._timeout_s)
        find = self._account.to_find(reference=reference)
        if (found := await self._find(find, reference, filing)) is not None:
            return found
        reply = await self._exchange(self._account.to_create(body, reference=reference), filing)
        if 200 <= reply.status < 300:
            filing.maybe_created = True
            if (created := zendesk.created_id(reply)) is not None:
                return created
            raise filing.failed(f"{zendesk.reason_of(reply)} without the id of a ticket", reply.status)
        if zendesk.is_key_of_another(reply):
            filing.maybe_created = True
            if (found := await self._find(find, reference, filing)) is not None:
                return found
        raise filing.failed(zendesk.reason_of(reply), reply.status)

    def _body(self, ticket: Ticket, context: Context, reference: str) -> bytes:
        requester: Mapping[str, Any] | None
        try:
            requester = zendesk.requester_of(context) if self._requester is None else self._requester(ticket, context)
        except Exception as error:  # noqa: BLE001 (somebody else's code; its text could hold what is personal)
            raise TicketNotCreated(f"the requester function failed: {type(error).__name__}") from None
        signature = None if context.anonymous or requester is not None else context.user_display_name
        try:
            return zendesk.body_of(
                ticket,
                reference=reference,
                custom_fields=self._custom_fields,
                tags=self._tags,
                requester=requester,
                signature=signature,
            )
        except (ValueError, TypeError, RecursionError) as error:
            raise TicketNotCreated(f"the ticket cannot be written as JSON: {type(error).__name__}") from None

    async def _find(self, request: Request, reference: str, filing: "_Filing") -> str | None:
        reply = await self._exchange(request, filing, files=False)
        if reply.status != 200:
            raise filing.failed(f"{zendesk.reason_of(reply)} to the search for an earlier ticket", reply.status)
        try:
            return zendesk.found_id(reply, reference)
        except ValueError as error:
            raise filing.failed(str(error), reply.status) from None

    async def _exchange(self, request: Request, filing: "_Filing", *, files: bool = True) -> Reply:
        """Send a request until there is an answer to it. Raises TicketNotCreated when time is up."""
        attempt = 0
        while True:
            attempt += 1
            asked: float | None = None
            status: int | None = None
            try:
                # A search that hangs leaves time for another one; a ticket that is being filed is worth the wait.
                most_s = filing.left_s() if files else min(filing.left_s(), self._timeout_s / 3)
                reply = await self._transport.send(request, timeout_s=max(most_s, 0.001))
            except TransportError as error:
                reason = str(error)
                filing.maybe_created |= files and error.maybe_sent
                if not error.maybe_sent and error.reason != "connect":
                    raise filing.failed(reason, None) from error
            else:
                if reply.status not in _RETRIED and reply.status < 500:
                    return reply
                reason, status, asked = zendesk.reason_of(reply), reply.status, retry_after_s(reply)
                filing.maybe_created |= files and status not in _NOT_DONE
            delay_s = retry_delay_s(attempt, asked, max_delay_s=_MAX_DELAY_S, rng=self._rng)
            if delay_s >= filing.left_s():
                later = "" if asked is None else f"; asked to wait {asked:g} s"
                raise filing.failed(f"{reason}{later}", status)
            await self._sleep(delay_s)


class _Filing:
    """One call: until when, and whether a ticket may be there."""

    def __init__(self, until: float) -> None:
        self._until = until
        self.maybe_created = False

    def left_s(self) -> float:
        return self._until - anyio.current_time()

    def failed(self, reason: str, status: int | None) -> TicketNotCreated:
        return TicketNotCreated(reason, status=status, maybe_created=self.maybe_created)
