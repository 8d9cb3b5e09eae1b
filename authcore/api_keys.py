"""API keys: their form, their making, their proof, and the record of their use.

Laws:

- A key is ``whm_`` and 32 lower-case hexadecimal characters; anything else is refused before the store is asked.
- bcrypt proves a key once. Afterwards a keyed digest of key and stored hash, under a secret of this process, stands
  for the proof: a changed hash needs a new one, and memory holds no key.
- The proof comes first: whether a key is switched off or expired is told (to metrics) only of genuine keys.
"""

from __future__ import annotations

import math
import re
import secrets
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import bcrypt

from authcore.cache import Cache
from authcore.errors import ApiKeyExpired, ApiKeyMalformed, ApiKeyRejected, ApiKeyRevoked, StoreUnavailable

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.credentials import ApiKey
    from authcore.passwords import BcryptPool
    from authcore.store.protocol import ApiKeyRow, KeyUse, SubjectReader

PREFIX: Final = "whm_"
COST: Final = 10
_KEY: Final = re.compile(rb"whm_[0-9a-f]{32}\Z")
_HASH: Final = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-9])\$[./A-Za-z0-9]{53}\Z")


def mint() -> str:
    """Make a new key."""
    return PREFIX + secrets.token_hex(16)


def parse(key: bytes) -> bytes:
    """Return `key` when it has the form of one.

    Raises:
        ApiKeyMalformed: it has not.
    """
    if _KEY.match(key) is None:
        raise ApiKeyMalformed
    return key


def prefixes(key: bytes) -> tuple[str, str]:
    """Return what a row may keep as the prefix of `key`: today's 16 characters, and the 8 of older rows."""
    text = key[len(PREFIX) :].decode("ascii")
    return text[:16], text[:8]


async def hash_key(key: str, pool: BcryptPool) -> str:
    """Hash a minted key for keeping, as Whatomate does.

    Raises:
        Overloaded: too much password work is waiting.
    """
    hashed = await pool.run(bcrypt.hashpw, key.encode("ascii"), bcrypt.gensalt(COST, prefix=b"2a"))
    return hashed.decode("ascii")


class ApiKeys:
    """Proves keys against the store."""

    def __init__(self, store: SubjectReader, pool: BcryptPool, *, entries: int = 100_000) -> None:
        self._store = store
        self._pool = pool
        self._secret = secrets.token_bytes(32)
        self._proofs: Cache[bytes, bool] = Cache(seconds=math.inf, entries=entries, jitter=0)

    async def verify(self, credential: ApiKey, now: float) -> ApiKeyRow:
        """Prove a key and return its row.

        Raises:
            ApiKeyRejected: malformed, unknown, switched off or expired (by subclass).
            Overloaded: too many proofs are waiting.
            StoreUnavailable: the database does not answer.
        """
        key = parse(credential.key)
        for row in await self._store.api_key_candidates(prefixes(key)):
            if await self._proves(key, row):
                if not row.is_active:
                    raise ApiKeyRevoked
                if row.expires_at is not None and row.expires_at.timestamp() <= now:
                    raise ApiKeyExpired
                return row
        raise ApiKeyRejected

    async def _proves(self, key: bytes, row: ApiKeyRow) -> bool:
        if _HASH.match(row.key_hash) is None:
            return False
        stored = row.key_hash.encode("ascii")
        digest = blake2b(row.id.bytes + stored + key, key=self._secret, digest_size=32).digest()

        async def prove() -> bool:
            if not await self._pool.run(bcrypt.checkpw, key, stored):
                raise _NotThisKey  # raised, and so not remembered: only proofs are
            return True

        try:
            return await self._proofs.fetch(digest, 0, prove)
        except _NotThisKey:
            return False


class _NotThisKey(Exception):
    """The key is another than the row's."""


class LastUsed:
    """Collects which keys were used, and writes them together: no request waits for that."""

    def __init__(self, store: KeyUse) -> None:
        self._store = store
        self._used: set[UUID] = set()

    def add(self, key_id: UUID) -> None:
        """Note a use."""
        self._used.add(key_id)

    async def flush(self, now: float) -> int:
        """Write what was noted, in one statement, and return of how many keys.

        Raises:
            StoreUnavailable: not written; kept for the next time.
        """
        if not self._used:
            return 0
        used, self._used = self._used, set()
        try:
            await self._store.mark_used(sorted(used), datetime.fromtimestamp(now, UTC))
        except StoreUnavailable:
            self._used |= used
            raise
        return len(used)
