"""Refusals of what a request presents: tokens, API keys, and who they stand for."""

from __future__ import annotations

from authcore.errors.reasons import AuthError, Reason


class CredentialMissing(AuthError):
    """No credential on a request that needs one."""

    reason = Reason.MISSING
    message = "Missing authorization"


class CredentialMalformed(AuthError):
    """The Authorization value is not ``Bearer <token>``."""

    reason = Reason.MALFORMED
    message = "Invalid authorization header format"


class CredentialAmbiguous(AuthError):
    """Several credentials of one kind: one might be checked and the other used (so neither is)."""

    reason = Reason.MALFORMED
    message = "More than one credential of the same kind"


class TokenRejected(AuthError):
    """A bearer token that does not verify: signature, algorithm, issuer, shape."""

    reason = Reason.UNKNOWN
    message = "Invalid or expired token"


class TokenMalformed(TokenRejected):
    """Not a JWT at all, or one with claims of the wrong type."""

    reason = Reason.MALFORMED


class TokenExpired(TokenRejected):
    """Genuine, and past its ``exp``."""

    reason = Reason.EXPIRED


class TokenWrongKind(TokenRejected):
    """Genuine, and issued for another purpose."""

    reason = Reason.WRONG_KIND


class TokenRevoked(TokenRejected):
    """Genuine, and its session has been ended."""

    reason = Reason.REVOKED


class TicketUsed(TokenRejected):
    """Genuine, and it has opened its one socket."""

    reason = Reason.REVOKED


class SubjectUnknown(TokenRejected):
    """Genuine, but its user or organization is gone, or the user is no longer a member of it."""


class UserDisabled(AuthError):
    """The user exists and is switched off."""

    reason = Reason.DISABLED
    message = "Account is disabled"


class ApiKeyRejected(AuthError):
    """An API key that is unknown, or whose owner cannot be used."""

    reason = Reason.UNKNOWN
    message = "Invalid API key"


class ApiKeyMalformed(ApiKeyRejected):
    """Not of the form ``whm_`` and 32 hexadecimal characters."""

    reason = Reason.MALFORMED


class ApiKeyExpired(ApiKeyRejected):
    """Past its ``expires_at``."""

    reason = Reason.EXPIRED


class ApiKeyRevoked(ApiKeyRejected):
    """Switched off (``is_active`` false)."""

    reason = Reason.REVOKED


class ApiKeyBound(AuthError):
    """A good key, and another organization than its own asked for: whoever its owner is, it acts in that one only."""

    reason = Reason.FORBIDDEN
    message = "This API key belongs to another organization"


class ApiKeyOwnerDisabled(ApiKeyRejected):
    """The key is good and the user it acts as is switched off."""

    reason = Reason.DISABLED
