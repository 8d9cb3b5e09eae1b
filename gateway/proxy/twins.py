"""Twins: several access cookies of one request, and which of them counts.

A browser keeps cookies of one name apart by path, by domain and, since RFC 6265bis, by whether there was a Domain at
all. It sends all of them and does not say which is whose. Laws:

- The cookie counts with which alone the request would be let in: genuine, of a live session, and, where a CSRF token is
  needed, with the right one. Of several such the newest counts, by its ``iat``.
- A CSRF token that is one session's own says which session its page is in: that one counts before any of which it only
  equals the cookie. So whoever plants a newer session beside the victim's is not given what the victim's page writes.
- Where the CSRF token is right for none, the newest one is whom the refusal is about.
- An outage is no verdict on a cookie: it ends the search, and none is taken instead.
- There is no more work than ``MOST_TWINS`` proofs, and memory knows each answer as it knows any cookie's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.errors import AuthError, Overloaded, StoreUnavailable
from gateway.csrf import BOUND

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.authenticate import Authenticator
    from authcore.credentials import CookieTwins
    from authcore.principal import Principal
    from gateway.proxy.browsers import BrowserLaws
    from gateway.proxy.question import Question
    from gateway.proxy.reading import Reading


class Twins:
    """The cookies of one request."""

    def __init__(
        self, authenticator: Authenticator, browsers: BrowserLaws | None, cookies: CookieTwins
    ) -> None:
        """`authenticator` proves them, `browsers` says whose request it was meant to be."""
        self._authenticator = authenticator
        self._browsers = browsers
        self._cookies = cookies

    async def tell_apart(
        self, question: Question, reading: Reading, organization: UUID | None, now: float
    ) -> Principal:
        """Return whom the cookie that counts stands for, and note which one that is in `question`.

        Args:
            question: The request.
            reading: Its field lines.
            organization: The organization the caller asks to act in; None for the cookie's own.
            now: POSIX seconds.

        Raises:
            AuthError: none is good; why, of the newest genuine one. Or an outage.
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
                BOUND if self._browsers is None else self._browsers.proof(question.head, reading, principal)
            )
            if proven > best:
                best, counts, question.cookie = proven, principal, token
            if proven == BOUND:
                break
        if counts is None:
            raise refusal or AuthError
        return counts
