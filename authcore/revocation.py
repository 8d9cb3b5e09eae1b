"""Revocation reasons: why a connection is closed whose caller was authenticated before."""

from __future__ import annotations

from enum import StrEnum


class RevocationReason(StrEnum):
    """Revocation reason: what a principal depended on and has ended. SESSION, KEY and TIME end the credential."""

    USER = "user"
    """The user is switched off or gone."""
    MEMBERSHIP = "membership"
    """The user no longer belongs to the organization, or the organization is gone."""
    SESSION = "session"
    """The session was ended, or is over."""
    KEY = "key"
    """The API key was switched off, has expired or is gone; or the key that signed the token is revoked."""
    TIME = "time"
    """The credential has expired, or the socket reached the longest time that any may be open."""
