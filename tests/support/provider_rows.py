"""Rows of identity providers, as the store reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from authcore.store.sso_rows import ProviderRow

if TYPE_CHECKING:
    from uuid import UUID


def provider_row(kind: str, organization_id: UUID | None = None) -> ProviderRow:
    """Return a row of a kind that makes no accounts, names no URLs and lets all domains in."""
    return ProviderRow(
        id=uuid4(),
        organization_id=organization_id or uuid4(),
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
