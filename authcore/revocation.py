"""Revocation reasons: why a connection is closed whose caller was authenticated before."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class RevocationReason(StrEnum):
    """Revocation reason: what a principal depended on and has ended. SESSION, KEY and TIME end the credential."""

    USER = "user"
    """The user is switched off or gone."""
    MEMBERSHIP = "membership"
    """The user no longer belongs to the organization or to the credential's own one, or one of them is gone."""
    SESSION = "session"
    """The session was ended, or is over. For a token without a session: all sessions of its user were ended, or the
    e-mail in a foreign issuer's token no longer leads to the account, as its only one with a proved e-mail."""
    KEY = "key"
    """The API key was switched off, has expired or is gone, or its row holds another hash, user or organization. Or the
    key that signed the token is revoked, or has left the set of its issuer."""
    TIME = "time"
    """The credential has expired, or the socket reached the longest time that any may be open."""


class Standings(NamedTuple):
    """Standings of principals, each by its index.

    Attributes:
        revoked: The reason of each whose access has ended.
        ends: When the access of others ends by the rows of their API keys, POSIX seconds: a row may be given an end.
    """

    revoked: Mapping[int, RevocationReason]
    ends: Mapping[int, float]
