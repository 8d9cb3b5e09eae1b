"""Several access cookies of one request, and the choice of the one that counts.

A browser keeps cookies of one name apart by path, by domain and, since RFC 6265bis, by whether a Domain was given. It
sends all of them and does not say where each was set. Laws:

- The cookie counts that alone would let the request in: a genuine one of a live session and, where a CSRF token is
  needed, with the right one. Of several such cookies the newest counts, by its ``iat``.
- A CSRF token that belongs to one session shows which session its page is in. That session's cookie has precedence
  over cookies for which the token only equals ``whm_csrf``. So an attacker who plants a newer session beside the
  victim's does not receive what the victim's page writes.
- If the CSRF token is right for none, the refusal is about the newest cookie.
- An outage is no verdict on a cookie. It ends the search, and no other cookie is used instead.
- There are at most ``MOST_TWINS`` verifications, and the identity cache has each answer as it has any cookie's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.errors import AuthError, Overloaded, StoreUnavailable
from gateway.csrf import BOUND

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.credentials import CookieTwins
    from authcore.identity.authenticator import Authenticator
    from authcore.principal import Principal
    from gateway.proxy.browsers import BrowserPolicy
    from gateway.proxy.decision_context import DecisionContext
    from gateway.proxy.parsed_headers import ParsedHeaders


class DuplicateCookies:
    """Chooser among the access cookies of one request."""

    def __init__(
        self, authenticator: Authenticator, browsers: BrowserPolicy | None, cookies: CookieTwins
    ) -> None:
        """`authenticator` verifies `cookies`; `browsers` checks the CSRF token, or is None where none is needed."""
        self._authenticator = authenticator
        self._browsers = browsers
        self._cookies = cookies

    async def tell_apart(
        self, context: DecisionContext, parsed: ParsedHeaders, organization: UUID | None, now: float
    ) -> Principal:
        """Return the principal of the cookie that counts, and set ``context.cookie`` to that cookie.

        Args:
            context: The request.
            parsed: Its field lines.
            organization: The organization that the caller asks to act in; None for the cookie's own.
            now: POSIX seconds.

        Raises:
            AuthError: no cookie is good; the reason is that of the newest genuine one. Or an outage.
        """
        best = -1
        counts: Principal | None = None
        refusal: AuthError | None = None
        for token in self._authenticator.newest_first(self._cookies, now):
            try:
                principal = await self._authenticator.authenticate(token, organization, now)
            except (StoreUnavailable, Overloaded):
                raise
            except AuthError as error:
                refusal = refusal or error
                continue
            proven = (
                BOUND if self._browsers is None else self._browsers.proof(context.head, parsed, principal)
            )
            if proven > best:
                best, counts, context.cookie = proven, principal, token
            if proven == BOUND:
                break
        if counts is None:
            raise refusal or AuthError
        return counts
