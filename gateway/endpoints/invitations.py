"""``/api/auth/invitations``: invite, list, revoke. HTTP only: what they mean is authcore's.

Laws:

- Every invitation made, seen or revoked here is to the organization that the caller acts in; another's does not exist.
- An invitation is shown once, in the answer that creates it.
- The route has asked for the permission (``users:read``, ``users:write``) before an endpoint is reached.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from authcore.errors import InvitationUnknown
from gateway.endpoints.application import read_body, success
from gateway.faults import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from authcore.invitations import Invitations
    from authcore.store.invitations import InvitationRow

COLLECTION: Final = "/api/auth/invitations"
ONE: Final = "/api/auth/invitations/{id}"

PERMISSIONS: Final = {
    COLLECTION: {"GET": "users:read", "POST": "users:write"},
    ONE: {"DELETE": "users:write"},
}
"""path -> method -> the permission that its route asks for."""


class InviteBody(BaseModel):
    """What inviting is sent."""

    role_id: UUID | None = None
    email: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    expires_at: AwareDatetime | None = None


class InvitationEndpoints:
    """The handlers, over the domain's invitations."""

    def __init__(self, invitations: Invitations, *, user_id_header: str, org_id_header: str) -> None:
        """The headers are those that say who is asking, and in which organization."""
        self._invitations = invitations
        self._user_id_header = user_id_header
        self._org_id_header = org_id_header

    def add_to(self, application: web.Application) -> None:
        """Put the handlers under their paths."""
        router = application.router
        router.add_get(COLLECTION, self.list_open)
        router.add_post(COLLECTION, self.invite)
        router.add_delete(ONE, self.revoke)

    async def list_open(self, request: web.Request) -> web.Response:
        """Answer with the invitations that may still be used, newest first; a thousand at most."""
        found = await self._invitations.open_ones(self._organization(request), time.time())
        return success({"invitations": [_shown(row) for row in found]})

    async def invite(self, request: web.Request) -> web.Response:
        """Make an invitation, and show it."""
        body = await read_body(request, InviteBody)
        now = time.time()
        if body.expires_at is not None and body.expires_at.timestamp() <= now:
            raise BadRequest("expires_at must be in the future")
        row, token = await self._invitations.create(
            organization_id=self._organization(request),
            now=now,
            inviter=UUID(request.headers[self._user_id_header]),
            role_id=body.role_id,
            email=body.email,
            expires_at=None if body.expires_at is None else body.expires_at.timestamp(),
        )
        return success({**_shown(row), "invitation": token})

    async def revoke(self, request: web.Request) -> web.Response:
        """Take an invitation back."""
        try:
            invitation_id = UUID(request.match_info["id"])
        except ValueError:
            raise InvitationUnknown from None
        await self._invitations.revoke(self._organization(request), invitation_id, time.time())
        return success({"message": "Invitation revoked"})

    def _organization(self, request: web.Request) -> UUID:
        return UUID(request.headers[self._org_id_header])


def _shown(row: InvitationRow) -> Mapping[str, object]:
    return {
        "id": row.id,
        "organization_id": row.organization_id,
        "role_id": row.role_id,
        "email": row.email,
        "invited_by": row.invited_by,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
    }
