"""Sign-in throttle, over attempts at a password: how many may fail, and how long the next one has to wait.

Three counters judge an attempt, each a bucket that leaks ``free failures / window``: the client's address (IPv6 by its
/64), the e-mail, and the e-mail at this address. While a bucket is not full, attempts are free. Each failure after that
doubles the wait before the next: a short wait is served here (the attempt is held), a longer one is refused, unproved.

Laws:

- An attempt is counted before its password is looked at, in one statement that also judges it: guesses in parallel, on
  however many replicas, get no more tries than guesses one after the other.
- The e-mail is folded by the very function that finds the account, in the database: one account, one counter.
- What is asked of an unknown e-mail is what is asked of a known one: the same counters, the same answers.
- An address from which the e-mail was signed in to, or where a session of its account was last used, passes the
  counters of the e-mail and of the address, and so does a caller with a session: nobody can lock a user out at an
  address that they use. A wrong password there gets the answer of an unknown address, after the same time: every
  refusal keeps the pace of a failure (:mod:`authcore.refusal_pace`).
- Success forgives what failed for that e-mail from that address, and nothing else: signing in to one account does not
  pay for guesses at another. A registration that anybody may make counts with the address though it succeeds.
- When the store does not answer nobody is let through: :class:`~authcore.errors.StoreUnavailable`.
- Nor does that count as a failure: what was counted for an attempt that came to no verdict, or that could not be
  forgiven, is remembered here and taken back before the next attempt for that e-mail.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cachetools import LRUCache

from authcore.errors import Overloaded, StoreUnavailable, Throttled
from authcore.fair_queue import Lane, Work
from authcore.moments import moment
from authcore.networks import network
from authcore.refusal_pace import RefusalPace
from authcore.store.attempt_rows import AttemptLimits, CountedName, NewAttempt
from authcore.store.failures import classify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from authcore.store.attempt_rows import Reservation, Reserved
    from authcore.store.attempts import AttemptRows

T = TypeVar("T")

_DEBTORS: Final = 10_000


class _Debt(NamedTuple):
    """Attempt whose count is still to be taken back; with `forgives`, earlier failures are forgiven as well."""

    reserved: Reserved
    at: datetime
    forgives: bool


class SignInThrottle:
    """Sign-in throttle: it counts attempts and decides when the next one may be tried."""

    def __init__(self, store: AttemptRows, limits: AttemptLimits | None = None) -> None:
        self._store = store
        self._limits = limits or AttemptLimits()
        self._pace = RefusalPace()
        self._trying: Counter[str] = Counter()
        self._under_way: dict[str, set[asyncio.Future[None]]] = {}
        self._owed: LRUCache[str, list[_Debt]] = LRUCache(_DEBTORS)

    async def throttled(  # noqa: PLR0913 - an attempt, by name
        self,
        prove: Callable[[Lane], Awaitable[T | None]],
        *,
        email: str,
        address: str,
        now: float,
        has_session: bool = False,
        work: Work = Work.LOGIN,
        keeps: bool = False,
        kind: CountedName = CountedName.EMAIL,
    ) -> T | None:
        """Let `prove` try, when its turn has come, and return what it returns: None is a failure.

        Args:
            prove: Looks the account up and tries the password, in the turn of the lane that it is given.
            email: As given; of what no account can have, the empty string.
            address: Where the client is, as far as that is believed.
            now: POSIX seconds.
            has_session: The caller has a session of the account already.
            work: What is tried.
            kind: What `email` is, if the attempt is at no account: keys and invitations have counters of their own.
            keeps: A success goes on counting with the address: so does work that anybody may ask for.

        Raises:
            Throttled: it is not its turn; nothing has been tried.
            StoreUnavailable: the database does not answer.
        """
        email = email.strip()  # however it is spelt, its failures are counted together
        loop = asyncio.get_running_loop()
        began = loop.time()
        attempt = NewAttempt(
            email=email,
            address=address,
            network=network(address),
            at=moment(now),
            known_since=moment(now - self._limits.known_seconds),
            has_session=has_session,
            kind=kind,
        )
        name = f"{kind} {email}"
        await self._pay(name)
        reservation = await self._reserve(attempt)
        while reservation.reserved is None and await self._others_end(name, began):
            attempt = replace(attempt, at=moment(now + loop.time() - began))
            reservation = await self._reserve(attempt)
        if reservation.reserved is None:
            raise await self._throttled(reservation.wait_seconds, began)
        if reservation.wait_seconds > 0:
            await asyncio.sleep(reservation.wait_seconds)
        is_alone = not self._trying[attempt.network]
        with self._proving(name, attempt.network):
            at = attempt.at + timedelta(seconds=reservation.wait_seconds)
            lane = Lane(attempt.network, Work.KNOWN if reservation.is_known else work)
            proved = await self._settled(
                prove, lane, name, _Debt(reservation.reserved, at, forgives=False), keeps=keeps
            )
        if proved is None and is_alone and work is Work.LOGIN and reservation.wait_seconds <= 0:
            self._pace.failed(loop.time() - began)
        # Only a known caller learns the wait: an unknown one was refused before.
        if proved is None and reservation.passed_seconds is not None:
            raise await self._throttled(reservation.passed_seconds, began)
        return proved

    async def _reserve(self, attempt: NewAttempt) -> Reservation:
        """Count an attempt; one for an e-mail that no row of the database can hold as one without an e-mail."""
        try:
            return await self._store.reserve_attempt(attempt, self._limits)
        except StoreUnavailable as outage:
            if not attempt.email or not classify(outage.__cause__).is_of_text:
                raise
        return await self._store.reserve_attempt(replace(attempt, email=""), self._limits)

    async def _throttled(self, seconds: float, began: float) -> Throttled:
        """Return the refusal of an attempt that may be made again in `seconds`, when it has taken its time."""
        await self._pace.keep(began)
        return Throttled(max(1, math.ceil(seconds)))

    async def _settled(
        self,
        prove: Callable[[Lane], Awaitable[T | None]],
        lane: Lane,
        name: str,
        counted: _Debt,
        *,
        keeps: bool,
    ) -> T | None:
        """Try, and take back what was counted unless it failed."""
        try:
            proved = await prove(lane)
        except Overloaded:  # nobody looked at the password
            self._owe(name, counted)
            with suppress(StoreUnavailable):
                await self._pay(name)
            raise
        except StoreUnavailable:  # nor could anybody; it is not there to take it back either
            self._owe(name, counted)
            raise
        if proved is not None:
            reserved = replace(counted.reserved, counted_address=None) if keeps else counted.reserved
            self._owe(name, counted._replace(reserved=reserved, forgives=True))
            await self._pay(name)
        return proved

    def _owe(self, name: str, debt: _Debt) -> None:
        self._owed[name.lower()] = [*self._owed.get(name.lower(), ()), debt]

    async def _pay(self, name: str) -> None:
        """Take back the attempts of an e-mail that an outage left counted.

        Raises:
            StoreUnavailable: The store does not answer yet; they stay owed.
        """
        owed = self._owed.pop(name.lower(), [])
        while owed:
            debt = owed[-1]
            take_back = self._store.forgive_attempts if debt.forgives else self._store.return_attempt
            try:
                await take_back(debt.reserved, debt.at, self._limits)
            except BaseException:
                self._owed[name.lower()] = [*owed, *self._owed.get(name.lower(), ())]
                raise
            owed.pop()

    @contextmanager
    def _proving(self, name: str, network: str) -> Iterator[None]:
        """Let those who wait for this attempt's end know of it."""
        key, ended = name.lower(), asyncio.get_running_loop().create_future()
        self._under_way.setdefault(key, set()).add(ended)
        self._trying[network] += 1
        try:
            yield
        finally:
            ended.set_result(None)
            self._trying[network] -= 1
            if not self._trying[network]:
                del self._trying[network]
            self._under_way[key].discard(ended)
            if not self._under_way[key]:
                del self._under_way[key]

    async def _others_end(self, name: str, since: float) -> bool:
        """Wait for the attempts being proved right now for that e-mail to end; False when there are none.

        Of several sign-ins at once with the right password those that come last would be refused for the sake of those
        that are only counted, and about to be forgiven.
        """
        others = self._under_way.get(name.lower())
        patience = since + self._limits.hold_seconds - asyncio.get_running_loop().time()
        if not others or patience <= 0:
            return False
        ended, _ = await asyncio.wait(others, timeout=patience)
        return bool(ended)

    async def purge(self, now: float) -> int:
        """Forget counters that have leaked empty and addresses not used for long; return how many.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        known_since = moment(now - self._limits.known_seconds)
        return await self._store.purge_attempts(moment(now), known_since)
