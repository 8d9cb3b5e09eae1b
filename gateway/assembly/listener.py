"""Builder of the public listener: it fits the limits of connections and handshakes to the file descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from authcore.networks import network
from gateway.logs.limited import LimitedEvents
from gateway.proxy.forwarded import Origins
from gateway.wire.descriptors import RESERVE, descriptor_limit
from gateway.wire.limits import MOST_REFUSED, ClientLimits
from gateway.wire.listener import Listener
from gateway.wire.proxy_protocol import REFUSED
from gateway.wire.tls_acceptor import HANDSHAKE_DESCRIPTORS

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.metrics import Metrics
    from gateway.proxy.pipeline import Pipeline
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.write_buffer import WriteBatch

_SHARE_OF_REFUSED: Final = 8
_SHARE_OF_HANDSHAKES: Final = 8

log = structlog.get_logger()


class Fitted(NamedTuple):
    """Numbers of connections that the descriptors suffice for.

    Attributes:
        clients: Client connections at most.
        refused: Refused connections at most that stay open until their answer is read.
        handshakes: TLS handshakes under way at most; 0 without TLS.
    """

    clients: int
    refused: int
    handshakes: int


def fitted_connections(settings: Settings) -> Fitted:
    """Return how many connections there may be; fewer than the settings where descriptors are too few.

    A client connection takes one descriptor, as do an upstream connection and a refused connection that lingers. A TLS
    handshake takes two. Refused connections get at most an eighth of the descriptors, and so do handshakes. Upstream
    connections get what their setting allows, but at most half of the rest.
    """
    wanted, limit = settings.limit.connections, descriptor_limit()
    handshakes = settings.tls.handshakes if settings.tls.cert_file else 0
    if limit is None:
        return Fitted(wanted, MOST_REFUSED, handshakes)
    upstreams, apart = settings.upstream.connections, RESERVE + settings.database.pool_max
    enough = wanted + upstreams + MOST_REFUSED + HANDSHAKE_DESCRIPTORS * handshakes + apart
    room = max(limit - apart, 1)
    refused = min(MOST_REFUSED, room // _SHARE_OF_REFUSED)
    fitting_handshakes = min(handshakes, max(room // (_SHARE_OF_HANDSHAKES * HANDSHAKE_DESCRIPTORS), 1))
    room -= refused + HANDSHAKE_DESCRIPTORS * fitting_handshakes
    fitting = min(wanted, max(room - min(upstreams, room // 2), 1))
    for setting, asked, fitted in (
        ("GATEWAY_LIMIT_CONNECTIONS", wanted, fitting),
        ("GATEWAY_TLS_HANDSHAKES", handshakes, fitting_handshakes),
    ):
        if fitted < asked:
            log.warning(
                "connections_fitted",
                setting=setting,
                wanted=asked,
                fitted=fitted,
                descriptors=limit,
                advice=f"raise the hard limit of open files (ulimit -Hn, LimitNOFILE=) above {enough}, or lower the "
                "setting",
            )
    return Fitted(fitting, refused, fitting_handshakes)


def build_listener(
    settings: Settings, pipeline: Pipeline, deadlines: Deadlines, write_batch: WriteBatch, metrics: Metrics
) -> Listener:
    """Build the state that the public listener's connections share."""
    limit, timeout, proxy = settings.limit, settings.timeout, settings.proxy
    fitted = fitted_connections(settings)
    limits = ClientLimits(
        head_bytes=limit.head_bytes,
        fields=limit.fields,
        target_bytes=limit.target_bytes,
        connections=fitted.clients,
        refused=fitted.refused,
        handshakes=fitted.handshakes,
        connections_per_address=limit.connections_per_address,
        head_seconds=timeout.head_seconds,
        idle_seconds=timeout.idle_seconds,
        body_seconds=timeout.body_seconds,
        write_seconds=timeout.write_seconds,
    )
    refused = metrics.counter(
        "gateway_proxy_protocol_refused", "Connections closed for want of a good PROXY header.", "reason"
    )
    for reason in REFUSED:
        refused.labels(reason)
    events = LimitedEvents()

    def unprefaced(reason: str, why: str, peer: str) -> None:
        refused.labels(reason).inc()
        events.warning("proxy_header_refused", key=reason, reason=reason, why=why, peer=peer)

    prefaced = Origins(proxy.protocol_from, unix=proxy.protocol_unix).trusts
    return Listener(
        serve=pipeline.serve,
        limits=limits,
        deadlines=deadlines,
        write_batch=write_batch,
        exempt=Origins(settings.trusted_proxies, unix=settings.unix.trusted).trusts,
        network=network,
        prefaced=prefaced if proxy.protocol_from or proxy.protocol_unix else None,
        unprefaced=unprefaced,
    )
