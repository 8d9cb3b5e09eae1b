"""Names of upstreams and of the database: slow, lost, gone and moving, with a name server of the test's own."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.support.calls import ask, bearer, get
from tests.support.certificates import Authority
from tests.support.name_server import A, NameServer, name_server
from tests.support.peers import PATIENCE, Client, Upstream, read_head
from tests.support.roads import road_to
from tests.support.swallowing import swallowing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.worlds import Start, World


LOST = 60
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with name_server() as server:
        yield server


def asking(names: NameServer, port: int, **upstream: Any) -> dict[str, Any]:
    """Settings of an upstream called svc.test, which is looked up every 50 ms."""
    return {
        "upstream": {"url": f"http://svc.test:{port}", "resolve_seconds": 0.05, **upstream},
        "resolver": {"servers": (names.address,), "timeout_seconds": 0.05, "min_seconds": 0.05},
    }


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await what():
            await asyncio.sleep(0.02)


async def looked_up(names: NameServer, name: str, times: int = 2) -> None:
    """Wait until `name` has been asked for `times` more times: whatever was known before is used up then."""
    before = names.queries(name)

    async def asked() -> bool:
        return names.queries(name) >= before + 2 * times  # A and AAAA

    await until(asked)


async def status(gateway: Gateway) -> dict[str, Any]:
    answer = await ask_admin(gateway, "/status.json")
    report: dict[str, Any] = json.loads(answer)["upstreams"]["upstream"]
    return report


async def ask_admin(gateway: Gateway, path: str) -> bytes:
    async with Client(gateway.admin_address) as admin:
        return (await admin.exchange(get(path))).body


async def statuses(gateway: Gateway, number: int) -> set[int]:
    return {(await ask(gateway, get("/"))).status for _ in range(number)}


class Fleet:
    """Upstreams at several loopback addresses and one port. Each can close its connections."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.port = 0
        self.at: dict[str, Upstream] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def add(self, host: str) -> Upstream:
        one = self.at[host] = await self.stack.enter_async_context(Upstream(host=host, port=self.port))
        self.port = one.port
        return one


async def test_sixty_lost_lookups_keep_nobody_else_waiting(
    start: Start, upstream: Upstream, names: NameServer, tmp_path: Path
) -> None:
    names.zone["good.test"] = ["127.0.0.1"]
    names.silent.add("lost.test")
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        json.dumps(
            {
                "upstreams": {
                    "good": {"url": f"http://good.test:{upstream.port}", "max_age_seconds": 0.01},
                    "lost": {"url": f"http://lost.test:{upstream.port}"},
                },
                "routes": [
                    {"name": "lost", "match": {"path": "/lost/*"}, "auth": "public", "upstream": "lost"},
                    {"name": "good", "match": {"path": "/*"}, "auth": "public", "upstream": "good"},
                ],
            }
        )
    )
    gateway = await start(
        routes=routes,
        upstream={"url": None, "connect_timeout_seconds": PATIENCE},
        resolver={"servers": (names.address,), "timeout_seconds": PATIENCE},
    )
    lost = [asyncio.create_task(ask(gateway, get("/lost/x"))) for _ in range(LOST)]

    async def all_wait() -> bool:
        return b'gateway_upstream_connections{upstream="lost"} 60.0' in await ask_admin(gateway, "/metrics")

    await until(all_wait)
    assert await statuses(gateway, 10) == {200}
    assert not any(task.done() for task in lost)
    assert names.queries("lost.test") == 2, "one lookup for all, of two types"
    for task in lost:
        task.cancel()
    await asyncio.gather(*lost, return_exceptions=True)


async def test_a_lost_packet_costs_a_moment_and_no_request(
    start: Start, upstream: Upstream, names: NameServer
) -> None:
    names.zone["svc.test"] = ["127.0.0.1"]
    names.lost.add("svc.test")
    gateway = await start(**asking(names, upstream.port))
    assert await statuses(gateway, 3) == {200}


async def test_a_request_waits_for_the_first_lookup_and_no_longer_than_to_connect(
    start: Start, upstream: Upstream, names: NameServer
) -> None:
    names.zone["svc.test"] = ["127.0.0.1"]
    names.slow.add("svc.test")
    settings = asking(names, upstream.port, connect_timeout_seconds=0.5)
    settings["resolver"]["timeout_seconds"] = PATIENCE
    gateway = await start(**settings)
    refused = await ask(gateway, get("/"))
    assert (refused.status, b"svc.test" in refused.body) == (504, False), (
        "names of the inside are for the log"
    )
    waiting = asyncio.create_task(ask(gateway, get("/")))

    async def waits() -> bool:
        return bool((await status(gateway))["open"] == 1)

    await until(waits)
    names.release()
    assert (await waiting).status == 200


async def test_a_name_that_is_gone_is_502_and_is_found_when_it_is_back(
    start: Start, upstream: Upstream, names: NameServer
) -> None:
    gateway = await start(**asking(names, upstream.port))
    assert (await ask(gateway, get("/"))).status == 502
    names.zone["svc.test"] = ["127.0.0.1"]

    async def found() -> bool:
        return (await ask(gateway, get("/"))).status == 200

    await until(found)


@pytest.mark.parametrize("trouble", ["silent", "failing", "absent"])
async def test_the_last_good_addresses_are_used_while_lookups_fail(
    start: Start, upstream: Upstream, names: NameServer, trouble: str
) -> None:
    names.zone["svc.test"] = ["127.0.0.1"]
    gateway = await start(**asking(names, upstream.port, max_age_seconds=0.01))
    assert await statuses(gateway, 1) == {200}
    if trouble == "absent":
        del names.zone["svc.test"]
    else:
        getattr(names, trouble).add("svc.test")
    await looked_up(names, "svc.test", 3)
    assert await statuses(gateway, 5) == {200}
    assert len(upstream.raw) > 1, "by connections that were opened meanwhile"


async def test_a_failed_query_for_one_family_takes_no_address_away(
    start: Start, upstream: Upstream, names: NameServer
) -> None:
    names.zone["svc.test"] = ["127.0.0.1", "100::1"]
    gateway = await start(**asking(names, upstream.port, max_age_seconds=0.01))
    assert await statuses(gateway, 1) == {200}
    names.failing_types.add(("svc.test", A))
    await looked_up(names, "svc.test", 3)
    assert await statuses(gateway, 5) == {200}


async def test_an_address_that_is_gone_is_not_used_for_ever(
    start: Start, upstream: Upstream, names: NameServer
) -> None:
    names.zone["svc.test"] = ["127.0.0.1"]
    settings = asking(names, upstream.port)
    settings["resolver"]["gone_seconds"] = 0.1
    gateway = await start(**settings)
    assert await statuses(gateway, 1) == {200}
    del names.zone["svc.test"]

    async def gone() -> bool:
        return (await ask(gateway, get("/"))).status == 502

    await until(gone)
    assert (await status(gateway))["addresses"] == {}


async def test_of_two_addresses_one_that_swallows_costs_no_request(start: Start, names: NameServer) -> None:
    async with Fleet() as fleet:
        good = await fleet.add("127.0.0.42")
        names.zone["svc.test"] = ["127.0.0.41", "127.0.0.42"]
        with swallowing("127.0.0.41", fleet.port):
            gateway = await start(
                **asking(names, fleet.port, max_age_seconds=0.01, connect_timeout_seconds=3)
            )
            assert await statuses(gateway, 6) == {200}

            async def dialled_again() -> bool:
                return await statuses(gateway, 1) == {200} and len(good.raw) >= 2

            await until(dialled_again)

            async def remembered() -> bool:
                assert (await ask(gateway, get("/"))).status == 200
                addresses = (await status(gateway))["addresses"]
                assert addresses[f"127.0.0.42:{fleet.port} (svc.test)"]["behind"] == 0
                other = addresses[f"127.0.0.41:{fleet.port} (svc.test)"]
                return (other["open"], other["behind"]) == (0, 1)

            await until(remembered)


async def test_ipv6_that_leads_nowhere_costs_no_request(
    start: Start, upstream: Upstream, names: NameServer
) -> None:
    names.zone["svc.test"] = ["::1", "127.0.0.1"]
    gateway = await start(**asking(names, upstream.port, max_age_seconds=0.01))
    assert await statuses(gateway, 5) == {200}


async def test_a_name_that_moves_takes_its_requests_along_though_the_old_address_answers(
    start: Start, names: NameServer
) -> None:
    async with Fleet() as fleet:
        old, new = await fleet.add("127.0.0.43"), await fleet.add("127.0.0.44")
        names.zone["svc.test"] = ["127.0.0.43"]
        gateway = await start(**asking(names, fleet.port))
        assert await statuses(gateway, 3) == {200}
        names.zone["svc.test"] = ["127.0.0.44"]

        async def moved() -> bool:
            return list((await status(gateway))["addresses"]) == [f"127.0.0.44:{fleet.port} (svc.test)"]

        await until(moved)
        before = len(old.requests)
        assert await statuses(gateway, 5) == {200}
        assert (len(old.requests), len(new.requests)) == (before, 5)
        await until(partial(_is_left, old))


async def test_a_headless_service_is_followed_as_it_grows_and_shrinks(
    start: Start, names: NameServer
) -> None:
    hosts = ["127.0.0.45", "127.0.0.46", "127.0.0.47"]
    together = asyncio.Barrier(6)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            await asyncio.wait_for(together.wait(), PATIENCE)  # six requests take six connections
            writer.write(OK)

    async with Fleet() as fleet:
        for host in hosts:
            (await fleet.add(host)).script = serve
        names.zone["svc.test"] = hosts[:1]
        gateway = await start(**asking(names, fleet.port, balance="round_robin"))

        async def spread() -> list[int]:
            """Send six requests at once, and return how many connections there are to each host."""
            answers = await asyncio.gather(*(ask(gateway, get("/")) for _ in range(together.parties)))
            assert {answer.status for answer in answers} == {200}
            shown = (await status(gateway))["addresses"]
            return [shown.get(f"{host}:{fleet.port} (svc.test)", {"open": 0})["open"] for host in hosts]

        async def known(number: int) -> None:
            async def counted() -> bool:
                return len((await status(gateway))["addresses"]) == number

            await until(counted)

        assert await spread() == [6, 0, 0]
        names.zone["svc.test"] = hosts
        await known(3)
        assert await spread() == [2, 2, 2]
        names.zone["svc.test"] = hosts[1:2]
        await known(1)
        assert await spread() == [0, 6, 0]
        await asyncio.gather(*(until(partial(_is_left, fleet.at[host])) for host in (hosts[0], hosts[2])))


async def _is_left(upstream: Upstream) -> bool:
    """Return whether no connection to `upstream` is open."""
    return upstream.connections == 0


async def test_a_request_under_way_ends_as_usual_though_its_address_vanished(
    start: Start, names: NameServer
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        begun.set()
        await asyncio.wait_for(go_on.wait(), PATIENCE)
        writer.write(OK)
        ended.append(await asyncio.wait_for(reader.read(), PATIENCE))

    ended: list[bytes] = []
    async with Fleet() as fleet:
        old = await fleet.add("127.0.0.48")
        await fleet.add("127.0.0.49")
        old.script = slowly
        names.zone["svc.test"] = ["127.0.0.48"]
        gateway = await start(**asking(names, fleet.port))
        under_way = asyncio.create_task(ask(gateway, get("/")))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        names.zone["svc.test"] = ["127.0.0.49"]

        async def moved() -> bool:
            return list((await status(gateway))["addresses"]) == [f"127.0.0.49:{fleet.port} (svc.test)"]

        await until(moved)
        go_on.set()
        answer = await under_way
        assert (answer.status, answer.body) == (200, b"ok")

        async def closed() -> bool:
            return ended == [b""]

        await until(closed)


async def test_a_connection_ends_at_its_greatest_age_used_or_not(start: Start, upstream: Upstream) -> None:
    gateway = await start(upstream={"max_age_seconds": 0.2})
    async with Client(gateway.address) as client:

        async def renewed() -> bool:
            assert (await client.exchange(get("/"))).status == 200
            return len(upstream.raw) >= 3

        await until(renewed)

    await until(partial(_is_left, upstream))
    assert b'gateway_upstream_connections_retired_total{upstream="upstream"} ' in await ask_admin(
        gateway, "/metrics"
    )


async def test_a_connection_that_the_upstream_means_to_close_is_closed_before(
    start: Start, upstream: Upstream
) -> None:
    ended = asyncio.Event()

    async def brief(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1, max=9\r\nContent-Length: 2\r\n\r\nok")
        assert await reader.read() == b""
        ended.set()

    upstream.script = brief
    gateway = await start(upstream={"idle_seconds": 86400})
    assert await statuses(gateway, 1) == {200}
    await asyncio.wait_for(ended.wait(), PATIENCE)


async def test_a_name_with_a_final_dot_is_proved_by_a_certificate_without_it(
    start: Start, names: NameServer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    names.zone["svc.test"] = ["127.0.0.1"]
    async with Upstream(tls=authority.server("svc.test")) as upstream:
        tls = {"url": f"https://svc.test.:{upstream.port}", "tls_ca_file": str(authority.file)}
        gateway = await start(**asking(names, upstream.port, **tls))
        assert (await ask(gateway, get("/"))).status == 200


async def test_the_database_is_found_by_the_same_resolver(
    world: World, start: Start, upstream: Upstream, names: NameServer
) -> None:
    names.zone |= {"db.test": ["::1", "127.0.0.1"], "svc.test": ["127.0.0.1"]}
    async with road_to(world) as road:
        url = road.url.replace("127.0.0.1", "db.test")
        gateway = await start(url, **asking(names, upstream.port))
        answer = await ask(gateway, get("/api/contacts", bearer(world.token(world.agent))))
    assert answer.status == 200
    assert names.queries("db.test") > 0


@pytest.mark.parametrize("trouble", ["silent", "absent"])
async def test_a_database_whose_name_is_not_found_is_an_unknown_host(
    start: Start, upstream: Upstream, names: NameServer, trouble: str
) -> None:
    if trouble == "silent":
        names.silent.add("db.test")
    gateway = await start("postgresql://gateway@db.test:5432/none", **asking(names, upstream.port))

    async def named() -> bool:
        page = await ask_admin(gateway, "/readyz")
        return b"unknown_host" in page and b"check the host name in GATEWAY_DATABASE_URL" in page

    await until(named)


async def test_lookups_are_counted_by_their_outcome(
    start: Start, upstream: Upstream, names: NameServer
) -> None:
    gateway = await start(**asking(names, upstream.port))

    async def counted(outcome: str) -> bool:
        page = (await ask_admin(gateway, "/metrics")).decode()
        line = next(line for line in page.splitlines() if f'lookups_total{{outcome="{outcome}"}}' in line)
        return float(line.rpartition(" ")[2]) > 0

    await until(lambda: counted("absent"))
    names.zone["svc.test"] = ["127.0.0.1"]
    await until(lambda: counted("ok"))
    names.failing.add("svc.test")
    await until(lambda: counted("failed"))
    names.failing.clear()
    names.silent.add("svc.test")
    await until(lambda: counted("timeout"))
