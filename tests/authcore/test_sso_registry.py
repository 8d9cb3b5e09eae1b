"""Which URLs a provider has, by what an operator says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from authcore.accounts.sso.registry import ProviderOptions, Registry
from authcore.store.sso_rows import ProviderRow

if TYPE_CHECKING:
    from authcore.outbound import OutboundRequest, OutboundResponse


class Nobody:
    """An HTTP client that is not needed."""

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        raise AssertionError(request)


def row(kind: str) -> ProviderRow:
    return ProviderRow(
        id=uuid4(),
        organization_id=uuid4(),
        provider=kind,
        client_id="client",
        client_secret="",
        allow_auto_create=False,
        default_role_name="",
        allowed_domains=None,
        auth_url="",
        token_url="",
        profile_url="",
    )


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
    endpoints = await Registry(Nobody(), options, lambda: 0.0).provider(row("facebook")).endpoints()
    assert endpoints.authorization == f"{dialog}/dialog/oauth"
    assert endpoints.token == f"{api}/oauth/access_token"
    assert endpoints.profile == f"{api}/me?fields=id,name,email"
