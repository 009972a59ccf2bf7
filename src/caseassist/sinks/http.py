"""The sink that logs events with Coveo's Usage Analytics Write API: one request an event."""

from collections.abc import Sequence
from typing import Literal

from caseassist.core.errors import SinkRefused, SinkUnavailable, UnsupportedRecord
from caseassist.core.records import Record
from caseassist.sinks.base import Sink
from caseassist.transport import HTTPTransport, Transport, TransportError
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.replies import judge
from caseassist.wire.requests import Auth, WireFormat, auth_of
from caseassist.wire.secret import Secret

__all__ = ["HTTPSink"]


class HTTPSink(Sink):
    """Sends every event to a Usage Analytics endpoint, in order within a session.

    ``endpoint``: its URL, such as ``https://host/rest/ua``; see also :meth:`for_organization`. ``token``: an API key
    or search token, sent as ``Authorization: Bearer``; None sends none. ``auth``: what sort of token it is, if that
    cannot be told from it (an OAuth token). ``name``: the endpoint's URL unless given. ``sessions_at_once``: requests
    in flight. ``timeout_s``: seconds for one request, from connecting to the end of the reply. ``normalise_keys`` and
    ``custom_values``: how customData is written, see :class:`WireFormat`. ``transport``: carries the requests; the
    sink's own unless given. ``allow_insecure_http``: permit ``http://`` to hosts other than this one.

    Raises ValueError for an endpoint or token that cannot be one.
    """

    def __init__(
        self,
        endpoint: str | Endpoint,
        *,
        token: str | Secret | None,
        auth: Auth | None = None,
        name: str | None = None,
        sessions_at_once: int = 16,
        timeout_s: float = 10.0,
        normalise_keys: bool = True,
        custom_values: Literal["text", "raw"] = "text",
        transport: Transport | None = None,
        allow_insecure_http: bool = False,
    ) -> None:
        if sessions_at_once < 1 or timeout_s <= 0:
            raise ValueError("sessions_at_once and timeout_s must be positive")
        endpoint = endpoint if isinstance(endpoint, Endpoint) else Endpoint.parse(endpoint)
        if endpoint.origin.scheme == "http" and not (endpoint.origin.is_loopback or allow_insecure_http):
            raise ValueError("http:// is for this host only: use https://, or allow_insecure_http=True")
        self._token = None if token is None else Secret(token)
        if auth is None:
            auth = "search_token" if self._token is None else auth_of(self._token.reveal())
        self.format = WireFormat(
            endpoint=endpoint, auth=auth, normalise_keys=normalise_keys, custom_values=custom_values
        )
        self.name = name or str(endpoint)
        self.sessions_at_once = sessions_at_once
        self.batch_records = 64
        self.timeout_s = timeout_s
        self._own: HTTPTransport | None = None
        if transport is None:
            transport = self._own = HTTPTransport(max_idle=sessions_at_once, allow_insecure_http=allow_insecure_http)
        self._transport: Transport = transport

    @classmethod
    def for_organization(
        cls,
        organization: str,
        *,
        token: str | Secret | None,
        hipaa: bool = False,
        auth: Auth | None = None,
        name: str | None = None,
        sessions_at_once: int = 16,
        timeout_s: float = 10.0,
        normalise_keys: bool = True,
        custom_values: Literal["text", "raw"] = "text",
        transport: Transport | None = None,
    ) -> "HTTPSink":
        """The sink for a Coveo organization, by its id. ``hipaa``: it is a HIPAA organization. Otherwise as above."""
        return cls(
            Endpoint.for_organization(organization, hipaa=hipaa),
            token=token,
            auth=auth,
            name=name,
            sessions_at_once=sessions_at_once,
            timeout_s=timeout_s,
            normalise_keys=normalise_keys,
            custom_values=custom_values,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<HTTPSink {self.format.endpoint}>"

    async def deliver(self, records: Sequence[Record]) -> None:
        """Send records of one session one after the other. An offer is never sent and counts as delivered."""
        token = None if self._token is None else self._token.reveal()
        for delivered, record in enumerate(records):
            try:
                request = self.format.request(record, token)
            except UnsupportedRecord as error:
                raise SinkRefused(str(error), delivered=delivered) from None
            if request is None:
                continue
            try:
                reply = await self._transport.send(request, timeout_s=self.timeout_s)
            except TransportError as error:
                raise SinkUnavailable(str(error), delivered=delivered) from error
            verdict = judge(reply)
            if verdict.outcome == "refused":
                raise SinkRefused(verdict.reason, status=verdict.status, delivered=delivered)
            if verdict.outcome != "accepted":
                raise SinkUnavailable(verdict.reason, retry_after_s=verdict.retry_after_s, delivered=delivered)

    async def aclose(self) -> None:
        if self._own is not None:
            await self._own.aclose()
