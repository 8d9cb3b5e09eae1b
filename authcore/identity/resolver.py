"""Principal resolver: it reads from the store which principal proved claims or an API key stand for.

Laws:

- Everything a verdict depends on is noted as a row, so that a change of the row drops the verdict.
- A token of a session is good while its session is: both are read in one statement. A token of Whatomate's, which is of
  no session, is good until all sessions of its user are ended.
- A session that stays in one organization (``Subject.session_bound_to``) acts in no other: that is refused, where
  Whatomate would act there, and counts as not asked for otherwise when lenient.
- A credential whose own organization no longer admits its user opens no other one. An API key never does.
- When lenient, an organization that the caller may not act in counts as not asked for, as it does for Whatomate. A key
  whose owner may act there is refused all the same: Whatomate would act there, and the key must not act elsewhere
  unnoticed.
- A principal holds everything that its credential rests on, so that open sockets and streams can be checked by the same
  conditions (:mod:`authcore.store.revocation`).
- Values that many principals share (ids, roles, sets of permissions) are stored once.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from sys import intern
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from authcore.errors import (
    ApiKeyBound,
    ApiKeyOwnerDisabled,
    ApiKeyRejected,
    AuthError,
    NotAMember,
    OrganizationUnknown,
    Overloaded,
    StoreUnavailable,
    SubjectUnknown,
    Throttled,
    TokenRevoked,
    UserDisabled,
)
from authcore.identity import api_keys
from authcore.identity.verdict import UNKNOWN_KEY, Verdict
from authcore.moments import moment
from authcore.principal import AuthMethod, Principal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from uuid import UUID

    from authcore.credentials import ApiKey
    from authcore.identity.api_keys import ApiKeys
    from authcore.principal import ForeignProof
    from authcore.store.protocol import SubjectReader
    from authcore.store.rows import Subject
    from authcore.tokens.claims import AccessClaims, TicketClaims

_SHARED: Final = 10_000
"""Roles, and ids, that principals share; past it the least recently found is no longer shared."""


class PrincipalResolver:
    """Resolver of a proved credential into its principal."""

    def __init__(
        self, store: SubjectReader, proofs: ApiKeys, *, leeway_seconds: float, lenient: bool
    ) -> None:
        self._store = store
        self._api_keys = proofs
        self._leeway_seconds = leeway_seconds
        self._lenient = lenient
        self._grants: LRUCache[tuple[UUID | None, bool], frozenset[str]] = LRUCache(_SHARED)
        self._ids: LRUCache[UUID, UUID] = LRUCache(_SHARED)

    async def resolve(
        self, organization: UUID | None, own: bytes, find: Callable[[set[UUID]], Awaitable[Principal]]
    ) -> Verdict:
        """Find a principal, and note the rows that were looked at; a refusal is as good a verdict.

        `organization` is the one asked for, or None. If the principal acts in another one, it was ignored. `own` is the
        cache key of the credential without an organization.
        """
        rows: set[UUID] = set()
        try:
            principal = await find(rows)
        except (StoreUnavailable, Overloaded, Throttled):
            raise
        except AuthError as refusal:
            return Verdict(frozenset(rows), refusal=type(refusal))
        is_ignored = organization not in {None, principal.organization_id}
        return Verdict(frozenset(rows), principal, alias_of=own if is_ignored else None)

    async def of_token(
        self,
        method: AuthMethod,
        claims: AccessClaims | TicketClaims,
        organization: UUID | None,
        rows: set[UUID],
        *,
        foreign: ForeignProof | None = None,
    ) -> Principal:
        """Return the principal of the proved claims of a token that was presented by `method`.

        `foreign` is the proof of a foreign issuer's token; None for an own token.
        """
        elsewhere = None if organization in {None, claims.organization_id} else organization
        founded_at = _founding(method, claims)
        # Both are asked for before either is awaited: they share a statement.
        asked = self._subject(claims.user_id, claims.organization_id, rows, claims.session_id, founded_at)
        there: Subject | None = None
        if elsewhere is None:
            subject = await asked
        else:
            subject, there = await asyncio.gather(
                asked, self._subject(claims.user_id, elsewhere, rows, claims.session_id)
            )
        if subject is None:
            raise SubjectUnknown
        if subject.is_session_over:
            raise TokenRevoked
        if not subject.is_active:
            raise UserDisabled
        if not subject.may_act:
            raise SubjectUnknown
        return self._principal(
            method,
            subject if elsewhere is None else self._acting_in(subject, there),
            user_id=claims.user_id,
            expires_at=claims.expires_at
            + (self._leeway_seconds if foreign is None else foreign.leeway_seconds),
            session_id=claims.session_id,
            parents=tuple(
                row
                for row in (subject.session_provider_id, None if foreign is None else foreign.row)
                if row is not None
            ),
            until=None if claims.until is None else claims.until + self._leeway_seconds,
            own_organization_id=None if elsewhere is None else self._shared(claims.organization_id),
            founded_at=founded_at,
            foreign=foreign,
        )

    async def of_key(
        self, credential: ApiKey, organization: UUID | None, now: float, address: str, rows: set[UUID]
    ) -> Principal:
        """Prove an API key, and return its principal."""
        rows.add(UNKNOWN_KEY)
        row = await self._api_keys.prove(credential, now, address)
        rows.remove(UNKNOWN_KEY)
        rows.update((row.id, *row.parents))
        api_keys.require_active(row, now)
        subject = row.owner
        if subject is None:  # not read with the key
            subject = await self._subject(row.user_id, row.organization_id, rows)
        else:
            self._note(subject, rows)
        if subject is None or not subject.may_act:
            raise ApiKeyRejected
        if not subject.is_active:
            raise ApiKeyOwnerDisabled
        if organization is not None and organization != row.organization_id:
            there = await self._subject(row.user_id, organization, rows) if self._lenient else None
            if not self._lenient or (there is not None and there.may_act):
                raise ApiKeyBound
        return self._principal(
            AuthMethod.API_KEY,
            subject,
            user_id=row.user_id,
            expires_at=None if row.expires_at is None else row.expires_at.timestamp(),
            key_id=row.id,
            parents=row.parents,
            key_fingerprint=sha256(row.key_hash.encode()).digest(),
        )

    def _acting_in(self, subject: Subject, there: Subject | None) -> Subject:
        """Return the subject to act as: `there`, as seen in another organization that was asked for, if it may."""
        if there is None:
            raise SubjectUnknown  # deleted between the two reads
        if self._lenient and not there.is_admitted:
            return subject
        if not there.organization_exists and there.is_super_admin:
            raise OrganizationUnknown  # other callers do not learn which organizations exist
        if not there.may_act:
            raise NotAMember
        return there

    async def _subject(
        self,
        user_id: UUID,
        organization_id: UUID,
        rows: set[UUID],
        session_id: UUID | None = None,
        founded_at: datetime | None = None,
    ) -> Subject | None:
        rows.update((user_id, self._shared(organization_id)))
        if session_id is not None:
            rows.add(session_id)
        subject = await self._store.subject(user_id, organization_id, session_id, founded_at)
        if subject is not None:
            self._note(subject, rows)
        return subject

    def _note(self, subject: Subject, rows: set[UUID]) -> None:
        """Note the rows that a subject was read from, but for that of a session."""
        rows.update((subject.user_id, self._shared(subject.organization_id)))
        if subject.session_provider_id is not None:
            rows.add(self._shared(subject.session_provider_id))
        if subject.assigned_role_id is not None:
            rows.add(self._shared(subject.assigned_role_id))

    # -- values that many principals share --------------------------------------------------------------------------

    def _principal(  # noqa: PLR0913 - by name, what is the credential's and not the subject's
        self,
        method: AuthMethod,
        subject: Subject,
        *,
        user_id: UUID,
        expires_at: float | None,
        key_id: UUID | None = None,
        session_id: UUID | None = None,
        parents: tuple[UUID, ...] = (),
        until: float | None = None,
        own_organization_id: UUID | None = None,
        founded_at: datetime | None = None,
        key_fingerprint: bytes | None = None,
        foreign: ForeignProof | None = None,
    ) -> Principal:
        return Principal(
            method=method,
            user_id=user_id,  # the object that is among the rows: a UUID takes as much as a name
            organization_id=self._shared(subject.organization_id),
            email=subject.email,
            name=subject.full_name,
            role_id=None if subject.role_id is None else self._shared(subject.role_id),
            role=intern(subject.role or ""),
            permissions=self._granted(subject),
            is_super_admin=subject.is_super_admin,
            key_id=key_id,
            expires_at=expires_at,
            session_id=session_id,
            parents=parents,
            until=until,
            attributes=subject.attributes,
            own_organization_id=own_organization_id,
            founded_at=founded_at,
            key_fingerprint=key_fingerprint,
            foreign=foreign,
        )

    def _granted(self, subject: Subject) -> frozenset[str]:
        granted = frozenset(subject.permissions)
        place = (subject.role_id, subject.is_super_admin)
        known = self._grants.get(place)
        if known == granted:
            return known
        self._grants[place] = granted
        return granted

    def _shared(self, row: UUID) -> UUID:
        return self._ids.setdefault(row, row)


def _founding(method: AuthMethod, claims: AccessClaims | TicketClaims) -> datetime | None:
    """Return when a token without a session was issued; None for others, and for a foreign issuer's."""
    if claims.session_id is not None or method is AuthMethod.FOREIGN:
        return None
    return moment(claims.issued_at or 0.0)
