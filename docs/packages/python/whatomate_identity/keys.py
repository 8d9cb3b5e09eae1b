"""Keys that signed identities are verified with: a key set that is fetched, public keys that are given, or secrets.

Laws:

- The kind of keys decides the one algorithm: public keys verify EdDSA, secrets HS256. A token decides nothing.
- A key set is fetched when it is first needed, when it is older than `keep_seconds`, and when a token names a key that
  is not in it; never twice within `again_seconds`. So a key that is gone is refused within `keep_seconds`.
- While the set cannot be fetched, the one before is used until it is `stale_seconds` old. Then, and for a key that it
  does not have, nothing is known: :class:`KeysUnavailable`, which is no refusal.
- The time is passed in, in POSIX seconds.
"""

from __future__ import annotations

import json
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.request import HTTPRedirectHandler, build_opener

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWKError, PyJWTError
from jwt.algorithms import OKPAlgorithm

from whatomate_identity.identity import KeysUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from email.message import Message
    from urllib.request import Request

MOST_BYTES: Final = 131_072
_SECRET_BYTES: Final = 32


class Keys(Protocol):
    """Source of keys."""

    @property
    def algorithm(self) -> str:
        """The one algorithm that the keys are for."""

    def waits(self, kid: str | None, now: float) -> bool:
        """Return whether :meth:`find` would wait for the network."""

    def find(self, kid: str | None, now: float) -> Sequence[Any]:
        """Return the keys to try for a token that names `kid`.

        Raises:
            KeysUnavailable: they could not be fetched.
        """


class PublicKeys:
    """Public keys that the service was given."""

    algorithm: Final = "EdDSA"

    def __init__(self, keys: Iterable[str | bytes]) -> None:
        """Verify with any of `keys`, Ed25519 public keys in PEM; with several, keys can be rotated.

        Raises:
            ValueError: there is none, or something else among them.
        """
        self._keys = tuple(_parsed(key) for key in keys)
        if not self._keys:
            raise ValueError("at least one key is needed")

    def waits(self, kid: str | None, now: float) -> bool:  # noqa: ARG002 -- of the protocol
        """Return False."""
        return False

    def find(self, kid: str | None, now: float) -> Sequence[Ed25519PublicKey]:  # noqa: ARG002 -- of the protocol
        """Return all of them."""
        return self._keys


class SharedSecrets:
    """Secrets that the service shares with the gateway, and could sign with as well."""

    algorithm: Final = "HS256"

    def __init__(self, secrets: Iterable[str | bytes]) -> None:
        """Verify with any of `secrets`, of 32 bytes or more.

        Raises:
            ValueError: there is none, or one that is too short or the text of a key.
        """
        self._secrets = tuple(one.encode() if isinstance(one, str) else one for one in secrets)
        if not self._secrets:
            raise ValueError("at least one secret is needed")
        for secret in self._secrets:
            if len(secret) < _SECRET_BYTES or b"-----BEGIN " in secret:
                raise ValueError(f"a secret has {_SECRET_BYTES} bytes or more, and is no key in PEM")

    def waits(self, kid: str | None, now: float) -> bool:  # noqa: ARG002 -- of the protocol
        """Return False."""
        return False

    def find(self, kid: str | None, now: float) -> Sequence[bytes]:  # noqa: ARG002 -- of the protocol
        """Return all of them."""
        return self._secrets


class KeySet:
    """Key set of the gateway, fetched from ``/.well-known/identity-jwks.json`` and kept. Threads may share it."""

    algorithm: Final = "EdDSA"

    def __init__(  # noqa: PLR0913 -- its times, each with a default
        self,
        url: str,
        *,
        keep_seconds: float = 300,
        again_seconds: float = 10,
        stale_seconds: float = 3600,
        timeout_seconds: float = 3,
        fetch: Callable[[], bytes] | None = None,
    ) -> None:
        """Fetch the set from `url`; `fetch` does it in another way, and raises OSError if it cannot."""
        if not url.startswith(("http://", "https://")):
            raise ValueError("the URL of a key set begins with http:// or https://")
        self._url = url
        self._keep, self._again, self._stale = keep_seconds, again_seconds, stale_seconds
        self._timeout = timeout_seconds
        self._fetch = fetch or self._read
        self._fetching = threading.Lock()
        self._state = _State()

    def waits(self, kid: str | None, now: float) -> bool:
        """Return whether a fetch is due, or under way, for a token that names `kid`."""
        return kid is not None and not self._is_enough(self._state, kid, now)

    def find(self, kid: str | None, now: float) -> Sequence[Ed25519PublicKey]:
        """Return the key called `kid`; none if the gateway has no such key.

        Raises:
            KeysUnavailable: the set could not be fetched.
        """
        if kid is None:
            return ()
        if self.waits(kid, now):
            with self._fetching:
                if self.waits(kid, now):  # else somebody has fetched it meanwhile
                    self._state = self._fetched(self._state, now)
        state = self._state
        if kid in state.keys and _within(state.fetched, now, self._stale):
            return (state.keys[kid],)
        if state.error:
            raise KeysUnavailable(f"the gateway's keys could not be fetched from {self._url}: {state.error}")
        return ()

    def _is_enough(self, state: _State, kid: str, now: float) -> bool:
        if _within(state.tried, now, self._again):
            return True
        return kid in state.keys and _within(state.fetched, now, self._keep)

    def _fetched(self, before: _State, now: float) -> _State:
        try:
            return _State(_of_set(self._fetch()), now, now)
        except (OSError, HTTPException, ValueError) as error:
            return _State(before.keys, before.fetched, now, str(error) or type(error).__name__)

    def _read(self) -> bytes:
        # A redirection would let another place name the keys.
        ends = time.monotonic() + self._timeout
        body = bytearray()
        with build_opener(_NoRedirection).open(self._url, timeout=self._timeout) as answer:
            while chunk := answer.read1(MOST_BYTES + 1 - len(body)):
                body += chunk
                if time.monotonic() > ends:  # the socket's own limit is for each of its reads
                    raise TimeoutError("the answer takes too long")
        return bytes(body)


class _NoRedirection(HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0913, PLR0917 -- of the library
        self, req: Request, fp: Any, code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Follow none."""


class _State:
    """Key set as it is kept: replaced as a whole, so that it is read without a lock."""

    __slots__ = ("error", "fetched", "keys", "tried")

    def __init__(
        self,
        keys: Mapping[str, Ed25519PublicKey] | None = None,
        fetched: float | None = None,
        tried: float | None = None,
        error: str = "",
    ) -> None:
        self.keys = keys or {}
        self.fetched = fetched
        self.tried = tried
        self.error = error


def _within(then: float | None, now: float, seconds: float) -> bool:
    """Return whether `then` was less than `seconds` ago; after a clock has gone back, it was not."""
    return then is not None and 0 <= now - then < seconds


def _parsed(pem: str | bytes) -> Ed25519PublicKey:
    key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("a key is no Ed25519 public key")  # noqa: TRY004 -- of its content
    return key


def _of_set(body: bytes) -> dict[str, Ed25519PublicKey]:
    """Return the Ed25519 public keys of a key set by their kids; others are passed over (RFC 7517 section 5).

    Raises:
        ValueError: it is no key set.
    """
    if len(body) > MOST_BYTES:
        raise ValueError("the answer is too long for a key set")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the answer is no JSON") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise ValueError("the answer is no key set")  # noqa: TRY004 -- of its content
    keys: dict[str, Ed25519PublicKey] = {}
    for member in members:
        if (
            isinstance(member, dict)
            and isinstance(member.get("kid"), str)
            and (member.get("kty"), member.get("crv")) == ("OKP", "Ed25519")
            and member.get("use", "sig") == "sig"
            and member.get("alg", "EdDSA") == "EdDSA"
        ):
            try:
                key = OKPAlgorithm.from_jwk({name: member[name] for name in ("kty", "crv", "x")})
            except (PyJWKError, PyJWTError, ValueError, KeyError, TypeError):
                continue
            if isinstance(key, Ed25519PublicKey):
                keys.setdefault(member["kid"], key)
    return keys
