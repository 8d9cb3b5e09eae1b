"""X-Organization-ID: a wish, never a proof."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from tests.support.calls import ask, bearer, claims_of, get, granted, is_refusal, post
from tests.support.peers import Client
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


PATH = "/api/contacts"
BOUND = "This API key belongs to another organization"


def at(organization: object) -> str:
    return f"X-Organization-ID: {organization}"


async def test_a_key_opens_no_other_organization_whoever_owns_it(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    await world.accounts.administration.add_member(world.admin, world.other, "admin")
    _, roots = await world.accounts.administration.create_api_key(world.root, world.home, "of a super admin")
    for key in (world.api_key, roots):
        line = f"X-API-Key: {key}"
        assert (await ask(gate, get(PATH, line, at(world.home)))).status == 200
        assert upstream.requests[-1].one("X-Org-ID") == str(world.home)
        seen = len(upstream.requests)
        for _ in range(2):  # from the store, and from memory
            for elsewhere in (world.other, uuid4()):
                is_refusal(await ask(gate, get(PATH, line, at(elsewhere))), 403, BOUND)
                is_refusal(await ask(gate, get("/api/api-keys", line, at(elsewhere))), 403, BOUND)
        assert len(upstream.requests) == seen
        assert (await ask(gate, get(PATH, line))).status == 200


async def test_a_caller_who_is_no_member_is_not_told_which_organizations_there_are(
    gate: Gateway, world: World
) -> None:
    token = bearer(world.token(world.agent))
    there = await ask(gate, get(PATH, token, at(world.other)))
    nowhere = await ask(gate, get(PATH, token, at(uuid4())))
    assert (there.status, there.json()) == (nowhere.status, nowhere.json())
    assert there.status == 403


async def test_the_role_and_permissions_are_those_of_the_organization_asked_for(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    token = bearer(world.token(world.both))

    async def told(*lines: str) -> dict[str, str | None]:
        assert (await ask(gate, get(PATH, token, *lines))).status == 200
        names = ("X-Org-ID", "X-User-Role", "X-User-Role-ID", "X-User-Permissions")
        return {name: upstream.requests[-1].one(name) for name in names}

    for _ in range(2):  # interleaved, cold and remembered: no verdict crosses over
        home, other = await told(), await told(at(world.other))
        assert (home["X-User-Role"], other["X-User-Role"]) == ("agent", "manager")
        assert (home["X-Org-ID"], other["X-Org-ID"]) == (str(world.home), str(world.other))
        assert home["X-User-Role-ID"] != other["X-User-Role-ID"]
        assert "campaigns:execute" not in str(home["X-User-Permissions"])
        assert "campaigns:execute" in str(other["X-User-Permissions"])
        assert await told(at(world.home)) == home


async def test_a_permission_held_elsewhere_opens_nothing_here(gate: Gateway, world: World) -> None:
    """The hosted key endpoints ask for ``api_keys:read``: an admin there is an agent here."""
    await world.sql("UPDATE user_organizations SET role_id = NULL WHERE user_id = $1", world.both)
    await world.sql(
        "UPDATE user_organizations m SET role_id = r.id FROM custom_roles r WHERE m.user_id = $1 "
        "AND m.organization_id = $2 AND r.organization_id = $2 AND r.name = 'admin'",
        world.both,
        world.other,
    )
    token = bearer(world.token(world.both))
    assert (await ask(gate, get("/api/api-keys", token, at(world.other)))).status == 200
    for _ in range(2):
        is_refusal(await ask(gate, get("/api/api-keys", token)), 403)
        is_refusal(await ask(gate, get("/api/api-keys", token, at(world.home))), 403)


async def test_a_membership_that_ends_ends_the_remembered_verdict(gate: Gateway, world: World) -> None:
    raw = get(PATH, bearer(world.token(world.both)), at(world.other))
    assert (await ask(gate, raw)).status == 200
    await world.sql(
        "UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1 AND organization_id = $2",
        world.both,
        world.other,
    )
    async with asyncio.timeout(20):
        while (await ask(gate, raw)).status == 200:
            await asyncio.sleep(0.01)
    is_refusal(await ask(gate, raw), 403)


async def test_token_endpoints_act_for_the_tokens_own_organization(gate: Gateway, world: World) -> None:
    login: dict[str, Any] = {"email": "both@example.com", "password": PASSWORD}
    pair = await granted(gate, post("/api/auth/login", login, at(world.other)))
    assert claims_of(pair["access_token"])["organization_id"] == str(world.home)
    after = await granted(
        gate, post("/api/auth/refresh", {"refresh_token": pair["refresh_token"]}, at(world.other))
    )
    assert UUID(claims_of(after["access_token"])["organization_id"]) == world.home
    listed = await granted(gate, get("/api/auth/sessions", bearer(after["access_token"]), at(uuid4())))
    assert listed["sessions"][0]["organization_id"] == str(world.home)


SPELLINGS = ["{{{}}}", "urn:uuid:{}", "}}{{{}", " +{}"]


@pytest.mark.parametrize("spell", SPELLINGS)
async def test_an_organization_is_spelt_as_every_upstream_reads_it(
    gate: Gateway, world: World, upstream: Upstream, spell: str
) -> None:
    token, home = world.token(world.admin), str(world.home)
    for spelling in (spell.format(home), home.replace("-", ""), home[:9] + "-" + home[9:]):
        answer = await ask(gate, get(PATH, bearer(token), at(spelling)))
        is_refusal(answer, 400, "X-Organization-ID is not a UUID")
    assert upstream.requests == []


# -- lenient: as Whatomate, the credential's own organization, and the line goes to nobody


@pytest.fixture(params=[{"organization_header": "lenient"}, {"preset": "whatomate"}], ids=["set", "preset"])
async def lenient(world: World, start: Start, request: pytest.FixtureRequest) -> Gateway:
    return await start(world.url, keys={"hosted": False}, **request.param)


async def test_strict_is_the_default_without_the_preset_and_can_be_had_with_it(
    world: World, start: Start, upstream: Upstream
) -> None:
    for settings in ({}, {"preset": "whatomate", "organization_header": "strict"}):
        gate = await start(world.url, **settings)
        raw = get(PATH, bearer(world.token(world.agent)), at(world.other))
        is_refusal(await ask(gate, raw), 403, "You are not a member of this organization")
    assert upstream.requests == []


@pytest.mark.parametrize("spell", [*SPELLINGS, "{}", "nonsense", "00000000-0000-0000-0000-000000000000"])
async def test_gateway_and_upstream_act_in_the_same_organization_when_lenient(
    lenient: Gateway, world: World, upstream: Upstream, spell: str
) -> None:
    """Go reads braces and urn:uuid: as a UUID: a member's other organization must not be reached that way."""
    asked = [(world.agent, spell.format(world.other)), (world.root, spell.format(uuid4()))]
    if spell != "{}":
        asked.append((world.both, spell.format(world.other)))
    for user, organization in asked:
        for _ in range(2):  # from the store, and from memory
            answer = await ask(lenient, get(PATH, bearer(world.token(user)), at(organization)))
            assert answer.status == 200, answer.body
            seen = upstream.requests[-1]
            assert seen.one("X-Org-ID") == str(world.home)
            assert seen.all("X-Organization-ID") == []


async def test_an_organization_that_the_caller_may_use_goes_on_when_lenient(
    lenient: Gateway, world: World, upstream: Upstream
) -> None:
    for user, organization in (
        (world.both, world.other),
        (world.root, world.other),
        (world.agent, world.home),
    ):
        answer = await ask(lenient, get(PATH, bearer(world.token(user)), at(organization)))
        assert answer.status == 200
        seen = upstream.requests[-1]
        assert (seen.one("X-Org-ID"), seen.one("X-Organization-ID")) == (str(organization), str(organization))


async def test_permissions_are_those_of_the_own_organization_when_lenient(
    lenient: Gateway, world: World, upstream: Upstream
) -> None:
    """An admin elsewhere gains nothing here by naming a third organization."""
    third = await world.accounts.administration.create_organization("Third")
    await world.accounts.administration.add_member(world.admin, world.other, "agent")
    token = bearer(world.token(world.admin, world.other))
    assert (await ask(lenient, get(PATH, token, at(third)))).status == 200
    assert upstream.requests[-1].one("X-User-Role") == "agent"
    assert upstream.requests[-1].one("X-Org-ID") == str(world.other)


async def test_two_organizations_are_refused_when_lenient_too(
    lenient: Gateway, world: World, upstream: Upstream
) -> None:
    token = bearer(world.token(world.both))
    for one, two in (
        (world.home, world.other),
        ("", world.other),
        ("nonsense", world.other),
        (world.other,) * 2,
    ):
        answer = await ask(lenient, get(PATH, token, at(one), at(two)))
        is_refusal(answer, 400, "More than one X-Organization-ID")
    assert upstream.requests == []


async def test_an_empty_organization_counts_as_absent(
    gate: Gateway, lenient: Gateway, world: World, upstream: Upstream
) -> None:
    for one in (gate, lenient):
        for line in ("X-Organization-ID:", "X-Organization-ID:   "):
            assert (await ask(one, get(PATH, bearer(world.token(world.both)), line))).status == 200
            assert upstream.requests[-1].one("X-Org-ID") == str(world.home)


async def test_a_key_acts_at_home_or_is_refused_when_lenient(
    lenient: Gateway, world: World, upstream: Upstream
) -> None:
    """Whatomate acts where the owner may: the key must neither go there, nor write at home unnoticed."""
    line = f"X-API-Key: {world.api_key}"
    for nowhere in (world.other, uuid4(), "nonsense"):
        assert (await ask(lenient, get(PATH, line, at(nowhere)))).status == 200
        assert upstream.requests[-1].one("X-Org-ID") == str(world.home)
        assert upstream.requests[-1].all("X-Organization-ID") == []
    await world.accounts.administration.add_member(world.admin, world.other, "agent")
    async with asyncio.timeout(20):
        while (await ask(lenient, get(PATH, line, at(world.other)))).status == 200:
            await asyncio.sleep(0.01)
    seen = len(upstream.requests)
    is_refusal(await ask(lenient, get(PATH, line, at(world.other))), 403, BOUND)
    assert len(upstream.requests) == seen


async def test_a_membership_that_begins_or_ends_counts_at_once_when_lenient(
    lenient: Gateway, world: World, upstream: Upstream
) -> None:
    raw = get(PATH, bearer(world.token(world.agent)), at(world.other))

    async def until(organization: UUID) -> None:
        async with asyncio.timeout(20):
            while True:
                assert (await ask(lenient, raw)).status == 200
                seen = upstream.requests[-1]
                if seen.one("X-Org-ID") == str(organization):
                    assert seen.all("X-Organization-ID") == (
                        [str(organization)] if organization == world.other else []
                    )
                    return
                await asyncio.sleep(0.01)

    await until(world.home)
    await world.accounts.administration.add_member(world.agent, world.other, "agent")
    await until(world.other)
    await world.sql(
        "UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1 AND organization_id = $2",
        world.agent,
        world.other,
    )
    await until(world.home)


@pytest.mark.parametrize("by", ["token", "key"])
async def test_ignored_organizations_evict_no_cached_caller(world: World, start: Start, by: str) -> None:
    gate = await start(world.url, organization_header="lenient", identity={"cache_entries": 10})
    line = f"X-API-Key: {world.api_key}" if by == "key" else bearer(world.token(world.agent))
    known = get(PATH, bearer(world.token(world.admin)))
    assert (await ask(gate, known)).status == 200
    for _ in range(30):
        assert (await ask(gate, get(PATH, line, at(uuid4())))).status == 200
    async with Client(gate.admin_address) as client:
        page = (await client.exchange(get("/metrics"))).body.decode().splitlines()
    figures = dict(one.split() for one in page if one.startswith("gateway_identity_"))
    assert (figures["gateway_identity_entries"], figures["gateway_identity_ignored"]) == ("2.0", "30.0")
    assert figures["gateway_identity_evicted_total"] == "0.0"


def described(endpoint: str, path: str = PATH) -> list[str]:
    """The target and the lines of a question about `path`."""
    if endpoint.startswith("envoy"):
        return [f"/decisions/envoy{path}"]
    if endpoint.startswith("nginx"):
        return [f"/decisions/{endpoint}", "X-Original-Method: GET", f"X-Original-URI: {path}"]
    lines = ("X-Forwarded-Method: GET", f"X-Forwarded-Uri: {path}", "X-Forwarded-Host: gateway.test")
    return [f"/decisions/{endpoint}", *lines]


@pytest.fixture
async def decider(world: World, start: Start) -> Gateway:
    return await start(
        world.url,
        organization_header="lenient",
        decision={"path": "/decisions"},
        trusted_proxies=["127.0.0.0/8"],
    )


@pytest.mark.parametrize("endpoint", ["nginx", "forward", "envoy"])
async def test_a_proxy_that_would_forward_another_organization_is_refused_or_removes_the_header(
    world: World, decider: Gateway, endpoint: str
) -> None:
    target, *lines = described(endpoint)
    token = bearer(world.token(world.agent))
    for organization in (world.other, f"urn:uuid:{world.other}"):
        answer = await ask(decider, get(target, *lines, token, at(organization)))
        if endpoint == "envoy":
            assert answer.status == 200
            assert "x-organization-id" in str(answer.one("X-Envoy-Auth-Headers-To-Remove")).split(",")
        else:
            is_refusal(answer, 403)
            assert f"/decisions/{endpoint}/organization" in answer.json()["message"]
    for harmless in ("", world.home):
        assert (await ask(decider, get(target, *lines, token, at(harmless)))).status == 200


@pytest.mark.parametrize("endpoint", ["nginx/organization", "forward/organization"])
async def test_a_proxy_that_replaces_the_organization_header_gets_the_callers_organization(
    world: World, decider: Gateway, endpoint: str
) -> None:
    target, *lines = described(endpoint)
    for user, sent, answered in (
        (world.agent, at(world.other), world.home),
        (world.agent, at(f"urn:uuid:{world.other}"), world.home),
        (world.agent, at("nonsense"), world.home),
        (world.agent, at(world.home), world.home),
        (world.both, at(world.other), world.other),
        (world.agent, at(""), None),
        (world.agent, "X-Usual: none", None),
    ):
        for _ in range(2):  # from the store, and from memory
            answer = await ask(decider, get(target, *lines, bearer(world.token(user)), sent))
            assert answer.status == 200
            assert answer.one("X-Organization-ID") == (None if answered is None else str(answered))
            assert answer.one("X-Org-ID") == str(answered or world.home)
    twice = await ask(decider, get(target, *lines, bearer(world.token(world.both)), *[at(world.other)] * 2))
    is_refusal(twice, 403, "More than one X-Organization-ID")
    target, *lines = described(endpoint, "/assets/app.js")  # nobody acts anywhere: as through the gateway
    answer = await ask(decider, get(target, *lines, at(world.other)))
    assert (answer.status, answer.one("X-Organization-ID")) == (200, str(world.other))


async def test_a_client_cannot_state_for_its_proxy_that_the_organization_header_is_replaced(
    world: World, decider: Gateway
) -> None:
    """Caddy leaves the client's query in the target of its question, and field lines may be the client's."""
    for endpoint in ("nginx", "forward"):
        target, *lines = described(endpoint)
        token = bearer(world.token(world.agent))
        for question in (f"{target}?organization", f"{target}?/organization", f"{target}?x=/organization"):
            is_refusal(await ask(decider, get(question, *lines, token, at(world.other))), 403)


async def test_the_record_says_that_the_organization_was_ignored(
    world: World, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = await start(world.url, organization_header="lenient", log={"access": True})
    token = bearer(world.token(world.agent))
    for organization in (world.other, world.home):
        assert (await ask(gate, get(f"{PATH}/{organization}", token, at(organization)))).status == 200
    await gate.stop()
    records = [json.loads(line) for line in capfd.readouterr().out.splitlines() if '"request"' in line]
    ignored = {one["path"]: one.get("organization_header") for one in records}
    assert ignored == {f"{PATH}/{world.other}": "ignored", f"{PATH}/{world.home}": None}
