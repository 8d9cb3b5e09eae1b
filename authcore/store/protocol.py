"""What the domain asks of its database, as one Protocol and the rows it answers with.

Laws, for every implementation:

- A row with ``deleted_at`` set does not exist, on any table, in any join.
- A database that cannot answer raises :class:`authcore.errors.StoreUnavailable`, never a verdict.
- Rows are frozen; a password hash or key hash appears in no ``repr``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class Subject:
    """A user as seen in one organization: everything a verdict depends on, from one statement.

    Attributes:
        is_member: The user has a live membership row for the organization, or it is the user's home organization
            and no membership row says otherwise (older Whatomate databases have none).
        organization_exists: The organization has a live row.
        role_id: The role of the membership row, else the user's own role when the organization is the home, else None.
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


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    """An API key as stored."""

    id: UUID
    user_id: UUID
    organization_id: UUID
    key_hash: str = field(repr=False)
    is_active: bool
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class LoginRow:
    """What signing in needs of a user."""

    user_id: UUID
    organization_id: UUID
    password_hash: str = field(repr=False)
    is_active: bool


class SubjectReader(Protocol):
    """The reads behind every authenticated request."""

    async def subject(self, user_id: UUID, organization_id: UUID) -> Subject | None:
        """Return the user as seen in the organization, or None when there is no such user."""

    async def api_key_candidates(self, prefixes: Sequence[str]) -> Sequence[ApiKeyRow]:
        """Return the live keys with one of `prefixes`, newest first, five at most."""
