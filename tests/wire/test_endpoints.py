"""Where requests go: documented addresses, own ones, and nothing that could send a token elsewhere."""

import string
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Origin


def test_an_organization_has_the_documented_address() -> None:
    endpoint = Endpoint.for_organization("myorganizationid9sd8df7s")
    assert str(endpoint) == "https://myorganizationid9sd8df7s.analytics.org.coveo.com/rest/ua"
    assert endpoint.path_of("click") == "/rest/ua/v15/analytics/click"
    assert endpoint.path_of("custom") == "/rest/ua/v15/analytics/custom"
    assert endpoint.path_of("collect") == "/rest/ua/v15/analytics/collect"
    assert endpoint.origin.port == 443


def test_a_hipaa_organization_has_its_own_host() -> None:
    endpoint = Endpoint.for_organization("myorg", hipaa=True)
    assert str(endpoint) == "https://myorg.analytics.orghipaa.coveo.com/rest/ua"


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://analytics.example.com/rest/ua", "https://analytics.example.com", "/rest/ua"),
        ("https://analytics.example.com", "https://analytics.example.com", "/rest/ua"),
        ("https://analytics.example.com/", "https://analytics.example.com", "/rest/ua"),
        ("https://analytics.example.com/rest/ua/", "https://analytics.example.com", "/rest/ua"),
        ("https://analytics.example.com/rest", "https://analytics.example.com", "/rest"),
        ("https://proxy.example.com/coveo/ua", "https://proxy.example.com", "/coveo/ua"),
        ("https://proxy.example.com/a%20b/~x;v=1", "https://proxy.example.com", "/a%20b/~x;v=1"),
        ("HTTPS://Analytics.Example.COM/rest/UA", "https://analytics.example.com", "/rest/UA"),
        ("https://host:8443", "https://host:8443", "/rest/ua"),
        ("https://host:443", "https://host", "/rest/ua"),
        ("http://localhost:8080/rest/ua", "http://localhost:8080", "/rest/ua"),
        ("http://127.0.0.1:80", "http://127.0.0.1", "/rest/ua"),
        ("http://[::1]:8080/x", "http://[::1]:8080", "/x"),
        ("https://[2001:DB8:0:0:0:0:0:1]", "https://[2001:db8::1]", "/rest/ua"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example", "/rest/ua"),
        ("https://_svc.internal", "https://_svc.internal", "/rest/ua"),
    ],
)
def test_an_address_is_read_as_origin_and_path(url: str, origin: str, path: str) -> None:
    endpoint = Endpoint.parse(url)
    assert str(endpoint.origin) == origin
    assert endpoint.path == path
    assert Endpoint.parse(str(endpoint)) == endpoint


def test_an_ipv6_address_is_kept_without_brackets() -> None:
    assert Endpoint.parse("https://[::1]/x").origin == Origin("https", "::1", 443)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "host/rest/ua",
        "//host/rest/ua",
        "ftp://host",
        "file:///etc/passwd",
        "https:/host",
        "https://",
        "https:///rest/ua",
        "https://user@host",
        "https://user:secret@host",
        "https://good.example@evil.example",
        "https://good.example\\@evil.example",
        "https://host?x=1",
        "https://host/#x",
        "https://host/rest/ua?access_token=x",
        "https://ho st",
        "https://host/a b",
        "https://host\r\nX: y",
        "https://host/\tx",
        "https://höst",
        "https://host/ü",
        "https://-host",
        "https://host-",
        "https://host.",
        "https://.host",
        "https://a..b",
        "https://host:",
        "https://host:0",
        "https://host:65536",
        "https://host:99999999",
        "https://host:8o",
        "https://host:+80",
        "https://host:80:80",
        "https://[::1",
        "https://::1",
        "https://[::1]x",
        "https://[::1%a]b]",
        "https://[fe80::1%25eth0]",
        "https://[v1.x]",
        "https://[1.2.3.4]",
        "https://[:::]",
        "https://host//evil.example",
        "https://host/../x",
        "https://host/a/..",
        "https://host/./x",
        "https://host/.",
        "https://host/%2e%2E/x",
        "https://host/%zz",
        "https://host/%2",
        "https://host/a\x00b",
        "https://" + "h" * 254,
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"an endpoint's (URL|path)"):
        Endpoint.parse(url)


def test_a_refused_address_does_not_show_the_password_in_it() -> None:
    with pytest.raises(ValueError, match="no user and no password") as refused:
        Endpoint.parse("https://user:hunter2@host")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "organization",
    ["", "-org", "org-", "Org", "o" * 64, "org.evil.example/", "org#", "org\n", "org ", "org@", "örg", "org_1"],
)
def test_an_organization_is_a_host_name_label(organization: str) -> None:
    with pytest.raises(ValueError, match="organization id"):
        Endpoint.for_organization(organization)


AWKWARD = st.text(alphabet=string.ascii_letters + string.digits + "-_./\\:@?#[]%&=;,+ \t\r\n\x00éⒶ٣", max_size=40)


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(organization=AWKWARD, hipaa=st.booleans())
def test_no_organization_leads_away_from_coveo(organization: str, hipaa: bool) -> None:
    try:
        endpoint = Endpoint.for_organization(organization, hipaa=hipaa)
    except ValueError:
        return
    parts = urlsplit(str(endpoint))
    assert parts.scheme == "https"
    assert parts.netloc == f"{organization}.analytics.{'orghipaa' if hipaa else 'org'}.coveo.com"
    assert parts.path == "/rest/ua"
    assert parts.query == parts.fragment == ""


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(scheme=st.sampled_from(["http://", "https://", "HTTPS://", "https:", "//", ""]), rest=AWKWARD)
def test_no_address_has_another_origin_than_it_seems_to_have(scheme: str, rest: str) -> None:
    try:
        endpoint = Endpoint.parse(scheme + rest)
    except ValueError:
        return
    parts = urlsplit(str(endpoint))
    authority, slash, path = rest.partition("/")
    assert parts.scheme == endpoint.origin.scheme == scheme.lower().removesuffix("://")
    assert (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)) == (
        endpoint.origin.host,
        endpoint.origin.port,
    )
    assert parts.username is parts.password is None
    assert parts.query == parts.fragment == ""
    assert parts.path == endpoint.path
    assert "[" in authority or parts.hostname == authority.lower().partition(":")[0]
    assert endpoint.path in ((slash + path).rstrip("/"), "/rest/ua")
    assert str(endpoint).isascii()
    assert str(endpoint).isprintable()
    assert Endpoint.parse(str(endpoint)) == endpoint
