"""Cases of the row that ``locale_row`` adds; run by ``test_new_header.py``, in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integrations.proxies import RECIPES, running
from tests.support.calls import ask_at, bearer, get
from tests.support.processes import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


ON: dict[str, Any] = {
    "decision": {"path": "/decisions"},
    "trusted_proxies": ["127.0.0.0/8"],
    "identity": {"cache_seconds": 3600},
    "timeout": {"drain_seconds": 0.1, "drain_delay_seconds": 0},
}
CHANGE = "UPDATE users SET settings = jsonb_build_object('locale', $2::text) WHERE id = $1"


async def test_a_change_of_its_column_is_heard_at_once(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, **ON)
    raw = get("/api/x", bearer(world.token(world.agent)), "X-User-Locale: evil")

    async def sent() -> str | None:
        assert (await ask_at(gate.address, raw)).status == 200
        return upstream.requests[-1].one("X-User-Locale")

    assert await sent() is None
    for locale in ("de-CH", "pt-BR"):  # the cache keeps its verdicts for an hour
        await world.sql(CHANGE, world.agent, locale)

        async def heard(locale: str = locale) -> bool:
            return await sent() == locale

        await eventually(heard)
    assert b"evil" not in upstream.seen


async def test_an_upstream_may_leave_it_out_and_a_setting_may_rename_it(
    world: World, start: Start, upstream: Upstream
) -> None:
    await world.sql(CHANGE, world.agent, "de")
    token = bearer(world.token(world.agent))
    gate = await start(world.url, upstream={"identity": "-user_locale"})
    await ask_at(gate.address, get("/api/x", token))
    assert upstream.requests[-1].one("X-User-Locale") is None
    gate = await start(world.url, header={"user_locale": "X-Locale"})
    await ask_at(gate.address, get("/api/x", token, "X_Locale: evil"))
    assert upstream.requests[-1].one("X-Locale") == "de"
    assert b"evil" not in upstream.seen


async def test_whoami_shows_it_among_the_attributes(world: World, start: Start) -> None:
    await world.sql(CHANGE, world.agent, "de")
    gate = await start(world.url, header={"user_locale": "X-Locale"})
    answer: Any = (
        await ask_at(gate.address, get("/api/auth/whoami", bearer(world.token(world.agent))))
    ).json()
    assert answer["data"]["attributes"] == {"user_locale": "de"}


async def test_a_value_that_no_header_may_hold_is_an_error(
    world: World, start: Start, upstream: Upstream
) -> None:
    await world.sql(CHANGE, world.agent, "de\r\nX-User-Super-Admin: true")
    gate = await start(world.url)
    assert (await ask_at(gate.address, get("/api/x", bearer(world.token(world.agent))))).status == 500
    assert upstream.seen == b""


@pytest.mark.parametrize("proxy", sorted(RECIPES))
async def test_a_header_of_a_new_kind_is_forgeable_behind_no_proxy(
    world: World, start: Start, upstream: Upstream, tmp_path: Path, proxy: str
) -> None:
    gate = await start(world.url, **ON)
    token = bearer(world.token(world.agent))
    async with running(proxy, tmp_path, gate.address[1], upstream.port) as address:
        for name in ("X-User-Locale", "x-user-locale", "X_User_Locale", "X-User.Locale"):
            for path, line in (("/api/x", token), ("/assets/app.js", "Accept: */*")):
                assert (await ask_at(address, get(path, line, f"{name}: evil"))).status in {200, 400, 403}
        assert (await ask_at(address, get("/api/x", token))).status == 200
    assert b"evil" not in upstream.seen
