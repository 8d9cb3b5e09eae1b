"""What the domain asks of its database, as Protocols and the rows they answer with.

Laws, for every implementation:

- A row with ``deleted_at`` set does not exist, on any table, in any join.
- A database that cannot answer raises :class:`authcore.errors.StoreUnavailable`, never a verdict.
- Rows are frozen; a password hash or key hash appears in no ``repr``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.permissions import Permission, SystemRole


@dataclass(frozen=True, slots=True)
class Subject:
    """A user as seen in one organization: everything a verdict depends on, from one statement.

    Attributes:
        is_member: The user has a live membership row for the organization, or it is the user's home organization
            and no membership row says otherwise (older Whatomate databases have none). A membership row of the home
            organization that was deleted, with none in its place, says otherwise: the user was removed.
        organization_exists: The organization has a live row.
        role_id: The role of the membership row, else the user's own role when the organization is the home, else None.
        assigned_role_id: The same, though the role be deleted or another organization's, and so grant nothing.
        permissions: ``resource:action`` of that role, sorted; for a super admin, the whole catalogue.
    """

    user_id: UUID
    organization_id: UUID
    home_organization_id: UUID
    email: str
    full_name: str
    is_active: bool
    is_super_admin: bool
    is_member: bool
    organization_exists: bool
    role_id: UUID | None
    role: str | None
    permissions: tuple[str, ...]
    assigned_role_id: UUID | None = None

    @property
    def may_act(self) -> bool:
        """The organization exists, and the user belongs to it or needs not to."""
        return self.organization_exists and (self.is_member or self.is_super_admin)


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    """An API key as stored.

    Attributes:
        is_proved: A digest of the very key asked about is kept beside this very `key_hash`: bcrypt has proved it.
    """

    id: UUID
    user_id: UUID
    organization_id: UUID
    key_hash: str = field(repr=False)
    is_active: bool
    expires_at: datetime | None
    is_proved: bool = False


@dataclass(frozen=True, slots=True)
class ApiKeyPage:
    """Some of an organization's keys, newest first; and how many there are."""

    keys: Sequence[ApiKeyListing]
    total: int


@dataclass(frozen=True, slots=True)
class ApiKeyListing:
    """An API key as shown to those who administer it."""

    id: UUID
    user_id: UUID
    organization_id: UUID
    name: str
    key_prefix: str
    last_used_at: datetime | None
    expires_at: datetime | None
    is_active: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LoginRow:
    """What signing in needs of a user."""

    user_id: UUID
    organization_id: UUID
    password_hash: str = field(repr=False)
    is_active: bool


@dataclass(frozen=True, slots=True)
class RoleProfile:
    """A role, as a client is shown it."""

    id: UUID
    name: str
    description: str
    is_system: bool
    permissions: tuple[Permission, ...]


@dataclass(frozen=True, slots=True)
class UserProfile:
    """A user, as a client is shown them: acting in `organization_id`, with the role they have there."""

    id: UUID
    organization_id: UUID
    email: str
    full_name: str
    role_id: UUID | None
    role: RoleProfile | None
    is_active: bool
    is_available: bool
    is_super_admin: bool
    created_at: datetime
    updated_at: datetime
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user about to be created in their home organization."""

    email: str
    password_hash: str = field(repr=False)
    full_name: str
    organization_id: UUID
    role_id: UUID | None
    is_super_admin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """An API key about to be kept; `prefix` is the longest one, the store keeps what its column holds."""

    user_id: UUID
    organization_id: UUID
    name: str
    prefix: str
    key_hash: str = field(repr=False)
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRefreshToken:
    """A refresh token about to be handed out, by digest."""

    digest: bytes = field(repr=False)
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the database tells of rows that have changed, whoever wrote them.

    Attributes:
        rows: Ids of users, organizations, roles, API keys.
        memberships: User and organization of memberships.
        of_keys: API keys are among them, or new.
        everything: Too much to tell, or of a kind on which anything may depend.
    """

    rows: tuple[UUID, ...] = ()
    memberships: tuple[tuple[UUID, UUID], ...] = ()
    of_keys: bool = False
    everything: bool = False


class SubjectReader(Protocol):
    """The reads behind every authenticated request."""

    async def subject(self, user_id: UUID, organization_id: UUID) -> Subject | None:
        """Return the user as seen in the organization, or None when there is no such user."""


class KeyReader(Protocol):
    """What proving an API key asks of the store."""

    async def api_key_candidates(self, prefixes: Sequence[str], digest: bytes) -> Sequence[ApiKeyRow]:
        """Return the live keys with one of `prefixes`: those proved by `digest`, then the newest; five at most."""

    async def add_api_key_digest(self, key_id: UUID, key_hash: str, digest: bytes) -> None:
        """Keep the digest of a key that was proved against `key_hash`."""


class KeyUse(Protocol):
    """Where the last use of API keys is written."""

    async def mark_used(self, key_ids: Sequence[UUID], at: datetime) -> None:
        """Write the last use of the keys, in one statement."""


class SessionStore(SubjectReader, Protocol):
    """Families of refresh tokens. Each write is one statement, and so wholly done or not at all."""

    async def home(self, user_id: UUID) -> UUID | None:
        """Return the organization a user lands in: the home, else the default membership, else the first."""

    async def open_session(
        self, family: UUID, user_id: UUID, organization_id: UUID, token: NewRefreshToken
    ) -> None:
        """Begin a family with its first token."""

    async def rotate(self, used: bytes, token: NewRefreshToken) -> bool:
        """Use up the token of digest `used` and keep its successor; False, changing nothing, when it is not usable."""

    async def adopt(
        self,
        family: UUID,
        user_id: UUID,
        organization_id: UUID,
        foreign: NewRefreshToken,
        token: NewRefreshToken | None,
    ) -> bool:
        """Enter a token that Whatomate issued, as used, with its successor; without one, as logged out.

        False, changing nothing, when it has been entered before.
        """

    async def revoke_session(self, digest: bytes, at: datetime) -> None:
        """End the family the token belongs to, if any."""

    async def revoke_reused(self, digest: bytes, used_before: datetime, at: datetime) -> None:
        """End the family of a token that was used up before then."""

    async def purge_sessions(self, before: datetime) -> int:
        """Forget the families whose every token expired before then; return how many."""


class AccountStore(SubjectReader, Protocol):
    """Users, organizations, memberships and keys, as signing up and administration need them."""

    async def home(self, user_id: UUID) -> UUID | None:
        """As ``SessionStore.home``."""

    async def logins(self, email: str) -> Sequence[LoginRow]:
        """Return the users with the e-mail in any case: the exact spelling first, then the oldest."""

    async def profile(self, user_id: UUID, organization_id: UUID) -> UserProfile | None:
        """Return the user as shown to clients, acting in the organization."""

    async def organization_exists(self, organization_id: UUID) -> bool:
        """Tell whether the organization has a live row."""

    async def role_id(self, organization_id: UUID, name: str | None) -> UUID | None:
        """Return the organization's role of that name; of no name, its default one."""

    async def add_user(self, user: NewUser) -> UUID | None:
        """Create a user with their home membership; None when the e-mail is taken in any case."""

    async def add_member(self, user_id: UUID, organization_id: UUID, role_id: UUID | None) -> bool:
        """Make the user a member; False when they are one already."""

    async def add_organization(self, name: str, slug: str, roles: Sequence[SystemRole]) -> UUID | None:
        """Create an organization with its system roles; None when the slug is taken."""

    async def add_api_key(self, key: NewApiKey) -> ApiKeyListing:
        """Keep a new API key."""

    async def api_keys(self, organization_id: UUID) -> Sequence[ApiKeyListing]:
        """Return the organization's keys, newest first."""

    async def find_api_keys(
        self, organization_id: UUID, search: str, *, limit: int, offset: int
    ) -> ApiKeyPage:
        """Return the organization's keys whose name holds `search` in any case, newest first."""

    async def api_key(self, organization_id: UUID, key_id: UUID) -> ApiKeyListing | None:
        """Return one of the organization's keys."""

    async def switch_api_key(
        self, organization_id: UUID, key_id: UUID, *, is_active: bool
    ) -> ApiKeyListing | None:
        """Switch one of the organization's keys on or off and return it; None when there is no such key."""

    async def delete_api_key(self, organization_id: UUID, key_id: UUID) -> bool:
        """Delete one of the organization's keys; False when there is no such key."""

    async def revoke_api_key(self, key_id: UUID) -> bool:
        """Switch a key off; False when there is no such key."""
