"""Encoded slashes and dots in an opaque segment: a tag's name is free text, and no name of one leads anywhere else."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.route_plan import read_plan
from config.settings import Settings
from gateway.assembly.route_compiler import planned_rules, preflights_of
from gateway.metrics import Metrics
from gateway.proxy.routes import RouteTable
from gateway.proxy.target import is_encoded, parse_target
from gateway.wire.messages import ProtocolError, RequestHead
from tests.proxy.nowhere import NOWHERE
from tests.support.calls import ask, bearer, is_refusal, post, request
from tests.support.peers import Client

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


TAGS = "/api/tags/"
NAMES = (
    "VIP/Gold",
    "a#b",
    "what?",
    "a;b",
    "a\\b",
    "a%20b",
    "tab\there",
    "50%AB",
    "/?#;\\%"[1:] + "x",
    "été/1",
)
"""Names of tags that a browser's encodeURIComponent sends with an ambiguous escape."""

UPWARDS = (
    *(
        "..%2F..%2Fhealth",
        "%2e%2e",
        "..",
        "%2e",
        "%2E%2e%2F%2e%2e%2Fhealth",
        "a%2F..%2Fb",
        "a%2F..",
        "..%2Fa",
    ),
    *("a%2F%2Fb", "%2F", "%2Fa", "a%2F", "%5C", "a%5C..%5Cb", "a%5C..%2Fb", "..%5Ca", "a%2F.%2Fb"),
    *("%252e%252e", "..%252F..%252Fhealth", "%252e%252e%252fhealth", "a%252F..%252Fb", "a%252F%252Fb"),
    *("%25252e%25252e%25252fhealth", "..%3Bx%2Fa", "a%2F..%3B%2Fb", "a%00b", "a%2500b", "a%0d%0ab", "%7F"),
    *(
        "a%2Fb/..",
        "a%2Fb/../../health",
        "a%2Fb/",
        "a%2Fb/c",
        "a%2Fb//",
        "%C0%AFx",
        "%FF%2F",
        "a%2",
        "a%zz%2F",
    ),
    *("a%2F\\b", "a%2F;b", "a%2F\tb", "a%2F#b", "%25252525252F", "%2f..%2f..%2fapi%2fusers"),
)
"""Last segments of which some reading is another path, or none at all."""

FILE = """
routes:
  - {name: files, auth: required, match: {path: "/files/{name:opaque}"}}
  - {name: admin, auth: required, require: users:write, match: {path: "/files/admin/{id}"}}
  - {name: secret, auth: required, require: users:write, match: {path: "/files/secret"}}
  - {name: vault, auth: required, require: users:write, match: {prefix: "/files/vault/deep"}}
  - {name: rest, auth: required, match: {path: "/files/*"}}
"""


@cache
def preset() -> RouteTable:
    settings = Settings.model_validate({"preset": "whatomate", "upstream": {"url": "http://u"}})
    plan = read_plan(settings)
    assert plan is not None
    rules = planned_rules(plan, settings, Metrics(), {"upstream": NOWHERE})
    return RouteTable({}, rules, None, preflights_of(rules, Metrics()))


def fasthttp_path(target: bytes) -> bytes:
    """The path that Whatomate's hook reads: fasthttp's normalizePath, which decodes before it resolves."""
    path = unquote_to_bytes(target)
    while b"//" in path:
        path = path.replace(b"//", b"/", 1)
    while b"/./" in path:
        path = path.replace(b"/./", b"/", 1)
    while (at := path.find(b"/../")) >= 0:
        path = path[: max(path.rfind(b"/", 0, at), 0)] + path[at + 3 :]
    if path.endswith(b"/.."):
        path = path[: path.rfind(b"/", 0, -3) + 1] or b"/"
    return path


def accepted(method: bytes, target: bytes) -> str | None:
    """Name of the preset's route that a target is accepted for; None if it is refused as ambiguous."""
    head = RequestHead(method=method, target=target, fields=[(b"Host", b"gateway.test")])
    head.index()
    table = preset()
    try:
        return table.match(method, parse_target(head, opaque=table.opaque).path, preflight=False).name
    except ProtocolError:
        return None


def elsewhere(segment: str) -> Iterator[tuple[str, str]]:
    """Requests with an encoded segment for what is not opaque."""
    yield from (("GET", f"{TAGS}{segment}"), ("POST", f"{TAGS}{segment}"), ("PATCH", f"{TAGS}{segment}"))
    yield from (("PUT", f"/api/tags/{segment}/x"), ("PUT", f"/api/{segment}/tags"), ("PUT", f"/{segment}"))
    yield from (
        ("GET", f"/api/users/{segment}"),
        ("DELETE", f"/api/users/{segment}"),
        ("PUT", f"/x/{segment}"),
    )
    yield from (
        ("GET", f"/api/auth/sso/{segment}"),
        ("GET", f"/assets/{segment}"),
        ("PUT", f"/api/{segment}"),
    )
    yield from (
        ("DELETE", f"/api/api-keys/{segment}"),
        ("POST", f"/api/auth/{segment}"),
        ("GET", f"/ws/{segment}"),
    )
    yield ("PUT", f"/api%2Ftags/{segment}")
    yield ("PUT", f"/api/contacts/..%2Ftags/{segment}")


async def test_a_tag_of_any_name_is_changed_and_deleted_by_who_may(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, preset="whatomate")
    root, agent = bearer(world.token(world.root)), bearer(world.token(world.agent))
    for name in NAMES:
        for target in (f"{TAGS}{quote(name, safe='')}", f"{TAGS}{quote(name, safe='').lower()}?x=%2F"):
            for method in ("PUT", "DELETE"):
                is_refusal(await ask(gate, request(method, target)), 401)
                is_refusal(await ask(gate, request(method, target, agent)), 403)
                before = len(upstream.requests)
                assert (await ask(gate, request(method, target, root))).status == 200, target
                assert len(upstream.requests) == before + 1
                assert upstream.requests[-1].start == f"{method} {target} HTTP/1.1".encode()


async def all_are_refused(
    targets: Iterable[tuple[str, str]],
    world: World,
    start: Start,
    upstream: Upstream,
    *,
    reason: bytes = b"",
) -> None:
    """Each method and target is refused to a caller with every right, for a reason, and none is forwarded."""
    gate = await start(world.url, preset="whatomate")
    root = bearer(world.token(world.root))
    for method, target in targets:
        answer = await ask(gate, request(method, target, root))
        assert answer.status == 400, (method, target, answer.start)
        assert reason in answer.body
    assert upstream.seen == b""


async def test_no_encoded_name_leads_out_of_its_segment(
    world: World, start: Start, upstream: Upstream
) -> None:
    targets = [(method, f"{TAGS}{segment}") for segment in UPWARDS for method in ("PUT", "DELETE")]
    await all_are_refused(targets, world, start, upstream)


async def test_an_encoded_segment_of_any_other_route_is_refused_with_every_right(
    world: World, start: Start, upstream: Upstream
) -> None:
    targets = [one for name in NAMES for one in elsewhere(quote(name, safe=""))]
    await all_are_refused(targets, world, start, upstream, reason=b"mbiguous request target")


@given(
    st.lists(
        st.sampled_from(
            [
                "..",
                ".",
                "%2F",
                "%2f",
                "%5C",
                "%2e",
                "%25",
                "2F",
                "2e",
                "%3B",
                "%23",
                "%3F",
                "a",
                "/",
                "%09",
                "%C3%A9",
            ]
        ),
        min_size=1,
        max_size=9,
    ),
    st.sampled_from([b"PUT", b"DELETE", b"GET"]),
)
def test_what_is_accepted_is_a_tag_to_the_server_however_often_it_decodes(
    parts: list[str], method: bytes
) -> None:
    target = f"{TAGS}{''.join(parts)}".encode()
    route = accepted(method, target)
    if route is None:
        return
    read = target
    for _ in range(6):
        read = fasthttp_path(read)
        assert read.startswith(TAGS.encode())
        assert read == fasthttp_path(read.replace(b"%", b"%25"))  # there is nothing left to resolve
        if not is_encoded(text := read.decode("utf-8", "replace")):
            assert preset().match(method, text, preflight=False).name in {route, "unlisted"}


async def test_no_decoding_of_a_name_is_a_path_of_a_stricter_route(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(FILE, encoding="utf-8")
    gate = await start(world.url, routes=routes)
    agent = bearer(world.token(world.agent))
    for segment in ("a%2Fb", "admins%2Fx", "a%252Fb", "administer%3F"):
        assert (await ask(gate, request("GET", f"/files/{segment}", agent))).status == 200, segment
    upstream.raw.clear()
    for segment in (
        *("admin%2Fx", "admin%252Fx", "ADMIN%2Fx", "admin%5Cx", "%2561dmin%2Fx", "s%2565cret", "%2573ecret"),
        *("vault%2Fdeep", "vault%5Cdeep%2Fx", "vault.%2FDEEP", "vault.json%2Fdeep.js", "vault%2Fdeep%20%2Fx"),
    ):
        is_refusal(await ask(gate, request("GET", f"/files/{segment}", agent)), 400)
    assert upstream.seen == b""


async def test_no_decoding_of_a_name_is_a_path_that_the_gateway_answers(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        'routes: [{name: all, auth: public, match: {path: ["/{x:opaque}", "/api/{x:opaque}"]}}]',
        encoding="utf-8",
    )
    gate = await start(world.url, routes=routes)
    for target in ("/api%2Fauth%2Flogin", "/api/auth%2Flogin", "/api/auth%252Flogin", "/api/AUTH%2Flogin"):
        is_refusal(await ask(gate, request("POST", target)), 400)
    for target in ("/api/api-keys%2Fx", "/api%2Fauth%2Fsso%2Fgoogle%2Fcallback", "/.well-known%2Fjwks.json"):
        answer = await ask(gate, request("GET", target))
        assert (answer.status == 400) is ("sso" not in target), target
    assert (await ask(gate, request("GET", "/api/pets%2F1"))).status == 200


async def test_another_proxy_an_operator_and_a_preflight_hear_the_same(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(
        world.url, preset="whatomate", decision={"path": "/decisions"}, trusted_proxies=["127.0.0.0/8"]
    )
    root = bearer(world.token(world.root))
    for method, target, allowed in (
        ("PUT", f"{TAGS}VIP%2FGold", True),
        ("PUT", f"{TAGS}..%2F..%2Fhealth", False),
        ("GET", f"{TAGS}VIP%2FGold", False),
        ("GET", "/api/users/VIP%2FGold", False),
    ):
        described = (f"X-Original-Method: {method}", f"X-Original-URI: {target}", root)
        answer = await ask(gate, request("GET", "/decisions/nginx", *described))
        assert answer.status == (200 if allowed else 403), target
        async with Client(gate.admin_address) as admin:
            question = {"method": method, "path": target, "as": str(world.root)}
            verdict = (await admin.exchange(post("/explain", question))).json()["verdict"]
        assert verdict["allowed"] is allowed
        assert allowed or (verdict["status"], "mbiguous" in verdict["message"]) == (400, True)
        asked = ("Origin: https://app.example.com", f"Access-Control-Request-Method: {method}")
        answer = await ask(gate, request("OPTIONS", target, *asked))
        assert answer.status == (200 if allowed else 400), target


@pytest.mark.parametrize("target", [b"/status%2Fx", b"/a%2Fb"])
def test_a_listener_without_routes_takes_no_encoded_segment(target: bytes) -> None:
    head = RequestHead(method=b"GET", target=target, fields=[(b"Host", b"gateway.test")])
    head.index()
    parse_target(head, opaque=True)
    with pytest.raises(ProtocolError, match="encoded slash"):
        parse_target(head)
