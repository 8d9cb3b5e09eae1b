"""Redis client for shared limits: Valkey or Redis, alone, behind sentinels or as a cluster.

Laws:

- An exchange takes ``timeout_seconds`` at most, with all that it takes to connect.
- After a failure the next exchange goes by a new connection: the name may lead to another server by then, while the old
  one is a replica that refuses writes. A sentinel that is away, or silent, leaves time for the others.
- After a failure of a cluster any of its servers that were known, or the one of the URL, is asked for the map of slots:
  a server that is silent has been replaced by then, and says nothing of it.
- Each key is settled in one step on the server (a script), by the server's clock. Keys drain by themselves: what no
  process uses any more expires.
- A ping runs the script of an exchange with a write: a full server, a replica, and a user without the right to write
  would still run a script that only reads.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from redis import exceptions
from redis.asyncio import Connection, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from authcore.pause_aware import PauseAwareTimeout
from authcore.store.redis_dialling import disconnect, once, over_dial, without_login
from gateway.limits.lease_book import LeaseGrant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from authcore.store.dialled_loop import Dial
    from gateway.limits.lease_book import Ask

_PORT: Final = 26_379
_PROBE: Final = "gateway:limit"
_PROBE_WINDOW: Final = (0, 0, 1, 1)
"""Arguments of an exchange that settles nothing, asks for nothing and has one window."""
_EXCHANGE: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local settled, free = tonumber(ARGV[1]), tonumber(ARGV[2])
local windows = (#ARGV - 2) / 2
local owed, longest = {}, 0
for i = 1, windows do
    local interval, depth = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    local until_then = tonumber(redis.call('HGET', KEYS[1], i) or 0)
    owed[i] = math.min(math.max(until_then - now, 0) + settled * interval, 2 * depth + interval)
    owed[i] = math.max(owed[i], 0)
    free = math.min(free, math.floor((depth - owed[i]) / interval + 0.001))
end
free = math.max(free, 0)
local answer = {tostring(free)}
for i = 1, windows do
    owed[i] = owed[i] + free * tonumber(ARGV[2 * i + 1])
    longest = math.max(longest, owed[i])
    redis.call('HSET', KEYS[1], i, string.format('%.6f', now + owed[i]))
    answer[i + 1] = string.format('%.6f', owed[i])
end
redis.call('PEXPIRE', KEYS[1], math.ceil(longest * 1000) + 1000)
return answer
"""


class _NoCommands:
    """Table of a cluster's commands, which is never read: the library finds the key of a script without it.

    The library's own asks each server for all commands. That takes longer than an exchange may, and holds up the event
    loop.
    """

    async def initialize(self, node: object) -> None:
        """Read nothing."""


class RedisStore:
    """Store of shared limits."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        present_url: Callable[[], str] | None = None,
        dial: Dial | None = None,
    ) -> None:
        """`url` is redis:// or rediss://, with ``+sentinel`` or ``+cluster`` behind it for those, or unix://.

        `present_url` returns the URL by which a connection logs in; without it that is `url`.

        `dial` returns a socket that is connected to a host and a port; without it, and for sentinels and clusters, the
        library looks names up itself.

        Raises:
            ValueError: `url` cannot be read.
        """
        self._timeout = timeout_seconds
        self._sentinel: Any = None
        self._dial = dial
        self._url, self._present_url = url, present_url
        self._known: Sequence[ClusterNode] = ()
        self._client: Any = self._connected()

    def _connected(self) -> Any:
        url, login = without_login(self._url, self._present_url)
        options: dict[str, Any] = {
            "socket_timeout": self._timeout,
            "socket_connect_timeout": self._timeout,
            "retry": once(),
        }
        scheme, _, kind = urlsplit(url).scheme.partition("+")
        plain = urlunsplit(urlsplit(url)._replace(scheme=scheme))
        if kind == "cluster":
            # The library's pause before a second try is as long as an exchange may take.
            nodes = [ClusterNode(node.host, node.port) for node in self._known]
            cluster: Any = RedisCluster.from_url(
                plain, **{**options, **login, "retry": Retry(NoBackoff(), 0)}, startup_nodes=nodes
            )
            cluster.commands_parser = _NoCommands()
            return cluster
        if kind == "sentinel":
            parts = urlsplit(plain)
            hosts = parts.netloc.split(",")
            service, _, database = parts.path.strip("/").partition("/")
            tls = {"ssl": True} if scheme == "rediss" else {}
            each = self._timeout / (len(hosts) + 1)  # one that is silent leaves time for the others
            asked = {
                **options,
                "socket_timeout": each,
                "socket_connect_timeout": each,
                "retry": Retry(NoBackoff(), 0),
            }
            self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
                [_address(host) for host in hosts], sentinel_kwargs={**asked, **tls}, **options, **tls
            )
            return self._sentinel.master_for(unquote(service), db=int(database or 0), **login)
        client = Redis.from_url(plain, **options, **login, client_name="whatomate-gateway-limits")
        pool = client.connection_pool
        if self._dial is not None and issubclass(pool.connection_class, Connection):
            pool.connection_class = over_dial(pool.connection_class, self._dial)
        return client

    async def exchange(self, asks: Sequence[Ask]) -> list[LeaseGrant]:
        """Settle leases, each in one step.

        Raises:
            Exception: the store did not answer for one of them, in time or at all; which were settled is not known.
        """
        scripts = []
        for ask in asks:
            terms = [repr(number) for window in ask.windows for number in (window.interval, window.depth)]
            scripts.append((ask.key, ask.settled, ask.wanted, *terms))
        answers = await self._answers(scripts)
        return [LeaseGrant(int(units), [float(owed) for owed in each]) for units, *each in answers]

    async def ping(self) -> None:
        """Run an exchange, with its write, on a key that belongs to no limit and expires after a second.

        Raises:
            Exception: the store does not answer, or refuses a part of the exchange, such as the write.
        """
        await self._answers([(_PROBE, *_PROBE_WINDOW)])

    async def _answers(self, scripts: Sequence[tuple[object, ...]]) -> list[Any]:
        """Return the answers to exchanges, by key and arguments; after a failure every connection is made anew."""
        try:
            async with PauseAwareTimeout(self._timeout):
                answers = await self._run(scripts)
                # What a server of a cluster did not answer, which had closed its connection as idle.
                closed = [
                    number
                    for number, one in enumerate(answers)
                    if isinstance(one, exceptions.ConnectionError)
                ]
                if closed:
                    again = await self._run([scripts[number] for number in closed])
                    for number, one in zip(closed, again, strict=True):
                        answers[number] = one
        except Exception:
            await self._disconnect()
            raise
        for answer in answers:
            if isinstance(answer, Exception):
                await self._disconnect()
                raise answer
        return answers

    async def _run(self, scripts: Sequence[tuple[object, ...]]) -> list[Any]:
        """Return answers or errors; the library's own error would begin with the script, and end with its reason."""
        pipeline = self._client.pipeline(transaction=False)
        for script in scripts:
            pipeline.eval(_EXCHANGE, 1, *script)
        return list(await pipeline.execute(raise_on_error=False))

    async def _disconnect(self) -> None:
        """Close every connection. A cluster is left for one whose map of slots is not known yet."""
        client = self._client
        if not isinstance(client, RedisCluster):
            await disconnect(client)
            return
        self._known = client.get_nodes() or self._known
        self._client = self._connected()
        with suppress(Exception):
            await client.aclose()
            # A client that is about to read its map anew counts as closed, with its connections open.
            await client.nodes_manager.aclose()

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
        for sentinel in () if self._sentinel is None else self._sentinel.sentinels:
            await sentinel.aclose()


def _address(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":") if ":" in host.rpartition("]")[2] else (host, "", "")
    return name.strip("[]"), int(port or _PORT)
