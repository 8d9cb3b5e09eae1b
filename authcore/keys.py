"""The key ring: one key signs, many verify.

Laws:

- A key is bound to its algorithm when the ring is made; a token's header chooses among keys, never an algorithm
  (RFC 8725 section 3.1).
- A key appears in no ``repr`` and no exception.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jwt import PyJWK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Key:
    """One key with the only algorithm it may be used with.

    Attributes:
        algorithm: The JWS algorithm, such as ``HS256``.
        kid: The name a token's header may choose it by; None for a shared secret, which has no name.
        jwk: The key material, bound to the algorithm.
    """

    algorithm: str
    kid: str | None
    jwk: PyJWK = field(repr=False)


def hmac_key(secret: bytes) -> Key:
    """Make an HS256 key of a shared secret.

    Raises:
        ValueError: the secret is empty. Its length is the configuration's to judge.
    """
    if not secret:
        raise ValueError("a signing secret is empty")
    encoded = urlsafe_b64encode(secret).rstrip(b"=").decode("ascii")
    return Key("HS256", None, PyJWK.from_dict({"kty": "oct", "k": encoded, "alg": "HS256"}))


class KeyRing:
    """The signing key and every key that verifies; the signing key is tried first."""

    __slots__ = ("_keys", "signing")

    def __init__(self, signing: bytes, verifying: Iterable[bytes] = ()) -> None:
        self.signing = hmac_key(signing)
        self._keys: tuple[Key, ...] = (self.signing, *(hmac_key(one) for one in verifying if one != signing))

    def candidates(self, algorithm: object, kid: object) -> Sequence[Key]:
        """Return the keys that a token with this header might be signed by.

        A key without a name is a candidate whatever the token's ``kid``: Whatomate ignores ``kid``, and so may others.
        """
        return [
            key for key in self._keys if key.algorithm == algorithm and (key.kid is None or key.kid == kid)
        ]

    def __repr__(self) -> str:
        return f"KeyRing(keys={len(self._keys)})"
