"""Administration service: it creates, lists and revokes organizations, users, memberships and API keys.

Laws:

- An e-mail is matched without regard to case and to surrounding spaces. It is stored as given, trimmed.
- A key that is changed here is known to be changed here at once; the database tells all other processes.
- The text of an API key is returned once, when the key is made. Only its hash is stored.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from authcore import permissions
from authcore.accounts.texts import acceptable_email, acceptable_name, acceptable_slug, is_searchable, slug_of
from authcore.accounts.user_lookup import logins_of
from authcore.counterpart import NO_COUNTERPART
from authcore.errors import (
    AlreadyMember,
    ApiKeysExhausted,
    ApiKeyUnknown,
    EmailTaken,
    NotAMember,
    OrganizationUnknown,
    RoleUnknown,
    SlugTaken,
    UserUnknown,
)
from authcore.fair_queue import OWN, Lane, Work
from authcore.granting import why_no_key
from authcore.identity import api_keys
from authcore.moments import moment
from authcore.networks import network
from authcore.store.origins import Origin
from authcore.store.rows import ApiKeyPage, Change, NewApiKey, NewUser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.counterpart import Counterpart
    from authcore.passwords.hasher import Passwords
    from authcore.store.protocol import AccountStore
    from authcore.store.rows import ApiKeyListing


class Administration:
    """Administration service over the account store."""

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        counterpart: Counterpart = NO_COUNTERPART,
        *,
        tell: Callable[[Change], None] = lambda _: None,
        most_keys: int | None = None,
    ) -> None:
        """Prepare.

        Args:
            store: The accounts.
            passwords: Makes and compares hashes.
            counterpart: Is asked to drop the cached permissions of users whose memberships change.
            tell: Called with each change of a key: this process then need not hear of it from the database.
            most_keys: API keys that one user may have in an organization; None for any number, which is the operator's.
        """
        self._most_keys = most_keys
        self._store = store
        self._tell = tell
        self._passwords = passwords
        self._counterpart = counterpart

    async def create_organization(self, name: str, slug: str | None = None) -> UUID:
        """Create an organization with its three system roles, and return its id.

        Raises:
            NameUnacceptable: empty, too long or with control characters.
            SlugUnacceptable: not one that names an organization in a URL or a command.
            SlugTaken: another organization has this slug. Without a slug given, a free one is derived from the name.
            StoreUnavailable: the database does not answer.
        """
        name = acceptable_name(name)
        roles = list(permissions.ROLES.values())
        wanted = slug_of(name) if slug is None else acceptable_slug(slug)
        created = await self._store.add_organization(name, wanted, roles)
        if created is None and slug is None:
            marked = slug_of(name, secrets.token_hex(4))
            created = await self._store.add_organization(name, marked, roles)
        if created is None:
            raise SlugTaken
        return created

    async def create_user(  # noqa: PLR0913 - the columns of a user, by name
        self,
        *,
        email: str,
        password: str,
        full_name: str,
        organization_id: UUID,
        role: str | None = None,
        is_super_admin: bool = False,
    ) -> UUID:
        """Create a user at home in an organization, and return their id.

        Raises:
            OrganizationUnknown: there is no such organization.
            RoleUnknown: it has no role of that name. Without one given, the default role is taken.
            EmailUnacceptable: not an address.
            NameUnacceptable: empty, too long or with control characters.
            PasswordUnacceptable: too short or too long.
            EmailTaken: the e-mail exists, in whatever case.
            StoreUnavailable: the database does not answer.
        """
        role_id = await self._role(organization_id, role)
        user = NewUser(
            email=acceptable_email(email),
            password_hash=await self._passwords.hash(password),
            full_name=acceptable_name(full_name),
            organization_id=organization_id,
            role_id=role_id,
            is_super_admin=is_super_admin,
            origin=Origin.OPERATOR,
        )
        user_id = await self._store.add_user(user)
        if user_id is None:
            raise EmailTaken
        return user_id

    async def add_member(self, user_id: UUID, organization_id: UUID, role: str | None = None) -> None:
        """Make an existing user a member of an organization.

        Raises:
            OrganizationUnknown: there is no such organization.
            RoleUnknown: it has no role of that name.
            UserUnknown: there is no such user.
            AlreadyMember: the user belongs there already.
            StoreUnavailable: the database does not answer.
        """
        role_id = await self._role(organization_id, role)
        if await self._store.subject(user_id, organization_id) is None:
            raise UserUnknown
        if not await self._store.add_member(user_id, organization_id, role_id):
            raise AlreadyMember
        await self._counterpart.forget_permissions(user_id, organization_id)

    async def find_user(self, email: str) -> UUID:
        """Return the id of the user with that e-mail.

        Raises:
            UserUnknown: there is none.
            StoreUnavailable: the database does not answer.
        """
        rows = await logins_of(self._store, email) if is_searchable(email) else []
        if not rows:
            raise UserUnknown
        return rows[0].user_id

    async def create_api_key(  # noqa: PLR0913 - the key, its parent and where it is made, by name
        self,
        user_id: UUID,
        organization_id: UUID,
        name: str,
        expires_at: datetime | None = None,
        *,
        parent_id: UUID | None = None,
        session_id: UUID | None = None,
        founded_at: float | None = None,
        address: str | None = None,
        permission: str | None = None,
    ) -> tuple[ApiKeyListing, str]:
        """Create an API key that acts as a user in an organization; the key's text is returned only here.

        One made with another key, `parent_id`, ends with that. It is hashed in the turn of the network of `address`.
        `session_id` is the session of the token that it is made with; without one, `founded_at` is when the token was
        issued, POSIX seconds. Both, and `permission`, are checked again when the hashed key is stored.

        Raises:
            UserUnknown: there is no such user.
            OrganizationUnknown: there is no such organization.
            NotAMember: the user may not act there.
            ApiKeyRevoked: the key that it is made with is no longer valid.
            TokenRevoked: the session is over, or the user may not act there any more.
            PermissionDenied: the user no longer has the permission.
            ApiKeysExhausted: the user has as many keys there as one may have.
            Overloaded: too much password work is waiting.
            StoreUnavailable: the database does not answer.
        """
        subject = await self._store.subject(user_id, organization_id)
        if subject is None:
            raise UserUnknown
        if not subject.organization_exists:
            raise OrganizationUnknown
        if not subject.may_act:
            raise NotAMember
        most = self._most_keys
        if most is not None and await self._store.has_api_keys(user_id, organization_id, most):
            raise ApiKeysExhausted
        lane = OWN if address is None else Lane(network(address), Work.NEW_KEY)
        key = api_keys.mint()
        new = NewApiKey(
            user_id=user_id,
            organization_id=organization_id,
            name=acceptable_name(name),
            prefix=api_keys.prefixes(key.encode("ascii"))[0],
            key_hash=await api_keys.hash_key(key, self._passwords.pool, lane),
            expires_at=expires_at,
            parent_id=parent_id,
            session_id=session_id,
            founded_at=None if founded_at is None else moment(founded_at),
            permission=permission,
            most=most,
        )
        row = await self._store.add_api_key(new)
        if row is None:
            maker = await self._store.subject(user_id, organization_id, session_id, new.founded_at)
            raise why_no_key(new, maker)
        self._tell(Change(rows=(row.id,), of_keys=True))
        return row, key

    async def list_api_keys(self, organization_id: UUID) -> Sequence[ApiKeyListing]:
        """Return an organization's keys, newest first.

        Raises:
            OrganizationUnknown: there is no such organization.
            StoreUnavailable: the database does not answer.
        """
        if not await self._store.organization_exists(organization_id):
            raise OrganizationUnknown
        return await self._store.api_keys(organization_id)

    async def find_api_keys(
        self, organization_id: UUID, search: str, *, limit: int, offset: int
    ) -> ApiKeyPage:
        """Return the organization's keys whose name or prefix holds `search` in any case, newest first.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        if not is_searchable(search):
            return ApiKeyPage((), 0)
        return await self._store.find_api_keys(organization_id, search, limit=limit, offset=offset)

    async def find_api_key(self, organization_id: UUID, key_id: UUID) -> ApiKeyListing:
        """Return one of the organization's keys.

        Raises:
            ApiKeyUnknown: it has no such key.
            StoreUnavailable: the database does not answer.
        """
        key = await self._store.api_key(organization_id, key_id)
        if key is None:
            raise ApiKeyUnknown
        return key

    async def switch_api_key(self, organization_id: UUID, key_id: UUID, *, is_active: bool) -> ApiKeyListing:
        """Switch one of the organization's keys on or off, and return it.

        Raises:
            ApiKeyUnknown: it has no such key.
            StoreUnavailable: the database does not answer.
        """
        key = await self._store.switch_api_key(organization_id, key_id, is_active=is_active)
        if key is None:
            raise ApiKeyUnknown
        self._tell(Change(rows=(key_id,), of_keys=True))
        return key

    async def delete_api_key(self, organization_id: UUID, key_id: UUID) -> None:
        """Delete one of the organization's keys.

        Raises:
            ApiKeyUnknown: it has no such key.
            StoreUnavailable: the database does not answer.
        """
        if not await self._store.delete_api_key(organization_id, key_id):
            raise ApiKeyUnknown
        self._tell(Change(rows=(key_id,), of_keys=True))

    async def revoke_api_key(self, key_id: UUID) -> None:
        """Switch an API key off.

        Raises:
            ApiKeyUnknown: there is no such key.
            StoreUnavailable: the database does not answer.
        """
        if not await self._store.revoke_api_key(key_id):
            raise ApiKeyUnknown
        self._tell(Change(rows=(key_id,), of_keys=True))

    async def _role(self, organization_id: UUID, name: str | None) -> UUID | None:
        if not await self._store.organization_exists(organization_id):
            raise OrganizationUnknown
        role_id = await self._store.role_id(organization_id, name)
        if role_id is None and name is not None:
            raise RoleUnknown
        return role_id
