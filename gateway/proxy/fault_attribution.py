"""Attribution of failures: which party failed a request, by its reason and not by the class of its status.

Laws:

- An error that any client can cause by its request alone is never a failure of the service: otherwise malformed
  requests would alert the operator.
- A status of 500 and above without a reason is the upstream's own answer.
- An answer that broke off is a failure of the upstream, whatever status it began with.
"""

from __future__ import annotations

from typing import Final

from gateway.metrics.families import GATEWAY, UPSTREAM

NOBODY: Final = ""
_OF_CLIENTS: Final = frozenset({"not_implemented", "http_version", "too_many_of_network", "too_many_uploads"})
"""Reasons for statuses of 500 and above that are the client's doing."""
_INTERNAL: Final = "internal"
_SERVER_ERROR: Final = 500
_NOT_UNDERSTOOD: Final = frozenset({501, 505})
"""Statuses by which an upstream says that it does not know what the client asked for (RFC 9110 section 15.6)."""


def blame(status: int, reason: str, *, hosted: bool = False) -> str:
    """Return who failed a request: ``upstream`` or ``gateway``, or an empty text.

    Args:
        status: The status of the answer.
        reason: The reason for which it was refused, or broke off; empty if neither.
        hosted: The gateway's own application answered.
    """
    if reason.startswith("upstream_"):
        return GATEWAY if hosted else UPSTREAM
    if reason == _INTERNAL:
        return GATEWAY
    if status < _SERVER_ERROR or reason in _OF_CLIENTS:
        return NOBODY
    if reason or hosted:
        return GATEWAY
    return NOBODY if status in _NOT_UNDERSTOOD else UPSTREAM
