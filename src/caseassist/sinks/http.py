"""The sink that logs events with Coveo's Usage Analytics Write API: one request an event."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

import anyio
import msgspec

from caseassist.core.errors import SinkRefused, SinkUnavailable, UnsupportedRecord
from caseassist.core.records import Record
from caseassist.sinks.base import OnRefused, Sink
from caseassist.transport import HTTPTransport, Transport, TransportError
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Reply, Request
from caseassist.wire.replies import judge
from caseassist.wire.requests import Auth, WireFormat, auth_of
from caseassist.wire.secret import Secret

__all__ = ["HTTPSink", "TokenProvider"]

TokenProvider: TypeAlias = Callable[[], Awaitable[str | Secret]]
"""Gives a token that is valid now: from a vault, or from a service that issues search tokens."""

_SAME = "the token provider has no other token"


class HTTPSink(Sink):
    """Sends every event to a Usage Analytics endpoint, in order within a session.

    ``endpoint``: its URL, such as ``https://host/rest/ua``; see also :meth:`for_organization`. ``token``: an API key
    or search token, sent as ``Authorization: Bearer``; None sends none; or an async function that gives one, see below.
    ``auth``: what sort of token it is, if that cannot be told from it (an OAuth token). ``name``: the endpoint's URL
    unless given. ``sessions_at_once``: requests in flight. ``timeout_s``: seconds for one request, from connecting to
    the end of the reply. ``on_refused``: see :class:`Sink`. ``normalise_keys`` and ``custom_values``: how customData is
    written, see :class:`WireFormat`. ``transport``: carries the requests; the sink's own unless given.
    ``allow_insecure_http``: permit ``http://`` to hosts other than this one.

    A function is asked for the token before the first event is sent, and again when the service answers 401 or 403:
    once, however many requests come back so. If it gives another token, the event is sent again at once. Otherwise, and
    when that one is refused, too, SinkUnavailable says that delivery is ``paused``. The function may take
    ``timeout_s``; that it fails or takes longer is told by SinkUnavailable, too.

    Raises ValueError for an endpoint or token that cannot be one.
    """

    def __init__(
        self,
        endpoint: str | Endpoint,
        *,
        token: str | Secret | TokenProvider | None,
        auth: Auth | None = None,
        name: str | None = None,
        sessions_at_once: int = 16,
        timeout_s: float = 10.0,
        on_refused: OnRefused = "continue",
        normalise_keys: bool = True,
        custom_values: Literal["text", "raw"] = "text",
        transport: Transport | None = None,
        allow_insecure_http: bool = False,
    ) -> None:
        if sessions_at_once < 1 or timeout_s <= 0:
            raise ValueError("sessions_at_once and timeout_s must be positive")
        if on_refused not in ("continue", "hold"):
            raise ValueError("on_refused must be 'continue' or 'hold'")
        endpoint = endpoint if isinstance(endpoint, Endpoint) else Endpoint.parse(endpoint)
        if endpoint.origin.scheme == "http" and not (endpoint.origin.is_loopback or allow_insecure_http):
            raise ValueError("http:// is for this host only: use https://, or allow_insecure_http=True")
        self._auth: Auth | None = auth
        self._token: Secret | None = None
        self._provider: TokenProvider | None = None
        self.format = WireFormat(
            endpoint=endpoint,
            auth=auth or "search_token",
            normalise_keys=normalise_keys,
            custom_values=custom_values,
        )
        if isinstance(token, str | Secret):
            self._use(Secret(token))
        elif callable(token):
            self._provider = token
        elif token is not None:
            raise TypeError("a token is a str, a Secret, an async function that gives one, or None")
        self._times_asked = 0
        self._asking: anyio.Event | None = None
        self._problem = ""
        self.name = name or str(endpoint)
        self.sessions_at_once = sessions_at_once
        self.batch_records = 64
        self.timeout_s = timeout_s
        self.on_refused = on_refused
        self._own: HTTPTransport | None = None
        if transport is None:
            transport = self._own = HTTPTransport(max_idle=sessions_at_once, allow_insecure_http=allow_insecure_http)
        self._transport: Transport = transport

    @classmethod
    def for_organization(
        cls,
        organization: str,
        *,
        token: str | Secret | TokenProvider,
        hipaa: bool = False,
        auth: Auth | None = None,
        name: str | None = None,
        sessions_at_once: int = 16,
        timeout_s: float = 10.0,
        on_refused: OnRefused = "continue",
        normalise_keys: bool = True,
        custom_values: Literal["text", "raw"] = "text",
        transport: Transport | None = None,
    ) -> "HTTPSink":
        """The sink for a Coveo organization, by its id. ``hipaa``: it is a HIPAA organization. Otherwise as above.

        Raises ValueError for what is no organization id, and without a token: the service takes nothing without one.
        """
        if token is None:
            raise ValueError("an organization takes nothing without a token; it comes from your administrator")
        return cls(
            Endpoint.for_organization(organization, hipaa=hipaa),
            token=token,
            auth=auth,
            name=name,
            sessions_at_once=sessions_at_once,
            timeout_s=timeout_s,
            on_refused=on_refused,
            normalise_keys=normalise_keys,
            custom_values=custom_values,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<HTTPSink {self.format.endpoint}>"

    async def deliver(self, records: Sequence[Record]) -> None:
        """Send records of one session one after the other. An offer is never sent and counts as delivered."""
        for delivered, record in enumerate(records):
            await self._log(record, delivered)

    async def _log(self, record: Record, delivered: int) -> None:
        asked = self._times_asked
        request = self._request(record, delivered)
        if request is None:
            return
        token = self._token
        if token is None and self._provider is not None:
            token = await self._renew(self._provider, asked)
            if token is None:
                raise SinkUnavailable(self._problem, delivered=delivered)
            asked = self._times_asked
            request = self._request(record, delivered) or request
        reply = await self._send(request, delivered)
        if reply.status in (401, 403) and self._provider is not None:
            renewed = await self._renew(self._provider, asked)
            if renewed is token:
                reason = f"{judge(reply, request=request, token=token).reason}, and {self._problem}"
                raise SinkUnavailable(reason, delivered=delivered, paused=self._problem == _SAME)
            token = renewed
            request = self._request(record, delivered) or request
            reply = await self._send(request, delivered)
        verdict = judge(reply, request=request, token=token)
        if verdict.outcome == "refused":
            raise SinkRefused(verdict.reason, status=verdict.status, delivered=delivered)
        if verdict.outcome != "accepted":
            raise SinkUnavailable(
                verdict.reason,
                retry_after_s=verdict.retry_after_s,
                delivered=delivered,
                paused=verdict.outcome == "paused",
            )

    def _request(self, record: Record, delivered: int) -> Request | None:
        try:
            return self.format.request(record, None if self._token is None else self._token.reveal())
        except UnsupportedRecord as error:
            raise SinkRefused(str(error), delivered=delivered) from None

    async def _send(self, request: Request, delivered: int) -> Reply:
        try:
            return await self._transport.send(request, timeout_s=self.timeout_s)
        except TransportError as error:
            raise SinkUnavailable(str(error), delivered=delivered) from error

    def _use(self, token: Secret) -> None:
        self._token = token
        self.format = msgspec.structs.replace(self.format, auth=self._auth or auth_of(token.reveal()))

    async def _renew(self, provider: TokenProvider, asked: int) -> Secret | None:
        """Have the provider asked unless it was since the ``asked``-th time. Returns the token that stands now.

        One asks for all that wait. Whoever sent a request before the answer came shares the answer; if the one that
        asks is cancelled, the next one asks.
        """
        while self._times_asked == asked:
            if self._asking is not None:
                await self._asking.wait()
                continue
            answered = self._asking = anyio.Event()
            try:
                self._problem = await self._ask(provider)
                self._times_asked += 1
            finally:
                self._asking = None
                answered.set()
        return self._token

    async def _ask(self, provider: TokenProvider) -> str:
        """Ask for a token and use it if it is another one. Returns why there is none.

        Of what the provider raises only the type is told: its text could hold a token.
        """
        with anyio.move_on_after(self.timeout_s):
            try:
                secret = Secret(await provider())
            except Exception as error:  # noqa: BLE001 (somebody else's code: whatever it raises, there is no token)
                return f"the token provider failed: {type(error).__name__}"
            if self._token is None or secret.reveal() != self._token.reveal():
                self._use(secret)
            return _SAME
        return "the token provider did not answer in time"

    async def aclose(self) -> None:
        if self._own is not None:
            await self._own.aclose()
