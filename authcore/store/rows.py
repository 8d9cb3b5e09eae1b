"""Frozen rows that the store returns; no ``repr`` of them contains the hash of a password or a key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from authcore.store.origins import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from authcore.permissions import Permission


@dataclass(frozen=True, slots=True)
class Subject:
    """A user as seen in one organization: everything a verdict depends on, from one statement.

    Attributes:
        is_member: The user has a live membership row for the organization, or it is the user's home organization
            and no membership row says otherwise (older Whatomate databases have none). A membership row of the home
            organization that was marked as deleted, or deleted for good, with none in its place, says otherwise: the
            user was removed.
        organization_exists: The organization has a live row.
        role_id: The role of the membership row, else the user's own role when the organization is the home, else None.
        assigned_role_id: The same, though the role be deleted or another organization's, and so grant nothing.
        permissions: ``resource:action`` of that role, sorted; for a super admin, the whole catalogue.
        session_began_at: When the session asked about began; None when none was asked about, or the user has no such.
        is_session_over: A session was asked about, and the user has no such one or it has been ended; or a credential
            without a session, and all sessions of the user were ended since it was issued.
        session_bound_to: The organization that the session stays in; None for any, and if no session was asked about.
        session_provider_id: The row of the identity provider that the session is founded on; None if on none.
        attributes: The values that rows of :mod:`authcore.identity_headers` select, by key; empty ones left out.
    """

    user_id: UUID
    organization_id: UUID
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
    session_began_at: datetime | None = None
    is_session_over: bool = False
    session_bound_to: UUID | None = None
    session_provider_id: UUID | None = None
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def is_admitted(self) -> bool:
        """The organization exists, and the user belongs to it or needs not to."""
        return self.organization_exists and (self.is_member or self.is_super_admin)

    @property
    def may_act(self) -> bool:
        """The organization admits the user, and the session that was asked about does not stay in another one."""
        return self.is_admitted and self.session_bound_to in {None, self.organization_id}


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    """An API key as stored.

    Attributes:
        is_active: It is switched on, and so is every key before it.
        expires_at: When it ends, or the first of the keys before it.
        is_proved: A digest of the presented key is stored beside this very `key_hash`: bcrypt has proved it.
        parents: The keys before it: with one of them it was made, with another that one, and so on.
        owner: Its user as seen in its organization, where the key is proved and that was read with it.
    """

    id: UUID
    user_id: UUID
    organization_id: UUID
    key_hash: str = field(repr=False)
    is_active: bool
    expires_at: datetime | None
    is_proved: bool = False
    parents: tuple[UUID, ...] = ()
    owner: Subject | None = None


@dataclass(frozen=True, slots=True)
class ApiKeyPage:
    """Page of an organization's keys, newest first, and the number of all."""

    keys: Sequence[ApiKeyListing]
    total: int


@dataclass(frozen=True, slots=True)
class ApiKeyListing:
    """An API key in the form that its owner sees."""

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
    """Row of a user for signing in."""

    user_id: UUID
    organization_id: UUID
    password_hash: str = field(repr=False)
    is_active: bool


@dataclass(frozen=True, slots=True)
class PasswordRow:
    """Row of a user for changing the password; the hash is empty if they have none."""

    email: str
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RoleProfile:
    """A role in the form that clients see."""

    id: UUID
    name: str
    description: str
    is_system: bool
    permissions: tuple[Permission, ...]


@dataclass(frozen=True, slots=True)
class UserProfile:
    """A user in the form that clients see: acting in `organization_id`, with the role they have there."""

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
class Binding:
    """User of an identity provider, to whom an account is bound: the kind of provider, the issuer, and the id there."""

    provider: str
    issuer: str
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user about to be created in their home organization; bound to a provider's user if there is a `binding`."""

    email: str
    password_hash: str = field(repr=False)
    full_name: str
    organization_id: UUID
    role_id: UUID | None
    is_super_admin: bool = False
    origin: Origin = Origin.REGISTRATION
    binding: Binding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """An API key about to be stored; `prefix` is the longest one, cut to the length of its column.

    Attributes:
        parent_id: The key that it is made with, if any, whose end is its own.
        session_id: The session of the token that it is made with; None without one.
        founded_at: When a token without a session was issued that it is made with; None otherwise.
        permission: Permission that its maker needs when it is stored; None for the operator, who needs none.
        most: Most keys that its user may have in the organization; None for no bound.
    """

    user_id: UUID
    organization_id: UUID
    name: str
    prefix: str
    key_hash: str = field(repr=False)
    expires_at: datetime | None
    parent_id: UUID | None = None
    session_id: UUID | None = None
    founded_at: datetime | None = None
    permission: str | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Changed rows as a trigger notifies them, regardless of the writer.

    Attributes:
        rows: Ids of users, organizations, roles, API keys, sessions.
        memberships: User and organization of memberships.
        of_keys: API keys are among them, or new.
        everything: Too much to tell, or of a kind on which anything may depend.
    """

    rows: tuple[UUID, ...] = ()
    memberships: tuple[tuple[UUID, UUID], ...] = ()
    of_keys: bool = False
    everything: bool = False
