"""Real traffic: the same interactions through our library give the same requests, but for named deviations.

``data/captures.jsonl`` holds what coveo.analytics 2.30.55 sent. For each recording of a Case Assist, click or custom
event, the calls that were made are made again through :class:`CaseAssist` and :class:`HTTPSink`, against a real server
on a real socket, and the request that arrives is compared with the recorded one: method, path, query, headers and the
whole body. Where we differ on purpose there is a :class:`Deviation`, and a recording lists those that it needs.
"""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from caseassist import Case, CaseAssist, HTTPSink
from caseassist.core.errors import InvalidAction
from caseassist.wire.reading import read_request

DATA = Path(__file__).parent / "data"
CONFLICTS = Path(__file__).parents[1] / "docs" / "explanation" / "conflicts.md"
TOKEN = "x-search-token.not-an-api-key"

Json = dict[str, Any]


def captures() -> Iterator[Json]:
    for line in (DATA / "captures.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


RECORDINGS: dict[str, Json] = {
    recording["scenario"]: recording
    for recording in captures()
    if recording["scenario"].startswith(("caseAssist/chromium/provider/", "doc3437", "doc2064/", "doc2650/"))
}


# What was done: the recorded calls, understood.


@dataclass(kw_only=True)
class Interaction:
    """One recorded interaction: what the program that was recorded wanted to log."""

    action: str
    data: Json = field(default_factory=dict)
    """Action data, or the payload of a click or custom event."""
    ticket: Json = field(default_factory=dict)
    context: Json = field(default_factory=dict)


METHODS = {
    "logEnterInterface": "ticket_create_start",
    "logUpdateCaseField": "ticket_field_update",
    "logSelectFieldSuggestion": "ticket_classification_click",
    "logSelectDocumentSuggestion": "documentSuggestionClick",
    "logQuickviewDocumentSuggestion": "documentSuggestionQuickview",
    "logRateDocumentSuggestion": "suggestion_rate",
    "logMoveToNextCaseStep": "ticket_next_stage",
    "logCaseCancelled": "ticket_cancel",
    "logCaseSolved": "ticket_cancel",
    "logCaseCreated": "ticket_create",
}


def calls_of(recording: Json) -> Iterator[tuple[str, list[Any]]]:
    """The name and arguments of every call, those inside recorded JavaScript included."""
    for call in recording["calls"]:
        if call["fn"] != "eval":
            yield call.get("method", call["fn"]), call.get("args", [])
            continue
        for arguments in re.findall(r"coveoua\((.*?)\);(?=\n|$)", call["source"], re.DOTALL):
            text = re.sub(r"^(\w+):", r'"\1":', arguments.replace("'", '"'), flags=re.MULTILINE)
            text = re.sub(r",(\s*})", r"\1", text)
            yield "coveoua", json.loads(f"[{text}]")


def understand(recording: Json) -> Interaction:
    action = ""
    data: Json = {}
    ticket: Json = {}
    context: Json = {}
    for name, args in calls_of(recording):
        match name, args:
            case "new CaseAssistClient", [_, dict(provider)]:
                context = {
                    "searchHub": provider["originLevel1"],
                    "originLevel2": provider["originLevel2"],
                    "originLevel3": provider["originLevel3"],
                    "originContext": provider["originContext"],
                    "anonymous": provider["isAnonymous"],
                    "language": provider["language"],
                }
            case "coveoua", ["svc:setAction", str(action), *rest]:
                data = rest[0] if rest else {}
            case "coveoua", ["svc:setTicket", dict(ticket)]:
                pass
            case "coveoua", ["send", "event", "svc", _, *options]:
                context = {"searchHub": options[0]["searchHub"]} if options else {}
            case ("sendClickEvent" | "sendCustomEvent", [dict(data)]) | ("coveoua", ["send", _, dict(data)]):
                action = data.get("actionCause", "custom")
            case _ if name in METHODS:
                action = METHODS[name]
                ticket = args[0]["ticket"]
                data = args[0].get("suggestion", {k: v for k, v in args[0].items() if k in ("fieldName", "stage")})
                if "rating" in args[0]:
                    data = {"rate": args[0]["rating"]} | data
                if action == "ticket_cancel":
                    data = {"reason": "Solved" if name == "logCaseSolved" else "Quit"}
    return Interaction(action=action, data=data, ticket=ticket, context=context)


def body_of(request: Json) -> Json:
    """The members of a recorded body, taken out of its form."""
    body: Json = request["body"]
    return body if request["body_kind"] == "json" else body["clickEvent"]


# What we do: the same interaction through the public API.

BROWSER = {"dl": "location", "dr": "referrer", "dt": "title", "sr": "screenResolution", "sd": "screenColor"}


async def play(assist: CaseAssist, done: Interaction, recorded: Json) -> None:
    """Make the session in which the interaction happens, and the interaction last."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=recorded.get("tm", 1795219181993))
    context = {
        "clientId": recorded.get("cid") or recorded["clientId"],
        "userAgent": recorded.get("ua") or recorded["userAgent"],
        "language": recorded.get("language", "en"),
        **{name: recorded[key] for key, name in BROWSER.items() if key in recorded},
        **done.context,
    }
    data, ticket = done.data, done.ticket

    async def start(ticket: Json, **members: Any) -> Case:
        return await assist.start(ticket, context=context | members, at=at)

    match done.action:
        case "ticket_create_start":
            await start(ticket)
        case "ticket_field_update":
            name = data["fieldName"]
            case = await start({key: value for key, value in ticket.items() if key != name})
            await case.update_field(name, ticket[name], at=at)
        case "ticket_classification_click":
            case = await start({key: value for key, value in ticket.items() if key != data["fieldName"]})
            await case.select_classification(
                data["classificationId"],
                response_id=data["responseId"],
                field_name=data["fieldName"],
                classification=data["classification"],
                auto_selection=data.get("autoSelection") in (True, "true"),
                at=at,
            )
        case "suggestion_rate":
            case = await start(ticket)
            suggestion = document(data["suggestion"])
            await case.rate_document(
                data["suggestionId"], data["rate"], response_id=data["responseId"], suggestion=suggestion, at=at
            )
        case "suggestion_click":
            assert data["suggestion"]["fromQuickview"] is True
            case = await start(ticket)
            suggestion = document(data["suggestion"])
            await case.quickview_document(
                data["suggestionId"], response_id=data["responseId"], suggestion=suggestion, at=at
            )
        case "documentSuggestionClick" | "documentSuggestionQuickview":
            if "suggestion" not in data:  # the payload of a click event, as in the documents' examples
                members = {"searchHub": data["originLevel1"], "anonymous": data["anonymous"]}
                case = await start(ticket, **members)
                key, response_id, suggestion = (
                    data["customData"]["contentIDValue"],
                    data["searchQueryUid"],
                    document(data),
                )
            else:
                case = await start(ticket)
                key, response_id, suggestion = data["permanentId"], data["responseId"], document(data["suggestion"])
            act = case.open_document if done.action == "documentSuggestionClick" else case.quickview_document
            await act(key, response_id=response_id, suggestion=suggestion, at=at)
        case "ticket_next_stage":
            case = await start(ticket)
            await case.next_stage(data.get("stage"), at=at)
        case "ticket_cancel":
            case = await start(ticket)
            await (case.solve(at=at) if data["reason"] == "Solved" else case.quit(at=at))
        case "ticket_create":
            case = await start({key: value for key, value in ticket.items() if key != "id"})
            await case.create(ticket["id"], at=at)
        case _:
            payload = {key: value for key, value in data.items() if key != "clientId"}  # the library overwrites it
            case = await start({}, originContext="", originLevel2="")
            await (case.log_custom(payload, at=at) if "eventType" in payload else case.log_click(payload, at=at))


DOCUMENT = ("documentTitle", "documentUrl", "documentPosition", "documentUriHash", "sourceName")


def document(members: Json) -> Json:
    """A suggested document as we want it: ratings do not say where it comes from, so that needs a filler."""
    return {"sourceName": "AnswersCloud"} | {key: members[key] for key in DOCUMENT if key in members}


# Where we differ, and why.


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A way in which our request differs from the recorded one on purpose."""

    id: str
    what: str
    conflict: str
    """Where docs/explanation/conflicts says why."""
    apply: Callable[[Json, Interaction], object]
    """Turns the recorded request into the one that we promise, in place."""


def drop(*names: str) -> Callable[[Json, Interaction], object]:
    return lambda request, _: [body_of(request).pop(name, None) for name in names]


def token_in_header(request: Json, _: Interaction) -> None:
    request["headers"]["authorization"] = f"Bearer {request['query'].pop('access_token')}"


def no_visitor_query(request: Json, _: Interaction) -> None:
    for name in ("visitor", "visitorId", "discardVisitInfo"):
        request["query"].pop(name, None)


def json_not_form(request: Json, _: Interaction) -> None:
    request["headers"]["content-type"] = "application/json"
    request["body_kind"], request["body"] = "json", request["body"]["clickEvent"]


def language_code(request: Json, _: Interaction) -> None:
    request["body"]["ul"] = request["body"]["ul"].partition("-")[0]


def content_id_key(request: Json, _: Interaction) -> None:
    body_of(request)["customData"]["contentIDKey"] = "permanentid"


def response_id_as_query(request: Json, done: Interaction) -> None:
    body_of(request)["searchQueryUid"] = done.data["responseId"]


def documented_rating(request: Json, _: Interaction) -> None:
    data = request["body"]["svc_action_data"]
    del data["permanentId"], data["suggestion"]["documentUri"], data["suggestion"]["sourceName"]


def auto_selection(request: Json, _: Interaction) -> None:
    data = request["body"]["svc_action_data"]
    data["autoSelection"] = data.get("autoSelection") == "true"


def no_empty_data(request: Json, _: Interaction) -> None:
    assert request["body"].pop("svc_action_data") == {}


def small_keys(request: Json, _: Interaction) -> None:
    body = body_of(request)
    keep = ("contentIDKey", "contentIDValue")
    body["customData"] = {key if key in keep else key.lower(): value for key, value in body["customData"].items()}


def click_in_place_of_suggestion_click(request: Json, done: Interaction) -> None:
    recorded, suggestion = request["body"], done.data["suggestion"]
    request["path"] = request["path"].replace("/collect", "/click")
    request["body"] = {
        "actionCause": "documentSuggestionQuickview",
        "anonymous": False,
        "clientId": recorded["cid"],
        "customData": {"contentIDKey": "permanentid", "contentIDValue": done.data["suggestionId"]},
        "documentPosition": suggestion["documentPosition"],
        "documentTitle": suggestion["documentTitle"],
        "documentUrl": suggestion["documentUrl"],
        "language": "en",
        "originContext": "CaseAssist",
        "originLevel1": recorded["searchHub"],
        "originLevel2": "default",
        "searchQueryUid": done.data["responseId"],
        "sourceName": "AnswersCloud",
        "userAgent": recorded["ua"],
    }


DEVIATIONS = {
    deviation.id: deviation
    for deviation in (
        Deviation(
            id="token-in-header",
            what="the token goes into the Authorization header, where a beacon puts it into the URL",
            conflict="W-01",
            apply=token_in_header,
        ),
        Deviation(
            id="no-visitor-query",
            what="no visitor, visitorId or discardVisitInfo in the URL: the client id is in the body",
            conflict="W-02",
            apply=no_visitor_query,
        ),
        Deviation(
            id="json-not-form",
            what="a JSON body, where a beacon sends a form",
            conflict="W-03",
            apply=json_not_form,
        ),
        Deviation(
            id="language-code",
            what="`ul` is the two-letter language of the interface, not the browser's locale",
            conflict="D-01",
            apply=language_code,
        ),
        Deviation(
            id="content-id-key",
            what="`contentIDKey` is spelt `permanentid`, as the index spells the field",
            conflict="C-05",
            apply=content_id_key,
        ),
        Deviation(
            id="response-id-as-query",
            what="`searchQueryUid` is the id of the response that suggested the document",
            conflict="C-04",
            apply=response_id_as_query,
        ),
        Deviation(
            id="no-document-uri-hash",
            what="`documentUriHash` is not sent with clicks on suggested documents",
            conflict="B-04",
            apply=drop("documentUriHash"),
        ),
        Deviation(
            id="no-document-uri",
            what="`documentUri` is not sent with clicks on suggested documents",
            conflict="B-04",
            apply=drop("documentUri"),
        ),
        Deviation(
            id="documented-rating",
            what="a rating has the documented members only: no permanentId, documentUri and sourceName",
            conflict="W-04",
            apply=documented_rating,
        ),
        Deviation(
            id="auto-selection-boolean",
            what="`autoSelection` is always there and always a JSON boolean",
            conflict="A-01",
            apply=auto_selection,
        ),
        Deviation(
            id="no-empty-data",
            what="a next stage without a name has no action data, where the library sends an empty object",
            conflict="D-10",
            apply=no_empty_data,
        ),
        Deviation(
            id="small-keys",
            what="customData keys are sent in small letters, but for the two contentID keys",
            conflict="C-02",
            apply=small_keys,
        ),
        Deviation(
            id="no-username",
            what="`username` is not sent with a search token, which names the user itself",
            conflict="B-07",
            apply=drop("username"),
        ),
        Deviation(
            id="click-not-suggestion-click",
            what="the deprecated suggestion_click is never sent: the click event that replaced it is",
            conflict="W-05",
            apply=click_in_place_of_suggestion_click,
        ),
    )
}

BEACON = ("token-in-header", "no-visitor-query", "json-not-form")
SUGGESTED = (*BEACON, "content-id-key", "response-id-as-query", "no-document-uri-hash", "no-document-uri")

NEEDED: dict[str, tuple[str, ...]] = {
    "caseAssist/chromium/provider/logEnterInterface": ("language-code",),
    "caseAssist/chromium/provider/logEnterInterface/empty-ticket": ("language-code",),
    "caseAssist/chromium/provider/logUpdateCaseField": ("language-code",),
    "caseAssist/chromium/provider/logSelectFieldSuggestion/autoSelection-true": ("language-code",),
    "caseAssist/chromium/provider/logSelectFieldSuggestion/autoSelection-false": ("language-code",),
    "caseAssist/chromium/provider/logSelectFieldSuggestion/autoSelection-absent": (
        "language-code",
        "auto-selection-boolean",
    ),
    "caseAssist/chromium/provider/logSelectDocumentSuggestion": SUGGESTED,
    "caseAssist/chromium/provider/logQuickviewDocumentSuggestion": SUGGESTED,
    "caseAssist/chromium/provider/logRateDocumentSuggestion": ("language-code", "documented-rating"),
    "caseAssist/chromium/provider/logMoveToNextCaseStep/with-stage": ("language-code",),
    "caseAssist/chromium/provider/logMoveToNextCaseStep/no-stage": ("language-code", "no-empty-data"),
    "caseAssist/chromium/provider/logCaseCancelled": ("language-code",),
    "caseAssist/chromium/provider/logCaseSolved": ("language-code",),
    "caseAssist/chromium/provider/logCaseCreated": ("language-code",),
    "doc3437/chromium/Use-the-Coveo-UA-library": ("language-code", "auto-selection-boolean"),
    "doc3437/chromium/1-Register-a-Case-Assist-action+2-Register-a-ticket+3-Send-an-event": (
        "language-code",
        "auto-selection-boolean",
    ),
    "doc3437/chromium/Enter-the-interface": ("language-code",),
    "doc3437/chromium/Fill-a-field": ("language-code",),
    "doc3437/chromium/Rate-a-document-suggestion": ("language-code",),
    "doc3437/chromium/Select-a-case-classification": ("language-code", "auto-selection-boolean"),
    "doc3437/chromium/Select-a-document-suggestion": BEACON,
    "doc3437/jsdom/Select-a-document-suggestion": ("no-visitor-query",),
    "doc3437/chromium/Select-the-document-suggestion-quick-view": BEACON,
    "doc3437/jsdom/Select-the-document-suggestion-quick-view": ("no-visitor-query",),
    "doc3437/chromium/Move-to-the-next-step": ("language-code",),
    "doc3437/chromium/Cancel-a-ticket": ("language-code",),
    "doc3437/chromium/Submit-a-ticket": ("language-code",),
    "doc3437-reference/chromium/suggestion_click-deprecated": ("click-not-suggestion-click",),
    "doc3437-reference/chromium/no-searchHub": ("language-code",),
    "doc3437-reference/chromium/ticket_cancel-Quit": ("language-code",),
    "doc2064/chromium/sendClickEvent": BEACON,
    "doc2064/chromium/sendClickEvent-all-properties": (*BEACON, "small-keys", "no-username"),
    "doc2064/chromium/coveoua-send-click": BEACON,
    "doc2064/chromium/clientId-overridden-then-setClientId": BEACON,
    "doc2650/chromium/sendCustomEvent": ("no-visitor-query",),
    "doc2650/chromium/sendCustomEvent-all-properties": ("no-visitor-query", "small-keys", "no-username"),
    "doc2650/chromium/coveoua-send-custom": ("no-visitor-query", "small-keys", "no-username"),
}


# A server that writes down what it gets.


@asynccontextmanager
async def recorder() -> AsyncIterator[tuple[str, list[Json]]]:
    """A server on a socket of this machine: its address, and the requests that it got."""
    requests: list[Json] = []

    async def serve(stream: SocketStream) -> None:
        buffer = b""
        async with stream:
            while True:
                while b"\r\n\r\n" not in buffer:
                    try:
                        buffer += await stream.receive()
                    except (anyio.EndOfStream, anyio.BrokenResourceError):
                        return
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                first, *lines = head.decode("ascii").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                length = int(headers["content-length"])
                while len(buffer) < length:
                    buffer += await stream.receive()
                body, buffer = buffer[:length], buffer[length:]
                method, target, _ = first.split(" ")
                path, _, query = target.partition("?")
                requests.append(
                    {
                        "method": method,
                        "path": path,
                        "query": dict(parse_qsl(query, strict_parsing=True)) if query else {},
                        "headers": {name: headers[name] for name in ("authorization", "content-type")},
                        "body_kind": "json",
                        "body": json.loads(body),
                    }
                )
                await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        port = listener.extra(SocketAttribute.local_port)
        yield f"http://127.0.0.1:{port}/rest/ua", requests
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("scenario", RECORDINGS)
async def test_an_interaction_gives_the_recorded_request_but_for_the_named_deviations(scenario: str) -> None:
    recording = RECORDINGS[scenario]
    done = understand(recording)
    expected = deepcopy(recording["request"])
    for name in NEEDED[scenario]:
        before = deepcopy(expected)
        DEVIATIONS[name].apply(expected, done)
        assert expected != before, f"{name} changes nothing here"

    async with recorder() as (address, requests), CaseAssist(sinks=[HTTPSink(address, token=TOKEN)]) as assist:
        await play(assist, done, body_of(recording["request"]))
        report = await assist.flush(10)
    assert report.complete

    found = requests[-1]
    for request in (found, expected):
        for name in ("pid", "z"):  # ids that are made for every page and every event
            if name in request["body"]:
                UUID(request["body"].pop(name))
    assert found == expected


def test_every_recording_of_the_groups_is_compared() -> None:
    assert NEEDED.keys() == RECORDINGS.keys()
    assert len(RECORDINGS) == 37


def test_every_deviation_is_needed_by_a_recording_and_explained() -> None:
    used = {name for names in NEEDED.values() for name in names}
    assert used == DEVIATIONS.keys()
    text = CONFLICTS.read_text(encoding="utf-8")
    for deviation in DEVIATIONS.values():
        assert f"`{deviation.id}`" in text
        assert f"| {deviation.conflict} |" in text


async def test_a_client_id_of_its_own_in_an_event_is_refused_where_the_library_overwrites_it() -> None:
    recording = RECORDINGS["doc2064/chromium/sendClickEvent"]
    payload, sent = understand(recording).data, body_of(recording["request"])
    assert payload["clientId"] != sent["clientId"]
    async with CaseAssist({"clientId": sent["clientId"]}) as assist:
        case = await assist.start()
        with pytest.raises(InvalidAction) as refused:
            await case.log_click(payload)
        assert refused.value.rule == "CA-014"
        await case.log_click(payload | {"clientId": sent["clientId"]})


# Reading all of it.


def read_as_it_came(request: Json, *, strict: bool = False) -> str:
    """One line: the event and what was put right, or the place and rule that cannot be."""
    form = request["body_kind"] == "form"
    if form:
        members = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in request["body"].items()
        }
        body = urlencode(members).encode()
    else:
        body = json.dumps(request["body"]).encode()
    target = request["path"] + ("?" + urlencode(request["query"]) if request["query"] else "")
    try:
        received = read_request(target, body, form=form, strict=strict)
    except InvalidAction as error:
        return f"refused {error.path} {error.rule or '-'}"
    coerced = "".join(f" {coercion.id}:{coercion.path}" for coercion in received.coercions)
    return f"{type(received.event).__name__}{coerced}"


READINGS = dict(line.split("\t") for line in (DATA / "readings.txt").read_text(encoding="utf-8").splitlines())
ALL = {f"{capture['scenario']}#{capture['seq']}": capture["request"] for capture in captures()}


@pytest.mark.parametrize("name", ALL)
def test_a_recorded_request_reads_as_an_event_or_is_refused_for_one_reason(name: str) -> None:
    assert read_as_it_came(ALL[name]) == READINGS[name]


@pytest.mark.parametrize("name", ALL)
def test_strict_reading_takes_what_needs_nothing_put_right_and_refuses_the_rest(name: str) -> None:
    lenient, strict = READINGS[name], read_as_it_came(ALL[name], strict=True)
    if lenient.startswith("refused") or ":" in lenient:
        assert strict.startswith("refused")
    else:
        assert strict == lenient


def test_all_107_recordings_are_read() -> None:
    assert ALL.keys() == READINGS.keys()
    assert len(ALL) == 107


def test_what_is_read_from_a_recording_is_what_was_logged() -> None:
    for scenario, recording in RECORDINGS.items():
        request, done = recording["request"], understand(recording)
        form = request["body_kind"] == "form"
        members = {key: json.dumps(value) for key, value in request["body"].items()}
        body = urlencode(members).encode() if form else json.dumps(request["body"]).encode()
        received = read_request(request["path"], body, form=form)
        recorded = body_of(request)
        assert received.context.client_id == (recorded.get("cid") or recorded["clientId"]), scenario
        assert received.ticket.subject == (done.ticket.get("subject") if "cid" in recorded else None), scenario
        assert received.ticket.custom == (done.ticket.get("custom") if "cid" in recorded else None), scenario
        assert received.event_id == recorded.get("z"), scenario
        if "tm" in recorded:
            assert received.time is not None
            assert received.time.timestamp() * 1000 == pytest.approx(recorded["tm"], abs=0.01), scenario
