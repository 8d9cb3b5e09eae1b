"""Fitting of GATEWAY_LIMIT_CONNECTIONS to the file descriptors that the process may have open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.wire.descriptors import RESERVE, descriptor_limit

if TYPE_CHECKING:
    from config.settings import Settings

log = structlog.get_logger()


def fitted_connections(settings: Settings) -> int:
    """Return how many client connections there may be; fewer than the setting where descriptors are too few.

    A client has one descriptor, and so has each upstream connection. Upstreams get what they may have, at most half.
    """
    wanted, limit = settings.limit.connections, descriptor_limit()
    if limit is None:
        return wanted
    room = limit - RESERVE - settings.database.pool_max
    fitting = max(room - min(settings.upstream.connections, room // 2), 1)
    if wanted <= fitting:
        return wanted
    log.warning(
        "connections_fitted",
        setting="GATEWAY_LIMIT_CONNECTIONS",
        wanted=wanted,
        fitted=fitting,
        descriptors=limit,
        advice=f"raise the hard limit of open files (ulimit -Hn, LimitNOFILE=) above "
        f"{wanted + settings.upstream.connections + RESERVE + settings.database.pool_max}, or lower the setting",
    )
    return fitting
