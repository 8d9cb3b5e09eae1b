"""Builder of the key ring in the settings, for the serving gateway and for the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.crypto.key_directory import KeysUnusable, parse_snapshot, take_snapshot
from authcore.crypto.rotation import open_ring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from authcore.crypto.keyring import KeyRing
    from authcore.crypto.rotation import Rotation
    from config.settings import Settings


def ring_of(settings: Settings, now: float) -> tuple[KeyRing, Rotation | None]:
    """Make the ring, and the poller of its directory if one is set.

    Raises:
        KeysUnusable: the directory cannot be used.
        ValueError: GATEWAY_JWT_SECRET is not set.
    """
    jwt, token = settings.jwt, settings.token
    if jwt.secret is None:
        raise ValueError("GATEWAY_JWT_SECRET is required")
    return open_ring(
        jwt.secret.get_secret_value().encode(),
        [secret.get_secret_value().encode() for secret in jwt.previous_secrets],
        secret_verifies=jwt.secret_verifies,
        directory=jwt.keys_dir,
        keep_seconds=max(token.access_seconds, token.refresh_seconds) + jwt.leeway_seconds,
        now=now,
    )


def key_problems(directory: Path) -> Iterator[str]:
    """Yield why a key directory cannot be used, if so; one that changes meanwhile is for :func:`ring_of` to read."""
    try:
        snapshot = take_snapshot(directory)
        if snapshot is not None:
            parse_snapshot(snapshot)
    except KeysUnusable as error:
        yield str(error)
