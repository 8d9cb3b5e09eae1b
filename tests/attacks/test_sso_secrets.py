"""Attack: what opens something at a provider, or here, is read in logs or in what a browser is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote_plus, urlsplit

from tests.support.openid import SECRET, Traveller, enable, landed, sent_back, vouch

if TYPE_CHECKING:
    import pytest

    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World


async def test_no_secret_of_a_sign_in_is_written(
    world: World, start: Start, idp: OpenId, capsys: pytest.CaptureFixture[str]
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings(), log={"access": True}))
    there = await traveller.begin()
    back = idp.authorize(there)
    tokens = landed(await traveller.come_back(back))
    idp.token_answer = {"error": f"{SECRET} is wrong", "access_token": None}
    sent_back(await traveller.sign_in(idp))
    query = parse_qs(urlsplit(back).query)
    verifiers = [sent["code_verifier"] for path, sent in idp.seen if path == "/token"]
    secrets = [
        SECRET,
        quote_plus(SECRET),
        "access token of the provider",
        *verifiers,
        *query["code"],
        *query["state"],
    ]
    secrets += [tokens["access_token"], tokens["refresh_token"], traveller.cookies["whm_sso"]]
    await traveller.gate.stop()
    written = "".join(capsys.readouterr())
    assert "sso_signed_in" in written
    assert "sso_refused" in written
    for secret in secrets:
        assert secret not in written
    assert SECRET not in there
    assert verifiers[0] not in there
