"""Refresh tokens that are good at Whatomate and here, each once, by way of Whatomate's own Redis: a real one.

Whatomate's side is played by what its server does: it writes ``refresh:<jti>`` when it issues a token, and deletes it
when the token is used; where there was nothing to delete it refuses.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest
import redis
import structlog

from authcore.counterpart import Taken
from authcore.store.session_statements import MOST_TOKENS
from authcore.store.whatomate_redis import CONNECTIONS, PAUSE_SECONDS, WhatomateRedis
from gateway.assembly.names import NameEvents
from gateway.wire.dialler import connect
from gateway.wire.dns_client import DnsClient
from gateway.wire.resolver import Resolver, ResolverLimits
from tests.support.admin import admin, metrics
from tests.support.calls import (
    ask,
    bearer,
    claims_of,
    get,
    granted,
    is_refusal,
    post,
    request,
    whatomate_token,
)
from tests.support.certificates import Authority
from tests.support.name_server import NameServer, name_server
from tests.support.peers import PATIENCE
from tests.support.programs import program
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from authcore.store.dialled_loop import Dial
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


LOGIN = post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})
REVOKED = "Refresh token has been revoked"
BLOCKED = (
    "SELECT count(*) AS number FROM pg_stat_activity "
    "WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
)


class Server:
    """A Redis of the test's own, without a port."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._command = [
            *(program("redis-server"), "--port", "0", "--unixsocket", str(self.socket)),
            *("--save", "", "--appendonly", "no", "--dir", str(folder)),
        ]
        self.begin()

    def begin(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        self.client: Any = redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)
        for _ in range(1000):
            try:
                self.client.ping()
            except redis.ConnectionError:
                time.sleep(0.01)
            else:
                return
        pytest.fail("redis-server does not answer")

    def end(self) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait()

    def has(self, token: str) -> bool:
        return bool(self.client.exists(f"refresh:{claims_of(token)['jti']}"))

    def is_used_at_whatomate(self, token: str) -> bool:
        """Use a token there; False where it refuses."""
        return bool(self.client.delete(f"refresh:{claims_of(token)['jti']}"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.end()


@pytest.fixture
async def gate(world: World, start: Start, server: Server) -> Gateway:
    return await start(world.url, whatomate={"redis_url": server.url, "redis_timeout_seconds": PATIENCE})


def refresh(token: str) -> bytes:
    return post("/api/auth/refresh", {"refresh_token": token})


def of_whatomate(world: World, server: Server) -> str:
    """A refresh token that Whatomate issued, as it issues it."""
    jti = str(uuid4())
    server.client.set(f"refresh:{jti}", str(world.agent), ex=86_400)
    return whatomate_token(world.agent, world.home, seconds=86_400, jti=jti)


async def test_a_token_of_the_gateway_is_known_to_whatomate_for_as_long_as_it_lives(
    gate: Gateway, server: Server, world: World
) -> None:
    first = await granted(gate, LOGIN)
    token = first["refresh_token"]
    key = f"refresh:{claims_of(token)['jti']}"
    assert server.client.get(key) == str(world.agent)
    left = claims_of(token)["exp"] - time.time()
    assert abs(server.client.ttl(key) - left) < 60
    second = await granted(gate, refresh(token))
    assert not server.has(token), "used up on both sides"
    assert server.has(second["refresh_token"])
    await world.accounts.administration.add_member(world.agent, world.other)
    switched = await granted(
        gate,
        post("/api/auth/switch-org", {"organization_id": str(world.other)}, bearer(second["access_token"])),
    )
    assert server.has(switched["refresh_token"])
    assert server.has(second["refresh_token"])


async def test_a_token_that_whatomate_has_used_is_refused_here_and_ends_nothing_else(
    gate: Gateway, server: Server
) -> None:
    pair = await granted(gate, LOGIN)
    assert server.is_used_at_whatomate(pair["refresh_token"])
    is_refusal(await ask(gate, refresh(pair["refresh_token"])), 401, REVOKED)
    access = bearer(pair["access_token"])
    assert (await ask(gate, get("/api/contacts", access))).status == 200


async def test_a_token_of_whatomates_is_used_once_on_whichever_side(
    gate: Gateway, server: Server, world: World
) -> None:
    here = of_whatomate(world, server)
    pair = await granted(gate, refresh(here))
    assert not server.is_used_at_whatomate(here), "Whatomate refuses what was used here"
    assert server.has(pair["refresh_token"]), "and takes what followed"
    there = of_whatomate(world, server)
    assert server.is_used_at_whatomate(there)
    is_refusal(await ask(gate, refresh(there)), 401, REVOKED)
    unknown = whatomate_token(world.agent, world.home, seconds=86_400, jti=str(uuid4()))
    is_refusal(await ask(gate, refresh(unknown)), 401, REVOKED)


async def test_moving_there_and_back_costs_nobody_a_sign_in(
    gate: Gateway, server: Server, world: World
) -> None:
    token = (await granted(gate, LOGIN))["refresh_token"]
    for _ in range(3):
        assert server.is_used_at_whatomate(token)
        token = of_whatomate(world, server)  # what Whatomate answers
        token = (await granted(gate, refresh(token)))["refresh_token"]


@pytest.mark.parametrize("whose", ["ours", "Whatomate's"])
async def test_of_uses_at_once_on_both_sides_one_is_good(
    gate: Gateway, server: Server, world: World, whose: str
) -> None:
    for _ in range(10):
        token = (
            (await granted(gate, LOGIN))["refresh_token"] if whose == "ours" else of_whatomate(world, server)
        )
        answers, there = await asyncio.gather(
            asyncio.gather(*(ask(gate, refresh(token)) for _ in range(3))),
            asyncio.to_thread(server.is_used_at_whatomate, token),
        )
        here = {answer.status for answer in answers}
        assert here == ({401} if there else {200}), "one side, and on it every tab"


async def test_tabs_that_race_are_given_one_pair(gate: Gateway, server: Server) -> None:
    token = (await granted(gate, LOGIN))["refresh_token"]
    pairs = await asyncio.gather(*(granted(gate, refresh(token)) for _ in range(5)))
    assert len({pair["refresh_token"] for pair in pairs}) == 1
    assert server.is_used_at_whatomate(pairs[0]["refresh_token"])
    await granted(gate, refresh(token))  # the same pair again
    assert not server.has(pairs[0]["refresh_token"]), "a pair given again brings nothing back that was used"


@pytest.mark.parametrize("reuse", ["retry", "keep"])
async def test_once_the_successor_was_used_at_whatomate_an_older_token_is_theft(
    world: World, start: Start, server: Server, reuse: str
) -> None:
    gate = await start(
        world.url,
        whatomate={"redis_url": server.url, "redis_timeout_seconds": PATIENCE},
        token={"grace_seconds": 0, "reuse": reuse},
    )
    first = await granted(gate, LOGIN)
    pair = await granted(gate, refresh(first["refresh_token"]))
    again = await granted(gate, refresh(first["refresh_token"]))
    assert again["refresh_token"] == pair["refresh_token"], "a lost answer is given again"
    assert server.is_used_at_whatomate(pair["refresh_token"])
    is_refusal(await ask(gate, refresh(first["refresh_token"])), 401, REVOKED)
    access = bearer(pair["access_token"])
    is_refusal(await ask(gate, get("/api/contacts", access)), 401)


class Crossing:
    """A road to a server's Unix socket on which one write of a refresh token's id is held, before it or after it."""

    def __init__(self, held: str) -> None:
        self._held = held
        self._is_armed = False
        self.reached, self.cleared = asyncio.Event(), asyncio.Event()

    def arm(self) -> None:
        """Hold the next write."""
        self._is_armed = True

    async def _hold(self) -> None:
        self.reached.set()
        await self.cleared.wait()

    async def lead(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(server.socket))
        with suppress(ConnectionError):
            while piece := await reader.read(65_536):
                is_held = self._is_armed and b"\r\nSET\r\n" in piece
                if is_held:
                    self._is_armed = False
                if is_held and self._held == "the write":
                    await self._hold()
                back.write(piece)
                answer = await there.read(65_536)
                if is_held and self._held == "its answer":
                    await self._hold()
                writer.write(answer)
        back.close()
        writer.close()


@pytest.mark.parametrize("held", ["the write", "its answer"])
@pytest.mark.parametrize("how", ["logout", "logout-all", "end of the session", "use of the token"])
async def test_an_event_during_the_write_of_a_tokens_id_leaves_no_valid_token_at_whatomate(
    world: World, start: Start, server: Server, how: str, held: str
) -> None:
    crossing = Crossing(held)
    elsewhere = await start(world.url, whatomate={"redis_url": server.url, "redis_timeout_seconds": PATIENCE})
    async with await asyncio.start_server(partial(crossing.lead, server), "127.0.0.1", 0) as road:
        port = road.sockets[0].getsockname()[1]
        slow = await start(
            world.url,
            whatomate={"redis_url": f"redis://127.0.0.1:{port}", "redis_timeout_seconds": 10},
        )
        first = await granted(slow, LOGIN)
        line = bearer(first["access_token"])
        crossing.arm()
        refreshing = asyncio.create_task(granted(slow, refresh(first["refresh_token"])))
        async with asyncio.timeout(30):
            await crossing.reached.wait()
        (row,) = await world.sql("SELECT id FROM gateway_sessions")
        if how == "use of the token":  # by another tab, which is given the same pair
            pair = await granted(elsewhere, refresh(first["refresh_token"]))
            pair = await granted(elsewhere, refresh(pair["refresh_token"]))
            await granted(elsewhere, post("/api/auth/logout-all", {}, bearer(pair["access_token"])))
        else:
            ending = {
                "logout": request("POST", "/api/auth/logout", line),
                "logout-all": post("/api/auth/logout-all", {}, line),
                "end of the session": request("DELETE", f"/api/auth/sessions/{row['id']}", line),
            }[how]
            await granted(elsewhere, ending)
        crossing.cleared.set()
        await refreshing
        assert server.client.keys("refresh:*") == []


async def test_a_tokens_id_that_is_written_late_is_deleted_once_the_token_was_used(
    world: World, start: Start, server: Server
) -> None:
    """The use finds no id, waits for the session's row, and meanwhile whoever issued the token writes the id."""
    first = await granted(await start(world.url), LOGIN)
    gate = await start(world.url, whatomate={"redis_url": server.url, "redis_timeout_seconds": PATIENCE})
    token = first["refresh_token"]
    connection = await asyncpg.connect(world.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM gateway_sessions FOR UPDATE")
            using = asyncio.create_task(granted(gate, refresh(token)))
            async with asyncio.timeout(30):
                # Within a transaction it stays as first seen.
                while (await world.sql(BLOCKED))[0]["number"] == 0:
                    await asyncio.sleep(0.01)
            server.client.set(f"refresh:{claims_of(token)['jti']}", str(world.agent))
        pair = await using
    finally:
        await connection.close()
    assert not server.has(token)
    assert server.has(pair["refresh_token"])


async def test_a_tokens_id_whose_write_could_not_be_noted_is_deleted_with_its_session(
    gate: Gateway, server: Server, world: World
) -> None:
    await world.sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$"
    )
    await world.sql(
        "CREATE TRIGGER fail BEFORE UPDATE OF whatomate_jti ON gateway_refresh_tokens FOR EACH ROW "
        "WHEN (NEW.whatomate_jti IS NOT NULL) EXECUTE FUNCTION fail()"
    )
    pair = await granted(gate, LOGIN)
    assert server.has(pair["refresh_token"])
    await granted(gate, post("/api/auth/logout-all", {}, bearer(pair["access_token"])))
    assert not server.has(pair["refresh_token"])


@pytest.mark.parametrize("how", ["logout", "logout-all", "theft"])
async def test_what_ends_a_session_ends_its_tokens_at_whatomate(
    world: World, start: Start, server: Server, how: str
) -> None:
    gate = await start(
        world.url,
        whatomate={"redis_url": server.url, "redis_timeout_seconds": PATIENCE},
        token={"grace_seconds": 0, "reuse": "strict"},
    )
    first = await granted(gate, LOGIN)
    pair = await granted(gate, refresh(first["refresh_token"]))
    await world.accounts.administration.add_member(world.agent, world.other)
    beside = await granted(
        gate,
        post("/api/auth/switch-org", {"organization_id": str(world.other)}, bearer(pair["access_token"])),
    )
    assert server.has(pair["refresh_token"])
    assert server.has(beside["refresh_token"])
    if how == "logout":
        await granted(gate, post("/api/auth/logout", {"refresh_token": pair["refresh_token"]}))
    elif how == "logout-all":
        await granted(gate, post("/api/auth/logout-all", {}, bearer(pair["access_token"])))
    else:
        is_refusal(await ask(gate, refresh(first["refresh_token"])), 401, REVOKED)
    assert not server.has(pair["refresh_token"])
    assert not server.has(beside["refresh_token"])


async def test_a_refresh_that_fails_leaves_the_token_good_on_both_sides(
    gate: Gateway, server: Server, world: World
) -> None:
    pair = await granted(gate, LOGIN)
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    is_refusal(await ask(gate, refresh(pair["refresh_token"])), 401)
    assert server.has(pair["refresh_token"])


async def test_tokens_of_before_the_setting_go_on(world: World, start: Start, server: Server) -> None:
    before = await start(world.url)
    token = (await granted(before, LOGIN))["refresh_token"]
    gate = await start(world.url, whatomate={"redis_url": server.url, "redis_timeout_seconds": PATIENCE})
    pair = await granted(gate, refresh(token))
    assert server.has(pair["refresh_token"])


async def test_with_redis_away_all_is_as_without_it_and_readiness_says_so(
    gate: Gateway, server: Server, world: World
) -> None:
    assert (await admin(gate, "/readyz")).json()["whatomate_redis"] == "ok"
    pair = await granted(gate, LOGIN)
    foreign = of_whatomate(world, server)
    server.end()
    for token in (pair["refresh_token"], foreign):
        pair = await granted(gate, refresh(token))
    await granted(gate, LOGIN)
    answer = await admin(gate, "/readyz")
    assert answer.status == 200
    said: Any = answer.json()["whatomate_redis"]
    assert said.startswith("away")
    samples = await metrics(gate)
    assert samples["gateway_whatomate_redis_up"][0].value == 0
    server.begin()
    async with asyncio.timeout(30):
        while (await admin(gate, "/readyz")).json()["whatomate_redis"] != "ok":
            await asyncio.sleep(0.05)
    fresh = await granted(gate, refresh(pair["refresh_token"]))
    assert server.has(fresh["refresh_token"])


async def test_the_log_has_that_redis_is_away_and_that_it_is_back(gate: Gateway, server: Server) -> None:
    async def state(word: str) -> None:
        async with asyncio.timeout(30):
            while not str((await admin(gate, "/readyz")).json()["whatomate_redis"]).startswith(word):
                await asyncio.sleep(0.05)

    with structlog.testing.capture_logs() as events:
        server.end()
        await granted(gate, LOGIN)
        await state("away")
        server.begin()
        await state("ok")
    ours = [one["event"] for one in events if one["event"].startswith("whatomate_redis")]
    assert (ours[0], ours[-1]) == ("whatomate_redis_away", "whatomate_redis_back")


@pytest.mark.parametrize(
    ("breaking", "user", "words"),
    [
        (("CONFIG", "SET", "requirepass", "secret"), ":wrong@", "refuses: invalid username-password pair"),
        (("CONFIG", "SET", "requirepass", "secret"), "", "refuses: HELLO must be called with the client"),
        (
            ("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read"),
            "reader:secret@",
            "refuses: this user has no",
        ),
        (("REPLICAOF", "127.0.0.1", "1"), "", "refuses: You can't write against a read only replica"),
        (("CONFIG", "SET", "maxmemory", "1"), "", "refuses: command not allowed when used memory"),
    ],
)
async def test_a_redis_that_refuses_is_not_taken_for_one_that_answers_and_its_words_are_passed_on(
    world: World, start: Start, server: Server, breaking: tuple[str, ...], user: str, words: str
) -> None:
    """A user without rights, a replica and a full server all answer a PING."""
    server.client.execute_command(*breaking)
    url = server.url.replace("unix://", f"unix://{user}", 1)
    client = WhatomateRedis(url, timeout_seconds=10)
    try:
        assert not await client.probe()
        assert client.trouble.startswith(words)
    finally:
        await client.close()
    gate = await start(world.url, whatomate={"redis_url": url, "redis_timeout_seconds": PATIENCE})
    pair = await granted(gate, LOGIN)
    await granted(gate, refresh(pair["refresh_token"]))
    said: Any = (await admin(gate, "/readyz")).json()["whatomate_redis"]
    assert said.startswith(words)
    assert "secret" not in said
    assert "wrong@" not in said


async def test_a_redis_that_swallows_everything_delays_nobody_for_long(
    world: World, start: Start, tmp_path: Path
) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = tmp_path / "silent.sock"
    async with await asyncio.start_unix_server(swallow, path=str(silent)):
        gate = await start(
            world.url, whatomate={"redis_url": f"unix://{silent}", "redis_timeout_seconds": 0.05}
        )
        pair = await granted(gate, LOGIN)
        await granted(gate, refresh(pair["refresh_token"]))
        assert (await metrics(gate))["gateway_whatomate_redis_up"][0].value == 0


async def test_more_uses_at_once_than_connections_wait_their_turn_and_are_no_failure(server: Server) -> None:
    """Else a flood would switch off what refuses a token that was used at Whatomate."""
    ids = [str(uuid4()) for _ in range(500)]
    for jti in ids:
        server.client.set(f"refresh:{jti}", "a user")
    client = WhatomateRedis(server.url, timeout_seconds=30)
    try:
        assert set(await asyncio.gather(*(client.take(jti) for jti in ids))) == {Taken.TAKEN}
        assert not client.is_away
        assert server.client.info("clients")["connected_clients"] <= CONNECTIONS + 1
    finally:
        await client.close()


@pytest.mark.parametrize(
    "answer",
    [b"$3\r\n\xff\xfe\xfd\r\n", b"+OK\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*-1\r\n", b":1\r\n"],
)
async def test_of_a_server_that_is_no_redis_nothing_is_known(tmp_path: Path, answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(answer * 8)
        writer.close()

    path = tmp_path / "other.sock"
    async with await asyncio.start_unix_server(speak, path=str(path)):
        client = WhatomateRedis(f"unix://{path}", timeout_seconds=0.25)
        assert await client.take("a") is Taken.UNKNOWN
        await client.close()


async def test_connections_that_redis_has_closed_are_no_failure(server: Server) -> None:
    failures: list[Exception | None] = []
    client = WhatomateRedis(server.url, timeout_seconds=PATIENCE, report=failures.append)
    assert all(await asyncio.gather(*(client.probe() for _ in range(CONNECTIONS))))
    server.client.client_kill_filter(_type="normal", skipme=True)
    assert all(await asyncio.gather(*(client.probe() for _ in range(CONNECTIONS))))
    server.end()
    server.begin()
    assert await client.probe()
    assert failures == []
    await client.close()


async def test_after_a_failure_one_call_asks_and_the_others_go_on_without(tmp_path: Path) -> None:
    connected = 0

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        writer.close()

    now = 1000.0
    path = tmp_path / "refusing.sock"
    async with await asyncio.start_unix_server(refuse, path=str(path)):
        client = WhatomateRedis(f"unix://{path}", timeout_seconds=5, clock=lambda: now)
        await client.probe()
        first = connected
        now += PAUSE_SECONDS - 0.1
        await asyncio.gather(*(client.probe() for _ in range(10)))
        assert connected == first
        now += 0.1
        await asyncio.gather(*(client.probe() for _ in range(10)))
        assert connected == 2 * first
        await client.close()


async def test_permissions_that_a_new_membership_changes_are_read_anew_there(
    gate: Gateway, server: Server, world: World
) -> None:
    cached = [f"permissions:user:{world.agent}", f"permissions:user:{world.agent}:{world.other}"]
    kept = [f"permissions:user:{world.admin}", f"permissions:user:{world.agent}:{world.home}"]
    for key in (*cached, *kept):
        server.client.set(key, "{}")
    joining = {
        "email": "agent@example.com",
        "password": PASSWORD,
        "full_name": "Agent",
        "organization_id": str(world.other),
    }
    await granted(gate, post("/api/auth/register", joining))
    assert server.client.exists(*cached) == 0
    assert server.client.exists(*kept) == 2


async def test_a_refresh_token_that_ends_with_the_token_it_was_switched_by_is_not_for_whatomate(
    gate: Gateway, server: Server, world: World
) -> None:
    """It knows of no such end, and would give a longer life for it."""
    pair = await granted(gate, LOGIN)
    body = {"organization_id": str(world.home)}
    switched = await granted(gate, post("/api/auth/switch-org", body, bearer(pair["access_token"])))
    assert not server.has(switched["refresh_token"])
    assert server.has(pair["refresh_token"])
    again = await granted(gate, refresh(switched["refresh_token"]))
    assert not server.has(again["refresh_token"])


# -- its name ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def road_to(server: Server, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A port that leads to a server's Unix socket."""

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(server.socket))

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while piece := await source.read(65_536):
                    sink.write(piece)
            sink.close()

        await asyncio.gather(carry(reader, back), carry(there, writer))

    road = await asyncio.start_server(lead, "127.0.0.1", 0, ssl=tls)
    try:
        yield road.sockets[0].getsockname()[1]
    finally:
        road.close()


def resolved(names: NameServer) -> Dial:
    client = DnsClient([names.address], timeout_seconds=PATIENCE)
    return partial(connect, Resolver(client.look_up, ResolverLimits(), NameEvents()))


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_the_name_of_a_redis_is_looked_up_by_the_gateways_own_resolver(
    server: Server, tmp_path: Path, scheme: str
) -> None:
    authority = Authority(tmp_path)
    tls = authority.server("redis.test") if scheme == "rediss" else None
    trusted = f"?ssl_ca_certs={authority.file}" if tls else ""
    async with name_server() as names, road_to(server, tls) as port:
        names.zone = {"redis.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
        client = WhatomateRedis(
            f"{scheme}://redis.test:{port}{trusted}", timeout_seconds=5, dial=resolved(names)
        )
        assert await client.probe(), client.trouble
        await client.close()
        assert names.queries("redis.test") == 2
        other = WhatomateRedis(
            f"{scheme}://other.test:{port}{trusted}", timeout_seconds=5, dial=resolved(names)
        )
        assert await other.probe() is (tls is None), "a certificate is verified for the name"
        await other.close()


async def test_a_gateway_looks_redis_up_like_its_upstreams(
    world: World, start: Start, server: Server
) -> None:
    async with name_server() as names, road_to(server) as port:
        names.zone["redis.test"] = ["127.0.0.1"]
        gate = await start(
            world.url,
            whatomate={"redis_url": f"redis://redis.test:{port}", "redis_timeout_seconds": PATIENCE},
            resolver={"servers": (names.address,)},
        )
        pair = await granted(gate, LOGIN)
        assert server.has(pair["refresh_token"])
        assert names.queries("redis.test") > 0


async def test_a_name_server_that_is_silent_is_a_redis_that_is_away() -> None:
    async with name_server() as names:
        names.silent.add("redis.test")
        client = WhatomateRedis("redis://redis.test:6379", timeout_seconds=0.1, dial=resolved(names))
        assert await client.take("a") is Taken.UNKNOWN
        assert client.trouble == "away: no answer in time"
        await client.close()


async def test_a_session_too_many_leaves_no_id_behind_whatever_began_the_newer_one(
    world: World, start: Start, server: Server
) -> None:
    gate = await start(
        world.url,
        whatomate={"redis_url": server.url, "redis_timeout_seconds": PATIENCE},
        token={"sessions": 1},
    )
    for newer in (LOGIN, refresh(of_whatomate(world, server))):
        before = (await granted(gate, LOGIN))["refresh_token"]
        assert server.has(before)
        after = (await granted(gate, newer))["refresh_token"]
        assert not server.has(before)
        assert server.has(after)


async def test_a_token_whose_row_is_deleted_for_a_newer_one_leaves_no_id_in_redis(
    gate: Gateway, server: Server, world: World
) -> None:
    await world.accounts.administration.add_member(world.agent, world.other)
    first = await granted(gate, LOGIN)
    switch = post(
        "/api/auth/switch-org", {"organization_id": str(world.other)}, bearer(first["access_token"])
    )
    pairs = [first, *[await granted(gate, switch) for _ in range(MOST_TOKENS + 5)]]
    known = [pair for pair in pairs if server.has(pair["refresh_token"])]
    (row,) = await world.sql("SELECT count(*) AS number FROM gateway_refresh_tokens")
    assert len(known) == row["number"] < len(pairs)
    last = await granted(gate, refresh(pairs[-1]["refresh_token"]))
    await granted(gate, post("/api/auth/logout-all", {}, bearer(last["access_token"])))
    assert server.client.keys("refresh:*") == []
