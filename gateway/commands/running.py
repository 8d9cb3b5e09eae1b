"""Client of the admin listener of a running gateway: one question, answered as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import click

if TYPE_CHECKING:
    from config.settings import Settings

_SECONDS: Final = 30


def ask_running(url: str, path: str, settings: Settings, document: bytes | None = None) -> dict[str, Any]:
    """Send `document`, or GET without one, to `path` of an admin listener, with GATEWAY_ADMIN_TOKEN; return the answer.

    Raises:
        click.UsageError: `url` is none of a listener.
        click.ClickException: no gateway answers there, or it refuses.
    """
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("--gateway should be http://host:port of an admin listener")
    fields = {"Content-Type": "application/json"} if document is not None else {}
    if settings.admin.token is not None:
        fields["Authorization"] = f"Bearer {settings.admin.token.get_secret_value().strip()}"
    asking = Request(f"{url.rstrip('/')}{path}", document, fields)  # noqa: S310 - http alone, see above
    try:
        with urlopen(asking, timeout=_SECONDS) as response:  # noqa: S310 - likewise
            answer: Any = json.load(response)
    except HTTPError as error:
        try:
            message = json.load(error)["message"]
        except (ValueError, KeyError, TypeError):
            message = f"{url} answers {error.code}: is it the admin listener of a gateway?"
        raise click.ClickException(message) from error
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{url} does not answer as a gateway's admin listener: {error}") from error
    if not isinstance(answer, dict):
        raise click.ClickException(f"{url} does not answer as a gateway's admin listener")
    return answer
