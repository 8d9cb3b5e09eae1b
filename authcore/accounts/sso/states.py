"""Sign-in states: the ``state``, ``nonce`` and PKCE verifier of one sign-in, bound to one browser (RFC 6749, RFC 7636).

Nothing is stored for a sign-in that has begun: anybody may begin one. The state says which provider it is for, when
it began, and 16 random bytes. Its tag, the nonce and the verifier are HMACs over that and the *binding*, a random
text in a cookie of the browser.

Laws:

- A state verifies with the binding of the browser in which it was made, for the same provider and callback, within
  its time, by a secret that is still accepted; and nowhere else.
- Of state and code together nobody can compute the verifier or the nonce: both need the secret and the cookie.
- Using a state up is the store's; a state has one digest.
"""

from __future__ import annotations

import hmac
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID

from authcore.errors import SsoStateRejected

if TYPE_CHECKING:
    from collections.abc import Iterable

STATE_SECONDS: Final = 600
BINDING: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""Form of a binding: 32 random bytes in base64url."""

_RANDOM_BYTES: Final = 16
_BODY_BYTES: Final = 16 + 8 + _RANDOM_BYTES
_STATE: Final = re.compile(r"[A-Za-z0-9_-]{96}")
_PURPOSE: Final = b"whatomate-gateway single sign-on 1 "


@dataclass(frozen=True, slots=True)
class SignIn:
    """Sign-in that has begun.

    Attributes:
        provider_id: The row of its provider.
        begun_at: POSIX seconds of its beginning.
        state: What the provider sends back.
        nonce: What the ID token has to repeat.
        verifier: The PKCE code verifier.
    """

    provider_id: UUID
    begun_at: float
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    @property
    def challenge(self) -> str:
        """The PKCE code challenge by S256 (RFC 7636 section 4.2)."""
        return _text(sha256(self.verifier.encode("ascii")).digest())

    @property
    def digest(self) -> bytes:
        """Digest under which the store notes the state as used."""
        return sha256(b"sso state " + self.state.encode("ascii")).digest()


class SignInStates:
    """Maker and verifier of sign-in states."""

    def __init__(self, secrets: Iterable[bytes], *, seconds: float = STATE_SECONDS) -> None:
        """The first of `secrets` makes states; all of them verify. A state is good for `seconds`."""
        self._keys = [hmac.digest(secret, _PURPOSE + b"key", "sha256") for secret in secrets]
        self.seconds = seconds

    @staticmethod
    def new_binding() -> str:
        """Return a binding for a browser that has none."""
        return _text(os.urandom(32))

    def begin(self, binding: str, provider_id: UUID, callback: str, now: float) -> SignIn:
        """Begin a sign-in in the browser of `binding`, whose provider sends it back to `callback`."""
        begun_at = int(now * 1000)
        body = provider_id.bytes + begun_at.to_bytes(8, "big") + os.urandom(_RANDOM_BYTES)
        return self._derived(self._keys[0], body, binding, callback)

    def read(self, state: str, bindings: Iterable[str], callback: str, now: float) -> SignIn:
        """Return the sign-in of a state; `bindings` are those that the browser sent, of which one has to fit.

        Raises:
            SsoStateRejected: it is no state of a sign-in of this browser with this callback, or its time is over.
        """
        if _STATE.fullmatch(state) is None:
            raise SsoStateRejected("the state has not the form of ours")
        body = urlsafe_b64decode(state)[:_BODY_BYTES]
        candidates = [one for one in bindings if BINDING.fullmatch(one)]
        if not candidates:
            raise SsoStateRejected("the browser sent no cookie of a sign-in that began here")
        for key in self._keys:
            for binding in candidates:
                found = self._derived(key, body, binding, callback)
                if hmac.compare_digest(found.state, state):
                    return self._timely(found, now)
        raise SsoStateRejected("the sign-in began in another browser, at another address, or is forged")

    def _timely(self, found: SignIn, now: float) -> SignIn:
        if now >= found.begun_at + self.seconds:
            raise SsoStateRejected(f"the sign-in began more than {self.seconds:g} s ago")
        return found

    def _derived(self, key: bytes, body: bytes, binding: str, callback: str) -> SignIn:
        content = b"\0".join((body.hex().encode(), binding.encode("ascii"), callback.encode()))

        def derive(purpose: bytes) -> bytes:
            return hmac.digest(key, _PURPOSE + purpose + b"\0" + content, "sha256")

        return SignIn(
            provider_id=UUID(bytes=body[:16]),
            begun_at=int.from_bytes(body[16:24], "big") / 1000,
            state=_text(body + derive(b"state")),
            nonce=_text(derive(b"nonce")),
            verifier=_text(derive(b"verifier")),
        )


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
