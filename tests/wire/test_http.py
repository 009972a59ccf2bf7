"""An HTTP exchange as plain data."""

import pytest

from caseassist.wire.http import Origin, Reply, Request, TransportError


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        (Origin("https", "host", 443), "https://host"),
        (Origin("https", "host", 8443), "https://host:8443"),
        (Origin("http", "host", 80), "http://host"),
        (Origin("http", "host", 443), "http://host:443"),
        (Origin("https", "::1", 443), "https://[::1]"),
        (Origin("http", "::1", 8080), "http://[::1]:8080"),
    ],
)
def test_an_origin_is_written_as_in_a_url(origin: Origin, text: str) -> None:
    assert str(origin) == text


def test_a_request_shows_neither_its_headers_nor_its_body() -> None:
    request = Request(
        origin=Origin("https", "host", 443),
        path="/x",
        headers=(("Authorization", "Bearer secret-token"),),
        body=b'{"svc_ticket_subject":"private"}',
    )
    assert repr(request) == "<Request POST https://host/x 32 body bytes>"


def test_a_header_is_found_by_its_lower_case_name_and_the_first_one_counts() -> None:
    reply = Reply(status=200, headers=(("date", "1"), ("retry-after", "2"), ("retry-after", "3")))
    assert reply.header("retry-after") == "2"
    assert reply.header("Retry-After") is None
    assert reply.header("etag") is None


def test_a_missing_reply_says_whether_the_request_may_have_arrived() -> None:
    lost = TransportError("timeout", "no reply within 10 s", maybe_sent=True)
    assert (lost.reason, lost.detail, lost.maybe_sent) == ("timeout", "no reply within 10 s", True)
    assert str(lost) == "no reply to the request (timeout: no reply within 10 s); it may have been received"
    unsent = TransportError("connect", "refused", maybe_sent=False)
    assert str(unsent) == "no reply to the request (connect: refused); nothing was sent"
