"""Services of every framework behind a real gateway that signs: they know its requests from all others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from authcore.crypto.pem import generate_pem, parse_pem
from tests.backends.services import KEY_SET, PACKAGES, go, node_command, python_command, run_in, serving
from tests.support.calls import ask, bearer, get, request
from tests.support.peers import Client
from tests.support.ports import free_port
from tests.support.programs import program

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World

NAME = "Zoë Ångström 李"
AUDIENCE = "upstream"


@pytest.fixture(scope="module", params=["starlette", "flask", "aiohttp", "express", "go"])
def command(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, compiled: Path
) -> list[str]:
    """Return the command that runs a service; a service that has to be built is built once."""
    if request.param == "express":
        return node_command(tmp_path_factory.mktemp("express"))
    if request.param == "go":
        go(compiled, "build", "-o", str(compiled / "service"), "./examples/service")
        return [str(compiled / "service")]
    return python_command(request.param)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what Go compiles."""
    return tmp_path_factory.mktemp("go")


def test_the_package_in_go_takes_and_refuses_what_all_do(compiled: Path) -> None:
    go(compiled, "test", "-vet=off", "./...")


def test_the_package_in_node_takes_and_refuses_what_all_do() -> None:
    tests = sorted(str(path) for path in (PACKAGES / "node" / "test").glob("*.test.js"))
    assert len(tests) == 2
    run_in(PACKAGES / "node", program("node"), "--test", *tests)


def signed(key: bytes, *published: bytes) -> dict[str, Any]:
    values = {"identity": "EdDSA", "key": key.decode()}
    if published:
        values["published_keys"] = "".join(public_pem(one) for one in published)
    return {"signed": values}


def public_pem(private: bytes) -> str:
    pem: bytes = parse_pem(private).jwk.key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


def url_of(gate: Gateway) -> str:
    return f"http://127.0.0.1:{gate.address[1]}{KEY_SET}"


async def direct(address: tuple[str, int], raw: bytes) -> Message:
    async with Client(address) as client:
        return await client.exchange(raw)


async def test_a_service_knows_whom_the_gateway_sends_and_is_fooled_by_nobody_else(
    world: World, start: Start, upstream: Upstream, command: list[str]
) -> None:
    await world.sql("UPDATE users SET full_name = $1 WHERE id = $2", NAME, world.agent)
    now, after, stranger = (generate_pem("EdDSA") for _ in range(3))
    port = free_port()
    here: dict[str, Any] = {"upstream": {"url": f"http://127.0.0.1:{port}"}}
    gate = await start(world.url, **here, **signed(now, after))
    rotated = await start(world.url, **here, **signed(after))
    foreign = await start(world.url, **here, **signed(stranger))
    spy = await start(world.url, **signed(now))
    credential = bearer(world.token(world.agent))
    await ask(spy, get("/api/contacts", credential))
    seen = upstream.requests[-1]
    token, permissions = seen.one("X-Identity"), seen.one("X-User-Permissions")
    assert token is not None
    identity, listed = f"X-Identity: {token}", f"X-User-Permissions: {permissions}"
    lies = [line for line in seen.lines if line[0].lower().startswith((b"x-user-", b"x-org-"))]
    plain = [f"{name.decode()}: {value.decode()}" for name, value in lies]

    async with serving(command, port, url_of(gate), AUDIENCE) as address:
        for by in (gate, rotated):  # by the key that signs, and by the one that is published before it does
            for raw in (
                get("/api/contacts?page=2", credential, "X-User-Name: Mallory"),
                request("DELETE", "/api/caf%C3%A9/a%20b", credential, "X-Identity: forged"),
            ):
                answer = await ask(by, raw)
                assert answer.status == 200, answer.body
                read = json.loads(answer.body)
                assert read == {"user": str(world.agent), "name": NAME, "plain": NAME, "may": True}
        refused = await ask(foreign, get("/api/contacts", credential))
        assert (refused.status, b"no key" in refused.body) == (401, True)
        # Nobody is proved: nobody is signed for.
        assert (await ask(gate, get("/assets/app.js"))).status == 401

        assert (await direct(address, get("/api/contacts", identity, listed))).status == 200
        for raw in (
            get("/api/contacts", *plain),
            get("/api/contacts", identity, identity, listed),
            get("/api/contacts/1", identity, listed),
            get("/api/contacts%3F", identity, listed),
            request("DELETE", "/api/contacts", identity, listed),
            get("/api/contacts", identity, f"{listed},users:write"),
            get("/api/contacts", identity, listed, listed),
            get("/api/contacts", f"{identity[:-8]}AAAAAAAA", listed),
            get("/api/contacts", f"X-Identity: {world.token(world.agent)}", listed),
        ):
            answer = await direct(address, raw)
            assert answer.status == 401, raw
            assert json.loads(answer.body)["status"] == "error"
        answer = await direct(address, get("/healthz", *plain))
        assert json.loads(answer.body) == {"user": None, "name": None, "plain": "", "may": False}


async def test_a_service_that_cannot_fetch_the_keys_answers_503_and_not_401(
    world: World, start: Start, command: list[str]
) -> None:
    port = free_port()
    gate = await start(
        world.url, upstream={"url": f"http://127.0.0.1:{port}"}, **signed(generate_pem("EdDSA"))
    )
    async with serving(command, port, f"http://127.0.0.1:{free_port()}{KEY_SET}", AUDIENCE):
        answer = await ask(gate, get("/api/contacts", bearer(world.token(world.agent))))
        assert answer.status == 503
        assert answer.one("Retry-After") is not None
        assert (await ask(gate, get("/assets/app.js"))).status == 401


async def test_the_keys_of_identities_are_published_apart_from_those_of_tokens(
    world: World, start: Start
) -> None:
    now, after = generate_pem("EdDSA"), generate_pem("EdDSA")
    gate = await start(world.url, **signed(now, after, now))
    answer = await ask(gate, get(KEY_SET))
    assert answer.status == 200
    assert [key["kid"] for key in json.loads(answer.body)["keys"]] == [
        parse_pem(now).kid,
        parse_pem(after).kid,
    ]
    assert b'"d"' not in answer.body
    assert json.loads((await ask(gate, get("/.well-known/jwks.json"))).body) == {"keys": []}


async def test_without_public_keys_no_set_of_them_is_hosted(
    world: World, start: Start, upstream: Upstream
) -> None:
    secret = {"signed": {"identity": "HS256", "key": "a-secret-of-the-identities-and-of-nobody-else"}}
    for groups in ({}, secret):
        gate = await start(world.url, **groups)
        await ask(gate, get(KEY_SET))
        assert upstream.requests[-1].start.startswith(b"GET " + KEY_SET.encode())
