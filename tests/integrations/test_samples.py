"""The services of docs/samples, run for real behind a gateway that signs: they know its requests from all others."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authcore.principal import AuthMethod, Principal
from authcore.tokens.identity_signer import IdentitySigner
from tests.integrations.proxies import free_port
from tests.support.calls import ask, bearer, get, request
from tests.support.peers import Client, Upstream
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.peers import Message
    from tests.support.worlds import Start, World


ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "docs" / "samples"
STARTING_SECONDS = 60
BUILDING_SECONDS = 300


@dataclass
class Keys:
    """A key pair, in PEM."""

    private: str
    public: Path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    key = Ed25519PrivateKey.generate()
    public = tmp_path_factory.mktemp("keys") / "identity.pub.pem"
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Keys(private.decode(), public)


@pytest.fixture(scope="module", params=["go", "node"])
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How to run a sample; what has to be built is built once."""
    work = tmp_path_factory.mktemp("sample")
    if request.param == "node":
        return [program("node"), str(SAMPLES / "node" / "service.mjs")]
    environment = {
        **os.environ,
        "HOME": str(work),
        "GOCACHE": str(work / "cache"),
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
    }
    subprocess.run(
        [program("go"), "build", "-o", str(work / "service"), str(SAMPLES / "go" / "main.go")],
        check=True,
        env=environment,
        cwd=work,
        timeout=BUILDING_SECONDS,
    )
    return [str(work / "service")]


@asynccontextmanager
async def serving(command: list[str], keys: Keys) -> AsyncIterator[tuple[str, int]]:
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PUBLIC_KEY": str(keys.public), "ADDRESS": f"127.0.0.1:{port}"}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=keys.public.parent, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        for _ in range(STARTING_SECONDS * 10):
            with suppress(OSError):
                async with Client(("127.0.0.1", port)):
                    break
            assert process.returncode is None
            await asyncio.sleep(0.1)
        yield "127.0.0.1", port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def signed(keys: Keys) -> dict[str, Any]:
    return {"signed": {"identity": "EdDSA", "key": keys.private}}


async def direct(address: tuple[str, int], raw: bytes) -> Message:
    async with Client(address) as client:
        return await client.exchange(raw)


async def test_a_service_knows_what_the_gateway_sent(
    world: World, start: Start, command: list[str], keys: Keys
) -> None:
    async with serving(command, keys) as address:
        gate = await start(world.url, upstream={"url": f"http://127.0.0.1:{address[1]}"}, **signed(keys))
        for credential, user in (
            (bearer(world.token(world.agent)), world.agent),
            (bearer(world.token(world.root)), world.root),
            (f"X-API-Key: {world.api_key}", world.admin),
        ):
            for raw in (
                get("/api/contacts?page=2", credential),
                request(
                    "DELETE", "/api/caf%C3%A9/a%20b", credential, "X-Identity: forged", "X_Identity: forged"
                ),
            ):
                answer = await ask(gate, raw)
                assert answer.status == 200, answer.body
                assert json.loads(answer.body)["sub"] == str(user)
        assert (
            await ask(gate, get("/assets/app.js"))
        ).status == 401  # nobody is nobody: no identity to believe


async def test_a_service_is_not_fooled_by_a_neighbour(
    world: World, start: Start, command: list[str], keys: Keys
) -> None:
    """Somebody who reaches the service directly, with all that an upstream has ever seen."""
    async with Upstream() as neighbour:
        gate = await start(world.url, upstream={"url": f"http://127.0.0.1:{neighbour.port}"}, **signed(keys))
        await ask(gate, get("/api/contacts", bearer(world.token(world.agent))))
        (seen,) = neighbour.requests
    token, permissions = seen.one("X-Identity"), seen.one("X-User-Permissions")
    assert token is not None
    head, body, signature = token.split(".")
    identity, told = f"X-Identity: {token}", f"X-User-Permissions: {permissions}"
    lies = [
        f"{name.decode()}: {value.decode()}"
        for name, value in seen.lines
        if name.lower().startswith(b"x-user-")
    ]
    none = "eyJhbGciOiJub25lIiwidHlwIjoiaWRlbnRpdHkrand0In0"  # {"alg":"none","typ":"identity+jwt"}
    async with serving(command, keys) as address:
        assert (await direct(address, get("/api/contacts", identity, told))).status == 200
        assert (
            await direct(address, get("/api/contacts?x=1", identity, told))
        ).status == 200  # the query is not bound
        for raw in (
            get("/api/contacts", *lies),
            get("/api/contacts", "X-Identity:", told),
            get("/api/contacts", "X-Identity: x", told),
            get("/api/contacts", "X-Identity: a.b.c", told),
            get("/api/contacts", identity, identity, told),
            get("/api/contacts/1", identity, told),
            get("/api/Contacts", identity, told),
            get("/", identity, told),
            request("POST", "/api/contacts", identity, told),
            get("/api/contacts", identity),
            get("/api/contacts", identity, told + ",users:write"),
            get("/api/contacts", f"X-Identity: {none}.{body}.", told),
            get("/api/contacts", f"X-Identity: {none}.{body}.{signature}", told),
            get("/api/contacts", f"X-Identity: {head}.{body}.{signature[:-4]}AAAA", told),
            get("/api/contacts", f"X-Identity: {head}.{body}", told),
            get("/api/contacts", f"X-Identity: {world.token(world.agent)}", told),
        ):
            assert (await direct(address, raw)).status == 401, raw


async def test_a_service_refuses_what_is_old_for_another_or_by_another_key(
    world: World, command: list[str], keys: Keys
) -> None:
    now = time.time()  # the samples have no clock but the machine's
    principal = Principal(AuthMethod.JWT, world.agent, world.home, permissions=frozenset({"chat:read"}))
    other = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    def line(**changes: Any) -> str:
        made = {
            "key": keys.private.encode(),
            "issuer": "whatomate-gateway",
            "audience": "upstream",
            "now": now,
            **changes,
        }
        algorithm = made.get("algorithm", "EdDSA")
        signer = IdentitySigner(algorithm, made["key"], issuer=made["issuer"], seconds=60)
        token = signer.sign(principal, made["audience"], b"GET", "/api/x", b"request-1", made["now"])
        return f"X-Identity: {token.decode()}"

    async with serving(command, keys) as address:

        async def status(identity: str) -> int:
            return (await direct(address, get("/api/x", identity, "X-User-Permissions: chat:read"))).status

        assert await status(line()) == 200
        for changes in (
            {"now": now - 3600},
            {"now": now + 3600},
            {"audience": "billing"},
            {"issuer": "somebody"},
            {"key": other},
            {"algorithm": "HS256", "key": keys.public.read_bytes()},  # the public key as a secret
        ):
            assert await status(line(**changes)) == 401, changes
