"""Attack: an e-mail that folds onto, looks like, or ends like that of somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.openid import Traveller, enable, landed, sent_back, vouch

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

UNVERIFIED = "Your provider has not verified your e-mail address"


LOOKALIKES: tuple[object, ...] = (
    "bo\N{KELVIN SIGN}@example.com",
    "\N{CYRILLIC SMALL LETTER A}gent@example.com",
    "agent\N{ZERO WIDTH SPACE}@example.com",
    "agent@example.com.",
    "agent@ex\N{SOFT HYPHEN}ample.com",
    "agent@example.com\n",
    "agent@example.com\0",
    "agent @example.com",
    "agent",
    "a@b@example.com",
    "",
    7,
    ["agent@example.com"],
    " agent@example.com",
)


async def test_an_e_mail_that_only_looks_like_one_finds_nobody(
    world: World, start: Start, idp: OpenId
) -> None:
    await world.sql("UPDATE users SET email = 'bok@example.com' WHERE id = $1", world.root)
    await enable(world, "custom", allow_auto_create=True)
    await world.store.vouch(["agent@example.com", "bok@example.com"])
    traveller = Traveller(await start(world.url, **idp.settings()))
    for email in LOOKALIKES:
        idp.user = {**idp.user, "email": email}
        words = sent_back(await traveller.sign_in(idp))
        assert words in {UNVERIFIED, "Failed to get user information"}, email
    assert await world.sql("SELECT FROM gateway_sessions") == []


async def test_an_e_mail_that_nobody_verified_finds_nobody(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom", allow_auto_create=True)
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    for verified in (None, False, "false", 1, "yes", [True]):
        idp.user = {**idp.user, "email_verified": verified}
        assert sent_back(await traveller.sign_in(idp)) == UNVERIFIED, verified


async def test_an_e_mail_in_another_case_is_the_same_account_and_makes_no_second(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom", allow_auto_create=True)
    await vouch(world, "agent")
    before = await world.sql("SELECT count(*) FROM users")
    idp.user = {**idp.user, "email": "Agent@EXAMPLE.com"}
    traveller = Traveller(await start(world.url, **idp.settings()))
    landed(await traveller.sign_in(idp))
    assert await world.sql("SELECT count(*) FROM users") == before
    (session,) = await world.sql("SELECT user_id FROM gateway_sessions")
    assert session["user_id"] == world.agent


async def test_twins_in_other_cases_do_not_keep_its_owner_out_however_many_are_older(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    for number in range(6):
        twin = "agent@example.com"[:number] + "agent@example.com"[number:].upper()
        await world.sql(
            "INSERT INTO users (organization_id, email, full_name, created_at) "
            "VALUES ($1, $2, 'A', now() - interval '1 year')",
            world.other,
            twin,
        )
    traveller = Traveller(await start(world.url, **idp.settings()))
    for _ in range(2):  # by the e-mail, then by the binding
        landed(await traveller.sign_in(idp))
    sessions = await world.sql("SELECT user_id FROM gateway_sessions")
    assert {row["user_id"] for row in sessions} == {world.agent}


ALLOWED = (
    ("example.com", "agent@example.com", True),
    (" Example.COM , other.test", "agent@EXAMPLE.com", True),
    ("example.com", "agent@evil-example.com", False),
    ("example.com", "agent@example.com.evil.test", False),
    ("example.com", "agent@sub.example.com", False),
    ("sub.example.com", "agent@example.com", False),
    (",", "agent@anything.test", False),
    (" ", "agent@example.com", False),
    ("", "agent@anything.test", True),
    ("*", "agent@example.com", False),
)


async def test_a_domain_is_allowed_as_it_is_written(world: World, start: Start, idp: OpenId) -> None:
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    for number, (domains, email, may) in enumerate(ALLOWED):
        await enable(world, "custom", allow_auto_create=True, allowed_domains=domains)
        idp.user = {**idp.user, "email": email}
        idp.id_token = {} if email.lower() == "agent@example.com" else {"sub": f"subject {number + 2}"}
        answer = await traveller.sign_in(idp)
        if may:
            landed(answer)
        else:
            assert sent_back(answer) == "Email domain not allowed for this organization", (domains, email)
