"""The examples of docs/integrations, each on its real program: what a service behind them gets, and what never."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authcore.identity_headers import FAMILIES, HEADERS
from gateway.endpoints.hosted import ENDPOINTS
from gateway.proxy.headers import CLAIMED, CLAIMED_PREFIXES, FORWARDED, fold
from gateway.traffic.deadline import STEERING
from tests.integrations.proxies import EXAMPLES, ON, RECIPES, running
from tests.support.calls import bearer, get, request
from tests.support.peers import Client, Upstream
from tests.support.spellings import AMBIGUOUS, ANOTHER_SPELLING
from tests.support.worlds import NOWHERE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.peers import Message
    from tests.support.worlds import Start, World

    Edge = Callable[..., Any]


PROXIES = pytest.mark.parametrize("proxy", sorted(RECIPES))

LIES = [f"{name}: evil" for header in HEADERS for name in (header.name, header.name.lower())]
ALIASES = [
    f"{name}: evil"
    for header in HEADERS
    for name in (
        header.name.replace("-", "_"),
        header.name.replace("-", "."),
        header.name[:-3].replace("-", "_") + header.name[-3:],
        header.name.lower().replace("-", "_", 1),
    )
    if name != header.name
]
NAMED = (
    "X-User-Anything",
    "X-Auth-Session-ID",
    "X-Org-Name",
    "X-Identity-Anything",
    "x-user-",
    "X-Auth-Token",
)
ORDINARY = ("X-Organization-ID", "X-User", "X-Usernames", "X-Organization", "X-Authority", "X-API-Key")
"""Of no family."""
FAMILIAR = (
    *("X-Forwarded-Prefix", "X-Forwarded-Path", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Ssl"),
    *("X-Forwarded-Scheme", "X-Forwarded-Protocol", "X-Forwarded-By", "X-Forwarded-Client-Cert"),
    *("X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username"),
    *("X-Forwarded-Access-Token", "X-Original-Path", "X-Original-Host", "X-Original-Method"),
    *("X-Original-Query", "X-Original-Args", "X-Original-Forwarded-For"),
    *("X-Rewrite-URI", "X-Rewrite-Path", "X-Rewrite-Query"),
    *("WL-Proxy-Client-IP", "WL-Proxy-Client-Cert", "WL-Proxy-SSL", "$WSRU", "$WSRA", "l5d-dst-override"),
    *("X-Middleware-Subrequest", "X-Middleware-Subrequest-Id", "X-Middleware-Rewrite", "X-Middleware-Next"),
    *("X-Middleware-Redirect", "X-Middleware-Invoke", "X-Middleware-Prefetch", "X-Middleware-Skip"),
    *("X-Middleware-Set-Cookie", "X-Middleware-Override-Headers", "X-Middleware-Cache"),
    *("X-Invoke-Path", "X-Invoke-Query", "X-Invoke-Status", "X-Invoke-Output", "X-Invoke-Error"),
    *("X-React-Router-SPA-Mode", "X-React-Router-Prerender-Data"),
)
"""Known names of the prefixes of `CLAIMED_PREFIXES` and ``X-Forwarded-``."""
REMOVED = sorted({name.decode() for name in CLAIMED | FORWARDED | STEERING} | {*FAMILIAR})
"""Names by which a client would have the service take another path, method, host or caller than was decided on."""
SPELLINGS: tuple[Callable[[str], str], ...] = (
    *(str.lower, str.title, str.upper, lambda name: name.replace("-", "_")),
    *(lambda name: name.replace("-", "."), lambda name: name.upper().replace("-", "_", 1)),
)


@cache
def of_the_families() -> tuple[str, ...]:
    """Names that begin like an identity header's, in any spelling, chosen by hypothesis."""
    chosen: set[str] = set()
    token = st.text("abcXYZ019-_.!#$%&'*+^`|~", min_size=1, max_size=24)

    @settings(
        max_examples=40,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(FAMILIES), token, st.sampled_from("---_.!~"), st.booleans())
    def choose(family: str, rest: str, separator: str, upper: bool) -> None:
        name = family.replace("-", separator) + rest
        chosen.add(name.upper() if upper else name)

    choose()
    return tuple(sorted(chosen))


@pytest.fixture
def edge(start: Start, upstream: Upstream, tmp_path: Path) -> Edge:
    """Put a proxy in front of a gateway and the service."""

    @asynccontextmanager
    async def begin(proxy: str, database_url: str = NOWHERE) -> AsyncIterator[tuple[str, int]]:
        gateway = await start(database_url, **ON)
        async with running(proxy, tmp_path, gateway.address[1], upstream.port) as address:
            yield address

    return begin


async def ask(address: tuple[str, int], raw: bytes) -> Message:
    async with Client(address) as client:
        return await client.exchange(raw)


@PROXIES
async def test_what_may_pass_reaches_the_service_with_the_identity_of_the_caller(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    async with edge(proxy, world.url) as address:
        for credential, user in (
            (bearer(world.token(world.agent)), world.agent),
            (f"X-API-Key: {world.api_key}", world.admin),
        ):
            raw = request("POST", "/api/contacts?page=2&q=a%20b", credential, body=b'{"name":"x"}')
            answer = await ask(address, raw)
            assert answer.status == 200, answer.body
            seen = upstream.requests[-1]
            assert seen.start == b"POST /api/contacts?page=2&q=a%20b HTTP/1.1"
            assert seen.body == b'{"name":"x"}'
            assert seen.one("X-User-ID") == str(user)
            assert seen.one("X-Org-ID") == str(world.home)
            assert seen.one("X-User-Super-Admin") == "false"
            assert seen.one("X-Auth-Method") == ("jwt" if user == world.agent else "api_key")
            assert seen.one("X-Auth-Key-ID") == (None if user == world.agent else str(world.api_key_id))
            assert "chat:read" in (seen.one("X-User-Permissions") or "").split(",")
            assert seen.one("X-Request-ID")
        assert (await ask(address, get("/assets/app.js"))).status == 200
        assert upstream.requests[-1].one("X-User-ID") is None


@PROXIES
async def test_an_identity_that_the_client_sends_is_not_believed(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    async with edge(proxy, world.url) as address:
        token = bearer(world.token(world.agent))
        assert (await ask(address, get("/api/x", token, *LIES))).status == 200
        seen = upstream.requests[-1]
        assert (seen.one("X-User-ID"), seen.one("X-User-Role")) == (str(world.agent), "agent")
        assert (await ask(address, get("/assets/app.js", *LIES))).status == 200
        for path in ("/api/x", "/assets/app.js"):  # refused, or removed; never passed on
            for alias in ALIASES:
                assert (await ask(address, get(path, token, alias))).status in {200, 400, 403}
        assert b"evil" not in upstream.seen


@PROXIES
async def test_no_name_of_the_families_of_identity_passes(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    async with edge(proxy, world.url) as address:
        token = bearer(world.token(world.agent))
        for name in (*NAMED, *of_the_families()):
            for line in (token, f"{token}\r\nConnection: {name}"):
                answer = await ask(address, get("/api/x", f"{name}: evil", line))
                assert answer.status in {200, 400, 403}, name
            assert (await ask(address, get("/assets/app.js", f"{name}: evil"))).status in {200, 400, 403}
        assert b"evil" not in upstream.seen
        # Nor does a verdict on one who sends such a header become anybody else's.
        assert (await ask(address, get("/api/x", token))).status == 200
        assert (await ask(address, get("/assets/app.js"))).status == 200


@PROXIES
async def test_a_name_that_only_resembles_the_families_passes(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    async with edge(proxy, world.url) as address:
        credential = f"X-API-Key: {world.api_key}"
        lines = [f"{name}: mine" for name in ORDINARY if not name.startswith(("X-Organization-ID", "X-API"))]
        asked = get("/api/x", credential, f"X-Organization-ID: {world.home}", *lines)
        assert (await ask(address, asked)).status == 200
        seen = upstream.requests[-1]
        assert (seen.one("X-Organization-ID"), seen.one("X-API-Key")) == (str(world.home), world.api_key)
        if proxy != "nginx-cached":  # it passes what it names
            assert seen.one("X-Usernames") == "mine"


@PROXIES
async def test_a_renamed_header_of_the_families_is_the_gateways(
    world: World, start: Start, upstream: Upstream, tmp_path: Path, proxy: str
) -> None:
    gateway = await start(world.url, header={"session_id": "X-Auth-Session-ID"}, **ON)
    async with running(proxy, tmp_path, gateway.address[1], upstream.port) as address:
        login = b'{"email":"agent@example.com","password":"correct horse battery"}'
        answer = await ask(
            address, request("POST", "/api/auth/login", "Content-Type: application/json", body=login)
        )
        token = bearer(answer.json()["data"]["access_token"])
        assert (await ask(address, get("/api/x", token))).status == 200
        assert UUID(upstream.requests[-1].one("X-Auth-Session-ID")).version == 4
        for line in (token, bearer(world.token(world.agent))):  # with a session of one's own, and without
            assert (await ask(address, get("/api/x", line, "X-Auth-Session-ID: evil"))).status in {200, 403}
        assert b"evil" not in upstream.seen


@PROXIES
async def test_a_caller_without_proof_or_permission_does_not_reach_the_service(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    async with edge(proxy, world.url) as address:
        for lines in ((), (bearer("x.y.z"),), ("X-API-Key: nonsense",)):
            answer = await ask(address, get("/api/contacts", *lines))
            assert answer.status == 401
            assert answer.one("WWW-Authenticate")
            assert answer.one("Content-Type") == "application/json"
            assert answer.json()["status"] == "error"
        stranger = (bearer(world.token(world.agent)), f"X-Organization-ID: {world.other}")
        answer = await ask(address, get("/api/contacts", *stranger))
        assert answer.status == 403
        assert answer.json()["status"] == "error"
        token = bearer(world.token(world.agent))
        for double in (
            (token, bearer(world.token(world.root))),
            ("X-API-Key: x", f"X-API-Key: {world.api_key}"),
        ):
            assert (await ask(address, get("/api/contacts", *double))).status in {400, 401, 403}
        assert upstream.seen == b""


@PROXIES
async def test_when_the_gateway_cannot_find_out_the_answer_is_503(
    edge: Edge, upstream: Upstream, proxy: str
) -> None:
    async with edge(proxy) as address:
        answer = await ask(address, get("/api/x", "X-API-Key: whm_0123456789abcdef0123456789abcdef"))
        assert answer.status == 503
        if proxy != "envoy":  # it takes a 503 for an error of the one it asked, and says nothing more
            assert answer.one("Retry-After")
        assert upstream.seen == b""


@PROXIES
async def test_when_the_gateway_is_gone_nothing_passes(
    upstream: Upstream, tmp_path: Path, proxy: str
) -> None:
    async with running(proxy, tmp_path, 1, upstream.port) as address:
        for path in ("/api/x", "/assets/app.js"):
            assert (await ask(address, get(path))).status >= 500
        assert upstream.seen == b""


@PROXIES
async def test_the_client_cannot_describe_another_request(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    spoof = (
        *("X-Original-URI: /assets/app.js", "X-Original-Method: OPTIONS", "X-Original-URL: /assets/app.js"),
        *("X-Forwarded-Uri: /assets/app.js", "X-Forwarded-Method: OPTIONS", "X-Forwarded-Host: other.test"),
        *("X-Rewrite-URL: /assets/app.js", "X-HTTP-Method-Override: OPTIONS", "X-Envoy-Original-Path: /x"),
    )
    async with edge(proxy, world.url) as address:
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            assert (await ask(address, request(method, "/api/x", *spoof))).status == 401
        assert (await ask(address, request("DELETE", "/api/webhook", *spoof))).status == 401
        # A path like any other, or 403.
        assert (await ask(address, get("/decisions/forward", *spoof))).status != 401
        named = "Connection: X-Original-URI, X-Original-Method, X-Forwarded-Uri, X-Forwarded-Method, Authorization"
        assert (await ask(address, get("/api/x", named))).status in {400, 401, 403}
        assert b" /api/" not in upstream.seen


@PROXIES
async def test_no_connection_field_of_the_client_takes_the_identity_away(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    """A service that finds no X-Org-ID may answer for all organizations."""
    injected = ("X-User-ID", "X-User-Permissions", "X-User-Super-Admin", "X-Org-ID", "X-Auth-Method")
    async with edge(proxy, world.url) as address:
        token, asked = bearer(world.token(world.agent)), f"X-Organization-ID: {world.home}"
        for lines in (
            (f"Connection: {', '.join(injected)}",),
            (f"Connection: close,{','.join(injected).upper()}",),
            tuple(f"Connection: {name}" for name in injected),
            ("Connection: close", f"connection: keep-alive ,\t{' , '.join(injected).lower()},"),
        ):
            before = len(upstream.requests)
            answer = await ask(address, get("/api/x", token, asked, *lines))
            assert answer.status in {200, 400, 403}
            for seen in upstream.requests[before:]:
                assert all(seen.one(name) for name in injected), seen.lines
                assert "x-" not in (seen.one("Connection") or "").lower()


@PROXIES
async def test_a_handshake_of_a_caller_reaches_the_service_as_one(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    lines = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    async with edge(proxy, world.url) as address:
        for connection in (
            "Connection: Upgrade",
            "Connection: keep-alive, Upgrade",
        ):  # the latter is Firefox's
            await ask(address, get("/api/x", bearer(world.token(world.agent)), connection, *lines))
            seen = upstream.requests[-1]
            assert seen.one("X-User-ID") == str(world.agent)
            assert seen.one("Upgrade") == "websocket"
            assert "upgrade" in (seen.one("Connection") or "").lower()


@PROXIES
async def test_what_the_gateway_removes_of_a_clients_headers_a_proxy_that_asks_removes_too(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    """Some server or framework believes each of them, and the permission was for what the gateway had found."""
    assert all(
        any(fold(name.encode()).startswith(beginning) for name in FAMILIAR) for beginning in CLAIMED_PREFIXES
    )
    async with edge(proxy, world.url) as address:
        token = bearer(world.token(world.agent))
        for spelt in SPELLINGS:
            lines = [f"{spelt(name)}: evil" for name in REMOVED]
            # Envoy refuses a request with "_" in a name, and nobody else refuses one for these names.
            status = 400 if proxy == "envoy" and "_" in "".join(lines) else 200
            for first in range(0, len(lines), 40):  # as many as a head has room for
                asked = (token, *lines[first : first + 40])
                for raw in (get("/api/x", *asked), request("POST", "/api/x", *asked, body=b"{}")):
                    before = len(upstream.requests)
                    assert (await ask(address, raw)).status == status
                    assert len(upstream.requests) - before == (status == 200)
        assert b"evil" not in upstream.seen


@PROXIES
async def test_no_upgrade_but_a_websockets_reaches_the_service(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    """A service that speaks HTTP/2 after an upgrade would answer requests that nobody has asked about."""
    h2c = ("Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
    async with edge(proxy, world.url) as address:
        token = bearer(world.token(world.agent))
        for upgrade in (
            ("Upgrade: h2c",),
            ("Upgrade: H2C, websocket",),
            ("Upgrade: h2c", "Upgrade: websocket"),
            ("Upgrade: websocket", "Upgrade: h2c"),
            ("Upgrade: TLS/1.2, HTTP/1.1",),
            ("Upgrade: websocketh2c",),
            ("Upgrade: websocket, h2c",),
        ):
            before = len(upstream.requests)
            answer = await ask(address, get("/api/x", token, *h2c, *upgrade))
            assert answer.status in {200, 400, 403, 426, 501}
            for seen in upstream.requests[before:]:
                assert {value.lower() for value in seen.all("Upgrade")} <= {"websocket"}
                assert seen.one("HTTP2-Settings") is None
                assert "http2" not in (seen.one("Connection") or "").lower()
        before = len(upstream.requests)
        await ask(address, get("/api/x", token, "Upgrade: websocket", "Connection: keep-alive"))
        for seen in upstream.requests[
            before:
        ]:  # the client has not asked for the switch (RFC 9110 section 7.8)
            assert "upgrade" not in (seen.one("Connection") or "").lower()


@PROXIES
async def test_no_spelling_of_a_protected_path_reaches_the_service(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    """A request without an identity is for no protected path, whatever the proxy makes of it."""
    async with edge(proxy, world.url) as address:
        for target in (*AMBIGUOUS, *ANOTHER_SPELLING):
            await ask(address, get(target))
        for seen in upstream.requests:
            path = seen.start.split(b" ")[1].decode("latin-1").partition("?")[0]
            read = unquote(unquote(path)).lower()
            assert not read.startswith(("/api", "/ws", "http:")), seen.start
            assert not {"..", "\\", ";", "\0"} & set(read.replace("/", "\n/\n").split("\n")), seen.start


@PROXIES
async def test_what_the_gateway_hosts_is_answered_by_the_gateway(
    world: World, edge: Edge, upstream: Upstream, proxy: str
) -> None:
    async with edge(proxy, world.url) as address:
        login = b'{"email":"agent@example.com","password":"correct horse battery"}'
        answer = await ask(
            address, request("POST", "/api/auth/login", "Content-Type: application/json", body=login)
        )
        assert answer.status == 200, answer.body
        assert answer.json()["status"] == "success"
        answer = await ask(address, get("/api/api-keys", bearer(world.token(world.admin))))
        assert answer.status == 200
        assert upstream.seen == b""


@PROXIES
async def test_each_endpoint_that_the_gateway_may_host_is_asked_of_the_gateway(
    upstream: Upstream, tmp_path: Path, proxy: str
) -> None:
    """An endpoint that an example leaves out would be answered by the service, whatever the settings."""
    async with (
        Upstream() as gateway,
        running(proxy, tmp_path, gateway.port, upstream.port) as address,
        Client(address) as client,
    ):
        upstream.requests.clear()
        for endpoint in ENDPOINTS:
            target = endpoint.path.replace("{id}", str(UUID(int=7)))
            body = None if endpoint.method == "GET" else b"{}"
            assert (await client.exchange(request(endpoint.method, target, body=body))).status == 200
            seen = gateway.requests[-1]
            assert seen.start.decode() == f"{endpoint.method} {target} HTTP/1.1"
            assert seen.body == (body or b"")
        assert upstream.requests == []


WHERE_FROM = (
    *("X-Forwarded-For: 192.0.2.66", "X-Forwarded-Proto: gopher", "X-Forwarded-Host: forged.test"),
    *("Forwarded: for=192.0.2.66;host=forged.test;proto=gopher", "X-Real-IP: 192.0.2.66"),
    "X-Request-ID: forged-by-client",
)


@PROXIES
async def test_a_client_behind_a_proxy_cannot_set_the_requests_origin_or_id(
    world: World, start: Start, upstream: Upstream, tmp_path: Path, proxy: str
) -> None:
    async def heard(gateway: int, by: Upstream, raw: bytes) -> Message:
        async with running(proxy, tmp_path, gateway, upstream.port) as address:
            assert (await ask(address, raw)).status == 200
        return by.requests[-1]

    async with Upstream() as recorder:
        lines = (*WHERE_FROM, bearer(world.token(world.agent)))
        gateway = await start(world.url, **ON)
        by_service = await heard(gateway.address[1], upstream, get("/api/x", *lines))
        by_gateway = await heard(recorder.port, recorder, get("/api/auth/whoami", *lines))
        for seen in (by_service, by_gateway):
            assert seen.one("X-Forwarded-Proto") == "http"
            assert seen.one("X-Forwarded-Host") in {"gateway.test", None}  # Host says it as well
            hops = (seen.one("X-Forwarded-For") or "").split(", ")
            assert "192.0.2.66" not in hops
            # Envoy names its own node where the client's address is of the loopback.
            assert hops[0] == "127.0.0.1" or proxy == "envoy"
            assert seen.one("X-Real-IP") in {"127.0.0.1", None}
            assert seen.one("Forwarded") is None
        for seen in (*upstream.requests, *recorder.requests):
            assert seen.one("X-Request-ID") != "forged-by-client"


@PROXIES
async def test_an_organization_that_the_caller_may_not_use_counts_as_absent(
    world: World, start: Start, upstream: Upstream, tmp_path: Path, proxy: str
) -> None:
    gateway = await start(world.url, organization_header="lenient", **ON)
    async with running(proxy, tmp_path, gateway.address[1], upstream.port) as address:
        for user, sent, acted_in in (
            (world.agent, world.other, world.home),
            (world.agent, f"urn:uuid:{world.other}", world.home),
            (world.both, world.other, world.other),
        ):
            raw = get("/api/x", bearer(world.token(user)), f"X-Organization-ID: {sent}")
            assert (await ask(address, raw)).status == 200
            seen = upstream.requests[-1]
            assert seen.one("X-Org-ID") == str(acted_in)
            assert seen.one("X-Organization-ID") in {str(acted_in), None}


@PROXIES
def test_an_example_names_its_other_files_whole(proxy: str) -> None:
    """A proxy that a service manager starts has another working directory than its configuration's folder."""
    main, *others = RECIPES[proxy].files
    lines = [line.partition("# ")[0] for line in (EXAMPLES / main).read_text().splitlines()]
    for other in others:
        assert (
            [line for line in lines if f"/{other}" in line] == [line for line in lines if other in line] != []
        )
