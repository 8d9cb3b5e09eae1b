"""Passwords, and the bounded pool of threads in which all bcrypt runs.

Laws:

- bcrypt never runs on the event loop, and never more at once than there are workers. What waits is bounded: past
  that, ``Overloaded``, at once.
- An unknown e-mail, a user without a password, an unreadable hash and an over-long password cost what a wrong
  password costs: one bcrypt.
- Hashes are written as Go's bcrypt writes them (``$2a$``): Whatomate reads them.
"""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import bcrypt

from authcore.errors import Overloaded, PasswordUnacceptable
from authcore.figures import Distribution, Figure, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

P = ParamSpec("P")
T = TypeVar("T")

MAX_BYTES: Final = 72
"""bcrypt reads no further; Go's refuses more, and so do we: the rest of a password must not be decoration."""

_HASH: Final = re.compile(r"\$2[aby]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}\Z")


class BcryptPool:
    """A few threads and a bounded queue before them."""

    def __init__(self, *, workers: int, queue: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="bcrypt")
        self._limit = workers + queue
        self._lock = Lock()
        self.pending = 0
        """Jobs running or waiting."""
        self.started = 0
        """Jobs accepted since the start."""
        self.refused = 0
        """Jobs there was no room for."""
        self.waits = Spread()
        """Seconds that jobs waited for a thread."""

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `job` in a thread.

        Raises:
            Overloaded: too many are waiting.
        """
        with self._lock:
            if self.pending >= self._limit:
                self.refused += 1
                raise Overloaded
            self.pending += 1
            self.started += 1
        try:
            future = self._executor.submit(self._begin, time.monotonic(), partial(job, *args, **kwargs))
        except RuntimeError as error:  # closed: the process is ending
            self._done(None)
            raise Overloaded from error
        # Counted down when the thread is done with it, not when the caller has gone.
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _begin(self, submitted: float, job: Callable[[], T]) -> T:
        """Run a job, in its thread."""
        with self._lock:
            self.waits.add(time.monotonic() - submitted)
        return job()

    def _done(self, _future: object) -> None:
        with self._lock:
            self.pending -= 1

    def figures(self) -> Iterable[Figure]:
        """What to publish."""
        yield Figure("pending", "bcrypt jobs running or waiting.", lambda: self.pending)
        yield Figure("started", "bcrypt jobs accepted.", lambda: self.started, counts=True)
        yield Figure("refused", "bcrypt jobs refused for want of room.", lambda: self.refused, counts=True)
        yield Figure("capacity", "bcrypt jobs that may run or wait at most.", lambda: self._limit)

    def spreads(self) -> Iterable[Distribution]:
        """What to publish."""
        yield Distribution("wait_seconds", "How long bcrypt jobs waited for a thread.", self.waits)

    def close(self) -> None:
        """Let the running jobs end, and drop those that wait."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def dummy_hash(cost: int) -> bytes:
    """Make a hash that costs as much as any other of that cost, and that nothing matches."""
    return bcrypt.gensalt(cost, prefix=b"2a") + b"." * 31


class Passwords:
    """Hashes and verifies passwords."""

    def __init__(self, *, min_length: int, cost: int, workers: int, queue: int) -> None:
        self._min_length = min_length
        self._cost = cost
        self._dummy = dummy_hash(cost)
        self.pool = BcryptPool(workers=workers, queue=queue)

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

    async def hash(self, password: str) -> str:
        """Hash a new password.

        Raises:
            PasswordUnacceptable: it breaks the rules of :meth:`check`.
            Overloaded: too many hashes are waiting.
        """
        self.check(password)
        return await self.pool.run(self._hash, password.encode())

    def _hash(self, password: bytes) -> str:
        return bcrypt.hashpw(password, bcrypt.gensalt(self._cost, prefix=b"2a")).decode("ascii")

    async def verify(self, password: str, stored: str | None) -> bool:
        """Tell whether `password` is the one of the hash `stored`; of None, False at the same cost.

        Raises:
            Overloaded: too many hashes are waiting.
        """
        encoded = _encoded(password)
        provable = encoded is not None and len(encoded) <= MAX_BYTES
        readable = stored is not None and _HASH.match(stored) is not None
        against = stored.encode("ascii") if stored is not None and readable else self._dummy
        matches = await self.pool.run(bcrypt.checkpw, (encoded or b"")[:MAX_BYTES], against)
        return matches and provable and readable

    def close(self) -> None:
        """End the threads."""
        self.pool.close()


def _encoded(password: str) -> bytes | None:
    try:
        return password.encode()
    except UnicodeEncodeError:  # lone surrogates, which JSON can spell
        return None
