"""Credential types: what a caller may present. The gateway parses headers into them; ``authenticate`` proves them.

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
    """The same JWT from a cookie. A browser sends it unasked, so it does not prove that the user meant it."""

    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CookieTwins:
    """Several cookies with the access token's name: at most one of them counts, and which one is not known.

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
    """A WebSocket ticket from ``/ws?token=``: the only token that may stand in a query."""

    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SocketToken:
    """A token that is to open a WebSocket, from its query or its first message: a ticket or an access token."""

    token: bytes = field(repr=False)


Credential = BearerToken | CookieToken | ApiKey | Ticket | SocketToken
"""Any credential that authenticates a proxied request."""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token, as presented to ``/api/auth/refresh`` and ``/api/auth/logout``."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PasswordLogin:
    """An e-mail and the password claimed for it."""

    email: str
    password: str = field(repr=False)
