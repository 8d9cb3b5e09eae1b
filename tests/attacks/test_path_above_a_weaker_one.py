"""A path that asks for more stands above one that asks for less, and is asked for in another spelling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authcore.authorize import AUTHENTICATED, OPTIONAL, PUBLIC, Requirement, asks_at_least
from config.patterns import PathPattern
from gateway.faults import NotFound
from gateway.metrics import Metrics
from gateway.proxy.prefixes import segments_of
from gateway.proxy.routes import Pattern, Route, RouteTable
from gateway.proxy.target import parse_target
from gateway.wire.messages import ProtocolError, RequestHead
from tests.proxy.nowhere import NOWHERE
from tests.support.calls import ask, bearer, get, post
from tests.support.peers import Client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


ROUTES = """
routes:
  - {name: admin, auth: required, require: "users:write", match: {prefix: /billing/admin}}
  - {name: plain, auth: required, match: {path: /billing/admin/help}}
  - {name: rest, auth: required, match: {path: "/*"}}
"""
SPELLINGS = (
    *("/billing/admin", "/billing/ADMIN", "/billing/%61dmin", "/billing/admin?x"),
    *(
        "/billing/admin/",
        "/billing/admin/x",
        "/billing/admin.",
        "/billing/admin..",
        "/billing/admin%20",
        "/billing/admin./x",
    ),
    *(
        "/billing/admin.json",
        "/billing/admin.json.gz",
        "/billing/admin:$DATA",
        "/billing/admin::$DATA",
        "/billing/admin.json/",
    ),
    *(
        "/billing/%EF%BD%81dmin",
        "/billing/%EF%BC%A1DMIN",
        "/billing/%C3%A1dmin",
        "/billing/adm%E2%80%8Bin",
        "/billing/admin%C2%A0",
    ),
    *(
        "/billing%EF%BC%8Fadmin",
        "/billing/x/%EF%BC%8E%EF%BC%8E/admin",
        "/billing./admin",
        "/billing%20/admin.json",
        "/billing/admi%EF%BD%8E",
    ),
)
OTHERS = (
    "/billing/administer",
    "/billing/admin-x",
    "/billing/xadmin",
    "/billing/a",
    "/billing/%E4%BC%9A",
    "/billing/admin/help",
)


@pytest.mark.parametrize("target", SPELLINGS)
async def test_no_spelling_of_a_prefix_falls_to_a_weaker_route(
    world: World, start: Start, upstream: Upstream, tmp_path: Path, target: str
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES, encoding="utf-8")
    gateway = await start(world.url, routes=path)
    assert (await ask(gateway, get(target, bearer(world.token(world.agent))))).status == 403
    assert upstream.seen == b""
    assert (await ask(gateway, get(target, bearer(world.token(world.admin))))).status == 200


async def test_what_is_no_spelling_of_it_goes_where_it_went(
    world: World, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES, encoding="utf-8")
    gateway = await start(world.url, routes=path)
    for target in OTHERS:
        assert (await ask(gateway, get(target, bearer(world.token(world.agent))))).status == 200, target


async def test_the_default_lists_hold_other_spellings_of_what_they_protect_as_well(
    start: Start, upstream: Upstream
) -> None:
    gateway = await start()
    for target in (
        "/%EF%BD%81pi/users",
        "/api./users",
        "/api%20/users",
        "/ap%E2%80%8Bi",
        "/%EF%BD%97s/x",
        "/%C3%A1pi/x",
    ):
        assert (await ask(gateway, get(target))).status == 401, target
    assert upstream.seen == b""
    for target in ("/api.html", "/ws.js", "/apix", "/health", "/wsx/y", "/a/api", "/api.v2/x"):
        assert (await ask(gateway, get(target))).status == 200, target
    assert (await ask(gateway, get("/api/webhook"))).status == 200, "an open path below a protected one"


async def test_explain_says_which_route_another_spelling_falls_under(
    world: World, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES, encoding="utf-8")
    gateway = await start(world.url, routes=path)
    question = {"method": "GET", "path": "/billing/admin.json", "as": "agent@example.com"}
    async with Client(gateway.admin_address) as client:
        told = (await client.exchange(post("/explain", question))).json()
    assert told["route"]["name"] == "admin"
    assert told["verdict"]["missing"] == ["users:write"]


# -- by property ------------------------------------------------------------------------------------------------

REQUIREMENTS = st.one_of(
    st.sampled_from([PUBLIC, OPTIONAL, AUTHENTICATED]),
    st.builds(
        Requirement,
        all_of=st.frozensets(st.sampled_from(["a:b", "c:d"])),
        any_of=st.frozensets(st.sampled_from(["a:b", "c:d", "e:f"])),
    ),
)
WRITTEN = st.lists(st.sampled_from(["admin", "v1.2", "b", "\u00fcber"]), min_size=1, max_size=3)


@st.composite
def spelled(draw: st.DrawFn, segments: list[str]) -> str:
    """A target that some server takes for a path, or for one below it."""
    parts = []
    for segment in segments:
        letters = [
            draw(
                st.sampled_from(
                    [one, one.upper(), chr(ord(one) + 0xFEE0) if one.isascii() else one, one + "\u200d"]
                )
            )
            for one in segment
        ]
        parts.append(
            "".join(letters) + draw(st.sampled_from(["", "", ".", " ", "..", ".json", ":x", ". ", "\u3000"]))
        )
    text = "/" + "/".join(parts) + draw(st.sampled_from(["", "/", "/x", "/x.y/z"]))
    return "".join(
        one
        if (one.isascii() and one.isalnum()) or one in "/."
        else "".join(f"%{byte:02X}" for byte in one.encode())
        for one in text
    )


def route(name: str, requirement: Requirement) -> Route:
    return Route(name, requirement, NOWHERE, Metrics().route(name))


@given(st.data(), WRITTEN, REQUIREMENTS, REQUIREMENTS, st.booleans())
def test_a_prefix_is_never_weaker_than_the_wider_rule_nor_than_itself(
    drawn: Any,
    segments: list[str],
    mine: Requirement,
    wide: Requirement,
    shadow: bool,
) -> None:
    path = "/" + "/".join(segments)
    pattern = Pattern(PathPattern.parse(f"{path}/*"), prefix=True)
    rules = [
        (pattern, route("narrow", mine)),
        (Pattern(PathPattern.parse("/*")), replace(route("wide", wide), shadow=shadow)),
    ]
    table = RouteTable({}, rules, None)
    head = RequestHead([], method=b"GET", target=drawn.draw(spelled(segments)).encode("ascii"))
    try:
        canonical = parse_target(head).path
    except ProtocolError:
        return  # not forwarded at all
    try:
        found = table.match(b"GET", canonical, preflight=False)
    except NotFound:
        assert not asks_at_least(mine, wide) or not asks_at_least(wide, mine)
        return
    literal = [one.lower() for one in canonical[1:].split("/")][: len(segments)] == [
        one.lower() for one in segments
    ]
    if literal and found.name == "narrow":
        return  # written so: a narrower rule may ask for less
    assert asks_at_least(found.requirement, wide) or mine.allows_anonymous
    if not mine.allows_anonymous:
        assert asks_at_least(found.requirement, mine), canonical
        assert found.name == "narrow" or not found.shadow


@given(st.builds("/{}".format, st.text(st.characters(exclude_categories=["Cs"]), max_size=12)))
def test_reading_leniently_is_stable(path: str) -> None:
    once = segments_of(path)
    assert segments_of("/" + "/".join(once)) == once


@pytest.mark.parametrize("flag", ["shadow", "unproven", "tickets", "message"])
def test_a_spelling_of_a_prefix_is_treated_no_more_leniently_than_by_either_rule(flag: str) -> None:
    leniency: dict[str, Any] = {flag: True}
    strict = route("strict", AUTHENTICATED)
    lenient = replace(strict, name="lenient", **leniency)
    for narrow, wide in ((strict, lenient), (lenient, strict)):
        rules = [
            (Pattern(PathPattern.parse("/admin/*"), prefix=True), narrow),
            (Pattern(PathPattern.parse("/*")), wide),
        ]
        assert RouteTable({}, rules, None).match(b"GET", "/\uff41dmin/x", preflight=False).name == "strict"
