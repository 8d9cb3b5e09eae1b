"""Builder of the public listener: it fits connections and TLS handshakes to the descriptors that there may be."""

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
from gateway.wire.tls_acceptor import OF_A_HANDSHAKE

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

    A client has one descriptor, and so has each upstream connection and each refused connection that lingers; a TLS
    handshake has two. Refused connections get an eighth at most, and so do handshakes; the upstreams what they may
    have, at most half of the rest.
    """
    wanted, limit = settings.limit.connections, descriptor_limit()
    handshakes = settings.tls.handshakes if settings.tls.cert_file else 0
    if limit is None:
        return Fitted(wanted, MOST_REFUSED, handshakes)
    upstreams, apart = settings.upstream.connections, RESERVE + settings.database.pool_max
    enough = wanted + upstreams + MOST_REFUSED + OF_A_HANDSHAKE * handshakes + apart
    room = max(limit - apart, 1)
    refused = min(MOST_REFUSED, room // _SHARE_OF_REFUSED)
    shaking = min(handshakes, max(room // (_SHARE_OF_HANDSHAKES * OF_A_HANDSHAKE), 1))
    room -= refused + OF_A_HANDSHAKE * shaking
    fitting = min(wanted, max(room - min(upstreams, room // 2), 1))
    for setting, asked, fitted in (
        ("GATEWAY_LIMIT_CONNECTIONS", wanted, fitting),
        ("GATEWAY_TLS_HANDSHAKES", handshakes, shaking),
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
    return Fitted(fitting, refused, shaking)


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
