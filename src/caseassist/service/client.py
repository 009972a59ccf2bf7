"""The client of Coveo's Customer Service API."""

import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypeVar

import anyio

from caseassist.core.errors import NoSuggestions
from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket
from caseassist.core.suggestions import read_classifications, read_documents
from caseassist.delivery.pacing import retry_delay_s
from caseassist.tokens import TokenProvider, Tokens
from caseassist.transport import HTTPTransport, Transport, TransportError
from caseassist.wire.http import Reply, Request
from caseassist.wire.secret import Secret
from caseassist.wire.service import (
    MAX_ANSWER_BYTES,
    CaseAssistEndpoint,
    Failure,
    ServiceFormat,
    failure_of,
    read_answer,
)

__all__ = ["CustomerService"]

T = TypeVar("T")

MIN_REQUEST_S = 0.001
"""A transport takes a positive number of seconds."""

# Coveo's client begins at 0.1 s as well, and doubles up to 51.2 s. A person waits here, so the bound is low; what
# limits the number of tries is the deadline of the call.
BASE_DELAY_S = 0.1
MAX_DELAY_S = 2.0


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class CustomerService:
    """Asks a Case Assist configuration for classifications and documents. A :class:`SuggestionService`.

    ``endpoint``: the base URL, such as ``https://platform.cloud.coveo.com``, with ``organization`` and
    ``case_assist_id``, the id of the configuration; see also :meth:`for_organization`; or a
    :class:`CaseAssistEndpoint`. ``token``: a search token or API key, sent as ``Authorization: Bearer``; or an async
    function that gives one, see below; None sends none.

    ``timeout_s``: seconds for a whole call, tries, pauses and tokens included. ``request_timeout_s``: seconds for one
    try. ``number_of_results``: documents, 1 to 100; the service's default, 5, unless given. ``debug``: ask the service
    to explain itself. ``locale``: such as ``en-US``; the context's language unless given. ``input_fields``: the members
    of the ticket that the service predicts from; they go by their names in JSON, those in ``custom`` by their own.
    ``context_fields``: those that go along when documents are asked for; all that are no inputs unless given.
    ``analytics``: send the client id, and with a request for documents what Coveo's client sends for its analytics: the
    client id, the time, the origin context, the tracking id, and referrer, location and display name when the context
    has them (the name not of somebody anonymous). False sends none of it, the client id neither.

    ``transport``: carries the requests, and should take answers of 1 MiB; a client that makes its own must be closed.
    ``allow_insecure_http``: permit ``http://`` to hosts other than this one. ``rng``, ``sleep`` and ``clock`` are where
    chance, pauses and the time come from; tests pass their own.

    A reply of 408, 425, 429 or 5xx and a broken connection are tried again with growing, random pauses, and not before
    the time that ``Retry-After`` asks for; when the deadline does not allow for that, the call ends at once. A function
    for ``token`` is asked before the first request, and again when the service answers 401 or 419: once, however many
    requests come back so, and once a call. Everything else is not tried again.

    Any number of calls may run at once. Cancelling one is safe. Raises ValueError for what cannot work, TypeError for a
    token that is none and for a name in the place of a list of names.
    """

    def __init__(
        self,
        endpoint: str | CaseAssistEndpoint,
        *,
        organization: str | None = None,
        case_assist_id: str | None = None,
        token: str | Secret | TokenProvider | None,
        timeout_s: float = 4.0,
        request_timeout_s: float = 2.0,
        number_of_results: int | None = None,
        debug: bool = False,
        locale: str | None = None,
        input_fields: Sequence[str] = ("subject", "description"),
        context_fields: Sequence[str] | None = None,
        analytics: bool = True,
        transport: Transport | None = None,
        allow_insecure_http: bool = False,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        if not isinstance(endpoint, CaseAssistEndpoint):
            if organization is None or case_assist_id is None:
                raise ValueError("a base URL needs an organization and a case_assist_id")
            endpoint = CaseAssistEndpoint.parse(endpoint, organization, case_assist_id)
        elif organization is not None or case_assist_id is not None:
            raise ValueError("a CaseAssistEndpoint has its organization and its id; leave them out")
        if endpoint.origin.scheme == "http" and not (endpoint.origin.is_loopback or allow_insecure_http):
            raise ValueError("http:// is for this host only: use https://, or allow_insecure_http=True")
        if not timeout_s > 0 or not request_timeout_s > 0:
            raise ValueError("timeout_s and request_timeout_s must be positive")
        if number_of_results is not None and number_of_results not in range(1, 101):
            raise ValueError("number_of_results is a whole number from 1 to 100")
        if isinstance(input_fields, str) or isinstance(context_fields, str):
            raise TypeError("input_fields and context_fields are lists of names")
        self.format = ServiceFormat(
            endpoint=endpoint,
            number_of_results=number_of_results,
            debug=debug,
            locale=locale,
            input_fields=tuple(input_fields),
            context_fields=None if context_fields is None else tuple(context_fields),
            analytics=analytics,
        )
        self.timeout_s = timeout_s
        self.request_timeout_s = request_timeout_s
        self._tokens = Tokens(token, timeout_s=timeout_s)
        self._rng = rng or random.Random()  # noqa: S311 - pauses
        self._sleep = sleep
        self._clock = clock
        self._own: HTTPTransport | None = None
        if transport is None:
            transport = self._own = HTTPTransport(
                max_body_bytes=MAX_ANSWER_BYTES, allow_insecure_http=allow_insecure_http
            )
        self._transport: Transport = transport

    @classmethod
    def for_organization(
        cls,
        organization: str,
        case_assist_id: str,
        *,
        token: str | Secret | TokenProvider,
        hipaa: bool = False,
        timeout_s: float = 4.0,
        request_timeout_s: float = 2.0,
        number_of_results: int | None = None,
        debug: bool = False,
        locale: str | None = None,
        input_fields: Sequence[str] = ("subject", "description"),
        context_fields: Sequence[str] | None = None,
        analytics: bool = True,
        transport: Transport | None = None,
    ) -> "CustomerService":
        """The client for a Coveo organization, at ``https://{organization}.org.coveo.com``.

        ``hipaa``: it is a HIPAA organization, at ``.orghipaa.coveo.com``. Otherwise as above. Raises ValueError for
        what is no id, and without a token: the service answers nobody without one.
        """
        if token is None:
            raise ValueError("an organization answers nobody without a token; it comes from your administrator")
        return cls(
            CaseAssistEndpoint.for_organization(organization, case_assist_id, hipaa=hipaa),
            token=token,
            timeout_s=timeout_s,
            request_timeout_s=request_timeout_s,
            number_of_results=number_of_results,
            debug=debug,
            locale=locale,
            input_fields=input_fields,
            context_fields=context_fields,
            analytics=analytics,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<CustomerService {self.format.endpoint}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, unless the transport is yours. Calls that are under way end with NoSuggestions."""
        if self._own is not None:
            await self._own.aclose()

    async def classify(self, ticket: Ticket, context: Context) -> ClassificationsOffered:
        """Ask for values of the fields of a ticket: see :meth:`SuggestionService.classify`.

        Raises NoSuggestions when there is no answer that can be read within ``timeout_s``; ``status`` is the HTTP
        status of the last reply, None where there was none.
        """
        return await self._call(lambda token: self.format.classify(ticket, context, token), read_classifications)

    async def suggest_documents(self, ticket: Ticket, context: Context) -> DocumentsOffered:
        """Ask for documents that may solve the case. Otherwise as :meth:`classify`."""
        now = self._clock()
        return await self._call(
            lambda token: self.format.suggest_documents(ticket, context, token, now=now), read_documents
        )

    async def _call(self, write: Callable[[str | None], Request], read: Callable[[bytes], T]) -> T:
        """Try until there is an answer, nothing helps, or the deadline has come."""
        deadline = anyio.current_time() + self.timeout_s
        failure: Failure | None = None
        renewed = False
        attempt = 0
        with anyio.CancelScope(deadline=deadline):
            if self._tokens.current is None:
                await self._tokens.renew(self._tokens.times_asked)
            if self._tokens.current is None and self._tokens.renewable:
                raise NoSuggestions(self._tokens.problem)
            while True:
                asked, token = self._tokens.times_asked, self._tokens.current
                request = write(None if token is None else token.reveal())
                reply = await self._send(request, deadline)
                failure = failure_of(reply, request=request, token=token)
                if failure is None:
                    assert isinstance(reply, Reply)
                    return read_answer(reply, read)
                if failure.remedy == "new_token" and self._tokens.renewable and not renewed:
                    renewed = True
                    if await self._tokens.renew(asked) is not token:
                        continue
                    raise NoSuggestions(f"{failure.reason}, and {self._tokens.problem}", status=failure.status)
                if failure.remedy != "retry":
                    raise NoSuggestions(failure.reason, status=failure.status)
                attempt += 1
                pause = retry_delay_s(
                    attempt, failure.retry_after_s, base_delay_s=BASE_DELAY_S, max_delay_s=MAX_DELAY_S, rng=self._rng
                )
                if anyio.current_time() + pause >= deadline:
                    break
                await self._sleep(pause)
        so_far = "" if failure is None else f"; last: {failure.reason}"
        raise NoSuggestions(
            f"no answer within {self.timeout_s:g} s{so_far}", status=None if failure is None else failure.status
        )

    async def _send(self, request: Request, deadline: float) -> Reply | TransportError:
        left_s = max(deadline - anyio.current_time(), MIN_REQUEST_S)
        try:
            return await self._transport.send(request, timeout_s=min(self.request_timeout_s, left_s))
        except TransportError as error:
            return error
