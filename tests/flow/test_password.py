"""Changing one's own password."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tests.support.calls import ask, bearer, get, granted, is_refusal, post, request, whatomate_token
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


NEW = "a newer and longer password"


def login(password: str = PASSWORD, email: str = "agent@example.com", *lines: str) -> bytes:
    return post("/api/auth/login", {"email": email, "password": password}, *lines)


def change(
    line: str, current: str = PASSWORD, new: str = NEW, *more: str, path: str = "/api/auth/password"
) -> bytes:
    body = json.dumps({"current_password": current, "new_password": new}).encode()
    return request("PUT", path, "Content-Type: application/json", line, *more, body=body)


async def test_the_password_is_changed_and_every_other_session_ended(gate: Gateway, world: World) -> None:
    here, there = await granted(gate, login()), await granted(gate, login())
    stranger = await granted(gate, login(email="both@example.com"))
    for pair in (here, there):  # known to the gateway, that is in its memory
        assert (await ask(gate, get("/api/contacts", bearer(pair["access_token"])))).status == 200
    answer = await granted(gate, change(bearer(here["access_token"])))
    assert answer == {"message": "Password changed successfully"}

    assert (await ask(gate, get("/api/contacts", bearer(here["access_token"])))).status == 200
    assert (await ask(gate, get("/api/contacts", bearer(stranger["access_token"])))).status == 200
    is_refusal(
        await ask(gate, get("/api/contacts", bearer(there["access_token"]))), 401, "Invalid or expired token"
    )
    is_refusal(await ask(gate, post("/api/auth/refresh", {"refresh_token": there["refresh_token"]})), 401)
    await granted(gate, post("/api/auth/refresh", {"refresh_token": here["refresh_token"]}))
    is_refusal(await ask(gate, login()), 401, "Invalid credentials")
    await granted(gate, login(NEW))
    stored = (await world.sql("SELECT password_hash FROM users WHERE id = $1", world.agent))[0][
        "password_hash"
    ]
    assert stored.startswith("$2a$04$")
    assert bcrypt.checkpw(NEW.encode(), stored.encode())


async def test_whatomates_own_path_changes_it_and_the_session_that_asked_goes_on(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    here, there = await granted(gate, login()), await granted(gate, login())
    wrong = change(bearer(here["access_token"]), "another one", path="/api/me/password")
    is_refusal(await ask(gate, wrong), 400, "Current password is incorrect")
    changed = change(bearer(here["access_token"]), path="/api/me/password")
    assert await granted(gate, changed) == {"message": "Password changed successfully"}
    assert (await ask(gate, get("/api/contacts", bearer(here["access_token"])))).status == 200
    assert (await ask(gate, get("/api/contacts", bearer(there["access_token"])))).status == 401
    await granted(gate, post("/api/auth/refresh", {"refresh_token": here["refresh_token"]}))
    by_key = change(f"X-API-Key: {world.api_key}", path="/api/me/password")
    assert (await ask(gate, by_key)).status == 403
    assert not any(b"password" in request.start for request in upstream.requests)


@pytest.mark.parametrize("preset", ["none", "whatomate"])
async def test_whatomates_own_path_can_be_left_to_whatomate(
    world: World, start: Start, upstream: Upstream, preset: str
) -> None:
    gate = await start(world.url, password={"hosted": False}, preset=preset)
    here = await granted(gate, login())
    await ask(gate, change(bearer(here["access_token"]), path="/api/me/password"))
    assert upstream.requests[0].start == b"PUT /api/me/password HTTP/1.1"


async def test_the_current_password_is_asked_for_and_failures_are_counted(world: World, start: Start) -> None:
    gate = await start(world.url, signin={"free_failures": 3, "delay_seconds": 600, "delay_max_seconds": 600})
    tokens = [(await granted(gate, login()))["access_token"] for _ in range(4)]
    for token in tokens[:3]:
        is_refusal(await ask(gate, change(bearer(token), "a guess")), 403, "Current password is incorrect")
    is_refusal(await ask(gate, change(bearer(tokens[3]), PASSWORD)), 429)
    await granted(gate, login())  # a thief of a session shuts nobody out of signing in


async def test_a_user_with_a_session_changes_the_password_though_others_guess_at_it(
    world: World, start: Start
) -> None:
    gate = await start(
        world.url,
        signin={"free_failures": 3, "delay_seconds": 600, "delay_max_seconds": 600},
        trusted_proxies=["127.0.0.1/32"],
    )
    pair = await granted(gate, login())
    for _ in range(4):
        await ask(gate, login("x", "agent@example.com", "X-Forwarded-For: 198.51.100.1"))
    away = "X-Forwarded-For: 198.51.100.2"
    is_refusal(await ask(gate, login(PASSWORD, "agent@example.com", away)), 429)
    await granted(gate, change(bearer(pair["access_token"]), PASSWORD, NEW, away))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("short", "Password must be at least 8 characters"),
        ("é" * 37, "Password must be at most 72 bytes"),
        ("", "new_password is required"),
    ],
)
async def test_a_new_password_keeps_the_rules(gate: Gateway, world: World, new: str, message: str) -> None:
    is_refusal(await ask(gate, change(bearer(world.token(world.agent)), new=new)), 400, message)


async def test_an_api_key_changes_no_password(gate: Gateway, world: World) -> None:
    is_refusal(
        await ask(gate, change(f"X-API-Key: {world.api_key}")),
        403,
        "Not available with this credential (api_key)",
    )
    is_refusal(await ask(gate, change("X-Nothing: here")), 401, "Missing authorization")


async def test_a_user_of_single_sign_on_has_no_password_to_change_and_is_told_so(
    gate: Gateway, world: World
) -> None:
    for empty in ("", None):
        await world.sql("UPDATE users SET password_hash = $1 WHERE id = $2", empty, world.agent)
        is_refusal(
            await ask(gate, change(bearer(world.token(world.agent)))),
            409,
            "This account has no password: it signs in with single sign-on",
        )


async def test_a_token_of_whatomates_changes_it_and_ends_every_session(gate: Gateway, world: World) -> None:
    pair = await granted(gate, login())
    await granted(gate, change(bearer(whatomate_token(world.agent, world.home))))
    is_refusal(await ask(gate, get("/api/contacts", bearer(pair["access_token"]))), 401)


async def test_of_two_changes_at_once_one_holds(gate: Gateway, world: World) -> None:
    token = bearer((await granted(gate, login()))["access_token"])
    answers = await asyncio.gather(*(ask(gate, change(token, new=f"{NEW} {number}")) for number in range(2)))
    assert sorted(answer.status for answer in answers) == [200, 403]
    winner = next(number for number, answer in enumerate(answers) if answer.status == 200)
    await granted(gate, login(f"{NEW} {winner}"))
