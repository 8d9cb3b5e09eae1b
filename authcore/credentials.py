"""What a caller may present, as types. Parsing headers into these is the gateway's; proving them is ``authenticate``'s.

Law: the secret of a credential is never part of its ``repr``.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A JWT from ``Authorization: Bearer`` (RFC 6750 section 2.1)."""

    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CookieToken:
    """The same JWT from a cookie, which a browser sends by itself: who asked is another question than who is asking."""

    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CookieTwins:
    """Several cookies of the access token's name: one credential at most, and not known which.

    Attributes:
        tokens: Their different values, in the order of the Cookie header.
    """

    tokens: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key from ``X-API-Key``."""

    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A WebSocket ticket from ``/ws?token=``: the one token that may stand in a query."""

    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SocketToken:
    """A token that is to open a WebSocket, in its query or its first message: a ticket, or an access token."""

    token: bytes = field(repr=False)


Credential = BearerToken | CookieToken | ApiKey | Ticket | SocketToken
"""What authenticates a proxied request."""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token, as handed to ``/api/auth/refresh`` and ``/api/auth/logout``."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PasswordLogin:
    """An e-mail and the password claimed for it."""

    email: str
    password: str = field(repr=False)
