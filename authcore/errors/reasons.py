"""Root of the error tree, and the bounded list of reasons for a refusal."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Reason for a refusal: the bounded label of metrics and log records."""

    MISSING = "missing"
    """No credential was presented."""
    MALFORMED = "malformed"
    """The credential cannot be parsed: wrong scheme, no token, or two of one kind."""
    EXPIRED = "expired"
    """The credential was good once, and its time is over."""
    WRONG_KIND = "wrong_kind"
    """A genuine token used for a purpose it was not issued for (a refresh token as access token)."""
    REVOKED = "revoked"
    """Withdrawn before its expiry: a used refresh token, a key switched off, a session logged out."""
    REUSED = "reused"
    """A refresh token was used a second time, by a thief or after one; its session has been ended."""
    UNKNOWN = "unknown"
    """Signature, key, user or organization that this installation does not know."""
    DISABLED = "disabled"
    """The user exists and is switched off."""
    FORBIDDEN = "forbidden"
    """The caller is authenticated, and lacks the permission."""
    CONFLICT = "conflict"
    """The request contradicts what is stored (an e-mail that is taken)."""
    INVALID = "invalid"
    """The request's own values are not acceptable (a password over 72 bytes)."""
    THROTTLED = "throttled"
    """Too many attempts have failed, so this one was not tried."""
    QUOTA_EXCEEDED = "quota_exceeded"
    """A quota of the API key or the organization is used up."""
    QUOTA_UNKNOWN = "quota_unknown"
    """The database did not say what is left of a quota: this is no verdict on the caller."""
    STORE_DOWN = "store_down"
    """The database did not answer: this is not the caller's fault, and no verdict on the caller."""
    ISSUER_DOWN = "issuer_down"
    """The key set of a foreign issuer cannot be fetched: this is no verdict on the caller either."""
    PROVIDER_FAILED = "provider_failed"
    """An identity provider did not answer, or not as the protocol asks: no verdict on the user."""
    OVERLOADED = "overloaded"
    """Too much password work, or too many requests to the gateway's own endpoints, are waiting already."""


class AuthError(Exception):
    """Base class of every refusal. Its ``str()`` may be sent to the client."""

    reason: ClassVar[Reason]
    message: ClassVar[str] = "Authentication failed"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)
