"""Errors of accounts, sessions and permissions, and of outages: refusals of what the caller asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.errors.reasons import AuthError, Reason

if TYPE_CHECKING:
    from uuid import UUID


class LoginRejected(AuthError):
    """Unknown e-mail or wrong password; the client does not learn which of the two."""

    reason = Reason.UNKNOWN
    message = "Invalid credentials"


class PasswordUnacceptable(AuthError):
    """A new password that is too short, or longer than bcrypt's 72 bytes."""

    reason = Reason.INVALID
    message = "Password is not acceptable"


class EmailUnacceptable(AuthError):
    """A new e-mail that is empty, over 255 characters, or has characters that no address has."""

    reason = Reason.INVALID
    message = "Email is not acceptable"


class NameUnacceptable(AuthError):
    """A new name that is empty, over 255 characters, or has control characters, which would break a header."""

    reason = Reason.INVALID
    message = "Name is not acceptable"


class SlugUnacceptable(AuthError):
    """A new slug that is over 100 characters, looks like an id, or is not words of a-z and 0-9 with - between."""

    reason = Reason.INVALID
    message = "Slug is not acceptable"


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


class RefreshMissing(AuthError):
    """Neither a cookie nor a readable body carries a refresh token."""

    reason = Reason.MISSING
    message = "Missing refresh token"


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
    """A refresh token that was used before, or whose session has been ended."""

    reason = Reason.REVOKED
    message = "Refresh token has been revoked"


class RefreshReused(RefreshRevoked):
    """A refresh token that was used before, and not by a client racing itself; its session has just been ended."""

    reason = Reason.REUSED

    def __init__(self, session_id: UUID | None = None) -> None:
        super().__init__()
        self.session_id = session_id


class RefreshUserUnknown(AuthError):
    """A genuine refresh token of a user who no longer exists."""

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


class NameAmbiguous(AuthError):
    """More than one user, organization or role has the name that an operator typed."""

    reason = Reason.CONFLICT
    message = "More than one has this name"


class LastAdministrator(AuthError):
    """An operator's change after which nobody could manage an organization's users, or everything, any more."""

    reason = Reason.CONFLICT
    message = "Nobody who may manage users would be left"


class ApiKeyUnknown(AuthError):
    """There is no such API key to list or revoke."""

    reason = Reason.UNKNOWN
    message = "API key not found"


class ApiKeysExhausted(AuthError):
    """The user has as many API keys in an organization as one may have, or has made as many within a day."""

    reason = Reason.CONFLICT
    message = "You have as many API keys as one may have; delete one, or try again tomorrow"


class SessionUnknown(AuthError):
    """The user has no such live session."""

    reason = Reason.UNKNOWN
    message = "Session not found"


class PermissionDenied(AuthError):
    """The principal is proved, but lacks a permission or uses a credential that may not do this.

    Attributes:
        missing: The missing permissions, each of which is needed.
        any_of: The permissions of which one is needed, if all of them are missing.
    """

    reason = Reason.FORBIDDEN
    message = "You do not have permission to do this"

    def __init__(
        self, message: str | None = None, *, missing: tuple[str, ...] = (), any_of: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.missing = missing
        self.any_of = any_of


class StoreUnavailable(AuthError):
    """The database did not answer. This says nothing about the caller, who may try again."""

    reason = Reason.STORE_DOWN
    message = "The identity store is unavailable, try again shortly"


class IssuerUnavailable(AuthError):
    """The key set of a foreign issuer cannot be fetched. This says nothing about the caller, who may try again."""

    reason = Reason.ISSUER_DOWN
    message = "The token's issuer cannot be asked for its keys, try again shortly"


class Overloaded(AuthError):
    """The bounded queue of password work, or of the gateway's own endpoints, is full; the caller may try again."""

    reason = Reason.OVERLOADED
    message = "Too many requests at once, try again shortly"


class TooManyAtOnce(Overloaded):
    """The client network has as much in one of these queues as one may have: try again."""

    message = "Too many requests at once from your network, try again shortly"
