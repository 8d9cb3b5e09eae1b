"""The admin listener: probes and metrics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from authcore.errors import Reason
from authcore.store.rights import Lacking
from gateway.admin_server import LIMITS, fitted
from gateway.status.readiness import Readiness, of_workers
from gateway.wire.descriptors import RESERVE
from tests.support.admin import admin, count, metrics
from tests.support.calls import ask, bearer, get, post, whatomate_token
from tests.support.databases import execute
from tests.support.peers import Client
from tests.support.processes import LONG
from tests.support.schemas import OF_2025
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from authcore.store.failures import Failure
    from authcore.store.kinds import FailureKind
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


CHECKS = ("listening", "database", "schema", "migrations")


async def test_a_gateway_is_ready_when_everything_is(world: World, start: Start) -> None:
    gateway = await start(world.url)
    assert (await admin(gateway, "/livez")).status == 200
    answer = await admin(gateway, "/readyz")
    assert answer.status == 200
    assert answer.json() == {
        "ready": True,
        "checks": {"listening": "ok", "database": "ok", "schema": "ok", "migrations": "ok"},
        "revocation": {"bound_by": "push", "changes": "pushed", "at_most_seconds": 0},
    }


def test_of_several_workers_the_worst_counts_in_all_that_readiness_says() -> None:
    def one(bound: str, seconds: float, redis: str) -> dict[str, Any]:
        revocation = {"bound_by": bound, "changes": "x", "at_most_seconds": seconds}
        return {
            "ready": True,
            "checks": {"listening": "ok"},
            "revocation": revocation,
            "whatomate_redis": redis,
        }

    silent = {"ready": False, "checks": {"worker": "does not answer"}}
    documents = {"0": one("push", 0.0, "ok"), "1": one("time", 30.0, "away: refused"), "2": silent}
    assert of_workers(documents, ready=False) == {
        "ready": False,
        "workers": {"0": {"listening": "ok"}, "1": {"listening": "ok"}, "2": {"worker": "does not answer"}},
        "revocation": documents["1"]["revocation"],
        "whatomate_redis": "away: refused",
    }


class SlowStore:
    """A store that looks when it is let."""

    is_read_only = False
    lacking = Lacking()
    failing: Mapping[FailureKind, Failure] = {}

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.looks = 0

    async def look_at_schema(self) -> tuple[Sequence[str], object]:
        self.looks += 1
        await self.may.wait()
        return (), None


@pytest.mark.parametrize("strict", [False, True])
async def test_readiness_answers_sooner_than_its_database(strict: bool) -> None:
    store, listening = SlowStore(), True
    readiness = Readiness(store, lambda: listening, strict=strict, stale_seconds=300)
    async with asyncio.timeout(LONG):
        ready, checks = await readiness.look()
        assert (ready, checks["database"][:16]) == (False, "has not answered"), "nothing is known yet"
        store.may.set()
        assert await readiness.look() == (True, dict.fromkeys(CHECKS, "ok"))
        store.may.clear()
        looks = store.looks
        for _ in range(2):
            ready, checks = await readiness.look()
            assert (ready, checks["database"][:16]) == (not strict, "has not answered")
        assert store.looks == looks + 1, "one look is under way at a time"
        listening = False
        ready, checks = await readiness.look()
        assert (ready, checks["listening"]) == (False, "draining")
        await readiness.close()


async def test_without_its_database_it_is_unready_and_alive(start: Start) -> None:
    gateway = await start()
    answer = await admin(gateway, "/readyz")
    assert answer.status == 503
    assert answer.json()["ready"] is False
    assert b"unreachable" in answer.body
    assert b"127.0.0.1" not in answer.body
    assert (await admin(gateway, "/livez")).status == 200


async def test_before_the_migrations_it_is_unready_and_says_which(database_url: str, start: Start) -> None:
    answer = await admin(await start(database_url), "/readyz")
    assert answer.status == 503
    checks: Any = answer.json()["checks"]
    assert checks["database"] == "ok"
    assert checks["migrations"].startswith("pending: ")


async def test_a_gateway_becomes_ready_when_the_database_does(world: World, start: Start) -> None:
    gateway = await start(world.url)
    await world.sql("ALTER TABLE gateway_migrations RENAME TO away")
    assert (await admin(gateway, "/readyz")).status == 503
    await world.sql("ALTER TABLE away RENAME TO gateway_migrations")
    assert (await admin(gateway, "/readyz")).status == 200


async def test_in_front_of_a_database_of_2025_it_is_unready_in_words_and_nothing_is_a_fault_of_ours(
    database_url: str, start: Start
) -> None:
    await execute(database_url, OF_2025)
    gateway = await start(database_url)
    answer = await admin(gateway, "/readyz")
    assert answer.status == 503
    said: Any = answer.json()["checks"]["schema"]
    for part in ("users.role_id", "table custom_roles", "beta-0.5", "-migrate"):
        assert part in said
    token = "Authorization: Bearer " + whatomate_token(uuid4(), uuid4())
    login = post("/api/auth/login", {"email": "agent@example.com", "password": "a password"})
    for request in (login, get("/api/contacts", token), get("/api/contacts", f"X-API-Key: whm_{'0' * 32}")):
        refused = await ask(gateway, request)
        assert refused.status == 503
        assert refused.one("Retry-After")


async def test_a_draining_gateway_is_unready_while_it_finishes(
    world: World, start: Start, upstream: Upstream
) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await release.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    upstream.script = slow
    gateway = await start(world.url)
    async with Client(gateway.address) as client:
        await client.send(get("/health"))
        await arrived.wait()
        stopping = asyncio.ensure_future(gateway.stop())
        await asyncio.sleep(0)
        answer = await admin(gateway, "/readyz")
        assert answer.status == 503
        assert b"draining" in answer.body
        assert (await admin(gateway, "/livez")).status == 200
        release.set()
        assert (await client.response()).status == 204
    await stopping


async def test_requests_durations_and_verdicts_are_counted(world: World, start: Start) -> None:
    gateway = await start(world.url)
    token = world.token(world.agent)
    for raw in (
        *(get("/health"), get("/api/x", bearer(token)), get("/api/x", bearer(token)), get("/api/x")),
        *(
            get("/api/x", bearer("a.b.c")),
            get("/api/x", f"X-API-Key: {world.api_key}"),
            get("/api/x", "X-API-Key: x"),
        ),
        *(get("/api/x", bearer(world.token(world.agent, now=1))), get("/a//b"), get("/api/auth/login")),
        post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD}),
        post("/api/auth/login", {"email": "agent@example.com", "password": "wrong"}),
    ):
        await ask(gateway, raw)
    seen = await metrics(gateway)
    requests = seen["gateway_requests"]
    assert count(requests) == 12
    assert count(requests, route="public", method="GET", status="200") == 1
    assert count(requests, route="protected", status="200") == 3
    assert count(requests, route="protected", status="401") == 4
    assert count(requests, route="none", status="400") == 1
    assert count(requests, route="auth-login", status="401") == 1
    verdicts = seen["gateway_authentications"]
    assert count(verdicts, credential="jwt", outcome="ok") == 2
    assert count(verdicts, credential="api_key", outcome="ok") == 1
    assert count(verdicts, credential="none", outcome="missing") == 1
    assert count(verdicts, credential="jwt", outcome="expired") == 1
    assert count(verdicts, credential="jwt", outcome="malformed") == 1
    assert count(verdicts, credential="api_key", outcome="malformed") == 1
    assert count(seen["gateway_sign_ins"], endpoint="/api/auth/login", outcome="ok") == 1
    assert count(seen["gateway_sign_ins"], endpoint="/api/auth/login", outcome="unknown") == 1
    durations = {
        s.labels["route"]: s.value
        for s in seen["gateway_request_duration_seconds"]
        if s.name.endswith("_count")
    }
    assert durations["protected"] == 7
    for name in (
        "gateway_requests_in_flight",
        "gateway_connections",
        "gateway_upstream_connections_idle",
        "process_cpu_seconds",
    ):
        assert seen[name]


async def test_no_label_is_the_clients_to_choose(world: World, start: Start) -> None:
    gateway = await start(world.url)
    await ask(gateway, get("/api/x", bearer("a.b.c")))
    before = {name: len(samples) for name, samples in (await metrics(gateway)).items()}
    for number in range(30):
        await ask(
            gateway, get(f"/api/evil{number}?evil{number}", bearer(f"evil{number}.b.c"), f"X-Evil{number}: a")
        )
        await ask(gateway, get(f"/evil{number}").replace(b"GET", b"EVIL"))
    seen = await metrics(gateway)
    assert "evil" not in repr(seen).lower()
    for name in ("gateway_authentications", "gateway_sign_ins"):
        assert len(seen[name]) == before[name]
    # /evil0: 400 of no method, 401 more.
    assert len(seen["gateway_requests"]) <= before["gateway_requests"] + 4
    outcomes = {sample.labels["outcome"] for sample in seen["gateway_authentications"]}
    assert outcomes <= {*(str(reason) for reason in Reason), "ok"}


async def test_an_unusual_method_is_counted_as_other(start: Start, upstream: Upstream) -> None:
    gateway = await start()
    for method in (b"PURGE", b"MKCOL", b"REPORT"):
        assert (await ask(gateway, get("/health").replace(b"GET", method))).status == 200
    assert count((await metrics(gateway))["gateway_requests"], method="other", route="public") == 3
    assert len(upstream.requests) == 3


async def test_two_gateways_count_apart(start: Start, upstream: Upstream) -> None:
    one, other = await start(), await start()
    await ask(one, get("/health"))
    assert count((await metrics(one))["gateway_requests"]) == 1
    assert count((await metrics(other)).get("gateway_requests", [])) == 0
    assert len(upstream.requests) == 1


async def test_any_other_path_is_404(start: Start, upstream: Upstream) -> None:
    gateway = await start()
    for path in ("/", "/metrics/", "/livez/x", "/api/auth/login", "/health"):
        assert (await admin(gateway, path)).status == 404
    assert upstream.seen == b""


async def test_the_metrics_are_not_on_the_public_listener(start: Start, upstream: Upstream) -> None:
    gateway = await start()
    answer = await ask(gateway, get("/metrics"))
    assert b"gateway_requests" not in answer.body
    assert upstream.requests[0].start == b"GET /metrics HTTP/1.1"


async def test_a_page_asked_for_by_head_is_announced_and_not_sent(start: Start) -> None:
    gateway = await start()
    async with Client(gateway.admin_address) as client:
        await client.send(get("/livez").replace(b"GET", b"HEAD"))
        answer = await client.response(head_only=True)
        assert (answer.status, answer.one("Content-Length"), answer.body) == (200, "3", b"")
        assert (await client.exchange(get("/livez"))).body == b"ok\n", "the connection serves on"


async def test_another_method_is_refused_with_those_that_there_are(start: Start) -> None:
    gateway = await start()
    for path, allowed in (("/metrics", "HEAD, GET"), ("/explain", "POST")):
        async with Client(gateway.admin_address) as client:
            answer = await client.exchange(get(path).replace(b"GET", b"DELETE"))
        assert (answer.status, answer.one("Allow")) == (405, allowed)


async def test_a_document_that_is_too_large_is_refused_before_it_is_read(start: Start) -> None:
    gateway = await start()
    head = b"POST /explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with Client(gateway.admin_address) as client:
        await client.send(head + b"Content-Length: 1048577\r\n\r\n{")
        assert (await client.response()).status == 413
    chunk = b"%x\r\n%b\r\n" % (65_536, b" " * 65_536)
    async with Client(gateway.admin_address) as client:
        await client.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17)
        assert (await client.response()).status == 413
    assert (await admin(gateway, "/livez")).status == 200


@pytest.mark.parametrize("descriptors", [256, 1024, 2048])
def test_connections_to_the_admin_listener_leave_descriptors_for_the_rest_where_these_are_few(
    descriptors: int,
) -> None:
    limits = fitted(descriptors)
    assert limits.connections >= 16
    assert limits.connections + limits.refused < RESERVE


@pytest.mark.parametrize("descriptors", [65_536, 1 << 20, None])
def test_connections_to_the_admin_listener_are_as_many_as_ever_where_descriptors_suffice(
    descriptors: int | None,
) -> None:
    assert fitted(descriptors) == LIMITS
