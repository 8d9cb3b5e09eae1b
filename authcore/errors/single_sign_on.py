"""Errors of single sign-on: the reasons for which a user of an identity provider is not signed in.

Their messages are those that Whatomate's login page shows for the same cases, as far as Whatomate has the case.
"""

from __future__ import annotations

from authcore.errors.reasons import AuthError, Reason


class SsoRefused(AuthError):
    """A sign-in by an identity provider that does not succeed.

    Attributes:
        why: What was wrong, for the log; it holds no secret, and nothing that a client chose freely.
    """

    reason = Reason.FORBIDDEN
    message = "Single sign-on failed"

    def __init__(self, why: str = "", message: str | None = None) -> None:
        super().__init__(message)
        self.why = why


class SsoParametersInvalid(SsoRefused):
    """A callback without a code or a state, or with two of one."""

    reason = Reason.MALFORMED
    message = "Invalid callback parameters"


class SsoStateRejected(SsoRefused):
    """A state that was not made here, for this browser, provider and callback, within its time."""

    reason = Reason.UNKNOWN
    message = "Invalid or expired state"


class SsoStateUsed(SsoStateRejected):
    """A genuine state that has been used before."""

    reason = Reason.REVOKED


class SsoNotConfigured(SsoRefused):
    """A provider of which no row is enabled, or whose row cannot be used."""

    reason = Reason.UNKNOWN
    message = "SSO provider not configured or disabled"


class SsoDenied(SsoRefused):
    """The provider answers with an error in place of a code, such as that the user declined."""

    message = "SSO failed: the provider did not sign you in"


class SsoProviderFailed(SsoRefused):
    """The provider does not answer, or not as the protocol asks."""

    reason = Reason.PROVIDER_FAILED
    message = "Failed to authenticate with provider"


class SsoIdentityRejected(SsoRefused):
    """The provider's word on who the user is cannot be believed."""

    reason = Reason.UNKNOWN
    message = "Failed to get user information"


class SsoEmailUnverified(SsoRefused):
    """The provider has not verified an e-mail, and the account can be found by nothing else."""

    reason = Reason.INVALID
    message = "Your provider has not verified your e-mail address"


class SsoDomainRefused(SsoRefused):
    """The e-mail's domain is none of those that the provider's row allows."""

    message = "Email domain not allowed for this organization"


class SsoUserUnknown(SsoRefused):
    """There is no account, and the provider's row makes none."""

    reason = Reason.UNKNOWN
    message = "User not found. Contact your administrator."


class SsoNotLinked(SsoRefused):
    """There is an account with the e-mail, and the rules do not link it to this identity."""

    reason = Reason.CONFLICT
    message = "This account is not linked to your provider. Contact your administrator."


class SsoAccountNotMade(SsoRefused):
    """A new account cannot be made: its role is missing, or a deleted account still has the e-mail."""

    reason = Reason.CONFLICT
    message = "Failed to create user account"
