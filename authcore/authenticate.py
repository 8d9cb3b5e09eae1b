"""Credential -> Principal: who is asking.

Laws:

- A credential is proved before anything is told about its user.
- Memory answers by a keyed digest of the credential, under a secret of this process: the cache holds no credential.
- A cached principal is never used past the end of its credential, by the second, nor past the cache's time.
- An outage of the store is ``StoreUnavailable``, never a verdict, and is not remembered. A principal known from before
  may stand in for the store's answer, and says that it is stale.
- A token of a session is good while its session is: both are read in one statement.
- A credential whose own organization no longer admits its user opens no other one.
"""

from __future__ import annotations

import secrets
from functools import partial
from hashlib import blake2b
from sys import intern
from typing import TYPE_CHECKING, Final

from authcore import api_keys
from authcore.claims import AccessClaims, TicketClaims
from authcore.credentials import ApiKey, BearerToken, Credential
from authcore.errors import (
    ApiKeyExpired,
    ApiKeyOwnerDisabled,
    ApiKeyRejected,
    AuthError,
    NotAMember,
    OrganizationUnknown,
    Overloaded,
    StoreUnavailable,
    SubjectUnknown,
    TokenExpired,
    TokenRevoked,
    UserDisabled,
)
from authcore.memory import UNKNOWN_KEY, Memory, Verdict
from authcore.principal import AuthMethod, Principal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from authcore.api_keys import ApiKeys, LastUsed
    from authcore.credentials import Ticket
    from authcore.store.protocol import SubjectReader
    from authcore.store.rows import Subject
    from authcore.tokens import Tokens


_NOWHERE: Final = b"-" * 17
_SHARED: Final = 10_000
"""Roles and ids kept to be shared; with more of them, sharing begins anew."""


class Authenticator:
    """Tells who is asking: from memory when it can, from proof and store when it must."""

    def __init__(
        self, store: SubjectReader, tokens: Tokens, api_keys: ApiKeys, last_used: LastUsed, memory: Memory
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._api_keys = api_keys
        self._last_used = last_used
        self._memory = memory
        self._secret = secrets.token_bytes(32)
        self._grants: dict[tuple[UUID | None, bool], frozenset[str]] = {}
        self._ids: dict[UUID, UUID] = {}

    def recall(self, credential: Credential, organization: UUID | None, now: float) -> Principal | None:
        """Answer from memory only: microseconds, no await, no proof.

        Args:
            credential: What the caller presented.
            organization: The organization the caller asks to act in; None for the credential's own.
            now: POSIX seconds.

        Returns:
            The principal, or None when :meth:`authenticate` has to find out.

        Raises:
            AuthError: what was presented is remembered to be refused (as by :meth:`authenticate`).
        """
        key = self._digest(credential, organization)
        principal = self._memory.recall(key, now)
        if principal is None:
            return None
        if principal.expires_at is not None and principal.expires_at <= now:
            self._memory.drop(key)
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
            StoreUnavailable: the database does not answer, and the caller is not known from before.
        """
        principal = self.recall(credential, organization, now)
        if principal is not None:
            return principal
        key = self._digest(credential, organization)
        # Read and verified before anything is loaded for it: what is not genuine costs no task and no memory.
        if isinstance(credential, ApiKey):
            api_keys.parse(credential.key)
            load = partial(self._judge, partial(self._of_key, credential, organization, now))
        else:
            claims = self._claims(credential, now)
            load = partial(self._judge, partial(self._of_token, claims, organization))
        principal = await self._memory.fetch(key, now, load)
        if principal.expires_at is not None and principal.expires_at <= now:
            raise ApiKeyExpired if isinstance(credential, ApiKey) else TokenExpired
        if principal.key_id is not None:
            self._last_used.add(principal.key_id)
        return principal

    def _digest(self, credential: Credential, organization: UUID | None) -> bytes:
        # The parts before the credential have fixed lengths, so no two inputs read alike.
        if isinstance(credential, BearerToken):
            kind, proof = b"t", credential.token
        elif isinstance(credential, ApiKey):
            kind, proof = b"k", credential.key
        else:
            kind, proof = b"w", credential.token
        where = _NOWHERE if organization is None else b"+" + organization.bytes
        return blake2b(kind + where + proof, key=self._secret, digest_size=16).digest()

    def _claims(self, credential: BearerToken | Ticket, now: float) -> AccessClaims | TicketClaims:
        if isinstance(credential, BearerToken):
            return self._tokens.verify(credential.token, AccessClaims, now)
        return self._tokens.verify(credential.token, TicketClaims, now)

    # -- from the store --------------------------------------------------------------------------------------------

    async def _judge(self, find: Callable[[set[UUID]], Awaitable[Principal]]) -> Verdict:
        """Find a principal, and note the rows that were looked at; a refusal is as good a verdict."""
        rows: set[UUID] = set()
        try:
            principal = await find(rows)
        except (StoreUnavailable, Overloaded):
            raise
        except AuthError as refusal:
            return Verdict(frozenset(rows), refusal=type(refusal))
        return Verdict(frozenset(rows), principal)

    async def _of_token(
        self, claims: AccessClaims | TicketClaims, organization: UUID | None, rows: set[UUID]
    ) -> Principal:
        subject = await self._subject(claims.user_id, claims.organization_id, rows, claims.session_id)
        if subject is None:
            raise SubjectUnknown
        if subject.is_session_over:
            raise TokenRevoked
        if not subject.is_active:
            raise UserDisabled
        if not subject.may_act:
            raise SubjectUnknown
        return self._principal(
            AuthMethod.JWT if isinstance(claims, AccessClaims) else AuthMethod.WS,
            await self._acting_in(subject, organization, rows),
            user_id=claims.user_id,
            expires_at=claims.expires_at + self._tokens.leeway_seconds,
            session_id=claims.session_id,
        )

    async def _of_key(
        self, credential: ApiKey, organization: UUID | None, now: float, rows: set[UUID]
    ) -> Principal:
        rows.add(UNKNOWN_KEY)
        row = await self._api_keys.prove(credential)
        rows.remove(UNKNOWN_KEY)
        rows.add(row.id)
        api_keys.judge(row, now)
        subject = await self._subject(row.user_id, row.organization_id, rows)
        if subject is None or not subject.may_act:
            raise ApiKeyRejected
        if not subject.is_active:
            raise ApiKeyOwnerDisabled
        return self._principal(
            AuthMethod.API_KEY,
            await self._acting_in(subject, organization, rows),
            user_id=row.user_id,
            expires_at=None if row.expires_at is None else row.expires_at.timestamp(),
            key_id=row.id,
        )

    async def _acting_in(self, subject: Subject, organization: UUID | None, rows: set[UUID]) -> Subject:
        """Return the subject as seen in the organization asked for."""
        if organization is None or organization == subject.organization_id:
            return subject
        there = await self._subject(subject.user_id, organization, rows)
        if there is None:
            raise SubjectUnknown  # deleted between the two reads
        if not there.organization_exists:
            raise OrganizationUnknown
        if not there.may_act:
            raise NotAMember
        return there

    async def _subject(
        self, user_id: UUID, organization_id: UUID, rows: set[UUID], session_id: UUID | None = None
    ) -> Subject | None:
        rows.update((user_id, self._shared(organization_id)))
        if session_id is not None:
            rows.add(session_id)
        subject = await self._store.subject(user_id, organization_id, session_id)
        if subject is not None and subject.assigned_role_id is not None:
            rows.add(self._shared(subject.assigned_role_id))
        return subject

    # -- what many principals have in common is kept once -----------------------------------------------------------

    def _principal(  # noqa: PLR0913 - by name, what is the credential's and not the subject's
        self,
        method: AuthMethod,
        subject: Subject,
        *,
        user_id: UUID,
        expires_at: float | None,
        key_id: UUID | None = None,
        session_id: UUID | None = None,
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
        )

    def _granted(self, subject: Subject) -> frozenset[str]:
        granted = frozenset(subject.permissions)
        place = (subject.role_id, subject.is_super_admin)
        known = self._grants.get(place)
        if known == granted:
            return known
        if len(self._grants) >= _SHARED:
            self._grants.clear()
        self._grants[place] = granted
        return granted

    def _shared(self, row: UUID) -> UUID:
        if len(self._ids) >= _SHARED:
            self._ids.clear()
        return self._ids.setdefault(row, row)
