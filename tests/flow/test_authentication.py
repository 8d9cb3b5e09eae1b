"""Who is asking: credentials, their precedence, and what the upstream is told."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import bcrypt
import pytest

from authcore import permissions
from tests.flow.calls import ask, bearer, get, is_refusal, request, whatomate_token
from tests.flow.peers import Client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from gateway.app import Gateway
    from tests.flow.conftest import World
    from tests.flow.peers import Message, Upstream

    Start = Callable[..., Awaitable[Gateway]]

PATH = "/api/contacts?page=2"
BAD_TOKEN, BAD_KEY = "Invalid or expired token", "Invalid API key"
GOOD_FORM = "whm_" + "0" * 32


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    return await start(world.url)


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


# -- what is refused, and how -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "Missing authorization"),
        (("Authorization: Basic dTpw",), "Invalid authorization header format"),
        (("Authorization: Bearer",), "Invalid authorization header format"),
        (("Authorization:",), "Invalid authorization header format"),
        (("Authorization: a.b.c",), "Invalid authorization header format"),
        (("Authorization: Bearer a.b.c d",), "Invalid authorization header format"),
        (("Authorization: Bearer, a.b.c",), "Invalid authorization header format"),
        (("Authorization: Bearer \xe9.b.c",), "Invalid authorization header format"),
        (("Authorization: Bearer a.b.c",), BAD_TOKEN),
        (("Authorization: Bearer x",), BAD_TOKEN),
        ((key(""),), BAD_KEY),
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


async def test_the_challenge_tells_a_bad_token_from_none(client: Client) -> None:
    none = await client.exchange(get(PATH))
    bad = await client.exchange(get(PATH, bearer("a.b.c")))
    assert none.one("WWW-Authenticate") == 'Bearer realm="whatomate"'
    assert bad.one("WWW-Authenticate") == 'Bearer realm="whatomate", error="invalid_token"'


async def test_a_token_in_the_query_is_no_credential(gate: Gateway, world: World, upstream: Upstream) -> None:
    token = world.token(world.agent)
    for target in (f"/api/x?token={token}", f"/api/x?access_token={token}", f"/ws?token={token}"):
        is_refusal(await ask(gate, get(target)), 401, "Missing authorization")
    assert upstream.seen == b""


async def test_a_token_is_good_for_its_own_purpose_and_time(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    now = time.time()
    user = {"user_id": world.agent, "organization_id": world.home}
    more = {"email": "a@example.com", "role_id": None, "is_super_admin": False}
    bad = {
        "expired": world.token(world.agent, now=now - 3601),
        "of the future": world.token(world.agent, now=now + 60),
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


# -- precedence -------------------------------------------------------------------------------------------------


async def test_an_api_key_wins_over_a_token(gate: Gateway, world: World, upstream: Upstream) -> None:
    token = bearer(world.token(world.agent))
    for lines in ((key(world.api_key), token), (token, key(world.api_key))):
        assert (await ask(gate, get(PATH, *lines))).status == 200
        assert upstream.requests[-1].one("X-User-ID") == str(world.admin)
        assert upstream.requests[-1].one("X-Auth-Method") == "api_key"
    assert (await ask(gate, get(PATH, key(world.api_key), "Authorization: nonsense"))).status == 200


@pytest.mark.parametrize("text", ["nonsense", "", GOOD_FORM])
async def test_a_good_token_does_not_rescue_a_bad_key(
    gate: Gateway, world: World, upstream: Upstream, text: str
) -> None:
    is_refusal(await ask(gate, get(PATH, bearer(world.token(world.agent)), key(text))), 401, BAD_KEY)
    assert upstream.seen == b""


# -- API keys ---------------------------------------------------------------------------------------------------


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
    await ask(gate, get(PATH, key(second)))
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
    for _ in range(100):
        (row,) = await world.sql("SELECT last_used_at FROM api_keys WHERE id = $1", world.api_key_id)
        if row["last_used_at"] is not None:
            return
        await asyncio.sleep(0.05)
    pytest.fail("last_used_at was never written")


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


# -- what changes while a verdict is remembered -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE users SET is_active = false", "Account is disabled"),
        ("UPDATE users SET deleted_at = now()", BAD_TOKEN),
        ("UPDATE organizations SET deleted_at = now()", BAD_TOKEN),
        ("UPDATE user_organizations SET deleted_at = now()", BAD_TOKEN),
    ],
)
async def test_a_verdict_does_not_outlive_its_seconds(
    world: World, start: Start, upstream: Upstream, change: str, message: str
) -> None:
    gate = await start(world.url, identity={"cache_seconds": 0.2})
    raw = get(PATH, bearer(world.token(world.agent)))
    assert (await ask(gate, raw)).status == 200
    await world.sql(change)
    await asyncio.sleep(0.25)
    is_refusal(await ask(gate, raw), 401, message)
    assert len(upstream.requests) == 1


async def test_a_changed_role_is_seen_when_the_verdict_is_read_anew(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, identity={"cache_seconds": 0.2})
    raw = get(PATH, bearer(world.token(world.agent)))
    await ask(gate, raw)
    assert upstream.requests[-1].one("X-User-Role") == "agent"
    await world.sql(
        "UPDATE user_organizations SET role_id = (SELECT id FROM custom_roles WHERE name = 'admin' "
        "AND organization_id = $2) WHERE user_id = $1",
        world.agent,
        world.home,
    )
    await asyncio.sleep(0.25)
    await ask(gate, raw)
    assert upstream.requests[-1].one("X-User-Role") == "admin"


async def test_a_remembered_verdict_ends_with_its_token(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    now = time.time()
    ends = int(now) + 2
    raw = get(PATH, bearer(world.token(world.agent, now=ends - 3600)))
    assert (await ask(gate, raw)).status == 200
    await asyncio.sleep(ends - time.time() + 0.01)
    is_refusal(await ask(gate, raw), 401, BAD_TOKEN)
    assert len(upstream.requests) == 1


# -- the organization acted in ----------------------------------------------------------------------------------


async def test_the_organization_asked_for_is_acted_in_by_its_members(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    async def acting(user: UUID, organization: object) -> Message:
        return await ask(
            gate, get(PATH, bearer(world.token(user)), f"X-Organization-ID: {organization}")
        )

    for user, organization, role in (
        (world.both, world.other, "manager"),
        (world.both, world.home, "agent"),
        (world.root, world.other, None),
    ):
        assert (await acting(user, organization)).status == 200
        told = upstream.requests[-1]
        assert (told.one("X-Org-ID"), told.one("X-User-Role")) == (str(organization), role)
        assert told.one("X-User-ID") == str(user)
    seen = len(upstream.requests)
    is_refusal(await acting(world.agent, world.other), 403, "You are not a member of this organization")
    is_refusal(await acting(world.both, uuid4()), 404, "Organization not found")
    is_refusal(await acting(world.root, uuid4()), 404, "Organization not found")
    for nonsense in ("", "7", "not-a-uuid", f"{world.other}, {world.home}"):
        is_refusal(await acting(world.both, nonsense), 400)
    assert len(upstream.requests) == seen


async def test_two_organizations_asked_for_are_none(gate: Gateway, world: World, upstream: Upstream) -> None:
    raw = get(
        PATH,
        bearer(world.token(world.both)),
        f"X-Organization-ID: {world.home}",
        f"x-organization-id: {world.other}",
    )
    is_refusal(await ask(gate, raw), 400)
    assert upstream.seen == b""


async def test_a_verdict_in_one_organization_is_none_in_another(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    token = bearer(world.token(world.both))
    for organization in (world.home, world.other, world.home, world.other):
        await ask(gate, get(PATH, token, f"X-Organization-ID: {organization}"))
        assert upstream.requests[-1].one("X-Org-ID") == str(organization)


# -- what the upstream is told ----------------------------------------------------------------------------------


async def test_the_identity_is_told_whole(gate: Gateway, world: World, upstream: Upstream) -> None:
    token = bearer(world.token(world.agent))
    await ask(gate, get(PATH, token))
    told = upstream.requests[0]
    (row,) = await world.sql("SELECT role_id FROM user_organizations WHERE user_id = $1", world.agent)
    names = {name.decode(): value.decode() for name, value in told.lines}
    assert {name: value for name, value in names.items() if name.startswith(("X-User", "X-Org", "X-Auth"))} == {
        "X-User-ID": str(world.agent),
        "X-User-Email": "agent@example.com",
        "X-User-Name": "Agent",
        "X-User-Role": "agent",
        "X-User-Role-ID": str(row["role_id"]),
        "X-User-Permissions": "analytics.agents:read,canned_responses:read,chat:read,chat:write,contacts:read,"
        "tags:read,transfers:pickup,transfers:read,transfers:write",
        "X-User-Super-Admin": "false",
        "X-Org-ID": str(world.home),
        "X-Auth-Method": "jwt",
    }
    assert told.one("Authorization") == token.partition(": ")[2]  # the upstream may check it again
    assert told.start == b"GET /api/contacts?page=2 HTTP/1.1"


async def test_a_key_is_told_with_its_id_and_passes(gate: Gateway, world: World, upstream: Upstream) -> None:
    await ask(gate, get(PATH, key(world.api_key)))
    told = upstream.requests[0]
    assert told.one("X-Auth-Method") == "api_key"
    assert told.one("X-Auth-Key-ID") == str(world.api_key_id)
    assert told.one("X-User-ID") == str(world.admin)
    assert told.one("X-API-Key") == world.api_key


async def test_a_super_admin_has_every_permission(gate: Gateway, world: World, upstream: Upstream) -> None:
    await ask(gate, get(PATH, bearer(world.token(world.root)), f"X-Organization-ID: {world.other}"))
    told = upstream.requests[0]
    assert told.one("X-User-Super-Admin") == "true"
    granted = (told.one("X-User-Permissions") or "").split(",")
    assert granted == sorted(granted)
    assert set(granted) >= set(permissions.ALL)


async def test_the_claims_of_a_token_are_not_believed_but_looked_up(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    token = whatomate_token(
        world.agent, world.home, is_super_admin=True, email="root@example.com", role_id=str(uuid4())
    )
    await ask(gate, get(PATH, bearer(token)))
    told = upstream.requests[0]
    assert told.one("X-User-Super-Admin") == "false"
    assert told.one("X-User-Email") == "agent@example.com"
    assert told.one("X-User-Role") == "agent"


async def test_whatomates_own_token_opens_the_gateway(gate: Gateway, world: World, upstream: Upstream) -> None:
    (row,) = await world.sql("SELECT role_id FROM users WHERE id = $1", world.agent)
    for changes in ({}, {"role_id": str(row["role_id"])}):
        assert (await ask(gate, get(PATH, bearer(whatomate_token(world.agent, world.home, **changes))))).status == 200
    assert upstream.requests[0].one("X-User-ID") == str(world.agent)


async def test_the_previous_secret_verifies_and_does_not_sign(world: World, start: Start) -> None:
    current = "another secret of the tests, of 32 bytes or more"
    gate = await start(
        world.url, jwt={"secret": current, "previous_secrets": ("a-secret-of-the-tests-and-of-nobody-else",)}
    )
    assert (await ask(gate, get(PATH, bearer(world.token(world.agent))))).status == 200
    without = await start(world.url, jwt={"secret": current})
    is_refusal(await ask(without, get(PATH, bearer(world.token(world.agent)))), 401, BAD_TOKEN)


async def test_the_names_of_the_headers_are_settings(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url, header={"user_id": "Remote-User", "org_id": "Tenant"})
    lines = ("Remote_User: root", "TENANT: root", "X-User-ID: root", bearer(world.token(world.agent)))
    await ask(gate, get(PATH, *lines))
    told = upstream.requests[0]
    assert told.all("Remote-User") == [str(world.agent)]
    assert told.all("Tenant") == [str(world.home)]
    assert told.one("X-User-ID") is None
    assert b"root" not in upstream.seen


# -- without a credential ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [
        *(("GET", path) for path in ("/", "/health", "/ready", "/login", "/assets/app.js?v=1", "/apiary", "/wss")),
        *(("GET", path) for path in ("/api/auth/sso/google/callback?code=x", "/api/custom-actions/redirect/abc")),
        *((method, "/api/webhook?hub.mode=subscribe") for method in ("GET", "HEAD")),
    ],
)
async def test_a_public_path_needs_neither_credential_nor_database(
    client: Client, upstream: Upstream, method: str, target: str
) -> None:
    await client.send(request(method, target))
    assert (await client.response(head_only=method == "HEAD")).status == 200
    assert upstream.requests[0].start == f"{method} {target} HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("method", "target"),
    [
        *(("GET", path) for path in ("/api", "/api/", "/api/contacts", "/api/webhooks", "/api/auth/me", "/ws")),
        *((method, "/api/webhook") for method in ("PUT", "DELETE", "PATCH", "OPTIONS")),
        *(("GET", path) for path in ("/api/webhook/", "/api/webhook/x", "/api/health", "/api/custom-actions")),
    ],
)
async def test_every_other_path_needs_a_credential(
    client: Client, upstream: Upstream, method: str, target: str
) -> None:
    is_refusal(await client.exchange(request(method, target)), 401, "Missing authorization")
    assert upstream.seen == b""


async def test_a_webhook_passes_byte_for_byte(client: Client, upstream: Upstream) -> None:
    body = bytes(range(256)) * 3
    raw = request("POST", "/api/webhook", "Content-Type: application/json", "X-Hub-Signature-256: sha256=ab", body=body)
    assert (await client.exchange(raw)).status == 200
    assert upstream.requests[0].body == body
    assert upstream.requests[0].one("X-Hub-Signature-256") == "sha256=ab"


async def test_who_is_anonymous_has_no_identity_not_even_their_own(client: Client, upstream: Upstream) -> None:
    lines = ("X-User-ID: 1", "x-org-id: 2", "X_User_Role: admin", "X-Auth-Method: jwt", "X-User-Anything: 3")
    assert (await client.exchange(get("/health", *lines, bearer("not.a.token")))).status == 200
    told = upstream.requests[0]
    assert not [name for name, _ in told.lines if name.lower().startswith((b"x-user", b"x_user", b"x-org", b"x-auth"))]
    assert told.one("Authorization") == "Bearer not.a.token"  # nobody checked it, and nobody says so


async def test_a_preflight_carries_no_credential(client: Client, upstream: Upstream) -> None:
    lines = ("Origin: https://app.example.com", "Access-Control-Request-Method: PUT")
    assert (await client.exchange(request("OPTIONS", "/api/contacts", *lines))).status == 200
    assert (await client.exchange(request("OPTIONS", "/api/auth/login", *lines))).status == 200
    assert len(upstream.requests) == 2
    for told in upstream.requests:
        assert told.one("X-User-ID") is None


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        ("OPTIONS", ()),
        ("OPTIONS", ("Origin: https://app.example.com",)),
        ("OPTIONS", ("Access-Control-Request-Method: PUT",)),
        ("OPTIONS", ("Origin: https://x", "Access_Control_Request_Method: PUT")),
        ("GET", ("Origin: https://x", "Access-Control-Request-Method: PUT")),
        ("POST", ("Origin: https://x", "Access-Control-Request-Method: PUT")),
        ("POST", ("Origin: https://x", "Access-Control-Request-Method: PUT", "X-HTTP-Method-Override: OPTIONS")),
    ],
)
async def test_what_only_resembles_a_preflight_needs_a_credential(
    client: Client, upstream: Upstream, method: str, lines: tuple[str, ...]
) -> None:
    is_refusal(await client.exchange(request(method, "/api/contacts", *lines)), 401, "Missing authorization")
    assert upstream.seen == b""


# -- an outage --------------------------------------------------------------------------------------------------


async def test_an_outage_is_nobodys_fault(client: Client, world: World, upstream: Upstream) -> None:
    for line in (bearer(world.token(world.agent)), key(world.api_key)):
        answer = await client.exchange(get(PATH, line))  # `client` is at a gateway without a database
        is_refusal(answer, 503)
        assert answer.one("WWW-Authenticate") is None
    is_refusal(await client.exchange(get(PATH, bearer("a.b.c"))), 401)  # no database would make it better
    assert upstream.seen == b""


async def test_who_is_known_is_served_through_a_short_outage_and_a_stranger_is_asked_to_wait(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    known, stranger = (get(PATH, bearer(world.token(user))) for user in (world.agent, world.both))
    assert (await ask(gate, known)).status == 200
    await world.sql("ALTER TABLE users RENAME TO users_gone")
    assert (await ask(gate, known)).status == 200
    is_refusal(await ask(gate, stranger), 503)
    await world.sql("ALTER TABLE users_gone RENAME TO users")
    assert (await ask(gate, stranger)).status == 200
    assert len(upstream.requests) == 3


async def test_one_connection_may_carry_many_callers(gate: Gateway, world: World, upstream: Upstream) -> None:
    async with Client(gate.address) as client:
        for user in (world.agent, world.admin, world.both):
            assert (await client.exchange(get(PATH, bearer(world.token(user))))).status == 200
            assert upstream.requests[-1].one("X-User-ID") == str(user)
        is_refusal(await client.exchange(get(PATH)), 401)
        assert (await client.exchange(get("/health"))).status == 200
    assert upstream.requests[-1].one("X-User-ID") is None
