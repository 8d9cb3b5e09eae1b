"""TLS of the listeners: it is built from the settings, follows the files, and is published."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from authcore.identity_headers import CLIENT_CERTIFICATE
from authcore.moments import moment
from gateway.logs.limited import LimitedEvents
from gateway.proxy.redirect import Redirect
from gateway.wire.tls_acceptor import TlsAcceptor
from gateway.wire.tls_server import UNUSABLE, ServerTls, ServerTlsTerms, client_lines

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from config.settings import Settings
    from gateway.assembly.upstreams import Upstreams
    from gateway.metrics import Metrics
    from gateway.proxy.pipeline import Pipeline
    from gateway.wire.listener import Listener

EXPIRED_SECONDS: Final = 3600.0
"""A certificate in use that has expired is logged this often."""

log = structlog.get_logger()


class ListenerTls:
    """TLS of the public listener.

    Attributes:
        server: Its contexts; None without TLS.
        admin: The contexts of the admin listener; None without TLS.
        upstreams: The upstreams, whose client certificates are published too; None while there are none yet.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Make the contexts, and publish the metrics.

        Raises:
            OSError: a file cannot be read, or a key is not its certificate's.
            FileUnusable: a certificate cannot be read.
        """
        self._settings = settings.tls
        self.upstreams: Upstreams | None = None
        self.server = _server_of(settings)
        self.admin = admin_tls(settings)
        self._acceptor: TlsAcceptor | None = None
        self._events = LimitedEvents()
        self._expired = LimitedEvents(EXPIRED_SECONDS)
        self._publish(metrics)

    @property
    def acceptor(self) -> Callable[[Listener, list[socket.socket]], TlsAcceptor] | None:
        """Return the maker of the acceptor of a listener's sockets; None without TLS."""
        return None if self.server is None else self._accept

    def _accept(self, listener: Listener, sockets: list[socket.socket]) -> TlsAcceptor:
        if self.server is None:
            raise RuntimeError("there is no certificate")
        listener.secured = lambda transport: client_lines(transport, CLIENT_CERTIFICATE)
        self._acceptor = TlsAcceptor(
            listener,
            self.server,
            sockets,
            seconds=self._settings.handshake_seconds,
            most=listener.limits.handshakes,
        )
        return self._acceptor

    @property
    def admin_context(self) -> ssl.SSLContext | None:
        """Return the context of the admin listener, which stays valid as its files change; None without TLS."""
        return None if self.admin is None else self.admin.entry

    async def look(self, upstreams: Upstreams) -> None:
        """Read the files again if they have changed, those of `upstreams` too; files that do not fit change nothing.

        A certificate in use that has expired is logged, from the first look on.
        """
        await upstreams.look()
        for name, server in (("GATEWAY_LISTEN", self.server), ("GATEWAY_ADMIN_LISTEN", self.admin)):
            if server is not None:
                await look_at(server, name, self._events)
        now = time.time()
        for file, ends in [one for expires in self._expiries() for one in expires.items()]:
            if ends <= now:
                self._expired.warning(
                    "certificate_expired",
                    key=file,
                    file=file,
                    expired_at=moment(ends).isoformat(),
                    todo="renew it; a changed file is taken within seconds",
                )

    def redirecting(self, listener: Listener, pipeline: Pipeline, metrics: Metrics) -> Listener:
        """Return the listener of the port that redirects: it shares the limits of `listener`."""
        redirect = Redirect(pipeline.serve, pipeline.recorder, metrics, self._settings.redirect_port)
        return replace(listener, serve=redirect.serve, secured=None, draining=True)

    def _publish(self, metrics: Metrics) -> None:
        metrics.read_gauges(
            "gateway_tls_certificate_expiry_timestamp_seconds",
            "When the certificates in use end, by their files.",
            ("file",),
            lambda: {(file,): at for expires in self._expiries() for file, at in expires.items()},
        )
        metrics.read_gauge(
            "gateway_tls_handshakes_under_way",
            "TLS handshakes with clients under way.",
            lambda: 0 if self._acceptor is None else self._acceptor.under_way,
        )
        metrics.read_counters(
            "gateway_tls_handshakes",
            "Complete TLS handshakes with clients, by whether an earlier one was resumed.",
            ("resumed",),
            self._handshakes,
        )
        metrics.read_counters(
            "gateway_tls_handshake_failures",
            "Connections to the TLS port without a complete handshake, by the reason.",
            ("reason",),
            lambda: (
                {}
                if self._acceptor is None
                else {(reason,): number for reason, number in self._acceptor.failures.items()}
            ),
        )

    def _expiries(self) -> Iterator[Mapping[str, float]]:
        """Yield when certificates end, by their files: those of the listeners, and ours towards upstreams."""
        for server in (self.server, self.admin):
            if server is not None:
                yield server.expires
        if self.upstreams is not None:
            for upstream in self.upstreams.now.values():
                if upstream.pool.tls is not None:
                    yield upstream.pool.tls.expires

    def _handshakes(self) -> dict[tuple[str, ...], float]:
        acceptor = self._acceptor
        if acceptor is None:
            return {}
        return {("yes",): acceptor.resumed, ("no",): acceptor.handshakes - acceptor.resumed}


def _server_of(settings: Settings) -> ServerTls | None:
    tls = settings.tls
    if not tls.cert_file:
        return None
    return ServerTls(
        ServerTlsTerms(
            tuple(zip(tls.cert_file, tls.key_file, strict=True)),
            min_version=tls.min_version,
            client_auth=tls.client_auth,
            authorities=tls.client_ca_file,
        )
    )


def admin_tls(settings: Settings) -> ServerTls | None:
    """Return the contexts of the admin listener; None if it speaks no TLS.

    Raises:
        OSError: a file cannot be read, or the key is not the certificate's.
        FileUnusable: the certificate cannot be read.
    """
    admin = settings.admin
    if admin.tls_cert_file is None or admin.tls_key_file is None:
        return None
    return ServerTls(ServerTlsTerms(((admin.tls_cert_file, admin.tls_key_file),)))


async def look_at(server: ServerTls, name: str, events: LimitedEvents) -> None:
    """Reload contexts whose files have changed; log it, and report by `events` why one cannot be reloaded."""
    try:
        taken = await asyncio.to_thread(server.look)
    except UNUSABLE as error:
        events.warning(
            "certificates_not_taken",
            key=name,
            listener=name,
            problem=str(error),
            kept="the certificates that were in use",
        )
    else:
        if taken:
            log.info("certificates_taken", listener=name)
