"""The sink in a binary stream, such as standard output or a pipe: one record, one line of JSON."""

import threading
from collections.abc import Sequence
from typing import BinaryIO

from anyio import to_thread

from caseassist.core.errors import SinkUnavailable
from caseassist.core.records import Record, encode_lines
from caseassist.sinks.base import Sink

__all__ = ["StreamSink"]


class StreamSink(Sink):
    """Writes records to a blocking binary stream that is open already, such as ``sys.stdout.buffer``.

    When :meth:`deliver` returns, the stream was given the batch and flushed. A buffered stream is written past its
    buffer: what a broken pipe has not taken must not wait there and come out later.

    Nothing can be taken back from a stream. After an error the batch comes again from its beginning, on a line of its
    own: the line that was cut off stays, and records before it are there twice. For a file, use FileSink.

    The stream belongs to the caller and is not closed. A reader that stops reading holds up the delivery, but not its
    cancellation: the write in progress is then left behind in its thread and ends when it ends.
    """

    def __init__(self, stream: BinaryIO, *, name: str = "stream") -> None:
        """Name the stream. ``name``: of the sink's position in the store; default ``stream``."""
        self.name = name
        self._stream = stream
        self._torn = False
        self._writing = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    async def deliver(self, records: Sequence[Record]) -> None:
        """Write records and flush. Raises SinkUnavailable when the stream does not take them all."""
        await to_thread.run_sync(self._deliver, records, abandon_on_cancel=True)

    def _deliver(self, records: Sequence[Record]) -> None:
        if not self._writing.acquire(blocking=False):  # Waiting would pile up threads, a cancelled delivery each.
            raise SinkUnavailable(f"{self.name}: the reader has not taken what was written before")
        try:
            self._write(encode_lines(records))
        except BrokenPipeError as exc:
            raise SinkUnavailable(f"{self.name}: nobody reads it any more") from exc
        except (OSError, ValueError) as exc:  # ValueError: the stream is closed
            raise SinkUnavailable(f"{self.name}: {exc}") from exc
        finally:
            self._writing.release()

    def _write(self, lines: bytes) -> None:
        self._stream.flush()
        unbuffered: BinaryIO = getattr(self._stream, "raw", self._stream)
        rest = memoryview(b"\n" + lines if self._torn else lines)
        self._torn = True
        while rest:
            written = unbuffered.write(rest)
            if not written:
                raise OSError("it takes nothing at the moment")
            rest = rest[written:]
        self._stream.flush()
        self._torn = False
