"""The Python clients of Segment, PostHog and Snowplow, with their endpoint set to a server of this host.

Each takes an event by a call that queues it, and has one thread that delivers: a second one would share the same lock
of the interpreter. All of them put a hundred events into a request (the default of Segment and PostHog; Snowplow's is
ten), over one kept connection. Their queues have room for all events, since they drop what has no room.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

from benchmarks.results import installed

__all__ = ["BATCH_EVENTS", "Delivered", "Telemetry", "deliver", "installed_telemetry"]

BATCH_EVENTS = 100
FLUSH_S = 60.0
CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"

Event = dict[str, Any]
"""The body of a request of ours, decoded."""


class Telemetry(NamedTuple):
    """A client that runs."""

    enqueue: Callable[[Event], object]
    flush: Callable[[], object]
    """Returns when all that was enqueued was delivered, or has failed."""
    failures: list[object]


Open = Callable[[int, int], AbstractContextManager[Telemetry]]
"""(port of the server, how many events its queue has room for) -> a client."""


class Delivered(NamedTuple):
    """What became of events that were enqueued one after the other."""

    events_per_s: float
    """From the first to be enqueued until all were delivered."""
    requests_per_s: float
    enqueue_us: float
    """CPU time of the calling thread, for one event, in microseconds."""


@contextmanager
def _segment(segment: Any, port: int, most: int) -> Iterator[Telemetry]:
    failures: list[object] = []
    client = segment.Client(
        "write-key",
        host=f"http://127.0.0.1:{port}",
        max_queue_size=most,
        upload_size=BATCH_EVENTS,
        upload_interval=0.01,  # seconds for which the last events, too few for a request, are held back
        on_error=lambda error, _: failures.append(error),
    )
    try:
        yield Telemetry(lambda event: client.track(CLIENT_ID, "svc", event), client.flush, failures)
    finally:
        client.shutdown()


@contextmanager
def _posthog(posthog: Any, port: int, most: int) -> Iterator[Telemetry]:
    failures: list[object] = []
    client = posthog.Posthog(
        "api-key",
        host=f"http://127.0.0.1:{port}",
        max_queue_size=most,
        flush_at=BATCH_EVENTS,
        on_error=lambda error, _: failures.append(error),
    )
    try:
        yield Telemetry(
            lambda event: client.capture("svc", distinct_id=CLIENT_ID, properties=event),
            partial(client.flush, timeout_seconds=FLUSH_S),
            failures,
        )
    finally:
        client.shutdown()


@contextmanager
def _snowplow(snowplow: Any, port: int, most: int) -> Iterator[Telemetry]:
    import requests

    logging.getLogger("snowplow_tracker.emitters").setLevel(logging.WARNING)  # it prints two lines for every request
    failures: list[object] = []
    with requests.Session() as session:
        emitter = snowplow.AsyncEmitter(
            "127.0.0.1",
            port=port,
            batch_size=BATCH_EVENTS,
            buffer_capacity=most,
            session=session,
            on_failure=lambda _, events: failures.append(f"{len(events)} events failed"),
        )
        tracker = snowplow.Tracker("benchmark", emitter, encode_base64=False)

        def enqueue(event: Event) -> None:
            described = snowplow.SelfDescribingJson("iglu:com.example/svc/jsonschema/1-0-0", event)
            tracker.track(snowplow.SelfDescribing(described))

        yield Telemetry(enqueue, emitter.sync_flush, failures)  # its thread cannot be ended


def installed_telemetry() -> dict[str, Open]:
    """The clients that are installed, by name."""
    clients: tuple[tuple[str, str, Callable[[Any, int, int], AbstractContextManager[Telemetry]]], ...] = (
        ("Segment", "segment.analytics.client", _segment),
        ("PostHog", "posthog", _posthog),
        ("Snowplow", "snowplow_tracker", _snowplow),
    )
    return {
        name: partial(opening, found)
        for name, module, opening in clients
        if (found := installed(name, module)) is not None
    }


@contextmanager
def _counted_requests() -> Iterator[list[None]]:
    """All three send with requests; gives a list with a member for each request."""
    import requests

    send = requests.Session.send
    sent: list[None] = []

    def counting_send(session: Any, request: Any, **options: Any) -> Any:
        sent.append(None)
        return send(session, request, **options)

    with mock.patch.object(requests.Session, "send", counting_send):
        yield sent


def deliver(client: Telemetry, events: Sequence[Event]) -> Delivered:
    """Enqueue events and wait until they are delivered."""
    events = [dict(event) for event in events]  # some add to what they are given
    with _counted_requests() as requests:
        cpu_s, begin_s = time.thread_time(), time.perf_counter()
        for event in events:
            client.enqueue(event)
        cpu_s = time.thread_time() - cpu_s
        client.flush()
        taken_s = time.perf_counter() - begin_s
    if client.failures:
        raise RuntimeError(f"not delivered: {client.failures[0]}")
    return Delivered(len(events) / taken_s, len(requests) / taken_s, cpu_s / len(events) * 1e6)
