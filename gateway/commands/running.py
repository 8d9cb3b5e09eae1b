"""Client of the admin listener of a running gateway: one question, answered as JSON.

Law: the question, with its token, goes to the named host and to no other. No proxy of the environment is used, and no
redirect is followed.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import click

if TYPE_CHECKING:
    from config.settings import Settings

_SECONDS: Final = 30


class _NoRedirects(HTTPRedirectHandler):
    """Handler for which a redirect is an answer like any other error."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


def ask_running(url: str, path: str, settings: Settings, document: bytes | None = None) -> dict[str, Any]:
    """Send `document`, or GET without one, to `path` of an admin listener, with GATEWAY_ADMIN_TOKEN; return the answer.

    Raises:
        click.UsageError: `url` is none of a listener, or the listener cannot read the document.
        click.ClickException: no gateway answers there, or it refuses.
    """
    if not url.startswith(("http://", "https://")):
        raise click.UsageError("--gateway should be http://host:port of an admin listener")
    fields = {"Content-Type": "application/json"} if document is not None else {}
    if settings.admin.token is not None:
        fields["Authorization"] = f"Bearer {settings.admin.token.get_secret_value().strip()}"
    asking = Request(f"{url.rstrip('/')}{path}", document, fields)  # noqa: S310 - http alone, see above
    try:
        with build_opener(ProxyHandler({}), _NoRedirects()).open(asking, timeout=_SECONDS) as response:
            answer: Any = json.load(response)
    except HTTPError as error:
        try:
            message = json.load(error)["message"]
        except (ValueError, KeyError, TypeError):
            message = f"{url} answers {error.code}: is it the admin listener of a gateway?"
        is_ours = error.code == HTTPStatus.BAD_REQUEST
        raise (click.UsageError if is_ours else click.ClickException)(message) from error
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{url} does not answer as a gateway's admin listener: {error}") from error
    if not isinstance(answer, dict):
        raise click.ClickException(f"{url} does not answer as a gateway's admin listener")
    return answer


def status_of(url: str, settings: Settings) -> dict[str, Any]:
    """Return the status report of a running gateway; of several workers, that of all together.

    Raises:
        click.UsageError: `url` is none of a listener.
        click.ClickException: no gateway answers there, or it refuses; or no worker answers.
    """
    report = ask_running(url, "/status.json", settings)
    whole: dict[str, Any] = report.get("together", report)
    if not whole:
        raise click.ClickException(f"no worker of the gateway at {url} answers; try again")
    return whole
