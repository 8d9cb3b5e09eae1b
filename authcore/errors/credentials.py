"""Errors of credentials: refusals of the tokens and API keys that a request presents, and of their users."""

from __future__ import annotations

from authcore.errors.reasons import AuthError, Reason


class CredentialMissing(AuthError):
    """A request without a credential, for a route that needs one."""

    reason = Reason.MISSING
    message = "Missing authorization"


class CredentialMalformed(AuthError):
    """An Authorization value that is not ``Bearer <token>``."""

    reason = Reason.MALFORMED
    message = "Invalid authorization header format"


class CredentialAmbiguous(AuthError):
    """Several credentials of one kind: one might be checked and another used, so none is accepted."""

    reason = Reason.MALFORMED
    message = "More than one credential of the same kind"


class TokenRejected(AuthError):
    """A bearer token that does not verify: by its signature, algorithm, issuer or form."""

    reason = Reason.UNKNOWN
    message = "Invalid or expired token"


class TokenMalformed(TokenRejected):
    """A token that is no JWT, or has claims of the wrong type."""

    reason = Reason.MALFORMED


class TokenExpired(TokenRejected):
    """A genuine token past its ``exp``."""

    reason = Reason.EXPIRED


class TokenWrongKind(TokenRejected):
    """A genuine token that was issued for another purpose."""

    reason = Reason.WRONG_KIND


class TokenRevoked(TokenRejected):
    """A genuine token whose session has been ended."""

    reason = Reason.REVOKED


class TicketUsed(TokenRejected):
    """A genuine ticket that has already opened its one socket."""

    reason = Reason.REVOKED


class SubjectUnknown(TokenRejected):
    """A genuine token whose user or organization no longer exists, or whose user has left the organization."""


class EmailUnproved(SubjectUnknown):
    """A foreign issuer's token, genuine, for an account whose e-mail nobody has proved."""

    message = "This e-mail is not confirmed for the account that has it. Please ask an administrator."


class UserDisabled(AuthError):
    """A user who is switched off."""

    reason = Reason.DISABLED
    message = "Account is disabled"


class ApiKeyRejected(AuthError):
    """An API key that is unknown, or whose owner cannot be used."""

    reason = Reason.UNKNOWN
    message = "Invalid API key"


class ApiKeyMalformed(ApiKeyRejected):
    """An API key that is not of the form ``whm_`` and 32 hexadecimal characters."""

    reason = Reason.MALFORMED


class ApiKeyExpired(ApiKeyRejected):
    """An API key past its ``expires_at``."""

    reason = Reason.EXPIRED


class ApiKeyRevoked(ApiKeyRejected):
    """An API key that is switched off (``is_active`` is false)."""

    reason = Reason.REVOKED


class ApiKeyBound(AuthError):
    """A good API key, asked to act in another organization: it acts in its own only, even if its owner may in both."""

    reason = Reason.FORBIDDEN
    message = "This API key belongs to another organization"


class ApiKeyOwnerDisabled(ApiKeyRejected):
    """A good API key whose owner is switched off."""

    reason = Reason.DISABLED
