"""Passwords: the rules for new ones, hashing, and verification in equal time.

Laws:

- bcrypt runs in the pool (:mod:`authcore.passwords.bcrypt_pool`), never on the event loop.
- A failed verification costs the same for every e-mail: one without an account, without a password or with an
  unreadable hash, and one whose hash is cheaper than others are.
- Hashes are written as Go's bcrypt writes them (``$2a$``): Whatomate reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import bcrypt

from authcore.errors import PasswordUnacceptable
from authcore.fair_queue import OWN
from authcore.figures import MetricSample
from authcore.passwords.bcrypt_pool import BcryptPool
from authcore.passwords.stored_hashes import StoredHashes, Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from authcore.fair_queue import Lane

MAX_BYTES: Final = 72
"""bcrypt reads no further; Go's refuses more, and so do we: the rest of a password must not be decoration."""

MAX_LEVELLED_COST: Final = 14
"""Up to this cost failed verifications are made to cost the same, some 0.9 seconds of a thread each.

Above it a few accounts with dearer hashes would make every wrong password as dear: the time that they take shows that
they exist.
"""


def dummy_hash(cost: int) -> bytes:
    """Make a hash that costs as much as any other of that cost, and that nothing matches."""
    return bcrypt.gensalt(cost, prefix=b"2a") + b"." * 31


class Passwords:
    """Hashes and verifies passwords.

    Attributes:
        pool: The threads that run bcrypt.
        hashes: The reader of stored hashes.
    """

    def __init__(  # noqa: PLR0913 - its settings, by name
        self,
        *,
        min_length: int,
        cost: int,
        workers: int,
        queue: int,
        network_workers: int = 0,
        network_queue: int | None = None,
        report: Callable[[Unusable], None] = lambda _: None,
    ) -> None:
        """`cost` is that of new hashes; `report` is called for each stored hash that cannot be tried."""
        self._min_length = min_length
        self._cost = cost
        self._level = cost
        self._dummies: dict[int, bytes] = {}
        self.pool = BcryptPool(
            workers=workers, queue=queue, network_workers=network_workers, network_queue=network_queue
        )
        self.hashes = StoredHashes(report)

    @property
    def level(self) -> int:
        """The cost that a failed verification amounts to: the greatest that was met, of new hashes or stored ones."""
        return self._level

    def learn(self, cost: int) -> None:
        """Note that there are stored hashes of a cost: failed verifications cost as much from now on."""
        self._level = max(self._level, min(cost, MAX_LEVELLED_COST))

    def check(self, password: str) -> None:
        """Hold a new password against the rules.

        Raises:
            PasswordUnacceptable: too short, over 72 bytes, or of characters that cannot be hashed.
        """
        if len(password) < self._min_length:
            raise PasswordUnacceptable(f"Password must be at least {self._min_length} characters")
        encoded = _encoded(password)
        if encoded is None or b"\0" in encoded:
            raise PasswordUnacceptable("Password contains characters that are not allowed")
        if len(encoded) > MAX_BYTES:
            raise PasswordUnacceptable(f"Password must be at most {MAX_BYTES} bytes")

    async def hash(self, password: str, lane: Lane = OWN) -> str:
        """Hash a new password.

        Raises:
            PasswordUnacceptable: it breaks the rules of :meth:`check`.
            Overloaded: too many hashes are waiting.
        """
        self.check(password)
        return await self.pool.run_for(lane, self._hash, password.encode())

    def _hash(self, password: bytes) -> str:
        return bcrypt.hashpw(password, bcrypt.gensalt(self._cost, prefix=b"2a")).decode("ascii")

    async def verify(self, password: str, stored: str | None, lane: Lane = OWN) -> bool:
        """Return whether `password` is the one of the hash `stored`; of None, False at the same cost.

        Raises:
            Overloaded: too many hashes are waiting.
        """
        encoded = _encoded(password)
        provable = encoded is not None and len(encoded) <= MAX_BYTES
        cost = self.hashes.cost(stored)
        matches = await self.pool.run_for(
            lane, self._matches, (encoded or b"")[:MAX_BYTES], None if cost is None else stored, cost or 0
        )
        return matches and provable

    def _matches(self, password: bytes, stored: str | None, cost: int) -> bool:
        """Run bcrypt, in a thread: once, and after a failure as much more as other hashes would have cost."""
        proved = None if stored is None else self.hashes.proves(password, stored)
        if proved:
            return True
        if proved is None:
            self._spend(password, self._level)
        else:  # 2^c + (2^c + 2^(c+1) + ... + 2^(level-1)) = 2^level
            self.learn(cost)
            for dummy in range(cost, self._level):
                self._spend(password, dummy)
        return False

    def _spend(self, password: bytes, cost: int) -> None:
        dummy = self._dummies.get(cost)
        if dummy is None:
            dummy = self._dummies[cost] = dummy_hash(cost)
        bcrypt.checkpw(password, dummy)

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        yield from self.pool.figures()
        yield from self.hashes.figures()
        yield MetricSample("level", "bcrypt cost that a failed verification amounts to.", lambda: self._level)

    def close(self) -> None:
        """End the threads."""
        self.pool.close()


def _encoded(password: str) -> bytes | None:
    try:
        return password.encode()
    except UnicodeEncodeError:  # lone surrogates, which JSON can spell
        return None
