"""The audit trail of single sign-on: who came back from which provider, and who was sent away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.calls import ask, bearer, claims_of, get, granted, post
from tests.support.openid import SSO, Traveller, enable, hosting, landed, sent_back
from tests.support.trails import recorded

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World


async def test_a_sign_in_by_a_provider_is_recorded_with_the_user_and_their_session(
    world: World, start: Start, idp: OpenId
) -> None:
    gate = await hosting(world, start, idp)
    tokens = landed(await Traveller(gate).sign_in(idp))
    (found,) = await recorded(world.store, "sso_sign_in")
    assert (found.outcome, found.user_id, found.organization_id) == ("success", world.agent, world.home)
    assert (found.email, found.facts) == ("agent@example.com", {"provider": "custom"})
    who = await granted(gate, get("/api/auth/whoami", bearer(tokens["access_token"])))
    assert str(found.session_id) == who["session_id"]
    assert claims_of(tokens["access_token"])["s"]


async def test_a_sign_in_that_fails_is_recorded_with_the_provider_and_the_cause(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    gate = await start(world.url, **idp.settings())
    sent_back(await Traveller(gate).fetch(f"{SSO}/custom/callback?code=x&state=y"))
    answer = await ask(gate, post(f"{SSO}/custom/backchannel-logout", {"logout_token": "x.y.z"}))
    assert answer.status == 400
    (found,) = await recorded(world.store, "sso_sign_in")
    assert (found.outcome, found.facts["provider"], found.user_id) == ("refused", "custom", None)
    assert found.facts["error"] == "SsoStateRejected"
    (left,) = await recorded(world.store, "sso_logout")
    assert (left.outcome, left.facts["error"]) == ("refused", "SsoIdentityRejected")
