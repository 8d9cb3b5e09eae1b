"""Provider URLs: which ones follow from an operator's settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from authcore.accounts.sso.registry import ProviderOptions, Registry
from tests.support.provider_rows import provider_row

if TYPE_CHECKING:
    from authcore.outbound import OutboundRequest, OutboundResponse


class Nobody:
    """An HTTP client that is not needed."""

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        raise AssertionError(request)


@pytest.mark.parametrize(
    ("url", "dialog", "api"),
    [
        ("https://www.facebook.com", "https://www.facebook.com", "https://graph.facebook.com"),
        (
            "https://www.facebook.com/v23.0",
            "https://www.facebook.com/v23.0",
            "https://graph.facebook.com/v23.0",
        ),
        ("https://www.facebook.com.test", "https://www.facebook.com.test", "https://www.facebook.com.test"),
    ],
)
async def test_facebook_signs_in_at_one_host_and_its_api_of_the_same_version_is_at_another(
    url: str, dialog: str, api: str
) -> None:
    options = ProviderOptions(google_url="", microsoft_url="", facebook_url=url)
    endpoints = await Registry(Nobody(), options, lambda: 0.0).provider(provider_row("facebook")).endpoints()
    assert endpoints.authorization == f"{dialog}/dialog/oauth"
    assert endpoints.token == f"{api}/oauth/access_token"
    assert endpoints.profile == f"{api}/me?fields=id,name,email"


async def test_a_custom_providers_endpoints_are_those_that_its_row_has_now() -> None:
    registry = Registry(Nobody(), ProviderOptions(google_url="", microsoft_url=""), lambda: 0.0)
    for host in ("one.test", "two.test", "one.test"):
        urls: dict[str, Any] = {
            name: f"https://{host}/{name}" for name in ("auth_url", "token_url", "profile_url")
        }
        endpoints = await registry.provider(replace(provider_row("custom"), **urls)).endpoints()
        assert [endpoints.authorization, endpoints.token, endpoints.profile] == [*urls.values()]
