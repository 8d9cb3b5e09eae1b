"""Settings of decisions for other proxies."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from config.fields import Group

_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)+")


def _prefix(value: str) -> str:
    if value and _PLAIN.fullmatch(value) is None:
        raise ValueError(
            "should be a path such as /decisions: letters, digits, - _ and . between slashes, none at the end"
        )
    return value


class Decision(Group):
    """Decisions for other proxies: nginx auth_request, Traefik and Caddy forward auth, Envoy ext_authz."""

    path: Annotated[str, AfterValidator(_prefix)] = Field(
        "",
        description="Where other proxies ask: <path>/nginx, <path>/forward, <path>/envoy/…; believed from "
        "GATEWAY_TRUSTED_PROXIES alone. Empty: nowhere.",
    )
