"""Endpoints ``/api/auth/openapi.json`` and ``/api/auth/docs``: the OpenAPI document, as JSON and as a page.

Laws:

- Both are made once, at the start, from one document; they contain nothing about the caller.
- The page is complete: no script, nothing loaded from elsewhere, and a policy that forbids both.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from authcore.errors import CredentialMissing, PermissionDenied, StoreUnavailable, TokenRejected
from gateway.endpoints import api_keys, auth_forms, invitations, key_set, password, sessions, tickets
from gateway.endpoints.describing import PUBLIC, Operation, make_document
from gateway.endpoints.page import POLICY, render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DOCUMENT_PATH: Final = "/api/auth/openapi.json"
PAGE_PATH: Final = "/api/auth/docs"
PATHS: Final = (DOCUMENT_PATH, PAGE_PATH)
"""Operations that are hosted without a credential."""
MAX_AGE_SECONDS: Final = 300

OPERATIONS: Final = (
    Operation(
        method="GET",
        path=DOCUMENT_PATH,
        tag="Descriptions",
        summary="This description, as an OpenAPI document",
        access=PUBLIC,
    ),
    Operation(
        method="GET",
        path=PAGE_PATH,
        tag="Descriptions",
        summary="This description, as a page to read",
        access=PUBLIC,
        media="text/html",
    ),
)

DESCRIBED: Final[tuple[Sequence[Operation], ...]] = (
    auth_forms.OPERATIONS,
    password.OPERATIONS,
    sessions.OPERATIONS,
    tickets.OPERATIONS,
    invitations.OPERATIONS,
    key_set.OPERATIONS,
    OPERATIONS,
)
"""Operations of the endpoints that are always hosted."""


def of_decisions(path: str) -> Sequence[Operation]:
    """Return the operations below `path` that the pipeline answers itself, for other proxies."""
    asked = {
        "nginx": "Decide for nginx `auth_request`: `X-Original-Method`, `X-Original-URI`, `Host`",
        "forward": "Decide for Traefik ForwardAuth and Caddy forward_auth: `X-Forwarded-Method`, `-Uri`, `-Host`",
        "envoy": "Decide for Envoy ext_authz: the question's own method, `Host`, and what follows its path",
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


class OpenApiEndpoints:
    """Handlers over the document."""

    def __init__(
        self,
        *,
        with_api_keys: bool,
        mint_keys: bool = False,
        with_password: bool,
        decision_path: str,
        cookies: Mapping[str, str],
    ) -> None:
        """`cookies` as :func:`~gateway.endpoints.describing.make_document` takes it; `mint_keys`: keys make keys."""
        tables = [*DESCRIBED]
        if with_api_keys:
            founds = not mint_keys
            tables.append(tuple(replace(one, founds=one.founds and founds) for one in api_keys.OPERATIONS))
        if with_password:
            tables.append(password.OPERATIONS_OF_WHATOMATE)
        if decision_path:
            tables.append(of_decisions(decision_path))
        operations = [operation for table in tables for operation in table]
        document = make_document(operations, version=_version(), cookies=cookies)
        self._document = orjson.dumps(document)
        self._page = render(document).encode()

    def add_to(self, application: web.Application) -> None:
        """Register the handlers under their paths."""
        application.router.add_get(DOCUMENT_PATH, self.show)
        application.router.add_get(PAGE_PATH, self.show_page)

    async def show(self, _request: web.Request) -> web.Response:
        """Answer with the document, without an envelope."""
        return web.Response(
            body=self._document,
            content_type="application/json",
            headers={"Cache-Control": f"public, max-age={MAX_AGE_SECONDS}"},
        )

    async def show_page(self, _request: web.Request) -> web.Response:
        """Answer with the page."""
        return web.Response(
            body=self._page,
            content_type="text/html",
            charset="utf-8",
            headers={
                "Cache-Control": f"public, max-age={MAX_AGE_SECONDS}",
                "Content-Security-Policy": POLICY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
            },
        )


def _version() -> str:
    try:
        return version("whatomate-gateway")
    except PackageNotFoundError:
        return "unknown"
