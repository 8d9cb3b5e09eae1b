"""Endpoints ``/api/api-keys``: list, get, create, switch, delete. They speak HTTP; authcore has the semantics.

Laws:

- Every key listed or changed here belongs to the organization that the caller acts in; another's counts as missing.
- The text of a key is returned once, in the answer that creates it.
- A key that is switched on again lives on: no other key and no foreign issuer's token does that. Both may end keys.
- The route has checked the permission (``api_keys:read``, ``:write``, ``:delete``) before an endpoint is reached.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, StrictBool

from authcore.errors import ApiKeysExhausted, ApiKeyUnknown, NameUnacceptable, NotAMember, Overloaded
from gateway.endpoints.application import made_with, now_of, read_body, refuse_to_found, success
from gateway.endpoints.describing import Answer, MessageAnswer, Operation
from gateway.endpoints.moments import ExpiresAt, SecondsZ
from gateway.faults import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from authcore.accounts.administration import Administration

COLLECTION: Final = "/api/api-keys"
ONE: Final = "/api/api-keys/{id}"

PERMISSIONS: Final = {
    COLLECTION: {"GET": "api_keys:read", "POST": "api_keys:write"},
    ONE: {"GET": "api_keys:read", "PUT": "api_keys:write", "DELETE": "api_keys:delete"},
}
"""path -> method -> the permission that its route requires."""

PAGE_SIZE: Final = 50
LARGEST_PAGE: Final = 100
_LAST_PAGE: Final = 1_000_000


def _number(default: int, most: int) -> Callable[[object], int]:
    def bounded(text: object) -> int:
        if (
            not isinstance(text, str)
            or not (text.isascii() and text.isdigit())
            or len(text) > len(str(_LAST_PAGE))
        ):
            return default
        return min(int(text), most) or default

    return bounded


LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""A later expiry overflows somewhere; a key that never expires has no expiry at all."""


class CreateKeyBody(BaseModel):
    """What creating a key is sent."""

    name: Annotated[str, Field(min_length=1, title="Name")]
    expires_at: ExpiresAt = Field(None, description="RFC 3339; absent, null or empty: never.")


class SwitchKeyBody(BaseModel):
    """What switching a key is sent."""

    is_active: StrictBool | None = Field(None, description="Absent: as it is.")


class PageQuery(BaseModel):
    """Which of the keys are listed. What is no number counts as absent, as it does for Whatomate."""

    search: str = Field("", description="Part of the name.")
    page: Annotated[int, BeforeValidator(_number(1, _LAST_PAGE))] = Field(1, description="The first is 1.")
    limit: Annotated[int, BeforeValidator(_number(PAGE_SIZE, LARGEST_PAGE))] = Field(
        PAGE_SIZE, description=f"Keys on a page; {LARGEST_PAGE} at most."
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
    """Some of an organization's keys, newest first; and how many there are."""

    api_keys: list[ApiKeyAnswer]
    total: int
    page: int
    limit: int


_NO_ID: Final = "Invalid API key ID"


def _operation(method: str, path: str, summary: str, answer: type[BaseModel], **more: Any) -> Operation:
    access = PERMISSIONS[path][method]
    return Operation(
        method=method, path=path, tag="API keys", summary=summary, access=access, answer=answer, **more
    )


OPERATIONS: Final = (
    _operation("GET", COLLECTION, "List API keys, newest first", ApiKeyPageAnswer, query=PageQuery),
    _operation(
        "POST",
        COLLECTION,
        "Create an API key that acts as the caller, and show it",
        NewApiKeyAnswer,
        body=CreateKeyBody,
        founds=True,
        refuses=(NameUnacceptable, NotAMember, ApiKeysExhausted, Overloaded),
    ),
    _operation("GET", ONE, "Get an API key", ApiKeyAnswer, refuses=(ApiKeyUnknown,), complaints=(_NO_ID,)),
    _operation(
        "PUT",
        ONE,
        "Switch an API key on or off",
        ApiKeyAnswer,
        detail="An API key switches none on.",
        body=SwitchKeyBody,
        refuses=(ApiKeyUnknown,),
        complaints=(_NO_ID,),
    ),
    _operation(
        "DELETE", ONE, "Delete an API key", MessageAnswer, refuses=(ApiKeyUnknown,), complaints=(_NO_ID,)
    ),
)


class ApiKeyEndpoints:
    """Handlers over the administration service."""

    def __init__(self, administration: Administration, *, user_id_header: str, org_id_header: str) -> None:
        """The headers are those with the caller's user id and organization id."""
        self._administration = administration
        self._user_id_header = user_id_header
        self._org_id_header = org_id_header

    def add_to(self, application: web.Application) -> None:
        """Register the handlers under their paths."""
        router = application.router
        router.add_get(COLLECTION, self.list_keys)
        router.add_post(COLLECTION, self.create)
        router.add_get(ONE, self.get)
        router.add_put(ONE, self.switch)
        router.add_delete(ONE, self.delete)

    async def list_keys(self, request: web.Request) -> web.Response:
        """Answer with a page of keys whose name holds ``search``."""
        asked = PageQuery(
            **{name: request.query[name] for name in PageQuery.model_fields if name in request.query}
        )
        found = await self._administration.find_api_keys(
            self._organization(request),
            asked.search,
            limit=asked.limit,
            offset=(asked.page - 1) * asked.limit,
        )
        keys = [ApiKeyAnswer.model_validate(key) for key in found.keys]
        page = ApiKeyPageAnswer(api_keys=keys, total=found.total, page=asked.page, limit=asked.limit)
        return success(page)

    async def get(self, request: web.Request) -> web.Response:
        """Answer with one key."""
        key = await self._administration.find_api_key(self._organization(request), _id(request))
        return success(ApiKeyAnswer.model_validate(key))

    async def create(self, request: web.Request) -> web.Response:
        """Create a key that acts as the caller, and show it."""
        body = await read_body(request, CreateKeyBody)
        if body.expires_at is not None and not await now_of(request) < body.expires_at.timestamp() < LATEST:
            raise BadRequest("expires_at must be in the future, and before the year 9999")
        row, key = await self._administration.create_api_key(
            UUID(request.headers[self._user_id_header]),
            self._organization(request),
            body.name,
            body.expires_at,
            parent_id=made_with(request),
        )
        answer = ApiKeyAnswer.model_validate(row)
        return success(NewApiKeyAnswer(**answer.model_dump(), key=key))

    async def switch(self, request: web.Request) -> web.Response:
        """Switch a key on or off."""
        organization, key_id = self._organization(request), _id(request)
        body = await read_body(request, SwitchKeyBody)
        if body.is_active is None:
            key = await self._administration.find_api_key(organization, key_id)
        else:
            if body.is_active:
                refuse_to_found(request)
            key = await self._administration.switch_api_key(organization, key_id, is_active=body.is_active)
        return success(ApiKeyAnswer.model_validate(key))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a key."""
        await self._administration.delete_api_key(self._organization(request), _id(request))
        return success(MessageAnswer(message="API key deleted successfully"))

    def _organization(self, request: web.Request) -> UUID:
        return UUID(request.headers[self._org_id_header])


def _id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise BadRequest(_NO_ID) from None
