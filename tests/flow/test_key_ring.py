"""Keys over the wire: published, rotated while the gateway runs, withdrawn."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from prometheus_client.parser import text_string_to_metric_families

from authcore.crypto.pem import generate_pem, parse_pem
from tests.support.accounts import new_invitation, sign_in
from tests.support.calls import ask, bearer, get, granted, is_refusal, post
from tests.support.peers import PATIENCE, Client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.app import Gateway
    from tests.support.worlds import Start, World


JWKS = "/.well-known/jwks.json"
PAGE = Path(__file__).parents[2] / "docs" / "keys.md"


def write(directory: Path, name: str, algorithm: str = "EdDSA") -> str:
    pem = generate_pem(algorithm)
    (directory / name).write_bytes(pem)
    return str(parse_pem(pem).kid)


async def published(gateway: Gateway) -> list[Any]:
    keys = (await ask(gateway, get(JWKS))).json()["keys"]
    assert isinstance(keys, list)
    return keys


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await what():
            await asyncio.sleep(0.02)


async def test_secrets_alone_publish_an_empty_set(client: Client) -> None:
    answer = await client.exchange(get(JWKS))
    assert (answer.status, answer.json()) == (200, {"keys": []})
    assert answer.one("Cache-Control") == "public, max-age=300"
    assert answer.one("Content-Type") == "application/json"
    answer = await client.exchange(get(JWKS.upper()))
    assert answer.status == 404
    is_refusal(await client.exchange(post(JWKS, {})), 405)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_anybody_can_verify_what_the_gateway_signs(
    world: World, start: Start, tmp_path: Path, algorithm: str
) -> None:
    (tmp_path / "signing").write_text(write(tmp_path, "a.pem", algorithm))
    gate = await start(world.url, jwt={"keys_dir": tmp_path})
    tokens = await sign_in(gate)
    key = jwt.PyJWKSet.from_dict((await ask(gate, get(JWKS))).json()).keys[0]
    claims = jwt.decode(tokens["access_token"], key, algorithms=[algorithm], issuer="whatomate")
    assert claims["user_id"] == str(world.agent)
    assert (await ask(gate, get("/api/x", bearer(tokens["access_token"])))).status == 200
    # The secret's, too.
    assert (await ask(gate, get("/api/x", bearer(world.token(world.agent))))).status == 200
    refreshed = await granted(gate, post("/api/auth/refresh", {"refresh_token": tokens["refresh_token"]}))
    assert jwt.get_unverified_header(refreshed["access_token"])["alg"] == algorithm


async def test_a_service_that_does_as_the_page_says_takes_access_tokens_alone(
    world: World, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sample,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "signing").write_text(write(tmp_path, "a.pem"))
    gate = await start(world.url, jwt={"keys_dir": tmp_path})
    tokens = await sign_in(gate)
    ticket = await granted(gate, get("/api/auth/ws-token", bearer(tokens["access_token"])))
    key_set = (await ask(gate, get(JWKS))).json()
    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", lambda _: key_set)
    names: dict[str, Any] = {"jwt": jwt}
    exec(sample, names)  # noqa: S102 -- the lines of our own page, as a reader would run them
    caller_of = names["caller_of"]
    assert caller_of(tokens["access_token"])["user_id"] == str(world.agent)
    for token in (tokens["refresh_token"], ticket["token"], await new_invitation(gate, world)):
        with pytest.raises(jwt.InvalidTokenError):
            caller_of(token)
    # A token of Whatomate's founds one here that belongs to no session.
    home = {"organization_id": str(world.home)}
    switched = await granted(gate, post("/api/auth/switch-org", home, bearer(world.token(world.agent))))
    assert caller_of(switched["access_token"])["organization_id"] == str(world.home)


async def test_keys_change_while_it_runs_and_no_live_token_is_refused(
    world: World, start: Start, tmp_path: Path
) -> None:
    first = write(tmp_path, "a.pem")
    (tmp_path / "signing").write_text(first)
    gate = await start(world.url, jwt={"keys_dir": tmp_path, "keys_poll_seconds": 0.05})
    old = await sign_in(gate)
    second = write(tmp_path, "b.pem", "ES256")

    async def is_published(kid: str) -> bool:
        return kid in [key["kid"] for key in await published(gate)]

    await until(lambda: is_published(second))
    assert jwt.get_unverified_header((await sign_in(gate))["access_token"])["kid"] == first
    (tmp_path / "signing").write_text(second)
    (tmp_path / "a.pem").unlink()

    async def signs(kid: str) -> bool:
        return bool(jwt.get_unverified_header((await sign_in(gate))["access_token"])["kid"] == kid)

    await until(lambda: signs(second))
    assert (await ask(gate, get("/api/x", bearer(old["access_token"])))).status == 200
    await granted(gate, post("/api/auth/refresh", {"refresh_token": old["refresh_token"]}))
    assert await is_published(first)


async def test_a_revoked_key_forgets_whom_it_had_proved(world: World, start: Start, tmp_path: Path) -> None:
    first, second = write(tmp_path, "a.pem"), write(tmp_path, "b.pem")
    (tmp_path / "signing").write_text(first)
    gate = await start(world.url, jwt={"keys_dir": tmp_path, "keys_poll_seconds": 0.05})
    raw = get("/api/x", bearer((await sign_in(gate))["access_token"]))
    assert (await ask(gate, raw)).status == 200  # and is remembered from here
    (tmp_path / "revoked").write_text(first)
    (tmp_path / "signing").write_text(second)

    async def is_refused() -> bool:
        return (await ask(gate, raw)).status == 401

    await until(is_refused)
    is_refusal(await ask(gate, raw), 401, "Invalid or expired token")


async def test_a_bad_file_changes_nothing_and_is_told(
    world: World, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "signing").write_text(write(tmp_path, "a.pem"))
    gate = await start(world.url, jwt={"keys_dir": tmp_path, "keys_poll_seconds": 0.05})
    before = await published(gate)
    (tmp_path / "b.pem").write_text("hunter2")

    async def metrics() -> dict[str, float]:
        page = (await ask_admin(gate, "/metrics")).decode()
        samples = [one for family in text_string_to_metric_families(page) for one in family.samples]
        return {one.name: one.value for one in samples if one.name.startswith("gateway_key_ring_")}

    async def is_told() -> bool:
        return (await metrics())["gateway_key_ring_outdated"] == 1

    await until(is_told)
    assert (await metrics())["gateway_key_ring_reload_failures_total"] == 1
    assert await published(gate) == before
    await sign_in(gate)
    (tmp_path / "b.pem").unlink()

    async def is_mended() -> bool:
        return not await is_told()

    await until(is_mended)
    said = capsys.readouterr().out
    assert "keys_not_taken" in said
    assert "b.pem" in said
    assert "hunter2" not in said


async def ask_admin(gateway: Gateway, path: str) -> bytes:
    async with Client(gateway.admin_address) as client:
        return (await client.exchange(get(path))).body
