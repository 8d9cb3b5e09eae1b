"""Leases of shared limits against the plainest reading of a bucket, whatever is lost, late or crashes."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from authcore.store.whatomate_redis import WhatomateRedis, words_of
from config.load import load_settings
from gateway.assembly.database import build_redis
from gateway.assembly.shared_limits import build_shared_limits
from gateway.limits.buckets import Window
from gateway.limits.lease_book import BATCH, IDLE_SECONDS, Ask, Lease, LeaseBook, LeaseGrant
from gateway.limits.limit import Limit
from gateway.limits.redis_store import RedisStore
from gateway.limits.shared import SharedLimit as Shared
from gateway.wire.dialler import destination, race
from tests.support.processes import eventually, stand_still
from tests.support.redises import (
    redis_cluster,
    redis_cluster_with_replica,
    redis_sentinel,
    redis_server,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from gateway.limits.buckets import Bucket

UNITS: Final = 10.0
BURST: Final = 40.0
FEW: Final = 12.0
"""A burst so small that it is often used up."""
KEY: Final = b"one"


class Store:
    """Model of the store for one key, in the plainest words."""

    def __init__(self, burst: float = BURST) -> None:
        self.burst = burst
        self.level = self.at = 0.0
        self.counted = 0

    def exchange(self, ask: Ask, now: float) -> LeaseGrant:
        self.level = max(0.0, self.level - max(0.0, now - self.at) * UNITS)
        self.at = now
        self.level = min(max(0.0, self.level + ask.settled), 2 * self.burst + 1)
        units = max(0, min(ask.wanted, int(self.burst - self.level + 0.001)))
        self.level += units
        self.counted += ask.settled + units
        return LeaseGrant(units, [self.level / UNITS])


class Process:
    """One gateway's part: its limit, and its book of leases."""

    def __init__(
        self, shares: int, burst: float = BURST, *, closed: bool = False, looks: int = BATCH
    ) -> None:
        self.book = LeaseBook(shares, looks=looks)
        self.limit = Limit("test", ("all",), [Window(UNITS, 1.0, burst)])
        self.limit.leases = Shared(self.limit, self.book, closed=closed)

    def bucket(self, now: float, key: bytes = KEY) -> Bucket:
        return self.limit.buckets.find(key, now)

    def ask(self, now: float, times: int = 1, cost: int = 1, key: bytes = KEY) -> int:
        """Ask for requests; return how many pass."""
        passed = 0
        for _ in range(times):
            bucket = self.bucket(now, key)
            if self.limit.wait(bucket, cost, now) <= 0.0:
                self.limit.take(bucket, cost, now)
                passed += 1
        return passed

    def exchange(self, store: Store, now: float, *, last: bool = False) -> None:
        for one in self.book.asks(now, last=last):
            self.book.granted(one, store.exchange(one, now), now)


def test_a_process_alone_grants_the_whole_limit_and_then_its_rate() -> None:
    store, one = Store(), Process(2)
    passed = 0
    for _ in range(30):
        passed += one.ask(100.0, 5)
        one.exchange(store, 100.0)
    assert passed == BURST
    assert one.limit.wait(one.bucket(100.0), 1, 100.0) == pytest.approx(0.1)
    for step in range(1, 101):
        passed += one.ask(100.0 + step / 10, 5)
        one.exchange(store, 100.0 + step / 10)
    assert BURST + 10 * UNITS - 1 <= passed <= BURST + 10 * UNITS


def test_what_one_uses_up_the_other_has_not() -> None:
    store, one, other = Store(), Process(2), Process(2)
    passed = 0
    for _ in range(40):
        for process in (one, other):
            passed += process.ask(5.0, 2)
            process.exchange(store, 5.0)
    assert BURST <= passed <= BURST + 4
    assert other.ask(5.0, 9) == one.ask(5.0, 9) == 0


def test_a_lease_at_rest_is_returned() -> None:
    store, one = Store(), Process(2)
    for _ in range(4):
        one.ask(5.0, 3)
        one.exchange(store, 5.0)
    assert one.book.held > 0
    one.exchange(store, 5.0 + IDLE_SECONDS)
    one.exchange(store, 5.0 + IDLE_SECONDS)
    assert (one.book.held, len(one.book), store.counted) == (0, 0, 12)
    assert one.limit.buckets.peek(KEY) is not None
    assert one.bucket(5.0).held_until == 0.0


def test_at_the_end_everything_is_returned() -> None:
    store, one = Store(), Process(2)
    for _ in range(4):
        one.ask(5.0, 3)
        one.exchange(store, 5.0)
    one.ask(5.0)
    one.exchange(store, 5.0, last=True)
    assert store.counted == 13


def test_of_many_leases_those_that_ran_low_come_first_and_all_others_in_turn() -> None:
    stores: dict[bytes, Store] = {}
    one = Process(1, looks=5)
    keys = [b"%d" % number for number in range(50)]

    def exchange(now: float) -> list[bytes]:
        asks = one.book.asks(now)
        for ask in asks:
            one.book.granted(ask, stores.setdefault(ask.lease.bucket.key, Store()).exchange(ask, now), now)
        return [ask.lease.bucket.key for ask in asks]

    busy, others = keys[:10], keys[10:]
    for some in (busy, others):
        for key in some:
            one.ask(5.0, key=key)
        assert set(exchange(5.0)) >= set(some)  # they had no lease, so they had run low
    one.ask(5.0, 9, key=keys[-1])
    assert exchange(5.0)[0] == keys[-1]
    for key in busy:  # these keep what they have, and are the first in the line
        lease = one.bucket(6.0, key).lease
        assert isinstance(lease, Lease)
        lease.seen = 6.0
    returned = [exchange(5.0 + IDLE_SECONDS) for _ in range(12)]
    assert all(len(some) <= 5 for some in returned)
    assert {key for some in returned for key in some} >= set(others)


@pytest.mark.parametrize("closed", [False, True])
def test_without_the_store_open_grants_its_share_and_closed_nothing(closed: bool) -> None:
    one = Process(4, closed=closed)
    one.book.is_away = True
    assert one.ask(5.0, 99) == (0 if closed else BURST / 4)
    assert one.ask(7.0, 99) == (0 if closed else 2 * UNITS / 4)


def test_a_request_dearer_than_a_lease_passes_all_the_same() -> None:
    store, one = Store(), Process(4)
    passed = 0
    for _ in range(8):
        passed += one.ask(5.0, 1, cost=20)
        one.exchange(store, 5.0)
    assert passed == 2


def give_back(process: Process, now: float, cost: int = 1) -> None:
    process.limit.give_back(process.bucket(now), cost, now)


def test_what_is_given_back_can_be_taken_again() -> None:
    store, one = Store(), Process(1)
    for _ in range(50):
        assert one.ask(5.0) == 1
        give_back(one, 5.0)
        one.exchange(store, 5.0)
    one.exchange(store, 5.0, last=True)
    assert store.counted == 0


@pytest.mark.parametrize("cost", [1, 3])
def test_units_given_back_can_be_taken_again_before_the_store_has_answered(cost: int) -> None:
    store, one = Store(), Process(1)
    assert one.ask(5.0, 1, cost) == 1
    (under_way,) = one.book.asks(5.0)
    for _ in range(50):
        assert one.ask(5.0, 1, cost) == 1
        give_back(one, 5.0, cost)
    one.book.granted(under_way, store.exchange(under_way, 5.0), 5.0)
    one.exchange(store, 5.0, last=True)
    assert store.counted == cost


@pytest.mark.parametrize("cost", [1, 3])
def test_units_given_back_can_be_taken_again_while_the_store_is_away(cost: int) -> None:
    one = Process(2)
    one.book.is_away = True
    for _ in range(50):
        assert one.ask(5.0, 1, cost) == 1
        give_back(one, 5.0, cost)
    assert one.ask(5.0, 99) == BURST / 2


@pytest.mark.parametrize("closed", [False, True])
def test_units_of_a_lease_given_back_while_the_store_is_away_return_to_the_lease(closed: bool) -> None:
    store, one = Store(), Process(1, closed=closed)
    one.ask(5.0)
    one.exchange(store, 5.0)
    held = one.book.held
    assert held > 0
    one.book.is_away = True
    for _ in range(50):
        assert one.ask(5.0) == 1
        give_back(one, 5.0)
    assert one.book.held == held


class Replicas(RuleBasedStateMachine):
    """Processes that are asked, exchange, lose answers, crash and end in any order, while time passes."""

    processes: list[Process]

    @initialize(number=st.integers(1, 3))
    def begin(self, number: int) -> None:
        self.number = number
        self.store = Store(FEW)
        self.now = 1000.0
        self.passed = 0
        self.fresh = number
        self.lost = False
        self.was_away = False
        self.processes = [Process(number, FEW) for _ in range(number)]

    def of(self, which: int) -> Process:
        return self.processes[which % self.number]

    @rule(which=st.integers(0, 2), times=st.integers(1, 30))
    def requests_come(self, which: int, times: int) -> None:
        self.passed += self.of(which).ask(self.now, times)

    @rule(which=st.integers(0, 2), times=st.integers(1, 30))
    def requests_come_that_another_limit_refuses(self, which: int, times: int) -> None:
        process = self.of(which)
        for _ in range(times):
            if process.ask(self.now):
                give_back(process, self.now)

    @rule(which=st.integers(0, 2), seconds=st.sampled_from([0.01, 0.5]))
    def a_request_is_refused_after_an_exchange(self, which: int, seconds: float) -> None:
        process = self.of(which)
        if process.ask(self.now):
            process.exchange(self.store, self.now)
            self.now += seconds
            give_back(process, self.now)

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 2.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(which=st.integers(0, 2), before=st.integers(0, 9), after=st.integers(0, 9))
    def leases_are_exchanged(self, which: int, before: int, after: int) -> None:
        process = self.of(which)
        asks = process.book.asks(self.now)
        self.passed += process.ask(self.now, before)
        grants = [self.store.exchange(ask, self.now) for ask in asks]
        self.passed += process.ask(self.now, after)
        for ask, grant in zip(asks, grants, strict=True):
            process.book.granted(ask, grant, self.now)

    @rule(which=st.integers(0, 2), counted=st.booleans())
    def an_exchange_fails(self, which: int, counted: bool) -> None:
        process = self.of(which)
        for ask in process.book.asks(self.now):
            if counted:
                self.store.exchange(ask, self.now)
            process.book.failed(ask)
            self.lost = True

    @rule(which=st.integers(0, 2), is_away=st.booleans())
    def the_store_goes_and_comes(self, which: int, is_away: bool) -> None:
        self.of(which).book.is_away = is_away
        self.lost = True
        self.was_away |= is_away

    @rule(which=st.integers(0, 2), ends=st.booleans())
    def a_process_is_replaced(self, which: int, ends: bool) -> None:
        process = self.of(which)
        if ends:
            process.exchange(self.store, self.now, last=True)
        else:
            self.lost = True
        self.fresh += 1
        self.processes[which % self.number] = Process(self.number, FEW)

    @invariant()
    def every_unit_is_in_one_place(self) -> None:
        """The store has counted the units that passed, without unused leases, and with debts."""
        if not getattr(self, "processes", None) or self.lost:
            return
        leases = [process.bucket(self.now).lease for process in self.processes]
        held = sum(getattr(lease, "held", 0) for lease in leases)
        debts = sum(getattr(lease, "debt", 0) for lease in leases)
        assert self.passed == self.store.counted - held + debts

    @invariant()
    def a_process_alone_grants_no_more_than_the_limit(self) -> None:
        if getattr(self, "processes", None) and self.number == self.fresh == 1 and not self.lost:
            assert self.passed <= FEW + (self.now - 1000.0) * UNITS + 0.01

    @invariant()
    def the_overshoot_is_bounded(self) -> None:
        """Each process's own share, and what is leased, beyond what one bucket grants.

        The share counts twice if the store goes away: what was let through on it is counted by the store, which gives
        it back, and then it is all that there is.
        """
        if not getattr(self, "processes", None):
            return
        whole = FEW + (self.now - 1000.0) * UNITS
        share = max(FEW / self.number, 1.0)
        shares = self.fresh * share + (self.now - 1000.0) * UNITS
        assert self.passed <= whole + shares * (1 + self.was_away) + FEW / 4 + self.number


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def asks_of(limit: Limit, settled: int, wanted: int, key: bytes = KEY) -> list[Ask]:
    source = limit.leases
    assert isinstance(source, Shared)
    lease = Lease(source, limit.buckets.find(key, 0.0))
    return [Ask(lease, source.prefix + key, source.windows, settled, wanted)]


def slow_limit() -> Limit:
    """A limit that drains so slowly that a test sees nothing of it."""
    limit = Limit("slow", ("all",), [Window(10.0, 86_400.0, 10.0), Window(1000.0, 86_400.0, 1000.0)])
    limit.leases = Shared(limit, LeaseBook(1), closed=False)
    return limit


async def check(url: str) -> None:
    """A store counts, grants, takes back and never grants more than there is."""
    store, limit = RedisStore(url, timeout_seconds=10), slow_limit()
    try:
        (first,) = await store.exchange(asks_of(limit, 2, 4))
        assert first.units == 4
        assert first.owed == pytest.approx([6 * 8640, 6 * 86.4], rel=0.01)
        (second,) = await store.exchange(asks_of(limit, 0, 9))
        assert second.units == 4
        (third,) = await store.exchange(asks_of(limit, 0, 1))
        assert third.units == 0
        (back,) = await store.exchange(asks_of(limit, -3, 2))
        assert back.units == 2
        both = await store.exchange([*asks_of(limit, 0, 5), *asks_of(limit, 0, 5, b"another")])
        assert [grant.units for grant in both] == [1, 5]
        await store.ping()
    finally:
        await store.close()


async def test_a_redis_counts_as_the_plain_store_does(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        await check(server.url)
        left = server.client.keys("gateway:limit:*")
        assert len(left) == 2
        assert all(0 < server.client.ttl(key) <= 86_402 for key in left), "what nobody uses expires"


async def test_a_pause_of_the_gateway_is_no_silence_of_a_redis(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        store = RedisStore(server.url, timeout_seconds=1.5)
        try:
            await store.ping()
            for turns in range(4):
                asking = asyncio.ensure_future(store.ping())
                for _ in range(turns):
                    await asyncio.sleep(0)
                stand_still(1.8)
                await asking
        finally:
            await store.close()


async def test_a_cluster_counts_as_the_plain_store_does(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as server:
        await check(f"redis+cluster://127.0.0.1:{server.port}")


async def test_a_cluster_is_followed_when_a_replica_takes_over_from_a_silent_master(tmp_path: Path) -> None:
    with redis_cluster_with_replica(tmp_path) as (master, replica):
        store = RedisStore(f"redis+cluster://127.0.0.1:{master.port}", timeout_seconds=1)

        async def answers() -> bool:
            with suppress(TimeoutError, RedisError, RedisClusterException):
                await store.ping()
                return True
            return False

        try:
            await eventually(answers)
            master.pause()
            assert not await answers()
            replica.client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
            await eventually(answers)
        finally:
            master.go_on()
            await store.close()


async def test_connections_that_a_store_has_closed_are_no_failure(tmp_path: Path) -> None:
    beside = tmp_path / "alone"
    beside.mkdir()
    with redis_cluster(tmp_path) as cluster, redis_server(beside) as alone:
        for server, url in (
            (cluster, f"redis+cluster://127.0.0.1:{cluster.port}"),
            (alone, alone.url),
        ):
            store, limit = RedisStore(url, timeout_seconds=10), slow_limit()
            try:
                await store.ping()
                server.client.client_kill_filter(_type="normal", skipme=True)
                grants = await store.exchange([*asks_of(limit, 0, 1), *asks_of(limit, 0, 2, b"another")])
                assert [grant.units for grant in grants] == [1, 2]
            finally:
                await store.close()


async def test_the_rights_that_the_page_names_are_enough_in_a_cluster(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as server:
        rights = ("+eval", "+hget", "+hset", "+pexpire", "+time", "+cluster|slots", "~gateway:limit*")
        server.client.execute_command("ACL", "SETUSER", "limits", "on", ">secret", *rights)
        store = RedisStore(f"redis+cluster://limits:secret@127.0.0.1:{server.port}", timeout_seconds=10)
        wrong = RedisStore(f"redis+cluster://limits:hunter2@127.0.0.1:{server.port}", timeout_seconds=10)
        try:
            (grant,) = await store.exchange(asks_of(slow_limit(), 0, 1))
            assert grant.units == 1
            with pytest.raises(RedisClusterException) as refused:
                await wrong.ping()
            assert words_of(refused.value).startswith("refuses: invalid username-password pair")
        finally:
            await store.close()
            await wrong.close()


async def test_a_master_is_found_by_its_sentinel(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, redis_sentinel(tmp_path, server) as port:
        await check(f"redis+sentinel://127.0.0.1:{port}/limits/0")
        assert len(server.client.keys("gateway:limit:*")) == 2


@pytest.mark.parametrize("silent", [False, True])
async def test_a_sentinel_that_does_not_answer_leaves_time_for_the_next(
    tmp_path: Path, *, silent: bool
) -> None:
    with (
        redis_server(tmp_path) as server,
        redis_sentinel(tmp_path, server) as port,
        socket.socket() as other,
    ):
        other.bind(("127.0.0.1", 0))
        if silent:
            other.listen()
        hosts = f"127.0.0.1:{other.getsockname()[1]},127.0.0.1:{port}"
        store = RedisStore(f"redis+sentinel://{hosts}/limits", timeout_seconds=3)
        try:
            await store.ping()
        finally:
            await store.close()


async def test_a_master_that_has_become_a_replica_is_left_for_the_one_that_the_name_leads_to(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path) as one, redis_server(tmp_path) as two:
        ports = [one.port]

        async def dial(host: str, port: int, but: Collection[str] = ()) -> socket.socket:
            return await race([destination("127.0.0.1", ports[-1])], [])

        store = RedisStore("redis://limits.test:6379/0", timeout_seconds=10, dial=dial)
        counterpart = WhatomateRedis("redis://whatomate.test:6379/0", timeout_seconds=10, dial=dial)
        try:
            await store.ping()
            assert await counterpart.probe()
            one.client.replicaof("127.0.0.1", two.port)
            ports.append(two.port)
            with pytest.raises(RedisError):
                await store.ping()
            await store.ping()
            assert not await counterpart.probe()
            await eventually(counterpart.probe)
        finally:
            await store.close()
            await counterpart.close()


async def test_credentials_of_a_master_are_read_as_a_url_has_them(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, redis_sentinel(tmp_path, server) as port:
        server.client.acl_setuser(
            "limits@store", enabled=True, passwords="+p:w/%@", keys="*", commands=["+@all"]
        )
        await check(f"redis+sentinel://limits%40store:p%3Aw%2F%25%40@127.0.0.1:{port}/limits")
        users = {event["username"] for event in server.client.acl_log()}
        assert not users, "nobody was refused"
        assert len(server.client.keys("gateway:limit:*")) == 2


@pytest.mark.parametrize("kind", ["alone", "cluster", "sentinel"])
async def test_a_password_that_has_changed_opens_the_next_connection(tmp_path: Path, kind: str) -> None:
    with ExitStack() as servers:
        run = redis_cluster if kind == "cluster" else redis_server
        server = servers.enter_context(run(tmp_path))
        where = {
            "alone": lambda: f"redis://limits:%s@127.0.0.1:{server.port}/0",
            "cluster": lambda: f"redis+cluster://limits:%s@127.0.0.1:{server.port}",
            "sentinel": lambda: (
                "redis+sentinel://limits:%s@127.0.0.1:"
                f"{servers.enter_context(redis_sentinel(tmp_path, server))}/limits"
            ),
        }[kind]()
        login = ("ACL", "SETUSER", "limits", "on", "~*", "+@all", "resetpass")
        server.client.execute_command(*login, ">first")
        said = ["first"]
        store = RedisStore(where % "first", timeout_seconds=10, present_url=lambda: where % said[0])
        try:
            await store.ping()
            server.client.execute_command(*login, ">p:w/@")
            said[0] = "p%3Aw%2F%40"
            server.client.client_kill_filter(_type="normal", skipme=True)
            await store.ping()
        finally:
            await store.close()


async def test_both_redises_log_in_by_what_their_files_say(tmp_path: Path) -> None:
    file = tmp_path / "url"
    with redis_server(tmp_path) as server:

        def write(password: str) -> None:
            file.write_text(f"redis://:{password}@127.0.0.1:{server.port}/0")
            server.client.execute_command("CONFIG", "SET", "requirepass", password)
            server.client.execute_command("AUTH", password)

        write("first")
        settings = load_settings(
            environment={"GATEWAY_LIMITS_URL_FILE": str(file), "GATEWAY_WHATOMATE_REDIS_URL_FILE": str(file)},
            env_file=tmp_path / "none",
            required=frozenset(),
        )

        async def dial(host: str, port: int, but: Collection[str] = ()) -> socket.socket:
            return await race([destination(host, port)], [])

        limits, counterpart = build_shared_limits(settings, 1, dial), build_redis(settings, dial)
        assert limits is not None
        assert counterpart is not None
        try:
            limits.book.is_away = True  # asks it though nobody wants a lease
            assert await limits.exchange()
            assert await counterpart.probe()
            write("second")
            server.client.client_kill_filter(_type="normal", skipme=True)
            limits.book.is_away = True
            assert await limits.exchange()
            assert await counterpart.probe()
        finally:
            await limits.close()
            await counterpart.close()


NO_WRITES: Final = {
    "full": ("CONFIG", "SET", "maxmemory", "1"),
    "replica": ("REPLICAOF", "127.0.0.1", "1"),
    "no HSET": ("ACL", "SETUSER", "default", "-hset"),
    "no PEXPIRE": ("ACL", "SETUSER", "default", "-pexpire"),
}


@pytest.mark.parametrize("breaking", NO_WRITES.values(), ids=NO_WRITES)
async def test_a_ping_of_a_store_that_refuses_exchanges_fails(
    tmp_path: Path, breaking: tuple[str, ...]
) -> None:
    with redis_server(tmp_path) as server:
        store, limit = RedisStore(server.url, timeout_seconds=10), slow_limit()
        try:
            await store.ping()
            server.client.execute_command(*breaking)
            with pytest.raises(ResponseError) as refused:
                await store.exchange(asks_of(limit, 0, 1))
            assert "EVAL" not in str(refused.value), "the log has what the server said"
            with pytest.raises(ResponseError):
                await store.ping()
        finally:
            await store.close()


async def test_the_rights_that_the_page_names_are_enough(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        rights = ("+eval", "+hget", "+hset", "+pexpire", "+time", "+client|setname", "~gateway:limit*")
        server.client.execute_command("ACL", "SETUSER", "limits", "on", ">secret", *rights)
        store = RedisStore(f"redis://limits:secret@127.0.0.1:{server.port}/0", timeout_seconds=10)
        try:
            await store.ping()
            (grant,) = await store.exchange(asks_of(slow_limit(), 0, 1))
            assert grant.units == 1
            assert 0 < server.client.pttl("gateway:limit") <= 1000, "the probe leaves nothing behind"
        finally:
            await store.close()
