"""Limits of client connections, as the settings give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_REFUSED: Final = 256
"""Most refused connections that stay open until their answer is read; further ones are dropped after it is written."""

MOST_HANDSHAKES: Final = 512
"""Most TLS handshakes under way, where descriptors suffice for them."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits of client connections; sizes in bytes, times in seconds.

    Attributes:
        connections: Most connections of all clients together.
        refused: Most refused connections that stay open until their answer is read; further ones are dropped.
        connections_per_address: Most connections of one address; 0 for no limit.
        handshakes: Most TLS handshakes under way.
    """

    head_bytes: int
    fields: int
    target_bytes: int
    connections: int
    connections_per_address: int
    head_seconds: float
    idle_seconds: float
    body_seconds: float
    write_seconds: float
    refused: int = MOST_REFUSED
    handshakes: int = MOST_HANDSHAKES
