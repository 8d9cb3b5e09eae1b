"""WebSocket tunnel: after a 101 it passes bytes both ways until a side ends (RFC 9110 section 7.8, RFC 6455).

Both transports are taken from their connections and given to the two ends of a :class:`Tunnel`. Laws:

- Bytes are not changed: what arrives at one end is written at the other, in order, with backpressure. Frame boundaries
  are tracked, so that the gateway can close a socket between two frames.
- A socket that is closed here gets a Close frame on both sides (RFC 6455 section 7.1.2), and nothing behind it. A side
  in the middle of a frame gets it at the frame's end. A side that has not ended within a second is dropped.
- When one end finishes sending (FIN), only that is passed on. The tunnel is over when both have finished, or one is
  lost. Where a side speaks TLS, there is no end of one direction alone: either side's end is the end of both.
- The connections' ``connection_lost`` is called when their transports are gone, as if they still owned them.
- A tunnel in which no bytes pass in either direction for ``idle_seconds`` is closed. There is no limit on its total
  time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.wire.deadlines import SWEEP_SECONDS
from gateway.wire.drive import Signal
from gateway.wire.ends import End
from gateway.wire.farewell import close
from gateway.wire.frames import GOING_AWAY, close_frame
from gateway.wire.states import in_states
from gateway.wire.tunnel_states import GONE, HALF, JOIN, NEW, OVER, PART, PARTING, TUNNEL

if TYPE_CHECKING:
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.first_message_gate import FirstMessageGate
    from gateway.wire.flow import Owner

FRAME_SECONDS: Final = 0.5
"""How long an unfinished frame may take to end when its socket is closed here."""
ANSWER_SECONDS: Final = 0.9
"""How long, in total, the client may take to answer a Close frame."""


class Tunnel:
    """Tunnel: two transports joined.

    Attributes:
        up: Bytes passed from the client to the upstream.
        down: Bytes passed from the upstream to the client.
        idled: It ended because no bytes passed.
        parted: Why it was closed here; empty if it was not.
    """

    def __init__(self, deadlines: Deadlines, idle_seconds: float) -> None:
        self._deadlines = deadlines
        self._idle_seconds = idle_seconds
        self._passed_at = 0.0  # the sweeper's clock when bytes passed last
        self._state: int = NEW
        self._ended: Signal[None] = Signal()
        self._gate: FirstMessageGate | None = None
        self.deadline: float | None = None
        self.up = 0
        self.down = 0
        self.idled = False
        self.parted = ""

    def __repr__(self) -> str:
        return f"<tunnel {self.state}, {self.up} bytes up, {self.down} bytes down>"

    @property
    def state(self) -> str:
        """The name of the tunnel's state."""
        return TUNNEL.states[self._state]

    def join(
        self,
        client: tuple[asyncio.Transport, Owner],
        upstream: tuple[asyncio.Transport, Owner],
        early: bytes = b"",
        gate: FirstMessageGate | None = None,
    ) -> None:
        """Start passing bytes between two transports, each given with the connection that owned it.

        `early` holds the bytes that the upstream sent behind its 101; they are written to the client already. With a
        `gate`, the client's bytes wait until it opens.
        """
        self._state = TUNNEL.after(self._state, JOIN)
        near, far = End(self, *client), End(self, *upstream)
        far.frames.feed(early)
        near.peer, far.peer = far, near
        self._near = near
        self._far = far
        self._deadlines.watched.add(self)
        self.touch()
        self.deadline = self._due()  # bytes do not move it: expire() does
        for end in (near, far):
            end.transport.set_protocol(end)
        if gate is not None:
            self._gate = gate
            gate.stand_before(self, near)
        for end, full in ((near, upstream[1].full), (far, client[1].full)):
            end.peer.full = full
            if end.transport.is_closing():
                end.peer.finish()
            elif full:
                # pause_writing() was called before and is not called again; resume_writing() continues.
                end.transport.pause_reading()
            else:
                end.transport.resume_reading()

    def end(self, transport: asyncio.Transport) -> None:
        """Close one of the transports when its peer has taken everything."""
        close(transport, self._deadlines)

    async def ended(self) -> None:
        """Return when both transports are gone."""
        await self._ended

    def touch(self) -> None:
        """Restart the idle timeout: bytes have passed."""
        self._passed_at = self._deadlines.now

    def _due(self) -> float:
        """Return when the idle timeout ends if no more bytes pass, rounded up by one sweep (:class:`Deadlines`)."""
        return self._passed_at + self._idle_seconds + SWEEP_SECONDS

    def passed(self, end: End, count: int) -> None:
        """Count bytes that arrived at `end`."""
        if end is self._near:
            self.up += count
        else:
            self.down += count
        self.touch()

    def expire(self) -> None:
        """Drop both transports if no bytes passed for too long."""
        due = self._due()
        if due > self._deadlines.now:
            self.deadline = due
            return
        self.idled = True
        self.abort()

    def abort(self) -> None:
        """Drop both transports at once."""
        self._near.transport.abort()
        self._far.transport.abort()

    def leave(self) -> None:
        """Close the socket because the gateway is stopping."""
        self.close(GOING_AWAY, "the gateway is stopping", "drained")

    def close(self, code: int, text: str, why: str) -> None:
        """Close the socket on both sides; the client gets `code` and `text`, and `why` is for the log record."""
        if self._state >= PARTING:
            return
        self.parted = why
        half = self._state == HALF
        self._state = TUNNEL.after(self._state, PART)
        if half:
            self.abort()
            return
        self._far.part(close_frame(code, text, masked=False))
        self._near.part(close_frame(GOING_AWAY, "", masked=True))
        if self._gate is not None:
            self._gate.give_up()
        loop = asyncio.get_running_loop()
        loop.call_later(FRAME_SECONDS, self._cut)
        loop.call_later(ANSWER_SECONDS, self.hang_up)

    def _cut(self) -> None:
        """Stop waiting for unfinished frames to end."""
        if not self._far.parted:
            self.abort()  # the client cannot be sent a Close frame in the middle of a frame
        elif not self._near.parted:
            self._far.transport.abort()

    def hang_up(self) -> None:
        """End both connections: the client has been sent its Close frame, and has answered or had time to."""
        for end in (self._near, self._far):
            end.hang_up()

    def answered(self, end: End) -> None:
        """End both connections if `end` is the client and has answered its Close frame."""
        if end is self._near and self._far.parted and end.has_answered:
            self.hang_up()

    def gone(self) -> None:
        """Count a lost transport; the tunnel has ended when both are lost."""
        self._state = TUNNEL.after(self._state, GONE)
        if self._state == OVER:
            self._deadlines.watched.discard(self)
            self._near.let_go()
            self._far.let_go()
            self._ended.set(None)


class Tunnels:
    """Registry of the gateway's open tunnels.

    Attributes:
        open_now: The open tunnels.
        opened: The number of tunnels opened so far.
    """

    def __init__(self, deadlines: Deadlines, idle_seconds: float) -> None:
        self._deadlines = deadlines
        self._idle_seconds = idle_seconds
        self.open_now: set[Tunnel] = set()
        self.opened = 0

    def __repr__(self) -> str:
        states = "".join(f", {count} {state}" for state, count in in_states(self.open_now).items())
        return f"<tunnels: {len(self.open_now)}{states}>"

    def open(self) -> Tunnel:
        """Register and return a new tunnel, which is then joined."""
        tunnel = Tunnel(self._deadlines, self._idle_seconds)
        self.open_now.add(tunnel)
        self.opened += 1
        return tunnel

    def ended(self, tunnel: Tunnel) -> None:
        """Unregister a tunnel."""
        self.open_now.discard(tunnel)

    def abort(self) -> None:
        """Drop every tunnel at once."""
        for tunnel in list(self.open_now):
            tunnel.abort()
