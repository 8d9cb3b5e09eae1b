"""Revocation: it takes effect at once, in every process, whoever wrote it; other callers stay cached.

So it is with what is open: an event stream and an upload end by each revocation that a new request obeys.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from authcore.store.migrate import remove_triggers
from tests.support.calls import ask_at, bearer, get, is_refusal, request
from tests.support.peers import PATIENCE, Client, next_request, read_head
from tests.support.processes import Process, ended, eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.peers import Upstream
    from tests.support.worlds import World

PATH = "/api/contacts"
OF_OTHER = "WHERE organization_id = (SELECT id FROM organizations WHERE name = 'Other')"
SOON = "now() + interval '1 second'"
KINDS: dict[str, tuple[str, str]] = {
    "key revoked": ("key", "UPDATE api_keys SET is_active = false"),
    "key deleted": ("key", "UPDATE api_keys SET deleted_at = now()"),
    "key row deleted": ("key", "DELETE FROM api_keys"),
    "key re-hashed": ("key", "UPDATE api_keys SET key_hash = '$2a$04$' || repeat('.', 53)"),
    "key expired": ("key", "UPDATE api_keys SET expires_at = now()"),
    "user disabled": ("both", "UPDATE users SET is_active = false WHERE email = 'both@example.com'"),
    "user deleted": ("both", "UPDATE users SET deleted_at = now() WHERE email = 'both@example.com'"),
    "membership removed": ("both", f"UPDATE user_organizations SET deleted_at = now() {OF_OTHER}"),  # noqa: S608 - ours
    "membership row deleted": ("both", f"DELETE FROM user_organizations {OF_OTHER}"),  # noqa: S608 - ours
    "organization deleted": ("both", "UPDATE organizations SET deleted_at = now() WHERE name = 'Other'"),
    "key moved": (
        "key",
        "UPDATE api_keys SET organization_id = (SELECT id FROM organizations WHERE name = 'Other')",
    ),
    "own membership removed": ("elsewhere", f"UPDATE user_organizations SET deleted_at = now() {OF_OTHER}"),  # noqa: S608 - ours
    "own organization deleted": (
        "elsewhere",
        "UPDATE organizations SET deleted_at = now() WHERE name = 'Other'",
    ),
    "signed out everywhere": (
        "both",
        f"INSERT INTO gateway_sign_outs SELECT id, {SOON} FROM users WHERE email = 'both@example.com'",  # noqa: S608 - ours
    ),
}


def line_of(world: World, who: str) -> str:
    if who == "key":
        return f"X-API-Key: {world.api_key}"
    if who == "elsewhere":
        return f"{bearer(world.token(world.both, world.other))}\r\nX-Organization-ID: {world.home}"
    return bearer(world.token(world.both, world.other) if who == "both" else world.token(world.agent))


async def statuses(gateways: list[Process], line: str) -> list[int]:
    return [(await ask_at(one.address, get(PATH, line))).status for one in gateways]


async def test_a_revocation_of_any_kind_holds_everywhere_at_once_and_its_end_too(
    world: World, gateways: Callable[..., Awaitable[list[Process]]]
) -> None:
    running = await gateways()
    bystander = line_of(world, "agent")
    for name, (who, statement) in KINDS.items():
        line = line_of(world, who)
        assert await statuses(running, line) == [200, 200], name
        assert await statuses(running, bystander) == [200, 200], name
        before = [(await one.status())["identity"]["loads"] for one in running]
        backup = await _backup(world)
        await world.sql(statement)

        async def refused(line: str = line) -> bool:
            return await statuses(running, line) == [401, 401]

        await eventually(refused)
        loaded = [(await one.status())["identity"]["loads"] for one in running]
        assert await statuses(running, bystander) == [200, 200]
        after = [(await one.status())["identity"]["loads"] for one in running]
        assert (after, name) == (loaded, name)  # who is not concerned is answered from memory
        assert all(now > then for now, then in zip(after, before, strict=True))
        await _restore(world, backup)

        async def accepted(line: str = line) -> bool:
            return await statuses(running, line) == [200, 200]

        await eventually(accepted)


class Flowing:
    """An upstream that sends `event` again and again as an event stream, and answers no upload."""

    def __init__(self) -> None:
        self.event = b"data: 1\n\n"

    async def script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (head := await next_request(reader)) is not None:
            if b"/api/stream" in head.start:
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
                )
                while not writer.is_closing():
                    writer.write(self.event)
                    await writer.drain()
                    await asyncio.sleep(0.02)
            elif b"/api/upload" in head.start:
                await reader.read()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def opened(client: Client, line: str) -> None:
    await client.send(get("/api/stream", line))
    assert (await read_head(client.reader)).status == 200
    await asyncio.wait_for(client.reader.readuntil(b"data: 1\n\n"), PATIENCE)


async def test_a_revocation_of_any_kind_ends_open_sockets_and_streams(
    world: World, gateways: Callable[..., Awaitable[list[Process]]], upstream: Upstream
) -> None:
    far = Flowing()
    upstream.script = far.script
    (gate,) = await gateways(1)
    async with Client(gate.address) as bystander:
        await opened(bystander, line_of(world, "agent"))
        for name, (who, statement) in KINDS.items():
            line = line_of(world, who)
            backup = await _backup(world)
            async with Client(gate.address) as events, Client(gate.address) as upload:
                await opened(events, line)
                await upload.send(request("POST", "/api/upload", line, "Content-Length: 9") + b"abcd")
                await world.sql(statement)
                async with asyncio.timeout(PATIENCE):
                    assert (await upload.response()).status == 401, name
                    await events.reader.read(-1)
            await _restore(world, backup)

            async def accepted(line: str = line) -> bool:
                return await statuses([gate], line) == [200]

            await eventually(accepted)
        far.event = b"data: last\n\n"
        await asyncio.wait_for(bystander.reader.readuntil(far.event), PATIENCE)


async def _backup(world: World) -> dict[str, list[Any]]:
    return {
        "users": await world.sql("SELECT id, is_active, deleted_at FROM users"),
        "organizations": await world.sql("SELECT id, deleted_at FROM organizations"),
        "user_organizations": await world.sql("SELECT * FROM user_organizations"),
        "api_keys": await world.sql("SELECT * FROM api_keys"),
    }


async def _restore(world: World, kept: dict[str, list[Any]]) -> None:
    await world.sql("UPDATE gateway_sign_outs SET at = 'epoch'")
    for table, rows in kept.items():
        for row in rows:
            columns = dict(row)
            names = ", ".join(columns)
            places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
            sets = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "id")
            if table in {"users", "organizations"}:
                changes = ", ".join(
                    f"{name} = ${number}" for number, name in enumerate(columns, 1) if name != "id"
                )
                await world.sql(f"UPDATE {table} SET {changes} WHERE id = $1", *columns.values())  # noqa: S608 - ours
                continue
            await world.sql(
                f"INSERT INTO {table} ({names}) VALUES ({places}) ON CONFLICT (id) DO UPDATE SET {sets}",  # noqa: S608 - ours
                *columns.values(),
            )


async def test_a_role_stripped_of_a_permission_is_so_for_every_request_after(
    world: World, gateways: Callable[..., Awaitable[list[Process]]], upstream: Upstream
) -> None:
    running = await gateways()
    line = bearer(world.token(world.agent))

    async def granted() -> set[str]:
        seen: set[str] = set()
        for one in running:
            assert (await ask_at(one.address, get(PATH, line))).status == 200
            seen.update((upstream.requests[-1].one("X-User-Permissions") or "").split(","))
        return seen

    assert "contacts:read" in await granted()
    removed = await world.sql(
        "DELETE FROM role_permissions rp USING permissions p, custom_roles r WHERE p.id = rp.permission_id "
        "AND r.id = rp.custom_role_id AND r.name = 'agent' AND p.resource = 'contacts' RETURNING rp.*"
    )

    async def stripped() -> bool:
        return "contacts:read" not in await granted()

    await eventually(stripped)
    for row in removed:
        await world.sql("INSERT INTO role_permissions VALUES ($1, $2)", *row.values())

    async def given_back() -> bool:
        return "contacts:read" in await granted()

    await eventually(given_back)
    await world.sql("UPDATE custom_roles SET deleted_at = now()")

    async def roleless() -> bool:
        return await granted() == {""}

    await eventually(roleless)


async def test_a_lost_listener_comes_back_and_what_it_missed_holds(
    world: World, gateways: Callable[..., Awaitable[list[Process]]]
) -> None:
    (gate,) = await gateways(1)
    line = line_of(world, "key")
    assert await statuses([gate], line) == [200]
    await world.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%changes' "
        "AND datname = current_database()"
    )
    await world.sql("ALTER TABLE api_keys DISABLE TRIGGER ALL")
    await world.sql("UPDATE api_keys SET is_active = false")  # which nobody is told
    await world.sql("ALTER TABLE api_keys ENABLE TRIGGER ALL")

    async def refused() -> bool:
        return await statuses([gate], line) == [401]

    await eventually(refused)
    assert (await gate.status())["changes"]["lost"] >= 1


async def test_triggers_of_another_version_are_noted_and_all_is_pushed(
    world: World, gateways: Callable[..., Awaitable[list[Process]]]
) -> None:
    await world.sql("COMMENT ON FUNCTION gateway_changed_users() IS 'of an older gateway'")
    (gate,) = await gateways(1)

    async def pushed() -> bool:
        return bool((await gate.status())["changes"]["pushed"] == 1)

    await eventually(pushed)
    answer = await gate.ready()
    assert answer.status == 200
    noted = answer.json()["revocation"]
    assert (noted["changes"], noted["triggers"]) == (
        "pushed",
        "the triggers are of an older version, or altered; run migrate, with this version of the gateway",
    )


async def test_without_triggers_time_bounds_staleness_and_that_is_told(
    world: World, gateways: Callable[..., Awaitable[list[Process]]]
) -> None:
    (gate,) = await gateways(1, IDENTITY_CACHE_SECONDS="1")
    assert (await gate.ready()).json()["revocation"] == {
        "bound_by": "push",
        "changes": "pushed",
        "at_most_seconds": 0,
    }
    assert await remove_triggers(world.url)

    async def untold() -> bool:
        return bool((await gate.status())["changes"]["pushed"] == 0)

    await eventually(untold)
    answer = await gate.ready()
    assert answer.status == 200  # it is slower to revoke, not unready
    assert answer.json()["revocation"] == {"bound_by": "time", "changes": "untold", "at_most_seconds": 1}
    line = line_of(world, "key")
    assert await statuses([gate], line) == [200]
    await world.sql("UPDATE api_keys SET is_active = false")

    async def refused() -> bool:
        return await statuses([gate], line) == [401]

    await eventually(refused)


async def test_a_key_proved_by_one_process_needs_no_bcrypt_in_another_nor_after_a_restart(
    world: World, gateways: Callable[..., Awaitable[list[Process]]]
) -> None:
    line = line_of(world, "key")
    (first,) = await gateways(1)
    answers = await asyncio.gather(*(statuses([first], line) for _ in range(200)))
    assert {status for one in answers for status in one} == {200}
    assert (await first.status())["keys"]["proofs"] == 1
    (second,) = await gateways(1)
    assert await statuses([second], line) == [200]
    assert (await second.status())["keys"]["proofs"] == 0
    (third,) = await gateways(1, KEYS_SECRET="another secret of thirty-two bytes or more")
    assert await statuses([third], line) == [200]
    assert (await third.status())["keys"]["proofs"] == 1


async def test_what_was_used_is_written_at_the_stop(
    world: World, gateways: Callable[..., Awaitable[list[Process]]]
) -> None:
    (gate,) = await gateways(1, KEYS_USED_INTERVAL_SECONDS="3600")
    assert await statuses([gate], line_of(world, "key")) == [200]
    assert (await world.sql("SELECT last_used_at FROM api_keys"))[0]["last_used_at"] is None
    await ended(gate)
    assert (await world.sql("SELECT last_used_at FROM api_keys"))[0]["last_used_at"] is not None


async def test_a_flood_of_unknown_keys_evicts_nobody_and_runs_no_bcrypt(
    world: World, gateways: Callable[..., Awaitable[list[Process]]]
) -> None:
    (gate,) = await gateways(1, IDENTITY_CACHE_ENTRIES="50", IDENTITY_REFUSED_ENTRIES="50")
    known = line_of(world, "agent")
    assert await statuses([gate], known) == [200]
    for number in range(120):
        answer = await ask_at(gate.address, get(PATH, f"X-API-Key: whm_{number:032x}"))
        is_refusal(answer, 401, "Invalid API key")
    status = await gate.status()
    assert status["identity"]["refusals"] == 50
    assert (status["identity"]["entries"], status["identity"]["evicted"]) == (1, 0)
    assert status["keys"]["proofs"] == 0
    loads = status["identity"]["loads"]
    assert await statuses([gate], known) == [200]
    assert (await gate.status())["identity"]["loads"] == loads
