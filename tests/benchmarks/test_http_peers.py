"""What is measured is delivered: every event that a peer of the http_sink benchmark counts reaches the server, once."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio import to_thread
from benchmarks.data import play, sessions
from benchmarks.http_sink import deliver, enqueue_and_deliver, requests_of
from benchmarks.peers.coveo_analytics import coveo_analytics
from benchmarks.peers.http_clients import installed_clients, pace, send_all, transport_client
from benchmarks.peers.telemetry import BATCH_EVENTS, installed_telemetry
from benchmarks.peers.telemetry import deliver as deliver_telemetry

from caseassist.testing.http import Behaviour, Connection, ReceivedRequest, ScriptServer, reply
from caseassist.wire.http import Origin, Request

IN_FLIGHT = 4
EVENTS = range(BATCH_EVENTS * 5 // 2)
OK = reply(200, b'{"visitId":"a","visitorId":"489aa3e3-aed2-4563-8e81-62bb73178a56"}')


def action_of(body: bytes) -> str:
    event = json.loads(body)
    return str(event.get("svc_action") or event["actionCause"])


def together() -> list[Behaviour]:
    """For the first requests: none is answered before as many have come as there are to be in flight."""
    come = 0
    all_have_come = anyio.Event()

    async def wait_for_others(connection: Connection) -> None:
        nonlocal come
        come += 1
        if come == IN_FLIGHT:
            all_have_come.set()
        await all_have_come.wait()
        await OK(connection)

    return [wait_for_others] * IN_FLIGHT


SESSION = Counter(action_of(request.body) for request in requests_of(play(), 1))


async def test_ours_is_all_delivered_with_so_many_in_flight() -> None:
    async with ScriptServer(*together()) as server:
        await deliver(sessions(6), sessions(10), server.port, IN_FLIGHT)
        assert Counter(action_of(request.body) for request in server.requests) == Counter(
            {action: 16 * number for action, number in SESSION.items()}
        )
        assert server.most_at_once == server.connections == IN_FLIGHT


async def test_what_is_enqueued_one_by_one_is_all_delivered() -> None:
    async with ScriptServer() as server:
        await enqueue_and_deliver(sessions(1), sessions(10), server.port)
    assert len(server.requests) == 11 * SESSION.total()


@pytest.mark.parametrize("name", ["transport alone", "httpx", "httpx2", "aiohttp"])
async def test_a_client_sends_every_request_once(name: str, anyio_backend_name: str) -> None:
    client = {"transport alone": transport_client, **installed_clients()[anyio_backend_name]}.get(name)
    if client is None:
        pytest.skip(f"{name} is not installed, or not for {anyio_backend_name}")
    async with ScriptServer(*together()) as server:
        origin = Origin("http", "127.0.0.1", server.port)
        requests = [
            Request(origin=origin, path="/log", headers=(("Authorization", "Bearer abc"),), body=str(number).encode())
            for number in EVENTS
        ]
        async with client(requests, IN_FLIGHT) as send:
            assert await send_all(send, requests, IN_FLIGHT) == len(requests)
        assert {(got.method, got.path, got.header("authorization")) for got in server.requests} == {
            ("POST", "/log", "Bearer abc")
        }
        assert sorted(int(got.body) for got in server.requests) == list(EVENTS)
        assert server.most_at_once == server.connections == IN_FLIGHT


@pytest.mark.parametrize("name", ["transport alone", "httpx", "httpx2", "aiohttp"])
async def test_a_refused_request_is_not_counted(name: str, anyio_backend_name: str) -> None:
    client = {"transport alone": transport_client, **installed_clients()[anyio_backend_name]}.get(name)
    if client is None:
        pytest.skip(f"{name} is not installed, or not for {anyio_backend_name}")
    async with ScriptServer(then=reply(503)) as server:
        request = Request(origin=Origin("http", "127.0.0.1", server.port), path="/log")
        with pytest.RaisesGroup(AssertionError, flatten_subgroups=True):
            await pace(client, [request], 1, 1)


async def test_coveo_analytics_logs_the_same_actions() -> None:
    async with ScriptServer(*together(), then=OK) as server:
        if not await to_thread.run_sync(log_sessions, server.port):
            pytest.skip("coveo.analytics is not installed")
    assert Counter(action_of(request.body) for request in server.requests) == Counter(
        {action: 10 * number for action, number in SESSION.items()}
    )
    assert server.most_at_once == IN_FLIGHT


async def test_what_coveo_analytics_did_not_deliver_is_not_counted(capfd: pytest.CaptureFixture[str]) -> None:
    async with ScriptServer(OK, OK, then=reply(503)) as server:
        try:
            logged = await to_thread.run_sync(log_sessions, server.port)
        except RuntimeError:
            assert "error has occurred" in capfd.readouterr().err
        else:
            assert not logged
            pytest.skip("coveo.analytics is not installed")


def log_sessions(port: int) -> bool:
    """Ten sessions; False if the library is not there."""
    with coveo_analytics(port) as log:
        if log is not None:
            log(IN_FLIGHT, sessions=10)
        return log is not None


def of_batch(request: ReceivedRequest) -> list[Any]:
    return [event["properties"] for event in json.loads(request.body)["batch"]]


def of_snowplow(request: ReceivedRequest) -> list[Any]:
    return [json.loads(event["ue_pr"])["data"]["data"] for event in json.loads(request.body)["data"]]


TELEMETRY = {"Segment": of_batch, "PostHog": of_batch, "Snowplow": of_snowplow}


@pytest.mark.parametrize("name", TELEMETRY)
async def test_telemetry_delivers_every_event_once(name: str) -> None:
    events_of: Callable[[ReceivedRequest], list[Any]] = TELEMETRY[name]
    async with ScriptServer() as server:
        opened = installed_telemetry().get(name)
        if opened is None:
            pytest.skip(f"{name} is not installed")

        def enqueue_and_flush() -> float:
            with opened(server.port, len(EVENTS)) as client:
                delivered = deliver_telemetry(client, [{"number": number} for number in EVENTS])
                return delivered.requests_per_s / delivered.events_per_s

        requests_per_event = await to_thread.run_sync(enqueue_and_flush)
        received = [events_of(request) for request in server.requests]
        assert sorted(event["number"] for events in received for event in events) == list(EVENTS)
        assert requests_per_event * len(EVENTS) == pytest.approx(len(received))
        assert max(map(len, received)) <= BATCH_EVENTS


@pytest.mark.parametrize("name", TELEMETRY)
async def test_what_telemetry_did_not_deliver_is_not_counted(name: str) -> None:
    async with ScriptServer(then=reply(400)) as server:
        opened = installed_telemetry().get(name)
        if opened is None:
            pytest.skip(f"{name} is not installed")

        def enqueue_and_flush() -> None:
            with opened(server.port, len(EVENTS)) as client:
                deliver_telemetry(client, [{"number": number} for number in EVENTS])

        with pytest.raises(RuntimeError, match="not delivered"):
            await to_thread.run_sync(enqueue_and_flush)


def test_where_node_is_missing_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    with coveo_analytics(1) as log:
        assert log is None
    assert capsys.readouterr().err.splitlines() == ["  coveo.analytics: skipped, node is not installed"]
