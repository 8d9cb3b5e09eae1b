"""A right that the gateway's role lacks: 503 where it is needed, and named with its table by /readyz and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
from structlog.testing import capture_logs

from gateway.assembly.watches import SchemaWatch
from tests.support.admin import admin
from tests.support.calls import ask, bearer, get, is_refusal, post
from tests.support.domain import open_store
from tests.support.worlds import PASSWORD, with_granted_role

if TYPE_CHECKING:
    from tests.support.worlds import Start, World


LOGIN = post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD})


async def test_a_missing_right_is_503_and_named_while_known_callers_are_served(
    world: World, start: Start
) -> None:
    own = await with_granted_role(world.url)
    role = own.partition("@")[0].rpartition("/")[2]
    serving, strict = await start(own), await start(own, ready="strict")
    assert [(await admin(gate, "/readyz")).status for gate in (serving, strict)] == [200, 200]
    known = get("/api/contacts", bearer(world.token(world.agent)))
    assert (await ask(serving, known)).status == 200
    owner = await asyncpg.connect(world.url)
    await owner.execute(f"REVOKE INSERT, UPDATE ON gateway_sessions FROM {role}")
    is_refusal(await ask(serving, LOGIN), 503)
    assert (await ask(serving, known)).status == 200
    for gate, status in ((serving, 200), (strict, 503)):
        answer = await admin(gate, "/readyz")
        assert answer.status == status
        assert b"its user lacks INSERT on gateway_sessions, UPDATE on gateway_sessions" in answer.body
        assert b"migrate --grant-to" in answer.body
        assert role.encode() not in answer.body
    store = await open_store(own)
    with capture_logs() as lines:
        watch = SchemaWatch(store)
        await watch.look()
        await owner.execute(f"GRANT INSERT, UPDATE ON gateway_sessions TO {role}")
        await watch.look()
    await store.close()
    assert [line["event"] for line in lines] == ["rights_missing", "rights_complete"]
    assert lines[0]["rights"] == ["INSERT on gateway_sessions", "UPDATE on gateway_sessions"]
    assert (await ask(serving, LOGIN)).status == 200
    assert [(await admin(gate, "/readyz")).status for gate in (serving, strict)] == [200, 200]
    await owner.close()


async def test_a_gateway_that_never_had_its_rights_is_not_ready_and_says_which(
    world: World, start: Start
) -> None:
    own = await with_granted_role(world.url)
    role = own.partition("@")[0].rpartition("/")[2]
    owner = await asyncpg.connect(world.url)
    await owner.execute(f"REVOKE SELECT ON TABLE users FROM {role}")  # noqa: S608 -- a name of the test's own
    gate = await start(own)
    answer = await admin(gate, "/readyz")
    assert answer.status == 503
    assert b"its user lacks SELECT on users" in answer.body
    is_refusal(await ask(gate, get("/api/contacts", bearer(world.token(world.agent)))), 503)
    await owner.close()
