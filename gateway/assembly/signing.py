"""Builder of signed identities: the signer of requests, and the public keys that services verify with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.crypto.pem import KeyUnusable
from authcore.identity_headers import SIGNED
from authcore.tokens.identity_signer import IdentitySigner, public_keys
from config.load import ConfigError
from gateway.proxy.signing import Signing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import Settings


def build_signer(settings: Settings) -> IdentitySigner | None:
    """Build the signer of identities; None if signing is off.

    Raises:
        ConfigError: the key cannot sign.
    """
    signed = settings.signed
    if signed.identity == "off" or signed.key is None:
        return None
    key = signed.key.get_secret_value().strip().encode()
    try:
        return IdentitySigner(signed.identity, key, issuer=signed.issuer, seconds=signed.seconds)
    except KeyUnusable as error:
        raise ConfigError([f"GATEWAY_SIGNED_KEY: {error}"]) from None


def build_signing(settings: Settings) -> Signing | None:
    """Build the signer of forwarded requests; None if signing is off.

    Raises:
        ConfigError: the key cannot sign.
    """
    signer = build_signer(settings)
    return None if signer is None else Signing(signer, settings.header.names()[SIGNED])


def identity_keys(settings: Settings) -> tuple[Mapping[str, str], ...]:
    """Return the public keys to publish, as JWKs, each once: the signing key's, and those of the setting.

    Raises:
        ConfigError: the key cannot sign, or the setting holds something else than public keys.
    """
    signer = build_signer(settings)
    if signer is None or signer.public is None:
        return ()
    keys = [signer.public]
    if settings.signed.published_keys is not None:
        try:
            keys += public_keys(settings.signed.published_keys)
        except KeyUnusable as error:
            raise ConfigError([f"GATEWAY_SIGNED_PUBLISHED_KEYS: {error}"]) from None
    return tuple({key["kid"]: key for key in keys}.values())
