"""The token that requests are sent with, and how another one is got when the service does not take it any more."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio

from caseassist.wire.secret import Secret

__all__ = ["NO_OTHER_TOKEN", "TokenProvider", "Tokens"]

TokenProvider: TypeAlias = Callable[[], Awaitable[str | Secret]]
"""Gives a token that is valid now: from a vault, or from a service that issues search tokens."""

NO_OTHER_TOKEN = "the token provider has no other token"  # noqa: S105 - a text


class Tokens:
    """The token that stands, and its provider, shared by all requests of one client.

    ``token``: a token; or an async function that gives one, which is asked when there is none yet and when a request
    was refused with the one there is: once, however many requests were; or None. ``timeout_s``: seconds that the
    function may take. ``on_new``: called with each token before it stands.

    Raises TypeError for what is none of these, ValueError for a token that cannot stand in a header.
    """

    def __init__(
        self,
        token: str | Secret | TokenProvider | None,
        *,
        timeout_s: float,
        on_new: Callable[[Secret], None] = lambda _: None,
    ) -> None:
        self.current: Secret | None = None
        self.times_asked = 0
        """How often the provider has answered, or failed to: take it with ``current``, for :meth:`renew`."""
        self.problem = ""
        """What the provider's last answer lacked, for people; holds nothing of what it gave or raised."""
        self._timeout_s = timeout_s
        self._on_new = on_new
        self._provider: TokenProvider | None = None
        self._asking: anyio.Event | None = None
        if isinstance(token, str | Secret):
            self._use(Secret(token))
        elif callable(token):
            self._provider = token
        elif token is not None:
            raise TypeError("a token is a str, a Secret, an async function that gives one, or None")

    @property
    def renewable(self) -> bool:
        """Whether there is somebody to ask for another token."""
        return self._provider is not None

    async def renew(self, asked: int) -> Secret | None:
        """Have the provider asked unless it was since the ``asked``-th time. Returns the token that stands now.

        One asks for all that wait. Whoever sent a request before the answer came shares the answer; if the one that
        asks is cancelled, the next one asks. Without a provider, nothing is asked.
        """
        provider = self._provider
        while provider is not None and self.times_asked == asked:
            if self._asking is not None:
                await self._asking.wait()
                continue
            answered = self._asking = anyio.Event()
            try:
                self.problem = await self._ask(provider)
                self.times_asked += 1
            finally:
                self._asking = None
                answered.set()
        return self.current

    def _use(self, token: Secret) -> None:
        self._on_new(token)
        self.current = token

    async def _ask(self, provider: TokenProvider) -> str:
        """Ask for a token and use it if it is another one. Returns why there is none.

        Of what the provider raises only the type is told: its text could hold a token.
        """
        with anyio.move_on_after(self._timeout_s):
            try:
                secret = Secret(await provider())
            except Exception as error:  # noqa: BLE001 (somebody else's code: whatever it raises, there is no token)
                return f"the token provider failed: {type(error).__name__}"
            if self.current is None or secret.reveal() != self.current.reveal():
                self._use(secret)
            return NO_OTHER_TOKEN
        return "the token provider did not answer in time"
