"""Authentication: credentials, their precedence, and how each is refused."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import bcrypt
import pytest

from tests.observe.scraping import scraped, value
from tests.support.calls import ask, bearer, get, is_refusal, post, whatomate_token
from tests.support.peers import PATIENCE
from tests.support.processes import eventually
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.app import Gateway
    from tests.support.peers import Client, Upstream
    from tests.support.worlds import Start, World


PATH = "/api/contacts?page=2"
BAD_TOKEN, BAD_KEY = "Invalid or expired token", "Invalid API key"
GOOD_FORM = "whm_" + "0" * 32


def key(text: str) -> str:
    return f"X-API-Key: {text}"


async def add_key(world: World, text: str, *, width: int = 16, owner: UUID | None = None) -> UUID:
    """An API key as a row of Whatomate's, cheap to prove."""
    hashed = bcrypt.hashpw(text.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
    (row,) = await world.sql(
        "INSERT INTO api_keys (organization_id, user_id, name, key_prefix, key_hash) "
        "VALUES ($1, $2, 'test', $3, $4) RETURNING id",
        world.home,
        owner or world.admin,
        text[4 : 4 + width],
        hashed,
    )
    return row["id"]  # type: ignore[no-any-return]


async def test_a_stored_hash_that_is_none_refuses_its_own_credential_and_no_other(
    gate: Gateway, world: World
) -> None:
    broken = "$2a$10$" + "a" * 53  # in form a hash
    await world.sql("UPDATE users SET password_hash = $2 WHERE id = $1", world.agent, broken)
    sign_in = {"email": "agent@example.com", "password": PASSWORD}
    is_refusal(await ask(gate, post("/api/auth/login", sign_in)), 401, "Invalid credentials")
    first, second = "whm_" + "ab" * 8 + "01" * 8, "whm_" + "ab" * 8 + "02" * 8
    row = await add_key(world, first)
    await add_key(world, second)
    for stored in (broken, "$2a$31$" + "." * 53, "no hash"):
        await world.sql("UPDATE api_keys SET key_hash = $2 WHERE id = $1", row, stored)
        is_refusal(await ask(gate, get(PATH, key(first))), 401, BAD_KEY)
    assert (await ask(gate, get(PATH, key(second)))).status == 200, "a neighbour of the same prefix"


# -- what is refused, and how -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "Missing authorization"),
        (("Authorization: Basic dTpw",), "Invalid authorization header format"),
        (("Authorization: Bearer",), "Invalid authorization header format"),
        (("Authorization:",), "Missing authorization"),
        (("Authorization: a.b.c",), "Invalid authorization header format"),
        (("Authorization: Bearer a.b.c d",), "Invalid authorization header format"),
        (("Authorization: Bearer, a.b.c",), "Invalid authorization header format"),
        (("Authorization: Bearer \xe9.b.c",), "Invalid authorization header format"),
        (("Authorization: Bearer a.b.c",), BAD_TOKEN),
        (("Authorization: Bearer x",), BAD_TOKEN),
        ((key(""),), "Missing authorization"),
        ((key(""), "Authorization: Basic dTpw"), "Invalid authorization header format"),
        ((key("nonsense"),), BAD_KEY),
        ((key("whm_" + "A" * 32),), BAD_KEY),
        ((key("whm_" + "0" * 33),), BAD_KEY),
        ((key("é"),), BAD_KEY),
        ((key("nonsense"), "Authorization: Basic dTpw"), BAD_KEY),
        (("Cookie: whm_access=x.y.z",), "Missing authorization"),
        (("Proxy-Authorization: Bearer a.b.c",), "Missing authorization"),
    ],
)
async def test_what_is_no_credential_is_refused_in_known_words(
    client: Client, upstream: Upstream, lines: tuple[str, ...], message: str
) -> None:
    answer = await client.exchange(get(PATH, *lines))
    is_refusal(answer, 401, message)
    scheme = "ApiKey" if message == BAD_KEY else "Bearer"
    assert (answer.one("WWW-Authenticate") or "").startswith(f'{scheme} realm="whatomate"')
    assert upstream.seen == b""


@pytest.mark.parametrize("written", ["Bearer {}", "bearer {}", "BEARER {}", "bEARER  {}", "Bearer   {} "])
async def test_a_bearer_token_is_read_in_any_case_and_behind_any_number_of_spaces(
    gate: Gateway, world: World, written: str
) -> None:
    line = f"Authorization: {written.format(world.token(world.agent))}"
    for _ in range(2):  # proved, and then known
        assert (await ask(gate, get(PATH, line))).status == 200


@pytest.mark.parametrize(
    "written",
    ["Bearer {},", "Bearer {} {}", "Bearer={}", "Bearer\t{}", "Bearer {}=a", 'Bearer "{}"', "Bearer ="],
)
async def test_what_has_not_the_syntax_of_a_bearer_token_is_none_though_the_token_in_it_is_known(
    gate: Gateway, world: World, written: str
) -> None:
    token = world.token(world.agent)
    assert (await ask(gate, get(PATH, bearer(token)))).status == 200
    for _ in range(2):
        answer = await ask(gate, get(PATH, f"Authorization: {written.format(token, token)}"))
        is_refusal(answer, 401, "Invalid authorization header format")
    page = await scraped(gate)
    label = {"credential": "none", "outcome": "malformed"}
    assert value(page, "gateway_authentications_total", **label) == 2


async def test_the_challenge_tells_a_bad_token_from_none(client: Client) -> None:
    none = await client.exchange(get(PATH))
    bad = await client.exchange(get(PATH, bearer("a.b.c")))
    assert none.one("WWW-Authenticate") == 'Bearer realm="whatomate"'
    assert bad.one("WWW-Authenticate") == 'Bearer realm="whatomate", error="invalid_token"'


async def test_a_token_in_the_query_is_no_credential(gate: Gateway, world: World, upstream: Upstream) -> None:
    token = world.token(world.agent)
    for target in (f"/api/x?token={token}", f"/api/x?access_token={token}"):
        is_refusal(await ask(gate, get(target)), 401, "Missing authorization")
    is_refusal(await ask(gate, get(f"/ws?token={token}")), 401)  # a ticket's place, and this is none
    assert upstream.seen == b""


async def test_a_token_is_good_for_its_own_purpose_and_time(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    now = time.time()
    user: dict[str, Any] = {"user_id": world.agent, "organization_id": world.home}
    more: dict[str, Any] = {"email": "a@example.com", "role_id": None, "is_super_admin": False}
    bad = {
        "expired": world.token(world.agent, now=now - 3601),
        "of the future": whatomate_token(world.agent, world.home, nbf=int(now) + 60),
        "our refresh token": world.tokens.issue_refresh(**user, **more, now=now),
        "our ticket": world.tokens.issue_ticket(**user, now=now),
        "Whatomate's refresh token": whatomate_token(world.agent, world.home, jti=str(uuid4())),
        "Whatomate's ticket": whatomate_token(world.agent, world.home, sub="ws"),
        "Whatomate's, expired": whatomate_token(world.agent, world.home, seconds=-1),
        "a nobody's": world.token(uuid4()),
        "of no organization": world.token(world.agent, uuid4()),
        "of an organization of others": world.token(world.agent, world.other),
    }
    for what, token in bad.items():
        answer = await ask(gate, get(PATH, bearer(token)))
        assert answer.status == 401, what
        is_refusal(answer, 401, BAD_TOKEN)
        assert token not in answer.body.decode()
    assert upstream.seen == b""


# -- precedence ---------------------------------------------------------------------------------------------------


async def test_an_api_key_wins_over_a_token(gate: Gateway, world: World, upstream: Upstream) -> None:
    token = bearer(world.token(world.agent))
    for lines in ((key(world.api_key), token), (token, key(world.api_key))):
        assert (await ask(gate, get(PATH, *lines))).status == 200
        assert upstream.requests[-1].one("X-User-ID") == str(world.admin)
        assert upstream.requests[-1].one("X-Auth-Method") == "api_key"
    assert (await ask(gate, get(PATH, key(world.api_key), "Authorization: nonsense"))).status == 200


@pytest.mark.parametrize("text", ["nonsense", "x", GOOD_FORM])
async def test_a_good_token_does_not_rescue_a_bad_key(
    gate: Gateway, world: World, upstream: Upstream, text: str
) -> None:
    is_refusal(await ask(gate, get(PATH, bearer(world.token(world.agent)), key(text))), 401, BAD_KEY)
    assert upstream.seen == b""


# -- API keys -----------------------------------------------------------------------------------------------------


async def test_a_key_is_found_by_either_width_of_its_prefix(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    today, older = "whm_" + "a1" * 16, "whm_" + "b2" * 16
    ids = [await add_key(world, today), await add_key(world, older, width=8)]
    for text, one in zip((today, older), ids, strict=True):
        assert (await ask(gate, get(PATH, key(text)))).status == 200
        assert upstream.requests[-1].one("X-Auth-Key-ID") == str(one)


async def test_a_key_that_shares_a_prefix_is_not_the_key(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    first, second = "whm_" + "c" * 16 + "1" * 16, "whm_" + "c" * 16 + "2" * 16
    await add_key(world, first)
    is_refusal(await ask(gate, get(PATH, key(second))), 401, BAD_KEY)
    own = await add_key(world, second)

    async def is_found() -> bool:
        return (await ask(gate, get(PATH, key(second)))).status == 200

    await eventually(is_found)  # once the database's word of the new key has arrived
    assert upstream.requests[-1].one("X-Auth-Key-ID") == str(own)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE api_keys SET expires_at = now() - interval '1 second'",
        "UPDATE api_keys SET is_active = false",
        "UPDATE api_keys SET deleted_at = now()",
        "UPDATE api_keys SET key_hash = 'not a hash'",
        "UPDATE users SET is_active = false",
        "UPDATE users SET deleted_at = now()",
        "UPDATE organizations SET deleted_at = now()",
        "UPDATE user_organizations SET deleted_at = now()",
    ],
)
async def test_a_key_is_as_good_as_its_row_its_owner_and_its_organization(
    gate: Gateway, world: World, upstream: Upstream, change: str
) -> None:
    await world.sql(change)
    answer = await ask(gate, get(PATH, key(world.api_key)))
    is_refusal(answer, 401, BAD_KEY)
    assert world.api_key not in answer.body.decode()
    assert upstream.seen == b""


async def test_the_use_of_a_key_is_written_down(world: World, start: Start) -> None:
    gate = await start(world.url, keys={"used_interval_seconds": 0.05})
    await ask(gate, get(PATH, key(world.api_key)))
    written = "SELECT FROM api_keys WHERE id = $1 AND last_used_at IS NOT NULL"
    async with asyncio.timeout(PATIENCE):
        while not await world.sql(written, world.api_key_id):
            await asyncio.sleep(0.05)


async def test_200_requests_with_one_cold_key_prove_it_once(
    gate: Gateway, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, proofs = bcrypt.checkpw, []

    def counting(password: bytes, hashed: bytes) -> bool:
        proofs.append(hashed)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    answers = await asyncio.gather(*(ask(gate, get(PATH, key(world.api_key))) for _ in range(200)))
    assert {answer.status for answer in answers} == {200}
    assert len(upstream.requests) == 200
    assert len(proofs) == 1


async def test_a_proved_key_is_not_proved_again_when_its_verdict_is_read_anew(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, proofs = bcrypt.checkpw, []

    def counting(password: bytes, hashed: bytes) -> bool:
        proofs.append(hashed)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    gate = await start(world.url, identity={"cache_seconds": 0.02})
    for _ in range(3):
        assert (await ask(gate, get(PATH, key(world.api_key)))).status == 200
        await asyncio.sleep(0.03)
    assert len(proofs) == 1


async def test_the_last_use_of_a_key_is_told_by_the_databases_clock_and_not_by_this_machines(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A use that is written ahead of its time would hide all that come until then."""
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + 86_400)
    gateway = await start(world.url, keys={"used_interval_seconds": 0.05})
    assert (await ask(gateway, get(PATH, key(world.api_key)))).status == 200
    used = "SELECT last_used_at <= now() AS is_past FROM api_keys WHERE id = $1 AND last_used_at IS NOT NULL"
    async with asyncio.timeout(PATIENCE):
        while not (rows := await world.sql(used, world.api_key_id)):
            await asyncio.sleep(0.05)
    assert rows[0]["is_past"]
