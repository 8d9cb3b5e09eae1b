"""In-memory store, for benchmarks without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from authcore.permissions import ROLES
from authcore.store.rows import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class Rows:
    """In-memory store: 100 organizations with three roles each; every user has a name and an e-mail of their own."""

    def __init__(self) -> None:
        self._roles = {
            (number, name): uuid4() for number in range(100) for name in ("agent", "manager", "admin")
        }
        self.organizations = [uuid4() for _ in range(100)]
        self.role = "agent"

    async def use_ticket(self, digest: bytes, expires_at: datetime) -> bool:  # noqa: ARG002 -- no tickets here
        """Return False: there are no tickets."""
        return False

    async def is_ticket_used(self, digest: bytes) -> bool:  # noqa: ARG002 -- no tickets here
        """Return False: there are no tickets."""
        return False

    async def subject(
        self,
        user_id: UUID,
        organization_id: UUID,
        session_id: UUID | None = None,  # noqa: ARG002 -- no session ends here
        founded_at: datetime | None = None,  # noqa: ARG002 -- nobody signs out here
    ) -> Subject:
        """Return a new subject, like a row from the wire: it shares no object with another subject."""
        place = self.organizations.index(organization_id)
        role_id = UUID(int=self._roles[place, self.role].int)
        return Subject(
            user_id=UUID(int=user_id.int),
            organization_id=UUID(int=organization_id.int),
            email=f"someone.{user_id.int % 10**8}@example.com",
            full_name=f"Some One {user_id.int % 10**8}",
            is_active=True,
            is_super_admin=False,
            is_member=True,
            organization_exists=True,
            role_id=role_id,
            role=self.role,
            permissions=tuple("".join(one) for one in sorted(ROLES[self.role].permissions)),
            assigned_role_id=role_id,
        )

    async def api_key_candidates(self, prefixes: tuple[str, str], digest: bytes) -> Sequence[Any]:
        """Return no candidates."""
        del prefixes, digest
        return []

    async def add_api_key_digest(self, key_id: UUID, key_hash: str, digest: bytes) -> None:
        """Do nothing."""

    async def mark_used(self, key_ids: Sequence[UUID], at: object) -> None:
        """Do nothing."""
