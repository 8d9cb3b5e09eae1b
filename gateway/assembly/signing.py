"""Builder of the signer of identities for upstreams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.crypto.pem import KeyUnusable
from authcore.identity_headers import SIGNED
from authcore.tokens.identity_signer import IdentitySigner
from config.load import ConfigError
from gateway.proxy.signing import Signing

if TYPE_CHECKING:
    from config.settings import Settings


def build_signing(settings: Settings) -> Signing | None:
    """Build the signer; None if signing is off.

    Raises:
        ConfigError: the key cannot sign.
    """
    signed = settings.signed
    if signed.identity == "off" or signed.key is None:
        return None
    key = signed.key.get_secret_value().strip().encode()
    try:
        signer = IdentitySigner(signed.identity, key, issuer=signed.issuer, seconds=signed.seconds)
    except KeyUnusable as error:
        raise ConfigError([f"GATEWAY_SIGNED_KEY: {error}"]) from None
    return Signing(signer, settings.header.names()[SIGNED])
