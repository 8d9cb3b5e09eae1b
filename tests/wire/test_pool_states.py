"""Pool: whatever is asked for, comes, fails and goes, it holds its bounds, counts right and lets none wait in vain."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.wire.deadlines import Deadlines
from gateway.wire.drive import CallbackDrive
from gateway.wire.endpoint import Authority, Endpoint
from gateway.wire.faults import PoolExhausted, UpstreamUnreachable
from gateway.wire.messages import RequestHead
from gateway.wire.pool import PoolLimits, UpstreamPool
from gateway.wire.write_buffer import WriteBatch
from tests.fuzz.stage import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.wire.upstream import UpstreamConnection

OPEN = 3
WAITING = 2
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ENDPOINTS = st.integers(0, 2)
WHICH = st.integers(0, 9)
LOST = -1
"""A dial that ends with a connection that is gone already."""
FAILED_AFTERWARDS = -2
"""A dial that fails after its connection was lost."""


class _Asked:
    """An exchange that asks the pool for a connection, and what it got."""

    def __init__(self, to: Endpoint | None, *, strict: bool) -> None:
        self.to = to
        self.strict = strict
        self.got: UpstreamConnection | None = None
        self.error: Exception | None = None
        self.gone = False
        self.drive: CallbackDrive | None = None


class _Gone(Exception):
    pass


class Pool(RuleBasedStateMachine):
    """A pool whose dials end as the test says, over three endpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.SelectorEventLoop()
        self.due: list[Callable[[], None]] = []
        self.endpoints = [Endpoint(Authority("127.0.0.1", port), "127.0.0.1") for port in (1, 2, 3)]
        self.dials: list[tuple[asyncio.Future[int | None], Endpoint | None]] = []
        self.wires: dict[UpstreamConnection, Wire] = {}
        self.every: list[_Asked] = []
        self.open = OPEN
        self.beyond = False
        self.pool = UpstreamPool(
            self._dial, PoolLimits(OPEN, WAITING, 1000, 1000), Deadlines(), WriteBatch(self.due.append)
        )

    async def _dial(
        self, make: Callable[[], UpstreamConnection], to: Endpoint | None
    ) -> tuple[asyncio.BaseTransport, UpstreamConnection]:
        self.beyond |= self.pool.open > self.open
        ended: asyncio.Future[int | None] = self.loop.create_future()
        self.dials.append((ended, to))
        where = await ended
        if where is None:
            raise ConnectionRefusedError
        connection = make()
        wire = Wire()
        connection.connection_made(wire)
        if where < 0:  # it is lost as it comes
            wire.closing = True
            connection.connection_lost(None)
            if where == FAILED_AFTERWARDS:
                raise ConnectionResetError
            return wire, connection
        self.wires[connection] = wire
        connection.endpoint = self.endpoints[where]
        connection.endpoint.open += 1
        return wire, connection

    def _turn(self, call: Callable[[], None]) -> None:
        """Call from within the loop, and let it settle."""

        async def and_settle() -> None:
            call()
            for _ in range(8):
                await asyncio.sleep(0)

        self.loop.run_until_complete(and_settle())
        due, self.due[:] = list(self.due), []
        for flush in due:
            flush()

    # -- what exchanges do ---------------------------------------------------------------------------------------

    @property
    def waiting(self) -> list[_Asked]:
        return [one for one in self.every if one.got is None and one.error is None]

    @property
    def holding(self) -> list[tuple[_Asked, UpstreamConnection]]:
        return [(one, one.got) for one in self.every if one.got is not None and not one.gone]

    @rule(to=st.none() | ENDPOINTS, fresh=st.booleans(), look=st.booleans(), strict=st.booleans())
    def ask(self, to: int | None, *, fresh: bool = False, look: bool = False, strict: bool = False) -> None:
        one = _Asked(None if to is None else self.endpoints[to], strict=strict and to is not None)
        self.every.append(one)

        async def acquire() -> None:
            got = one.got = await self.pool.acquire(
                fresh=fresh, must_be_alive=look, endpoint=one.to, only_that_endpoint=one.strict
            )
            if one.strict and got.served:  # one that was opened is where its dial ended
                assert got.endpoint is one.to
            if not fresh and one.to is not None and got.endpoint is not one.to and got.served:
                assert got.endpoint is not None
                assert got.endpoint.available, "what an exchange takes as a stopgap is no ejected endpoint's"

        def ended(error: Exception | None) -> None:
            one.error = error

        one.drive = CallbackDrive(acquire(), ended)
        self._turn(one.drive.start)

    @initialize(to=st.lists(ENDPOINTS, min_size=OPEN, max_size=OPEN))
    def all_are_lent(self, to: list[int]) -> None:
        for endpoint in to:
            self.ask(endpoint)
            self.a_dial_ends(endpoint, falls_back=False)

    @precondition(lambda self: self.waiting)
    @rule(which=WHICH)
    def go_away(self, which: int) -> None:
        one = self.waiting[which % len(self.waiting)]
        assert one.drive is not None
        self._turn(partial(one.drive.throw, _Gone()))
        assert isinstance(one.error, _Gone)

    @precondition(lambda self: self.holding)
    @rule(which=WHICH, whole=st.sampled_from([True, True, False]))
    def give_back(self, which: int, *, whole: bool) -> None:
        one, connection = self.holding[which % len(self.holding)]
        one.gone = True
        if whole and connection.is_open:
            head = RequestHead(method=b"GET", target=b"/")
            self._turn(
                lambda: connection.send(
                    b"GET / HTTP/1.1\r\n", head, [], complete=True, head_timeout=1000, body_timeout=1000
                )
            )
            self._turn(lambda: connection.data_received(ANSWER))
        self._turn(lambda: self.pool.release(connection))

    # -- what the world does ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.dials)
    @rule(where=st.none() | ENDPOINTS, falls_back=st.booleans())
    def a_dial_ends(self, where: int | None, *, falls_back: bool) -> None:
        ended, to = self.dials.pop(0)
        if to is not None and where is not None and not falls_back:
            where = self.endpoints.index(to)
        self._turn(lambda: ended.set_result(where))

    @precondition(lambda self: self.dials)
    @rule(how=st.sampled_from([LOST, FAILED_AFTERWARDS]))
    def a_dial_loses_its_connection(self, how: int) -> None:
        ended, _ = self.dials.pop(0)
        self._turn(lambda: ended.set_result(how))

    @precondition(lambda self: self.wires)
    @rule(which=WHICH)
    def the_upstream_closes(self, which: int) -> None:
        connection = list(self.wires)[which % len(self.wires)]
        wire = self.wires.pop(connection)
        wire.closing = True
        self._turn(partial(connection.connection_lost, None))

    @rule()
    def dropped_connections_are_gone(self) -> None:
        for connection, wire in list(self.wires.items()):
            if wire.closing:
                del self.wires[connection]
                self._turn(partial(connection.connection_lost, None))

    @rule(connections=st.integers(1, OPEN))
    def the_bound_is_changed(self, connections: int) -> None:
        self.open = connections
        self._turn(lambda: self.pool.resize(PoolLimits(connections, WAITING, 1000, 1000)))

    @rule(endpoint=ENDPOINTS, available=st.booleans())
    def an_endpoint_is_ejected_or_back(self, endpoint: int, *, available: bool) -> None:
        self.endpoints[endpoint].available = available

    @rule(endpoint=ENDPOINTS, most=st.none() | st.integers(1, 2))
    def a_name_moves(self, endpoint: int, most: int | None) -> None:
        self._turn(lambda: self.pool.lifetimes.retire(self.endpoints[endpoint], most))

    # -- laws ------------------------------------------------------------------------------------------------------

    @invariant()
    def an_exchange_fails_for_a_reason_alone(self) -> None:
        assert all(
            one.error is None or isinstance(one.error, (PoolExhausted, UpstreamUnreachable, _Gone))
            for one in self.every
        )

    @invariant()
    def the_bound_holds(self) -> None:
        assert self.pool.open <= OPEN
        assert not self.beyond, "a connection was opened beyond the bound"
        assert len(self.dials) + len(self.pool.lifetimes.connections) == self.pool.open

    @invariant()
    def nobody_waits_while_there_is_room_or_an_unused_connection(self) -> None:
        if self.pool.waiting:
            assert self.pool.waiting <= WAITING
            assert self.pool.idle == 0
            assert self.pool.open >= self.open

    @invariant()
    def a_connection_is_lent_to_one_exchange(self) -> None:
        lent = [connection for _, connection in self.holding]
        assert len(lent) == len(set(lent))
        assert not set(lent) & set(self.pool.unused)

    @invariant()
    def each_endpoint_counts_what_it_has(self) -> None:
        for endpoint in self.endpoints:
            lent = [one for one, connection in self.holding if connection.endpoint is endpoint]
            waiting = [one for one in self.waiting if one.to is endpoint]
            assert endpoint.active == len(lent) + len(waiting)
            assert endpoint.idle == sum(one.endpoint is endpoint for one in self.pool.unused)
            assert endpoint.open == sum(one.endpoint is endpoint for one in self.pool.lifetimes.connections)
            assert endpoint.requests == sum(
                one.got is not None and one.got.endpoint is endpoint for one in self.every
            )

    def teardown(self) -> None:
        while self.waiting:
            self.go_away(0)
        for ended, _ in self.dials:
            ended.set_result(None)
        self._turn(self.pool.close)
        self.loop.close()


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("available", [True, False])
@pytest.mark.parametrize("strict", [True, False])
def test_a_stopgap_is_a_connection_to_an_available_endpoint(*, available: bool, strict: bool) -> None:
    machine = Pool()
    machine.all_are_lent([0, 1, 1])
    machine.ask(1, strict=strict)
    machine.endpoints[0].available = available
    machine.give_back(0, whole=True)
    one = machine.every[-1]
    if available and not strict:
        assert one.got is not None
        assert one.got.endpoint is machine.endpoints[0]
    else:
        assert one.got is None
        assert [to for _, to in machine.dials] == [machine.endpoints[1]], "one is opened in its place"
    machine.the_bound_holds()
    machine.teardown()


def test_an_endpoint_without_connections_gets_one_though_all_are_in_use() -> None:
    machine = Pool()
    machine.all_are_lent([0, 0, 0])
    machine.ask(1)
    machine.give_back(0, whole=True)
    assert [to for _, to in machine.dials] == [machine.endpoints[1]]
    machine.the_bound_holds()
    machine.teardown()
