"""Sign-ins at providers of others, as their packages bring them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.calls import ask, bearer, get
from tests.support.openid import LOOPBACK, Traveller, enable, landed, vouch
from tests.support.providers import Foreign, document_of, npm_provider, pypi_provider, visit

if TYPE_CHECKING:
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World

ORIGIN = "http://gateway.test"


def hosted(provider: Foreign) -> dict[str, Any]:
    return {
        "sso": "hosted",
        "provider": {"custom_issuer": provider.url, "private_networks": LOOPBACK, "timeout_seconds": 10},
        "cookie": {"secure": False},
    }


async def test_oidc_provider_mock_signs_a_user_in(world: World, start: Start, upstream: Upstream) -> None:
    async with pypi_provider() as provider:
        await enable(world, "custom")
        await vouch(world, "agent")
        gate = await start(world.url, **hosted(provider))
        traveller = Traveller(gate)
        back = await visit(await traveller.begin(), {"sub": "alice"})
        tokens = landed(await traveller.come_back(back))
        assert (await ask(gate, get("/api/x", bearer(tokens["access_token"])))).status == 200
        assert upstream.requests[-1].one("X-User-ID") == str(world.agent)


async def test_oauth2_mock_server_signs_a_user_in(world: World, start: Start, upstream: Upstream) -> None:
    async with npm_provider("oauth2-mock-server") as provider:
        await enable(world, "custom")
        await vouch(world, "agent")
        await provider.know(ORIGIN)
        assert (await document_of(provider.url))["issuer"] == provider.url
        gate = await start(world.url, **hosted(provider))
        traveller = Traveller(gate)
        tokens = landed(await traveller.come_back(await visit(await traveller.begin())))
        assert (await ask(gate, get("/api/x", bearer(tokens["access_token"])))).status == 200
        assert upstream.requests[-1].one("X-User-ID") == str(world.agent)
