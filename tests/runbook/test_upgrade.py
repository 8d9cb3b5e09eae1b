"""The runbook's upgrade and roll back, on two gateways.

What is rehearsed: the program of before is this one without its migration 0025, on a schema that this program of before
has made. So the order of migrating and replacing is tried, and what a program makes of a schema newer than itself; that
the code of an older version runs on this schema is not.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.runbook.page import carried_out
from tests.runbook.people import People
from tests.runbook.site import TYPING, Refused
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runbook.site import Sites
    from tests.support.worlds import World

LEFT_OUT: Final = "0025_gateway_quota_usage"


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """The program of before: the same files, but for a migration."""
    place = tmp_path / "former"
    for folder in (place, place / "authcore", place / "authcore/store", place / "authcore/store/migrations"):
        folder.mkdir()
        for path in (ROOT / folder.relative_to(place)).iterdir():
            is_ours = folder != place or path.name in {"gateway", "config"}
            if is_ours and path.name not in {"store", "migrations", "__pycache__", f"{LEFT_OUT}.sql"}:
                (folder / path.name).symlink_to(path)
    return place


@pytest.fixture
async def migrated_url(database_url: str, former: Path) -> str:
    """A database that the program of before has made."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "migrate"),
        env={**os.environ, "PYTHONPATH": str(former), "GATEWAY_DATABASE_URL": database_url},
        cwd="/",
    )
    async with asyncio.timeout(TYPING):
        assert await process.wait() == 0
    return database_url


async def test_an_upgrade_and_its_way_back_refuse_nobody(world: World, site: Sites, former: Path) -> None:
    applied = "SELECT count(*) FROM gateway_migrations WHERE name = $1"
    one = await site(world.url, {"old": former, "new": ROOT})
    people = People(one, world)
    one.holds = people.everybody_is_known
    one.variables["NEW"] = "registry.example/whatomate-gateway:new"
    await people.everybody_is_known()
    assert (await world.sql(applied, LEFT_OUT))[0][0] == 0
    await one.carry_out(carried_out()["Upgrade"])
    assert "step 2 has something to do" in one.printed[0]
    assert (one.version, (await world.sql(applied, LEFT_OUT))[0][0]) == ("new", 1)
    await one.carry_out(carried_out()["Roll back"])
    assert (one.version, (await world.sql(applied, LEFT_OUT))[0][0]) == ("old", 1)


async def test_an_upgrade_that_replaces_before_it_migrates_is_seen_to_stop(
    world: World, site: Sites, former: Path
) -> None:
    one = await site(world.url, {"old": former, "new": ROOT})
    people = People(one, world)
    one.holds = people.everybody_is_known
    one.variables["NEW"] = "registry.example/whatomate-gateway:new"
    steps = {step.number: step for step in carried_out()["Upgrade"]}
    with pytest.raises(Refused, match=f"gateway-0 is not ready.*{LEFT_OUT}"):
        await one.carry_out([steps[1], steps[3], steps[2]])
    assert await people.status(one.replicas[1], f"X-API-Key: {world.api_key}") == 200
