"""Registering somebody else's address, and waiting for them to come with a token of their provider's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.accounts import new_invitation, register_by
from tests.support.calls import ask, bearer, get, granted, is_refusal, post
from tests.support.openid import Traveller, by_row, enable, landed

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.app import Gateway
    from tests.support.issuers import Provider
    from tests.support.openid import OpenId
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


VICTIM = "ceo@victim.test"
UNPROVED = "This e-mail is not confirmed for the account that has it. Please ask an administrator."


@pytest.fixture
async def gate(world: World, start: Start, provider: Provider) -> Gateway:
    return await start(world.url, issuer=provider.settings(), identity={"refused_seconds": 0.001})


def comes(provider: Provider, email: str = VICTIM, **claims: Any) -> bytes:
    return get("/api/x", bearer(provider.token(email=email, **claims)))


async def planted(gate: Gateway, world: World, email: str = VICTIM) -> str:
    """The id of the account that the attacker has registered, in an organization of their own."""
    newcomer = {"email": email, "password": "securepassword123", "full_name": "Evil"}
    made = await granted(gate, post("/api/auth/register", {**newcomer, "organization_id": str(world.other)}))
    return str(made["user"]["id"])


async def test_an_account_whose_address_nobody_proved_is_nobodys_by_single_sign_on(
    gate: Gateway, world: World, provider: Provider, upstream: Upstream
) -> None:
    await planted(gate, world)
    for email in (VICTIM, VICTIM.upper()):
        is_refusal(await ask(gate, comes(provider, email)), 401, UNPROVED)
    assert upstream.seen == b""


@pytest.mark.parametrize("email", [None, "somebody@victim.test"])
async def test_an_invitation_that_is_not_to_the_address_proves_nothing(
    gate: Gateway, world: World, provider: Provider, email: str | None
) -> None:
    named = {} if email is None else {"email": email}
    invitation = await new_invitation(gate, world, **named)
    await granted(gate, register_by(invitation, email=email or VICTIM))
    if email is not None:  # it was for another, who has changed their address since
        await world.sql("UPDATE users SET email = $1 WHERE email = $2", VICTIM, email)
    is_refusal(await ask(gate, comes(provider)), 401, UNPROVED)


async def test_an_invitation_to_the_address_proves_it(
    gate: Gateway, world: World, provider: Provider, upstream: Upstream
) -> None:
    invitation = await new_invitation(gate, world, email=VICTIM)
    made = await granted(gate, register_by(invitation, email=f" {VICTIM.title()}"))
    assert (await ask(gate, comes(provider))).status == 200
    assert upstream.requests[-1].one("X-User-ID") == made["user"]["id"]


async def test_an_account_that_joins_by_an_invitation_to_its_address_is_proved_by_it(
    gate: Gateway, world: World, provider: Provider
) -> None:
    await planted(gate, world)
    invitation = await new_invitation(gate, world, email=VICTIM)
    await granted(gate, register_by(invitation, email=VICTIM))
    assert (await ask(gate, comes(provider))).status == 200


async def test_an_operators_account_is_proved_and_so_is_one_of_whatomates_single_sign_on(
    gate: Gateway, world: World, provider: Provider
) -> None:
    assert (await ask(gate, comes(provider, "agent@example.com"))).status == 200
    user = await planted(gate, world)
    await world.sql("UPDATE users SET sso_provider = 'google' WHERE id = $1", user)
    assert (await ask(gate, comes(provider))).status == 200


@pytest.mark.parametrize("kind", ["custom", "microsoft"])
async def test_what_whatomate_believes_of_a_provider_that_anybody_may_run_proves_nothing(
    gate: Gateway, world: World, provider: Provider, kind: str
) -> None:
    """Its custom provider is what an organization's administrator writes into a row, and it believes any tenant."""
    user = await planted(gate, world)
    await world.sql("UPDATE users SET sso_provider = $2, sso_provider_id = '7' WHERE id = $1", user, kind)
    is_refusal(await ask(gate, comes(provider)), 401, UNPROVED)


@pytest.mark.parametrize("named", [False, True])
async def test_a_custom_provider_proves_an_address_if_an_operator_has_named_it(
    world: World, start: Start, provider: Provider, idp: OpenId, upstream: Upstream, *, named: bool
) -> None:
    """An administrator of another organization has the provider make the account, before its owner comes."""
    await by_row(world, idp, world.other, allow_auto_create=True, default_role_name="agent")
    idp.user = {"sub": "subject 1", "email": VICTIM, "email_verified": True}
    issuer = {"issuer": provider.settings(), "registration": "closed"}
    gate = await start(world.url, **idp.settings(**({} if named else {"custom_issuer": None})), **issuer)
    made = landed(await Traveller(gate).sign_in(idp))
    landed(await Traveller(gate).sign_in(idp))
    user = (await granted(gate, get("/api/auth/whoami", bearer(made["access_token"]))))["user_id"]
    if not named:
        is_refusal(await ask(gate, comes(provider)), 401, UNPROVED)
        await world.store.vouch([VICTIM])
    assert (await ask(gate, comes(provider))).status == 200
    assert upstream.requests[-1].one("X-User-ID") == user


async def test_what_a_custom_provider_bound_proves_an_address_for_its_named_issuer_alone(
    world: World, start: Start, provider: Provider, idp: OpenId
) -> None:
    await enable(world, "custom")
    await world.sql("DELETE FROM gateway_account_origins")
    unproved = {"issuer": provider.settings(), "registration": "closed"}
    gate = await start(world.url, **idp.settings(unproved_email=True), **unproved)
    landed(await Traveller(gate).sign_in(idp))
    assert (await ask(gate, comes(provider, "agent@example.com"))).status == 200
    another = await start(world.url, **idp.settings(custom_issuer="https://id.example"), **unproved)
    is_refusal(await ask(another, comes(provider, "agent@example.com")), 401, UNPROVED)


async def test_nothing_is_proved_of_an_address_that_an_account_was_given_later(
    gate: Gateway, world: World, provider: Provider
) -> None:
    await world.sql("UPDATE users SET email = $2 WHERE id = $1", world.agent, VICTIM)
    is_refusal(await ask(gate, comes(provider)), 401, UNPROVED)


async def test_a_user_from_before_proofs_were_noted_is_vouched_for_by_an_operator(
    gate: Gateway, world: World, provider: Provider
) -> None:
    """Whatomate made them; one has registered by themselves, and is vouched for by name alone."""
    attacker = await planted(gate, world)
    await world.sql("UPDATE users SET organization_id = $2 WHERE id = $1", attacker, world.home)
    await world.sql("DELETE FROM gateway_account_origins WHERE origin = 'operator'")
    is_refusal(await ask(gate, comes(provider, "agent@example.com")), 401, UNPROVED)
    assert await world.store.vouch([], world.home) == (4, 5)
    assert (await ask(gate, comes(provider, "agent@example.com"))).status == 200
    is_refusal(await ask(gate, comes(provider)), 401, UNPROVED)
    assert await world.store.vouch([VICTIM.upper(), "nobody@example.com"]) == (1, 1)
    assert (await ask(gate, comes(provider))).status == 200


async def test_a_twin_in_another_case_neither_is_found_nor_stands_in_the_way(
    gate: Gateway, world: World, provider: Provider, upstream: Upstream
) -> None:
    """Whatomate's unique index tells cases apart."""
    await insert(world, "Agent@Example.com", world.other)
    assert (await ask(gate, comes(provider, "Agent@Example.com"))).status == 200
    assert upstream.requests[-1].one("X-User-ID") == str(world.agent)


async def insert(world: World, email: str, organization: UUID) -> None:
    await world.sql(
        "INSERT INTO users (organization_id, email, full_name, created_at) VALUES ($1, $2, 'A', now())",
        organization,
        email,
    )


async def test_a_setting_takes_whoever_has_the_address(
    world: World, start: Start, provider: Provider, upstream: Upstream
) -> None:
    gate = await start(world.url, issuer=provider.settings(unproved_email=True), registration="invite")
    await insert(world, VICTIM, world.home)
    assert (await ask(gate, comes(provider))).status == 200


async def test_a_foreign_token_by_the_users_id_needs_no_proof_of_an_address(
    world: World, start: Start, provider: Provider
) -> None:
    gate = await start(world.url, issuer=provider.settings(claim_user_id="sub"))
    user = await planted(gate, world)
    assert (await ask(gate, comes(provider, sub=user))).status == 200
