"""The table of faults is total: every refusal of the domain has its status, and nothing else tells anything."""

from __future__ import annotations

import json

import pytest

from authcore import errors
from gateway import faults
from gateway.faults import INTERNAL, TABLE, GatewayFault, describe
from tests.support.reasons import tree

STATUS = {
    **dict.fromkeys(
        (
            "CredentialMissing",
            "CredentialMalformed",
            "TokenRejected",
            "TokenMalformed",
            "TokenExpired",
            "TokenWrongKind",
        ),
        401,
    ),
    **dict.fromkeys(("TokenRevoked", "TicketUsed", "SubjectUnknown", "UserDisabled", "LoginRejected"), 401),
    **dict.fromkeys(
        ("ApiKeyRejected", "ApiKeyMalformed", "ApiKeyExpired", "ApiKeyRevoked", "ApiKeyOwnerDisabled"), 401
    ),
    **dict.fromkeys(
        (
            "RefreshMissing",
            "RefreshRejected",
            "RefreshExpired",
            "RefreshWrongKind",
            "RefreshRevoked",
            "RefreshReused",
            "RefreshUserUnknown",
        ),
        401,
    ),
    **dict.fromkeys(
        (
            "CredentialAmbiguous",
            "PasswordUnacceptable",
            "EmailUnacceptable",
            "NameUnacceptable",
            "SlugUnacceptable",
        ),
        400,
    ),
    **dict.fromkeys(
        ("EmailTaken", "AlreadyMember", "SlugTaken", "ApiKeysExhausted", "InvitationsExhausted"), 409
    ),
    **dict.fromkeys(
        ("OrganizationUnknown", "RoleUnknown", "UserUnknown", "ApiKeyUnknown", "SessionUnknown"), 404
    ),
    **dict.fromkeys(("NotAMember", "ApiKeyBound", "PermissionDenied"), 403),
    **dict.fromkeys(
        ("InvitationRejected", "InvitationExpired", "InvitationSpent", "InvitationForAnother"), 403
    ),
    "CurrentPasswordIncorrect": 400,
    **dict.fromkeys(("RegistrationClosed", "InvitationRequired", "CurrentPasswordWrong"), 403),
    "InvitationUnknown": 404,
    **dict.fromkeys(("PasswordMissing", "NameAmbiguous", "LastAdministrator"), 409),
    "EmailUnproved": 401,
    "InviterUnfit": 403,
    **dict.fromkeys(
        ("SsoRefused", "SsoStateRejected", "SsoStateUsed", "SsoDenied", "SsoEmailUnverified"), 403
    ),
    **dict.fromkeys(("SsoDomainRefused", "SsoUserUnknown", "SsoNotLinked", "SsoAccountNotMade"), 403),
    **dict.fromkeys(("SsoParametersInvalid", "SsoIdentityRejected"), 400),
    "SsoNotConfigured": 404,
    "SsoProviderFailed": 502,
    **dict.fromkeys(("Throttled", "TooManyAtOnce", "QuotaExceeded"), 429),
    **dict.fromkeys(("StoreUnavailable", "IssuerUnavailable", "Overloaded", "QuotaUnknown"), 503),
}


REFUSALS: list[type[errors.AuthError]] = [
    kind for kind in tree(errors.AuthError) if kind.__module__.startswith(errors.__name__)
]
FAULTS: list[type[GatewayFault]] = [kind for kind in tree(GatewayFault) if kind.__module__ == faults.__name__]


def test_the_statuses_are_written_down_for_the_whole_tree() -> None:
    assert {kind.__name__ for kind in REFUSALS} == set(STATUS)


@pytest.mark.parametrize("kind", REFUSALS)
def test_every_refusal_has_its_status_its_words_and_its_reason(kind: type[errors.AuthError]) -> None:
    error = kind()
    fault = describe(error)
    assert fault.status == STATUS[kind.__name__]
    assert fault.message == str(error) == kind.message
    assert fault.reason == kind.reason
    names = {name for name, _ in fault.headers}
    assert "WWW-Authenticate" not in names or fault.status in (401, 403)
    if fault.status == 401:
        assert "WWW-Authenticate" in names  # RFC 9110 section 15.5.2
    if fault.status in (429, 503):
        assert "Retry-After" in names
        assert "WWW-Authenticate" not in names


def test_no_row_is_for_nothing() -> None:
    assert set(TABLE) <= set(REFUSALS)


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_of_the_gateways_own_has_a_status_and_a_reason(kind: type[GatewayFault]) -> None:
    error = kind("said to the client")
    fault = describe(error)
    assert 400 <= fault.status < 600
    assert fault.status == kind.status
    assert fault.reason == kind.reason


def test_the_reasons_of_faults_are_told_apart() -> None:
    reasons = [kind.reason for kind in FAULTS if kind.reason != GatewayFault.reason]
    assert len(reasons) == len(set(reasons))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("SELECT secret"),
        KeyError("x"),
        RuntimeError(),
        errors.AuthError("by nobody"),
        TimeoutError(),
    ],
)
def test_what_nobody_foresaw_is_500_and_tells_nothing(error: Exception) -> None:
    assert describe(error) is INTERNAL
    assert INTERNAL.status == 500
    assert str(error) == "" or str(error) not in INTERNAL.message


def test_the_envelope_is_the_contracts() -> None:
    body = json.loads(describe(errors.PermissionDenied('Missing "x"\r\n\u2028')).body())
    assert body == {"status": "error", "message": 'Missing "x"\r\n\u2028', "data": None}
