"""Faults of a database: each is made for a few seconds, and afterwards all is as before."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from random import Random

    from tests.soak.site import Site

    Fault = Callable[[Site, Random, float], Awaitable[None]]

OWN = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'whatomate-gateway%'"
)
STREAMING = """
SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_lsn() - 1048576
"""
CATCHING_UP_SECONDS = 30
BACK_SECONDS = 30


async def restart(site: Site, random: Random, seconds: float) -> None:
    """In order, or by a crash; and it is away for a while."""
    await asyncio.to_thread(site.primary.stop, random.choice([signal.SIGINT, signal.SIGQUIT]))
    await asyncio.sleep(seconds / 2)
    await asyncio.to_thread(site.primary.start)


async def promotion(site: Site, random: Random, seconds: float) -> None:
    """The standby becomes the primary; the old one is back as a standby before the address leaves it."""
    async with asyncio.timeout(CATCHING_UP_SECONDS):
        while (await site.sql(STREAMING))[0][0] == 0:
            await asyncio.sleep(0.1)
    old, new = site.primary, site.standby
    await asyncio.to_thread(old.stop)
    await asyncio.to_thread(new.promote)
    site.primary, site.standby = new, old
    old.demote(new)
    await asyncio.to_thread(old.start)
    await asyncio.sleep(random.uniform(0, seconds / 2))
    site.address.move(new.path)


async def cut(site: Site, _random: Random, seconds: float) -> None:
    """Connections end, and new ones are refused."""
    site.address.move("/nowhere")
    site.address.cut()
    await asyncio.sleep(seconds)
    site.address.move(site.primary.path)


async def silence(site: Site, _random: Random, seconds: float) -> None:
    """Connections stay, and nothing arrives; what was sent meanwhile arrives afterwards."""
    site.address.hold()
    await asyncio.sleep(seconds)
    site.address.go_on()


async def slowness(site: Site, random: Random, seconds: float) -> None:
    """Slow the database: everything takes longer."""
    site.address.delay = random.uniform(0.02, 0.2)
    await asyncio.sleep(seconds)
    site.address.delay = 0.0


async def refusal(site: Site, _random: Random, seconds: float) -> None:
    """Transactions are read-only."""
    await site.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    await site.sql("SELECT pg_reload_conf()")
    await asyncio.sleep(seconds)
    await site.sql("ALTER SYSTEM RESET default_transaction_read_only")
    await site.sql("SELECT pg_reload_conf()")


async def killing(site: Site, random: Random, seconds: float) -> None:
    """Connections are ended by an administrator, again and again; seldom enough for new ones to be opened meanwhile."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await site.sql(OWN)
        await asyncio.sleep(random.uniform(0.7, 1.5))


async def fullness(site: Site, _random: Random, seconds: float) -> None:
    """The disk is full, and a table cannot grow."""
    disk = site.disks[site.primary]
    await asyncio.to_thread(disk.fill)
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.to_thread(disk.empty)


FAULTS: dict[str, Fault] = {
    "restarted": restart,
    "promoted": promotion,
    "cut off": cut,
    "silent": silence,
    "slow": slowness,
    "read-only": refusal,
    "connections killed": killing,
    "disk full": fullness,
}


def possible(site: Site) -> list[str]:
    """Return the faults that can be made here."""
    return [name for name in FAULTS if name != "disk full" or len(site.disks) == 2]


def schedule(names: list[str], random: Random) -> Iterator[str]:
    """Yield faults without end: all of them in some order, and again in another; `random` decides."""
    while True:
        yield from random.sample(names, len(names))


async def is_back(site: Site) -> bool:
    """Return whether sign-in works, and changes are heard."""
    status, _ = await site.sign_in(site.people[0])
    _, told = await site.ask("GET", "/readyz", admin=True)
    return status == 200 and bool(told) and told["revocation"]["changes"] == "pushed"


async def recovered(site: Site) -> float | None:
    """Wait until all is as before; return after how many seconds it was, None when it never was."""
    begun = time.monotonic()
    while time.monotonic() - begun < BACK_SECONDS:
        if await is_back(site):
            return time.monotonic() - begun
        await asyncio.sleep(0.05)
    return None
