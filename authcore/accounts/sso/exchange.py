"""Requests to a provider: a code for tokens (RFC 6749 section 4.1.3), and an access token for the user's description.

Laws:

- Each response is JSON of a bounded size with an object in it. Anything else is the provider's failure, and says
  nothing about the user.
- The code is sent with its PKCE verifier, once. It is sent again only after the provider said that it does not know
  the client by this way of authentication, as Whatomate's own client does.
- Neither code, secret nor token is in an error.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlencode

from authcore.errors import SsoProviderFailed
from authcore.outbound import OutboundFailed, OutboundRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from authcore.outbound import Outbound

BASIC: Final = "client_secret_basic"
POST: Final = "client_secret_post"
NONE: Final = "none"
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_TEXT: Final = 32_768
_KNOWN_ERRORS: Final = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),
        *("unsupported_grant_type", "invalid_scope"),
        *("bad_verification_code", "incorrect_client_credentials", "redirect_uri_mismatch"),  # GitHub's
    }
)
_OF_CLIENT: Final = frozenset({"invalid_client", "incorrect_client_credentials"})


@dataclass(frozen=True, slots=True)
class Client:
    """The gateway as a provider knows it."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthorizationGrant:
    """Authorization code that a browser brought back, and what it is exchanged with (RFC 6749 section 4.1.3, RFC 7636).

    Attributes:
        code: The code.
        verifier: The PKCE verifier of the sign-in.
        callback: The callback URL that the sign-in named.
    """

    code: str = field(repr=False)
    verifier: str = field(repr=False)
    callback: str


@dataclass(frozen=True, slots=True)
class ProviderTokens:
    """Tokens that a provider gave for a code.

    Attributes:
        access: The access token.
        id: The ID token; empty if there is none.
    """

    access: str = field(repr=False)
    id: str = field(repr=False)


async def fetch_tokens(  # noqa: PLR0913, PLR0917 -- the request by its parts
    outbound: Outbound,
    url: str,
    hosts: frozenset[str],
    client: Client,
    grant: AuthorizationGrant,
    ways: Sequence[str],
) -> ProviderTokens:
    """Exchange a code for tokens; `ways` are those in which the provider lets the client authenticate.

    Raises:
        SsoProviderFailed: there are none.
    """
    supported = [way for way in (BASIC, POST) if way in ways] if client.secret else [NONE]
    supported = supported or [NONE for way in ways if way == NONE]  # it takes public clients alone, by PKCE
    if not supported:
        raise SsoProviderFailed(f"the provider takes a client by none of {BASIC}, {POST} and {NONE}")
    problem = ""
    for way in supported:
        answer = await _fetch(outbound, _token_request(url, hosts, client, grant, way))
        problem = _error_of(answer)
        if problem not in _OF_CLIENT:
            break
    if problem:
        raise SsoProviderFailed(f"the provider gives no tokens: {problem}")
    access, kind, token = answer.get("access_token"), answer.get("token_type"), answer.get("id_token", "")
    if not _is_text(access) or not isinstance(kind, str) or kind.lower() != "bearer":
        raise SsoProviderFailed("the provider's answer has no access token to bear")
    if not isinstance(token, str) or len(token) > _MOST_TEXT:
        raise SsoProviderFailed("the provider's ID token is no text of its size")
    return ProviderTokens(str(access), token)


async def fetch_object(
    outbound: Outbound, url: str, hosts: frozenset[str], token: str = ""
) -> dict[str, Any]:
    """Return the JSON object at a URL, asked for with an access token if there is one.

    Raises:
        SsoProviderFailed: there is none.
    """
    found = await fetch_json(outbound, url, hosts, token)
    if not isinstance(found, dict):
        raise SsoProviderFailed("the provider's answer is no JSON object")
    return found


async def fetch_json(outbound: Outbound, url: str, hosts: frozenset[str], token: str = "") -> object:
    """Return the JSON at a URL, as :func:`fetch_object`.

    Raises:
        SsoProviderFailed: there is none.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return (await _send(outbound, OutboundRequest(url=url, hosts=hosts, headers=headers)))[1]


def _token_request(
    url: str, hosts: frozenset[str], client: Client, grant: AuthorizationGrant, way: str
) -> OutboundRequest:
    form = {
        "grant_type": "authorization_code",
        "code": grant.code,
        "redirect_uri": grant.callback,
        "code_verifier": grant.verifier,
    }
    headers = {"Content-Type": _FORM}
    if way == BASIC:  # RFC 6749 section 2.3.1: both are encoded as in a form first
        pair = f"{quote_plus(client.id)}:{quote_plus(client.secret)}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode('ascii')}"
    else:
        form["client_id"] = client.id
        if way == POST:
            form["client_secret"] = client.secret
    return OutboundRequest(
        url=url, hosts=hosts, method="POST", headers=headers, body=urlencode(form).encode("ascii")
    )


async def _fetch(outbound: Outbound, request: OutboundRequest) -> Mapping[str, Any]:
    """Return the object that a token endpoint answers, of whichever status: an error is an object, too."""
    _, found = await _send(outbound, request, refusals=True)
    if not isinstance(found, dict):
        raise SsoProviderFailed("the token endpoint's answer is no JSON object")
    return found


async def _send(
    outbound: Outbound, request: OutboundRequest, *, refusals: bool = False
) -> tuple[int, object]:
    try:
        response = await outbound.send(request)
    except OutboundFailed as error:
        raise SsoProviderFailed(str(error)) from error
    taken = {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED} if refusals else {HTTPStatus.OK}
    if response.status not in taken:
        raise SsoProviderFailed(f"the provider answered {response.status}")
    try:
        found = json.loads(response.body.decode())
    except (ValueError, RecursionError):
        if response.status == HTTPStatus.UNAUTHORIZED:  # such as a page, for a client that is not known
            return response.status, {"error": "invalid_client"}
        raise SsoProviderFailed("the provider's answer is no JSON") from None
    if response.status != HTTPStatus.OK and isinstance(found, dict):
        found.setdefault("error", "invalid_request")
    return response.status, found


def _error_of(answer: Mapping[str, Any]) -> str:
    """Return the error of a token endpoint's answer, which GitHub sends with 200; empty if there is none."""
    error = answer.get("error")
    if error is None:
        return ""
    return error if isinstance(error, str) and error in _KNOWN_ERRORS else "an error of its own"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MOST_TEXT and value.isascii() and value.isprintable()
