"""Log writer thread: it writes batches of lines, so that no other thread waits for the reader of the log.

Laws:

- ``put`` never blocks. The queue is bounded; what exceeds it is dropped and counted, and a line reports it as soon as
  something can be written again.
- Batches are written in the order they were put, each by one ``write``: lines of different origin do not mix.
- The file has no buffer of Python's: a thread that hangs in a write must not hang the end of the process.
"""

from __future__ import annotations

import io
import queue
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    Render = Callable[[], bytes]

MAX_PENDING: Final = 50_000
END_SECONDS: Final = 5


class Out(Protocol):
    """Binary output that bytes are written to."""

    def write(self, piece: bytes, /) -> int | None:
        """Write some of the bytes, and return how many."""


class Writer:
    """Bounded queue of batches, and the thread that empties it.

    Attributes:
        written: Number of records written.
        dropped: Number of records lost because the reader was slow, or is gone.
    """

    def __init__(self, out: Out, tell: Callable[[int], bytes]) -> None:
        """`tell` makes the line that reports how many records were dropped."""
        self._out = out
        self._tell = tell
        self._queue: queue.SimpleQueue[tuple[int, Render] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._put = self._taken = 0
        self.written = self.dropped = 0

    @property
    def pending(self) -> int:
        """Number of records that wait to be written."""
        return self._put - self._taken

    def start(self) -> None:
        """Start the thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
            self._thread.start()

    def put(self, number: int, render: Render, *, most: int = MAX_PENDING) -> None:
        """Queue a batch of `number` records; the thread calls `render` to make the lines.

        The batch is dropped if more than `most` records would wait.
        """
        if self.pending + number > most:
            self.dropped += number
            return
        self._put += number
        self._queue.put((number, render))

    def stop(self) -> None:
        """Write what is left, for at most END_SECONDS, and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=END_SECONDS)
            self._thread = None

    def _write_all(self) -> None:
        reported = 0
        while (batch := self._queue.get()) is not None:
            number, render = batch
            try:
                lines = render()
                if self.dropped > reported:
                    lines += self._tell(self.dropped - reported)
                    reported = self.dropped
                self._write(lines)
                self.written += number
            except (OSError, ValueError):  # the reader is gone; the gateway goes on serving
                self.dropped += number
            self._taken += number

    def _write(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            count = self._out.write(bytes(rest) if len(rest) < len(lines) else lines)
            rest = rest[count or 0 :]


def standard_output() -> Out:
    """Return standard output without Python's buffer, or with it if it is no real file."""
    sys.stdout.flush()
    try:
        return io.FileIO(sys.stdout.fileno(), "wb", closefd=False)
    except (OSError, ValueError, AttributeError):  # captured, as by a test
        return _Flushed(sys.stdout.buffer)


class _Flushed:
    """A buffered file whose every write is flushed."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, piece: bytes, /) -> int | None:
        self._out.write(piece)
        self._out.flush()
        return len(piece)
