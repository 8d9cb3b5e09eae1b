"""Every way authentication and authorization can say no, as one tree.

Laws:

- ``reason`` is stable and bounded: it labels metrics and log records, so a new one is an interface change.
- ``str(error)`` may be shown to the client: it names no secret, no SQL and no internals.
- The HTTP status is not decided here; ``gateway/faults.py`` maps this tree, totally.
"""

from authcore.errors.accounts import (
    AlreadyMember,
    ApiKeyUnknown,
    EmailTaken,
    EmailUnacceptable,
    LoginRejected,
    NameUnacceptable,
    NotAMember,
    OrganizationUnknown,
    Overloaded,
    PasswordUnacceptable,
    PermissionDenied,
    RefreshExpired,
    RefreshRejected,
    RefreshRevoked,
    RefreshUserUnknown,
    RefreshWrongKind,
    RoleUnknown,
    SlugTaken,
    StoreUnavailable,
    UserUnknown,
)
from authcore.errors.credentials import (
    ApiKeyExpired,
    ApiKeyMalformed,
    ApiKeyOwnerDisabled,
    ApiKeyRejected,
    ApiKeyRevoked,
    CredentialAmbiguous,
    CredentialMalformed,
    CredentialMissing,
    SubjectUnknown,
    TokenExpired,
    TokenMalformed,
    TokenRejected,
    TokenRevoked,
    TokenWrongKind,
    UserDisabled,
)
from authcore.errors.reasons import AuthError, Reason

__all__ = [
    "AlreadyMember",
    "ApiKeyExpired",
    "ApiKeyMalformed",
    "ApiKeyOwnerDisabled",
    "ApiKeyRejected",
    "ApiKeyRevoked",
    "ApiKeyUnknown",
    "AuthError",
    "CredentialAmbiguous",
    "CredentialMalformed",
    "CredentialMissing",
    "EmailTaken",
    "EmailUnacceptable",
    "LoginRejected",
    "NameUnacceptable",
    "NotAMember",
    "OrganizationUnknown",
    "Overloaded",
    "PasswordUnacceptable",
    "PermissionDenied",
    "Reason",
    "RefreshExpired",
    "RefreshRejected",
    "RefreshRevoked",
    "RefreshUserUnknown",
    "RefreshWrongKind",
    "RoleUnknown",
    "SlugTaken",
    "StoreUnavailable",
    "SubjectUnknown",
    "TokenExpired",
    "TokenMalformed",
    "TokenRejected",
    "TokenRevoked",
    "TokenWrongKind",
    "UserDisabled",
    "UserUnknown",
]
