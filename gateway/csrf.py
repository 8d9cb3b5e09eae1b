"""CSRF tokens: the double-submit cookie, bound to the session by an HMAC.

Laws:

- A browser sends cookies by itself, so it must show that its page can read one: ``X-CSRF-Token`` equals ``whm_csrf``.
- In a session of the gateway's, only that session's token is accepted: a cookie that a sibling host planted equals what
  its pages send, and is still refused. In a session that Whatomate began, the gateway can only check that both are
  equal.
- The token stays the same as long as its session: a page that read it once still has it after another page refreshes.
- A page reads the first ``whm_csrf`` of several, whichever that is. If there are several, any of them suffices from a
  page that is proven to be of this host (:mod:`gateway.proxy.browsers`): no page elsewhere can make that proof.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from gateway.faults import CsrfRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID


OWN_PAGE: Final = "X-Auth-Own-Page"
"""Header of requests to the gateway's own application that are proven to come from a page of this host, or of an origin
that may use cookies. It has a managed prefix (``gateway/proxy/headers.py``), so no client can set it."""


EQUAL: Final = 1
BOUND: Final = 2
"""Strengths of a proof: see :meth:`CsrfTokens.proof`."""


class CsrfTokens:
    """Issuer and verifier of the CSRF tokens of one installation."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        """The first secret mints tokens, and all of them verify: secrets are rotated under live sessions."""
        self._keys = [hmac.digest(secret, b"whatomate-gateway csrf", sha256) for secret in secrets]

    def mint(self, session_id: UUID) -> str:
        """Return the token of a session."""
        return _token(self._keys[0], session_id).decode("ascii")

    def check(
        self,
        sent: Sequence[bytes],
        cookies: Sequence[bytes],
        session_id: UUID | None,
        *,
        own_page: bool = False,
    ) -> None:
        """Compare the value in the header with the cookies and with the session's token.

        Args:
            sent: The values of ``X-CSRF-Token``.
            cookies: The different values of ``whm_csrf``.
            session_id: The session acted in; None if Whatomate began it.
            own_page: A page of this host is proven to have sent it, so any of several cookies suffices.

        Raises:
            CsrfRefused: the header does not have the session's token.
        """
        if len(sent) != 1 or not sent[0]:
            raise CsrfRefused("X-CSRF-Token is missing: send the value of the cookie whm_csrf in it")
        token = sent[0]
        if not any(hmac.compare_digest(token, one) for one in cookies):
            raise CsrfRefused("X-CSRF-Token is not the value of the cookie whm_csrf")
        if len(cookies) > 1 and own_page:
            return
        if session_id is None:
            if len(cookies) > 1:
                raise CsrfRefused("there are several cookies whm_csrf: refresh, or sign in again")
        elif not self._is_of(session_id, token):
            raise CsrfRefused("X-CSRF-Token is not this session's: refresh, or sign in again")

    def proof(self, sent: Sequence[bytes], cookies: Sequence[bytes], session_id: UUID | None) -> int:
        """Return how strong a proof of the session the token is, whichever page sent it; arguments as of :meth:`check`.

        Returns:
            ``BOUND`` if it is this session's token, ``EQUAL`` if header and cookie are equal and the session has no
            token of its own, 0 if :meth:`check` refuses it.
        """
        try:
            self.check(sent, cookies, session_id)
        except CsrfRefused:
            return 0
        return EQUAL if session_id is None else BOUND

    def _is_of(self, session_id: UUID, token: bytes) -> bool:
        return any(hmac.compare_digest(_token(key, session_id), token) for key in self._keys)

    def __repr__(self) -> str:
        return f"CsrfTokens(secrets={len(self._keys)})"


def _token(key: bytes, session_id: UUID) -> bytes:
    return urlsafe_b64encode(hmac.digest(key, session_id.bytes, sha256)[:24])
