"""Connections to an upstream's endpoints: in turns, the fewest first, the ejected behind the others, none given up."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import pytest

from gateway.assembly.names import NameEvents
from gateway.traffic.watch import Watch, WatchPolicy
from gateway.wire.deadlines import Deadlines
from gateway.wire.dns_client import Lookup
from gateway.wire.endpoint import Authority
from gateway.wire.endpoint_dialler import EndpointDialler
from gateway.wire.known_heads import KnownHeads
from gateway.wire.resolver import Resolver, ResolverLimits
from gateway.wire.tls import UpstreamTls, UpstreamTlsTerms
from gateway.wire.upstream import UpstreamConnection
from gateway.wire.write_buffer import WriteBatch
from tests.support.ports import free_port
from tests.support.swallowing import swallowing

if TYPE_CHECKING:
    from types import TracebackType

    from gateway.wire.endpoint import Endpoint

PATIENCE = 10


class Stage:
    """Servers on loopback addresses that are there, or not, as the test says; and a clock."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.now = 0.0
        self.port = free_port()
        self.accepted: list[str] = []
        self.servers: dict[str, asyncio.Server] = {}
        self.lost: list[UpstreamConnection] = []
        self.lead_to(EndpointDialler([Authority(host, self.port) for host in hosts], now=lambda: self.now))
        self._stack = AsyncExitStack()

    def lead_to(self, endpoints: EndpointDialler) -> None:
        """Take other endpoints, which are watched as those of a gateway are."""
        self.endpoints = endpoints
        self.watch = Watch("test", WatchPolicy(), lambda: self.now)
        endpoints.unreached, endpoints.reached = self.watch.unreached, self.watch.reached
        self.watch.take(endpoints.every())

    def state(self, endpoint: Endpoint) -> tuple[float | None, float]:
        """Return the end of an ejection, and the length of the last one."""
        member = self.watch.availability.outliers.members[endpoint.name]
        return member.until, member.seconds

    async def __aenter__(self) -> Self:
        for host in self.hosts:
            await self.up(host)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.close()
        await self._stack.aclose()

    async def up(self, host: str) -> None:
        def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.accepted.append(host)
            self._stack.callback(writer.close)

        self.servers[host] = await asyncio.start_server(accepted, host, self.port)
        self._stack.callback(self.servers[host].close)

    async def down(self, host: str) -> None:
        server = self.servers.pop(host)
        server.close()
        await asyncio.sleep(0)

    async def reached(self) -> str:
        """Open a connection, and return where it leads; it is closed when the test ends."""
        loop = asyncio.get_running_loop()
        self.watch.settle()
        async with asyncio.timeout(PATIENCE):
            transport, _ = await self.endpoints.dial(
                lambda: UpstreamConnection(
                    Deadlines(), WriteBatch(loop.call_soon), KnownHeads(), self.lost.append
                )
            )
        self._stack.callback(transport.close)
        host: str = transport.get_extra_info("peername")[0]
        return host

    def forget(self) -> None:
        """Count no connection any more, so that turns alone decide."""
        for endpoint in self.endpoints.every():
            endpoint.open = 0


A, B, C = "127.0.0.31", "127.0.0.32", "127.0.0.33"


async def test_endpoints_take_turns() -> None:
    async with Stage(A, B, C) as stage:
        assert [await stage.reached() for _ in range(6)] == [A, B, C, A, B, C]


async def test_the_endpoint_with_the_fewest_connections_comes_first() -> None:
    async with Stage(A, B) as stage:
        stage.endpoints.every()[0].open = 3
        assert [await stage.reached() for _ in range(3)] == [B, B, B]


async def test_an_address_that_is_away_costs_no_connection_and_is_asked_less_and_less() -> None:
    async with Stage(A, B) as stage:
        first = stage.endpoints.every()[0]
        await stage.down(A)
        assert [await stage.reached() for _ in range(6)] == [B] * 6
        assert stage.state(first) == (1.0, 1.0)
        for second in (0.5, 1.1, 2.0, 2.9, 3.2):  # behind the others until 1, then until 3.1
            stage.now = second
            await stage.reached()
            await stage.reached()
        assert stage.state(first) == (7.2, 4.0)
        await stage.up(A)
        stage.now = 100
        stage.forget()
        assert sorted([await stage.reached(), await stage.reached()]) == [A, B]
        await stage.down(A)
        stage.forget()
        assert [await stage.reached() for _ in range(2)] == [B, B]
        assert stage.state(first) == (101.0, 1.0), "it was back for as long as it had been away"


async def test_when_none_was_reached_all_are_tried() -> None:
    async with Stage(A, B) as stage:
        await stage.down(A)
        await stage.down(B)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await stage.reached()
        assert sum(not endpoint.available for endpoint in stage.endpoints.every()) == 1, "one at least stays"
        await stage.up(B)
        assert await stage.reached() == B


async def test_an_address_that_swallows_leaves_time_for_the_next_and_is_remembered() -> None:
    async with Stage(A, B) as stage:
        await stage.down(A)
        with swallowing(A, stage.port):
            assert await stage.reached() == B
            swallower = stage.endpoints.every()[0]
            assert not swallower.available
            assert (swallower.dialling, swallower.open) == (0, 0)
            assert [await stage.reached() for _ in range(3)] == [B] * 3
            assert stage.state(swallower) == (1.0, 1.0)


async def test_of_addresses_that_all_swallow_one_stays_once_the_time_is_up() -> None:
    async with Stage(A, B) as stage:
        await stage.down(A)
        await stage.down(B)
        with swallowing(A, stage.port), swallowing(B, stage.port):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.9):
                    await stage.reached()
            assert sum(not endpoint.available for endpoint in stage.endpoints.every()) == 1
        await stage.up(B)
        assert await stage.reached() == B


async def test_an_address_of_the_family_that_is_not_served_is_passed_over() -> None:
    async with Stage("127.0.0.1") as stage:
        port = stage.port
        stage.lead_to(EndpointDialler([Authority("::1", port), Authority("127.0.0.1", port)], now=lambda: 0))
        assert [await stage.reached() for _ in range(3)] == ["127.0.0.1"] * 3


async def test_a_long_outage_of_all_ends_when_one_is_back() -> None:
    async with Stage(A, B) as stage:
        await stage.down(A)
        await stage.down(B)
        for _ in range(50):
            stage.now += 1000
            with pytest.raises(ConnectionRefusedError):
                await stage.reached()
        await stage.up(B)
        for _ in range(10):
            stage.now += 1000
            assert await stage.reached() == B


async def test_dials_that_fail_at_once_are_one_failure() -> None:
    async with Stage(A, B) as stage:
        await stage.down(A)
        await stage.down(B)
        await asyncio.gather(*(stage.reached() for _ in range(8)), return_exceptions=True)
        assert sorted(stage.state(endpoint)[1] for endpoint in stage.endpoints.every()) == [0.0, 1.0]
        await stage.up(A)
        await stage.up(B)
        stage.now = 1.1  # one failure is forgiven after a second
        assert sorted([await stage.reached(), await stage.reached()]) == [A, B]


async def test_a_dial_that_waits_for_a_name_goes_on_when_the_upstream_is_led_to_another_one() -> None:
    answers: dict[str, asyncio.Future[Lookup]] = {}

    async def look_up(name: str) -> Lookup:
        return await answers.setdefault(name, asyncio.get_running_loop().create_future())

    async with Stage(A) as stage:
        resolver = Resolver(look_up, ResolverLimits(), NameEvents())
        stage.lead_to(EndpointDialler([Authority("old.test", stage.port)], resolver))
        stage.endpoints.follow()
        dialling = asyncio.ensure_future(stage.reached())
        await asyncio.sleep(0)
        stage.endpoints.lead_to([Authority("new.test", stage.port)])
        await asyncio.sleep(0)
        answers["old.test"].set_result(Lookup((B,), 60))
        await asyncio.sleep(0.01)
        answers["new.test"].set_result(Lookup((A,), 60))
        assert await dialling == A
        resolver.close()


async def test_an_address_that_hangs_in_its_handshake_leaves_time_for_the_next() -> None:
    async with Stage(A, B) as stage:
        tls = UpstreamTls(UpstreamTlsTerms(insecure=True))
        both = [Authority(host, stage.port, tls) for host in (A, B)]
        stage.lead_to(EndpointDialler(both, now=lambda: stage.now, handshake_seconds=0.6))
        dialling = asyncio.ensure_future(stage.reached())  # a server that is silent, as both are
        async with asyncio.timeout(PATIENCE):
            while sorted(stage.accepted) != [A, B]:
                await asyncio.sleep(0.01)
        assert not stage.endpoints.every()[0].available
        dialling.cancel()
        await asyncio.wait([dialling])
