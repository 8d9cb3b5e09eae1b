"""The route file over real sockets: who may, where it goes, and what the upstream is sent."""

from __future__ import annotations

import re
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from config.route_plan import RoutesRefused
from tests.support.calls import ask, bearer, get, is_refusal, post, request
from tests.support.identities import verifier
from tests.support.peers import Client, Upstream
from tests.support.route_files import by_route_file

if TYPE_CHECKING:
    from tests.support.route_files import RouteFileStart
    from tests.support.worlds import Start, World


@pytest.fixture
def routed(start: Start, tmp_path: Path) -> RouteFileStart:
    """Start a gateway with a route file."""
    return by_route_file(start, tmp_path)


OPEN = """
routes:
  - name: things
    auth: public
    match: {path: "%s"}
    %s
"""


async def test_what_no_route_matches_is_404_and_reaches_nobody(
    routed: RouteFileStart, upstream: Upstream
) -> None:
    gate = await routed(OPEN % ("/things/*", ""))
    for target in ("/", "/health", "/thing", "/api/users", "/ws"):
        is_refusal(await ask(gate, get(target)), 404)
    assert upstream.seen == b""
    assert (await ask(gate, get("/things/1"))).status == 200


async def test_a_catch_all_route_takes_what_no_other_does(routed: RouteFileStart, upstream: Upstream) -> None:
    gate = await routed(
        """
        routes:
          - {name: rest, auth: public, match: {path: /*}}
          - {name: things, auth: required, match: {path: /things/*}}
        """
    )
    assert (await ask(gate, get("/anything"))).status == 200
    for target in ("/things", "/things/1", "/THINGS/1"):
        is_refusal(await ask(gate, get(target)), 401)
    assert len(upstream.requests) == 1


async def test_a_path_taken_by_other_methods_only_is_405_with_allow(
    routed: RouteFileStart, upstream: Upstream
) -> None:
    gate = await routed(
        """
        routes:
          - {name: read, auth: public, match: {path: "/things/{id}", methods: GET}}
          - {name: write, auth: required, match: {path: "/things/{id}", methods: [PUT, DELETE]}}
        """
    )
    answer = await ask(gate, request("PATCH", "/things/1"))
    is_refusal(answer, 405)
    assert answer.one("Allow") == "DELETE, GET, HEAD, PUT"
    assert upstream.seen == b""
    async with Client(gate.address) as client:
        await client.send(request("HEAD", "/things/1"))
        assert (await client.response(head_only=True)).status == 200
    is_refusal(await ask(gate, request("PUT", "/things/1")), 401)


async def test_permissions_are_asked_for_all_or_any(
    world: World, routed: RouteFileStart, upstream: Upstream
) -> None:
    gate = await routed(
        """
        routes:
          - {name: all, auth: required, match: {path: /all}, require: [contacts:read, users:read]}
          - {name: any, auth: required, match: {path: /any}, any: [users:read, contacts:read]}
          - {name: none, auth: required, match: {path: /none}, any: [users:read, users:write]}
        """,
        world.url,
    )
    agent, admin = bearer(world.token(world.agent)), bearer(world.token(world.admin))
    is_refusal(await ask(gate, get("/all", agent)), 403, "Missing permission users:read")
    is_refusal(
        await ask(gate, get("/none", agent)), 403, "Missing permission, any of users:read, users:write"
    )
    assert len(upstream.requests) == 0
    for target in ("/all", "/any", "/none"):
        assert (await ask(gate, get(target, admin))).status == 200
    assert (await ask(gate, get("/any", agent))).status == 200


async def test_an_optional_credential_must_be_valid_where_there_is_one(
    world: World, routed: RouteFileStart, upstream: Upstream
) -> None:
    gate = await routed("routes: [{name: shop, auth: optional, match: {path: /shop/*}}]", world.url)
    assert (await ask(gate, get("/shop/1"))).status == 200
    assert upstream.requests[-1].one("X-User-ID") is None
    assert (await ask(gate, get("/shop/1", bearer(world.token(world.agent))))).status == 200
    assert upstream.requests[-1].one("X-User-ID") == str(world.agent)
    for line in (
        bearer("x.y.z"),
        "Authorization: Basic eDp5",
        "X-API-Key: whm_nope",
        bearer(world.token(world.agent)[:-2]),
    ):
        is_refusal(await ask(gate, get("/shop/1", line)), 401)
    assert len(upstream.requests) == 2


async def test_an_optional_route_needs_no_database_for_who_presents_nothing(routed: RouteFileStart) -> None:
    gate = await routed("routes: [{name: shop, auth: optional, match: {path: /shop/*}}]")
    assert (await ask(gate, get("/shop/1"))).status == 200
    is_refusal(await ask(gate, get("/shop/1", "X-API-Key: whm_" + "a" * 32)), 503)


@pytest.mark.parametrize(
    ("path", "change", "target", "sent"),
    [
        ("/billing/*", "strip_prefix: /billing", "/billing/v1/x%20y?a=/b//c", "/v1/x%20y?a=/b//c"),
        ("/billing/*", "strip_prefix: /billing", "/billing", "/"),
        ("/billing/*", "strip_prefix: /billing", "/billing?x", "/?x"),
        ("/billing/*", "strip_prefix: /billing", "/billing/", "/"),
        ("/billing/*", "strip_prefix: /billing", "/%62illing/a/", "/a/"),
        ("/a/b/*", "strip_prefix: /a/b", "/a/b/c/d", "/c/d"),
        ("/a/{id}/*", "strip_prefix: /a", "/a/1/c", "/1/c"),
        ("/u/{id}", "rewrite: '/v2/users/{id}/'", "/u/caf%C3%A9?q", "/v2/users/caf%C3%A9/?q"),
        ("/u/{a}/x/{b}", "rewrite: '/{b}/{a}'", "/u/1/x/2", "/2/1"),
        ("/u/{id}/*", "rewrite: '/v2/{id}/all/*'", "/u/7/a/b?c", "/v2/7/all/a/b?c"),
        ("/u/{id}/*", "rewrite: '/v2/*'", "/u/7", "/v2"),
        ("/old", "rewrite: /new/", "/old?x=1", "/new/?x=1"),
        ("/old/*", "rewrite: /*", "/old/x", "/x"),
    ],
)
async def test_a_path_is_rewritten_by_whole_segments_as_they_came(
    routed: RouteFileStart, upstream: Upstream, path: str, change: str, target: str, sent: str
) -> None:
    gate = await routed(OPEN % (path, change))
    assert (await ask(gate, get(target))).status == 200
    assert upstream.requests[-1].start == f"GET {sent} HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("prefix", "sent"), [("/billing", "/billing"), ("/a/b", "/a/b"), ("/übung", "/%C3%BCbung")]
)
async def test_a_stripped_prefix_is_sent_to_the_upstream(
    routed: RouteFileStart, upstream: Upstream, prefix: str, sent: str
) -> None:
    gate = await routed(
        OPEN % (f"{prefix}/*", f"strip_prefix: {prefix}\n    headers: {{set: {{X-Team: blue}}}}")
    )
    assert (await ask(gate, get(f"{sent}/x", "X-Forwarded-Prefix: /evil"))).status == 200
    message = upstream.requests[-1]
    assert (message.start, message.all("X-Forwarded-Prefix")) == (b"GET /x HTTP/1.1", [sent])
    assert message.one("X-Team") == "blue"


async def test_no_prefix_is_sent_where_none_is_stripped(routed: RouteFileStart, upstream: Upstream) -> None:
    gate = await routed(OPEN % ("/old/*", "rewrite: /new/*"))
    assert (await ask(gate, get("/old/x", "X-Forwarded-Prefix: /evil"))).status == 200
    assert upstream.requests[-1].all("X-Forwarded-Prefix") == []


async def test_a_protecting_route_is_rewritten_in_any_case(
    world: World, routed: RouteFileStart, upstream: Upstream
) -> None:
    gate = await routed(
        "routes: [{name: b, auth: required, match: {path: /billing/*}, strip_prefix: /billing}]", world.url
    )
    assert (await ask(gate, get("/BILLING/X", bearer(world.token(world.agent))))).status == 200
    assert upstream.requests[-1].start == b"GET /X HTTP/1.1"


async def test_a_route_sets_and_adds_field_lines(routed: RouteFileStart, upstream: Upstream) -> None:
    gate = await routed(
        OPEN
        % (
            "/things",
            "headers: {set: {X-Team: blue, Host: inside.example}, add: {X-Via: gateway}}",
        )
    )
    await ask(gate, get("/things", "X_Team: red", "x-team: red", "X-Via: mine", "Connection: X-Team"))
    seen = upstream.requests[-1]
    assert seen.all("X-Team") == ["blue"]
    assert seen.all("X_Team") == []
    assert seen.all("X-Via") == ["mine", "gateway"]
    assert seen.all("Host") == ["inside.example"]


async def test_a_credential_is_stripped_where_the_route_says_so(
    world: World, routed: RouteFileStart, upstream: Upstream
) -> None:
    gate = await routed(
        "routes: [{name: a, auth: required, match: {path: /a}, credential: strip},"
        "{name: b, auth: required, match: {path: /b}}]",
        world.url,
    )
    await ask(gate, get("/a", bearer(world.token(world.agent))))
    assert upstream.requests[-1].one("Authorization") is None
    assert upstream.requests[-1].one("X-User-ID") == str(world.agent)
    await ask(gate, get("/b", bearer(world.token(world.agent))))
    assert upstream.requests[-1].one("Authorization")


async def test_hosts_have_routes_of_their_own(routed: RouteFileStart) -> None:
    async with Upstream() as one, Upstream() as two:
        gate = await routed(
            f"""
            upstreams:
              one: {{url: "http://127.0.0.1:{one.port}"}}
              two: {{url: "http://127.0.0.1:{two.port}"}}
            routes:
              - {{name: one, auth: public, upstream: one, match: {{host: app.example.com, path: /*}}}}
              - {{name: two, auth: public, upstream: two, match: {{host: "*.example.com", path: /*}}}}
              - {{name: deep, auth: required, upstream: two, match: {{host: app.example.com, path: /deep/*}}}}
            """
        )

        async def status(host: str, target: str = "/x") -> int:
            return (await ask(gate, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())).status

        assert await status("app.example.com") == await status("APP.example.com:8080") == 200
        assert await status("app.example.com.") == 200
        assert (len(one.requests), len(two.requests)) == (3, 0)
        assert await status("x.example.com") == 200
        assert (len(one.requests), len(two.requests)) == (3, 1)
        assert await status("app.example.com", "/deep/1") == 401
        for host in (
            "example.com",
            "a.b.example.com",
            "evilexample.com",
            "localhost",
            "app.example.com.evil",
        ):
            assert await status(host) == 404, host
        assert await status(".example.com") == 400  # no host


async def test_limits_and_deadlines_are_the_routes_own(routed: RouteFileStart, upstream: Upstream) -> None:
    gate = await routed(
        """
        routes:
          - {name: small, auth: public, match: {path: /small}, body_limit_bytes: 10}
          - {name: large, auth: public, match: {path: /large}, body_limit_bytes: 0}
        """,
        limit={"body_bytes": 20},
    )
    is_refusal(await ask(gate, post("/small", "x" * 20)), 413)
    assert (await ask(gate, post("/large", "x" * 100))).status == 200


async def test_a_route_file_that_routes_what_is_hosted_does_not_load(routed: RouteFileStart) -> None:
    with pytest.raises(RoutesRefused) as refused:
        await routed("routes:\n  - {name: mine, auth: public, match: {path: /api/auth/login}}\n")
    (problem,) = refused.value.problems
    assert "routes.yaml:2: route mine: /api/auth/login is answered by the gateway itself" in problem


async def test_what_is_hosted_wins_over_a_wide_route(routed: RouteFileStart, upstream: Upstream) -> None:
    gate = await routed("routes: [{name: all, auth: public, match: {path: /*}}]")
    is_refusal(await ask(gate, post("/api/auth/login", {})), 400)
    is_refusal(await ask(gate, get("/api/api-keys")), 401)
    assert upstream.seen == b""


async def test_a_preflight_goes_to_the_upstream_of_the_route_it_asks_about(
    routed: RouteFileStart, upstream: Upstream
) -> None:
    gate = await routed(
        "routes: [{name: put, auth: required, match: {path: /things, methods: PUT}, strip_prefix: /things}]"
    )
    marks = ("Origin: https://app.example", "Access-Control-Request-Method: PUT")
    assert (await ask(gate, request("OPTIONS", "/things", *marks))).status == 200
    assert upstream.requests[-1].start == b"OPTIONS / HTTP/1.1"
    is_refusal(await ask(gate, request("OPTIONS", "/other", *marks)), 404)
    is_refusal(
        await ask(gate, request("OPTIONS", "/things", marks[0], "Access-Control-Request-Method: GET")), 405
    )
    is_refusal(await ask(gate, request("OPTIONS", "/things", marks[0])), 405)
    assert len(upstream.requests) == 1


async def test_several_endpoints_share_the_connections_and_one_may_go(routed: RouteFileStart) -> None:
    async with Upstream() as one:
        async with Upstream() as two:
            urls = f'["http://127.0.0.1:{one.port}", "http://127.0.0.1:{two.port}"]'
            gate = await routed(
                f"upstreams: {{both: {{url: {urls}}}}}\n"
                "routes: [{name: all, auth: public, upstream: both, match: {path: /*}}]"
            )
            async with AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(Client(gate.address)) for _ in range(8)]
                for client in clients:
                    await client.send(get("/"))
                assert [(await client.response()).status for client in clients] == [200] * 8
            assert len(one.requests) + len(two.requests) == 8
            assert one.requests
            assert two.requests
        before = len(one.requests)
        assert [(await ask(gate, get("/"))).status for _ in range(10)] == [200] * 10
        assert len(one.requests) == before + 10


@pytest.mark.parametrize("name", ["upstream", "default"])
@pytest.mark.parametrize("defined", [False, True], ids=["by the setting", "by the file"])
async def test_the_upstream_of_the_settings_has_one_name_wherever_it_is_named(
    routed: RouteFileStart, world: World, upstream: Upstream, name: str, *, defined: bool
) -> None:
    text = f"routes: [{{name: things, auth: required, match: {{path: /things}}, upstream: {name}}}]\n"
    if defined:
        text = f"upstreams: {{{name}: {{url: 'http://127.0.0.1:{upstream.port}'}}}}\n{text}"
    key = "a-secret-of-the-identities-and-of-nobody-else"
    gate = await routed(text, world.url, signed={"identity": "HS256", "key": key})
    answer = await ask(gate, get("/things", bearer(world.token(world.agent))))
    assert answer.status == 200
    assert verifier(key.encode()).verify(
        upstream.requests[-1].one("X-Identity"), "GET", "/things", time.time()
    )
    async with Client(gate.admin_address) as admin:
        metrics = (await admin.exchange(get("/metrics"))).body
        status = (await admin.exchange(get("/status?format=json"))).body
        explained = await admin.exchange(
            post("/explain", {"method": "GET", "path": "/things", "as": "agent@example.com"})
        )
    assert b'gateway_upstream_connections{upstream="upstream"}' in metrics
    assert b'upstream="default"' not in metrics
    assert b'"default"' not in status + explained.body
    assert b'"upstream"' in explained.body


async def test_the_first_route_file_of_the_readme_leaves_whatomate_on_the_air(
    routed: RouteFileStart, world: World, upstream: Upstream
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(# GATEWAY_ROUTES=.*?)```", readme, re.DOTALL)
    gate = await routed(text.replace("billing:9000", f"127.0.0.1:{upstream.port}"), world.url)
    token = bearer(world.token(world.agent))
    for target in ("/", "/assets/app.js", "/health", "/ready", "/api/webhook", "/api/auth/sso/google/init"):
        assert (await ask(gate, get(target))).status == 200, target
    assert (await ask(gate, post("/api/webhook", {}))).status == 200
    assert (await ask(gate, get("/api/custom-actions/redirect/abc"))).status == 200
    for target in ("/api/contacts", "/api/users/1", "/ws/x"):
        is_refusal(await ask(gate, get(target)), 401)
        assert (await ask(gate, get(target, token))).status == 200, target
    is_refusal(await ask(gate, get("/billing/x")), 401)
