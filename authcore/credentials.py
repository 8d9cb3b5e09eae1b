"""Credential types: what a caller may present. The gateway parses headers into them; ``authenticate`` proves them.

Law: the secret of a credential is never part of its ``repr``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


class Proof:
    """Bytes that a caller presents; its class says where they were found.

    It is written out, and not a frozen dataclass: one is made for every request whose credential differs from the last.

    Attributes:
        secret: The bytes, as they were sent.
    """

    __slots__ = ("secret",)

    def __init__(self, secret: bytes) -> None:
        self.secret: Final = secret

    def __repr__(self) -> str:
        """Return the name of the class alone."""
        return f"{type(self).__name__}()"


class BearerToken(Proof):
    """A JWT from ``Authorization: Bearer`` (RFC 6750 section 2.1)."""

    __slots__ = ()


class CookieToken(Proof):
    """The same JWT from a cookie. A browser sends it unasked, so it does not prove that the user meant it."""

    __slots__ = ()


class ApiKey(Proof):
    """An API key from ``X-API-Key``."""

    __slots__ = ()


class Ticket(Proof):
    """A WebSocket ticket from ``/ws?token=``: the only token that may stand in a query."""

    __slots__ = ()


class SocketToken(Proof):
    """A token that is to open a WebSocket, from its query or its first message: a ticket or an access token."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class CookieTwins:
    """Several cookies with the access token's name: at most one of them counts, and which one is not known.

    Attributes:
        tokens: Their different values, in the order of the Cookie header.
    """

    tokens: tuple[bytes, ...] = field(repr=False)


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
