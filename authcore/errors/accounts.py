"""Refusals of what is asked: signing in, sessions, accounts, permissions; and outages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.errors.reasons import AuthError, Reason

if TYPE_CHECKING:
    from uuid import UUID


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


class RefreshMissing(AuthError):
    """No refresh token, in a cookie or in a body that can be read."""

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
    """A refresh token that was used before, and not by a client racing itself: its session has just been ended."""

    reason = Reason.REUSED

    def __init__(self, session_id: UUID | None = None) -> None:
        super().__init__()
        self.session_id = session_id


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


class SessionUnknown(AuthError):
    """The user has no such live session."""

    reason = Reason.UNKNOWN
    message = "Session not found"


class PermissionDenied(AuthError):
    """Authenticated; the principal lacks a permission or uses a credential that may not do this.

    Attributes:
        missing: The permissions that are lacking, each of which is needed.
        any_of: The permissions of which one is needed, and all are lacking.
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
    """The database did not answer. Says nothing about the caller: try again."""

    reason = Reason.STORE_DOWN
    message = "The identity store is unavailable, try again shortly"


class IssuerUnavailable(AuthError):
    """The key set of a foreign issuer cannot be had. Says nothing about the caller: try again."""

    reason = Reason.ISSUER_DOWN
    message = "The token's issuer cannot be asked for its keys, try again shortly"


class Overloaded(AuthError):
    """The bounded queue of password work is full: try again."""

    reason = Reason.OVERLOADED
    message = "Too many sign-ins at once, try again shortly"
