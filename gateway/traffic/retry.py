"""Retry policy and retry budget: which requests may be sent again, for which cause, how late and how many at once.

Laws:

- A request is sent again only if a second one does no harm: it has a safe method, or one that the policy names.
- A pause is drawn between nothing and a bound that doubles each time ("full jitter"), so that clients of one outage do
  not come back together.
- The budget is of the upstream as a whole: retries under way are at most a share of its active requests, or a floor
  where that is more. Without it, an upstream that fails would get every request several times.
"""

from __future__ import annotations

from typing import Final

SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})
"""Methods that change nothing (RFC 9110 section 9.2.1)."""
IDEMPOTENT: Final = frozenset({b"PUT", b"DELETE"})
"""Methods that may be repeated besides the safe ones (RFC 9110 section 9.2.2)."""
_MOST_DOUBLINGS: Final = 30


class RetryPolicy:
    """Retry policy of a route.

    Attributes:
        on_stale: A kept-alive connection that proves to be dead is repeated on another, once.
        on_connect: A connection that could not be opened is tried again.
        on_reset: A connection that ended before any byte of a response is repeated.
        statuses: Responses with these statuses are repeated.
        attempts: Most attempts of one request, the first included.
        on_timeout: An attempt that took longer than `try_seconds` is repeated.
        try_seconds: Longest time of one attempt, without the time in which the client sends its body
            (:mod:`gateway.proxy.attempt_timer`); 0 for no such bound.
        backoff_seconds: Bound of the first pause.
        backoff_max_seconds: Bound of any pause.
        after_seconds: Longest ``Retry-After`` that is waited for.
        idempotent: PUT and DELETE may be repeated.
        keyed: A request with an Idempotency-Key may be repeated, whatever its method.
        body_bytes: Most bytes of a request's body that are stored for a repetition.
    """

    __slots__ = (
        "after_seconds",
        "attempts",
        "backoff_max_seconds",
        "backoff_seconds",
        "body_bytes",
        "idempotent",
        "keyed",
        "on_connect",
        "on_reset",
        "on_stale",
        "on_timeout",
        "statuses",
        "try_seconds",
    )

    def __init__(  # noqa: PLR0913 -- the parts of a policy, each by its name
        self,
        *,
        on_stale: bool = True,
        on_connect: bool = False,
        on_reset: bool = False,
        on_timeout: bool = False,
        statuses: frozenset[int] = frozenset(),
        attempts: int = 2,
        try_seconds: float = 0.0,
        backoff_seconds: float = 0.025,
        backoff_max_seconds: float = 0.25,
        after_seconds: float = 1.0,
        idempotent: bool = False,
        keyed: bool = False,
        body_bytes: int = 0,
    ) -> None:
        self.on_stale = on_stale
        self.on_connect = on_connect
        self.on_reset = on_reset
        self.on_timeout = on_timeout
        self.statuses = statuses
        self.attempts = attempts
        self.try_seconds = try_seconds
        self.backoff_seconds = backoff_seconds
        self.backoff_max_seconds = backoff_max_seconds
        self.after_seconds = after_seconds
        self.idempotent = idempotent
        self.keyed = keyed
        self.body_bytes = body_bytes

    def causes(self) -> list[str]:
        """Return the causes of a repetition in the words of the settings."""
        named = (("stale", self.on_stale), ("connect-failure", self.on_connect), ("reset", self.on_reset))
        return [name for name, is_on in named if is_on] + [str(status) for status in sorted(self.statuses)]

    def repeats(self) -> list[str]:
        """Return which requests may be sent twice, in the words of the settings."""
        named = (("safe", True), ("idempotent", self.idempotent), ("idempotency-key", self.keyed))
        return [name for name, is_on in named if is_on]

    def allows(self, method: bytes, *, has_key: bool) -> bool:
        """Return whether a request may be sent twice, by its method and whether it has one Idempotency-Key."""
        return method in SAFE or (self.idempotent and method in IDEMPOTENT) or (self.keyed and has_key)

    def pause(self, retry: int, chance: float) -> float:
        """Return the seconds before a retry.

        Args:
            retry: 1 for the first retry of the request.
            chance: A random number from 0 to 1.
        """
        doublings = min(retry - 1, _MOST_DOUBLINGS)
        return chance * min(self.backoff_max_seconds, self.backoff_seconds * float(1 << doublings))


class RetryBudget:
    """Retry budget of an upstream.

    Attributes:
        percent: Most retries under way, as a share of the active requests.
        floor: So many retries may be under way in any case.
    """

    __slots__ = ("floor", "percent")

    def __init__(self, percent: float = 20.0, floor: int = 3) -> None:
        self.percent = percent
        self.floor = floor

    def allows(self, active: int, retrying: int) -> bool:
        """Return whether one more retry may begin beside `retrying`, while `active` requests are at work."""
        return retrying < self.floor or (retrying + 1) * 100.0 <= active * self.percent
