"""The stand-in for the Customer Service API, over real sockets."""

import errno
import gc
import json
import logging
import socket
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from uuid import UUID

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseassist.core.events import Context, Ticket
from caseassist.core.suggestions import read_classifications, read_documents
from caseassist.service.client import CustomerService
from caseassist.service.knowledge import Document, Knowledge, Value
from caseassist.service.pages import markup, page
from caseassist.service.standin import create_app, serve

PATH = "/rest/organizations/myorg/caseassists/00000000-1111-2222-3333-444444444444"
CLASSIFY = f"{PATH}/classify"
SUGGEST = f"{PATH}/documents/suggest"
TOKEN = "xx-canary-token"
BODY = {"fields": {"subject": {"value": "GC110 malfunction"}, "description": {"value": "the panel cuts out"}}}
RECORDED = Path(__file__).parents[1] / "data" / "service_api.jsonl"
LONG_S = 30


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


async def ask(
    base_url: str, method: str, path: str, body: Any = b"", *, headers: dict[str, str] | None = None
) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: somewhere.example",
        "Connection: close",
        f"Content-Length: {len(data)}",
    ]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    with anyio.fail_after(LONG_S):
        async with await anyio.connect_tcp("127.0.0.1", urlsplit(base_url).port or 0) as stream:
            await stream.send("\r\n".join([*lines, "", ""]).encode() + data)
            received = b"".join([chunk async for chunk in stream])
    head, _, rest = received.partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    named = (field.partition(": ") for field in fields)
    return Answer(int(first.split()[1]), {name.lower(): value for name, _, value in named}, rest)


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    with Knowledge.load() as knowledge:
        async with serve(create_app(knowledge)) as url:
            yield url


# Answers


async def test_classify_answers_as_the_service_does(base_url: str) -> None:
    answer = await ask(base_url, "POST", CLASSIFY, BODY)
    assert answer.status == 200
    assert answer.json().keys() == {"fields", "responseId"}
    UUID(answer.json()["responseId"])
    best = answer.json()["fields"]["category"]["predictions"][0]
    assert best.keys() == {"id", "value", "confidence"}
    assert best["value"] == "Electrical"
    assert 0.5 < best["confidence"] <= 1
    offered = read_classifications(answer.body).classifications
    assert {one.field_name for one in offered} == {"category", "urgency", "productId"}


async def test_documents_are_suggested_as_the_service_does(base_url: str) -> None:
    answer = await ask(base_url, "POST", SUGGEST, {**BODY, "locale": "fr-CA", "context": {"category": "Electrical"}})
    assert answer.status == 200
    assert answer.json().keys() == {"documents", "totalCount", "responseId"}
    first = answer.json()["documents"][0]
    assert first.keys() == {"uniqueId", "title", "clickUri", "excerpt", "hasHtmlVersion", "fields"}
    assert first["title"] == "Why the panel of a GC110 switches off"  # most of what is asked for is in English
    assert {"permanentid", "source", "uri", "urihash"} <= first["fields"].keys()
    assert answer.json()["totalCount"] >= len(answer.json()["documents"])
    again = await ask(base_url, "POST", SUGGEST, BODY)
    assert again.json()["documents"][0]["fields"]["permanentid"] == first["fields"]["permanentid"]
    assert again.json()["responseId"] != answer.json()["responseId"]
    assert len(read_documents(answer.body).documents) == len(answer.json()["documents"])


async def test_the_locale_brings_documents_in_its_language_first(base_url: str) -> None:
    for locale, language in (("fr-FR", "fr"), ("de", "de"), ("en_US", "en")):
        answer = await ask(base_url, "POST", SUGGEST, {"fields": {"subject": {"value": "GC110"}}, "locale": locale})
        assert answer.json()["documents"][0]["fields"]["language"] == [language]
    assert (await ask(base_url, "POST", SUGGEST, {**BODY, "locale": "tlh"})).status == 200


async def test_the_values_of_other_fields_count_for_documents_only(base_url: str) -> None:
    empty: dict[str, Any] = {"fields": {"id": {"value": "panel"}}, "context": {"category": "invoice", "n": 5}}
    assert (await ask(base_url, "POST", CLASSIFY, empty)).json()["fields"] == {}
    found = (await ask(base_url, "POST", SUGGEST, empty)).json()["documents"]
    assert found[0]["title"] == "Where to find your invoice"
    nothing = await ask(base_url, "POST", SUGGEST, {"fields": {}})
    assert (nothing.json()["documents"], nothing.json()["totalCount"]) == ([], 0)


async def test_so_many_results_as_asked_for_and_an_explanation(base_url: str) -> None:
    one = await ask(base_url, "POST", f"{SUGGEST}?numberOfResults=1&debug=1", BODY)
    assert len(one.json()["documents"]) == 1
    assert one.json()["totalCount"] > 1
    assert one.json()["debug"]["text"] == "GC110 malfunction\nthe panel cuts out"
    assert (await ask(base_url, "POST", f"{CLASSIFY}?debug=true", BODY)).json()["debug"]
    assert "debug" not in (await ask(base_url, "POST", f"{CLASSIFY}?debug=0", BODY)).json()


async def test_recorded_requests_of_coveos_client_are_answered(base_url: str) -> None:
    recorded = [json.loads(line)["request"] for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    assert recorded
    for request in recorded:
        answer = await ask(base_url, request["method"], request["path"], request["body"], headers=request["headers"])
        assert answer.status == 200
        (read_documents if request["path"].endswith("suggest") else read_classifications)(answer.body)


# Errors


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (CLASSIFY, b"", "$: expected a JSON object in UTF-8"),
        (CLASSIFY, b"{", "$: expected a JSON object in UTF-8"),
        (CLASSIFY, b'{"fields": "\xff"}', "$: expected a JSON object in UTF-8"),
        (CLASSIFY, b"[" * 50_000, "$: expected a JSON object in UTF-8"),
        (CLASSIFY, [], "$: expected an object, got an array"),
        (CLASSIFY, {}, "$.fields: is required: an object of {name: {value}}"),
        (CLASSIFY, {"fields": []}, "$.fields: expected an object, got an array"),
        (CLASSIFY, {"fields": {"subject": "x"}}, "$.fields.subject: expected an object, got a string of 1 character"),
        (CLASSIFY, {"fields": {"subject": {}}}, "$.fields.subject.value: expected a string, got null"),
        (CLASSIFY, {"fields": {"a": {"value": 5}}}, "$.fields.a.value: expected a string, got a whole number"),
        (CLASSIFY, {"fields": {}, "locale": 5}, "$.locale: expected a locale such as 'en-US', got a whole number"),
        (SUGGEST, {"fields": {}, "context": []}, "$.context: expected an object, got an array"),
        (f"{SUGGEST}?numberOfResults=0", BODY, "numberOfResults: expected a whole number from 1 to 100"),
        (f"{SUGGEST}?numberOfResults=101", BODY, "numberOfResults: expected a whole number from 1 to 100"),
        (f"{SUGGEST}?numberOfResults=x", BODY, "numberOfResults: expected a whole number from 1 to 100"),
        (f"{SUGGEST}?numberOfResults=", BODY, "numberOfResults: expected a whole number from 1 to 100"),
        (f"{CLASSIFY}?debug=maybe", BODY, "debug: expected 0 or 1"),
    ],
)  # fmt: skip
async def test_a_bad_request_is_told_what_is_wrong(base_url: str, path: str, body: Any, message: str) -> None:
    answer = await ask(base_url, "POST", path, body)
    assert answer.status == 400
    assert answer.json() == {"statusCode": 400, "message": message, "type": "InvalidParameter"}


async def test_a_body_that_is_too_large_is_not_read(base_url: str) -> None:
    answer = await ask(base_url, "POST", CLASSIFY, b" " * ((1 << 20) + 1))
    assert answer.json() == {
        "statusCode": 400,
        "message": "the body is larger than 1048576 bytes",
        "type": "RequestTooLarge",
    }


async def test_other_paths_and_methods_are_refused(base_url: str) -> None:
    answer = await ask(base_url, "GET", "/rest/ua/v15/analytics/collect")
    message = "there is nothing at /rest/ua/v15/analytics/collect"
    assert answer.json() == {"statusCode": 404, "message": message, "type": "NotFound"}
    answer = await ask(base_url, "GET", CLASSIFY)
    message = f"GET is not possible at {CLASSIFY}"
    assert answer.json() == {"statusCode": 405, "message": message, "type": "MethodNotAllowed"}
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        (None, 401),
        ("Bearer", 401),
        ("Bearer xx-other", 401),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        ("Bearer \u00e9", 401),
    ],
)
async def test_where_there_is_a_token_it_must_be_given(authorization: str | None, status: int) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    with Knowledge.load() as knowledge:
        async with serve(create_app(knowledge, token=TOKEN)) as url:
            answer = await ask(url, "POST", CLASSIFY, BODY, headers=headers)
            assert (await ask(url, "GET", "/")).status == 200
    assert answer.status == status
    if status == 401:
        assert answer.json()["type"] == "InvalidToken"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.body.decode()


def test_a_token_that_no_header_can_hold_is_refused() -> None:
    with Knowledge([Document(title="a", text="b")]) as knowledge, pytest.raises(ValueError, match="a token is"):
        create_app(knowledge, token="a b")


async def test_a_failure_of_ours_is_told_without_what_was_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object, text: str) -> None:
        raise RuntimeError("broken")

    with Knowledge.load() as knowledge:
        monkeypatch.setattr(Knowledge, "classify", fail)
        async with serve(create_app(knowledge)) as url:
            answer = await ask(url, "POST", CLASSIFY, BODY)
    message = "the stand-in has failed: RuntimeError"
    assert answer.json() == {"statusCode": 500, "message": message, "type": "InternalError"}
    assert "broken" in caplog.text
    assert "GC110" not in caplog.text


# Pages


async def test_a_suggested_document_can_be_opened(base_url: str) -> None:
    answer = await ask(base_url, "POST", SUGGEST, BODY)
    link = answer.json()["documents"][0]["clickUri"]
    assert link.startswith(f"{base_url}/documents/")  # whatever `Host` said
    opened = await ask(base_url, "GET", urlsplit(link).path)
    assert opened.status == 200
    assert opened.headers["content-type"] == "text/html; charset=utf-8"
    text = opened.body.decode()
    assert '<html lang="en">' in text
    assert "<h1>Why the panel of a GC110 switches off</h1>" in text
    assert "<li>Close the panel and let the generator run for ten minutes under load.</li>" in text


async def test_a_document_with_an_address_of_its_own_is_opened_there_and_any_id_works() -> None:
    there = Document(title="There", text="panel", url="https://kb.example.com/1?a=b")
    odd = Document(title="Odd <b>", text="panel & co", id="a/b ?#%é")
    with Knowledge([there, odd]) as knowledge:
        async with serve(create_app(knowledge)) as url:
            answer = await ask(url, "POST", SUGGEST, {"fields": {"subject": {"value": "panel"}}})
            links = {one["title"]: one["clickUri"] for one in answer.json()["documents"]}
            assert links == {"There": there.url, "Odd <b>": f"{url}/documents/{quote('a/b ?#%é', safe='')}"}
            opened = await ask(url, "GET", urlsplit(links["Odd <b>"]).path)
            assert b"<h1>Odd &lt;b&gt;</h1>\n<p>panel &amp; co</p>" in opened.body
            assert (await ask(url, "GET", "/documents/none")).status == 404


def test_text_becomes_paragraphs_and_lists() -> None:
    assert markup("a\nb\n\n1. c\n   d\n2. e\n\n- f\n- <g>\n") == (
        "<p>a b</p>\n<ol>\n<li>c d</li>\n<li>e</li>\n</ol>\n<ul>\n<li>f</li>\n<li>&lt;g&gt;</li>\n</ul>"
    )


@given(st.text(), st.text())
def test_no_text_becomes_markup(title: str, text: str) -> None:
    safe = page("", markup("x"), language="en", source="")
    html = page(f"<script>{title}", markup(f"<script>{text}"), language="en", source="<script>")
    assert html.count("<script") == safe.count("<script") == 0


async def test_the_front_page_says_what_this_is(base_url: str) -> None:
    answer = await ask(base_url, "GET", "/")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.startswith(b"This is a stand-in for Coveo's Customer Service API")
    assert f"{base_url}{SUGGEST.replace('myorg', '{any}')}".split("{any}")[0] in answer.body.decode()
    assert "Where to find your invoice" in answer.body.decode()


# The client and the stand-in


async def test_client_and_stand_in_work_together() -> None:
    context = Context(client_id="489aa3e3-aed2-4563-8e81-62bb73178a56", search_hub="bot", language="en")
    ticket = Ticket(subject="GC110 malfunction", description="The panel cuts out", category="Electrical")
    with Knowledge.load() as knowledge:
        async with (
            serve(create_app(knowledge, token=TOKEN)) as url,
            CustomerService(
                url, organization="demo", case_assist_id="demo", token=TOKEN, number_of_results=3
            ) as service,
        ):
            classified = await service.classify(ticket, context)
            suggested = await service.suggest_documents(ticket, context)
    assert classified.classifications[0].classification.value == "Electrical"
    assert suggested.documents[0].suggestion.document_title == "Why the panel of a GC110 switches off"
    assert suggested.documents[0].suggestion.document_url.startswith(url)
    assert 1 <= len(suggested.documents) <= 3


async def test_many_at_once_get_their_own_answers() -> None:
    values = [Value(field="n", value=str(n), examples=(f"w{n}", "all")) for n in range(20)]
    got: dict[int, str] = {}
    with Knowledge(values=values) as knowledge:
        async with serve(create_app(knowledge)) as url, anyio.create_task_group() as tasks:

            async def classify(n: int) -> None:
                answer = await ask(url, "POST", CLASSIFY, {"fields": {"subject": {"value": f"w{n}"}}})
                got[n] = answer.json()["fields"]["n"]["predictions"][0]["value"]

            for n in range(20):
                tasks.start_soon(classify, n)
    assert got == {n: str(n) for n in range(20)}


# Serving


async def test_it_listens_on_this_machine_only_and_no_more_afterwards(base_url: str) -> None:
    assert base_url.startswith("http://127.0.0.1:")
    with Knowledge([Document(title="a", text="b")]) as knowledge:
        async with serve(create_app(knowledge)) as url:
            port = urlsplit(url).port or 0
        with pytest.raises(OSError):
            await anyio.connect_tcp("127.0.0.1", port)
        async with serve(create_app(knowledge), port=port) as again:  # the port is free again at once
            assert again == url


async def test_a_port_that_is_taken_is_an_oserror() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        Knowledge([Document(title="a", text="b")]) as knowledge,
        pytest.raises(OSError) as raised,
    ):
        async with serve(create_app(knowledge), port=taken.getsockname()[1]):
            pass
    assert raised.value.errno == errno.EADDRINUSE


async def test_what_is_raised_in_the_block_leaves_as_it_is() -> None:
    with Knowledge([Document(title="a", text="b")]) as knowledge, pytest.raises(KeyError):
        async with serve(create_app(knowledge)):
            raise KeyError


async def test_it_can_be_cancelled() -> None:
    with Knowledge([Document(title="a", text="b")]) as knowledge:
        with anyio.CancelScope() as scope:
            async with serve(create_app(knowledge)) as url:
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(OSError):
            await anyio.connect_tcp("127.0.0.1", urlsplit(url).port or 0)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTT", f"POST {CLASSIFY} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{{".encode(), b"\0" * 100],
    ids=["nothing", "half a head", "half a body", "rubbish"],
)
async def test_it_stops_whatever_a_client_has_left_undone(sent: bytes) -> None:
    with Knowledge([Document(title="a", text="b")]) as knowledge, anyio.fail_after(LONG_S):
        async with serve(create_app(knowledge)) as url:
            stream = await anyio.connect_tcp("127.0.0.1", urlsplit(url).port or 0)
            if sent:
                await stream.send(sent)
            assert (await ask(url, "GET", "/")).status == 200
        await stream.aclose()


async def test_clients_that_break_off_do_no_harm(base_url: str, caplog: pytest.LogCaptureFixture) -> None:
    head = f"POST {SUGGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n".encode()
    for data in (head, head + b"{", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        async with await anyio.connect_tcp("127.0.0.1", urlsplit(base_url).port or 0) as stream:
            await stream.send(data)
    assert (await ask(base_url, "GET", "/")).status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_nothing_is_printed_and_nothing_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Knowledge([Document(title="a", text="b")]) as knowledge:
            async with serve(create_app(knowledge)) as url:
                await ask(url, "GET", "/")
        gc.collect()
    assert [str(one.message) for one in caught if issubclass(one.category, ResourceWarning)] == []
    assert capsys.readouterr() == ("", "")
