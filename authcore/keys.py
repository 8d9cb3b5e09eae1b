"""The key ring: one key signs, many verify.

Laws:

- A key is bound to its algorithm when the ring is made; a token's header chooses among keys, never an algorithm
  (RFC 8725 section 3.1). So a public key is never taken for a shared secret.
- A header's ``kid`` is compared, and nothing else: it is no path, no query and no address.
- A ring is swapped whole: whoever verifies meanwhile sees the old one or the new one.
- A key that has gone from the ring's source goes on verifying for as long as a token it signed can live. One that was
  named as revoked stops at once.
- A key appears in no ``repr`` and no exception.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from jwt import PyJWK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

PEM_MARK: Final = b"-----BEGIN "


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One key with the only algorithm it may be used with.

    Attributes:
        algorithm: The JWS algorithm, such as ``HS256``.
        kid: The name a token's header may choose it by; None for a shared secret, which has no name.
        jwk: What verifies, bound to the algorithm.
        private: What signs; None where only the public half is here.
        public: What may be published, as a JWK (RFC 7517); None for a shared secret.
        thumbprint: Which key it is, whatever it is called (RFC 7638); empty for a shared secret.
        source: Where it came from, for people.
    """

    algorithm: str
    kid: str | None
    jwk: PyJWK = field(repr=False)
    private: PyJWK | None = field(repr=False)
    public: Mapping[str, str] | None = None
    thumbprint: str = ""
    source: str = ""

    def is_among(self, names: AbstractSet[str]) -> bool:
        """Tell whether `names` hold it, by its kid or by its thumbprint."""
        return self.kid in names or self.thumbprint in names


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one source at one moment.

    Attributes:
        keys: All of them, none twice.
        signing: The kid of the one that signs; None when the shared secret does.
        revoked: Kids that may verify no more, be they here or not.
    """

    keys: tuple[Key, ...] = ()
    signing: str | None = None
    revoked: frozenset[str] = frozenset()


def hmac_key(secret: bytes, source: str = "") -> Key:
    """Make an HS256 key of a shared secret.

    Raises:
        ValueError: the secret is empty, or is a PEM file's text. Its length is the configuration's to judge.
    """
    if not secret:
        raise ValueError("a signing secret is empty")
    if PEM_MARK in secret:  # published, as public keys are, it would be everybody's secret
        raise ValueError("a signing secret is the text of a PEM file")
    encoded = urlsafe_b64encode(secret).rstrip(b"=").decode("ascii")
    jwk = PyJWK.from_dict({"kty": "oct", "k": encoded, "alg": "HS256"})
    return Key("HS256", None, jwk, jwk, source=source)


class KeyRing:
    """The signing key and every key that verifies; the signing key is tried first."""

    __slots__ = ("_current", "_keys", "_retired", "_secrets", "signing")

    def __init__(
        self, signing: bytes, verifying: Iterable[bytes] = (), *, secret_verifies: bool = True
    ) -> None:
        """Make a ring of shared secrets; with `secret_verifies` off they are good for nothing beside named keys."""
        self.signing = hmac_key(signing, "GATEWAY_JWT_SECRET")
        previous = [hmac_key(one, "GATEWAY_JWT_PREVIOUS_SECRETS") for one in verifying if one != signing]
        self._secrets: tuple[Key, ...] = (self.signing, *previous) if secret_verifies else ()
        self._current = KeySet()
        self._retired: dict[str, tuple[Key, float]] = {}
        self._keys = self._secrets

    def swap(self, found: KeySet, now: float, keep_seconds: float) -> bool:
        """Take `found` in the place of the named keys so far. What has gone verifies for `keep_seconds` more.

        Returns:
            Whether a key that verified before verifies no more.

        Raises:
            ValueError: nothing is named to sign that can, and no shared secret may.
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
        kept = (key for key, _ in self._retired.values())
        self._keys = tuple(dict.fromkeys((signing, *self._secrets, *usable.values(), *kept)))
        return not verified <= {"", *(key.thumbprint for key in self._keys)}

    def expire(self, now: float) -> None:
        """Let retired keys go whose last token has expired."""
        over = {key for key, until in self._retired.values() if until <= now}
        if over:
            self._keys = tuple(key for key in self._keys if key not in over)
            self._retired = {name: kept for name, kept in self._retired.items() if kept[0] not in over}

    def candidates(self, algorithm: object, kid: object) -> Sequence[Key]:
        """Return the keys that a token with this header might be signed by.

        A key without a name is a candidate whatever the token's ``kid``: Whatomate ignores ``kid``, and so may others.
        """
        return [
            key for key in self._keys if key.algorithm == algorithm and (key.kid is None or key.kid == kid)
        ]

    def published(self) -> Sequence[Mapping[str, str]]:
        """Return the public keys that verify, as JWKs: those about to sign, the one that signs, the retired."""
        return [key.public for key in self._keys if key.public is not None]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def retires(self, key: Key) -> bool:
        """Tell whether `key` has gone, and verifies what it signed."""
        return key.thumbprint in self._retired

    def __repr__(self) -> str:
        return f"KeyRing(keys={len(self._keys)})"
