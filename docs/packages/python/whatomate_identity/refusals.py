"""Answers to requests that are not proved, and the log of them: 401 for what is refused, 503 for what is not known."""

from __future__ import annotations

import json
import logging
from typing import Final

from whatomate_identity.identity import IdentityRejected, KeysUnavailable

log: Final = logging.getLogger("whatomate_identity")
REFUSALS: Final = (IdentityRejected, KeysUnavailable)


class Answer:
    """Answer of middleware in the place of the application.

    Attributes:
        status: The status, 401 or 503.
        phrase: The status with its phrase, as WSGI writes it.
        headers: Its field lines.
        body: A JSON document like those of the gateway.
    """

    def __init__(self, error: IdentityRejected | KeysUnavailable) -> None:
        if isinstance(error, IdentityRejected):
            log.info("request refused: %s", error)
            self.status, self.phrase = 401, "401 Unauthorized"
            text, more = f"The request is not proved to come from the gateway: {error}", _CHALLENGE
        else:
            log.warning("request not served: %s", error)
            self.status, self.phrase = 503, "503 Service Unavailable"
            text, more = "The gateway's keys could not be fetched; try again", ("Retry-After", "5")
        self.body = json.dumps({"status": "error", "message": text, "data": None}).encode()
        self.headers = [("Content-Type", "application/json"), ("Content-Length", str(len(self.body))), more]


_CHALLENGE: Final = ("WWW-Authenticate", "Signed-Identity")
