"""Error table: it maps every error to status, message and challenge, for the pipeline and the hosted endpoints.

Laws:

- Every error of the domain has a row (``tests/test_faults.py`` walks the tree). An error without one is a 500, whose
  message reveals nothing.
- A 401 carries a challenge (RFC 9110 section 15.5.2). An error that is no verdict on the caller is 503 with
  Retry-After.
- An answer is the envelope of the contract: ``{"status": "error", "message": …, "data": null}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from authcore import errors
from authcore.quotas import Period

if TYPE_CHECKING:
    from collections.abc import Mapping

ORGANIZATION_MALFORMED: Final = "X-Organization-ID is not a UUID"


class GatewayFault(Exception):
    """Base class of the gateway's own refusals, which concern the request rather than the caller."""

    status = 400
    reason = "bad_request"
    headers: Mapping[str, str] = {}


class BadRequest(GatewayFault):
    """The request contradicts itself or cannot be parsed."""


class NotFound(GatewayFault):
    """No route matches."""

    status = 404
    reason = "no_route"


class MethodNotAllowed(GatewayFault):
    """A route matches, but not for this method."""

    status = 405
    reason = "method"

    def __init__(self, allowed: str) -> None:
        super().__init__("Method not allowed")
        self.headers = {"Allow": allowed}


class ContentTooLarge(GatewayFault):
    """The body is, or announces to be, larger than the route accepts."""

    status = 413
    reason = "body_too_large"


class UnsupportedMediaType(GatewayFault):
    """The body is of a type that the endpoint does not read."""

    status = 415
    reason = "media_type"


class UnsafeIdentity(GatewayFault):
    """The principal has a value with bytes that no header may hold (CR, LF, NUL, other controls)."""

    status = 500
    reason = "unsafe_identity"


class LoopDetected(GatewayFault):
    """The request has come back: this gateway has forwarded it before (RFC 5842 section 7.2, RFC 8586)."""

    status = 508
    reason = "loop"


class OriginRefused(GatewayFault):
    """A page of an origin that may not do this sent the request."""

    status = 403
    reason = "origin"


class CsrfRefused(GatewayFault):
    """An unsafe request is authenticated by cookie, and nothing proves that its user meant it.

    Its message begins as Whatomate's does, which is all of Whatomate's.
    """

    status = 403
    reason = "csrf"

    def __init__(self, why: str) -> None:
        super().__init__(f"CSRF token mismatch: {why}")


class AdminHostRefused(GatewayFault):
    """The admin listener does not answer to this Host (RFC 9110 section 15.5.20)."""

    status = 421
    reason = "admin_host"


class AdminTokenRefused(GatewayFault):
    """The admin listener was asked without its token, or with another."""

    status = 401
    reason = "admin_token"
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="whatomate-gateway admin"'}


class TooManyCookies(GatewayFault):
    """There are more cookies than a browser stores (RFC 6585 section 5)."""

    status = 431
    reason = "too_many_cookies"


@dataclass(frozen=True, slots=True)
class Fault:
    """Answer to an error.

    Attributes:
        status: HTTP status.
        message: The message for the client.
        reason: The bounded reason for metrics and logs.
        headers: Header fields besides Content-Type and Content-Length.
    """

    status: int
    message: str
    reason: str
    headers: tuple[tuple[str, str], ...] = ()

    def body(self) -> bytes:
        """Return the body: the envelope as JSON."""
        return orjson.dumps({"status": "error", "message": self.message, "data": None})


_REALM: Final = 'Bearer realm="whatomate"'
_BARE: Final = (("WWW-Authenticate", _REALM),)
_INVALID: Final = (("WWW-Authenticate", f'{_REALM}, error="invalid_token"'),)  # RFC 6750 section 3.1
_API_KEY: Final = (("WWW-Authenticate", 'ApiKey realm="whatomate"'),)
_SCOPE: Final = (("WWW-Authenticate", f'{_REALM}, error="insufficient_scope"'),)
_RETRY: Final = (("Retry-After", "1"),)

TABLE: Final[Mapping[type[errors.AuthError], tuple[int, tuple[tuple[str, str], ...]]]] = {
    errors.CredentialMissing: (401, _BARE),
    errors.CredentialMalformed: (401, _BARE),
    errors.CredentialAmbiguous: (400, ()),
    errors.TokenRejected: (401, _INVALID),
    errors.UserDisabled: (401, _INVALID),
    errors.ApiKeyRejected: (401, _API_KEY),
    errors.LoginRejected: (401, _BARE),
    errors.PasswordUnacceptable: (400, ()),
    errors.EmailUnacceptable: (400, ()),
    errors.NameUnacceptable: (400, ()),
    errors.EmailTaken: (409, ()),
    errors.AlreadyMember: (409, ()),
    errors.OrganizationUnknown: (404, ()),
    errors.NotAMember: (403, ()),
    errors.ApiKeyBound: (403, ()),
    errors.RefreshMissing: (401, _BARE),
    errors.RefreshRejected: (401, _INVALID),
    errors.RefreshRevoked: (401, _INVALID),
    errors.RefreshUserUnknown: (401, _INVALID),
    errors.SessionUnknown: (404, ()),
    errors.SlugTaken: (409, ()),
    errors.SlugUnacceptable: (400, ()),
    errors.NameAmbiguous: (409, ()),
    errors.LastAdministrator: (409, ()),
    errors.ApiKeysExhausted: (409, ()),
    errors.InvitationsExhausted: (409, ()),
    errors.RoleUnknown: (404, ()),
    errors.UserUnknown: (404, ()),
    errors.ApiKeyUnknown: (404, ()),
    errors.PermissionDenied: (403, _SCOPE),
    errors.RegistrationClosed: (403, ()),
    errors.InvitationRequired: (403, ()),
    errors.InvitationRejected: (403, ()),
    errors.InvitationUnknown: (404, ()),
    errors.PasswordMissing: (409, ()),
    errors.CurrentPasswordWrong: (403, ()),
    errors.CurrentPasswordIncorrect: (400, ()),
    errors.SsoRefused: (403, ()),
    errors.SsoParametersInvalid: (400, ()),
    errors.SsoIdentityRejected: (400, ()),
    errors.SsoNotConfigured: (404, ()),
    errors.SsoProviderFailed: (502, ()),
    errors.Throttled: (429, ()),
    errors.QuotaExceeded: (429, ()),
    errors.QuotaUnknown: (503, _RETRY),
    errors.StoreUnavailable: (503, _RETRY),
    errors.IssuerUnavailable: (503, _RETRY),
    errors.Overloaded: (503, _RETRY),
    errors.TooManyAtOnce: (429, _RETRY),
}
"""A class that is not listed has the row of its nearest listed ancestor."""

INTERNAL: Final = Fault(500, "Internal error", "internal")


def quota_lines(error: errors.QuotaExceeded) -> tuple[tuple[str, str], ...]:
    """Return the field lines about a quota that is used up (draft-ietf-httpapi-ratelimit-headers).

    The window of a month has no length that is always true, so its policy names none.
    """
    name, seconds = f'"{error.kind.value}-{error.period.value}"', error.retry_after_seconds
    window = ";w=86400" if error.period is Period.DAY else ""
    return (
        ("Retry-After", str(seconds)),
        ("RateLimit-Policy", f"{name};q={error.most}{window}"),
        ("RateLimit", f"{name};r=0;t={seconds}"),
    )


def describe(error: Exception) -> Fault:
    """Return the answer to `error`; that to an unexpected error reveals nothing."""
    if isinstance(error, GatewayFault):
        return Fault(error.status, str(error), error.reason, tuple(error.headers.items()))
    if isinstance(error, errors.AuthError):
        for kind in type(error).__mro__:
            row = TABLE.get(kind)
            if row is not None:
                status, headers = row
                if isinstance(error, errors.Throttled):  # RFC 6585 section 4
                    headers = (("Retry-After", str(error.retry_after_seconds)),)
                elif isinstance(error, errors.QuotaExceeded):
                    headers = quota_lines(error)
                return Fault(status, str(error), error.reason, headers)
    return INTERNAL
