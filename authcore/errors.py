"""Every way authentication and authorization can say no, as one tree.

Laws:

- ``reason`` is stable and bounded: it labels metrics and log records, so a new one is an interface change.
- ``str(error)`` may be shown to the client: it names no secret, no SQL and no internals.
- The HTTP status is not decided here; ``gateway/faults.py`` maps this tree, totally.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Why a request was not let through, as the bounded label of metrics and logs."""

    MISSING = "missing"
    """No credential was presented."""
    MALFORMED = "malformed"
    """The credential cannot be read: wrong scheme, no token, two of a kind."""
    EXPIRED = "expired"
    """The credential was good once."""
    WRONG_KIND = "wrong_kind"
    """A genuine token used for a purpose it was not issued for (a refresh token as access token)."""
    REVOKED = "revoked"
    """Withdrawn before its expiry: a used refresh token, a key switched off, a session logged out."""
    UNKNOWN = "unknown"
    """Signature, key, user or organization that this installation does not know."""
    DISABLED = "disabled"
    """The user exists and is switched off."""
    FORBIDDEN = "forbidden"
    """Authenticated, and not permitted."""
    CONFLICT = "conflict"
    """The request contradicts what is stored (an e-mail that is taken)."""
    INVALID = "invalid"
    """The request's own values are not acceptable (a password over 72 bytes)."""
    STORE_DOWN = "store_down"
    """The database did not answer: not the caller's fault, and no verdict on the caller."""
    OVERLOADED = "overloaded"
    """Too much password work is waiting already."""


class AuthError(Exception):
    """Base of every refusal. ``str()`` of it is fit for the client."""

    reason: ClassVar[Reason]
    message: ClassVar[str] = "Authentication failed"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)


# -- the credential itself ------------------------------------------------------------------------------------


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


# -- tokens ---------------------------------------------------------------------------------------------------


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


class SubjectUnknown(TokenRejected):
    """Genuine, but its user or organization is gone, or the user is no longer a member of it."""


class UserDisabled(AuthError):
    """The user exists and is switched off."""

    reason = Reason.DISABLED
    message = "Account is disabled"


# -- API keys -------------------------------------------------------------------------------------------------


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


class ApiKeyOwnerDisabled(ApiKeyRejected):
    """The key is good and the user it acts as is switched off."""

    reason = Reason.DISABLED


# -- signing in, registering, refreshing ------------------------------------------------------------------------


class LoginRejected(AuthError):
    """Unknown e-mail or wrong password; which of the two is not told."""

    reason = Reason.UNKNOWN
    message = "Invalid credentials"


class PasswordUnacceptable(AuthError):
    """A new password that cannot be taken: too short, or over bcrypt's 72 bytes."""

    reason = Reason.INVALID
    message = "Password is not acceptable"


class EmailUnacceptable(AuthError):
    """A new e-mail that cannot be taken: empty, over 255 characters, or holding what no address holds."""

    reason = Reason.INVALID
    message = "Email is not acceptable"


class NameUnacceptable(AuthError):
    """A new name that cannot be taken: empty, over 255 characters, or with control characters (think of headers)."""

    reason = Reason.INVALID
    message = "Name is not acceptable"


class EmailTaken(AuthError):
    """Registration with an existing e-mail and another password."""

    reason = Reason.CONFLICT
    message = "An account with this email already exists. Please sign in and ask your organization admin to add you."


class AlreadyMember(AuthError):
    """Registration with an existing e-mail, its right password, in an organization it belongs to."""

    reason = Reason.CONFLICT
    message = "You are already a member of this organization"


class OrganizationUnknown(AuthError):
    """The organization named by the request does not exist."""

    reason = Reason.UNKNOWN
    message = "Organization not found"


class NotAMember(AuthError):
    """The organization exists and the user does not belong to it."""

    reason = Reason.FORBIDDEN
    message = "You are not a member of this organization"


class RefreshRejected(AuthError):
    """A refresh token that is malformed, expired, of another kind or wrongly signed."""

    reason = Reason.UNKNOWN
    message = "Invalid refresh token"


class RefreshExpired(RefreshRejected):
    """A refresh token past its ``exp``."""

    reason = Reason.EXPIRED


class RefreshWrongKind(RefreshRejected):
    """An access token or ticket where a refresh token belongs."""

    reason = Reason.WRONG_KIND


class RefreshRevoked(AuthError):
    """A refresh token that was used before or logged out."""

    reason = Reason.REVOKED
    message = "Refresh token has been revoked"


class RefreshUserUnknown(AuthError):
    """A genuine refresh token of a user who is gone."""

    reason = Reason.UNKNOWN
    message = "User not found"


class SlugTaken(AuthError):
    """An organization with this slug exists."""

    reason = Reason.CONFLICT
    message = "An organization with this slug already exists"


class RoleUnknown(AuthError):
    """The organization has no role of that name."""

    reason = Reason.UNKNOWN
    message = "Role not found"


class UserUnknown(AuthError):
    """There is no such user."""

    reason = Reason.UNKNOWN
    message = "User not found"


class ApiKeyUnknown(AuthError):
    """There is no such API key to list or revoke."""

    reason = Reason.UNKNOWN
    message = "API key not found"


# -- permission, and what is nobody's fault -------------------------------------------------------------------


class PermissionDenied(AuthError):
    """Authenticated; the principal lacks a permission or uses a credential that may not do this."""

    reason = Reason.FORBIDDEN
    message = "You do not have permission to do this"


class StoreUnavailable(AuthError):
    """The database did not answer. Says nothing about the caller: try again."""

    reason = Reason.STORE_DOWN
    message = "The identity store is unavailable, try again shortly"


class Overloaded(AuthError):
    """The bounded queue of password work is full: try again."""

    reason = Reason.OVERLOADED
    message = "Too many sign-ins at once, try again shortly"
