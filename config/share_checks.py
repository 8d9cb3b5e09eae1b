"""Checks of the shares of one client network: none is more than there is for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings

SHARES: Final = (
    "GATEWAY_PASSWORD_NETWORK_WORKERS",
    "GATEWAY_PASSWORD_WORKERS",
    "GATEWAY_LIMIT_HOSTED",
    "GATEWAY_LIMIT_HOSTED_PER_NETWORK",
    "GATEWAY_LIMIT_HOSTED_WAITING",
    "GATEWAY_LIMIT_HOSTED_WAITING_PER_NETWORK",
)
"""The settings that :func:`shares` looks at."""


def shares(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each share of one client network that is more than there is for all: no other would be sure of its own."""
    password, limit = settings.password, settings.limit
    if password.network_workers > password.workers:
        more = f"{password.network_workers} is more than GATEWAY_PASSWORD_WORKERS, {password.workers}"
        yield "GATEWAY_PASSWORD_NETWORK_WORKERS", f"{more}; 0 gives a network half, and all leave others none"
    for name, share, whole in (
        ("HOSTED", limit.hosted_per_network, limit.hosted),
        ("HOSTED_WAITING", limit.hosted_waiting_per_network, limit.hosted_waiting),
    ):
        if share > whole:
            yield f"GATEWAY_LIMIT_{name}_PER_NETWORK", f"{share} is more than GATEWAY_LIMIT_{name}, {whole}"
