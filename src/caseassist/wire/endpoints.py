"""Where the Usage Analytics Write API of an organization is found.

As documented: ``https://{organization}.analytics.org.coveo.com/rest/ua/v15/analytics/{collect,click,custom}``, with
``orghipaa`` in place of ``org`` for a HIPAA organization (articles 2064 and 2650).
"""

import re
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from caseassist.wire.http import Origin

__all__ = ["Endpoint"]

_ORGANIZATION = re.compile("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9])?")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")

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
        parts = urlsplit(url)
        scheme = _SCHEMES.get(parts.scheme)
        if scheme is None:
            raise ValueError("an endpoint's URL begins with http:// or https://")
        if "@" in parts.netloc:
            raise ValueError("an endpoint's URL has no user and no password; the token is given separately")
        host = _host(parts.hostname or "")
        port = parts.port or (443 if scheme == "https" else 80)
        path = parts.path.rstrip("/") or "/rest/ua"
        if not _PATH.fullmatch(path) or "/.." in path or "/./" in f"{path}/":
            raise ValueError("an endpoint's path is made of plain, percent-encoded segments")
        return cls(Origin(scheme, host, port), path)


def _host(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        if _HOST.fullmatch(host) and ".." not in host:
            return host
    raise ValueError("an endpoint's URL needs a host name or an IP address")
