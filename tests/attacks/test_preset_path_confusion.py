"""The preset for Whatomate, asked in every spelling there is: no spelling of a protected endpoint is public."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import pytest

from config.route_plan import read_plan
from config.settings import Settings
from tests.support.calls import ask, bearer, is_refusal, request
from tests.support.peers import Client, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


ID = "6f2f0f0e-8a3c-4a56-9d5b-0f0f4a3c9e11"
AT_ONCE = 32


def endpoints() -> Iterator[tuple[str, str]]:
    """Method and path of every endpoint of the preset that asks for a credential."""
    plan = read_plan(Settings.model_validate({"preset": "whatomate", "upstream": {"url": "http://u"}}))
    assert plan is not None
    for route in plan.routes:
        if route.entry.auth == "required":
            for case in route.cases:
                places = count(1)
                path = "/" + "/".join(part or f"{ID[:-1]}{next(places)}" for part in case.path.segments)
                for method in case.methods or ("GET", "POST", "DELETE"):
                    yield method, f"{path}/below" if case.path.below else path


PROTECTED = sorted(set(endpoints()))


def ambiguous(path: str) -> Iterator[str]:
    """Spellings of which one server reads `path`, and another something else."""
    head, _, tail = path[1:].partition("/")
    rest = f"/{tail}" if tail else ""
    for opened in ("/health", "/assets", "/api/webhook", "/api/auth/sso", "/api/custom-actions/redirect/x"):
        for up in ("..", "%2e%2e", ".%2E", "%252e%252e"):
            yield opened + f"/{up}" * opened.count("/") + path
        yield f"{opened}/..;{path}"
        yield f"{opened}%2f..{path}"
        yield f"{opened}\\..{path}"
        yield f"{opened}%00{path}"
        yield f"{opened}#{path}"
        yield f"{opened}%23{path}"
        yield f"{opened}%3f{path}"
        yield f"{opened};{path}"
        yield f"{opened}/{path}"
    yield from (
        f"/{path}",
        f"//{path}",
        f"/.{path}",
        f"/%2e{path}",
        f"/%2f{path[1:]}",
        f"/%5c{path[1:]}",
        f"/\\{path[1:]}",
    )
    yield from (
        f"/{head}%2f{tail}",
        f"/{head}%5c{tail}",
        f"/{head}//{tail}",
        f"/{head}/./{tail}",
        f"/{head};x{rest}",
    )
    yield from (f"/{head}%252f{tail}", f"/{head}%00{rest}", f"/{head}%{rest}", f"/{head}%u002f{tail}")
    yield from (
        f"{path}/..",
        f"{path}/.",
        f"{path};.js",
        f"{path}%3b.js",
        f"{path}%00.js",
        f"{path}%0a",
        f"{path}%23.js",
    )
    yield from (f"{path}/%2e%2e/%2e%2e/health", f"{path}//", f"{path}\\", f"{path}#/health", f"{path}%2f")
    yield from (f"http://gateway.test/{path}", f"http://other.test{path}", f"http://u@gateway.test{path}")
    yield f"http://gateway.test/health/..{path}"


def spelt(path: str) -> Iterator[str]:
    """Spellings that every server reads as `path`, or as it without regard to case."""
    yield from (path, path.upper(), path.title(), path.swapcase())
    yield "/" + "".join(f"%{ord(letter):02x}" if letter.isalpha() else letter for letter in path[1:])
    yield f"/%{ord(path[1]):02X}{path[2:]}"
    yield f"/%{ord(path[1].upper()):02x}{path[2:]}"
    yield from (f"{path}?", f"{path}?/health", f"{path}?x=/api/webhook#"[:-1], f"http://gateway.test{path}")
    yield from (f"{path}/", f"{path.upper()}/", f"{path}/health")
    if path.startswith("/api/"):  # /ws.js is a file of the frontend
        yield from (f"{path}.js", f"{path}%20")


async def asked(gate: Gateway, asks: list[tuple[str, str]], *lines: str) -> list[tuple[str, str, Message]]:
    """Ask all, a few at once, each on a connection of its own."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(method: str, target: str) -> tuple[str, str, Message]:
        async with room, Client(gate.address) as client:
            return method, target, await client.exchange(request(method, target, *lines))

    return await asyncio.gather(*(one(method, target) for method, target in asks))


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    return await start(world.url, preset="whatomate", timeout={"drain_seconds": 0.1})


def test_the_preset_protects_endpoints_to_ask_for() -> None:
    assert len(PROTECTED) > 150
    assert ("GET", "/api/users") in PROTECTED
    assert ("GET", "/ws") in PROTECTED


async def test_a_spelling_with_two_readings_reaches_nobody(gate: Gateway, upstream: Upstream) -> None:
    # The refusal looks at the target alone: one method for each path is enough.
    paths = {path: method for method, path in PROTECTED}
    # A tag's name may hold an encoded ; or #: one reading, and one that asks for the same permission
    names = {
        f"{path}{more}" for path in paths if path.startswith("/api/tags/") for more in ("%3b.js", "%23.js")
    }
    asks = [(method, target) for path, method in paths.items() for target in ambiguous(path)]
    asks = [(method, target) for method, target in asks if target not in names]
    assert len(asks) > 7000
    for method, target, answer in await asked(gate, asks):
        assert answer.status == 400, (method, target, answer.start)
    assert upstream.seen == b""


async def test_a_spelling_with_two_readings_reaches_nobody_with_every_right(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    asks = [("GET", target) for target in ambiguous("/api/users")]
    for method, target, answer in await asked(gate, asks, bearer(world.token(world.root))):
        assert answer.status == 400, (method, target, answer.start)
    assert upstream.seen == b""


async def test_no_spelling_with_one_reading_is_public(gate: Gateway, upstream: Upstream) -> None:
    asks = [(method, target) for method, path in PROTECTED for target in spelt(path)]
    opened = [
        (method, target, answer.start)
        for method, target, answer in await asked(gate, asks)
        if answer.status
        not in {401, 404, 405}  # the last two: what the gateway hosts, in another case or method
    ]
    assert opened == []
    assert upstream.seen == b""


async def test_no_spelling_with_one_reading_is_open_to_a_role_without_the_permission(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    token = bearer(world.token(world.agent))
    asks = [(method, target) for method in ("GET", "POST", "DELETE") for target in spelt("/api/users")]
    for method, target, answer in await asked(gate, asks, token):
        assert answer.status == 403, (method, target, answer.start)
    assert upstream.seen == b""


async def test_the_same_requests_pass_for_who_may(gate: Gateway, world: World, upstream: Upstream) -> None:
    """Or nothing of the above would mean anything."""
    root = bearer(world.token(world.root))
    table = gate.routing.table  # what the gateway answers itself never comes to the upstream
    forwarded = [
        (method, path)
        for method, path in PROTECTED
        if not table.match(method.encode(), path, preflight=False).internal
    ]
    assert len(forwarded) > 150
    for method, target, answer in await asked(gate, forwarded, root):
        assert answer.status == 200, (method, target, answer.start)
    assert len(upstream.requests) == len(forwarded)
    is_refusal(await ask(gate, request("GET", "/api/users")), 401)
