"""A full disk: what writes is 503 and says why, what reads goes on, and room is taken as soon as it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog

from authcore.store import present_failures
from authcore.store.migrate import migrate
from gateway.dev.programs import reachable_programs
from tests.database.disks import Disk, small_disk
from tests.database.gateways import status_of, status_of_sign_in
from tests.database.servers import Server
from tests.support.admin import readiness
from tests.support.databases import execute, finish
from tests.support.processes import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.worlds import Start, World


@pytest.fixture
def disk(folder: Path) -> Iterator[Disk]:
    with small_disk(folder / "disk") as one:
        yield one


@pytest.fixture
def migrated_url(folder: Path, disk: Disk) -> Iterator[str]:
    """A server whose tables are on the small disk, and whose log of changes is not."""
    server = Server(reachable_programs(folder), folder / "p", disk.path)
    server.make().start()
    try:
        finish(migrate(server.url()))
        yield server.url()
    finally:
        server.stop()


@pytest.mark.parametrize("mode", ["serving", "strict"])
async def test_a_write_that_finds_the_disk_full_is_an_outage_with_its_reason_and_reads_go_on(
    disk: Disk,
    world: World,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    monkeypatch.setattr(present_failures, "QUIET_SECONDS", 0.5)
    gateway = await start(world.url, ready=mode, identity={"cache_seconds": 0.1})
    known = world.token(world.admin)
    assert await status_of(gateway, known) == 200
    assert (await readiness(gateway))["ready"] is True
    with structlog.testing.capture_logs() as events:
        disk.fill()
        assert await until_refused(gateway) == [503, 503]
        assert await status_of(gateway, known) == await status_of(gateway, world.token(world.agent)) == 200
        told = await readiness(gateway)
        assert told["checks"]["database"].startswith("refuses (disk_full): could not extend file")
        assert told["ready"] is (mode == "serving")
        await execute(world.url, "UPDATE users SET is_active = false WHERE email = 'agent@example.com'")

        async def refused() -> bool:
            return await status_of(gateway, world.token(world.agent)) == 401

        await eventually(refused)
        disk.empty()
        assert await status_of_sign_in(gateway) == 200

        async def in_order() -> bool:
            return bool((await readiness(gateway))["checks"]["database"] == "ok")

        await eventually(in_order)
    assert named(events, "store_unavailable") == [("disk_full", "53100")]
    assert named(events, "store_recovered") == [("disk_full", None)]


async def test_whoever_has_the_right_password_is_not_kept_waiting_for_a_disk_that_was_full(
    disk: Disk, world: World, start: Start
) -> None:
    """Attempts whose count could not be taken back are not held against the user."""
    gateway = await start(world.url)
    disk.fill()
    await until_refused(gateway)
    assert {await status_of_sign_in(gateway) for _ in range(12)} == {503}  # five failures are free
    disk.empty()
    assert await status_of_sign_in(gateway) == 200


async def until_refused(gateway: Gateway) -> list[int]:
    """Sign in until that is refused, since the first ones may find room in pages that are there, and once more."""
    for _ in range(500):
        status = await status_of_sign_in(gateway)
        if status != 200:
            return [status, await status_of_sign_in(gateway)]
    raise AssertionError("a full disk has room for everything")


def named(events: list[Any], name: str) -> list[tuple[str, str | None]]:
    return [(one["kind"], one.get("sqlstate")) for one in events if one["event"] == name]
