"""TLS contexts towards upstreams: made from files, made anew when the files change, resuming handshakes.

Laws:

- A context is made whole or not at all: a file that cannot be read, or a key that is not the certificate's, leaves the
  last good context in use. Open connections keep the context that they began with.
- A handshake is resumed only with a session of the same context and the same server name, so it was proved by the same
  authorities and for the same name.
"""

from __future__ import annotations

import ssl
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from config.certificates import FileUnusable, read_certificate
from gateway.wire.faults import CUT_OFF, UpstreamFault, UpstreamLost, UpstreamTlsFailed
from gateway.wire.tls_files import load_authorities, load_pair

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from gateway.wire.write_buffer import WriteBuffer

    State = tuple[tuple[int, ...] | None, ...]

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Suites of TLS 1.2: ephemeral keys and authenticated encryption alone. Those of 1.3 all are."""

_BY_VERIFY_CODE: Final = {
    **dict.fromkeys((62, 64), "name"),
    10: "expired",
    9: "not_yet_valid",
    **dict.fromkeys((2, 18, 19, 20, 21), "unknown_ca"),
}
"""OpenSSL's ``X509_V_ERR_*``, by what an operator would say."""

_BY_REASON: Final = {
    **dict.fromkeys(
        ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"), "no_tls"
    ),
    **dict.fromkeys(
        ("TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"), "version"
    ),
    **dict.fromkeys(
        (
            *("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE", "TLSV1_ALERT_UNKNOWN_CA"),
            *("SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
            *("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "TLSV1_ALERT_ACCESS_DENIED"),
        ),
        "client_certificate",
    ),
}

_MEANINGS: Final = {
    "name": "its certificate is for another name",
    "expired": "its certificate has expired",
    "not_yet_valid": "its certificate is not valid yet",
    "unknown_ca": "its certificate is of an authority that is not accepted",
    "certificate": "its certificate is not accepted",
    "no_tls": "it does not speak TLS on this port",
    "version": "no version of TLS is spoken by both",
    "client_certificate": "it does not accept our client certificate, or wants one",
    "handshake": "the handshake failed",
}
"""Every kind of failure, with its meaning."""


def failure_kind(error: ssl.SSLError) -> str:
    """Return the kind of a failed handshake: a key of the table of meanings."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, "certificate")
    return _BY_REASON.get(error.reason or "", "handshake")


def upstream_fault(error: ssl.SSLError) -> UpstreamTlsFailed:
    """Return the fault of a failed handshake, with what was wrong in words and in OpenSSL's own."""
    kind = failure_kind(error)
    own = getattr(error, "verify_message", "") or error.reason or str(error)
    return UpstreamTlsFailed(f"TLS to the upstream failed: {_MEANINGS[kind]} ({own})", kind)


def loss(error: Exception | None, *, at_first: bool) -> UpstreamFault:
    """Return the fault of a connection that was lost with `error`, before anything had arrived if `at_first`.

    TLS 1.3 refuses a client's certificate after the handshake, when its request has been sent.
    """
    if at_first and isinstance(error, ssl.SSLError):
        return upstream_fault(error)
    return UpstreamLost(CUT_OFF)


def ended_by_peer(buffer: WriteBuffer | None) -> bool:
    """Return whether a connection that has ended was ended by its peer, not cut off: True for one without TLS.

    A FIN proves nothing under TLS, since anybody on the way can send one; the peer's ``close_notify`` does (RFC 8446
    section 6.1).
    """
    secured: ssl.SSLObject | None = None if buffer is None else buffer.transport.get_extra_info("ssl_object")
    if secured is None:
        return True
    try:
        return secured.read(1) == b""
    except ssl.SSLZeroReturnError:
        return True
    except (ssl.SSLError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class UpstreamTlsTerms:
    """Terms of TLS towards an upstream; files by their paths.

    Attributes:
        authorities: PEM file of the accepted authorities; None for the system's.
        server_name: The name that the certificate has to have; None for the host of the URL.
        certificate: PEM file of the client certificate; None for none.
        key: PEM file of its key.
        min_version: ``1.2`` or ``1.3``.
        insecure: Any certificate is accepted.
    """

    authorities: str | None = None
    server_name: str | None = None
    certificate: str | None = None
    key: str | None = None
    min_version: str = "1.2"
    insecure: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all files."""
        return tuple(path for path in (self.authorities, self.certificate, self.key) if path is not None)


class _Last:
    """Last connections of one context.

    Attributes:
        by_name: The last connection to each server name: TLS 1.3 gives its tickets some time after the handshake.
    """

    def __init__(self) -> None:
        self.by_name: dict[str | None, ssl.SSLObject] = {}


class _ResumingContext(ssl.SSLContext):
    """Client context that offers the last session of a server name, on whatever event loop.

    Each connection refers to the context. A context that referred to them would be a cycle that no collection finds,
    since CPython's collector does not look into connections: it would stay in memory when its files have changed.
    """

    last: weakref.ref[_Last]

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Make the object of a new connection, as the event loop asks for it."""
        every = self.last()
        last = None if every is None else every.by_name.get(named.get("server_hostname"))
        if last is not None and named.get("session") is None:
            named["session"] = last.session
        return super().wrap_bio(*arguments, **named)


class UpstreamTls:
    """TLS towards one upstream.

    Attributes:
        handshakes: Number of complete handshakes so far, the resumed ones included.
        resumed: Number of resumed handshakes.
        expires: POSIX seconds at which the client certificate in use ends, by its file; empty without one.
    """

    def __init__(self, terms: UpstreamTlsTerms) -> None:
        """Make the context.

        Raises:
            OSError: a file cannot be read or used.
        """
        self._terms = terms
        self.handshakes = self.resumed = 0
        self._watch = FileWatch(terms.files)
        self._make()

    def server_name(self, host: str) -> str:
        """Return the name that the certificate of an endpoint at `host` has to have.

        A final dot is left out: it ends the search for a name, and is part of no certificate (RFC 6066 section 3).
        """
        return (self._terms.server_name or host).removesuffix(".")

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """Count a handshake, and remember its session for the next one."""
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is None:
            return
        self.handshakes += 1
        self.resumed += bool(secured.session_reused)
        if secured.context is self.context:
            self._last.by_name[secured.server_hostname] = secured

    def look(self) -> bool:
        """Make the context anew if a file has changed; return whether it was made.

        Raises:
            OSError: a file cannot be read or used; the last context stays in use.
        """
        return self._watch.look(self._make)

    def _make(self) -> None:
        terms = self._terms
        last = _Last()
        self.context = _client_context(terms, last)
        self._last = last
        self.expires: dict[str, float] = {}
        if terms.certificate is not None:
            with suppress(FileUnusable):  # it is in use, so it can be read by whom it concerns
                self.expires[terms.certificate] = read_certificate(Path(terms.certificate)).expires


class FileWatch:
    """Watch over the files that something is made from.

    Law: the state of the files is taken before they are read, so that a change meanwhile is found by the next look. A
    making that failed is repeated at every look.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)
        self._made_from: State | None = self._state()

    def look(self, make: Callable[[], None]) -> bool:
        """Call `make` if a file has changed since the last good call; return whether it was called."""
        state = self._state()
        if state == self._made_from:
            return False
        self._made_from = None
        make()
        self._made_from = state
        return True

    def _state(self) -> State:
        return tuple(_state_of(path) for path in self._paths)


def _state_of(path: str) -> tuple[int, ...] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _client_context(terms: UpstreamTlsTerms, last: _Last) -> _ResumingContext:
    context = _ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.last = weakref.ref(last)
    context.minimum_version = VERSIONS[terms.min_version]
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    if terms.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif terms.authorities is None:
        context.load_default_certs()
    else:
        load_authorities(context, terms.authorities)
    if terms.certificate is not None and terms.key is not None:
        load_pair(context, terms.certificate, terms.key)
    return context
