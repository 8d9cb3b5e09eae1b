"""Verdict exchange: the refusals of the hosted application, on their way to the access records of their requests.

Laws:

- The hosted application answers over a connection as every upstream does, so that what it refused, and why, is left
  here under the gateway's own id of the request, which no client can choose.
- What nobody takes, because the client had gone, makes room for later ones: at most ``MOST`` wait.
"""

from __future__ import annotations

from typing import Final

from authcore.errors import StoreUnavailable
from authcore.store.failures import classify, is_of_server

EXCHANGE_HEADER: Final = b"X-Auth-Exchange"
"""Under this name the hosted application is sent the gateway's own id of a request. Of a managed family, so a client
cannot set it."""
MOST: Final = 1024


class Verdicts:
    """Refusals by the gateway's own id of their request."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str, str]] = {}

    def leave(self, own_id: str, reason: str, detail: str) -> None:
        """Leave a refusal for the record of the request `own_id`."""
        if len(self._waiting) >= MOST:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[own_id] = (reason, detail)

    def take(self, own_id: bytes) -> tuple[str, str] | None:
        """Return reason and detail of a refusal, once; None where there was none."""
        return self._waiting.pop(own_id.decode("ascii"), None)


def detail_of(error: Exception) -> str:
    """Return what an access record says of `error`: of the store's, what the server said and no value of a row."""
    cause = error.__cause__
    if cause is None:
        return str(error)
    if isinstance(error, StoreUnavailable) or is_of_server(cause):
        failure = classify(cause)
        state = "" if failure.sqlstate is None else f" {failure.sqlstate}"
        return f"{error} ({failure.kind}{state}: {failure.words})"
    return f"{error} ({cause})"
