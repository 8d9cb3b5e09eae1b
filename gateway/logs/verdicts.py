"""Verdict mailbox: it carries refusals of the hosted application to the access records of their requests.

Laws:

- The hosted application answers over a connection as every upstream does. It leaves a refusal and its reason here,
  under the gateway's own id of the request, which no client can choose.
- A verdict that is never taken, because the client had gone, makes room for later ones: at most ``MOST`` wait.
"""

from __future__ import annotations

from typing import Final

from authcore.errors import SsoRefused, StoreUnavailable
from authcore.store.failures import classify, is_of_server

EXCHANGE_HEADER: Final = b"X-Auth-Exchange"
"""The header in which the hosted application gets the gateway's own id of a request. It is of a managed family, so a
client cannot set it."""
MOST: Final = 1024


class Verdicts:
    """Mailbox of refusals, by the gateway's own id of their request."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str, str]] = {}

    def leave(self, own_id: str, reason: str, detail: str) -> None:
        """Store a refusal for the record of the request `own_id`."""
        if len(self._waiting) >= MOST:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[own_id] = (reason, detail)

    def take(self, own_id: bytes) -> tuple[str, str] | None:
        """Remove and return reason and detail of a refusal; None if there is none."""
        return self._waiting.pop(own_id.decode("ascii"), None)


def words_of(error: BaseException) -> str:
    """Return an error's text; its type if it has none, as that of a timeout."""
    return str(error) or type(error).__name__


def detail_of(error: Exception) -> str:
    """Return an access record's detail of `error`: for a store's error, the server's message without a row's values."""
    cause = error.__cause__
    if isinstance(error, SsoRefused) and error.why:
        return f"{error} ({error.why})"
    if cause is None:
        return words_of(error)
    if isinstance(error, StoreUnavailable) or is_of_server(cause):
        failure = classify(cause)
        state = "" if failure.sqlstate is None else f" {failure.sqlstate}"
        return f"{error} ({failure.kind}{state}: {failure.words})"
    return f"{words_of(error)} ({words_of(cause)})"
