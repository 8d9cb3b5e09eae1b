"""JWKS client: it fetches and caches the key set of a foreign issuer (RFC 7517).

Laws:

- A token with a known key never waits for a fetch: the set is refreshed early, in the background. A request waits for a
  fetch only if there is no set yet, or if its token names a key that is not in the set.
- Concurrent callers share one fetch. An unknown ``kid`` causes at most one fetch in ``cooldown_seconds``.
- The last good set is used until a newer one is fetched, however long that takes. A set without a usable key is not
  good.
- Only asymmetric keys for the accepted algorithms are used: a secret in a published set is no secret.
- There is no HTTP and no clock in here: the fetch function and ``now`` are passed in. ``now`` is a reading of a steady
  clock: one that was set ahead once and back would have the set fetched no more until then.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from jwt import PyJWK, PyJWKError
from jwt.exceptions import InvalidKeyError

from authcore.crypto.jws import algorithm_of, canonical
from authcore.crypto.keyring import Key
from authcore.errors import IssuerUnavailable
from authcore.figures import MetricSample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

MOST_KEYS: Final = 100
RETRY_SECONDS: Final = 5
"""A failed fetch is repeated after this many seconds."""
PATIENCE_SECONDS: Final = 1
"""Seconds that a sign-in waits for a newer key set or document of a provider, if it has an older one."""
LEAST_SECONDS: Final = 10
"""The least lifetime of a set, even with ``no-store``: else every token would cause a fetch."""
_RSA_BITS: Final = 2048
_FITTING: Final = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""Key type and curve -> the algorithms a key may be for, if it has no ``alg`` (RFC 7518 section 3.1, RFC 8037)."""
_PUBLIC: Final = ("kty", "crv", "n", "e", "x", "y")


class FetchFailed(Exception):
    """The key set could not be fetched; the text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Response of the JWKS endpoint: its body, and its max-age if it has one."""

    body: bytes
    max_age_seconds: float | None = None


class JwksClient:
    """JWKS client of one foreign issuer.

    Attributes:
        problem: Why the last fetch failed; empty if it succeeded.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Fetched]],
        *,
        algorithms: Iterable[str],
        cache_seconds: float,
        cooldown_seconds: float,
    ) -> None:
        self._fetch = fetch
        self._algorithms = frozenset(map(canonical, algorithms))
        self._cache_seconds = cache_seconds
        self._cooldown = cooldown_seconds
        self._keys: tuple[Key, ...] = ()
        self._names: frozenset[tuple[str, str | None, str]] = frozenset()
        self._due = self._askable = 0.0
        self._flight: asyncio.Task[None] | None = None
        self._fetches = self._failures = 0
        self.problem = ""
        self.lost: Callable[[], None] = _nothing
        """Callback that is called when a key has disappeared from the set."""

    async def candidates(self, algorithm: object, kid: object, now: float) -> Sequence[Key]:
        """Return the keys that may have signed a token with this header; empty if the set has none.

        Raises:
            IssuerUnavailable: the set has none, and a current set cannot be fetched.
        """
        found = self._matching(algorithm, kid)
        if found or not isinstance(algorithm, str) or algorithm not in self._algorithms:
            return found
        if self._flight is not None or now >= self._askable:
            await self.refresh(now)
            found = self._matching(algorithm, kid)
        if not found and (self.problem or not self._keys):
            raise IssuerUnavailable
        return found

    async def renewed(self, algorithm: object, now: float) -> Sequence[Key]:
        """Return the keys that may have signed a token without a ``kid`` which none of the known keys has signed.

        The set is fetched once more for it, as for an unknown ``kid``.
        """
        if self._flight is not None or now >= self._askable:
            await self.refresh(now)
        return self._matching(algorithm, None)

    def has(self, name: tuple[str, str | None, str]) -> bool:
        """Return whether the key of this name is in the set as it was last fetched."""
        return name in self._names

    def _matching(self, algorithm: object, kid: object) -> list[Key]:
        fitting = [key for key in self._keys if key.algorithm == algorithm]
        # A name is optional (RFC 7515 section 4.1.4), where it is not needed.
        if kid is None and len(fitting) == 1:
            return fitting
        return [key for key in fitting if key.kid is None or key.kid == kid]

    async def follow(self, now: float, patience: float | None = None) -> None:
        """Fetch the set if its lifetime is over; where there is an older one, wait for `patience` seconds at most."""
        if now >= self._due:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience if self._keys else None):
                    await self.refresh(now)

    async def refresh(self, now: float) -> None:
        """Fetch the set, once for all concurrent callers. A failure is stored in ``problem`` and not raised."""
        if self._flight is None:
            self._flight = asyncio.ensure_future(self._refresh(now))
            self._flight.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Shielded: a caller that waits may be cancelled, and the fetch goes on for the others.
        await asyncio.shield(self._flight)

    async def _refresh(self, now: float) -> None:
        self._fetches += 1
        self._due = self._askable = now + RETRY_SECONDS
        try:
            fetched = await self._fetch()
            keys = tuple(_parse(fetched.body, self._algorithms))
        except FetchFailed as failure:
            self._failures += 1
            self.problem = str(failure)
        else:
            max_age = fetched.max_age_seconds
            lifetime = self._cache_seconds if max_age is None else min(max_age, self._cache_seconds)
            self._due = now + max(lifetime, LEAST_SECONDS)
            self._askable = now + self._cooldown
            had, self._names = self._names, frozenset(key.name for key in keys)
            self._keys, self.problem = keys, ""
            if not had <= self._names:
                self.lost()
        finally:
            self._flight = None

    def figures(self) -> Iterable[MetricSample]:
        """Yield the gauges and counters to publish."""
        yield MetricSample("keys", "Keys of the foreign issuer that are known.", lambda: len(self._keys))
        yield MetricSample(
            "fetches", "Fetches of the foreign issuer's key set.", lambda: self._fetches, counts=True
        )
        yield MetricSample(
            "fetch_failures",
            "Fetches of the foreign issuer's key set that failed.",
            lambda: self._failures,
            counts=True,
        )
        yield MetricSample(
            "outdated",
            "1 while the foreign issuer's key set cannot be fetched, and the last good one is used.",
            lambda: float(bool(self.problem)),
        )


def _parse(body: bytes, algorithms: frozenset[str]) -> Iterator[Key]:
    try:
        content = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise FetchFailed("the key set is no JSON") from None
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise FetchFailed("the key set has no list of keys")
    if len(listed) > MOST_KEYS:
        raise FetchFailed(f"the key set has more than {MOST_KEYS} keys")
    usable = [key for one in listed if isinstance(one, dict) for key in _keys_of(one, algorithms)]
    if not usable:
        raise FetchFailed("the key set has no key that is for signatures by an accepted algorithm")
    yield from usable


def _keys_of(entry: dict[str, Any], algorithms: frozenset[str]) -> Iterator[Key]:
    """Yield a key for each algorithm it is for; nothing for a key that is for another use or cannot be parsed."""
    kid, kty, curve, stated = (entry.get("kid"), entry.get("kty"), entry.get("crv"), algorithm_of(entry))
    named = kid is None or isinstance(kid, str)
    if not named or not isinstance(kty, str) or entry.get("use", "sig") != "sig":
        return
    operations = entry.get("key_ops")
    if isinstance(operations, list) and "verify" not in operations:
        return
    fitting = _FITTING.get((kty, curve if isinstance(curve, str) and kty != "RSA" else None), ())
    for algorithm in fitting:
        if algorithm in algorithms and (stated is None or stated == algorithm):
            try:
                # Only the public members are taken, whatever else was published beside them.
                members: dict[str, Any] = {name: entry[name] for name in _PUBLIC if name in entry}
                jwk = PyJWK(members, algorithm)
                if kty == "RSA" and jwk.key.key_size < _RSA_BITS:
                    return
                material = json.dumps(members, sort_keys=True, default=str)
                key = Key(algorithm, kid, jwk, None, thumbprint=material)
            except (PyJWKError, InvalidKeyError, ValueError, TypeError, KeyError, AttributeError):
                return
            yield key


def _nothing() -> None:
    """Default of ``lost``: do nothing."""
