"""Revocation, recovery and flood benchmarks of ``bench.identity``, over sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

import asyncpg

from bench.callers import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.callers import Site
    from gateway.dev.postgres import EmbeddedPostgres

PATH: Final = "/api/contacts"
KEYS_PATH: Final = "/api/api-keys"
KNOWN_RATE: Final = 200
FLOOD_RATE: Final = 500
FLOOD_ROUNDS: Final = 7
GIVE_UP_SECONDS: Final = 5


@dataclass(frozen=True)
class Kind:
    """Kind of revocation: the statement that revokes, the one that undoes it, and the status expected after it."""

    name: str
    credential: str
    take: str
    give: str
    path: str = PATH
    refused: int = 401


_MEMBERSHIP: Final = "user_id = (SELECT id FROM users WHERE email = 'guest@example.com') AND NOT is_default"
_GRANT: Final = (
    "SELECT r.id, p.id FROM custom_roles r, permissions p WHERE r.name = 'admin' AND p.resource = 'api_keys'"
)
KINDS: Final = (
    Kind(
        "key revoked", "key", "UPDATE api_keys SET is_active = false", "UPDATE api_keys SET is_active = true"
    ),
    Kind(
        "session ended",
        "session",
        "UPDATE gateway_sessions SET revoked_at = now()",
        "UPDATE gateway_sessions SET revoked_at = NULL",
    ),
    Kind(
        "user disabled",
        "guest",
        "UPDATE users SET is_active = false WHERE email = 'guest@example.com'",
        "UPDATE users SET is_active = true",
    ),
    Kind(
        "role stripped of a permission (403)",
        "admin",
        "DELETE FROM role_permissions WHERE permission_id IN (SELECT id FROM permissions WHERE resource = 'api_keys')",
        f"INSERT INTO role_permissions {_GRANT}",
        KEYS_PATH,
        403,
    ),
    Kind(
        "membership removed",
        "guest",
        f"UPDATE user_organizations SET deleted_at = now() WHERE {_MEMBERSHIP}",  # noqa: S608 -- a constant
        "UPDATE user_organizations SET deleted_at = NULL",
    ),
    Kind(
        "organization deleted",
        "guest",
        "UPDATE organizations SET deleted_at = now() WHERE name = 'Elsewhere'",
        "UPDATE organizations SET deleted_at = NULL",
    ),
)


async def trials(site: Site, addresses: list[tuple[str, int]], kind: Kind, times: int) -> list[float]:
    """Revoke `times` times; return the seconds from the end of each COMMIT until every gateway has refused."""
    connection = await asyncpg.connect(site.url)
    lines = [await Line.open(address) for address in addresses]
    credential = site.lines[kind.credential]
    taken = []
    for _ in range(times):
        await asyncio.gather(*(_until(line, kind.path, credential, 200) for line in lines))
        polling = [asyncio.ensure_future(_until(line, kind.path, credential, kind.refused)) for line in lines]
        await asyncio.sleep(0.005)  # requests are in flight while it happens
        await connection.execute(kind.take)
        committed = time.perf_counter()
        taken.append(max(0.0, max(await asyncio.gather(*polling)) - committed))
        await connection.execute(kind.give)
    for line in lines:
        line.close()
    await connection.close()
    return taken


async def _until(line: Line, path: str, credential: str, status: int) -> float:
    """Send requests until the answer has `status`; return the time at which it came."""
    begun = time.perf_counter()
    while await line.ask(path, credential) != status:
        if time.perf_counter() - begun > GIVE_UP_SECONDS:
            raise RuntimeError(f"no {status} within {GIVE_UP_SECONDS} s")
    return time.perf_counter()


async def recovery(
    server: EmbeddedPostgres, address: tuple[str, int], unknown_callers: Iterator[str], way: str
) -> float:
    """Stop or pause the database for a while; return the seconds from its return until a new caller is accepted."""
    if server.pid is None:
        raise RuntimeError("the server does not run")
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()  # noqa: ASYNC240 -- procfs
    pids = [server.pid, *map(int, children)]
    if way == "paused":
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
    else:
        server.stop()
    line = await Line.open(address)
    for _ in range(8):  # requests go on during the outage
        await line.ask(PATH, next(unknown_callers))
        await asyncio.sleep(0.5)
    if way == "paused":
        for pid in pids:
            with suppress(ProcessLookupError):  # processes that were about to end
                os.kill(pid, signal.SIGCONT)
    else:
        server.start()
    returned = time.perf_counter()
    known = await _until(line, PATH, next(unknown_callers), 200)
    line.close()
    return known - returned


async def flood(site: Site, address: tuple[str, int], seconds: float) -> list[str]:
    """Measure known callers at 200 requests a second, alone and beside 500 unknown keys a second, in alternation."""
    line = await Line.open(address)
    await line.ask(PATH, site.lines["key"])
    line.close()
    quiet, noisy = [], []
    refused = 0
    loop = asyncio.get_running_loop()
    # The flood runs in a process of its own: sending it must not delay the measurement.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as aside:
        for number in range(FLOOD_ROUNDS):
            quiet.append(_p99(await _known(site, address, seconds)))
            unknown_callers = loop.run_in_executor(aside, send_unknown_callers, address, seconds, number)
            noisy.append(_p99(await _known(site, address, seconds)))
            refused += await unknown_callers
    rate = refused / (FLOOD_ROUNDS * seconds)
    ratios = sorted(loud / still for loud, still in zip(noisy, quiet, strict=True))
    return [
        f"flood: {refused} unknown keys refused, {rate:.0f} a second, in {FLOOD_ROUNDS} rounds of {seconds:g} s",
        f"flood, p99 of the known: {median(quiet) * 1000:.2f} ms quiet, {median(noisy) * 1000:.2f} ms beside it",
        f"flood, ratio of the two: median {median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}",
    ]


def _p99(taken: list[float]) -> float:
    return quantiles(taken, n=100)[98]


async def _known(site: Site, address: tuple[str, int], seconds: float) -> list[float]:
    line = await Line.open(address)
    taken = []
    begun = time.perf_counter()
    for number in range(int(KNOWN_RATE * seconds)):
        await asyncio.sleep(begun + number / KNOWN_RATE - time.perf_counter())
        asked = time.perf_counter()
        if await line.ask(PATH, site.lines["key"]) != 200:  # noqa: PLR2004 -- RFC 9110 section 15.3.1
            raise RuntimeError("a known caller was refused")
        taken.append(time.perf_counter() - asked)
    line.close()
    return taken


def send_unknown_callers(address: tuple[str, int], seconds: float, number: int) -> int:
    """Run the flood in this process; return how many keys were refused."""
    return asyncio.run(_send_unknown(address, seconds, number))


async def _send_unknown(address: tuple[str, int], seconds: float, number: int) -> int:
    """Send well-formed keys that do not exist, over ten connections."""
    lines = [await Line.open(address) for _ in range(10)]
    begun = time.perf_counter()

    async def one(place: int, line: Line) -> int:
        refused = 0
        for step in range(int(FLOOD_RATE * seconds / 10)):
            await asyncio.sleep(begun + (step + place / 10) / (FLOOD_RATE / 10) - time.perf_counter())
            key = f"whm_{number:08x}{place:08x}{step:016x}"
            refused += await line.ask(PATH, f"X-API-Key: {key}") == 401  # noqa: PLR2004 -- RFC 9110 section 15.5.2
        return refused

    refused = sum(await asyncio.gather(*(one(place, line) for place, line in enumerate(lines))))
    for line in lines:
        line.close()
    return refused
