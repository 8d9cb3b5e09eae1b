"""Why somebody who was let in may be there no more."""

from __future__ import annotations

from enum import StrEnum


class Fall(StrEnum):
    """What ended, of what a principal depends on. Those of a session, of a key and of time are the credential's."""

    USER = "user"
    """The user is switched off or gone."""
    MEMBERSHIP = "membership"
    """The user belongs to the organization no more, or that is gone."""
    SESSION = "session"
    """The session was ended, or is over."""
    KEY = "key"
    """The API key was switched off, has expired or is gone; or the key that signed a token is revoked."""
    TIME = "time"
    """The credential has expired, or the socket was open for as long as any may be."""
