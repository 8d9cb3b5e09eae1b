"""A decision asked about another request than the one that is then let through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from authcore.identity_headers import HEADERS
from tests.support.calls import ask, bearer, get, is_refusal, request
from tests.support.spellings import AMBIGUOUS, ANOTHER_SPELLING

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


ON: dict[str, Any] = {"decision": {"path": "/decisions"}, "trusted_proxies": ["127.0.0.0/8"]}
METHOD, TARGET = "X-Original-Method: GET", "X-Original-URI: /api/x"
FORWARDED = ("X-Forwarded-Method: GET", "X-Forwarded-Uri: /api/x", "X-Forwarded-Host: app.test")


async def test_a_peer_that_is_not_trusted_is_told_nothing(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, decision={"path": "/decisions"}, trusted_proxies=["10.0.0.0/8"])
    for credential in (bearer(world.token(world.root)), bearer("x.y.z"), f"X-API-Key: {world.api_key}"):
        for question in (
            get("/decisions/nginx", METHOD, TARGET, credential),
            get("/decisions/forward", *FORWARDED, credential),
            get("/decisions/envoy/api/x", credential),
        ):
            answer = await ask(gate, question)
            is_refusal(answer, 403)
            assert "GATEWAY_TRUSTED_PROXIES" in str(answer.json()["message"])
            assert not [name for name, _ in answer.lines if name.lower().startswith(b"x-user")]
    assert upstream.seen == b""


@pytest.mark.parametrize(
    "lines",
    [
        (METHOD,),
        (TARGET,),
        (METHOD, TARGET, "X-Original-URI: /"),
        (METHOD, "X-Original-URI: /", TARGET),
        (METHOD, TARGET, "x-original-uri: /api/x"),
        (METHOD, TARGET, "X-Original-Method: OPTIONS"),
        (METHOD, "X_Original_URI: /"),
        (METHOD, "X.Original.URI: /"),
        ("X_Original_Method: GET", "X-Original-URI: /"),
        (METHOD, "X-Original-URL: /"),
        (METHOD, "X-Forwarded-Uri: /"),
        (METHOD, "X-Original-URI:"),
        (METHOD, "X-Original-URI: assets/x"),
        (METHOD, "X-Original-URI: http://gateway.test/assets/x"),
        (METHOD, "X-Original-URI: //assets/x"),
        (METHOD, "X-Original-URI: /assets /x"),
        (METHOD, "X-Original-URI: /a, /b c"),
        ("X-Original-Method: get", "X-Original-URI: /"),
        ("X-Original-Method:", "X-Original-URI: /"),
        ("X-Original-Method: GET POST", "X-Original-URI: /"),
        ("X-Original-Method: GET, GET", "X-Original-URI: /"),
        FORWARDED,
    ],
)
async def test_what_is_missing_doubled_or_ambiguous_is_denied(
    world: World, start: Start, lines: tuple[str, ...]
) -> None:
    """With the best credential there is: nothing stands in for a description."""
    gate = await start(world.url, **ON)
    is_refusal(await ask(gate, get("/decisions/nginx", *lines, bearer(world.token(world.root)))), 403)


@pytest.mark.parametrize("place", range(3))
async def test_a_described_request_as_traefik_and_caddy_never_send_it_is_denied(
    world: World, start: Start, place: int
) -> None:
    gate = await start(world.url, **ON)
    root = bearer(world.token(world.root))
    without = [line for number, line in enumerate(FORWARDED) if number != place]
    is_refusal(await ask(gate, get("/decisions/forward", *without, root)), 403)
    is_refusal(await ask(gate, get("/decisions/forward", *FORWARDED, FORWARDED[place], root)), 403)
    assert (await ask(gate, get("/decisions/forward", *FORWARDED, root))).status == 200


async def test_the_other_proxys_fields_describe_nothing(world: World, start: Start) -> None:
    """Each endpoint reads the fields its proxy sets; what a client sends beside them is not heard."""
    gate = await start(world.url, **ON)
    spoof = (
        "X-Original-Method: OPTIONS",
        "X-Original-URI: /",
        "X-HTTP-Method-Override: OPTIONS",
        "X-Rewrite-URL: /",
    )
    is_refusal(await ask(gate, get("/decisions/forward", *FORWARDED, *spoof)), 401)
    is_refusal(await ask(gate, get("/decisions/envoy/api/x", *spoof)), 401)
    spoof = ("X-Forwarded-Method: OPTIONS", "X-Forwarded-Uri: /", "X_Original_URI: /", "X-Original-URL: /")
    is_refusal(await ask(gate, get("/decisions/nginx", METHOD, TARGET, *spoof)), 401)
    is_refusal(await ask(gate, request("POST", "/decisions/envoy/api/webhook/x", *spoof)), 401)


@pytest.mark.parametrize("target", AMBIGUOUS)
async def test_a_described_target_with_two_readings_is_denied(
    world: World, start: Start, target: str
) -> None:
    gate = await start(world.url, **ON)
    root = bearer(world.token(world.root))
    is_refusal(await ask(gate, get("/decisions/nginx", METHOD, f"X-Original-URI: {target}", root)), 403)
    lines = (FORWARDED[0], f"X-Forwarded-Uri: {target}", FORWARDED[2])
    is_refusal(await ask(gate, get("/decisions/forward", *lines, root)), 403)
    answer = await ask(gate, get(f"/decisions/envoy{target}", root))
    assert answer.status in {400, 403}  # the wire itself refuses some, as it does everywhere
    is_refusal(answer, answer.status)


async def test_no_spelling_of_a_protected_path_is_public_when_described(world: World, start: Start) -> None:
    gate = await start(world.url, **ON)
    for target in ANOTHER_SPELLING:
        if target.startswith("/"):
            for question in (
                get("/decisions/nginx", METHOD, f"X-Original-URI: {target}"),
                get("/decisions/forward", FORWARDED[0], f"X-Forwarded-Uri: {target}", FORWARDED[2]),
                get(f"/decisions/envoy{target}"),
            ):
                is_refusal(await ask(gate, question), 401, "Missing authorization")


@pytest.mark.parametrize(
    "name",
    [
        *(header.name for header in HEADERS),
        *("X_User_ID", "x.org.id", "X-User-Anything", "X_Org-Name", "X-Identity2", "x-auth-", "Remote-User"),
    ],
)
async def test_a_question_that_holds_an_identity_header_is_refused(
    world: World, start: Start, name: str
) -> None:
    gate = await start(world.url, **ON, header={"user_name": "Remote-User"})
    token = bearer(world.token(world.agent))
    for question in (
        get("/decisions/nginx", METHOD, TARGET, token, f"{name}: evil"),
        get("/decisions/nginx", METHOD, "X-Original-URI: /", f"{name}: evil"),
        get("/decisions/forward", *FORWARDED, token, f"{name}: evil"),
        get("/decisions/envoy/", f"{name}: evil"),
    ):
        answer = await ask(gate, question)
        is_refusal(answer, 403)
        assert name in str(answer.json()["message"])
        assert all(value != b"evil" for _, value in answer.lines)


@pytest.mark.parametrize(
    "name", ["X-Organization-ID", "X-User", "X-Organization", "X-Authority", "User-Agent"]
)
async def test_a_question_that_holds_a_resembling_header_is_answered(
    world: World, start: Start, name: str
) -> None:
    gate = await start(world.url, **ON)
    token = bearer(world.token(world.agent))
    question = get("/decisions/nginx", METHOD, TARGET, token, f"{name}: {world.home}")
    assert (await ask(gate, question)).status == 200


async def test_connection_cannot_name_a_description_away(world: World, start: Start) -> None:
    gate = await start(world.url, **ON)
    lines = (METHOD, TARGET, "Connection: X-Original-URI, X-Original-Method, Authorization")
    is_refusal(await ask(gate, get("/decisions/nginx", *lines)), 401)


async def test_another_spelling_of_the_endpoint_decides_nothing(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, **ON)
    for target in ("/%64ecisions/nginx", "/ForwardAuth/nginx", "/decisions%2fnginx", "/./decisions/nginx"):
        answer = await ask(gate, get(target, METHOD, TARGET, bearer(world.token(world.root))))
        assert answer.one("X-User-ID") is None
        assert b"X-Original-URI" not in upstream.seen
