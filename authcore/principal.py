"""Who is asking (:class:`Principal`), and the proof that they may (:class:`Permit`).

Laws:

- A principal is immutable, and compares by identity: one object per cached verdict, so what is derived from it (the
  injected header block) can be kept beside it.
- Only :func:`authcore.authorize.authorize` makes a permit. ``tests/test_house.py`` holds that nobody else names its
  constructor, and the constructor refuses callers without the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from uuid import UUID


class AuthMethod(StrEnum):
    """How the principal proved itself; the value of ``X-Auth-Method``."""

    JWT = "jwt"
    COOKIE = "cookie"
    API_KEY = "api_key"
    WS = "ws"
    FOREIGN = "foreign"
    """A token of a foreign issuer: to an upstream a ``jwt`` like any other, but it founds nothing that outlives it."""
    ANONYMOUS = "anonymous"
    """Nobody proved anything: a public route. Never injected."""

    @property
    def told(self) -> str:
        """What upstreams are told."""
        return "jwt" if self is AuthMethod.FOREIGN else self.value


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Principal:
    """An authenticated caller acting in one organization.

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
        expires_at: POSIX seconds after which the credential is no longer good; None when it never ends.
        session_id: The session its token belongs to; None for an API key and for a token that Whatomate issued.
        is_stale: The store did not answer: this is what it said before.
        attributes: What else its identity headers carry, by key: nothing unless a row of
            :mod:`authcore.identity_headers` selects a value of its own.
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


ANONYMOUS: Final = Principal(AuthMethod.ANONYMOUS)
"""The principal of a public route's request."""

_PERMIT_KEY: Final = object()


class Permit:
    """Proof that a principal met a requirement: what opens ``prepare``."""

    __slots__ = ("principal",)

    def __init__(self, key: object, principal: Principal) -> None:
        if key is not _PERMIT_KEY:
            raise TypeError("a Permit is made by authorize() alone")
        self.principal = principal
