"""Look-up of a user by the text that an operator typed.

An operator names a user by e-mail address, by id, or as ``name@organization``: the part of the address before the
``@``, and the slug of an organization the user belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from authcore.accounts.texts import is_searchable
from authcore.errors import OrganizationUnknown, StoreUnavailable, UserUnknown
from authcore.store.failures import classify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from authcore.store.protocol import AccountStore
    from authcore.store.rows import LoginRow

    class People(Protocol):
        """Store protocol of the look-up."""

        async def logins(self, email: str) -> Sequence[LoginRow]:
            """Return the users with the e-mail in any case."""

        async def home(self, user_id: UUID) -> UUID | None:
            """Return the organization that a user acts in after sign-in."""

        async def namesakes(self, name: str, slug: str) -> Sequence[tuple[UUID, UUID, str]]:
            """Return the members of the organization whose e-mail begins with ``name@``."""


async def find_person(store: People, who: str, organization: UUID | None) -> tuple[UUID, UUID]:
    """Return the user named by `who`, and the organization they act in: the one asked for, else their own.

    Raises:
        UserUnknown: no user has this name, or more than one.
        OrganizationUnknown: the user has no organization.
        StoreUnavailable: the database does not answer.
    """
    who = who.strip()
    name, at, slug = who.rpartition("@")
    try:
        user_id: UUID | None = UUID(who)
    except ValueError:
        rows = await store.logins(who) if at and is_searchable(who) else []
        user_id = rows[0].user_id if rows else None
    if user_id is None and name and is_searchable(who):
        found = await store.namesakes(name, slug)
        if len(found) > 1:
            raise UserUnknown(f"{who} is more than one: {', '.join(email for _, _, email in found)}")
        if found:
            user_id, there, _ = found[0]
            return user_id, organization or there
    if user_id is None:
        raise UserUnknown(
            f"Nobody is called {who!r}: give an e-mail address, a user id, or name@organization"
        )
    own = organization or await store.home(user_id)
    if own is None:
        raise OrganizationUnknown(f"{who} does not exist, or belongs to no organization")
    return user_id, own


async def logins_of(store: AccountStore, email: str) -> Sequence[LoginRow]:
    """Return the users with that e-mail: first those stored exactly so, then any case and surrounding spaces.

    Of an e-mail that no row of the database can hold there are none.
    """
    trimmed = email.strip()
    try:
        found = await store.logins(email)
    except StoreUnavailable as outage:
        if classify(outage.__cause__).is_of_text:
            return ()
        raise
    return found or (await store.logins(trimmed) if trimmed != email else ())
