"""Caller parser: it reads the headers that the pipeline injects, once for each request to a hosted endpoint.

Laws:

- This module alone reads them: ``tests/laws.py`` forbids it to the other modules of this room.
- No client can set one: all of their names are managed (``gateway/proxy/headers.py``).
- A header that is missing or malformed is a fault of the gateway, and the request is refused with 500.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from authcore.credentials import BearerToken
from authcore.identity_headers import CREDENTIAL_HEADER, EXPIRY_HEADER, OWN_KEY_HEADER, SESSION_HEADER
from authcore.principal import AuthMethod
from authcore.store.session_rows import Visit
from gateway.csrf import OWN_PAGE
from gateway.logs.verdicts import EXCHANGE_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

_EXCHANGE: Final = EXCHANGE_HEADER.decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Sender of a request to an endpoint, proved or not.

    Attributes:
        visit: The client's device and its address, as the pipeline judged it.
        host: The host that the client asked for, as the pipeline found it.
        is_own_page: The pipeline found that a page of this host sent the request.
        bearer: The token in ``Authorization``, unverified; for a caller that a cookie proved, the cookie's token.
    """

    visit: Visit
    host: bytes
    is_own_page: bool
    bearer: BearerToken | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller(Visitor):
    """Proved sender of a request to an endpoint that needs a credential.

    Attributes:
        user_id: The user that the credential acts as.
        organization_id: The organization acted in.
        session_id: The session of the token; None for an API key and for a token that belongs to no session.
        credential: The kind of credential.
        key_id: The API key; None for any other credential.
        expires_at: POSIX seconds from which the credential is refused: the expiry and, for a token, the leeway; None if
            it does not expire.
        identity: The texts of the identity headers, by key; a header that is not sent has no key.
    """

    user_id: UUID
    organization_id: UUID
    session_id: UUID | None
    credential: AuthMethod
    key_id: UUID | None
    expires_at: float | None
    identity: Mapping[str, str]


def visitor_of(request: web.Request, _names: Mapping[str, str]) -> Visitor:
    """Return the sender of a request to a public endpoint."""
    return Visitor(
        visit=Visit.of(request.headers.get("User-Agent", ""), request.headers["X-Real-IP"]),
        host=request.headers.get("X-Forwarded-Host", "").encode("ascii", "replace"),
        is_own_page=OWN_PAGE in request.headers,
        bearer=_bearer_of(request),
    )


def caller_of(request: web.Request, names: Mapping[str, str]) -> Caller:
    """Return the proved sender of a request; `names` has the configured name of each identity header, by key."""
    visitor, headers = visitor_of(request, names), request.headers
    identity = {key: headers[name] for key, name in names.items() if name in headers}
    expires_at = headers.get(EXPIRY_HEADER)
    return Caller(
        visit=visitor.visit,
        host=visitor.host,
        is_own_page=visitor.is_own_page,
        bearer=visitor.bearer,
        user_id=UUID(identity["user_id"]),
        organization_id=UUID(identity["org_id"]),
        session_id=_uuid_or_none(headers.get(SESSION_HEADER)),
        credential=AuthMethod(headers[CREDENTIAL_HEADER]),
        key_id=_uuid_or_none(headers.get(OWN_KEY_HEADER)),
        expires_at=None if expires_at is None else float(expires_at),
        identity=identity,
    )


def exchange_of(request: web.Request) -> str:
    """Return the gateway's own id of a request."""
    return request.headers[_EXCHANGE]


def request_id_of(request: web.Request) -> str:
    """Return the id of a request that logs and clients have."""
    return request.headers.get("X-Request-ID", "")


def _uuid_or_none(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


def _bearer_of(request: web.Request) -> BearerToken | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    return BearerToken(token.strip().encode(errors="surrogateescape"))
