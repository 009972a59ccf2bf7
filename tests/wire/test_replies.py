"""What replies mean."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseassist.wire.http import Origin, Reply, Request
from caseassist.wire.replies import MAX_RETRY_AFTER_S, judge, retry_after_s
from caseassist.wire.secret import Secret

DATE = "Fri, 20 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        ("accepted", [200, 201, 202, 204, 299]),
        ("later", [408, 425, 429, 500, 501, 502, 503, 504, 599]),
        ("paused", [100, 199, 300, 301, 302, 303, 304, 307, 308, 399, 401, 403, 407]),
        ("refused", [400, 402, 404, 405, 406, 409, 410, 413, 415, 419, 422, 431, 451, 499]),
    ],
)
def test_the_status_says_what_becomes_of_the_event(outcome: str, statuses: list[int]) -> None:
    for status in statuses:
        verdict = judge(Reply(status=status))
        assert (verdict.outcome, verdict.status) == (outcome, status)


@pytest.mark.parametrize("body", [b"", b"not json", b'{"visitorId":""}', b'{"type":"BadRequest"}', b"\xff" * 10])
def test_a_success_is_a_success_whatever_it_says(body: bytes) -> None:
    verdict = judge(Reply(status=200, body=body))
    assert verdict.outcome == "accepted"
    assert verdict.reason == "HTTP 200 OK"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("0", None, 0.0),
        ("7", None, 7.0),
        (" 120 ", None, 120.0),
        ("3600", None, 3600.0),
        ("3601", None, MAX_RETRY_AFTER_S),
        ("99999999999999999999999999", None, MAX_RETRY_AFTER_S),
        ("Fri, 20 Nov 2026 12:00:30 GMT", DATE, 30.0),
        ("Fri, 20 Nov 2026 12:00:00 GMT", DATE, 0.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", DATE, 0.0),
        ("Fri, 20 Nov 2026 13:00:30 +0100", DATE, 30.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DATE, MAX_RETRY_AFTER_S),
        (None, DATE, None),
        ("", DATE, None),
        ("-5", DATE, None),
        ("1.5", DATE, None),
        ("1e3", DATE, None),
        ("soon", DATE, None),
        ("٣", DATE, None),
        ("²", DATE, None),
        ("0x10", DATE, None),
        ("5, 6", DATE, None),
        ("Fri, 20 Nov 2026 12:00:30 GMT", None, None),
        ("Fri, 20 Nov 2026 12:00:30 GMT", "yesterday", None),
        ("Fri, 20 Nov 2026 12:00:30 -0000", DATE, None),
        ("Fri, 99 Nov 2026 12:00:30 GMT", DATE, None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", DATE, 0.0),
    ],
)
def test_retry_after_is_read_within_bounds_or_not_at_all(
    value: str | None, date: str | None, seconds: float | None
) -> None:
    headers = [(name, text) for name, text in (("retry-after", value), ("date", date)) if text is not None]
    reply = Reply(status=503, headers=tuple(headers))
    assert retry_after_s(reply) == seconds
    assert judge(reply).retry_after_s == seconds


@pytest.mark.parametrize("status", [200, 302, 401, 400])
def test_only_a_reply_that_says_later_asks_for_a_wait(status: int) -> None:
    assert judge(Reply(status=status, headers=(("retry-after", "7"),))).retry_after_s is None


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    value=st.one_of(st.text(max_size=40), st.text("0123456789:, GMTFrinNovDec+-", max_size=40)),
    date=st.one_of(st.just(DATE), st.text(max_size=40)),
)
def test_no_header_makes_it_fail_or_wait_too_long(value: str, date: str) -> None:
    seconds = retry_after_s(Reply(status=429, headers=(("retry-after", value), ("date", date))))
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b'{"statusCode":400,"message":"m","type":"InvalidEvent"}', "HTTP 400 Bad Request (InvalidEvent)"),
        (400, b'{"type":"a token xx123 and more"}', "HTTP 400 Bad Request"),
        (400, b'{"type":5}', "HTTP 400 Bad Request"),
        (400, b"[]", "HTTP 400 Bad Request"),
        (400, b"", "HTTP 400 Bad Request"),
        (400, b"\xff\xfe", "HTTP 400 Bad Request"),
        pytest.param(400, b"[" * 100_000, "HTTP 400 Bad Request", id="deep"),
        (429, b'{"type":"TooManyRequests"}', "HTTP 429 Too Many Requests (TooManyRequests)"),
        (499, b"", "HTTP 499"),
        (302, b'{"type":"Moved"}', "HTTP 302 Found"),
    ],
)
def test_the_reason_names_the_status_and_the_type_of_error_only(status: int, body: bytes, reason: str) -> None:
    assert judge(Reply(status=status, body=body)).reason == reason


def test_the_reason_does_not_echo_what_a_server_echoes() -> None:
    body = json.dumps({"message": "token xx12 for jo@example.com", "type": "Bad", "body": {"subject": "private"}})
    reason = judge(Reply(status=400, body=body.encode())).reason
    assert reason == "HTTP 400 Bad Request (Bad)"


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("BadEvent", " (BadEvent)"),
        ("xxTokenOfOurs", " (…)"),
        ("TokenOfOurs", " (…)"),
        ("Unknown_XXTOKENOFOURS", " (Unknown_…)"),
        ("JoDoe", ""),
        ("JODOE", ""),
        ("UnknownJohannaDoe", ""),
        ("Johann", ""),
    ],
)
def test_the_reason_does_not_name_a_type_that_repeats_what_was_sent(kind: str, shown: str) -> None:
    sent = Request(origin=Origin("https", "host", 443), path="/", body=b'{"subject":"jodoe, JohannaDoe"}')
    reply = Reply(status=400, body=json.dumps({"type": kind}).encode())
    verdict = judge(reply, request=sent, token=Secret("xxTokenOfOurs"))
    assert verdict.reason == "HTTP 400 Bad Request" + shown
    assert judge(reply, token=Secret("unlike")).reason == f"HTTP 400 Bad Request ({kind})"
