"""Where a WebSocket's client waits until its first message has been judged.

The upstream has switched protocols and may speak; of the client's bytes only control frames go on, until whoever judges
opens the threshold. Laws:

- What is held goes on unchanged and in order, or not at all.
- No more is read than is held (:mod:`gateway.wire.first_message`), and nothing while the judge thinks: the client feels
  it as backpressure.
- The message is due within ``seconds``; judging has no deadline here.
- Who judges is told once: the message, or that there will be none.
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


class Threshold(asyncio.BufferedProtocol):
    """What a client's transport talks to before its first message has been let through.

    Attributes:
        deadline: See :mod:`~gateway.wire.deadlines`.
    """

    def __init__(self, deadlines: Deadlines, seconds: float | None) -> None:
        """`seconds` is when the message is due; None for never."""
        self._deadlines = deadlines
        self._first = FirstMessage()
        self._message: Signal[bytes | None] = Signal()
        self._tunnel: Tunnel | None = None
        self._end: End | None = None
        self.deadline = None if seconds is None else deadlines.after(seconds)

    def stand_before(self, tunnel: Tunnel, end: End) -> None:
        """Take the place of `end`, the client's in `tunnel`, which has the transport."""
        self._tunnel, self._end = tunnel, end
        self._deadlines.watched.add(self)
        self._hand_over(self)

    async def message(self) -> bytes | None:
        """Return the first message; None when the socket ends before there is one.

        Raises:
            Unreadable: there will be none that can be read, or it is late.
        """
        return await self._message

    def open(self) -> None:
        """Let the client through: what is held, and all that follows."""
        end = self._leave()
        if end is not None:
            held = self._first.held
            if held:
                end.pass_on(held)
            if end.peer.full and not end.transport.is_closing():
                end.transport.pause_reading()

    def give_up(self) -> None:
        """Take in that the socket is being closed: nothing of what is held goes on."""
        end = self._leave()
        if end is not None:
            end.drop(self._first.held)

    def _leave(self) -> End | None:
        """Give the transport to the end that it belongs to; return that, the first time."""
        end, self._end = self._end, None
        self.deadline = None
        self._deadlines.watched.discard(self)
        if end is not None:
            end.waits = False
            self._hand_over(end, end)
        self._message.set(None)
        return end

    def _hand_over(self, protocol: asyncio.BaseProtocol, end: End | None = None) -> None:
        """Let the transport talk to `protocol`; a loop notices of which kind it is when it begins to read."""
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
        """Pass on that the client sends no more: what it had begun is nothing now."""
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
            end.connection_lost(exc)

    def expire(self) -> None:
        """The message is late."""
        if self._end is not None:
            self._stop_reading(self._end)
        self._message.fail(Unreadable(POLICY, "late", LATE))
