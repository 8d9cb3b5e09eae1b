"""Settings of a foreign issuer, whose tokens are taken beside the gateway's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from config.fields import Group, KeySetUrl, Seconds, split

Asymmetric = Literal[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
]
"""Algorithms of RFC 7518, RFC 8037 and RFC 9864; the last two are one."""


class Issuer(Group):
    """A foreign issuer of tokens, such as an OpenID provider."""

    url: str | None = Field(
        None, min_length=1, description="Its iss claim, to the letter. None: no foreign issuer."
    )
    jwks_url: KeySetUrl | None = Field(
        None, description="Where its key set is, https:// (http:// on loopback alone)."
    )
    audience: Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)] = Field(
        (), description="What its aud claim must hold one of; comma-separated."
    )
    algorithms: Annotated[tuple[Asymmetric, ...], NoDecode, BeforeValidator(split)] = Field(
        ("RS256", "ES256", "EdDSA"),
        min_length=1,
        description="Algorithms accepted; comma-separated. EdDSA is Ed25519 too (RFC 9864).",
    )
    claim_user_id: str = Field(
        "", description="The claim that holds the id of a user here. Empty: users are found by e-mail."
    )
    claim_email: str = Field("email", min_length=1, description="The claim that holds the user's e-mail.")
    claim_organization: str = Field(
        "", description="The claim that holds the id of the organization to act in. Empty: the user's home."
    )
    trust_email: bool = Field(
        default=False,
        description="Believe an e-mail though email_verified does not say that it was verified.",
    )
    unproved_email: bool = Field(
        default=False,
        description="Find an account by an e-mail that nobody proved to be its own: no operator, no invitation, "
        "no single sign-on. For where nobody can register an address of somebody else's.",
    )
    leeway_seconds: float = Field(
        60, ge=0, le=300, allow_inf_nan=False, description="Clock skew forgiven on exp and nbf of its tokens."
    )
    token_bytes: int = Field(
        16_384,
        ge=1024,
        le=131_072,
        description="Its tokens at most; one must fit into GATEWAY_LIMIT_HEAD_BYTES.",
    )
    cache_seconds: Seconds = Field(
        300, description="Its key set is read again after this long, or sooner if its Cache-Control says so."
    )
    cooldown_seconds: Seconds = Field(
        30, description="An unknown kid has the key set read again, at most this often."
    )
    timeout_seconds: Seconds = Field(5, description="For the key set to answer.")
