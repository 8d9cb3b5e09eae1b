"""X-Identity on its way: on what is forwarded in somebody's name, for the request that the upstream sees."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from authcore.crypto.pem import generate_pem
from config.load import ConfigError
from tests.support.calls import ask, bearer, get, post, request
from tests.support.identities import verifier
from tests.support.peers import Client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


KEY = "a-secret-of-the-identities-and-of-nobody-else"
ON: dict[str, Any] = {"signed": {"identity": "HS256", "key": KEY}}


def verify(token: str | None, method: str, path: str, audience: str = "upstream", **more: Any) -> Any:
    return verifier(KEY.encode(), audience=audience).verify(token, method, path, time.time(), **more)


async def test_no_identity_is_signed_until_that_is_switched_on(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    await ask(gate, get("/api/x", bearer(world.token(world.agent)), "X-Identity: evil", "X_Identity: evil"))
    assert upstream.requests[-1].one("X-Identity") is None
    assert b"evil" not in upstream.seen


async def test_each_request_in_somebodys_name_carries_one_of_its_own(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, **ON)
    seen = set()
    token = bearer(world.token(world.agent))
    async with Client(gate.address) as client:
        for raw, method, path in (
            (get("/api/x?y=z", token), "GET", "/api/x"),
            (get("/api/x?y=z", token, "X-Identity: evil"), "GET", "/api/x"),
            (post("/api/caf%C3%A9", {}, token), "POST", "/api/café"),
            (request("DELETE", '/api/a"b', token), "DELETE", '/api/a"b'),
        ):
            answer = await client.exchange(raw)
            assert answer.status == 200
            got = upstream.requests[-1]
            told = verify(got.one("X-Identity"), method, path, permissions=got.one("X-User-Permissions"))
            assert told.user_id == got.one("X-User-ID") == str(world.agent)
            assert told.organization_id == got.one("X-Org-ID")
            assert told.auth_method == got.one("X-Auth-Method")
            assert told.request_id == got.one("X-Request-ID") == answer.one("X-Request-ID")
            seen.add(got.one("X-Identity"))
    assert len(seen) == 4


async def test_an_anonymous_request_carries_no_signed_identity(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, **ON)
    assert (
        await ask(gate, get("/assets/app.js", bearer(world.token(world.agent)), "X-Identity: evil"))
    ).status == 200
    assert upstream.requests[-1].one("X-Identity") is None


async def test_a_signed_identity_is_for_the_path_and_the_upstream_that_the_route_leads_to(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        f"""
upstreams:
  billing: {{url: "http://127.0.0.1:{upstream.port}"}}
routes:
  - {{name: bills, auth: required, upstream: billing, strip_prefix: /billing, match: {{path: "/billing/*"}}}}
"""
    )
    gate = await start(world.url, routes=routes, **ON)
    await ask(gate, get("/billing/caf%C3%A9?x=1", bearer(world.token(world.agent))))
    got = upstream.requests[-1]
    assert got.start == b"GET /caf%C3%A9?x=1 HTTP/1.1"
    assert verify(got.one("X-Identity"), "GET", "/caf%C3%A9", audience="billing")


async def test_a_decision_hands_it_out_for_the_request_described(world: World, start: Start) -> None:
    gate = await start(world.url, decision={"path": "/d"}, trusted_proxies=["127.0.0.0/8"], **ON)
    token = bearer(world.token(world.agent))
    described = ("X-Original-Method: POST", "X-Original-URI: /api/x?y")
    answer = await ask(gate, get("/d/nginx", *described, token))
    assert verify(answer.one("X-Identity"), "POST", "/api/x").user_id == str(world.agent)
    answer = await ask(gate, request("DELETE", "/d/envoy/api/x", token))
    assert verify(answer.one("X-Identity"), "DELETE", "/api/x")
    assert (answer.one("X-Envoy-Auth-Headers-To-Remove") or "").split(",") == ["x-auth-key-id"]


async def test_explain_does_not_tell_it(world: World, start: Start) -> None:
    gate = await start(world.url, **ON, header={"identity": "X-Signed"})
    async with Client(gate.admin_address) as admin:
        document = {"method": "GET", "path": "/api/x", "as": "agent@example.com"}
        answer = await admin.exchange(post("/explain", document))
    assert b"eyJ" not in answer.body
    assert b'"X-Signed"' in answer.body


async def test_a_key_that_cannot_sign_is_refused_at_the_start(world: World, start: Start) -> None:
    for pem in (generate_pem("RS256"), b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(ConfigError) as caught:
            await start(world.url, signed={"identity": "EdDSA", "key": pem.decode()})
        (problem,) = caught.value.problems
        assert problem.startswith("GATEWAY_SIGNED_KEY: ")
        assert "nonsense" not in problem


async def test_what_is_to_be_published_and_is_no_public_key_is_refused_at_the_start(
    world: World, start: Start
) -> None:
    key = generate_pem("EdDSA").decode()
    for published in (key, "nonsense"):
        with pytest.raises(ConfigError) as caught:
            await start(world.url, signed={"identity": "EdDSA", "key": key, "published_keys": published})
        (problem,) = caught.value.problems
        assert problem.startswith("GATEWAY_SIGNED_PUBLISHED_KEYS: ")
        assert key.splitlines()[1] not in problem
