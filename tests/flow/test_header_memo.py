"""A kept connection answers as a new one would: what is kept with field lines changes no answer and no line sent on.

Every request of a table (lines x host x target x method) is sent once on a connection of its own, and then, in any
order and some of them twice in a row, on connections that are kept. Both must have been told and sent on the same.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from tests.support.browsing import signed_in
from tests.support.calls import bearer
from tests.support.peers import Client, Upstream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.worlds import Start, World

    Line = tuple[bytes, bytes]
    Seen = tuple[bytes, list[Line], bytes, tuple[bytes, list[Line]] | None]

ROUTES = """
routes:
  - {name: plain, auth: required, match: {path: /plain, methods: [GET]}}
  - {name: deleting, auth: required, require: ["contacts:delete"], match: {path: /plain, methods: [DELETE]}}
  - {name: elsewhere, auth: required, require: ["users:delete"], match: {host: other.test, path: /plain}}
  - {name: stripped, auth: required, credential: strip, match: {path: /stripped}}
  - {name: blue, auth: required, headers: {set: {X-Team: blue}, add: {X-Via: g}}, match: {path: /blue}}
  - {name: red, auth: required, headers: {set: {X-Team: red}}, credential: strip, match: {path: /red}}
  - {name: nobody, auth: required, identity: none, match: {path: /nobody}}
  - {name: message, auth: required, socket_auth: message, match: {path: /message}}
  - {name: moved, auth: required, rewrite: "/v2/*", match: {path: /moved/*}}
  - {name: tried, auth: required, require: ["users:read"], shadow: true, match: {path: /tried/*}}
  - {name: held, auth: required, require: ["users:read"], match: {path: /held/*}}
  - {name: optional, auth: optional, match: {path: /optional}}
  - {name: both, auth: required, require: ["users:delete"], shadow: true, match: {path: /both}, credential: strip}
  - {name: open, auth: public, match: {path: /open}}
  - {name: tickets, auth: required, tickets: true, match: {path: /tickets}}
  - {name: shared, auth: required, cors: {origins: ["https://a.test"], credentials: true}, match: {path: /shared}}
"""
OF_TWO = """
upstreams:
  other: {{url: "http://127.0.0.1:{port}"}}
routes:
  - {{name: other, auth: public, upstream: other, match: {{path: /other}}}}
  - {{name: rest, auth: public, match: {{path: /*}}}}
"""
PROXIED = (
    "/plain",
    "/stripped",
    "/blue",
    "/red",
    "/nobody",
    "/message",
    "/moved/x",
    "/moved/y?z=1",
    "/tried/x",
    "/held/x",
    "/optional",
)
MORE = ("/both", "/open", "/tickets", "/tickets?token=junk", "/shared", "/nowhere")
HOSTED = ("/api/auth/sessions", "/api/api-keys")
EACH_ITS_OWN = {"x-request-id", "traceparent", "date"}


def common(lines: list[Line], *but: str) -> list[Line]:
    return [line for line in lines if line[0].decode().lower() not in EACH_ITS_OWN | set(but)]


async def tell(client: Client, upstream: Upstream, raw: bytes) -> Seen:
    """Return the client's answer to `raw`, and what the upstream received of it."""
    before = len(upstream.requests)
    await client.send(raw)
    answer = await client.response(head_only=raw.startswith(b"HEAD"))
    seen = None
    if len(upstream.requests) > before:
        sent = upstream.requests[-1]
        seen = (sent.start, common(sent.lines))
    ours = seen is None and b" /api/" not in raw[:40]  # the upstream's echo tells ids, hosted bodies times
    body = answer.body if ours else b""
    return answer.start, common(answer.lines, "content-length"), body, seen


@pytest.mark.parametrize("host", ["gateway.test", "other.test"])
async def test_a_kept_connection_answers_as_a_new_one(
    world: World, start: Start, upstream: Upstream, tmp_path: Path, host: str
) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(ROUTES)
    gate = await start(world.url, routes=str(file), cookies=True, trusted_proxies=["127.0.0.1/32"])
    jar = await signed_in(gate)
    cookies = "Cookie: " + "; ".join(f"{name}={value}" for name, value in jar.values.items()) + "; other=1"
    agent, admin, both = (bearer(world.token(user)) for user in (world.agent, world.admin, world.both))
    another = f"X-Organization-ID: {world.other}"
    sets_of_lines = [
        [agent],
        [admin],
        [both, another],
        [agent, another],
        [admin, "X-Organization-ID: junk"],
        [
            f"X-API-Key: {world.api_key}",
            "X-Forwarded-For: 192.0.2.9",
            "X-Request-ID: abcdefgh1234",
            "X-Team: mine",
        ],
        [cookies],
        [cookies, jar.csrf],
        [cookies, "Origin: https://evil.test"],
        [cookies, jar.csrf, "Origin: https://a.test", "Access-Control-Request-Method: DELETE"],
        [],
        ["Authorization: Bearer junk"],
        [agent, "Connection: keep-alive, x-team", "X-Team: a"],
        [agent, "Sec-WebSocket-Extensions: permessage-deflate"],
    ]
    order = random.Random(host)  # noqa: S311 -- the same each time
    for lines in sets_of_lines:
        tail = "\r\n".join([f"Host: {host}", *lines, "", ""])
        questions = [
            f"{method} {target} HTTP/1.1\r\n{tail}".encode()
            for target, method in itertools.product(
                (*PROXIED, *MORE, *HOSTED), ("GET", "HEAD", "OPTIONS", "DELETE")
            )
            if not (target in HOSTED and method == "DELETE")
        ]
        fresh: dict[bytes, Seen] = {}
        for raw in questions:
            async with Client(gate.address) as client:
                fresh[raw] = await tell(client, upstream, raw)
        asked = [raw for raw in questions * 2 for _ in range(order.choice((1, 1, 2)))]
        order.shuffle(asked)
        while asked:
            async with Client(gate.address) as client:
                kept = True
                while asked and kept:
                    raw = asked.pop()
                    told = await tell(client, upstream, raw)
                    assert told == fresh[raw], raw
                    kept = (b"Connection", b"close") not in told[1]


async def test_a_kept_connection_without_a_host_brings_each_upstream_its_own(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    file = tmp_path / "routes.yaml"
    async with Upstream() as other:
        file.write_text(OF_TWO.format(port=other.port))
        gate = await start(routes=str(file))
        async with Client(gate.address) as client:
            for path in ("/one", "/other", "/one"):  # the lines are the same, and HTTP/1.0 needs no Host
                raw = f"GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
                assert (await client.exchange(raw.encode())).status == 200
        assert [told.one("Host") for told in upstream.requests] == [f"127.0.0.1:{upstream.port}"] * 2
        assert [told.one("Host") for told in other.requests] == [f"127.0.0.1:{other.port}"]
