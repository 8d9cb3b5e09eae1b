"""PEM key parser for RSA, P-256 and Ed25519 keys, each bound to its one algorithm.

Laws:

- The kind of the key decides the algorithm: RSA is RS256, P-256 is ES256, Ed25519 is EdDSA. Anything else is refused,
  and so is RSA under 2048 bits (RFC 7518 section 3.3).
- A key's kid is its RFC 7638 thumbprint unless another kid is given.
- An error message contains no byte of the file.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from jwt import PyJWK
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from authcore.crypto.keyring import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RSA_BITS: Final = 2048
GENERATED_RSA_BITS: Final = 3072
_MEMBERS: Final = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
"""The members of a public key, which are those of its thumbprint (RFC 7638 section 3.2, RFC 8037 section 2)."""

_Private = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


class KeyUnusable(ValueError):
    """A PEM file without a usable key; the text says why, and reveals nothing of the file."""


def parse_pem(pem: bytes, *, kid: str | None = None, source: str = "") -> Key:
    """Parse a private key (which signs and verifies) or a public one (which verifies).

    Raises:
        KeyUnusable: it is neither, or of a kind or size that is not for signing tokens.
    """
    try:
        if b"PRIVATE KEY-----" in pem:
            private = serialization.load_pem_private_key(pem, password=None)
            public = private.public_key()
        else:
            private, public = None, serialization.load_pem_public_key(pem)
    except TypeError:
        raise KeyUnusable("the private key is encrypted; keep it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable("neither a PEM private key nor a PEM public key") from None
    if private is not None and not isinstance(private, _Private):
        raise KeyUnusable("no RSA, P-256 or Ed25519 key")
    algorithm, jwk = _described(public)
    members = {name: jwk[name] for name in _MEMBERS[jwk["kty"]]}
    print_of = thumbprint(members)
    kid = kid or print_of
    return Key(
        algorithm,
        kid,
        PyJWK(members, algorithm),
        None if private is None else PyJWK(_written(private), algorithm),
        public={**members, "kid": kid, "alg": algorithm, "use": "sig"},
        thumbprint=print_of,
        source=source,
    )


def thumbprint(members: Mapping[str, str]) -> str:
    """Return the RFC 7638 thumbprint of a public key by its required members."""
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode("ascii")


def generate_pem(algorithm: str) -> bytes:
    """Make a private key for `algorithm` (``RS256``, ``ES256``, ``EdDSA``), as PKCS #8 in PEM."""
    return GENERATED[algorithm]().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


GENERATED: Final[Mapping[str, Callable[[], _Private]]] = {
    "EdDSA": Ed25519PrivateKey.generate,
    "ES256": lambda: generate_private_key(SECP256R1()),
    "RS256": lambda: generate_rsa(public_exponent=65537, key_size=GENERATED_RSA_BITS),
}
"""Algorithm -> the function that generates a key for it."""


def _described(public: object) -> tuple[str, dict[str, str]]:
    """Return the algorithm of a public key, and its JWK."""
    match public:
        case RSAPublicKey():
            if public.key_size < RSA_BITS:
                raise KeyUnusable(f"an RSA key of {public.key_size} bits; at least {RSA_BITS} are needed")
            return "RS256", RSAAlgorithm.to_jwk(public, as_dict=True)
        case EllipticCurvePublicKey() if isinstance(public.curve, SECP256R1):
            return "ES256", ECAlgorithm.to_jwk(public, as_dict=True)
        case Ed25519PublicKey():
            return "EdDSA", OKPAlgorithm.to_jwk(public, as_dict=True)
    raise KeyUnusable("no RSA, P-256 or Ed25519 key")


def _written(private: _Private) -> dict[str, str]:
    match private:
        case RSAPrivateKey():
            return RSAAlgorithm.to_jwk(private, as_dict=True)
        case EllipticCurvePrivateKey():
            return ECAlgorithm.to_jwk(private, as_dict=True)
        case Ed25519PrivateKey():
            return OKPAlgorithm.to_jwk(private, as_dict=True)
