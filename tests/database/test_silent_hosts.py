"""Hosts that are silent: each has a time limit of its own, so that the next one is reached, and then tried first."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from authcore.errors import StoreUnavailable
from authcore.store.failures import HostsSilent, classify
from authcore.store.kinds import FailureKind
from authcore.store.migrate import migrate, pending
from gateway.assembly.names import NameEvents
from gateway.wire.dialler import connect
from gateway.wire.dns_client import DnsClient
from gateway.wire.resolver import Resolver, ResolverLimits
from tests.database.gateways import status_of_sign_in
from tests.database.servers import Forwarder, Server, servers, short_folder
from tests.support.admin import is_pushed
from tests.support.databases import finish
from tests.support.domain import address_of, open_store
from tests.support.name_server import name_server
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Self

    from tests.support.worlds import Start, World

SECONDS: Final = 1
"""Time for a connection to a host: what answers must be in time on a busy machine."""


class Mute:
    """A port that takes connections and never answers, or with `dropping` does not even take them."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, dropping: bool = False) -> None:
        self._server = socket.create_server((host, port), backlog=0 if dropping else 128)
        self._server.setblocking(False)
        self._fillers = [socket.socket() for _ in range(4 if dropping else 0)]
        # The queue of those to accept is full then, and the kernel drops what comes.
        for one in self._fillers:
            one.setblocking(False)
            one.connect_ex(self._server.getsockname())
        self.port: int = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self._fillers, self._server):
            one.close()

    @property
    def taken(self) -> int:
        """Number of connections since it was asked last."""
        number = 0
        while True:
            try:
                connection, _ = self._server.accept()
            except BlockingIOError:
                return number
            connection.detach()  # it stays open, and silent
            number += 1


def url_of(ports: list[int], database: str, target: str = "read-write") -> str:
    places = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://gateway@{places}/{database}?target_session_attrs={target}"


def socket_of(url: str) -> tuple[str, str]:
    """The socket of the tests' server, and the name of the database."""
    parts = urlsplit(url)
    return f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432", parts.path[1:]


@asynccontextmanager
async def road(path: str) -> AsyncIterator[Forwarder]:
    async with Forwarder(path) as one:
        yield one


@pytest.mark.parametrize("dropping", [False, True], ids=["accepts", "drops"])
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_host_that_answers_is_reached_past_any_that_are_silent(
    migrated_url: str, place: int, dropping: bool
) -> None:
    path, database = socket_of(migrated_url)
    async with road(path) as way:
        with Mute(dropping=dropping) as one, Mute(dropping=dropping) as other:
            ports = [one.port, other.port]
            ports.insert(place, way.port)
            url = url_of(ports, database)
            address = address_of(url, connect_timeout_seconds=SECONDS)
            await (await address.open("a test")).connection.close()
            store = await open_store(url, connect_timeout_seconds=SECONDS)
            await store.ping()
            await store.close()
            assert await pending(f"{url}&connect_timeout=2") == []


@pytest.mark.parametrize("dropping", [False, True], ids=["accepts", "drops"])
async def test_hosts_that_are_all_silent_are_an_error_that_says_so(dropping: bool) -> None:
    with Mute(dropping=dropping) as one, Mute(dropping=dropping) as other:
        url = url_of([one.port, other.port], "w")
        with pytest.raises(HostsSilent, match=r"^none of the 2 hosts answered within 1 s$"):
            await address_of(url, connect_timeout_seconds=SECONDS).open("a test")
        with pytest.raises(StoreUnavailable) as caught:
            await migrate(f"{url}&connect_timeout=1")
    failure = classify(caught.value.__cause__)
    assert failure.kind is FailureKind.TIMEOUT
    assert "none of the 2 hosts answered within 1 s" in failure.public


async def test_the_host_that_worked_last_is_tried_first(migrated_url: str) -> None:
    path, database = socket_of(migrated_url)
    async with road(path) as first, road(path) as second:
        with Mute() as mute:
            url = url_of([mute.port, first.port, second.port], database)
            address = address_of(url, connect_timeout_seconds=SECONDS)
            for _ in range(3):
                await (await address.open("a test")).connection.close()
            assert (mute.taken, first.connections, second.connections) == (1, 3, 0)
            first.hold()
            await (await address.open("a test")).connection.close()
            assert (mute.taken, second.connections) == (1, 1)


async def test_a_gateway_signs_in_while_the_first_host_is_silent_from_the_start(
    world: World, start: Start
) -> None:
    path, database = socket_of(world.url)
    async with road(path) as way:
        with Mute() as mute:
            gateway = await start(
                url_of([mute.port, way.port], database),
                database={"connect_timeout_seconds": 4 * SECONDS, "acquire_timeout_seconds": 1},
            )
            assert await status_of_sign_in(gateway) == 200


async def test_a_gateway_goes_on_at_the_next_host_when_its_own_freezes(world: World, start: Start) -> None:
    path, database = socket_of(world.url)
    async with road(path) as frozen, road(path) as way:
        gateway = await start(
            url_of([frozen.port, way.port], database),
            database={"connect_timeout_seconds": SECONDS, "statement_timeout_seconds": SECONDS},
        )

        async def is_there() -> bool:
            return await status_of_sign_in(gateway) == 200 and await is_pushed(gateway)

        await eventually(is_there)
        assert way.connections == 0
        frozen.hold()
        await eventually(is_there)
        assert way.connections


@pytest.fixture(scope="module")
def pair() -> Iterator[list[Server]]:
    """A primary, and a standby that follows it."""
    with short_folder() as folder, servers(folder, 2) as both:
        primary, standby = both
        primary.make().start()
        finish(migrate(primary.url()))
        standby.copy(primary).start()
        yield both


@pytest.mark.parametrize(
    ("target", "is_standby"),
    [
        *(("read-write", False), ("primary", False), ("read-only", True), ("standby", True)),
        *(("prefer-standby", True), ("any", False)),
    ],
)
async def test_what_the_url_asks_for_is_found_among_all_hosts(
    pair: list[Server], target: str, is_standby: bool
) -> None:
    async with road(pair[0].path) as primary, road(pair[1].path) as standby:
        with Mute() as mute:
            url = url_of([mute.port, primary.port, standby.port], "postgres", target)
            address = address_of(url, connect_timeout_seconds=SECONDS)
            for _ in range(2):
                opened = await address.open("a test")
                await opened.connection.close()
                assert opened.server.read_only is is_standby


async def test_a_primary_serves_where_no_standby_is_left_of_those_preferred(pair: list[Server]) -> None:
    async with road(pair[0].path) as primary:
        with Mute() as mute:
            url = url_of([primary.port, mute.port], "postgres", "prefer-standby")
            opened = await address_of(url, connect_timeout_seconds=SECONDS).open("a test")
            await opened.connection.close()
            assert not opened.server.read_only
            assert (mute.taken, primary.connections) == (1, 2)


async def test_a_standby_is_left_for_the_primary_before_it_when_any_will_do(pair: list[Server]) -> None:
    async with road(pair[0].path) as primary, road(pair[1].path) as standby:
        url = url_of([primary.port, standby.port], "postgres", "any")
        address = address_of(url, connect_timeout_seconds=SECONDS)
        primary.hold()
        found = [(await address.open("a test"))]
        primary.go_on()
        found.append(await address.open("a test"))
        for one in found:
            await one.connection.close()
        assert [one.server.read_only for one in found] == [True, False]


async def test_no_host_that_fits_is_a_read_only_database(pair: list[Server]) -> None:
    async with road(pair[1].path) as standby, road(pair[1].path) as other:
        with pytest.raises(Exception, match="target attribute") as caught:
            await address_of(url_of([standby.port, other.port], "postgres")).open("a test")
        assert classify(caught.value).kind is FailureKind.READ_ONLY


@pytest.mark.parametrize("dropping", [False, True], ids=["accepts", "drops"])
async def test_each_address_of_a_name_is_tried_as_a_host_is(migrated_url: str, dropping: bool) -> None:
    path, database = socket_of(migrated_url)
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(name_server())
        way = await stack.enter_async_context(road(path))
        mutes = [
            stack.enter_context(Mute(host, way.port, dropping=dropping))
            for host in ("127.0.0.2", "127.0.0.3")
        ]
        names.zone["db.test"] = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
        names.ttl = 60
        client = DnsClient([names.address], timeout_seconds=1)
        dial: Any = partial(connect, Resolver(client.look_up, ResolverLimits(), NameEvents()))
        url = f"postgresql://gateway@db.test:{way.port}/{database}"
        address = address_of(url, connect_timeout_seconds=2 * SECONDS, dial=dial)
        for _ in range(3):
            await (await address.open("a test")).connection.close()
        assert way.connections == 3
        if not dropping:
            assert [one.taken for one in mutes] == [1, 1]
        assert await pending(f"{url}?connect_timeout=2", dial=dial) == []
