"""Visitors of a soak: people never seen before, bodies, refusals, slow clients and those that go in the middle.

What a gateway keeps by path, by caller, by credential or by connection would grow with them.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from authcore.crypto.keyring import KeyRing
from authcore.tokens.issuer import Tokens
from tests.soak.callers import PATH, PAUSE, USER
from tests.soak.site import LARGE_BYTES, LARGE_PATH, SECRET

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from random import Random
    from uuid import UUID

    from tests.soak.promises import Ledger
    from tests.soak.site import Person, Site

STRANGERS = 5_000
NEW = """
WITH made AS (
    INSERT INTO users (organization_id, email, full_name, role_id, is_active)
    SELECT organization_id, 'stranger' || n || '@example.com', 'Stranger ' || n, role_id, true
    FROM users, generate_series(1, $2) n WHERE users.id = $1
    RETURNING id, organization_id, role_id
), joined AS (
    INSERT INTO user_organizations (user_id, organization_id, role_id, is_default)
    SELECT id, organization_id, role_id, true FROM made
)
SELECT id, organization_id FROM made
"""
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
    "curl/8.5.0",
    "python-requests/2.32",
    "Go-http-client/1.1",
)
REFUSED: tuple[dict[str, str], ...] = (
    {"Authorization": "Bearer a.b.c"},
    {"Authorization": "Basic YTpi"},
    {},
    {"Cookie": "whm_access=nothing"},
)
READ_BYTES = 16_384


async def strangers(site: Site, person: Person) -> list[tuple[UUID, UUID]]:
    """Add users with the rights of `person`; return them with their organization."""
    return [(row["id"], row["organization_id"]) for row in await site.sql(NEW, person.id, STRANGERS)]


def visits(
    site: Site, ledger: Ledger, random: Random, crowd: list[tuple[UUID, UUID]], known: list[Person]
) -> list[Coroutine[Any, Any, None]]:
    """Every visitor; two of the `known` post."""
    return [
        *(new_people(site, ledger, random, crowd) for _ in range(3)),
        *(posting(site, ledger, random, person) for person in known),
        *(refused(site, ledger, random) for _ in range(2)),
        *(slow(site, ledger, random, known[0]) for _ in range(3)),
        *(leaving(site, ledger, random, known[0]) for _ in range(2)),
        taken_away(site, random, crowd),
    ]


async def new_people(site: Site, ledger: Ledger, random: Random, crowd: list[tuple[UUID, UUID]]) -> None:
    """Call with a token that was never used before, on a path that was never asked for before."""
    tokens = Tokens(
        KeyRing(SECRET.encode()),
        issuer="whatomate",
        leeway_seconds=0,
        access_seconds=3600,
        refresh_seconds=7200,
    )
    while True:
        user, organization = random.choice(crowd)
        token = tokens.issue_access(
            user_id=user,
            organization_id=organization,
            email=f"{random.getrandbits(40):x}@example.com",
            role_id=None,
            is_super_admin=False,
            now=time.time() - 1,
        )
        for _ in range(random.randint(1, 4)):
            path = f"{PATH}/{random.getrandbits(64):x}?page={random.getrandbits(20)}"
            headers = {
                "User-Agent": random.choice(AGENTS),
                f"X-Trace-{random.getrandbits(12)}": f"{random.random()}",
            }
            status, _ = await site.ask("GET", path, token, headers=headers)
            # One of the crowd may be switched off at the moment.
            ledger.visitor("new people", status, {200, 401, 503})
            await asyncio.sleep(PAUSE)


async def posting(site: Site, ledger: Ledger, random: Random, person: Person) -> None:
    """Send bodies of all sizes, and be answered with as many bytes."""
    while True:
        body = random.choice("abc") * random.choice((0, 10, 2_000, 70_000, 300_000))
        status, told = await site.ask("POST", PATH, person.token, {"text": body})
        ledger.visitor("bodies", status, {200})
        if status == 200 and told["bytes"] < len(body):
            ledger.breaks("a body arrives whole", f"{told['bytes']} of {len(body)} bytes")
        await asyncio.sleep(PAUSE)


async def refused(site: Site, ledger: Ledger, random: Random) -> None:
    """Ask for what nobody may have, by credentials that are none."""
    while True:
        headers = random.choice(REFUSED)
        key = random.random() < 0.3
        if key:
            headers = {"X-API-Key": f"whm_{random.getrandbits(128):032x}"}
        path = f"{PATH}/{random.choice(['', 'a/../b', '%2e%2e/c', 'd//e'])}{random.getrandbits(32):x}"
        status, _ = await site.ask("GET", path, headers=headers)
        ledger.visitor("refused", status, {400, 401, 403, 404, 429, 503})
        await asyncio.sleep(PAUSE)


async def slow(site: Site, ledger: Ledger, random: Random, person: Person) -> None:
    """Send a head in pieces, and take a large answer in pieces, over connections of its own."""
    while True:
        reader, writer = await asyncio.open_connection(*site.gateway, limit=READ_BYTES)
        try:
            for _ in range(random.randint(1, 3)):
                head = _head(LARGE_PATH, person)
                for at in range(0, len(head), 100):
                    writer.write(head[at : at + 100])
                    await asyncio.sleep(0.02)
                answer = await reader.readuntil(b"\r\n\r\n")
                left = LARGE_BYTES
                while left and (piece := await reader.read(min(left, READ_BYTES))):
                    left -= len(piece)
                    await asyncio.sleep(0.05)
                ledger.visitor("slow", int(answer[9:12]), {200})
                if left:
                    ledger.breaks("a slow client gets all of it", f"{left} bytes were missing")
        finally:
            writer.transport.abort()


async def leaving(site: Site, ledger: Ledger, random: Random, person: Person) -> None:
    """Go away in the middle: of a head, of a body, before an answer, within one."""
    while True:
        _, writer = await asyncio.open_connection(*site.gateway, limit=READ_BYTES)
        head = _head(LARGE_PATH, person)
        body = b"POST /api/contacts HTTP/1.1\r\nHost: soak\r\nContent-Length: 1000\r\n\r\nhalf"
        writer.write(random.choice((head[:40], head[:-1], body, head, head * 3)))
        await asyncio.sleep(random.choice((0.0, 0.01, 0.1)))
        if random.random() < 0.5:
            writer.transport.abort()
        else:
            with suppress(ConnectionError):
                writer.close()
                await writer.wait_closed()
        ledger.statuses["left in the middle", 0] += 1
        await asyncio.sleep(PAUSE)


async def taken_away(site: Site, random: Random, crowd: list[tuple[UUID, UUID]]) -> None:
    """Switch one of the crowd off, and on again."""
    while True:
        user, _ = random.choice(crowd)
        await site.insist(USER.take, user)
        await asyncio.sleep(random.uniform(0, 1))
        await site.insist(USER.give, user)


def _head(path: str, person: Person) -> bytes:
    lines = f"GET {path} HTTP/1.1\r\nHost: soak\r\nAuthorization: Bearer {person.token}\r\n"
    return f"{lines}User-Agent: slow\r\nAccept: */*\r\n\r\n".encode()
