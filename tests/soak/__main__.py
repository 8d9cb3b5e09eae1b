"""Soak: a gateway under load while its database is restarted, promoted, cut off and worse (``make soak``).

``python -m tests.soak [SECONDS [SEED]]``. The seed decides which fault comes when, and is printed, as is each fault.
The exit code is not zero when a law did not hold; `promises.py` and `callers.py` have the laws.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import click
import uvloop
from aiohttp import ClientError

from tests.soak import callers, faults, series, visitors
from tests.soak.measures import measure
from tests.soak.promises import Ledger, Promise
from tests.soak.report import MORE_DESCRIPTORS, verdict, written
from tests.soak.site import CACHE_SECONDS, STALE_SECONDS, Site, events, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from uuid import UUID

    from tests.soak.measures import Measure

DEFAULT_SECONDS = 3600
WARM_UP_SECONDS, SETTLE_SECONDS = 8.0, 3.0
END_SECONDS = 30
MOST_SECONDS = 300
"""The soak ends after twice its time and this, whatever hangs."""
REST_SECONDS = 75
"""Longer than any pool of the gateway's keeps a connection that rests, but that to its database."""
PEOPLE = 40


def load(
    site: Site, ledger: Ledger, random: Random, crowd: list[tuple[UUID, UUID]]
) -> list[Coroutine[Any, Any, None]]:
    """Return the work of all callers; no person has two parts."""
    people = iter(site.people[1:])
    parts = [callers.known(site, ledger, "known by token", next(people).token) for _ in range(6)]
    parts += [callers.known(site, ledger, "known by key", next(people).key) for _ in range(3)]
    parts += [callers.on_a_socket(site, ledger, next(people)) for _ in range(3)]
    parts += [callers.on_a_revoked_socket(site, ledger, random, next(people)) for _ in range(2)]
    parts += [callers.on_a_stream(site, ledger, next(people)) for _ in range(2)]
    parts += [callers.on_a_revoked_stream(site, ledger, random, next(people)) for _ in range(2)]
    parts += [callers.signing_in(site, ledger, random, next(people)) for _ in range(4)]
    parts += [callers.session_revoked(site, ledger, random, next(people))]
    for _ in range(2):
        one, two, three = next(people), next(people), next(people)
        taken = (
            ("user switched off", callers.USER, one.id, one.token),
            ("membership removed", callers.MEMBERSHIP, two.id, two.guest),
            ("key switched off", callers.KEY, three.key_id, three.key),
        )
        parts += [callers.revoked(site, ledger, random, *each) for each in taken]
    return parts + visitors.visits(site, ledger, random, crowd, [next(people), next(people)])


async def listening(site: Site, ledger: Ledger) -> None:
    """Note what the gateway promises, again and again."""
    while True:
        asked = time.monotonic()
        ledger.promise.round_trip = 2 * site.address.delay
        status, told = await site.ask("GET", "/readyz", admin=True)
        if status in {200, 503} and told:
            ledger.promise.note(asked, told, time.monotonic() - asked)
        else:
            ledger.breaks("a probe is answered", f"/readyz: {status}")
        await asyncio.sleep(0.1)


@asynccontextmanager
async def under_load(
    site: Site, ledger: Ledger, random: Random, crowd: list[tuple[UUID, UUID]]
) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(part) for part in load(site, ledger, random, crowd)]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()  # whatever ended it is a fault of the soak's
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=END_SECONDS)


async def harm(site: Site, ledger: Ledger, random: Random, until: float, longest: float) -> None:
    """Do one thing after the other to the database."""
    names = faults.possible(site)
    for name in set(faults.FAULTS) - set(names):
        click.echo(f"skipped: {name}: only root may mount a tmpfs, and not in every container")
    for name in faults.schedule(names, random):
        if time.monotonic() > until:
            return
        ledger.fault = name
        seconds = random.uniform(longest / 3, longest)
        click.echo(f"{time.monotonic() - ledger.begun:8.2f} s  {name}, {seconds:.1f} s")
        await faults.FAULTS[name](site, random, seconds)
        back = await faults.recovered(site)
        if back is None:
            ledger.breaks("an outage ends", f"no sign-in and no push within {faults.BACK_SECONDS} s")
        else:
            ledger.back[name].append(back)
        await asyncio.sleep(random.uniform(0.5, longest / 2))
    raise AssertionError


async def measuring(site: Site, seconds: float, points: list[series.Point]) -> None:
    """Add a point of the series now and then, whatever is being done to the database."""
    begun = time.monotonic()
    while True:
        with suppress(ClientError, TimeoutError):
            points.append(await series.point(site, time.monotonic() - begun))
        await asyncio.sleep(max(seconds / series.MOST_POINTS, 2.0))


async def come_back(site: Site, before: Measure) -> Measure:
    """Measure when descriptors are what they were: connections that rest are closed after a while."""
    until = time.monotonic() + REST_SECONDS
    while True:
        after = await measure(site)
        if after.rest <= before.rest + MORE_DESCRIPTORS or time.monotonic() > until:
            return after
        await asyncio.sleep(1)


async def soak(folder: Path, seconds: float, seed: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    # Servers and disks are taken away.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    random = Random(seed)  # noqa: S311 -- it has to repeat itself; for the faults alone, whatever the crowd does
    whims = Random(~seed)  # noqa: S311 -- as above
    ledger = Ledger(Promise(cache_seconds=CACHE_SECONDS, stale_seconds=STALE_SECONDS))
    async with site(folder, PEOPLE) as one:
        crowd = await visitors.strangers(one, one.people[0])
        reading = asyncio.ensure_future(listening(one, ledger))
        async with under_load(one, ledger, whims, crowd):
            await asyncio.sleep(WARM_UP_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)
        measures = [await measure(one)]
        points: list[series.Point] = []
        async with under_load(one, ledger, whims, crowd):
            begun = time.monotonic()
            taking = asyncio.ensure_future(measuring(one, seconds, points))
            await harm(one, ledger, random, begun + seconds - WARM_UP_SECONDS, 3 if seconds < 300 else 9)
            taking.cancel()
            ledger.fault = "afterwards"
            await asyncio.sleep(SETTLE_SECONDS)
        measures.append(await come_back(one, measures[0]))
        reading.cancel()
        await asyncio.wait([reading], timeout=END_SECONDS)
        click.echo(written(ledger, measures, points, list(events(one.log))))
        click.echo(await series.pauses(one))
        return verdict(ledger, measures, points, list(events(one.log)))


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_SECONDS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000
    click.echo(f"seed {seed}, {seconds:g} s")
    folder = Path(tempfile.mkdtemp(prefix="wgsoak-"))
    folder.chmod(0o755)
    try:
        return uvloop.run(asyncio.wait_for(soak(folder, seconds, seed), 2 * seconds + MOST_SECONDS))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
