"""A good configuration, and ways to change and load it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from config.load import ConfigError, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import Settings

SECRET = "a-secret-of-thirty-two-bytes-or-more-0123"
GOOD = {
    "GATEWAY_DATABASE_URL": "postgresql://someone:hunter2@db.internal/whatomate",
    "GATEWAY_JWT_SECRET": SECRET,
    "GATEWAY_UPSTREAM_URL": "http://127.0.0.1:3000",
}


def load(
    environment: Mapping[str, str] | None = None, tmp: Path | None = None, *, bare: bool = False, **more: Any
) -> Settings:
    values = {**({} if bare else GOOD), **(environment or {})}
    env_file = tmp / ".env" if tmp else Path("/nonexistent/.env")
    return load_settings(environment=values, env_file=env_file, **more)


def problems_of(environment: Mapping[str, str], tmp: Path | None = None, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environment, tmp, **more)
    return caught.value.problems
