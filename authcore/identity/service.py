"""Identity service: it wires the authenticator, its cache, API keys and the change listener over one store.

Law: when the LISTEN connection is lost, every cached verdict becomes stale; when it is back, the cache is cleared. Both
are synchronous.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from authcore.identity.api_keys import ApiKeys, LastUsed
from authcore.identity.authenticator import Authenticator
from authcore.identity.verdict_cache import VerdictCache
from authcore.moments import moment
from authcore.revocation import RevocationReason, Standings
from authcore.store.changes import Changes, Hearing
from authcore.store.circuit import ended
from authcore.store.origins import ProofRule
from authcore.store.rows import Change
from authcore.store.triggers import TRIGGER_NOTES, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from authcore.figures import HistogramSample, MetricSample
    from authcore.identity.foreign_issuer import ForeignIssuer
    from authcore.identity.verdict_cache import Limits
    from authcore.passwords.hasher import Passwords
    from authcore.principal import Principal
    from authcore.sign_in_throttle import SignInThrottle
    from authcore.store.address import Address
    from authcore.store.changes import ChangeListener
    from authcore.store.postgres import PostgresStore
    from authcore.tokens.issuer import Tokens

_START_SECONDS: Final = 1
_DIGEST_SECONDS: Final = 90 * 86_400
"""Age at which a key's digest is purged and computed anew, so that digests of old keys and secrets go away."""


class IdentityService:
    """Identity service: the authenticator and everything that it depends on.

    Attributes:
        authenticator: Turns credentials into principals.
        last_used: The buffer of API key uses that are not yet written to the database.
        foreign: The foreign issuer whose tokens are accepted, if any.
    """

    def __init__(  # noqa: PLR0913 - its collaborators by position, its settings by name
        self,
        store: PostgresStore,
        tokens: Tokens,
        passwords: Passwords,
        *,
        address: Address,
        limits: Limits,
        key_secret: bytes,
        attempts: SignInThrottle | None,
        foreign: ForeignIssuer | None,
        lenient: bool,
    ) -> None:
        """`address` is the database that sends the notifications; `lenient` is as of `Authenticator`."""
        self._store = store
        self._passwords = passwords
        self._limits = limits
        self._memory = VerdictCache(limits)
        self._api_keys = ApiKeys(
            store, passwords.pool, secret=key_secret, hashes=passwords.hashes, attempts=attempts
        )
        self._listeners: list[ChangeListener] = [self._memory]
        self._changes = Changes(address, self, store)
        self._listening: asyncio.Task[None] | None = None
        self.last_used = LastUsed(store)
        self.foreign = foreign
        if foreign is not None:
            change = Change(rows=(foreign.row,))
            foreign.keys.lost = lambda: self.hear(change)
        self.authenticator = Authenticator(
            store, tokens, self._api_keys, self.last_used, self._memory, foreign, lenient=lenient
        )

    def __repr__(self) -> str:
        return repr(self._memory)

    async def start(self) -> None:
        """Start to listen for changes, and wait up to a second until it does: the cache is cleared at that moment."""
        self._listening = asyncio.get_running_loop().create_task(self._changes.run(), name="changes")
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._changes.tried.wait()

    async def stop(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            await ended(self._listening)

    def forget(self) -> None:
        """Clear the cache: a key that proved cached principals may not verify any more."""
        self.hear(Change(everything=True))

    async def purge(self, now: float) -> int:
        """Delete old digests of API keys, and the links of keys that are gone; return how many digests.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        await self._store.purge_api_key_links()
        return await self._store.purge_api_key_digests(moment(now - _DIGEST_SECONDS))

    def hear(self, change: Change) -> None:
        """Pass a change to every listener, whether the database sent it or this process made it."""
        for listener in self._listeners:
            listener.hear(change)

    def begin_gap(self) -> None:
        """Tell every listener that changes may go unheard from now on."""
        for listener in self._listeners:
            listener.begin_gap()

    def end_gap(self) -> None:
        """Tell every listener that changes are heard again."""
        for listener in self._listeners:
            listener.end_gap()

    def tell(self, listener: ChangeListener) -> None:
        """Add a listener of changes. It is called after the cache, which has then applied the change already."""
        self._listeners.append(listener)

    async def standings(self, principals: Sequence[Principal], now: float) -> Standings:
        """Return which of `principals`, by index, are no longer valid, and why, and when others end.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        foreign = self.foreign
        rule = ProofRule() if foreign is None else foreign.rule
        found = await self._store.standings(principals, moment(now), rule)
        revoked = dict(found.revoked)
        for place, one in enumerate(principals):
            if one.foreign is not None and (foreign is None or not foreign.keys.has(one.foreign.key)):
                revoked.setdefault(place, RevocationReason.KEY)
        return Standings(revoked, found.ends)

    async def purge_tickets(self, now: float) -> int:
        """Delete used tickets that have expired, and return how many.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        # One day after expiry, because the clocks of replicas differ.
        return await self._store.purge_tickets(moment(now - 86_400))

    @property
    def hearing(self) -> Hearing:
        """State of the change listener: how changes reach this process now."""
        return self._changes.hearing

    @property
    def loads(self) -> int:
        """Number of verdicts on callers that were asked of the store so far."""
        return self._memory.loads

    @property
    def staleness(self) -> Mapping[str, object]:
        """The bound on how long a revocation may go unnoticed, in words for an operator."""
        pushed = self.hearing is Hearing.PUSHED
        seen = self._changes.triggers
        note = TRIGGER_NOTES.get(seen) if seen is not State.MISSING else None  # `changes` says that
        return {
            "bound_by": "push" if pushed else "time",
            "changes": str(self.hearing),
            "at_most_seconds": 0.0 if pushed else self._limits.cache_seconds,
            **({} if note is None else {"triggers": note}),
        }

    def figures(self) -> Mapping[str, Iterable[MetricSample]]:
        """Return the gauges and counters to publish, by part."""
        return {
            **({} if self.foreign is None else {"issuer": self.foreign.keys.figures()}),
            "identity": self._memory.figures(),
            "changes": self._changes.figures(),
            "keys": self._api_keys.figures(),
            "last_used": self.last_used.figures(),
            "bcrypt": self._passwords.figures(),
            "store": self._store.figures(),
        }

    def histograms(self) -> Mapping[str, Iterable[HistogramSample]]:
        """Return the histograms to publish, by part."""
        return {"bcrypt": self._passwords.pool.histograms(), "store": self._store.histograms()}
