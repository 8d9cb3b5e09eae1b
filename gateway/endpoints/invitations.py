"""Endpoints ``/api/auth/invitations``: invite, list, revoke. They speak HTTP; authcore has the semantics.

Laws:

- Every invitation here is to the organization that the caller acts in; another organization's counts as missing.
- The text of an invitation is returned once, in the answer that creates it.
- The route has checked the permission (``users:read``, ``users:write``) before an endpoint is reached.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

from pydantic import BaseModel, Field

from authcore.errors import EmailUnacceptable, InvitationsExhausted, InvitationUnknown, RoleUnknown
from authcore.granting import INVITE
from gateway.endpoints.application import now_of, read_body, success
from gateway.endpoints.describing import Answer, MessageAnswer, Operation
from gateway.endpoints.moments import ExpiresAt
from gateway.faults import BadRequest

if TYPE_CHECKING:
    from aiohttp import web

    from authcore.accounts.invitations import Invitations

COLLECTION: Final = "/api/auth/invitations"
ONE: Final = "/api/auth/invitations/{id}"

PERMISSIONS: Final = {
    COLLECTION: {"GET": "users:read", "POST": INVITE},
    ONE: {"DELETE": INVITE},
}
"""path -> method -> the permission that its route requires."""


class InviteBody(BaseModel):
    """What inviting is sent."""

    role_id: UUID | None = Field(None, description="The organization's default role, when absent.")
    email: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None, description="The invited person; when absent, anybody who holds the invitation."
    )
    expires_at: ExpiresAt = Field(None, description="At most a year from now.")


class InvitationAnswer(Answer):
    """An invitation, without its token."""

    id: UUID
    organization_id: UUID
    role_id: UUID | None
    email: str | None = Field(description="The invited person; null: anybody who holds the invitation.")
    invited_by: UUID | None = Field(description="The inviter; null: the operator.")
    created_at: datetime
    expires_at: datetime


class NewInvitationAnswer(InvitationAnswer):
    """A new invitation, with its token, this once."""

    invitation: str = Field(description="Goes into `register`.")


class InvitationsAnswer(Answer):
    """The organization's invitations that may still be used."""

    invitations: list[InvitationAnswer]


OPERATIONS: Final = (
    Operation(
        method="GET",
        path=COLLECTION,
        tag="Invitations",
        summary="List invitations that may still be used, newest first",
        access=PERMISSIONS[COLLECTION]["GET"],
        answer=InvitationsAnswer,
    ),
    Operation(
        method="POST",
        path=COLLECTION,
        tag="Invitations",
        summary="Invite somebody to register, and show the invitation",
        detail="Good once, while its inviter could still give it. Nobody grants permissions that they lack.",
        access=PERMISSIONS[COLLECTION]["POST"],
        body=InviteBody,
        founds=True,
        answer=NewInvitationAnswer,
        refuses=(RoleUnknown, EmailUnacceptable, InvitationsExhausted),
    ),
    Operation(
        method="DELETE",
        path=ONE,
        tag="Invitations",
        summary="Take an invitation back",
        access=PERMISSIONS[ONE]["DELETE"],
        answer=MessageAnswer,
        refuses=(InvitationUnknown,),
    ),
)


class InvitationEndpoints:
    """Handlers over the invitation service."""

    def __init__(self, invitations: Invitations, *, user_id_header: str, org_id_header: str) -> None:
        """The headers are those with the caller's user id and organization id."""
        self._invitations = invitations
        self._user_id_header = user_id_header
        self._org_id_header = org_id_header

    def add_to(self, application: web.Application) -> None:
        """Register the handlers under their paths."""
        router = application.router
        router.add_get(COLLECTION, self.list_open)
        router.add_post(COLLECTION, self.invite)
        router.add_delete(ONE, self.revoke)

    async def list_open(self, request: web.Request) -> web.Response:
        """Answer with the invitations that may still be used, newest first; a thousand at most."""
        found = await self._invitations.open_ones(self._organization(request), await now_of(request))
        invitations = [InvitationAnswer.model_validate(row) for row in found]
        return success(InvitationsAnswer(invitations=invitations))

    async def invite(self, request: web.Request) -> web.Response:
        """Make an invitation, and return its text."""
        body = await read_body(request, InviteBody)
        now = await now_of(request)
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
        answer = InvitationAnswer.model_validate(row)
        return success(NewInvitationAnswer(**answer.model_dump(), invitation=token))

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke an invitation."""
        try:
            invitation_id = UUID(request.match_info["id"])
        except ValueError:
            raise InvitationUnknown from None
        await self._invitations.revoke(self._organization(request), invitation_id, await now_of(request))
        return success(MessageAnswer(message="Invitation revoked"))

    def _organization(self, request: web.Request) -> UUID:
        return UUID(request.headers[self._org_id_header])
