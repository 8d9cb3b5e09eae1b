"""API keys: their form, their making, their proof, and the record of their use.

Laws:

- A key is ``whm_`` and 32 lower-case hexadecimal characters; anything else is refused before the store is asked.
- bcrypt proves a key once, for every process and restart. Afterwards its HMAC-SHA-256 under a secret of the gateway,
  stored beside the hash it was proved against, stands for the proof: a changed hash or secret needs a new one.
- A key of an unknown prefix costs one statement and no bcrypt; of a known one, five bcrypts at most.
- The proof comes first: only of a genuine key do the metrics record that it is switched off or expired.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final

import bcrypt

from authcore.errors import ApiKeyExpired, ApiKeyMalformed, ApiKeyRejected, ApiKeyRevoked, StoreUnavailable
from authcore.fair_queue import OWN, Lane, Work
from authcore.figures import MetricSample
from authcore.moments import moment
from authcore.networks import network
from authcore.passwords.stored_hashes import StoredHashes
from authcore.store.attempt_rows import CountedName

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from authcore.credentials import ApiKey
    from authcore.passwords.bcrypt_pool import BcryptPool
    from authcore.sign_in_throttle import SignInThrottle
    from authcore.store.protocol import KeyReader, KeyUse
    from authcore.store.rows import ApiKeyRow

PREFIX: Final = "whm_"
COST: Final = 10
_KEY: Final = re.compile(rb"whm_[0-9a-f]{32}\Z")


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
    """Return the prefixes of `key` that its row may have: 16 characters, or the 8 of older rows."""
    text = key[len(PREFIX) :].decode("ascii")
    return text[:16], text[:8]


async def hash_key(key: str, pool: BcryptPool, lane: Lane = OWN) -> str:
    """Hash a minted key for keeping, as Whatomate does, in the turn of `lane`.

    Raises:
        Overloaded: too much password work is waiting.
    """
    hashed = await pool.run_for(lane, bcrypt.hashpw, key.encode("ascii"), bcrypt.gensalt(COST, prefix=b"2a"))
    return hashed.decode("ascii")


class ApiKeys:
    """Proves keys against the store."""

    def __init__(
        self,
        store: KeyReader,
        pool: BcryptPool,
        *,
        secret: bytes,
        hashes: StoredHashes | None = None,
        attempts: SignInThrottle | None = None,
    ) -> None:
        """Prepare.

        `secret` is the gateway's, and shared by all that share a database; `hashes` reads what rows hold, and
        `attempts` counts proofs that fail.
        """
        self._attempts = attempts
        self._store = store
        self._pool = pool
        self._hashes = hashes or StoredHashes()
        self._secret = secret
        self._proving: dict[bytes, asyncio.Task[bool]] = {}
        self._proofs = self._unstored = 0

    async def prove(self, credential: ApiKey, now: float, address: str = "") -> ApiKeyRow:
        """Return the row of a key, be it switched on or off; `address` is where its caller is.

        Raises:
            ApiKeyRejected: malformed or unknown.
            Throttled: a proof is needed, and too many attempts have failed from this address.
            Overloaded: too many proofs are waiting.
            StoreUnavailable: the database does not answer.
        """
        key = parse(credential.secret)
        digest = hmac.digest(self._secret, key, "sha256")
        for row in await self._store.api_key_candidates(prefixes(key), digest):
            if row.is_proved or await self._proves(key, digest, row, now, address):
                return row
        raise ApiKeyRejected

    async def _proves(self, key: bytes, digest: bytes, row: ApiKeyRow, now: float, address: str) -> bool:
        """Run bcrypt: once, for all callers that present the key meanwhile."""
        if self._hashes.cost(row.key_hash) is None:
            return False
        question = row.id.bytes + digest + row.key_hash.encode("ascii")
        answer = self._proving.get(question)
        if answer is None:
            answer = self._proving[question] = asyncio.ensure_future(
                self._run_bcrypt(key, digest, row, now, address)
            )
            answer.add_done_callback(lambda done: self._proved(question, done))
        return await asyncio.shield(answer)

    async def _run_bcrypt(self, key: bytes, digest: bytes, row: ApiKeyRow, now: float, address: str) -> bool:
        async def tried(lane: Lane) -> bool | None:
            self._proofs += 1
            return await self._pool.run_for(lane, self._hashes.proves, key, row.key_hash) or None

        place = network(address)
        if self._attempts is None:
            proved = await tried(Lane(place, Work.KEY))
        else:
            # Counted for this network alone: a client that knows the beginning of a key shuts out nobody elsewhere.
            subject = f"{prefixes(key)[0]} {place}"
            proved = await self._attempts.throttled(
                tried, email=subject, address=address, now=now, work=Work.KEY, kind=CountedName.KEY
            )
        if not proved:
            return False
        try:
            await self._store.add_api_key_digest(row.id, row.key_hash, digest)
        except StoreUnavailable:  # proved all the same; the next caller proves it again
            self._unstored += 1
        return True

    def _proved(self, question: bytes, done: asyncio.Task[bool]) -> None:
        del self._proving[question]
        if not done.cancelled():
            done.exception()  # retrieved here: nobody may be waiting any more

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        yield MetricSample("proving", "Keys that bcrypt is proving.", lambda: len(self._proving))
        yield MetricSample(
            "proofs", "Keys that bcrypt has proved or refuted.", lambda: self._proofs, counts=True
        )
        yield MetricSample(
            "unkept", "Proofs whose digest could not be stored.", lambda: self._unstored, counts=True
        )


def require_active(row: ApiKeyRow, now: float) -> None:
    """Hold a proved key against its state.

    Raises:
        ApiKeyRevoked: it is switched off.
        ApiKeyExpired: its time is over.
    """
    if not row.is_active:
        raise ApiKeyRevoked
    if row.expires_at is not None and row.expires_at.timestamp() <= now:
        raise ApiKeyExpired


def derive_secret(secret: bytes) -> bytes:
    """Derive the secret of key digests from another one, so that knowing either does not give the other away."""
    return hmac.digest(secret, b"whatomate-gateway api key digests 1", "sha256")


class LastUsed:
    """Collects which keys were used, and writes them together: no request waits for that."""

    def __init__(self, store: KeyUse) -> None:
        self._store = store
        self._used: set[UUID] = set()
        self._written = 0

    def add(self, key_id: UUID) -> None:
        """Note a use."""
        self._used.add(key_id)

    async def flush(self, now: float) -> int:
        """Write what was noted, in one statement, and return of how many keys.

        Raises:
            StoreUnavailable: They are not written, and stay for the next call; so do those of a call that is cancelled.
        """
        if not self._used:
            return 0
        used, self._used = self._used, set()
        try:
            await self._store.mark_used(sorted(used), moment(now))
        except BaseException:
            self._used |= used
            raise
        self._written += len(used)
        return len(used)

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        yield MetricSample("waiting", "Keys whose last use is still to be written.", lambda: len(self._used))
        yield MetricSample("written", "Last uses written.", lambda: self._written, counts=True)
