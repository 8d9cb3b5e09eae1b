"""Names as an operator types them: the look-up of exactly one user, organization or role.

Law: a name that several have is refused, with the candidates and their ids. An id is always one's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.accounts.texts import as_id, is_searchable
from authcore.errors import NameAmbiguous, OrganizationUnknown, RoleUnknown, UserUnknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from authcore.store.directory_rows import NamedRow
    from authcore.store.postgres import PostgresStore


class Names:
    """Look-up of names over the store."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def user(self, text: str) -> UUID:
        """Return the user with the id or the e-mail `text`.

        Raises:
            UserUnknown: there is none.
            NameAmbiguous: there are several, and none is spelled exactly so.
            StoreUnavailable: the database does not answer.
        """
        user_id = as_id(text)
        if user_id is not None:
            if not await self._store.user_exists(user_id):
                raise UserUnknown
            return user_id
        found = await self._store.users_named(text) if is_searchable(text) else []
        if not found:
            raise UserUnknown(f"No user has the e-mail {text!r}")
        return found[0].id if found[0].name == text else _the_one("user", text, found)

    async def organization(self, text: str) -> UUID:
        """Return the organization with the id, the slug or the name `text`.

        Raises:
            OrganizationUnknown: there is none.
            NameAmbiguous: there are several.
            StoreUnavailable: the database does not answer.
        """
        organization_id = as_id(text)
        if organization_id is not None:
            if not await self._store.organization_exists(organization_id):
                raise OrganizationUnknown
            return organization_id
        found = await self._store.organizations_named(text) if is_searchable(text) else []
        if not found:
            raise OrganizationUnknown(f"No organization has the slug or the name {text!r}")
        return _the_one("organization", text, found)

    async def _role(self, organization_id: UUID, text: str) -> UUID:
        """Return the role of the organization with the name or the id `text`.

        Raises:
            RoleUnknown: it has none.
            NameAmbiguous: it has several.
            StoreUnavailable: the database does not answer.
        """
        found = await self._store.roles_named(organization_id, text) if is_searchable(text) else []
        if not found:
            raise RoleUnknown(f"The organization has no role {text!r}")
        return _the_one("role", text, found)


def _the_one(kind: str, text: str, found: Sequence[NamedRow]) -> UUID:
    """Return the id of the only one that was found.

    Raises:
        NameAmbiguous: there are several.
    """
    if len(found) > 1:
        candidates = ", ".join(f"{one.id} ({one.name})" for one in found)
        raise NameAmbiguous(f"More than one {kind} is called {text!r}: {candidates}")
    return found[0].id
