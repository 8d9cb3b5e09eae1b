"""Principal: the proved caller of a request.

Law: a principal is immutable and compares by identity. There is one object per cached verdict, so values derived from
it (the injected header block) can be cached beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


class AuthMethod(StrEnum):
    """Authentication method: how the principal proved itself, and the value of ``X-Auth-Method``."""

    JWT = "jwt"
    COOKIE = "cookie"
    API_KEY = "api_key"
    WS = "ws"
    FOREIGN = "foreign"
    """A token of a foreign issuer. Upstreams see ``jwt``; nothing that outlives the token may be founded on it."""
    ANONYMOUS = "anonymous"
    """Nobody proved anything: the request is for a public or optional route. Never injected."""

    @property
    def public_name(self) -> str:
        """The method's name as upstreams see it."""
        return "jwt" if self is AuthMethod.FOREIGN else self.value


FOUNDING: Final = frozenset({AuthMethod.JWT, AuthMethod.COOKIE})
"""Ways of authenticating by which something may be made that outlives the request: a session, a key, an invitation."""


@dataclass(frozen=True, slots=True)
class ForeignProof:
    """Proof by a foreign issuer's token: what its validity depends on.

    Attributes:
        row: The row that stands for the issuer.
        key: The name of the issuer's key that signed the token (:attr:`authcore.crypto.keyring.Key.name`).
        email: The e-mail that led to the user; None if the token names the user's id.
        leeway_seconds: Clock skew forgiven to the issuer.
    """

    row: UUID
    key: tuple[str, str | None, str]
    email: str | None
    leeway_seconds: float


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Principal:
    """Authenticated caller who acts in one organization.

    Attributes:
        method: How the caller proved itself.
        user_id: The user acted as; None only for the anonymous principal.
        organization_id: The organization acted in; None only for the anonymous principal.
        email: The user's e-mail as stored.
        name: The user's full name.
        role_id: The user's role in the organization, when there is one.
        role: The name of that role.
        permissions: Every ``resource:action`` granted; for a super admin, all there are.
        is_super_admin: Has every permission in every organization.
        key_id: The API key used, for ``AuthMethod.API_KEY`` only.
        parents: The rows that the credential rests on besides its own: the API keys that a key comes from, the
            identity provider that its session is founded on, or the row that stands for a foreign issuer. It ends with
            each of them.
        expires_at: POSIX seconds after which the credential is no longer good; None if it never expires.
        until: POSIX seconds until when what this opens may stay open, for a ticket that is of no session; None for
            no such end.
        session_id: The session its token belongs to; None for an API key and for a token that Whatomate issued.
        is_stale: True if the store did not answer and this is a cached verdict past its time.
        attributes: Further values of its identity headers, by key: empty unless a row of
            :mod:`authcore.identity_headers` selects a value of its own.
        own_organization_id: The credential's own organization, which has to admit the user wherever the credential
            acts; None unless another one was asked for.
        founded_at: When a token without a session was issued, which a sign-out of all the user's sessions ends; None
            for other credentials.
        key_fingerprint: SHA-256 of the hash that the API key was proved against; None without an API key.
        foreign: Proof by a foreign issuer's token; None for any other credential.
    """

    method: AuthMethod
    user_id: UUID | None = None
    organization_id: UUID | None = None
    email: str = ""
    name: str = ""
    role_id: UUID | None = None
    role: str = ""
    permissions: frozenset[str] = frozenset()
    is_super_admin: bool = False
    key_id: UUID | None = None
    expires_at: float | None = None
    session_id: UUID | None = None
    is_stale: bool = False
    attributes: tuple[tuple[str, str], ...] = ()
    parents: tuple[UUID, ...] = ()
    until: float | None = None
    own_organization_id: UUID | None = None
    founded_at: datetime | None = None
    key_fingerprint: bytes | None = None
    foreign: ForeignProof | None = None


ANONYMOUS: Final = Principal(AuthMethod.ANONYMOUS)
"""The principal of a request without a credential."""
