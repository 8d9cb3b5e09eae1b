"""Attack: somebody else's account by single sign-on: registered before its owner came, or claimed elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, granted, is_refusal, post, request
from tests.support.openid import SSO, Traveller, enable, hosting, landed, sent_back, vouch
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

NOT_LINKED = "This account is not linked to your provider. Contact your administrator."
VICTIM = "ceo@victim.test"


async def test_an_account_that_was_registered_first_is_not_the_owners_by_single_sign_on(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom", allow_auto_create=True)
    gate = await start(world.url, **idp.settings())
    newcomer = {"email": VICTIM, "password": "securepassword123", "full_name": "Evil"}
    await granted(gate, post("/api/auth/register", {**newcomer, "organization_id": str(world.other)}))
    idp.user = {**idp.user, "email": VICTIM}
    assert sent_back(await Traveller(gate).sign_in(idp)) == NOT_LINKED
    await world.store.vouch([VICTIM])
    landed(await Traveller(gate).sign_in(idp))


async def test_nothing_is_proved_of_an_e_mail_that_an_account_was_given_later(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    await world.sql("UPDATE users SET email = 'ceo@victim.test' WHERE id = $1", world.agent)
    idp.user = {**idp.user, "email": "ceo@victim.test"}
    answer = await Traveller(await start(world.url, **idp.settings())).sign_in(idp)
    assert sent_back(answer) == "This account is not linked to your provider. Contact your administrator."


async def test_an_account_of_single_sign_on_is_not_taken_by_registering(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom", allow_auto_create=True)
    gate = await start(world.url, **idp.settings())
    idp.user = {**idp.user, "email": VICTIM}
    landed(await Traveller(gate).sign_in(idp))
    newcomer = {"email": VICTIM, "password": "securepassword123", "full_name": "Evil"}
    answer = await ask(gate, post("/api/auth/register", {**newcomer, "organization_id": str(world.other)}))
    assert answer.status == 409
    for password in ("", "securepassword123"):
        answer = await ask(gate, post("/api/auth/login", {"email": VICTIM, "password": password}))
        assert answer.status in {400, 401}


async def test_another_user_of_the_provider_with_the_same_e_mail_is_somebody_else(
    world: World, start: Start, idp: OpenId
) -> None:
    """An address may be given to a new employee: the account is its former owner's."""
    gate = await hosting(world, start, idp)
    landed(await Traveller(gate).sign_in(idp))
    idp.id_token = {"sub": "subject 2"}
    assert sent_back(await Traveller(gate).sign_in(idp)) == NOT_LINKED


async def test_an_account_that_is_bound_to_one_provider_is_not_another_ones(
    world: World, start: Start, idp: OpenId
) -> None:
    for kind in ("custom", "google"):
        await enable(world, kind)
    await vouch(world, "agent")
    gate = await start(world.url, **idp.settings())
    landed(await Traveller(gate).sign_in(idp, "google"))
    assert sent_back(await Traveller(gate).sign_in(idp, "custom")) == NOT_LINKED


async def test_a_custom_provider_that_was_replaced_signs_in_nobody_by_a_subject_of_its_own(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent", "admin")
    urls = {
        "auth_url": f"{idp.url}/authorize",
        "token_url": f"{idp.url}/token",
        "user_info_url": f"{idp.url}/userinfo",
    }
    landed(await Traveller(await start(world.url, **idp.settings())).sign_in(idp))
    await enable(world, "custom", **urls)
    gate = await start(world.url, **idp.settings(custom_issuer=None))
    idp.user = {"sub": "subject 1", "email": "admin@example.com", "email_verified": True}
    assert sent_back(await Traveller(gate).sign_in(idp)) == NOT_LINKED


@pytest.mark.parametrize("victim", ["root", "both"])
async def test_a_provider_that_a_row_alone_names_speaks_for_its_own_organization(
    world: World, start: Start, idp: OpenId, victim: str
) -> None:
    """Its administrator writes the row, and what the provider says: of super admins and other organizations, too."""
    await vouch(world, victim)
    await enable(
        world,
        "custom",
        organization_id=world.home if victim == "root" else world.other,
        auth_url=f"{idp.url}/authorize",
        token_url=f"{idp.url}/token",
        user_info_url=f"{idp.url}/userinfo",
    )
    idp.user = {"sub": "subject 1", "email": f"{victim}@example.com", "email_verified": True}
    by_row = await start(world.url, **idp.settings(custom_issuer=None))
    assert sent_back(await Traveller(by_row).sign_in(idp)) == NOT_LINKED
    by_operator = await start(world.url, **idp.settings())
    landed(await Traveller(by_operator).sign_in(idp))


async def test_a_user_who_was_switched_off_or_removed_is_not_signed_in(
    world: World, start: Start, idp: OpenId
) -> None:
    gate = await hosting(world, start, idp)
    landed(await Traveller(gate).sign_in(idp))
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    assert sent_back(await Traveller(gate).sign_in(idp)) == "Account is disabled"
    await world.sql("UPDATE users SET is_active = true WHERE id = $1", world.agent)
    await world.sql("UPDATE user_organizations SET deleted_at = now() WHERE user_id = $1", world.agent)
    assert sent_back(await Traveller(gate).sign_in(idp)) == "You are not a member of this organization"


async def test_signing_in_elsewhere_does_not_end_with_a_password_that_was_planted(
    world: World, start: Start, idp: OpenId
) -> None:
    """The password of a linked account stays its owner's, and changing it ends the session that began before."""
    gate = await hosting(world, start, idp)
    token = landed(await Traveller(gate).sign_in(idp))["access_token"]
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    other = await granted(gate, post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD}))
    raw = post("/api/auth/password", body, bearer(other["access_token"])).replace(b"POST", b"PUT", 1)
    assert (await ask(gate, raw)).status == 200
    assert (await ask(gate, get("/api/x", bearer(token)))).status == 401


async def test_nothing_of_hosted_single_sign_on_reaches_whatomates_own(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    hosted = [
        await start(world.url, **idp.settings()),
        await start(world.url, **idp.settings(), preset="whatomate"),
    ]
    forwarding = await start(world.url, sso="forwarded")
    for method, path in (
        ("GET", ""),
        ("GET", "/custom"),
        ("GET", "/custom/init/"),
        ("GET", "/another/init"),
        ("GET", "/another/callback?state=a&code=b"),
        ("POST", "/google/backchannel-logout"),
        ("PUT", "/providers/"),
    ):
        raw = request(method, f"{SSO}{path}", body=b"")
        for gate in hosted:
            is_refusal(await ask(gate, raw), 404)
        assert (await ask(forwarding, raw)).status == 200, path
    own = await start(world.url, **idp.settings(), public_paths=(f"{SSO}/mine/*",))
    assert (await ask(own, get(f"{SSO}/mine/init"))).status == 200
