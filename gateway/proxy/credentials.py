"""Credential parser: it reads header fields, cookies and, on one path, the query. It verifies nothing.

Laws (the precedence is the contract's):

- ``X-API-Key``, when present, is the credential: a bearer token beside it does not rescue a bad key.
- Two field lines of one kind are refused: one might be checked here and the other used upstream.
- A field with an empty value counts as absent, as it does for Whatomate. It is not forwarded
  (:mod:`gateway.proxy.headers`). Beside another one of its kind it is refused as any second one is.
- A cookie is used if there is neither, and only where cookies are on. If there are several of its name, all are
  returned: proving them shows which one counts (:mod:`gateway.proxy.duplicate_cookies`).
- A query is read only for a WebSocket ticket, and only if the route allows it; a credential in the headers beside it is
  refused as a second one.
- Only these names count, in any case; a name that merely folds onto one (``X_API_Key``) is neither read nor forwarded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl
from uuid import UUID

from authcore.credentials import (
    ApiKey,
    BearerToken,
    CookieToken,
    CookieTwins,
    Credential,
    SocketToken,
    Ticket,
)
from authcore.errors import CredentialAmbiguous, CredentialMalformed, CredentialMissing
from gateway.cookies import ACCESS, NO_COOKIES, OurCookies
from gateway.faults import ORGANIZATION_MALFORMED, BadRequest

if TYPE_CHECKING:
    from gateway.wire.messages import Fields

KINDS: Final = {
    BearerToken: "jwt",
    CookieToken: "cookie",
    CookieTwins: "cookie",
    ApiKey: "api_key",
    Ticket: "ws",
    SocketToken: "ws",
}
"""The word for each kind of credential, in metrics and logs."""
_UUID: Final = re.compile(rb"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_OF_TOKENS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
"""The characters of a token68 before its padding (RFC 9110 section 11.2)."""
_SAME: Final = bytes(byte if byte in _OF_TOKENS else _OF_TOKENS[0] for byte in range(256))
"""A translation that leaves those characters alone, and changes every other byte."""
_SCHEME: Final = len(b"Bearer ")


def read_credential(fields: Fields, cookies: OurCookies = NO_COOKIES) -> Credential | CookieTwins:
    """Return the caller's credential, from a header or else from `cookies`.

    Raises:
        CredentialMissing: there is none.
        CredentialMalformed: Authorization is of another scheme than Bearer. The token itself is not looked at: for one
            that is not known yet there is :func:`is_token`.
        CredentialAmbiguous: there are several of one kind, or more cookies of one name than are looked at.
    """
    if fields.occurs_twice(b"x-api-key") or fields.occurs_twice(b"authorization"):
        raise CredentialAmbiguous
    key = fields.first.get(b"x-api-key")
    if key:
        return ApiKey(key)
    value = fields.first.get(b"authorization")
    if not value:
        tokens = cookies.every(ACCESS)
        if not tokens:
            raise CredentialMissing
        return CookieToken(tokens[0]) if len(tokens) == 1 else CookieTwins(tokens)
    if value[:_SCHEME] == b"Bearer " and value[_SCHEME : _SCHEME + 1] != b" ":
        return BearerToken(value[_SCHEME:])
    # The scheme's case does not matter (RFC 9110 section 11.1), nor the number of spaces behind it (section 11.4).
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != b"bearer":
        raise CredentialMalformed
    return BearerToken(token.lstrip(b" "))


def is_token(secret: bytes) -> bool:
    """Return whether a bearer token has the syntax of one (RFC 6750 section 2.1).

    A pattern that says the same takes seven times as long for a token of 400 bytes.
    """
    body = secret.rstrip(b"=")
    return bool(body) and body.translate(_SAME) == body


def read_ticket(fields: Fields, query: bytes) -> Ticket | None:
    """Return the WebSocket ticket in a query (``token=…``), if there is one.

    Raises:
        CredentialAmbiguous: there are two, or a credential in the headers as well.
    """
    # One character for each byte.
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    tokens = [value.encode("latin-1") for name, value in pairs if name == "token"]
    if not tokens:
        return None
    for name in (b"authorization", b"x-api-key"):
        if fields.first.get(name) or fields.occurs_twice(name):
            raise CredentialAmbiguous
    if len(tokens) > 1:
        raise CredentialAmbiguous
    return Ticket(tokens[0])


def read_organization(fields: Fields, *, lenient: bool) -> UUID | None:
    """Return the organization that the caller asks for (``X-Organization-ID``); None if absent or empty.

    If `lenient`, a value that is no UUID counts as absent too.

    Raises:
        BadRequest: it is no UUID, or there are two.
    """
    value = fields.first.get(b"x-organization-id")
    if value is None:
        return None
    if fields.occurs_twice(b"x-organization-id"):  # the upstream might use the other one
        raise BadRequest("More than one X-Organization-ID")
    if _UUID.fullmatch(value) is None:  # Python accepts more spellings than upstreams do
        if lenient or not value:
            return None
        raise BadRequest(ORGANIZATION_MALFORMED)
    return UUID(value.decode("ascii"))


def contradicts_organization(fields: Fields, organization: UUID | None) -> bool:
    """Return whether ``X-Organization-ID`` differs from `organization`; only a UUID's canonical spelling can agree."""
    value = fields.first.get(b"x-organization-id")
    if value is None:
        return False
    if fields.occurs_twice(b"x-organization-id"):
        return True
    if _UUID.fullmatch(value) is None:
        return value != b""
    return UUID(value.decode("ascii")) != organization
