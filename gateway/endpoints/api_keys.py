"""``/api/api-keys``: list, get, create, switch, delete. HTTP only: what they mean is authcore's.

Laws:

- Every key seen or touched here is of the organization that the caller acts in; another's does not exist.
- A key is shown once, in the answer that creates it.
- The route has asked for the permission (``api_keys:read``, ``:write``, ``:delete``) before an endpoint is reached.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, StrictBool

from authcore.errors import ApiKeyUnknown
from gateway.endpoints.application import read_body, success
from gateway.faults import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from authcore.administration import Administration
    from authcore.store.rows import ApiKeyListing

COLLECTION: Final = "/api/api-keys"
ONE: Final = "/api/api-keys/{id}"

PERMISSIONS: Final = {
    COLLECTION: {"GET": "api_keys:read", "POST": "api_keys:write"},
    ONE: {"GET": "api_keys:read", "PUT": "api_keys:write", "DELETE": "api_keys:delete"},
}
"""path -> method -> the permission that its route asks for."""

PAGE_SIZE: Final = 50
LARGEST_PAGE: Final = 100
_LAST_PAGE: Final = 1_000_000


class CreateBody(BaseModel):
    """What creating a key is sent."""

    name: Annotated[str, Field(min_length=1)]
    expires_at: AwareDatetime | None = None


class SwitchBody(BaseModel):
    """What switching a key is sent."""

    is_active: StrictBool


class ApiKeyEndpoints:
    """The handlers, over the domain's administration."""

    def __init__(self, administration: Administration, *, user_id_header: str, org_id_header: str) -> None:
        """The headers are those that say who is asking, and in which organization."""
        self._administration = administration
        self._user_id_header = user_id_header
        self._org_id_header = org_id_header

    def add_to(self, application: web.Application) -> None:
        """Put the handlers under their paths."""
        router = application.router
        router.add_get(COLLECTION, self.list_keys)
        router.add_post(COLLECTION, self.create)
        router.add_get(ONE, self.get)
        router.add_put(ONE, self.switch)
        router.add_delete(ONE, self.delete)

    async def list_keys(self, request: web.Request) -> web.Response:
        """Answer with a page of keys whose name holds ``search``."""
        page = _number(request, "page", 1, _LAST_PAGE)
        limit = _number(request, "limit", PAGE_SIZE, LARGEST_PAGE)
        found = await self._administration.find_api_keys(
            self._organization(request),
            request.query.get("search", ""),
            limit=limit,
            offset=(page - 1) * limit,
        )
        keys = [_shown(key) for key in found.keys]
        return success({"api_keys": keys, "total": found.total, "page": page, "limit": limit})

    async def get(self, request: web.Request) -> web.Response:
        """Answer with one key."""
        key = await self._administration.find_api_key(self._organization(request), _id(request))
        return success(_shown(key))

    async def create(self, request: web.Request) -> web.Response:
        """Create a key that acts as the caller, and show it."""
        body = await read_body(request, CreateBody)
        if body.expires_at is not None and body.expires_at <= datetime.fromtimestamp(time.time(), UTC):
            raise BadRequest("expires_at must be in the future")
        row, key = await self._administration.create_api_key(
            UUID(request.headers[self._user_id_header]),
            self._organization(request),
            body.name,
            body.expires_at,
        )
        return success({**_shown(row), "key": key})

    async def switch(self, request: web.Request) -> web.Response:
        """Switch a key on or off."""
        body = await read_body(request, SwitchBody)
        key = await self._administration.switch_api_key(
            self._organization(request), _id(request), is_active=body.is_active
        )
        return success(_shown(key))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a key."""
        await self._administration.delete_api_key(self._organization(request), _id(request))
        return success({"message": "API key deleted successfully"})

    def _organization(self, request: web.Request) -> UUID:
        return UUID(request.headers[self._org_id_header])


def _shown(key: ApiKeyListing) -> Mapping[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "key_prefix": key.key_prefix,
        "user_id": key.user_id,
        "organization_id": key.organization_id,
        "is_active": key.is_active,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
        "created_at": key.created_at,
    }


def _id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise ApiKeyUnknown from None


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    """Return a number of the query, within bounds; what is not one counts as absent, as it does for Whatomate."""
    text = request.query.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_LAST_PAGE))):
        return default
    return min(int(text), most) or default
