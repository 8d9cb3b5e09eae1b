"""Redis client for the keys of a Whatomate server: ids of unused refresh tokens, and cached permissions.

Laws:

- Each call takes ``timeout_seconds`` at most, with all that it takes to connect. After a failure nothing is asked for
  ``PAUSE_SECONDS``: every answer is then that nothing is known, at once. After that one call asks, and the others go on
  without until it has been answered.
- Calls beyond ``CONNECTIONS`` at once wait their turn. Their number is no failure: else a client that sends many would
  switch the single use of tokens off.
- After a failure the next call goes by a new connection: the name may lead to another server by then, while the old one
  is a replica that refuses writes. A connection that the server has closed is no failure: it is opened once more.
- An id is used up in one step on the server, and a mark says for a while that it was a gateway that did.
- It counts as answering while it does all that using an id up takes: a user without the right to, or a replica that
  takes no writes, answers a PING as well.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from authcore.counterpart import Taken
from authcore.figures import MetricSample
from authcore.pause_aware import PauseAwareTimeout
from authcore.store.redis_dialling import disconnect, once, over_dial, without_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from authcore.store.dialled_loop import Dial

PAUSE_SECONDS: Final = 2.0
CONNECTIONS: Final = 16
MARK_SECONDS: Final = 3600
"""For so long it is known that a gateway used a token up; by then the database has long known it too."""

_TOKEN: Final = "refresh:"  # noqa: S105 -- the prefix of Whatomate's keys
_MARK: Final = "gateway:refresh:"
_TAKE: Final = """
local user = redis.call('GET', KEYS[1])
if user then
    redis.call('DEL', KEYS[1])
    redis.call('SET', KEYS[2], user, 'EX', ARGV[1])
    return 'taken'
end
return redis.call('EXISTS', KEYS[2]) == 1 and 'before' or 'gone'
"""

# SET comes first: what a script did before it ran out of memory, a full server lets it go on with.
_PROBE: Final = """
redis.call('SET', KEYS[2], '', 'EX', ARGV[1])
redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return redis.call('EXISTS', KEYS[2]) == 1 and 'proved' or 'gone'
"""
_PROBED: Final = "probe"
_LONGEST_WORDS: Final = 200
_ANSWERED: Final = (AuthenticationError, ResponseError)

_ANSWERS: Final = frozenset({Taken.TAKEN, Taken.BEFORE, Taken.GONE})


class WhatomateRedis:
    """The Redis of a Whatomate server."""

    def __init__(  # noqa: PLR0913 -- where it is, how long it may take, and whom it tells
        self,
        url: str,
        *,
        timeout_seconds: float,
        present_url: Callable[[], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        report: Callable[[Exception | None], None] = lambda _: None,
        dial: Dial | None = None,
    ) -> None:
        """`url` is a redis://, rediss:// or unix:// URL; `report` is called with each failure.

        It is called with None at the first answer after one.

        `present_url` returns the URL by which a connection logs in; without it that is `url`.

        `dial` returns a socket that is connected to a host and a port; without it the library looks names up itself.

        Raises:
            ValueError: `url` cannot be read.
        """
        self._timeout = timeout_seconds
        bare, login = without_login(url, present_url)
        pool = BlockingConnectionPool.from_url(
            bare,
            **login,
            max_connections=CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=once(),
            decode_responses=True,
            client_name="whatomate-gateway",
        )
        if dial is not None and issubclass(pool.connection_class, Connection):
            pool.connection_class = over_dial(pool.connection_class, dial)
        self._redis: Any = Redis.from_pool(pool)
        self._clock = clock
        self._report = report
        self._asked_again_at = 0.0
        self._failures = 0
        self._trouble = ""

    @property
    def is_away(self) -> bool:
        """True if the last call failed."""
        return self._asked_again_at != 0.0

    @property
    def trouble(self) -> str:
        """Reason for which the last call failed, see :func:`words_of`; empty if it did not."""
        return self._trouble if self.is_away else ""

    async def add(self, jti: str, user_id: UUID, seconds: int) -> bool:
        """As ``Counterpart.add``."""
        if seconds <= 0:
            return False
        return bool(await self._call("set", f"{_TOKEN}{jti}", str(user_id), ex=seconds))

    async def take(self, jti: str) -> Taken:
        """As ``Counterpart.take``."""
        found = await self._call("eval", _TAKE, 2, f"{_TOKEN}{jti}", f"{_MARK}{jti}", MARK_SECONDS)
        return Taken(found) if found in _ANSWERS else Taken.UNKNOWN

    async def was_used(self, jti: str) -> bool:
        """As ``Counterpart.was_used``."""
        return bool(await self._call("exists", f"{_TOKEN}{jti}", f"{_MARK}{jti}") == 0)

    async def drop(self, jtis: Iterable[str]) -> None:
        """As ``Counterpart.drop``."""
        keys = [f"{_TOKEN}{jti}" for jti in jtis]
        if keys:
            await self._call("delete", *keys)

    async def forget_permissions(self, user_id: UUID, organization_id: UUID) -> None:
        """As ``Counterpart.forget_permissions``."""
        one = f"permissions:user:{user_id}"
        await self._call("delete", one, f"{one}:{organization_id}")

    async def probe(self) -> bool:
        """Return whether it does all that is asked of it, on keys of no token."""
        keys = f"{_TOKEN}{_PROBED}", f"{_MARK}{_PROBED}"
        return bool(await self._call("eval", _PROBE, 2, *keys, MARK_SECONDS) == "proved")

    async def _call(self, name: str, *arguments: object, **options: object) -> Any:
        """Return the server's answer; None where there is none."""
        now = self._clock()
        if now < self._asked_again_at:
            return None
        if self.is_away:
            self._asked_again_at = now + PAUSE_SECONDS
        try:
            async with PauseAwareTimeout(self._timeout):
                answer = await getattr(self._redis, name)(*arguments, **options)
        except Exception as error:  # noqa: BLE001 -- also whatever the library makes of a server that is no Redis
            self._failures += 1
            self._trouble = words_of(error)
            self._asked_again_at = self._clock() + PAUSE_SECONDS
            self._report(error)
            await disconnect(self._redis)
            return None
        if self.is_away:
            self._asked_again_at = 0.0
            self._report(None)
        return answer

    def figures(self) -> Iterable[MetricSample]:
        """Return the metrics to publish."""
        yield MetricSample("up", "1 while Whatomate's Redis answers.", lambda: float(not self.is_away))
        yield MetricSample(
            "failures", "Calls to Whatomate's Redis that failed.", lambda: self._failures, counts=True
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()


def words_of(error: Exception) -> str:
    """Return a failure in words that hold no secret: ``refuses: `` and what Redis answered, or ``away: `` and why."""
    spoken: BaseException | None = error
    # The library's errors about a cluster are of no type of its own, and have what the server said as their cause.
    while spoken is not None and not isinstance(spoken, RedisError | OSError):
        spoken = spoken.__cause__ or spoken.__context__
    words = " ".join(str(spoken or "").split())[:_LONGEST_WORDS]
    if isinstance(error, TimeoutError):
        words = "no answer in time"
    # While connecting, the library gives an answer another type.
    cause = error.__cause__ or error.__context__ or error
    is_answer = any(isinstance(one, _ANSWERED) for one in (error, cause, spoken))
    return f"{'refuses' if is_answer else 'away'}: {words or type(error).__name__}"
