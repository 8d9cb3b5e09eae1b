"""Settings of signed identities."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from config.fields import Group


class Signed(Group):
    """A signed identity for upstreams."""

    identity: Literal["off", "EdDSA", "HS256"] = Field(
        "off", description="Forwarded requests carry a signed identity, by this algorithm."
    )
    key: SecretStr | None = Field(
        None,
        description="What signs it: an Ed25519 private key in PEM for EdDSA; for HS256 a secret of at least 32 bytes, "
        "which is no other one.",
    )
    published_keys: str | None = Field(
        None,
        description="Ed25519 public keys in PEM that are published beside that of the signing key: the next one's, "
        "before it signs, and the last one's.",
    )
    issuer: str = Field("whatomate-gateway", min_length=1, description="Its iss claim.")
    seconds: int = Field(60, ge=1, le=3600, description="How long it is good for.")
