"""The sink in a stream, on real pipes."""

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from caseassist.core.errors import SinkUnavailable
from caseassist.core.records import Record, decode_lines, encode_lines
from caseassist.sinks.stream import StreamSink

Made = Callable[..., list[Record]]


async def test_a_pipe_gets_each_batch_before_deliver_returns(records: list[Record]) -> None:
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as reader, os.fdopen(write_fd, "wb") as stream:
        sink = StreamSink(stream, name="stdout")
        await sink.open()
        for record in records:
            await sink.deliver([record])
            assert list(decode_lines([reader.readline()])) == [record]
        await sink.aclose()
        assert not stream.closed
    assert repr(sink) == "<StreamSink stdout>"


async def test_a_batch_larger_than_the_pipe_arrives_whole(made: Made) -> None:
    records = made(2000)
    read_fd, write_fd = os.pipe()
    got = bytearray()

    def read_all() -> None:
        with os.fdopen(read_fd, "rb") as reader:
            got.extend(reader.read())

    reading = threading.Thread(target=read_all)
    reading.start()
    with os.fdopen(write_fd, "wb") as stream:
        await StreamSink(stream).deliver(records)
    await anyio.to_thread.run_sync(reading.join)
    assert list(decode_lines(bytes(got).splitlines(keepends=True))) == records


async def test_what_others_put_into_the_buffer_before_comes_first(tmp_path: Path, records: list[Record]) -> None:
    with (tmp_path / "out").open("wb") as stream:
        stream.write(b"before\n")
        await StreamSink(stream).deliver(records)
        stream.write(b"after\n")
    assert (tmp_path / "out").read_bytes() == b"before\n" + encode_lines(records) + b"after\n"


async def test_a_stream_without_a_buffer_does_too(records: list[Record]) -> None:
    stream = io.BytesIO()
    await StreamSink(stream).deliver(records)
    assert stream.getvalue() == encode_lines(records)


async def test_a_closed_reader_makes_the_sink_unavailable(records: list[Record]) -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with os.fdopen(write_fd, "wb") as stream:  # closing it would fail if anything were left in its buffer
        sink = StreamSink(stream, name="stdout")
        for _ in range(2):
            with pytest.raises(SinkUnavailable, match="stdout: ") as caught:
                await sink.deliver(records)
            assert caught.value.delivered == 0
            assert isinstance(caught.value.__cause__, OSError)


async def test_a_closed_stream_makes_the_sink_unavailable(records: list[Record]) -> None:
    stream = io.BytesIO()
    stream.close()
    with pytest.raises(SinkUnavailable, match="closed file"):
        await StreamSink(stream).deliver(records)


class Faltering(io.RawIOBase):
    """Takes 100 bytes at a time, until there is no room."""

    def __init__(self, room: int, no_room: OSError | None) -> None:
        self.taken = b""
        self.room = room
        self.no_room = no_room

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int | None:
        amount = min(100, len(data), self.room - len(self.taken))
        if not amount and self.no_room:
            raise self.no_room
        self.taken += bytes(data[:amount])
        return amount or None


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device"), None])
async def test_after_an_error_the_batch_comes_again_on_lines_of_its_own(
    records: list[Record], error: OSError | None
) -> None:
    lines = encode_lines(records)
    raw = Faltering(len(lines) + 150, error)
    sink = StreamSink(io.BufferedWriter(raw))
    await sink.deliver(records)
    with pytest.raises(SinkUnavailable):
        await sink.deliver(records)
    raw.room = 1 << 20
    await sink.deliver(records)
    await sink.deliver(records)
    assert raw.taken == lines + lines[:150] + b"\n" + lines + lines


async def test_a_reader_that_stops_reading_does_not_hold_up_cancellation(made: Made) -> None:
    records = made(2000)
    read_fd, write_fd = os.pipe()
    with os.fdopen(write_fd, "wb") as stream:
        sink = StreamSink(stream)
        with os.fdopen(read_fd, "rb", buffering=0) as reader:
            got = b""
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sink.deliver, records)
                got = await anyio.to_thread.run_sync(reader.read, 1000)  # it has begun
                tasks.cancel_scope.cancel()
            with pytest.raises(SinkUnavailable, match="has not taken"):
                await sink.deliver(records)
            lines = encode_lines(records)
            while len(got) < len(lines):
                got += await anyio.to_thread.run_sync(reader.read, len(lines) - len(got))
            assert got == lines
