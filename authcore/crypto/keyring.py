"""Key ring: one key signs tokens, and many keys verify them.

Laws:

- A key is bound to its algorithm when the ring is made. A token's header chooses among keys, never an algorithm
  (RFC 8725 section 3.1), so a public key is never used as a shared secret.
- A header's ``kid`` is only compared: it is never used as a path, a query or an address.
- A ring is swapped as a whole: concurrent verifications see either the old ring or the new one.
- A key that has gone from the ring's source goes on verifying for as long as a token it signed can live. A key that is
  listed as revoked stops at once.
- A key appears in no ``repr`` and no exception.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from jwt import InvalidKeyError, PyJWK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

PEM_MARK: Final = b"-----BEGIN "


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """Key with the only algorithm it may be used with.

    Attributes:
        algorithm: The JWS algorithm, such as ``HS256``.
        kid: The name a token's header may choose it by; None for a shared secret, which has no name.
        jwk: The verifying half, bound to the algorithm.
        private: The signing half; None if only the public half is known.
        public: The JWK that may be published (RFC 7517); None for a shared secret.
        thumbprint: The identity of the key material, independent of its kid (RFC 7638); empty for a shared secret.
        source: Where the key came from, for display.
    """

    algorithm: str
    kid: str | None
    jwk: PyJWK = field(repr=False)
    private: PyJWK | None = field(repr=False)
    public: Mapping[str, str] | None = None
    thumbprint: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """Have PyJWT examine the key, once instead of at each token.

        Raises:
            jwt.InvalidKeyError: it is not for this algorithm, or a shared secret is the text of some other key.
        """
        self.jwk.Algorithm.prepare_key(self.jwk.key)

    @property
    def name(self) -> tuple[str, str | None, str]:
        """The algorithm, the kid and the thumbprint: a key of a set is the same one while all three are."""
        return self.algorithm, self.kid, self.thumbprint

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether this key made the signature of `message`, by its own algorithm."""
        return bool(self.jwk.Algorithm.verify(message, self.jwk.key, signature))

    def is_among(self, names: AbstractSet[str]) -> bool:
        """Return whether `names` contains the key's kid or its thumbprint."""
        return self.kid in names or self.thumbprint in names


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys of one source at one moment.

    Attributes:
        keys: All keys, without duplicates.
        signing: The kid of the signing key; None if the shared secret signs.
        revoked: Kids that may no longer verify, whether their keys are present or not.
    """

    keys: tuple[Key, ...] = ()
    signing: str | None = None
    revoked: frozenset[str] = frozenset()


def hmac_key(secret: bytes, source: str = "") -> Key:
    """Make an HS256 key from a shared secret.

    Raises:
        ValueError: the secret is empty, or is the text of another key. The configuration checks its length.
    """
    if not secret:
        raise ValueError("a signing secret is empty")
    if PEM_MARK in secret:  # public keys are published, so anybody could sign with such a secret
        raise ValueError("a signing secret is the text of a PEM file")
    encoded = urlsafe_b64encode(secret).rstrip(b"=").decode("ascii")
    jwk = PyJWK.from_dict({"kty": "oct", "k": encoded, "alg": "HS256"})
    try:
        return Key("HS256", None, jwk, jwk, source=source)
    except InvalidKeyError as error:
        raise ValueError("a signing secret is the text of a key for something else") from error


class KeyRing:
    """Key ring: the signing key and all keys that verify. The signing key is tried first."""

    __slots__ = ("_current", "_keys", "_retired", "_secrets", "signing")

    def __init__(
        self, signing: bytes, verifying: Iterable[bytes] = (), *, secret_verifies: bool = True
    ) -> None:
        """Make a ring of shared secrets; with `secret_verifies` off they verify nothing, and a named key must sign."""
        self.signing = hmac_key(signing, "GATEWAY_JWT_SECRET")
        previous = [
            hmac_key(one, f"GATEWAY_JWT_PREVIOUS_SECRETS, number {number}")
            for number, one in enumerate(verifying, 1)
            if one != signing
        ]
        self._secrets: tuple[Key, ...] = (self.signing, *previous) if secret_verifies else ()
        self._current = KeySet()
        self._retired: dict[str, tuple[Key, float]] = {}
        self._keys = self._secrets

    def swap(self, found: KeySet, now: float, keep_seconds: float) -> bool:
        """Replace the named keys by `found`. A key that has gone verifies for `keep_seconds` more.

        Returns:
            True if a key that verified before does not verify any more.

        Raises:
            ValueError: the named signing key is unusable, or none is named and shared secrets may not sign.
        """
        usable = {key.thumbprint: key for key in found.keys if not key.is_among(found.revoked)}
        if found.signing is None:
            signing = self._secrets[0] if self._secrets else None
        else:
            signing = next((key for key in usable.values() if key.kid == found.signing), None)
        if signing is None or signing.private is None:
            raise ValueError("the key that is named to sign is revoked, or not there with its private half")
        gone = {key.thumbprint: (key, now + keep_seconds) for key in self._current.keys} | self._retired
        self._retired = {
            thumbprint: (key, until)
            for thumbprint, (key, until) in gone.items()
            if thumbprint not in usable and not key.is_among(found.revoked) and until > now
        }
        verified = {key.thumbprint for key in self._keys}
        self._current, self.signing = KeySet(tuple(usable.values()), found.signing), signing
        retired = (key for key, _ in self._retired.values())
        self._keys = tuple(dict.fromkeys((signing, *self._secrets, *usable.values(), *retired)))
        return not verified <= {"", *(key.thumbprint for key in self._keys)}

    def expire(self, now: float) -> None:
        """Remove the retired keys whose last token has expired."""
        over = {key for key, until in self._retired.values() if until <= now}
        if over:
            self._keys = tuple(key for key in self._keys if key not in over)
            self._retired = {name: entry for name, entry in self._retired.items() if entry[0] not in over}

    def candidates(self, algorithm: object, kid: object) -> Sequence[Key]:
        """Return the keys that may have signed a token with this header.

        A key without a kid is a candidate whatever the token's ``kid``: Whatomate ignores ``kid``, and others may too.
        """
        return [
            key for key in self._keys if key.algorithm == algorithm and (key.kid is None or key.kid == kid)
        ]

    def published(self) -> Sequence[Mapping[str, str]]:
        """Return the public keys that verify, as JWKs: upcoming, signing and retired ones."""
        return [key.public for key in self._keys if key.public is not None]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeyRing(keys={len(self._keys)})"
