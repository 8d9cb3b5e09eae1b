"""List of the hosted endpoints: the router, the route table and the OpenAPI document are folded from it.

Laws:

- Each module of this room that declares endpoints is in the list (``tests/flow/test_endpoints.py``).
- Under all settings, one path and method has one endpoint.
- The order is that of the OpenAPI document and of its page. It decides nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.endpoints import (
    api_keys,
    audit,
    auth,
    invitations,
    key_set,
    openapi,
    password,
    sessions,
    sso,
    tickets,
    tokens,
    usage,
)

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.endpoints.endpoint import Endpoint

ENDPOINTS: Final[tuple[Endpoint[Any], ...]] = (
    *auth.ENDPOINTS,
    *tokens.ENDPOINTS,
    password.CHANGE,
    *sessions.ENDPOINTS,
    *usage.ENDPOINTS,
    *audit.ENDPOINTS,
    *tickets.ENDPOINTS,
    *sso.ENDPOINTS,
    *invitations.ENDPOINTS,
    *key_set.ENDPOINTS,
    *openapi.ENDPOINTS,
    *api_keys.ENDPOINTS,
    password.OF_WHATOMATE,
)


def hosted_endpoints(settings: Settings) -> tuple[Endpoint[Any], ...]:
    """Return the endpoints that are hosted under `settings`."""
    return tuple(endpoint for endpoint in ENDPOINTS if endpoint.when(settings))
