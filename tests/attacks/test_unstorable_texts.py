"""Texts that the database's encoding cannot hold: they stop neither the audit trail nor anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from authcore.store.migrate import migrate
from tests.database.gateways import status_of_sign_in
from tests.support.admin import readings
from tests.support.calls import ask, post
from tests.support.databases import execute, finish, named
from tests.support.processes import eventually
from tests.support.trails import recorded, verified
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.worlds import Start, World

ODD = "\N{LATIN SMALL LETTER Z WITH CARON}"
"""A letter that is in UTF-8, and not in Latin-1."""
EMAIL = "admin@example.com"


@pytest.fixture
def migrated_url(postgres_url: str) -> Iterator[str]:
    """A database in Latin-1."""
    name = f"latin_{uuid4().hex[:8]}"
    made = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'"
    finish(execute(postgres_url, made))
    url = named(postgres_url, name)
    finish(migrate(url))
    yield url
    finish(execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


def login(email: str, agent: str = "ua", password: str = PASSWORD) -> bytes:
    head = f"User-Agent: {agent}\r\n".encode()
    return post("/api/auth/login", {"email": email, "password": password}).replace(b"\r\n", b"\r\n" + head, 1)


async def test_the_trail_goes_on_behind_a_record_that_cannot_be_stored(world: World, start: Start) -> None:
    gate = await start(world.url)
    for agent in (f"ua-{ODD}", "ua-plain", f"ua-{ODD}-again"):
        assert (await ask(gate, login(f"nobody-{ODD}@example.com", agent, "a guess of mine"))).status == 401
    assert (await ask(gate, login(EMAIL))).status == 200
    await recorded(world.store, "sign_in", 4)
    found = await recorded(world.store, "sign_in", 4)
    assert [one.outcome for one in found] == ["refused", "refused", "refused", "success"]
    assert [one.email for one in found] == [*["nobody-\\u017e@example.com"] * 3, EMAIL]
    assert [one.user_agent for one in found] == ["ua-\\u017e", "ua-plain", "ua-\\u017e-again", "ua"]
    assert (await verified(world.store))[1] == ""
    read = await readings(gate)
    assert (read["gateway_audit_lost_total"], read["gateway_audit_away"]) == (0, 0)


async def test_an_email_that_cannot_be_stored_is_an_unknown_one(world: World, start: Start) -> None:
    gate = await start(world.url, ready="strict")
    unknown = await ask(gate, login("nobody@example.com"))
    for email in (f"{ODD}@example.com", f" {EMAIL}{ODD}"):
        odd = await ask(gate, login(email))
        assert (odd.status, odd.body) == (unknown.status, unknown.body)
        assert odd.status == 401
    read = await readings(gate)
    assert read["gateway_store_circuit_opened_total"] == 0
    assert await status_of_sign_in(gate) == 200

    async def is_ready() -> bool:
        return (await readings(gate))["gateway_ready"] == 1

    await eventually(is_ready)  # as the first look finds, which may come later than a sign-in


async def test_a_client_whose_name_cannot_be_stored_signs_in(world: World, start: Start) -> None:
    gate = await start(world.url)
    assert (await ask(gate, login(EMAIL, f"ua-{ODD}"))).status == 200
    assert [row["device"] for row in await world.sql("SELECT device FROM gateway_sessions")] == ["ua-\\u017e"]


async def test_one_record_that_a_database_refuses_costs_no_other(world: World, start: Start) -> None:
    """A refusal for any reason: here a constraint of the database's owner."""
    await execute(world.url, "ALTER TABLE gateway_audit ADD CHECK (email <> 'bad@example.com')")
    gate = await start(world.url)
    for email in ("a@example.com", "bad@example.com", "c@example.com", "d@example.com"):
        assert (await ask(gate, login(email))).status == 401
    assert [one.email for one in await recorded(world.store, "sign_in", 3)] == [
        *("a@example.com", "c@example.com", "d@example.com")
    ]
    (lost,) = await recorded(world.store, "records_lost")
    assert (lost.reason, lost.facts["lost"]) == ("not_storable", 1)
    assert (await verified(world.store))[1] == ""
