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
from authcore.principal import FOUNDING
from authcore.trail import Event
from gateway.endpoints.auth_forms import EMAIL_SCHEMA
from gateway.endpoints.bodies import read_body, success, uuid_in_path
from gateway.endpoints.describing import Answer, MessageAnswer
from gateway.endpoints.endpoint import Endpoint, permission
from gateway.endpoints.moments import ExpiresAt
from gateway.endpoints.recording import facts_of
from gateway.faults import BadRequest

if TYPE_CHECKING:
    from aiohttp import web

    from gateway.endpoints.caller import Caller
    from gateway.endpoints.services import Services


class InviteBody(BaseModel):
    """Body of a request that invites."""

    role_id: UUID | None = Field(None, description="The organization's default role, when absent.")
    email: Annotated[str, Field(min_length=1, max_length=255, json_schema_extra=EMAIL_SCHEMA)] | None = Field(
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


MOST_LISTED: Final = 1000


async def list_open(services: Services, _request: web.Request, caller: Caller) -> web.Response:
    """Answer with the invitations that may still be used, newest first; a thousand at most."""
    found = await services.invitations.open_ones(caller.organization_id, await services.now(), MOST_LISTED)
    invitations = [InvitationAnswer.model_validate(row) for row in found]
    return success(InvitationsAnswer(invitations=invitations))


async def invite(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Make an invitation, and return its text."""
    body = await read_body(request, InviteBody)
    now = await services.now()
    if body.expires_at is not None and body.expires_at.timestamp() <= now:
        raise BadRequest("expires_at must be in the future")
    row, token = await services.invitations.create(
        organization_id=caller.organization_id,
        now=now,
        inviter=caller.user_id,
        role_id=body.role_id,
        email=body.email,
        expires_at=None if body.expires_at is None else body.expires_at.timestamp(),
    )
    facts = facts_of(request)
    facts.target, facts.email = row.id, row.email
    facts.details = {"role_id": row.role_id, "expires_at": row.expires_at.isoformat()}
    answer = InvitationAnswer.model_validate(row)
    return success(NewInvitationAnswer(**answer.model_dump(), invitation=token))


async def revoke(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Revoke an invitation."""
    invitation_id = uuid_in_path(request)
    if invitation_id is None:
        raise InvitationUnknown
    await services.invitations.revoke(caller.organization_id, invitation_id, await services.now())
    return success(MessageAnswer(message="Invitation revoked"))


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/auth/invitations",
        tag="Invitations",
        summary="List invitations that may still be used, newest first",
        detail="A thousand at most. The command `invitations list` lists all of them.",
        access=permission("users:read"),
        handler=list_open,
        organization="any",
        answer=InvitationsAnswer,
    ),
    Endpoint(
        method="POST",
        path="/api/auth/invitations",
        tag="Invitations",
        summary="Invite somebody to register, and show the invitation",
        detail="Good once, while its inviter could still give it. Nobody grants permissions that they lack.",
        access=permission(INVITE, methods=FOUNDING),
        handler=invite,
        event=Event.CREATE_INVITATION,
        organization="any",
        body=InviteBody,
        answer=NewInvitationAnswer,
        refuses=(RoleUnknown, EmailUnacceptable, InvitationsExhausted),
    ),
    Endpoint(
        method="DELETE",
        path="/api/auth/invitations/{id}",
        tag="Invitations",
        summary="Take an invitation back",
        access=permission(INVITE),
        handler=revoke,
        event=Event.REVOKE_INVITATION,
        organization="any",
        answer=MessageAnswer,
        refuses=(InvitationUnknown,),
    ),
)
