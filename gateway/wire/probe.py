"""Probe: it sends one request of the gateway's own to an endpoint, and judges the answer.

Laws:

- A probe has a connection of its own, opened as those of exchanges are, with the same TLS. It is none of the pool's, is
  counted in none of the pool's numbers, and is closed by the probe.
- The answer is parsed as those to callers are: what callers would not be given does not pass.
- A probe ends within its time. Where the process has no descriptor left it says nothing about the endpoint.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from authcore.pause_aware import PauseAwareTimeout
from gateway.wire.descriptors import DIALS, NO_ROOM, are_descriptors_scarce
from gateway.wire.dialler import over, race
from gateway.wire.known_heads import KnownHeads
from gateway.wire.messages import ProtocolError
from gateway.wire.response_parser import ResponseParser
from gateway.wire.tls import upstream_fault

if TYPE_CHECKING:
    from gateway.wire.endpoint import Endpoint

MOST_BODY_BYTES: Final = 65_536
"""So much of a body is searched; what is wanted has to be in there."""


@dataclass(frozen=True, slots=True)
class ProbeTerms:
    """Terms of a probe: the request that it sends, and the answers that pass.

    Attributes:
        target: The request target of the GET.
        host: Its Host.
        statuses: Statuses that pass.
        body: Bytes that the body has to hold; empty if it is not looked at.
        seconds: For the whole probe.
    """

    target: bytes
    host: bytes
    statuses: frozenset[int]
    body: bytes
    seconds: float

    @property
    def request(self) -> bytes:
        """The request as it is sent."""
        return (
            b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: whatomate-gateway\r\nAccept: */*\r\n"
            b"Connection: close\r\n\r\n"
        ) % (self.target, self.host)


class Probed(NamedTuple):
    """Result of a probe.

    Attributes:
        outcome: ``ok``; or what was wrong: ``connect``, ``tls``, ``timeout``, ``reset``, ``malformed``, ``status`` or
            ``body``.
        words: What was wrong, for people; empty if nothing was.
        connected: A connection was opened, and secured if it is to be.
    """

    outcome: str
    words: str = ""
    connected: bool = True


OUTCOMES: Final = ("ok", "connect", "tls", "timeout", "reset", "malformed", "status", "body")


class _ProbeProtocol(asyncio.Protocol):
    """Protocol that receives the answer of one probe and judges it.

    Attributes:
        judged: Set to the result.
    """

    def __init__(self, terms: ProbeTerms) -> None:
        self._terms = terms
        self._reader = ResponseParser(KnownHeads())
        self._reader.expect(b"GET", upgrade=False)
        self._body = b""
        self._transport: asyncio.Transport | None = None
        self.judged: asyncio.Future[Probed] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, to pause its reading."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, as many as one turn of the loop takes, and judge what there is."""
        if self.judged.done():
            return
        self._parse(data)
        if self._reader.held and self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._parse_on)

    def _parse_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self.data_received(b"")

    def _parse(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except ProtocolError as error:
            self._judge(Probed("malformed", f"its answer is malformed: {error}"))
        else:
            self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Judge an answer that ends here, or lacks its end."""
        self._transport = None
        while self._reader.held and not self.judged.done():
            self._parse(b"")
        self._reader.ended_by_close()
        self._look()
        if isinstance(exc, ssl.SSLError):
            self._judge(Probed("tls", str(upstream_fault(exc)), connected=False))
        self._judge(Probed("reset", "it closed the connection before its answer had ended"))
        self._reader.close()

    def _look(self) -> None:
        head, terms = self._reader.final, self._terms
        if head is None:
            return
        if head.status not in terms.statuses:
            self._judge(Probed("status", f"its answer is {head.status}"))
            return
        self._body += b"".join(self._reader.pieces)
        self._reader.pieces.clear()
        if terms.body in self._body[:MOST_BODY_BYTES]:
            self._judge(Probed("ok"))
        elif self._reader.complete or len(self._body) >= MOST_BODY_BYTES:
            self._judge(Probed("body", "the body of its answer lacks what it should hold"))

    def _judge(self, probed: Probed) -> None:
        if not self.judged.done():
            self.judged.set_result(probed)


async def probe(endpoint: Endpoint, terms: ProbeTerms) -> Probed | None:
    """Probe an endpoint; return the result, or None if the process has no descriptor left for it."""
    if are_descriptors_scarce():
        return None
    connected = False
    try:
        async with PauseAwareTimeout(terms.seconds):
            transport, answer = await _opened(endpoint, terms)
            connected = True
            try:
                transport.write(terms.request)
                return await answer.judged
            finally:
                transport.abort()
    except TimeoutError:
        words = "it did not answer in time" if connected else "it did not accept a connection in time"
        return Probed("timeout", words, connected)
    except ssl.SSLError as error:
        return Probed("tls", str(upstream_fault(error)), connected=False)
    except OSError as error:
        if error.errno in NO_ROOM:
            return None
        return Probed("connect", f"it cannot be reached: {error.strerror or error}", connected=False)


async def _opened(endpoint: Endpoint, terms: ProbeTerms) -> tuple[asyncio.Transport, _ProbeProtocol]:
    """Open a connection to an endpoint."""
    tls, host = endpoint.authority.tls, endpoint.authority.host
    DIALS.under_way += 1
    try:
        connected = await race([endpoint.destination], [])
    finally:
        DIALS.under_way -= 1
    if tls is None:
        return await over(connected, lambda: _ProbeProtocol(terms))
    return await over(
        connected, lambda: _ProbeProtocol(terms), context=tls.context, server_hostname=tls.server_name(host)
    )
