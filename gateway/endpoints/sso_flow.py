"""Single sign-on flow in browsers: the URLs that they see, the cookie of a sign-in, and the URL of the sign-out.

Law: a sign-in is bound to its browser by a cookie that scripts cannot read and, where cookies are secure, that no other
host can set (``__Host-``). It is no credential: it is of use only with the provider's answer and the gateway's secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authcore import errors
from authcore.accounts.sso.states import BINDING
from authcore.credentials import RefreshToken
from authcore.tokens.claims import AccessClaims, RefreshClaims

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from aiohttp import web

    from authcore.accounts.sso.service import SingleSignOn
    from authcore.credentials import BearerToken
    from gateway.endpoints.caller import Visitor
    from gateway.endpoints.services import Services

LOGIN: Final = "/login"
"""Path of the client's login page."""
_COOKIE: Final = "whm_sso"


@dataclass(frozen=True, slots=True)
class SsoFlow:
    """Single sign-on flow of the endpoints.

    Attributes:
        service: The single sign-on service.
        origin: Origin of the gateway for browsers; None for the host of the request.
        base_path: What a proxy in front takes off the paths; empty where it takes nothing off.
        is_secure: Cookies are sent over https alone.
        seconds: Longest time of a sign-in, from its beginning to the callback.
    """

    service: SingleSignOn
    origin: str | None
    base_path: str
    is_secure: bool
    seconds: float

    @property
    def cookie(self) -> str:
        """Name of the cookie that binds a sign-in to its browser."""
        return f"__Host-{_COOKIE}" if self.is_secure else _COOKIE

    def url(self, visitor: Visitor, path: str) -> str:
        """Return the absolute URL of a path below the base path, as the visitor's browser sees it."""
        scheme = "https" if self.is_secure else "http"
        origin = self.origin or f"{scheme}://{visitor.host.decode('ascii')}"
        return f"{origin}{self.base_path}{path}"

    def set_cookie(self, binding: str) -> str:
        """Return the value of the Set-Cookie line that binds a browser."""
        secure = "; Secure" if self.is_secure else ""
        life = f"Max-Age={int(self.seconds)}"
        return f"{self.cookie}={binding}; Path=/; {life}; HttpOnly{secure}; SameSite=Lax"

    def bindings(self, request: web.Request) -> list[str]:
        """Return the bindings that a browser sends, each once."""
        pairs = (
            pair.strip(" \t").partition("=")
            for line in request.headers.getall("Cookie", ())
            for pair in line.split(";")
        )
        found = (value for name, _, value in pairs if name == self.cookie and BINDING.fullmatch(value))
        return list(dict.fromkeys(found))


async def end_session_url(
    services: Services, visitor: Visitor, tokens: Iterable[RefreshToken | BearerToken], now: float
) -> str | None:
    """Return where the browser signs out of the provider that began the session of `tokens`; None if nowhere.

    The tokens are verified: nobody learns anything about a session that is not theirs.
    """
    flow = services.sso
    if flow is None:
        return None
    for token in tokens:
        try:
            session_id = _session_of(services, token, now)
            if session_id is not None:
                back = flow.url(visitor, LOGIN)
                return await flow.service.departures.end_session_url(session_id, back)
        except (errors.TokenRejected, errors.StoreUnavailable):
            continue
    return None


def _session_of(services: Services, token: RefreshToken | BearerToken, now: float) -> UUID | None:
    if isinstance(token, RefreshToken):
        return services.tokens.verify(token.token, RefreshClaims, now).session_id
    return services.tokens.verify(token.secret, AccessClaims, now).session_id
