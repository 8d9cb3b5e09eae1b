"""Upstreams that listen on a Unix socket: reached by the setting and by a route file, away and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.calls import ask, get
from tests.support.peers import Client, Upstream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.worlds import Start


async def test_an_upstream_on_a_unix_socket_is_served_and_its_connection_used_again(
    start: Start, tmp_path: Path
) -> None:
    async with Upstream(path=tmp_path / "up.sock") as up:
        gate = await start(upstream={"url": f"unix:{tmp_path}/up.sock"})
        async with Client(gate.address) as client:
            for _ in range(3):
                answer = await client.exchange(get("/health"))
                assert answer.status == 200
        assert [seen.one("Host") for seen in up.requests] == ["gateway.test"] * 3
        assert len(up.raw) == 1


async def test_a_request_without_host_names_localhost_to_a_unix_socket(start: Start, tmp_path: Path) -> None:
    async with Upstream(path=tmp_path / "up.sock") as up:
        gate = await start(upstream={"url": f"unix:{tmp_path}/up.sock"})
        answer = await ask(gate, b"GET /health HTTP/1.0\r\n\r\n")
        assert answer.status == 200
        assert up.requests[-1].one("Host") == "localhost"


async def test_a_route_file_balances_unix_sockets(start: Start, tmp_path: Path) -> None:
    one, two = tmp_path / "one.sock", tmp_path / "two.sock"
    async with Upstream(path=one) as first, Upstream(path=two) as second:
        routes = tmp_path / "routes.yaml"
        routes.write_text(
            f"upstreams:\n  pair:\n    url: ['unix:{one}', 'unix:{two}']\n"
            "routes:\n  - {name: all, auth: public, upstream: pair, match: {path: /x/*}}\n"
        )
        gate = await start(routes=str(routes))
        async with Client(gate.address) as client, Client(gate.address) as other:
            await client.send(get("/x/1"))
            await other.send(get("/x/2"))
            assert {(await client.response()).status, (await other.response()).status} == {200}
        assert len(first.requests) + len(second.requests) == 2


async def test_a_unix_socket_that_is_away_is_502_and_serves_when_it_is_back(
    start: Start, tmp_path: Path
) -> None:
    gate = await start(upstream={"url": f"unix:{tmp_path}/up.sock"})
    assert (await ask(gate, get("/health"))).status == 502
    async with Upstream(path=tmp_path / "up.sock"):
        assert (await ask(gate, get("/health"))).status == 200


async def test_the_dialled_socket_may_be_the_gateways_own_of_another_process(
    start: Start, tmp_path: Path
) -> None:
    """Two gateways in a row, the second by a Unix socket that believes the first: as a sidecar does."""
    async with Upstream() as up:
        inner = await start(
            listen=f"unix:{tmp_path}/inner.sock",
            unix={"trusted": True},
            upstream={"url": f"http://127.0.0.1:{up.port}"},
        )
        outer = await start(upstream={"url": f"unix:{tmp_path}/inner.sock"})
        assert inner.address == ("", 0)
        assert (await ask(outer, get("/health"))).status == 200
        assert up.requests[-1].one("X-Forwarded-For") == "127.0.0.1"
