"""State tables of connections: their shape, and a client connection under random events against a plain model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.wire.deadlines import Deadlines
from gateway.wire.downstream_states import DOWNSTREAM
from gateway.wire.drive import Signal
from gateway.wire.framing import UPGRADE
from gateway.wire.inbound import ClientGone
from gateway.wire.listener import Listener
from gateway.wire.messages import BodyKind, ProtocolError
from gateway.wire.parsed_ahead import LINE_BYTES, MAX_AHEAD, MAX_AHEAD_BYTES
from gateway.wire.states import IllegalEvent, StateTable
from gateway.wire.tunnel_states import TUNNEL, TUNNEL_END
from gateway.wire.upstream_states import UPSTREAM
from gateway.wire.write_buffer import WriteBatch
from tests.fuzz.stage import LIMITS, Wire

if TYPE_CHECKING:
    from gateway.wire.inbound import Inbound

TABLES = [
    pytest.param(DOWNSTREAM, "new", {"closed"}, id="client"),
    pytest.param(UPSTREAM, "new", {"closed"}, id="upstream"),
    pytest.param(TUNNEL, "new", {"over"}, id="tunnel"),
    pytest.param(TUNNEL_END, "passing", {"silent"}, id="end of a tunnel"),
]


def named(table: StateTable) -> dict[str, dict[str, str]]:
    """The rows by names."""
    return {
        table.states[state]: {table.events[event]: table.states[then] for event, then in row.items()}
        for state, row in table.rows.items()
    }


@pytest.mark.parametrize(("table", "first", "last"), TABLES)
def test_every_state_has_a_row_and_is_reached_and_leads_to_the_end(
    table: StateTable, first: str, last: set[str]
) -> None:
    rows = named(table)
    assert set(rows) == set(table.states)
    reached, found = {first}, [first]
    while found:
        following = set(rows[found.pop()].values()) - reached
        reached |= following
        found += following
    assert reached == set(table.states)
    for state in table.states:
        ahead, found = {state}, [state]
        while found:
            following = set(rows[found.pop()].values()) - ahead
            ahead |= following
            found += following
        assert ahead & last, f"{state} never ends"


@pytest.mark.parametrize(("table", "first", "last"), TABLES)
def test_an_event_that_a_row_does_not_name_is_illegal(table: StateTable, first: str, last: set[str]) -> None:
    for state, row in table.rows.items():
        for event in range(len(table.events)):
            if event in row:
                assert table.after(state, event) == row[event]
            else:
                with pytest.raises(IllegalEvent, match=f"{table.events[event]} in state"):
                    table.after(state, event)


def test_a_table_has_room_for_sixteen_events() -> None:
    events = [f"event{number}" for number in range(17)]
    StateTable("one", " ".join(events[:16]), {0: {15: 0}})
    with pytest.raises(ValueError, match="more events than columns"):
        StateTable("one", " ".join(events), {0: {}})


@pytest.mark.parametrize("table", [DOWNSTREAM, UPSTREAM], ids=["client", "upstream"])
def test_a_transport_can_be_lost_in_every_state_in_which_there_is_one(table: StateTable) -> None:
    for state, row in named(table).items():
        if state not in {"new", "closed"}:
            assert row["lost"] == "closed"
            assert "drop" in row


class Narrow(Wire):
    """A transport whose buffer is filled and emptied by hand."""

    left = 0

    def get_write_buffer_size(self) -> int:
        return self.left


AT_ONCE = {b"/now": "answer", b"/broken": "break off"}
"""Targets whose exchange does not wait, and its end."""


class Drain:
    """The sink of a body that nobody looks at."""

    def body(self, piece: bytes) -> None:
        pass

    def end(self) -> None:
        pass


class Exchanges:
    """The exchanges of one connection: each waits until it is given its end, except for those of ``AT_ONCE``."""

    def __init__(self) -> None:
        self.served: list[bytes] = []
        self.faults: list[bytes] = []
        self.running: list[Inbound] = []
        self.order: Signal[str] = Signal()

    async def serve(self, inbound: Inbound) -> None:
        assert not self.running, "two requests are served at once"
        self.served.append(inbound.head.target)
        self.running.append(inbound)
        try:
            if inbound.fault is not None:
                self._refuse(inbound, inbound.fault)
                return
            if not inbound.complete:
                inbound.take()
                inbound.pipe(Drain())
            order = AT_ONCE.get(inbound.head.target) or await self.order
            if order == "answer":
                self._answer(inbound, 200)
            elif order == "close":
                inbound.head.keep_alive = False
                self._answer(inbound, 200)
            elif order == "switch":
                inbound.switch(b"HTTP/1.1 101 Switching\r\n", b"")
                await Signal[None]()
            elif order == "break off":
                inbound.abort()
        except ProtocolError as fault:
            self._refuse(inbound, fault)
        except Exception:  # noqa: BLE001, S110 -- the client is gone
            pass
        finally:
            self.running.remove(inbound)

    def _refuse(self, inbound: Inbound, fault: ProtocolError) -> None:
        self.faults.append(inbound.head.target)
        self._answer(inbound, fault.status)

    @staticmethod
    def _answer(inbound: Inbound, status: int) -> None:
        start = b"HTTP/1.1 %d X\r\nX-Target: %b\r\n" % (status, inbound.head.target)
        inbound.answer(start, BodyKind.NONE, 0, pieces=[], complete=True)

    def order_one(self, what: str) -> None:
        order, self.order = self.order, Signal()
        order.set(what)


class ClientConnections(RuleBasedStateMachine):
    """A client connection under random events, and the plainest account of what it should be doing."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Any] = []
        self.exchanges = Exchanges()
        self.listener = Listener(
            self.exchanges.serve, LIMITS, Deadlines(), WriteBatch(self.due.append), lambda _: False
        )
        self.connection = self.listener.connection("")
        self.wire = Narrow()
        self.connection.connection_made(self.wire)
        self.sent = 0
        # The model.
        self.waiting: list[bytes] = []
        self.serving: bytes | None = None
        self.in_head = self.in_body = False
        self.refused = self.full = False
        self.broken: bytes | None = None
        self.over = ""
        self.expected: list[bytes] = []

    # -- the model -------------------------------------------------------------------------------------------------

    def state(self) -> str:
        if self.over:
            return self.over
        if self.refused:
            return "refusing"
        if self.serving is not None:
            return "serving"
        return "head" if self.in_head else "idle"

    def reads(self) -> bool:
        """True if bytes are parsed as they come. Behind more requests than are parsed ahead they are held."""
        return not (self.over or self.refused or len(self.waiting) > MAX_AHEAD)

    def arrive(self, target: bytes) -> None:
        self.waiting.append(target)
        self.go_on()

    def go_on(self) -> None:
        while self.waiting and self.serving is None and not (self.over or self.full):
            target = self.waiting.pop(0)
            self.expected.append(target)
            if target == b"/broken":
                self.end("closing")
            elif target == b"/now":
                continue
            elif target == self.broken:
                self.end("lingering")
            else:
                self.serving = target

    def refuse(self) -> None:
        """Refuse the request that is being read, or one that has no name yet."""
        self.refused = True
        if self.in_body:
            self.in_body = False
            self.broken = self.part
            if self.serving == self.part:
                self.end("lingering")
            return
        self.broken = self.part if self.in_head else b""
        self.in_head = False
        self.arrive(self.broken)

    def end(self, state: str) -> None:
        self.over, self.serving, self.waiting = state, None, []

    def turn(self) -> None:
        while self.due:
            self.due.pop(0)()

    def target(self, name: str) -> bytes:
        self.sent += 1
        return b"/%b%d" % (name.encode(), self.sent)

    # -- events ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.reads() and not (self.in_head or self.in_body))
    @rule(name=st.sampled_from(["/now", "/broken", "get", "get"]))
    def a_whole_request(self, name: str) -> None:
        target = self.target(name) if name == "get" else name.encode()
        if self.upgrades():
            return
        self.connection.data_received(b"GET %b HTTP/1.1\r\nHost: e\r\n\r\n" % target)
        self.arrive(target)

    def upgrades(self) -> bool:
        last = self.waiting[-1] if self.waiting else self.serving
        return last is not None and last.startswith(b"/ws")

    @precondition(lambda self: self.reads() and not (self.in_head or self.in_body or self.upgrades()))
    @rule(crlf=st.integers(0, 2))
    def empty_lines(self, crlf: int) -> None:
        self.connection.data_received(b"\r\n" * crlf)

    @precondition(lambda self: self.reads() and not (self.in_head or self.in_body or self.upgrades()))
    @rule()
    def a_part_of_a_head(self) -> None:
        self.part = self.target("slow")
        self.connection.data_received(b"GET %b HTTP/1.1\r\nHost:" % self.part)
        self.in_head = True

    @precondition(
        lambda self: len(self.waiting) > MAX_AHEAD and not (self.over or self.refused or self.in_body)
    )
    @rule()
    def what_comes_behind_as_many_as_are_parsed_ahead(self) -> None:
        if self.upgrades():
            return
        self.connection.data_received(b"GET /ahead HTTP/1.1\r\nHost:")
        assert self.connection.state == self.state()
        assert not self.wire.reading
        self.connection.abort()  # what is held is parsed in a turn of the loop, of which there is none here
        self.over = "closing"

    @precondition(lambda self: self.reads() and self.in_head)
    @rule()
    def the_rest_of_the_head(self) -> None:
        self.connection.data_received(b" e\r\n\r\n")
        self.in_head = False
        self.arrive(self.part)

    @precondition(lambda self: self.reads() and not (self.in_head or self.in_body or self.upgrades()))
    @rule()
    def a_request_without_its_body(self) -> None:
        self.part = self.target("post")
        self.connection.data_received(
            b"POST %b HTTP/1.1\r\nHost: e\r\nContent-Length: 4\r\n\r\nab" % self.part
        )
        self.in_body = True
        self.arrive(self.part)

    @precondition(lambda self: self.reads() and self.in_body and self.wire.reading)
    @rule()
    def the_rest_of_the_body(self) -> None:
        self.connection.data_received(b"cd")
        self.in_body = False

    @precondition(lambda self: self.reads() and not (self.in_head or self.in_body or self.upgrades()))
    @rule()
    def an_upgrade(self) -> None:
        target = self.target("ws")
        self.connection.data_received(b"GET %b HTTP/1.1\r\nHost: e\r\n%b" % (target, UPGRADE))
        self.arrive(target)

    @precondition(lambda self: self.reads() and not self.in_body)
    @rule()
    def garbage(self) -> None:
        early = self.upgrades()
        self.connection.data_received(b"\x00\x01 no request\r\n\r\n")
        if early and not self.waiting:  # its exchange is thrown the fault
            self.refused = True
            self.end("lingering")
        elif early:
            self.refused, self.broken = True, self.waiting[-1]
        else:
            self.refuse()

    @rule(what=st.sampled_from(["answer", "answer", "close", "switch", "break off"]))
    @precondition(lambda self: not self.over and self.serving is not None)
    def the_exchange_ends(self, what: str) -> None:
        assert self.serving is not None
        websocket = self.serving.startswith(b"/ws")
        if what == "switch" and (not websocket or self.refused):
            return
        self.exchanges.order_one(what)
        if what == "switch":
            self.over, self.waiting = "switched", []
            return
        unread = self.in_body and not self.waiting
        if what == "break off":
            self.end("closing")
        elif what == "close" or websocket or unread:
            lingers = unread or self.refused or bool(self.waiting) or not self.read_before
            self.end("lingering" if lingers else "closing")
        else:
            self.serving = None
            self.go_on()

    @precondition(lambda self: self.over not in {"closing", "closed", "switched"} and not self.full)
    @rule()
    def the_client_takes_nothing(self) -> None:
        self.turn()
        self.wire.left = 100_000
        self.connection.pause_writing()
        self.full = True

    @precondition(lambda self: self.over not in {"closing", "closed", "switched"} and self.full)
    @rule()
    def the_client_takes_all(self) -> None:
        self.wire.left = 0
        self.full = False
        self.connection.resume_writing()
        if not self.over:
            self.go_on()

    @precondition(lambda self: self.over != "closed")
    @rule(how=st.sampled_from(["end of stream", "drop", "drain", "drain", "lost"]))
    def something_ends_it(self, how: str) -> None:
        if how == "end of stream" and self.over not in {"closing", "switched"}:
            assert self.connection.eof_received() is False
            self.wire.close()
            self.over = "closing"
        elif how == "drop":
            self.connection.abort()
            self.over = self.over if self.over == "switched" else "closing"
        elif how == "drain":
            self.connection.close_if_idle()
            if self.state() == "idle" and not self.waiting:
                self.end("closing")
        elif how == "lost":
            self.connection.connection_lost(None)
            self.end("closed")

    @precondition(lambda self: self.connection.deadline is not None and not self.over and not self.full)
    @rule()
    def its_deadline_passes(self) -> None:
        self.connection.deadline = None
        self.connection.expire()
        if self.state() == "idle":
            self.end("closing")
        elif self.state() in {"head", "serving"}:
            self.refuse()

    @precondition(lambda self: self.over in {"lingering", "closing"} or (self.refused and not self.over))
    @rule()
    def bytes_behind_the_end_are_dropped(self) -> None:
        self.connection.data_received(b"GET /late HTTP/1.1\r\nHost: e\r\n\r\n")

    @precondition(lambda self: self.over == "closing" and self.exchanges.running)
    @rule(what=st.sampled_from(["answer", "close", "break off"]))
    def an_exchange_ends_too_late(self, what: str) -> None:
        self.exchanges.order_one(what)

    @precondition(lambda self: self.over == "closed")
    @rule()
    def what_comes_late_does_nothing(self) -> None:
        self.connection.abort()
        self.connection.close_if_idle()
        self.connection.write(b"late")
        self.connection.regulate()
        self.connection.throw(ValueError())

    # -- laws ------------------------------------------------------------------------------------------------------

    @invariant()
    def it_is_in_the_expected_state(self) -> None:
        self.read_before = self.wire.reading
        assert self.connection.state == self.state(), repr(self.connection)
        assert self.connection.state in repr(self.connection)

    @invariant()
    def requests_are_served_once_and_in_their_order(self) -> None:
        assert self.exchanges.served == self.expected

    @invariant()
    def an_exchange_runs_exactly_while_one_is_served(self) -> None:
        if not self.over:
            assert [one.head.target for one in self.exchanges.running] == (
                [] if self.serving is None else [self.serving]
            )

    @invariant()
    def it_never_waits_without_a_deadline_for_what_the_client_owes(self) -> None:
        if not self.over and not self.refused and self.serving is None:
            assert self.connection.deadline is not None

    @invariant()
    def a_lost_connection_is_forgotten(self) -> None:
        assert (self.connection in self.listener.open) is (self.over != "closed")


TestClientConnections = ClientConnections.TestCase
TestClientConnections.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


class One:
    """A client connection, and its exchanges."""

    def __init__(self) -> None:
        self.exchanges = Exchanges()
        listener = Listener(
            self.exchanges.serve, LIMITS, Deadlines(), WriteBatch(lambda _: None), lambda _: False
        )
        self.connection = listener.connection("")
        self.connection.connection_made(Narrow())

    def ask(self, *targets: str) -> None:
        for target in targets:
            self.connection.data_received(b"GET %b HTTP/1.1\r\nHost: e\r\n\r\n" % target.encode())


def test_a_request_behind_an_answer_that_broke_off_is_not_served() -> None:
    one = One()
    one.ask("/slow", "/broken", "/behind")
    one.exchanges.order_one("answer")
    assert one.exchanges.served == [b"/slow", b"/broken"]
    assert one.connection.state == "closing"


@pytest.mark.parametrize("what", ["answer", "close", "break off"])
def test_an_exchange_that_ends_on_a_dropped_connection_changes_nothing(what: str) -> None:
    one = One()
    one.ask("/slow", "/behind")
    one.connection.abort()
    one.exchanges.order_one(what)
    assert one.exchanges.served == [b"/slow"]
    assert one.connection.state == "closing"


@pytest.mark.parametrize("leaves", ["eof_received", "abort"])
def test_a_client_that_left_before_the_101_is_gone_and_that_is_no_fault(leaves: str) -> None:
    one = One()
    one.connection.data_received(b"GET /ws HTTP/1.1\r\nHost: e\r\n" + UPGRADE)
    getattr(one.connection, leaves)()
    with pytest.raises(ClientGone):
        one.connection.switch(b"HTTP/1.1 101 Switching\r\n\r\n")
    assert one.connection.state == "closing"


async def test_behind_as_many_requests_as_are_parsed_ahead_bytes_are_held_and_then_parsed() -> None:
    one = One()
    one.connection.pause_writing()
    one.ask(*["/now"] * (MAX_AHEAD + 1))
    one.connection.data_received(b"GET /slow HTTP/1.1\r\nHost:")
    assert one.exchanges.served == []
    assert one.connection.state == "idle"
    assert f"{MAX_AHEAD + 1} queued, reading paused" in repr(one.connection)
    one.connection.resume_writing()
    assert one.exchanges.served == [b"/now"] * (MAX_AHEAD + 1)
    await asyncio.sleep(0)
    assert one.connection.state == "head"
    one.connection.data_received(b" e\r\n\r\n")
    assert one.exchanges.served[-1] == b"/slow"


async def test_requests_of_many_fields_are_parsed_ahead_by_their_memory() -> None:
    one = One()
    one.connection.pause_writing()
    heads = [
        b"GET /now HTTP/1.1\r\nHost: e\r\n%b\r\n"
        % b"".join(b"X-%d-%d: 1\r\n" % (number, line) for line in range(LIMITS.fields - 1))
        for number in range(MAX_AHEAD)
    ]
    one.connection.data_received(b"".join(heads))
    most = MAX_AHEAD_BYTES // (LINE_BYTES * LIMITS.fields) + 1
    assert most < MAX_AHEAD
    assert int(repr(one.connection).split(" queued")[0].split()[-1]) <= most
    one.connection.resume_writing()
    while len(one.exchanges.served) < MAX_AHEAD:
        await asyncio.sleep(0)
    assert one.exchanges.served == [b"/now"] * MAX_AHEAD


def test_empty_lines_are_no_head_and_renew_no_deadline() -> None:
    one = One()
    one.connection.deadline = 7.0
    one.connection.data_received(b"\r\n")
    assert one.connection.state == "idle"
    assert one.connection.deadline == 7.0
    one.connection.data_received(b"G")
    assert one.connection.state == "head"
    assert one.connection.deadline != 7.0
