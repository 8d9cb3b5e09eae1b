"""Log writer thread: it writes batches of lines, so that no other thread waits for the reader of the log.

Laws:

- ``put`` never blocks. The queue is bounded; what exceeds it is dropped and counted, and a line reports it as soon as
  something can be written again.
- Batches are written in the order they were put, by this thread alone, and one process at a time
  (:mod:`gateway.logs.turns`): lines of different origin do not mix.
- A line that a failed write has cut is ended before the next line begins. It counts as dropped.
- A full pipe is waited for, also one with ``O_NONBLOCK``, which another process may have set.
- The file has no buffer of Python's: a thread that hangs in a write must not hang the end of the process.
"""

from __future__ import annotations

import io
import queue
import select
import sys
import threading
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from gateway.logs.turns import OwnTurns

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.logs.turns import Turns

    Render = Callable[[], bytes]

MAX_PENDING: Final = 50_000
END_SECONDS: Final = 5
_LINE_END: Final = ord("\n")


class Out(Protocol):
    """Binary output that bytes are written to."""

    def write(self, piece: bytes, /) -> int | None:
        """Write some of the bytes, and return how many; None if it does not block, and takes none now."""


class Writer:
    """Bounded queue of batches, and the thread that empties it.

    Attributes:
        written: Number of records written.
        dropped: Number of records lost because the reader was slow, or is gone.
    """

    def __init__(self, out: Out, tell: Callable[[int], bytes], turns: Turns | None = None) -> None:
        """Write to `out`, in the turns of this process if it shares `out` with others.

        `tell` makes the line that reports how many records were dropped.
        """
        self._out = out
        self._turns = OwnTurns() if turns is None else turns
        self._tell = tell
        self._queue: queue.SimpleQueue[tuple[int, Render] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._put = self._taken = self._reported = 0
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
        while (batch := self._queue.get()) is not None:
            number, render = batch
            lost = number
            try:
                lost = min(number, self._write(render()))
                dropped = self.dropped
                if (
                    dropped > self._reported
                    and not lost
                    and not self._write(self._tell(dropped - self._reported))
                ):
                    self._reported = dropped
            except ValueError:  # the file is closed
                pass
            self.dropped += lost
            self.written += number - lost
            self._taken += number

    def _write(self, lines: bytes) -> int:
        """Write lines; return how many of them the file refused, wholly or in part."""
        turns = self._turns
        with turns:
            is_cut = turns.is_cut
            rest = memoryview(b"\n" + lines if is_cut else lines)
            turns.is_cut = True  # so it is if this process is killed now
            try:
                while rest:
                    count = self._out.write(bytes(rest))
                    if count is None:
                        _wait_until_writable(self._out)
                    elif count:
                        is_cut = rest[count - 1] != _LINE_END
                        rest = rest[count:]
            except OSError:  # the reader is gone, or the disk is full; the gateway goes on serving
                return bytes(rest).count(b"\n", 1 if len(rest) > len(lines) else 0)
            finally:
                turns.is_cut = is_cut
        return 0


def _wait_until_writable(out: Out) -> None:
    if isinstance(out, io.FileIO):
        writable = select.poll()
        writable.register(out.fileno(), select.POLLOUT)
        writable.poll()


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
