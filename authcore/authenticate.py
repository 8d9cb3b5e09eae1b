"""Credential -> Principal: who is asking.

Laws:

- A credential is proved before anything is told about its user.
- Memory answers by a keyed digest of the credential, under a secret of this process: the cache holds no credential.
- A cached principal is never used past the end of its credential, by the second, nor past the cache's time.
- An outage of the store is ``StoreUnavailable``, never a verdict, and is not remembered.
- A credential whose own organization no longer admits its user opens no other one.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING

from authcore.cache import Cache
from authcore.claims import AccessClaims, TicketClaims
from authcore.credentials import ApiKey, BearerToken, Credential
from authcore.errors import (
    ApiKeyExpired,
    ApiKeyOwnerDisabled,
    ApiKeyRejected,
    NotAMember,
    OrganizationUnknown,
    SubjectUnknown,
    TokenExpired,
    UserDisabled,
)
from authcore.principal import AuthMethod, Principal

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.api_keys import ApiKeys, LastUsed
    from authcore.credentials import Ticket
    from authcore.store.protocol import Subject, SubjectReader
    from authcore.tokens import Tokens


class Authenticator:
    """Tells who is asking: from memory when it can, from proof and store when it must."""

    def __init__(  # noqa: PLR0913 - its collaborators by position, its bounds by name
        self,
        store: SubjectReader,
        tokens: Tokens,
        api_keys: ApiKeys,
        last_used: LastUsed,
        *,
        cache_seconds: float,
        cache_entries: int,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._api_keys = api_keys
        self._last_used = last_used
        self._secret = secrets.token_bytes(32)
        self._cache: Cache[bytes, Principal] = Cache(seconds=cache_seconds, entries=cache_entries)

    def recall(self, credential: Credential, organization: UUID | None, now: float) -> Principal | None:
        """Answer from memory only: microseconds, no await, no proof.

        Args:
            credential: What the caller presented.
            organization: The organization the caller asks to act in; None for the credential's own.
            now: POSIX seconds.

        Returns:
            The principal, or None when :meth:`authenticate` has to find out.
        """
        key = self._digest(credential, organization)
        principal = self._cache.get(key, now)
        if principal is None:
            return None
        if principal.expires_at is not None and principal.expires_at <= now:
            self._cache.drop(key)
            return None
        if principal.key_id is not None:
            self._last_used.add(principal.key_id)
        return principal

    async def authenticate(self, credential: Credential, organization: UUID | None, now: float) -> Principal:
        """Prove the credential, read who it stands for, and remember the answer.

        Args:
            credential: What the caller presented.
            organization: The organization the caller asks to act in; None for the credential's own.
            now: POSIX seconds.

        Raises:
            TokenRejected: the token does not verify, or its user or organization is gone (by subclass).
            UserDisabled: a genuine token of a user who is switched off.
            ApiKeyRejected: the key is not good, or its owner is not (by subclass).
            OrganizationUnknown: the organization asked for does not exist.
            NotAMember: it does, and the user does not belong to it.
            Overloaded: too much password work is waiting.
            StoreUnavailable: the database does not answer.
        """
        principal = self.recall(credential, organization, now)
        if principal is not None:
            return principal
        key = self._digest(credential, organization)
        if isinstance(credential, ApiKey):
            principal = await self._cache.fetch(key, now, lambda: self._of_key(credential, organization, now))
        else:
            # Verified before a flight is made for it: what is not genuine costs no task and no memory.
            claims = self._claims(credential, now)
            principal = await self._cache.fetch(key, now, lambda: self._of_token(claims, organization))
        if principal.expires_at is not None and principal.expires_at <= now:
            raise ApiKeyExpired if isinstance(credential, ApiKey) else TokenExpired
        if principal.key_id is not None:
            self._last_used.add(principal.key_id)
        return principal

    def forget(self) -> None:
        """Forget every verdict."""
        self._cache.clear()

    def _digest(self, credential: Credential, organization: UUID | None) -> bytes:
        # The parts before the credential have fixed lengths, so no two inputs read alike.
        if isinstance(credential, BearerToken):
            kind, proof = b"t", credential.token
        elif isinstance(credential, ApiKey):
            kind, proof = b"k", credential.key
        else:
            kind, proof = b"w", credential.token
        where = b"-" * 17 if organization is None else b"+" + organization.bytes
        return blake2b(kind + where + proof, key=self._secret, digest_size=32).digest()

    def _claims(self, credential: BearerToken | Ticket, now: float) -> AccessClaims | TicketClaims:
        if isinstance(credential, BearerToken):
            return self._tokens.verify(credential.token, AccessClaims, now)
        return self._tokens.verify(credential.token, TicketClaims, now)

    async def _of_token(self, claims: AccessClaims | TicketClaims, organization: UUID | None) -> Principal:
        subject = await self._store.subject(claims.user_id, claims.organization_id)
        if subject is None:
            raise SubjectUnknown
        if not subject.is_active:
            raise UserDisabled
        if not subject.may_act:
            raise SubjectUnknown
        return _principal(
            AuthMethod.JWT if isinstance(claims, AccessClaims) else AuthMethod.WS,
            await self._acting_in(subject, organization),
            expires_at=claims.expires_at + self._tokens.leeway_seconds,
        )

    async def _of_key(self, credential: ApiKey, organization: UUID | None, now: float) -> Principal:
        row = await self._api_keys.verify(credential, now)
        subject = await self._store.subject(row.user_id, row.organization_id)
        if subject is None or not subject.may_act:
            raise ApiKeyRejected
        if not subject.is_active:
            raise ApiKeyOwnerDisabled
        return _principal(
            AuthMethod.API_KEY,
            await self._acting_in(subject, organization),
            expires_at=None if row.expires_at is None else row.expires_at.timestamp(),
            key_id=row.id,
        )

    async def _acting_in(self, subject: Subject, organization: UUID | None) -> Subject:
        """Return the subject as seen in the organization asked for."""
        if organization is None or organization == subject.organization_id:
            return subject
        there = await self._store.subject(subject.user_id, organization)
        if there is None:
            raise SubjectUnknown  # deleted between the two reads
        if not there.organization_exists:
            raise OrganizationUnknown
        if not there.may_act:
            raise NotAMember
        return there


def _principal(
    method: AuthMethod, subject: Subject, *, expires_at: float | None, key_id: UUID | None = None
) -> Principal:
    return Principal(
        method=method,
        user_id=subject.user_id,
        organization_id=subject.organization_id,
        email=subject.email,
        name=subject.full_name,
        role_id=subject.role_id,
        role=subject.role or "",
        permissions=frozenset(subject.permissions),
        is_super_admin=subject.is_super_admin,
        key_id=key_id,
        expires_at=expires_at,
    )
