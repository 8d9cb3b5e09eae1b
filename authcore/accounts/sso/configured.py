"""Configured providers: the enabled rows of ``sso_providers``, each with its provider and the client that it names.

Law: a client's secret leaves here for the provider's token endpoint alone; it is in no log, error or ``repr``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from authcore.accounts.sso.exchange import Client
from authcore.accounts.sso.identities import ProviderKind
from authcore.crypto.whatomate_secrets import SecretUnreadable, read_secret
from authcore.errors import SsoNotConfigured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.accounts.sso.providers import Provider
    from authcore.accounts.sso.registry import Registry
    from authcore.store.sso_rows import ProviderRow, SsoStore


@dataclass(frozen=True, slots=True)
class Configured:
    """Provider as it is configured now.

    Attributes:
        row: Its row.
        provider: The provider.
        client: The gateway as the provider knows it.
        is_named: An operator has named it, and no row of one organization.
    """

    row: ProviderRow
    provider: Provider
    client: Client
    is_named: bool

    @property
    def stays_in(self) -> UUID | None:
        """The organization that everything stays in which this provider founds; None for any."""
        return None if self.is_named else self.row.organization_id


class ConfiguredProviders:
    """Reader of the enabled rows."""

    def __init__(self, store: SsoStore, registry: Registry, secret_key: bytes | None) -> None:
        """`secret_key` is Whatomate's ``app.encryption_key``, or None if it is not set."""
        self._store = store
        self._registry = registry
        self._secret_key = secret_key

    async def kinds(self) -> Sequence[ProviderKind]:
        """Return the kinds of which a row is enabled.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        found = {row.provider for row in await self._store.sso_providers()}
        return [kind for kind in ProviderKind if kind in found]

    async def of(self, kind: ProviderKind) -> Configured:
        """Return the provider of a kind.

        Raises:
            SsoNotConfigured: no row of it is enabled, or its row cannot be used.
            StoreUnavailable: the database does not answer.
        """
        for row in await self._store.sso_providers():
            if row.provider == kind:
                return self._configured(kind, row)
        raise SsoNotConfigured("no row of sso_providers is enabled for it")

    async def of_row(self, row_id: UUID) -> Configured:
        """Return the provider of a row; raises as :meth:`of`."""
        for row in await self._store.sso_providers():
            if row.id == row_id and row.provider in set(ProviderKind):
                return self._configured(ProviderKind(row.provider), row)
        raise SsoNotConfigured("the row is no longer the enabled one of its kind")

    def _configured(self, kind: ProviderKind, row: ProviderRow) -> Configured:
        if not row.client_id:
            raise SsoNotConfigured("the row has no client_id")
        try:
            client = Client(row.client_id, read_secret(row.client_secret, self._secret_key))
        except SecretUnreadable as error:
            raise SsoNotConfigured(str(error)) from error
        return Configured(row, self._registry.provider(row), client, self._registry.is_named(kind))
