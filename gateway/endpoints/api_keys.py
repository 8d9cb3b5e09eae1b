"""Endpoints ``/api/api-keys``: list, get, create, switch, delete. They speak HTTP; authcore has the semantics.

Laws:

- Every key listed or changed here belongs to the organization that the caller acts in; another's counts as missing.
- The text of a key is returned once, in the answer that creates it.
- A key that is switched on again lives on: no other key and no foreign issuer's token does that. Both may end keys.
- The route has checked the permission (``api_keys:read``, ``:write``, ``:delete``) before an endpoint is reached. The
  permission to make a key is checked again when the key is stored, because bcrypt takes a while.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, StrictBool

from authcore.errors import ApiKeysExhausted, ApiKeyUnknown, NameUnacceptable, NotAMember, Overloaded
from authcore.principal import FOUNDING, AuthMethod
from authcore.trail import Event
from gateway.endpoints.bodies import read_body, refuse_to_found, success, uuid_in_path
from gateway.endpoints.describing import Answer, MessageAnswer
from gateway.endpoints.endpoint import Endpoint, permission
from gateway.endpoints.moments import ExpiresAt, SecondsZ
from gateway.endpoints.recording import facts_of
from gateway.faults import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from config.settings import Settings
    from gateway.endpoints.caller import Caller
    from gateway.endpoints.services import Services

PAGE_SIZE: Final = 50
LARGEST_PAGE: Final = 100
_LAST_PAGE: Final = 1_000_000


def _number(default: int, most: int, *, beyond: int) -> Callable[[object], int]:
    """Return a reader of numbers from 1 to `most`; a larger one is `beyond`, and whatever else `default`."""

    def bounded(text: object) -> int:
        if (
            not isinstance(text, str)
            or not (text.isascii() and text.isdigit())
            or len(text) > len(str(_LAST_PAGE))
        ):
            return default
        number = int(text)
        return beyond if number > most else number or default

    return bounded


LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""A later expiry overflows somewhere; a key that never expires has no expiry at all."""


class CreateKeyBody(BaseModel):
    """Body of a request that creates a key."""

    name: Annotated[str, Field(min_length=1, title="Name", examples=["nightly export"])]
    expires_at: ExpiresAt = Field(None, description="RFC 3339; absent, null or empty: never.")


class SwitchKeyBody(BaseModel):
    """Body of a request that switches a key on or off."""

    is_active: StrictBool | None = Field(None, description="Absent: as it is.", examples=[False])


class PageQuery(BaseModel):
    """Query of the list of keys. Text that is no number counts as absent, as it does for Whatomate."""

    search: str = Field("", description="Part of the name, or of the prefix.")
    page: Annotated[int, BeforeValidator(_number(1, _LAST_PAGE, beyond=_LAST_PAGE))] = Field(
        1, description="The first is 1. Other text counts as absent."
    )
    limit: Annotated[int, BeforeValidator(_number(PAGE_SIZE, LARGEST_PAGE, beyond=PAGE_SIZE))] = Field(
        PAGE_SIZE, description=f"Keys on a page, from 1 to {LARGEST_PAGE}. Anything else counts as absent."
    )


class ApiKeyAnswer(Answer):
    """An API key, without the key itself."""

    id: UUID
    name: str
    key_prefix: str
    user_id: UUID = Field(description="The user it acts as.")
    organization_id: UUID
    is_active: bool
    last_used_at: SecondsZ | None
    expires_at: SecondsZ | None
    created_at: SecondsZ


class NewApiKeyAnswer(ApiKeyAnswer):
    """A new API key, with the key itself, this once."""

    key: str


class ApiKeyPageAnswer(Answer):
    """Page of an organization's keys, newest first, and the number of all."""

    api_keys: list[ApiKeyAnswer]
    total: int
    page: int
    limit: int


_WRITE: Final = "api_keys:write"
_NO_ID: Final = "Invalid API key ID"


async def list_keys(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Answer with a page of keys whose name or prefix holds ``search``."""
    asked = PageQuery(
        **{name: request.query[name] for name in PageQuery.model_fields if name in request.query}
    )
    found = await services.accounts.administration.find_api_keys(
        caller.organization_id,
        asked.search,
        limit=asked.limit,
        offset=(asked.page - 1) * asked.limit,
    )
    keys = [ApiKeyAnswer.model_validate(key) for key in found.keys]
    page = ApiKeyPageAnswer(api_keys=keys, total=found.total, page=asked.page, limit=asked.limit)
    return success(page)


async def get(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Answer with one key."""
    key = await services.accounts.administration.find_api_key(caller.organization_id, _id(request))
    return success(ApiKeyAnswer.model_validate(key))


async def create(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Create a key that acts as the caller, and show it."""
    body, now = await read_body(request, CreateKeyBody), await services.now()
    if body.expires_at is not None and not now < body.expires_at.timestamp() < LATEST:
        raise BadRequest("expires_at must be in the future, and before the year 9999")
    row, key = await services.accounts.administration.create_api_key(
        caller.user_id,
        caller.organization_id,
        body.name,
        body.expires_at,
        parent_id=caller.key_id,
        session_id=caller.session_id,
        founded_at=services.founding(caller, now),
        address=caller.visit.address,
        permission=_WRITE,
    )
    facts_of(request).target, facts_of(request).details = row.id, {"name": row.name}
    answer = ApiKeyAnswer.model_validate(row)
    return success(NewApiKeyAnswer(**answer.model_dump(), key=key))


async def switch(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Switch a key on or off."""
    accounts, organization, key_id = services.accounts, caller.organization_id, _id(request)
    body = await read_body(request, SwitchKeyBody)
    if body.is_active is None:
        facts_of(request).skipped = True
        key = await accounts.administration.find_api_key(organization, key_id)
    else:
        facts_of(request).details = {"is_active": body.is_active}
        if body.is_active:
            refuse_to_found(caller)
        key = await accounts.administration.switch_api_key(organization, key_id, is_active=body.is_active)
    return success(ApiKeyAnswer.model_validate(key))


async def delete(services: Services, request: web.Request, caller: Caller) -> web.Response:
    """Delete a key."""
    await services.accounts.administration.delete_api_key(caller.organization_id, _id(request))
    return success(MessageAnswer(message="API key deleted successfully"))


def _id(request: web.Request) -> UUID:
    key_id = uuid_in_path(request)
    if key_id is None:
        raise BadRequest(_NO_ID)
    return key_id


def _are_hosted(settings: Settings) -> bool:
    return settings.keys.hosted


_CREATE: Final = Endpoint(
    method="POST",
    path="/api/api-keys",
    tag="API keys",
    summary="Create an API key that acts as the caller, and show it",
    access=permission(_WRITE, methods=FOUNDING),
    handler=create,
    event=Event.CREATE_API_KEY,
    organization="any",
    body=CreateKeyBody,
    answer=NewApiKeyAnswer,
    refuses=(NameUnacceptable, NotAMember, ApiKeysExhausted, Overloaded),
    when=lambda settings: settings.keys.hosted and not settings.keys.mint_keys,
)

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/api-keys",
        tag="API keys",
        summary="List API keys, newest first",
        access=permission("api_keys:read"),
        handler=list_keys,
        organization="any",
        query=PageQuery,
        answer=ApiKeyPageAnswer,
        when=_are_hosted,
    ),
    _CREATE,
    replace(
        _CREATE,
        access=permission(_WRITE, methods=FOUNDING | {AuthMethod.API_KEY}),
        when=lambda settings: settings.keys.hosted and settings.keys.mint_keys,
    ),
    Endpoint(
        method="GET",
        path="/api/api-keys/{id}",
        tag="API keys",
        summary="Get an API key",
        access=permission("api_keys:read"),
        handler=get,
        organization="any",
        answer=ApiKeyAnswer,
        refuses=(ApiKeyUnknown,),
        complaints=(_NO_ID,),
        when=_are_hosted,
    ),
    Endpoint(
        method="PUT",
        path="/api/api-keys/{id}",
        tag="API keys",
        summary="Switch an API key on or off",
        detail="An API key switches none on.",
        access=permission("api_keys:write"),
        handler=switch,
        event=Event.SWITCH_API_KEY,
        organization="any",
        body=SwitchKeyBody,
        answer=ApiKeyAnswer,
        refuses=(ApiKeyUnknown,),
        complaints=(_NO_ID,),
        when=_are_hosted,
    ),
    Endpoint(
        method="DELETE",
        path="/api/api-keys/{id}",
        tag="API keys",
        summary="Delete an API key",
        access=permission("api_keys:delete"),
        handler=delete,
        event=Event.DELETE_API_KEY,
        organization="any",
        answer=MessageAnswer,
        refuses=(ApiKeyUnknown,),
        complaints=(_NO_ID,),
        when=_are_hosted,
    ),
)
