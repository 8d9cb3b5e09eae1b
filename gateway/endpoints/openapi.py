"""Endpoints ``/api/auth/openapi.json`` and ``/api/auth/docs``: the OpenAPI document, as JSON and as a page.

Laws:

- Both are made once, with the application, from one document; they contain nothing about the caller.
- The page is complete: no script, nothing loaded from elsewhere, and a policy that forbids both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from authcore.errors import CredentialMissing, PermissionDenied, StoreUnavailable, TokenRejected
from gateway.endpoints.describing import make_document
from gateway.endpoints.endpoint import PUBLIC, Endpoint, Operation
from gateway.endpoints.page import POLICY, render
from gateway.version import running_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import web

    from gateway.endpoints.caller import Visitor
    from gateway.endpoints.services import Services

MAX_AGE_SECONDS: Final = 300


def of_decisions(path: str) -> Sequence[Operation]:
    """Return the operations below `path` that the pipeline answers itself, for other proxies."""
    asked = {
        "nginx": "Decide for nginx `auth_request`: `X-Original-Method`, `X-Original-URI`, `Host`",
        "nginx/organization": "The same, where nginx replaces the client's `X-Organization-ID` by the answer's",
        "forward": "Decide for Traefik ForwardAuth and Caddy forward_auth: `X-Forwarded-Method`, `-Uri`, `-Host`",
        "forward/organization": "The same, where the proxy replaces the client's `X-Organization-ID` by the answer's",
        "envoy": "Decide for Envoy ext_authz: the decision request's own method, `Host`, and what follows its path",
    }
    return [
        Operation(
            method="GET",
            path=f"{path}/{name}",
            tag="ForwardAuth",
            summary=summary,
            detail="About a request that a trusted proxy describes, with the credential that came with it. 200 carries "
            "the identity headers. Any method.",
            access=PUBLIC,
            media="text/plain",
            refuses=(CredentialMissing, TokenRejected, PermissionDenied, StoreUnavailable),
        )
        for name, summary in asked.items()
    ]


@dataclass(frozen=True, slots=True)
class Description:
    """OpenAPI document of a gateway, ready to be sent.

    Attributes:
        document: It as JSON.
        page: It as an HTML page.
    """

    document: bytes
    page: bytes


def describe_operations(
    operations: Sequence[Operation], *, cookies: Mapping[str, str], password_length: int
) -> Description:
    """Return the description; its arguments are those of :func:`~gateway.endpoints.describing.make_document`."""
    document = make_document(
        operations, version=running_version(), cookies=cookies, password_length=password_length
    )
    return Description(orjson.dumps(document), render(document).encode())


async def show(services: Services, _request: web.Request, _visitor: Visitor) -> web.Response:
    """Answer with the document, without an envelope."""
    from aiohttp import web

    return web.Response(
        body=services.description.document,
        content_type="application/json",
        headers={"Cache-Control": f"public, max-age={MAX_AGE_SECONDS}"},
    )


async def show_page(services: Services, _request: web.Request, _visitor: Visitor) -> web.Response:
    """Answer with the page."""
    from aiohttp import web

    return web.Response(
        body=services.description.page,
        content_type="text/html",
        charset="utf-8",
        headers={
            "Cache-Control": f"public, max-age={MAX_AGE_SECONDS}",
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        },
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/auth/openapi.json",
        limited=False,
        tag="Descriptions",
        summary="This description, as an OpenAPI document",
        access=PUBLIC,
        handler=show,
    ),
    Endpoint(
        method="GET",
        path="/api/auth/docs",
        limited=False,
        tag="Descriptions",
        summary="This description, as a page to read",
        access=PUBLIC,
        handler=show_page,
        media="text/html",
    ),
)
