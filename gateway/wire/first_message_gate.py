"""Protocol of a WebSocket client's transport until the client's first message has been judged.

The upstream has switched protocols and may send. Until the gate is opened, only control frames of the client go
on. Laws:

- Held bytes go on unchanged and in order, or not at all.
- No more is read than can be held (:mod:`gateway.wire.first_message`), and nothing is read while the message is being
  judged: the client meets backpressure.
- The message is due within ``seconds``. The judgement has no deadline here.
- :meth:`FirstMessageGate.message` returns once: with the message, or because there will be none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.wire.drive import Signal
from gateway.wire.first_message import FirstMessage, Unreadable
from gateway.wire.websocket_auth import POLICY

if TYPE_CHECKING:
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.ends import End
    from gateway.wire.tunnel import Tunnel

LATE: Final = "not authenticated in time"


class FirstMessageGate(asyncio.BufferedProtocol):
    """The protocol of a client's transport before its first message is let through.

    Attributes:
        deadline: See :mod:`~gateway.wire.deadlines`.
    """

    def __init__(self, deadlines: Deadlines, seconds: float | None) -> None:
        """Create a gate; the message is due within `seconds`, or at any time if that is None."""
        self._deadlines = deadlines
        self._first = FirstMessage()
        self._message: Signal[bytes | None] = Signal()
        self._tunnel: Tunnel | None = None
        self._end: End | None = None
        self.deadline = None if seconds is None else deadlines.after(seconds)

    def stand_before(self, tunnel: Tunnel, end: End) -> None:
        """Become the protocol of the client's transport, in place of `end`, the client's end of `tunnel`."""
        self._tunnel, self._end = tunnel, end
        self._deadlines.watched.add(self)
        self._hand_over(self)

    async def message(self) -> bytes | None:
        """Return the first message; None if the socket ends before there is one.

        Raises:
            Unreadable: the message cannot be accepted, or it is late.
        """
        return await self._message

    def open(self) -> None:
        """Let the client through: pass on the held bytes and all that follow."""
        end = self._leave()
        if end is not None:
            held = self._first.held
            if held:
                end.pass_on(held)
            if end.peer.full and not end.transport.is_closing():
                end.transport.pause_reading()

    def give_up(self) -> None:
        """Drop the held bytes, since the socket is being closed."""
        end = self._leave()
        if end is not None:
            end.drop(self._first.held)

    def _leave(self) -> End | None:
        """Return the transport to the client's end, and return that end; None if it was done before."""
        end, self._end = self._end, None
        self._tunnel = None  # it refers to the gate: a cycle would hold both connections when they have ended
        self.deadline = None
        self._deadlines.watched.discard(self)
        if end is not None:
            end.waits = False
            self._hand_over(end, end)
        self._message.set(None)
        return end

    def _hand_over(self, protocol: asyncio.BaseProtocol, end: End | None = None) -> None:
        """Set the transport's protocol while reading is paused: a loop looks at its kind when reading begins."""
        end = end or self._end
        if end is not None and not end.transport.is_closing():
            end.transport.pause_reading()
            end.transport.set_protocol(protocol)
            end.transport.resume_reading()
        elif end is not None:
            end.transport.set_protocol(protocol)

    # -- asyncio's side ----------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- asyncio's signature
        """Return where the next bytes go."""
        return self._first.room

    def buffer_updated(self, nbytes: int) -> None:
        """Read what arrived."""
        end, tunnel = self._end, self._tunnel
        if end is None or tunnel is None:
            return
        tunnel.passed(end, nbytes)
        try:
            ahead = self._first.arrived(nbytes)
        except Unreadable as refusal:
            self._stop_reading(end)
            self._message.fail(refusal)
            return
        if ahead:
            end.pass_on(ahead)
        if self._first.payload is not None:
            self._stop_reading(end)
            self._message.set(self._first.payload)

    def _stop_reading(self, end: End) -> None:
        self.deadline = None
        end.waits = True
        if not end.transport.is_closing():
            end.transport.pause_reading()

    def eof_received(self) -> bool:
        """Pass on the client's end of stream; a message that was not complete is dropped."""
        return self._end is not None and self._end.eof_received()

    def pause_writing(self) -> None:
        """The client takes bytes more slowly than they come."""
        if self._end is not None:
            self._end.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._end is not None:
            self._end.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End with the client's connection."""
        end, self._end = self._end, None
        self._leave()
        if end is not None:
            end.lost(exc)  # its last bytes were not judged, so they are not passed on

    @property
    def is_waiting(self) -> bool:
        """True if the message has not come, and the socket has not ended."""
        return self._end is not None and self._first.payload is None

    def refuse(self, refusal: Unreadable) -> None:
        """Wait for the message no longer."""
        if self._end is not None:
            self._stop_reading(self._end)
        self._message.fail(refusal)

    def expire(self) -> None:
        """The message is late."""
        self.refuse(Unreadable(POLICY, "late", LATE))
