"""Settings of what the gateway shares with a Whatomate server besides its database."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from config.fields import Group, Seconds

_SCHEMES = ("redis://", "rediss://", "unix://")


def _redis_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(_SCHEMES):
        raise ValueError(
            "should be redis://[[user]:password@]host:port/database, or begin with rediss:// or unix://"
        )
    return value


class Whatomate(Group):
    """The Whatomate server behind the gateway."""

    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None,
        description="Whatomate's Redis. With it, refresh tokens are good on both sides, each once, and permissions "
        "that the gateway changes are read anew there. Needs the package's extra `redis`.",
    )
    redis_timeout_seconds: Seconds = Field(
        0.25, description="Longest wait for Whatomate's Redis; then it is away."
    )
