"""Access control of the admin listener: which requests it answers, by Host and by bearer token.

Laws:

- Host is an address, ``localhost``, the host of GATEWAY_ADMIN_LISTEN or one of GATEWAY_ADMIN_HOSTS; else 421. A page
  that rebinds its own name to this address (DNS rebinding) sends its own name. No browser leaves Host out.
- With GATEWAY_ADMIN_TOKEN, every path but the probes' needs it as a bearer token; else 401, whether the path exists or
  not. It is compared in constant time, and its file is read again for each request.
- A token in the file that GATEWAY_ADMIN_TOKEN would refuse changes nothing; the last good one holds.
"""

from __future__ import annotations

import hmac
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from aiohttp import web

from config.extras import is_admin_token
from config.rereading import reread
from gateway.faults import AdminHostRefused, AdminTokenRefused, BadRequest, GatewayFault, describe
from gateway.logs.limited import LimitedEvents

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler, Middleware

    from config.settings import Settings

PROBES: Final = frozenset({"/livez", "/readyz"})
"""Paths that need no token: what asks them, the kubelet or a balancer, has none."""

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/@]+)(?::[0-9]{0,5})?")
_BEARER: Final = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)
_LOGGED: Final = 100


class Access:
    """Access control of one admin listener."""

    def __init__(
        self, hosts: frozenset[str], token: Callable[[], str] | None, count: Callable[[str], None]
    ) -> None:
        """Answer to `hosts`, names in lower case, ``*.`` before one for any label.

        `token` returns the present token, None asks for none; `count` counts a refusal by its reason.
        """
        self._hosts = hosts
        self._token = token
        self._good = "" if token is None else token().strip()
        self._events = LimitedEvents()
        self._count = count

    def middleware(self) -> Middleware:
        """Return the middleware that refuses what may not pass."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                self.check(request)
            except GatewayFault as error:
                return self._refused(request, error)
            return await handler(request)

        return guard

    def check(self, request: web.Request) -> None:
        """Let a request pass.

        Raises:
            AdminHostRefused: its Host is none of this listener's.
            AdminTokenRefused: it needs the token, and has none or another.
            BadRequest: it has two Hosts, or none where its version needs one.
        """
        hosts = request.headers.getall("Host", [])
        if len(hosts) > 1 or (not hosts and request.version >= (1, 1)):
            raise BadRequest("Send one Host")
        if hosts and not self.answers_to(hosts[0]):
            raise AdminHostRefused(
                "This listener does not answer to that Host; ask it by its address, or add the name to "
                "GATEWAY_ADMIN_HOSTS"
            )
        sent = request.headers.getall("Authorization", [])
        if (
            self._token is not None
            and request.path not in PROBES
            and (len(sent) != 1 or not self.is_token(sent[0]))
        ):
            raise AdminTokenRefused(
                "This needs the token of GATEWAY_ADMIN_TOKEN: Authorization: Bearer <token>"
            )

    def answers_to(self, field: str) -> bool:
        """Return whether a Host names this listener."""
        match = _HOST.fullmatch(field)
        if match is None:
            return False
        host = match[1].lower().removesuffix(".")
        if _is_address(host) or host in self._hosts:
            return True
        label, dot, rest = host.partition(".")
        return bool(label and dot) and f"*.{rest}" in self._hosts

    def is_token(self, field: str) -> bool:
        """Return whether an Authorization field holds the present token."""
        if self._token is not None and is_admin_token(present := self._token().strip()):
            self._good = present
        bearer = _BEARER.fullmatch(field.strip())
        return bearer is not None and hmac.compare_digest(bearer[1], self._good)

    def _refused(self, request: web.Request, error: GatewayFault) -> web.Response:
        fault = describe(error)
        reason = fault.reason.removeprefix("admin_") if fault.reason.startswith("admin_") else "request"
        self._count(reason)
        host = request.headers.get("Host", "").encode("ascii", "backslashreplace").decode()[:_LOGGED]
        self._events.warning("admin_refused", key=reason, reason=reason, host=host, peer=request.remote)
        return web.Response(
            status=fault.status,
            body=fault.body(),
            content_type="application/json",
            headers=dict(fault.headers),
        )


def build_access(settings: Settings, count: Callable[[str], None]) -> Access:
    """Build the access control that the settings describe; `count` counts a refusal by its reason."""
    admin = settings.admin
    own = admin.listen.rpartition(":")[0].lower()
    secret = admin.token
    token = None if secret is None else reread(settings, "GATEWAY_ADMIN_TOKEN", secret.get_secret_value())
    return Access(frozenset({"localhost", own, *admin.hosts} - {""}), token, count)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
