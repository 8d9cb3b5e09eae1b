"""Acceptor of TLS connections: it bounds handshakes in time and number, and counts those that fail by their reason.

Laws:

- A connection is nobody's before its handshake is complete: no limit of clients counts it, and nothing of it is parsed.
- A handshake has a deadline from the accept to its end. Of more than `most` under way the oldest gives way: it has had
  the longest time, and one that needs two round trips is seldom the oldest.
- No connection is accepted by a descriptor of the reserve (:mod:`gateway.wire.descriptors`).
- A PROXY header of a trusted network comes before the handshake, in clear, and within the same deadline.
- A client that speaks HTTP to this port is answered 400 in HTTP. One that speaks anything else is closed.
- A client whose handshake fails is sent the alert that says why.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from authcore.pause_aware import PauseAwareTimeout
from gateway.wire.descriptors import NO_ROOM, are_descriptors_scarce
from gateway.wire.farewell import END_SECONDS
from gateway.wire.proxy_protocol import MOST_BYTES, MalformedHeader, parse
from gateway.wire.tls_server import alert_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.wire.listener import Listener
    from gateway.wire.tls_server import ServerTls

HANDSHAKE: Final = 0x16
"""First byte of a TLS record with a handshake (RFC 8446 section 5.1)."""
PAUSE_SECONDS: Final = 0.5
"""Pause before the next accept, where the system refused one or only the reserve of descriptors is left."""
HANDSHAKE_DESCRIPTORS: Final = 2
"""Descriptors of a handshake: that of its connection, and a duplicate by which the alert is sent if it fails."""
_AT_ONCE: Final = 64
_LINGER_SECONDS: Final = 1.0
_PLAIN: Final = b'{"status":"error","message":"This port speaks TLS; use https://","data":null}'
_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(_PLAIN), _PLAIN)
)
_REASONS: Final = {
    **dict.fromkeys(("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "TLSV1_ALERT_PROTOCOL_VERSION"), "version"),
    "NO_SHARED_CIPHER": "cipher",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "client_certificate_missing",
    **dict.fromkeys(
        (
            *("TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
            *("SSLV3_ALERT_CERTIFICATE_EXPIRED", "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
        ),
        "not_trusted",
    ),
}


class TlsAcceptor:
    """Acceptor of the TLS connections of a listener; it is closed as an ``asyncio.Server`` is.

    Attributes:
        sockets: The listening sockets.
        handshakes: Number of complete handshakes, the resumed ones included.
        resumed: Number of resumed handshakes.
        failures: Number of connections without a complete handshake, by the reason.
    """

    def __init__(
        self,
        listener: Listener,
        tls: ServerTls,
        sockets: Iterable[socket.socket],
        *,
        seconds: float,
        most: int,
    ) -> None:
        """Accept for `listener` from now on, on sockets that listen.

        A handshake has `seconds`, and `most` are under way at a time.
        """
        self._listener = listener
        self._tls = tls
        self._seconds = seconds
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._opening: dict[asyncio.Task[None], None] = {}
        self.sockets = tuple(sockets)
        self.handshakes = self.resumed = 0
        self.failures: dict[str, int] = {}
        self._closed = False
        for listening in self.sockets:
            listening.settimeout(0)
            self._loop.add_reader(listening, self._accept, listening)

    @property
    def under_way(self) -> int:
        """Number of handshakes under way."""
        return len(self._opening)

    def close(self) -> None:
        """Stop accepting, and end the handshakes under way; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for listening in self.sockets:
            self._loop.remove_reader(listening)
            listening.close()
        for task in list(self._opening):
            task.cancel()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if are_descriptors_scarce():
                self._pause(listening)
                return
            try:
                plain, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue
            except OSError:  # too many open files: a later turn may find some closed
                self._pause(listening)
                return
            plain.settimeout(0)
            if len(self._opening) >= self._most:
                oldest = next(iter(self._opening))
                del self._opening[oldest]
                oldest.cancel()
                self._failed("displaced")
            task = self._loop.create_task(self._open(plain, str(address[0])))
            self._opening[task] = None
            task.add_done_callback(self._ended)

    def _pause(self, listening: socket.socket) -> None:
        self._failed("refused_by_system")
        self._loop.remove_reader(listening)
        self._loop.call_later(PAUSE_SECONDS, self._go_on, listening)

    def _go_on(self, listening: socket.socket) -> None:
        if not self._closed:
            self._loop.add_reader(listening, self._accept, listening)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._opening.pop(task, None)

    def _failed(self, reason: str) -> None:
        self.failures[reason] = self.failures.get(reason, 0) + 1

    async def _open(self, plain: socket.socket, peer: str) -> None:
        """Open one connection, or count why it was not opened."""
        under: socket.socket | None = None
        opened = False
        try:
            async with PauseAwareTimeout(self._seconds):
                client = await self._preface(plain, peer)
                first = await self._first_byte(plain)
                if first == HANDSHAKE:
                    # The event loop closes its own at the first error, before the alert was sent.
                    under = plain.dup()
                    await self._shake_hands(plain, client)
                    opened = True
                else:
                    await self._refuse(plain, first)
        except ssl.SSLError as error:
            self._failed(_reason(error))
            if under is not None:
                with suppress(OSError):
                    under.send(alert_of(error))
                    under.shutdown(socket.SHUT_WR)
        except MalformedHeader as error:
            self._failed("preface")
            self._listener.unprefaced("malformed", str(error), peer)
        except ValueError:
            # uvloop asks for the client's certificate, which has a name that is not ASCII.
            self._failed("client_certificate")
        except TimeoutError:
            self._failed("timeout")
        except OSError as error:
            self._failed("refused_by_system" if error.errno in NO_ROOM else "closed")
        finally:
            if under is not None:
                under.close()
            if not opened:
                plain.close()

    async def _refuse(self, plain: socket.socket, first: int | None) -> None:
        """Count a connection that begins no handshake; answer one whose first byte is that of an HTTP request."""
        if first is None:
            self._failed("closed")
        elif _is_letter(first):
            self._failed("plain_http")
            await self._answer_plainly(plain)
        else:
            self._failed("no_tls")

    async def _preface(self, plain: socket.socket, peer: str) -> str:
        """Take the PROXY header off a connection whose peer writes one; return the client's address, or nothing."""
        if self._listener.prefaced is None or not self._listener.prefaced(peer):
            return ""
        taken = b""
        while True:
            await self._readable(plain)
            there = plain.recv(MOST_BYTES, socket.MSG_PEEK)
            if not there:
                raise ConnectionResetError
            parsed = parse(taken + there)
            if parsed is not None:
                address, length = parsed
                plain.recv(length - len(taken))  # what is behind it is TLS
                return address
            taken += plain.recv(len(there))

    async def _first_byte(self, plain: socket.socket) -> int | None:
        """Wait for the first byte and leave it where it is; None if the client closes first."""
        await self._readable(plain)
        first = plain.recv(1, socket.MSG_PEEK)
        return first[0] if first else None

    async def _readable(self, plain: socket.socket) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(plain, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            self._loop.remove_reader(plain)

    async def _shake_hands(self, plain: socket.socket, client: str) -> None:
        transport, _ = await self._loop.connect_accepted_socket(
            cast("Callable[[], asyncio.Protocol]", partial(self._listener.connection, client)),
            plain,
            ssl=self._tls.context,
            ssl_handshake_timeout=self._seconds,
            ssl_shutdown_timeout=END_SECONDS,
        )
        self.handshakes += 1
        secured: ssl.SSLObject = transport.get_extra_info("ssl_object")
        self.resumed += bool(secured.session_reused)

    async def _answer_plainly(self, plain: socket.socket) -> None:
        await self._loop.sock_sendall(plain, _ANSWER)
        plain.shutdown(socket.SHUT_WR)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):  # a reset would destroy the answer on its way
                while await self._loop.sock_recv(plain, 65_536):
                    pass


def _is_letter(first: int) -> bool:
    return chr(first).isascii() and chr(first).isalpha()


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "client_certificate"
    return _REASONS.get(error.reason or "", "handshake")
