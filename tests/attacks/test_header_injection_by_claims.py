"""CR, LF and NUL on their way into a header: by a claim, an e-mail, a name, a role, a permission."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.calls import ask, bearer, get, is_refusal, whatomate_token

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


BREAKS = [
    "a\r\nX-User-Super-Admin: true",
    "a\nX-Evil: 1",
    "a\rX-Evil: 1",
    "a\x01b",
    "a\x7fb",
    "\r\n\r\nGET /evil HTTP/1.1",
]


@pytest.mark.parametrize("value", BREAKS)
async def test_an_e_mail_that_would_break_out_of_its_header_stops_the_request(
    world: World, start: Start, upstream: Upstream, value: str
) -> None:
    await world.sql("UPDATE users SET email = $1 WHERE email = 'agent@example.com'", value)
    gate = await start(world.url)
    for _ in range(2):  # cold, and from memory
        answer = await ask(gate, get("/api/x", bearer(world.token(world.agent))))
        is_refusal(answer, 500)
        assert b"Evil" not in answer.body
        assert b"Super-Admin" not in answer.body
    assert upstream.seen == b""


@pytest.mark.parametrize("value", [*BREAKS, "Ada Person\n", "\ttab", "\r\n", "\x7f"])
@pytest.mark.parametrize(
    ("change", "header"),
    [
        ("UPDATE users SET full_name = $1", "X-User-Name"),
        ("UPDATE custom_roles SET name = $1", "X-User-Role"),
    ],
)
async def test_a_name_that_would_break_out_of_its_header_is_sent_cleaned(
    world: World, start: Start, upstream: Upstream, change: str, header: str, value: str
) -> None:
    for index in await world.sql(
        "SELECT indexname FROM pg_indexes WHERE tablename = 'custom_roles' AND indexname = 'idx_custom_roles_org_name'"
    ):
        await world.sql(f"DROP INDEX {index['indexname']}")
    await world.sql(change, value)
    gate = await start(world.url)
    clean = "".join(
        " " if (character < " " and character != "\t") or character == "\x7f" else character
        for character in value
    )
    for _ in range(2):  # cold, and from memory
        assert (await ask(gate, get("/api/x", bearer(world.token(world.agent))))).status == 200
    for request in upstream.requests:
        assert request.one(header) == (clean.strip() or None)
        assert request.all("X-User-Super-Admin") == ["false"]
        assert request.one("X-Evil") is None
    assert len(upstream.requests) == 2


async def test_a_stored_permission_that_is_none_grants_nothing(
    world: World, start: Start, upstream: Upstream
) -> None:
    for resource, action in (("evil\r\nX-Evil", "1"), ("a,users", "delete"), ("Evil", "read"), ("evil", "*")):
        await world.sql(
            "WITH p AS (INSERT INTO permissions (resource, action) VALUES ($1, $2) RETURNING id) "
            "INSERT INTO role_permissions SELECT r.id, p.id FROM custom_roles r, p",
            resource,
            action,
        )
    gate = await start(world.url)
    for user in (world.agent, world.root):
        assert (await ask(gate, get("/api/x", bearer(world.token(user))))).status == 200
    assert b"evil" not in upstream.seen.lower()
    assert "users:delete" not in (upstream.requests[0].one("X-User-Permissions") or "").split(",")


async def test_claims_reach_no_header(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url)
    claims: list[dict[str, Any]] = [{"email": "a\r\nX-Evil: 1"}, {"name": "\r\nX-Evil: 1"}, {"X-Evil": "1"}]
    for changes in claims:
        await ask(gate, get("/api/x", bearer(whatomate_token(world.agent, world.home, **changes))))
    assert b"Evil" not in upstream.seen


@pytest.mark.parametrize("name", ["Zoë Ünal", "王小明", "Ø \U0001f600", "  padded  ", "tab\tbed"])
async def test_a_name_beyond_ascii_is_sent_as_utf_8(
    world: World, start: Start, upstream: Upstream, name: str
) -> None:
    await world.sql("UPDATE users SET full_name = $1", name)
    gate = await start(world.url)
    assert (await ask(gate, get("/api/x", bearer(world.token(world.agent))))).status == 200
    assert upstream.requests[0].one("X-User-Name") == name.strip()
