"""``Connection: X-User-ID``: making the proxy drop the header it injects, or a header that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, is_refusal, request

if TYPE_CHECKING:
    from tests.support.peers import Client, Upstream
    from tests.support.worlds import Start, World


INJECTED = (
    "X-User-ID",
    "X-User-Role",
    "X-User-Permissions",
    "X-Org-ID",
    "X-Auth-Method",
    "X-Forwarded-For",
    "X-Request-ID",
)


@pytest.mark.parametrize(
    "lines",
    [
        (f"Connection: {', '.join(INJECTED)}",),
        tuple(f"Connection: {name}" for name in INJECTED),
        tuple(f"cOnNeCtIoN: keep-alive,{name.upper()}" for name in INJECTED),
        (f"Connection: close, {', ,'.join(INJECTED).swapcase()} ,,",),
        (f"Connection:\t{','.join(name.replace('-', '_') for name in INJECTED)}",),
        (f"Proxy-Connection: {', '.join(INJECTED)}",),
        (f"Keep-Alive: {', '.join(INJECTED)}",),
    ],
)
async def test_no_connection_field_takes_an_injected_header_away(
    world: World, start: Start, upstream: Upstream, lines: tuple[str, ...]
) -> None:
    gate = await start(world.url)
    raw = get("/api/x", *lines, "X-User-ID: 1", bearer(world.token(world.agent)))
    assert (await ask(gate, raw)).status == 200
    told = upstream.requests[0]
    assert told.one("X-User-ID") == str(world.agent)
    for name in INJECTED:
        assert told.one(name), name
    for name in ("Connection", "Keep-Alive", "Proxy-Connection"):
        assert "x-user" not in (told.one(name) or "").lower()


async def test_named_fields_stay_on_their_connection_in_any_case_and_over_several_lines(
    client: Client, upstream: Upstream
) -> None:
    raw = get(
        "/health",
        *(
            "Connection: X-Internal, x-SECOND",
            "X-INTERNAL: hop",
            "X-Second: hop",
            "CONNECTION: third",
            "Third: hop",
        ),
        *(
            "TE: trailers",
            "Trailer: X-T",
            "Keep-Alive: timeout=5",
            "Proxy-Authorization: Basic hop",
            "X-Fourth: end",
        ),
    )
    assert (await client.exchange(raw)).status == 200
    assert b"hop" not in upstream.seen
    assert upstream.requests[0].one("X-Fourth") == "end"
    for name in ("TE", "Trailer", "Keep-Alive"):
        assert upstream.requests[0].one(name) is None


async def test_naming_host_or_length_changes_nothing(client: Client, upstream: Upstream) -> None:
    raw = request("POST", "/health", "Connection: host, content-length, transfer-encoding", body=b"four")
    assert (await client.exchange(raw)).status == 200
    told = upstream.requests[0]
    assert (told.one("Host"), told.one("Content-Length"), told.body) == ("gateway.test", "4", b"four")


async def test_a_named_credential_still_counts_here(world: World, start: Start, upstream: Upstream) -> None:
    """Dropped for the next hop as the client asks; and the identity stays that of who proved it."""
    gate = await start(world.url)
    lines = ("Connection: authorization, x-api-key", bearer(world.token(world.agent)))
    assert (await ask(gate, get("/api/x", *lines))).status == 200
    assert upstream.requests[0].one("X-User-ID") == str(world.agent)
    bad = ("Connection: x-api-key", "X-API-Key: bad", bearer(world.token(world.agent)))
    is_refusal(await ask(gate, get("/api/x", *bad)), 401, "Invalid API key")
    assert len(upstream.requests) == 1
