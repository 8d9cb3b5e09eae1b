"""Command ``health``: a probe of a running gateway, for machines without curl.

Laws:

- The exit code is 0 if the answer is yes, and 1 if it is no or there is none.
- It reads the address of the admin listener, and checks no other setting. It needs no secret and no database.
"""

from __future__ import annotations

import http.client
import ssl
from typing import Final

import click

from config.admin_address import admin_address
from gateway.addresses import reachable
from gateway.commands.parameters import FiniteRange

_OK: Final = 200
_MOST_BYTES: Final = 2000


@click.command()
@click.option("--ready", is_flag=True, help="Ask whether it can do its job, not only whether it lives.")
@click.option("--timeout-seconds", type=FiniteRange(0.1, 60), default=3, show_default=True)
def health(*, ready: bool, timeout_seconds: float) -> None:
    """Ask the gateway that listens on GATEWAY_ADMIN_LISTEN whether it is alive; print its answer."""
    listen, is_tls = admin_address()
    host, _, port = listen.rpartition(":")
    host = reachable(host.strip("[]"))
    path = "/readyz" if ready else "/livez"
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout_seconds)
    scheme = "http"
    if is_tls:
        scheme = "https"
        connection = http.client.HTTPSConnection(
            host, int(port), timeout=timeout_seconds, context=_unproved()
        )
    try:
        connection.request("GET", path)
        with connection.getresponse() as answer:
            status, body = answer.status, answer.read(_MOST_BYTES).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(
            f"no answer from {scheme}://{host}:{port}{path} ({str(error) or type(error).__name__}): is the gateway "
            "running, and is GATEWAY_ADMIN_LISTEN the same here as there?"
        ) from error
    finally:
        connection.close()
    if status != _OK:
        raise click.ClickException(f"{path} answers {status}: {body}")
    click.echo(body)


def _unproved() -> ssl.SSLContext:
    """Make a context that accepts any certificate: the probe sends nothing secret, and asks by the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
