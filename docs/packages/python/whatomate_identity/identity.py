"""Identity: what the gateway has signed about the caller of a request, and the errors of verifying it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KEY: Final = "whatomate_identity"
"""Where middleware puts the identity: the key in an ASGI scope and a WSGI environ."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Verified identity of the caller.

    Attributes:
        user_id: The user.
        organization_id: The organization acted in.
        email: Their e-mail address.
        name: Their full name.
        role: The name of their role there; empty when there is none.
        role_id: The role's id, when there is one.
        is_super_admin: True if they have every permission.
        auth_method: How they proved themselves: ``jwt``, ``cookie``, ``api_key`` or ``ws``.
        key_id: The API key used, if one was.
        permissions: Their permissions; None if the service is not sent the list.
        request_id: The request's id, as in ``X-Request-ID``.
        expires_at: POSIX seconds.
    """

    user_id: str
    organization_id: str
    email: str
    name: str
    role: str
    role_id: str | None
    is_super_admin: bool
    auth_method: str
    key_id: str | None
    permissions: frozenset[str] | None
    request_id: str
    expires_at: int

    def may(self, permission: str) -> bool:
        """Return whether the caller has a permission. Without the list of permissions, super admins alone have any."""
        return self.is_super_admin or permission in (self.permissions or ())


class IdentityRejected(Exception):
    """A request that is not proved to come from the gateway: 401. The text says why, and holds nothing secret.

    Attributes:
        reason: The cause as one word, the same in the packages of every language.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(TEXTS[reason])
        self.reason = reason


class KeysUnavailable(Exception):
    """The gateway's keys could not be fetched, so nothing is known of the request: 503. The text says why."""


TEXTS: Final = {
    "missing": "it has no signed identity",
    "repeated": "a header that has to be there once is there twice",
    "malformed": "its signed identity cannot be read",
    "type": "its token is for something else",
    "algorithm": "its token is signed by another algorithm than this service takes",
    "key": "its token names no key of the gateway",
    "signature": "its signature is by none of the keys",
    "issuer": "its token is by another gateway",
    "audience": "its token is for another service",
    "expired": "its token has expired",
    "future": "its token was issued in the future: do the clocks differ?",
    "method": "its token is for another method",
    "path": "its token is for another path",
    "permissions": "the header of permissions is not what was signed",
}
"""Reason -> its text."""


def utf8_of_latin1(value: str) -> str:
    """Return the text of a header that a framework has decoded as Latin-1, as WSGI and Starlette do.

    Names are UTF-8 on the wire. What is no UTF-8 is returned as it is.
    """
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
