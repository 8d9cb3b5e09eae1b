"""Background task that keeps the key ring equal to its directory, and logs each change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from authcore.crypto.key_directory import KeysUnusable

if TYPE_CHECKING:
    from gateway.assembly.domain import Domain
    from gateway.proxy.sockets import Sockets

log = structlog.get_logger()


async def follow_keys(domain: Domain, sockets: Sockets) -> None:
    """Swap the key ring if its directory has changed; an unusable directory is logged once, and changes nothing."""
    if domain.rotation is None:
        return

    def withdrawn() -> None:
        domain.identity.forget()
        sockets.withdraw()

    try:
        taken = await domain.rotation.check(time.time(), withdrawn)
    except KeysUnusable as error:
        log.error("keys_not_taken", problem=str(error), until="the key directory is mended")  # noqa: TRY400 - the problem says it all
    else:
        if taken:
            log.info(
                "keys_taken",
                signs=domain.ring.signing.kid or domain.ring.signing.source,
                verify=[key.kid for key in domain.ring if key.kid is not None],
            )
