"""Errors of signing in and up that do not depend on who the caller is: throttling, registration, invitations."""

from __future__ import annotations

from authcore.errors.reasons import AuthError, Reason


class Throttled(AuthError):
    """Too many attempts have failed, so this one was not tried.

    Attributes:
        retry_after_seconds: Seconds to wait before the next attempt; None if that is not known.
    """

    reason = Reason.THROTTLED
    message = "Too many failed attempts, wait before trying again"

    def __init__(self, retry_after_seconds: int | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds or 1
        super().__init__(
            None
            if retry_after_seconds is None
            else f"Too many failed attempts, try again in {_spelled(retry_after_seconds)}"
        )


class RegistrationClosed(AuthError):
    """Registration is closed on this installation."""

    reason = Reason.FORBIDDEN
    message = "Registration is closed. Please ask an administrator of your organization for an account."


class InvitationRequired(AuthError):
    """Registration is open to invited users only, and no invitation was sent."""

    reason = Reason.FORBIDDEN
    message = "Registration is by invitation: send the invitation that you were given"


class InvitationRejected(AuthError):
    """A text that is no invitation of this installation, or an invitation for something else."""

    reason = Reason.UNKNOWN
    message = "Invitation is not valid"


class InvitationExpired(InvitationRejected):
    """A genuine invitation past its time."""

    reason = Reason.EXPIRED
    message = "Invitation has expired. Please ask for a new one."


class InvitationSpent(InvitationRejected):
    """A genuine invitation that was used or revoked before."""

    reason = Reason.REVOKED
    message = "Invitation has been used or revoked. Please ask for a new one."


class InviterUnfit(InvitationRejected):
    """A genuine invitation whose giver could not give it now: gone, switched off, or without the rights for it."""

    reason = Reason.REVOKED
    message = "Whoever gave this invitation may not give it any more. Please ask for a new one."


class InvitationForAnother(InvitationRejected):
    """A genuine invitation, presented with another e-mail or for another organization."""

    reason = Reason.FORBIDDEN
    message = "Invitation is for another e-mail or organization"


class InvitationUnknown(AuthError):
    """There is no such open invitation to revoke."""

    reason = Reason.UNKNOWN
    message = "Invitation not found"


class InvitationsExhausted(AuthError):
    """The inviter has made as many invitations as one may have before their time is over."""

    reason = Reason.CONFLICT
    message = "You have made as many invitations as one may have; try again when some have expired"


class PasswordMissing(AuthError):
    """An account without a password to change: its user signs in elsewhere."""

    reason = Reason.CONFLICT
    message = "This account has no password: it signs in with single sign-on"


class CurrentPasswordWrong(AuthError):
    """A wrong current password, in a request to change it."""

    reason = Reason.UNKNOWN
    message = "Current password is incorrect"


class CurrentPasswordIncorrect(CurrentPasswordWrong):
    """A wrong current password, answered with the status that Whatomate's client expects from its own server."""


def _spelled(seconds: int) -> str:
    if seconds == 1:
        return "1 second"
    minutes = -(-seconds // 60)
    return f"{seconds} seconds" if minutes <= 1 else f"{minutes} minutes"
