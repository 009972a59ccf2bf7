"""The sink that logs events with Coveo's Usage Analytics Write API: one request an event."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from caseassist.core.errors import SinkRefused, SinkUnavailable, UnsupportedRecord
from caseassist.core.records import Record
from caseassist.sinks.base import OnRefused, Sink
from caseassist.tokens import NO_OTHER_TOKEN, TokenProvider, Tokens
from caseassist.transport import HTTPTransport, Transport, TransportError
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Reply, Request
from caseassist.wire.replies import judge
from caseassist.wire.requests import Auth, WireFormat, auth_of
from caseassist.wire.secret import Secret

__all__ = ["HTTPSink", "TokenProvider"]


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
        self.format = WireFormat(
            endpoint=endpoint,
            auth=auth or "search_token",
            normalise_keys=normalise_keys,
            custom_values=custom_values,
        )
        self._tokens = Tokens(token, timeout_s=timeout_s, on_new=self._write_for)
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
        tokens = self._tokens
        asked = tokens.times_asked
        request = self._request(record, delivered)
        if request is None:
            return
        token = tokens.current
        if token is None and tokens.renewable:
            token = await tokens.renew(asked)
            if token is None:
                raise SinkUnavailable(tokens.problem, delivered=delivered)
            asked = tokens.times_asked
            request = self._request(record, delivered) or request
        reply = await self._send(request, delivered)
        if reply.status in (401, 403) and tokens.renewable:
            renewed = await tokens.renew(asked)
            if renewed is token:
                reason = f"{judge(reply, request=request, token=token).reason}, and {tokens.problem}"
                raise SinkUnavailable(reason, delivered=delivered, paused=tokens.problem == NO_OTHER_TOKEN)
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
        token = self._tokens.current
        try:
            return self.format.request(record, None if token is None else token.reveal())
        except UnsupportedRecord as error:
            raise SinkRefused(str(error), delivered=delivered) from None

    async def _send(self, request: Request, delivered: int) -> Reply:
        try:
            return await self._transport.send(request, timeout_s=self.timeout_s)
        except TransportError as error:
            raise SinkUnavailable(str(error), delivered=delivered) from error

    def _write_for(self, token: Secret) -> None:
        self.format = msgspec.structs.replace(self.format, auth=self._auth or auth_of(token.reveal()))

    async def aclose(self) -> None:
        if self._own is not None:
            await self._own.aclose()
