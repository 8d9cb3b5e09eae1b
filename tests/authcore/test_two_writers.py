"""Two writers, one truth: what ends all sessions of a user against all that begins or continues one, at every step.

Each of the two runs as a database user of its own. Triggers in the test's database hold a statement of one of them
before or after each row that it writes, until the test lets it go on: every interleaving is made, and none is luck.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import jwt
import pytest

from authcore.credentials import BearerToken, RefreshToken
from authcore.errors import AuthError
from tests.support.databases import execute
from tests.support.domain import NOW, PASSWORD, SECRET, World, open_store
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from uuid import UUID

    from authcore.accounts.token_pairs import TokenPair

TABLES = ("gateway_sign_outs", "gateway_sessions", "gateway_refresh_tokens", "users", "user_organizations")
HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE step text := current_user || ' ' || TG_TABLE_NAME || ' ' || TG_OP || ' ' || TG_WHEN;
BEGIN
    PERFORM pg_notify('steps', step);
    PERFORM pg_advisory_xact_lock_shared(77, hashtext(step));
    RETURN NEW;
END $body$"""
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND cardinality(pg_blocking_pids(pid)) > 0"
)
NEW = "an entirely new one"


class Scene:
    """A user with a session, one who ends all of them, and one who would begin or continue one."""

    def __init__(
        self,
        control: Any,
        names: tuple[str, str],
        worlds: tuple[World, World],
        user: UUID,
        organization: UUID,
    ) -> None:
        """`names` are the database users by which the two of `worlds` come."""
        self.control = control
        self.names = names
        self.ending, self.entering = worlds
        self.user = user
        self.organization = organization
        self.session: TokenPair | None = None
        self.theirs = ""

    async def begin(self) -> None:
        """A session here, and a refresh token that Whatomate issued."""
        await self.control.execute("TRUNCATE gateway_sessions, gateway_sign_outs CASCADE")
        await self.control.execute(
            "DELETE FROM user_organizations WHERE organization_id <> $1", self.organization
        )
        self.session = (await self.ending.login()).tokens
        claims = {
            "user_id": str(self.user),
            "organization_id": str(self.organization),
            "iss": "whatomate",
            "jti": str(uuid4()),
            "iat": int(NOW) - 9,
            "exp": int(NOW) + 86_400,
        }
        self.theirs = jwt.encode(claims, SECRET, algorithm="HS256")

    # -- what ends all of them ----------------------------------------------------------------------------------------

    async def log_out_everywhere(self) -> None:
        await self.ending.sessions.close_others(self.user, None, NOW)

    async def change_the_password(self) -> None:
        await self.ending.accounts.change_password(user_id=self.user, current=PASSWORD, new=NEW, now=NOW)

    # -- what begins or continues one ---------------------------------------------------------------------------------

    async def sign_in(self) -> TokenPair:
        return (await self.entering.login()).tokens

    async def refresh(self) -> TokenPair:
        assert self.session is not None
        return await self.entering.sessions.refresh(RefreshToken(self.session.refresh_token), NOW)

    async def enter_whatomates(self) -> TokenPair:
        return await self.entering.sessions.refresh(RefreshToken(self.theirs), NOW)

    async def switch(self) -> TokenPair:
        assert self.session is not None
        session = self.session.session_id
        return (await self.entering.accounts.switch(self.user, self.organization, NOW, session)).tokens

    async def switch_by_whatomates_token(self) -> TokenPair:
        switched = await self.entering.accounts.switch(self.user, self.organization, NOW, founded_at=NOW - 9)
        return switched.tokens

    async def join(self) -> TokenPair:
        organization = await self.ending.organization(f"Beside {uuid4().hex}")
        joined = await self.entering.accounts.register(
            email="user@example.com",
            password=PASSWORD,
            full_name="A User",
            organization_id=organization,
            now=NOW,
        )
        return joined.tokens


ENDINGS = (Scene.log_out_everywhere, Scene.change_the_password)
ENTRIES = (
    Scene.sign_in,
    Scene.refresh,
    Scene.enter_whatomates,
    Scene.switch,
    Scene.switch_by_whatomates_token,
    Scene.join,
)
BY_PASSWORD = (Scene.sign_in, Scene.join)
"""Signing out does not take the password back: a session that begins by it afterwards lives."""


@pytest.fixture
async def scene(migrated_url: str) -> AsyncIterator[Scene]:
    ending, entering = f"ending_{uuid4().hex}", f"entering_{uuid4().hex}"
    await execute(
        migrated_url,
        f"CREATE ROLE {ending} LOGIN SUPERUSER",
        f"CREATE ROLE {entering} LOGIN SUPERUSER",
        HOLD,
        *(
            f"CREATE TRIGGER a_hold_{when} {when} INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION hold()"
            for table in TABLES
            for when in ("BEFORE", "AFTER")
        ),
    )
    urls = [migrated_url.replace("//gateway@", f"//{name}@") for name in (ending, entering)]
    worlds = [World(url, await open_store(url, statement_timeout_seconds=30)) for url in urls]
    control = await asyncpg.connect(migrated_url)
    organization = await worlds[0].organization()
    user = await worlds[0].user(organization)
    yield Scene(control, (ending, entering), (worlds[0], worlds[1]), user, organization)
    await control.close()
    for world in worlds:
        world.passwords.close()
        await world.store.close()
    await execute(migrated_url, *(f"DROP ROLE {name}" for name in (ending, entering)))


async def settled(control: Any, name: str, task: asyncio.Task[Any]) -> bool:
    """Wait until what `name` does has ended, or waits for somebody; tell whether it has ended."""
    async with asyncio.timeout(PATIENCE):
        while not task.done():
            if await control.fetchval(WAITING, name):
                return False
            await asyncio.sleep(0.002)
    return True


async def outcome(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except AuthError as refusal:
        return refusal


async def lives(scene: Scene, pair: TokenPair) -> bool:
    """Return whether either token of a pair opens anything, by a gateway that has cached nothing."""
    with suppress(AuthError):
        await scene.ending.new_authenticator().authenticate(
            BearerToken(pair.access_token.encode()), None, NOW + 1
        )
        return True
    with suppress(AuthError):
        await scene.ending.sessions.refresh(RefreshToken(pair.refresh_token), NOW + 1)
        return True
    return False


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda one: one.__name__)
async def test_no_session_survives_that_began_before(
    scene: Scene,
    ending: Callable[[Scene], Awaitable[None]],
    entry: Callable[[Scene], Awaitable[TokenPair]],
) -> None:
    (password_hash,) = await scene.control.fetchrow(
        "SELECT password_hash FROM users WHERE id = $1", scene.user
    )
    steps: set[str] = set()
    await scene.control.add_listener("steps", lambda *told: steps.add(told[3]))
    await scene.begin()
    await outcome(entry(scene))
    await ending(scene)
    await scene.control.fetchval("SELECT 1")  # what was told until now is heard
    stops = 0
    works = (ending, entry)
    for step in sorted(steps):
        held = scene.names.index(step.partition(" ")[0])
        await scene.control.execute(
            "UPDATE users SET password_hash = $2 WHERE id = $1", scene.user, password_hash
        )
        await scene.begin()
        before = scene.session
        assert before is not None
        await scene.control.execute("SELECT pg_advisory_lock(77, hashtext($1))", step)
        first = asyncio.ensure_future(outcome(works[held](scene)))
        is_stopped = not await settled(scene.control, scene.names[held], first)
        second = asyncio.ensure_future(outcome(works[1 - held](scene)))
        is_through = await settled(scene.control, scene.names[1 - held], second)
        await scene.control.execute("SELECT pg_advisory_unlock(77, hashtext($1))", step)
        results = [await first, await second]
        ended, entered = results if held == 0 else results[::-1]
        assert ended is None, (step, ended)
        assert not await lives(scene, before), step
        stops += is_stopped
        if isinstance(entered, AuthError):
            continue
        came_first = is_stopped and is_through if held == 0 else not (is_stopped and is_through)
        if came_first or ending is not Scene.log_out_everywhere or entry not in BY_PASSWORD:
            assert not await lives(scene, entered), (step, is_stopped, is_through)
    assert stops >= 6, steps
