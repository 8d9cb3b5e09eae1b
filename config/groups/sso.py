"""Settings of identity providers, for single sign-on that the gateway hosts (GATEWAY_SSO=hosted)."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from config.fields import Group, HostNames, KeySetUrl, Networks, Seconds, shaped, split

_TENANT: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _base(value: str) -> str:
    if value.endswith("/") or "?" in value:
        raise ValueError("should not end with a slash or have a query")
    return value


def _tenant(value: str) -> str:
    if _TENANT.fullmatch(value.lower()) is None:
        raise ValueError(
            "should be the id of a tenant, such as 72f988bf-86f1-41af-91ab-2d7cd011db47, and no name"
        )
    return value.lower()


BaseUrl = Annotated[KeySetUrl, AfterValidator(_base)]
WebOrigin = Annotated[
    str,
    *shaped(
        r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$",
        "should be https://host or https://host:port without a path, such as https://gateway.example",
    ),
]
Tenants = Annotated[tuple[Annotated[str, AfterValidator(_tenant)], ...], NoDecode, BeforeValidator(split)]
Trusted = Annotated[
    tuple[Literal["google", "facebook", "microsoft", "custom"], ...], NoDecode, BeforeValidator(split)
]


class Provider(Group):
    """Identity providers; Whatomate's table sso_providers says which are enabled."""

    origin: WebOrigin | None = Field(
        None,
        description="Where browsers find the gateway, https://host; providers send them back there. Unset: https and "
        "the Host of the request (http with GATEWAY_COOKIE_SECURE=off).",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Whatomate's app.encryption_key, which the client secrets of providers are encrypted with. Unset: "
        "only plain ones can be used.",
    )
    private_networks: Networks = Field(
        (),
        description="Networks that are not public and that providers may be in, such as 10.0.0.0/8; comma-separated. "
        "None by default: a row's URL leads to public addresses alone.",
    )
    custom_issuer: KeySetUrl | None = Field(
        None,
        description="The issuer of the custom provider, to the letter: its endpoints and keys are read from its "
        "document. Unset: the three URLs of its row, which speak for the accounts of their organization alone.",
    )
    custom_hosts: HostNames = Field(
        (), description="Hosts of the custom provider besides its issuer's; comma-separated."
    )
    google_url: KeySetUrl = Field("https://accounts.google.com", description="Google's issuer.")
    microsoft_url: BaseUrl = Field(
        "https://login.microsoftonline.com",
        description="Microsoft's authority; national clouds have others.",
    )
    microsoft_tenants: Tenants = Field(
        (),
        description="Ids of the tenants of Microsoft's that may sign in, and whose e-mails are believed; "
        "comma-separated. None: all may, and an e-mail counts where xms_edov says that it was verified.",
    )
    github_url: BaseUrl = Field(
        "https://github.com", description="GitHub, or a GitHub Enterprise Server: https://host."
    )
    facebook_url: BaseUrl = Field(
        "https://www.facebook.com", description="Facebook, or a version of its API: https://host/v23.0."
    )
    trust_email: Trusted = Field(
        (),
        description="Providers whose e-mails are believed though they do not say that they verified them; "
        "comma-separated. Facebook never says so.",
    )
    unproved_email: bool = Field(
        default=False,
        description="Link an account by an e-mail that nobody proved to be its own: no operator, no invitation, no "
        "provider. For where nobody can register an address of somebody else's.",
    )
    state_seconds: float = Field(
        600, ge=30, le=3600, allow_inf_nan=False, description="For a user to sign in at the provider."
    )
    leeway_seconds: float = Field(
        60, ge=0, le=300, allow_inf_nan=False, description="Clock skew forgiven on tokens of providers."
    )
    timeout_seconds: float = Field(
        5, gt=0, le=10, allow_inf_nan=False, description="For a provider to answer a request."
    )
    answer_bytes: int = Field(262_144, ge=16_384, le=4_194_304, description="Answers of a provider at most.")
    cache_seconds: Seconds = Field(
        300, description="A provider's document and key set are read again after this long."
    )
    cooldown_seconds: Seconds = Field(
        30, description="An unknown kid has the key set read again, at most this often."
    )
