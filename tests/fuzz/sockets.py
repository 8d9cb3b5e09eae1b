"""A tunnel with a threshold, on transports that are lists: a client sends what is chosen, and what goes on is kept."""

from __future__ import annotations

import asyncio

from gateway.wire.deadlines import Deadlines
from gateway.wire.drive import CallbackDrive
from gateway.wire.first_message import Unreadable
from gateway.wire.first_message_gate import FirstMessageGate
from gateway.wire.frames import Frames
from gateway.wire.tunnel import Tunnel
from gateway.wire.websocket_auth import read_auth
from tests.fuzz.stage import Wire

GOOD = b"good"
"""The one token that opens."""


class Given(Wire):
    """A transport that is given away."""

    protocol: asyncio.BaseProtocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class Owner:
    """Protocol that had the transport before the tunnel."""

    def __init__(self, *, full: bool) -> None:
        self.full = full

    def connection_lost(self, exc: Exception | None) -> None:
        assert exc is None


class Scene:
    """A client that nobody has authenticated, an upstream, and a judge who lets in who says ``good``.

    Attributes:
        sent: What was delivered of the client's bytes.
        let_in: The judge has opened the threshold.
    """

    def __init__(self) -> None:
        self.deadlines = Deadlines()
        self.near, self.far = Given(), Given()
        self.tunnel = Tunnel(self.deadlines, 60)
        self.gate = FirstMessageGate(self.deadlines, 5)
        self.tunnel.join((self.near, Owner(full=False)), (self.far, Owner(full=False)), gate=self.gate)
        self.sent = b""
        self.let_in = False
        self.escaped: list[Exception | None] = []
        CallbackDrive(self._judge(), self.escaped.append).start()

    async def _judge(self) -> None:
        try:
            message = await self.gate.message()
            good = message is not None and read_auth(message) == GOOD
        except Unreadable as refusal:
            self.tunnel.close(refusal.code, str(refusal), refusal.reason)
        else:
            if message is None:
                return
            self.let_in = good
            if good:
                self.gate.open()
            else:
                self.tunnel.close(1008, "no", "no")

    def client_sends(self, piece: bytes) -> None:
        """Deliver bytes as a transport does: into the buffer that it is shown, and none while it is not read."""
        while piece and self.near.reading and not self.near.closing:
            protocol = self.near.protocol
            if isinstance(protocol, asyncio.BufferedProtocol):
                room = memoryview(protocol.get_buffer(-1))
                assert 0 < len(room) <= 16_384
                size = min(len(room), len(piece))
                room[:size] = piece[:size]
                room.release()
                self.sent += piece[:size]
                protocol.buffer_updated(size)
                piece = piece[size:]
            else:
                assert isinstance(protocol, asyncio.Protocol)
                self.sent += piece
                protocol.data_received(piece)
                return

    def end(self) -> None:
        """Let both sides leave; see that nothing is left, and that nothing went on that should not have."""
        went_on = bytes(self.far.written)
        if self.let_in:
            assert went_on == self.sent
        else:
            assert_only_control(went_on)
        for wire in (self.near, self.far):
            protocol = wire.protocol
            wire.closing = True
            assert isinstance(protocol, asyncio.BaseProtocol)
            protocol.connection_lost(None)
        assert self.escaped == [None]
        assert not self.deadlines.watched


def assert_only_control(stream: bytes) -> None:
    """Of a client that was not let in, control frames may have gone on, whole, and the gateway's Close."""
    frames, at = Frames(), 0
    while at < len(stream):
        assert stream[at] & 0x0F >= 8, stream[at:]
        at = frames.feed_one(stream, at)
    assert frames.between


def first_bytes(pieces: list[bytes]) -> None:
    """Play a scene in which the client sends `pieces`."""

    async def play() -> None:
        scene = Scene()
        for piece in pieces:
            scene.client_sends(piece)
        scene.end()

    with asyncio.Runner() as runner:  # a tunnel that closes needs a clock
        runner.run(play())
