"""Where the Usage Analytics Write API of an organization is found.

As documented: ``https://{organization}.analytics.org.coveo.com/rest/ua/v15/analytics/{collect,click,custom}``, with
``orghipaa`` in place of ``org`` for a HIPAA organization (articles 2064 and 2650).
"""

import re
from ipaddress import IPv6Address
from typing import Literal

import msgspec

from caseassist.wire.http import Origin

__all__ = ["Endpoint"]

_ORGANIZATION = re.compile("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = r"(?!.*\.\.)[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9])?"
_AUTHORITY = re.compile(rf"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<host>{_HOST}))(?::(?P<port>[0-9]{{1,5}}))?")
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*")
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?=/|$)", re.IGNORECASE)

NO_HOST = "an endpoint's URL needs a host name or an IP address, then a port or nothing"

_SCHEMES: dict[str, Literal["http", "https"]] = {"http": "http", "https": "https"}


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """A Usage Analytics endpoint: an origin and the path below which ``/v15/analytics/…`` stands."""

    origin: Origin
    path: str = "/rest/ua"

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"

    def path_of(self, kind: str) -> str:
        """The path of one kind of request: ``collect``, ``click`` or ``custom``."""
        return f"{self.path}/v15/analytics/{kind}"

    @classmethod
    def for_organization(cls, organization: str, *, hipaa: bool = False) -> "Endpoint":
        """The documented endpoint of an organization.

        ``organization``: its id, 1 to 63 lower-case letters, digits and hyphens. Raises ValueError for anything else.
        """
        if not _ORGANIZATION.fullmatch(organization):
            raise ValueError("an organization id is 1 to 63 lower-case letters, digits and hyphens")
        suffix = "orghipaa" if hipaa else "org"
        return cls(Origin("https", f"{organization}.analytics.{suffix}.coveo.com", 443))

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Read an endpoint's URL, such as ``https://host/rest/ua``; a bare host gets the path ``/rest/ua``.

        Raises ValueError unless it is scheme, host, port and path, in ASCII, and nothing else: no user, no query,
        no fragment.
        """
        if not url.isascii() or not url.isprintable() or any(c in url for c in " \\?#"):
            raise ValueError("an endpoint's URL is printable ASCII without spaces, backslash, query and fragment")
        scheme_name, _, rest = url.partition("://")
        scheme = _SCHEMES.get(scheme_name.lower())
        if scheme is None:
            raise ValueError("an endpoint's URL begins with http:// or https://")
        netloc, slash, path = rest.partition("/")
        if "@" in netloc:
            raise ValueError("an endpoint's URL has no user and no password; the token is given separately")
        host, port = _host_and_port(netloc.lower())
        path = f"{slash}{path}".rstrip("/") or "/rest/ua"
        if not _PATH.fullmatch(path) or _DOTS.search(path):
            raise ValueError("an endpoint's path is made of plain, percent-encoded segments")
        return cls(Origin(scheme, host, port or (443 if scheme == "https" else 80)), path)


def _host_and_port(netloc: str) -> tuple[str, int | None]:
    """Take a lower-case authority apart. urllib's urlsplit will not do: it drops what follows a closing bracket."""
    found = _AUTHORITY.fullmatch(netloc)
    if found is None:
        raise ValueError(NO_HOST)
    try:
        host = found["host"] or str(IPv6Address(found["ipv6"]))
    except ValueError:
        raise ValueError(NO_HOST) from None
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 0 < port < 65536:
        raise ValueError("the port of an endpoint's URL is a number from 1 to 65535")
    return host, port
