"""Tokens against cross-site request forgery: the double submit, bound to the session.

Laws:

- Who sends a cookie by itself, a browser, must show that it can read one: ``X-CSRF-Token`` equals ``whm_csrf``.
- In a session of the gateway's the token is that session's and no other: a cookie that a sibling host planted is equal
  to what its pages send, and is still not ours. Of sessions that Whatomate began the gateway knows no more than that
  both are equal.
- The token stays the same as long as its session: a page that read it once goes on while another refreshes.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.faults import CsrfRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID


class CsrfTokens:
    """Mints and checks the tokens of one installation."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        """The first secret mints, each of them is good: secrets are rotated under live sessions."""
        self._keys = [hmac.digest(secret, b"whatomate-gateway csrf", sha256) for secret in secrets]

    def mint(self, session_id: UUID) -> str:
        """Return the token of a session."""
        return _token(self._keys[0], session_id).decode("ascii")

    def check(self, sent: Sequence[bytes], kept: bytes | None, session_id: UUID | None) -> None:
        """Hold what was sent in the header against what the cookie keeps.

        Args:
            sent: The values of ``X-CSRF-Token``.
            kept: The value of ``whm_csrf``.
            session_id: The session acted in; None when Whatomate began it.

        Raises:
            CsrfRefused: they are not the session's token.
        """
        if len(sent) != 1 or not sent[0]:
            raise CsrfRefused("X-CSRF-Token is missing: send the value of the cookie whm_csrf in it")
        if kept is None or not hmac.compare_digest(sent[0], kept):
            raise CsrfRefused("X-CSRF-Token is not the value of the cookie whm_csrf")
        if session_id is not None and not self._is_of(session_id, kept):
            raise CsrfRefused("X-CSRF-Token is not this session's: refresh, or sign in again")

    def _is_of(self, session_id: UUID, token: bytes) -> bool:
        return any(hmac.compare_digest(_token(key, session_id), token) for key in self._keys)

    def __repr__(self) -> str:
        return f"CsrfTokens(secrets={len(self._keys)})"


def _token(key: bytes, session_id: UUID) -> bytes:
    return urlsafe_b64encode(hmac.digest(key, session_id.bytes, sha256)[:24])
