"""Requests as bytes."""

import tracemalloc

from caseassist.wire.http import Origin, Request
from caseassist.wire.http1 import RequestSerializer

ORIGIN = Origin("http", "127.0.0.1", 80)


def request(path: str, body: bytes = b"{}", agent: str = "bot") -> Request:
    return Request(origin=ORIGIN, path=path, headers=(("User-Agent", agent),), body=body)


def test_a_request_is_written_as_the_first_time_whatever_was_written_in_between() -> None:
    serializer = RequestSerializer(ORIGIN)
    requests = [request(f"/{number % 70}", b"x" * number, agent=f"bot {number % 3}") for number in range(300)]
    assert [serializer.serialize(one) for one in requests] == [
        RequestSerializer(ORIGIN).serialize(one) for one in requests
    ]


def test_what_differs_only_in_a_header_is_written_with_its_own() -> None:
    serializer = RequestSerializer(ORIGIN)
    assert b"User-Agent: a\r\n" in serializer.serialize(request("/", agent="a"))
    assert b"User-Agent: b\r\n" in serializer.serialize(request("/", agent="b"))


def test_memory_does_not_grow_with_the_number_of_paths() -> None:
    serializer = RequestSerializer(ORIGIN)
    sizes = []
    tracemalloc.start()
    for begin in (0, 1000, 2000):
        for number in range(begin, begin + 1000):
            serializer.serialize(request(f"/{number}"))
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(sizes) < 200_000
