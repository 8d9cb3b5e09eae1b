"""Starter of gateways by the text of a route file."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.worlds import Start


class RouteFileStart(Protocol):
    """Starter of gateways by the text of a route file."""

    def __call__(self, text: str, database_url: str | None = None, **groups: Any) -> Awaitable[Gateway]: ...


def by_route_file(start: Start, folder: Path) -> RouteFileStart:
    """Return a starter that writes its text to ``routes.yaml`` in `folder`."""

    async def begin(text: str, database_url: str | None = None, **groups: Any) -> Gateway:
        path = folder / "routes.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        urls = () if database_url is None else (database_url,)
        return await start(*urls, routes=path, **groups)

    return begin
