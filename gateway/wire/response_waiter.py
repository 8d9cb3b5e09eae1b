"""Response mailbox of an upstream connection: its exchange awaits heads and the end of the response here.

Laws:

- Heads are delivered in order, then the end or a fault. What was read before a fault is delivered before it.
- One coroutine waits at a time, and continues in the very call that delivers what it waits for.
- A fault goes once to the exchange that waits for it or calls next; after the end of a response there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.wire.drive import Signal

if TYPE_CHECKING:
    from gateway.wire.faults import UpstreamFault
    from gateway.wire.messages import ResponseHead
    from gateway.wire.response_parser import ResponseParser


class ResponseWaiter:
    """Mailbox between a connection's response parser and its exchange."""

    __slots__ = ("_end", "_failure", "_head", "_reader")

    def __init__(self, reader: ResponseParser) -> None:
        self._reader = reader
        self._failure: UpstreamFault | None = None
        self._head: Signal[ResponseHead] | None = None
        self._end: Signal[None] | None = None

    def head(self) -> Signal[ResponseHead]:
        """Return the signal of the next response head; it fails with an UpstreamFault if there will be none."""
        signal: Signal[ResponseHead] = Signal()
        if self._reader.heads:
            signal.set(self._reader.heads.pop(0))
        elif self._failure is not None:
            signal.fail(self._failure)
        else:
            self._head = signal
        return signal

    async def end(self) -> None:
        """Return when the response has ended.

        Raises:
            UpstreamFault: the response broke off.
        """
        if self._failure is not None:
            raise self._failure
        if not self._reader.complete:
            self._end = Signal()
            await self._end

    def fail(self, fault: UpstreamFault) -> None:
        """Store the fault for the next call, and raise it in an exchange that waits already."""
        if self._reader.complete or self._failure is not None:
            return
        self._failure = fault
        self.deliver()

    def deliver(self) -> None:
        """Resume the waiting exchange with what the parser has found; called when the parser is not running."""
        head, end = self._head, self._end
        if head is not None:
            if self._reader.heads:
                self._head = None
                head.set(self._reader.heads.pop(0))
            elif self._failure is not None:
                self._head = None
                head.fail(self._failure)
        elif end is not None:
            if self._reader.complete:
                self._end = None
                end.set(None)
            elif self._failure is not None:
                self._end = None
                end.fail(self._failure)
