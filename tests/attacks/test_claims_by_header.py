"""Another path, host, scheme or caller than the gateway found, named in a header that some server believes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.proxy.headers import CLAIMED, CLAIMED_PREFIXES
from tests.support.calls import ask, bearer, get
from tests.support.peers import Client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

EVIL = "/evil"
NAMES = sorted(
    [name.decode() for name in CLAIMED] + [f"{start.decode()}anything" for start in CLAIMED_PREFIXES]
)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "SCRIPT_NAME",
            "PATH_INFO",
            "X-Script-Name",
            "X-Original-Path",
            "REMOTE_USER",
        ),
        *(
            "Proxy-Client-IP",
            "X-Original-Host",
            "Front-End-Https",
            "X-Scheme",
        ),
        *("l5d-dst-override", "$WSRU", "WL-Proxy-Client-Cert"),
        *("X-Middleware-Subrequest", "X-Invoke-Path", "X-Matched-Path", "X-Sendfile-Type", "X-Accel-Mapping"),
        *("X-Now-Route-Matches", "X-React-Router-SPA-Mode", "X-React-Router-Prerender-Data"),
    ],
)
async def test_a_client_names_no_other_path_host_or_caller(
    client: Client, upstream: Upstream, name: str
) -> None:
    """gunicorn cuts SCRIPT_NAME off the path: a public ``/public/admin`` was served as ``/admin``."""
    assert (await client.exchange(get("/health", f"{name}: {EVIL}"))).status == 200
    assert EVIL.encode() not in upstream.seen


async def test_no_spelling_of_such_a_name_passes(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url)
    token = bearer(world.token(world.agent))
    for name in NAMES:
        lines = [
            f"{one}: {EVIL}" for one in (name, name.upper(), name.replace("-", "_"), name.replace("-", "."))
        ]
        assert (await ask(gate, get("/api/x", token, *lines, "X-Ordinary: yes"))).status == 200
        assert upstream.requests[-1].one("X-Ordinary") == "yes"
    assert EVIL.encode() not in upstream.seen


async def test_a_route_may_set_what_a_client_may_not(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(
        "routes: [{name: all, auth: public, match: {path: /*}, headers: {set: {SCRIPT_NAME: /app}}}]",
        encoding="utf-8",
    )
    gate = await start(routes=path)
    async with Client(gate.address) as client:
        assert (
            await client.exchange(get("/app/x", f"SCRIPT_NAME: {EVIL}", f"Script-Name: {EVIL}"))
        ).status == 200
    assert upstream.requests[0].all("SCRIPT_NAME") == ["/app"]
    assert EVIL.encode() not in upstream.seen
