"""Frozen rows of the directory that an operator reads; none of them has a hash or a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class NamedRow:
    """Id and name of a user (the e-mail), an organization (the slug, else the name) or a role."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class OrganizationRow:
    """Organization, with the numbers of its members and of its API keys that are not deleted."""

    id: UUID
    name: str
    slug: str | None
    created_at: datetime
    members: int
    api_keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFilter:
    """Conditions on listed users, all of which hold; None for no condition.

    Attributes:
        organization_id: They are members of it.
        text: It is a part of the e-mail or of the full name, in any case.
        user_id: It is this user.
    """

    organization_id: UUID | None = None
    is_active: bool | None = None
    is_super_admin: bool | None = None
    text: str | None = None
    user_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class UserRow:
    """User as listed.

    Attributes:
        organization_id: The organization that was asked about; else the home.
        organization: Its name; None if it does not exist any more.
        role: The user's role there; None if they have none, or are no member.
    """

    id: UUID
    email: str
    full_name: str
    is_active: bool
    is_super_admin: bool
    has_password: bool
    sso_provider: str | None
    organization_id: UUID
    organization: str | None
    role: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Membership:
    """Membership of a user in an organization; `role` is None where it grants nothing."""

    organization_id: UUID
    organization: str
    role_id: UUID | None
    role: str | None
    is_default: bool


@dataclass(frozen=True, slots=True)
class Holdings:
    """Numbers of a user's live sessions, and of their API keys that are switched on and have not expired."""

    sessions: int
    api_keys: int


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """Live session as an operator sees it; `organization` is None where the organization is gone."""

    id: UUID
    user_id: UUID
    email: str
    organization_id: UUID
    organization: str | None
    device: str
    address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """API key as an operator sees it; `email` and `organization` are None where the user or organization is gone.

    Attributes:
        is_active: It is switched on, and so are all keys that it was made with.
        expires_at: When it ends, or the first of those keys; None for never.
    """

    id: UUID
    name: str
    key_prefix: str
    user_id: UUID
    email: str | None
    organization_id: UUID
    organization: str | None
    is_active: bool
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
