"""Access control of the admin listener: which requests it answers, by Host and by bearer token.

Laws:

- Host is an address, ``localhost``, the host of GATEWAY_ADMIN_LISTEN or one of GATEWAY_ADMIN_HOSTS; else 421. A page
  that rebinds its own name to this address (DNS rebinding) sends its own name. No browser leaves Host out.
- With GATEWAY_ADMIN_TOKEN, every path but the probes' needs it as a bearer token; else 401, whether the path exists or
  not. It is compared in constant time, and its file is read again for each request.
- A token in the file that GATEWAY_ADMIN_TOKEN would refuse changes nothing but the log; the last good one holds.
"""

from __future__ import annotations

import hmac
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from config.extras import is_admin_token
from config.rereading import reread
from gateway.faults import AdminHostRefused, AdminTokenRefused
from gateway.logs import quoted
from gateway.logs.limited import LimitedEvents

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import Settings
    from gateway.faults import Fault
    from gateway.wire.messages import RequestHead

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

    def check(self, head: RequestHead, path: str) -> None:
        """Let a request for `path` pass. The wire has refused two Hosts, and none where its version needs one.

        Raises:
            AdminHostRefused: its Host is none of this listener's.
            AdminTokenRefused: it needs the token, and has none or another.
        """
        host = head.first.get(b"host")
        if host is not None and not self.answers_to(host.decode("latin-1")):
            raise AdminHostRefused(
                "This listener does not answer to that Host; ask it by its address, or add the name to "
                "GATEWAY_ADMIN_HOSTS"
            )
        sent = tuple(head.every(b"authorization"))
        if (
            self._token is not None
            and path not in PROBES
            and (len(sent) != 1 or not self.is_token(sent[0].decode("latin-1")))
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
        if self._token is not None and (present := self._token().strip()) != self._good:
            if is_admin_token(present):
                self._good = present
            else:
                self._events.warning(
                    "admin_token_unusable",
                    meaning="the last good token holds",
                    advice="write 16 characters or more of A-Z a-z 0-9 . _ ~ + / - and then = into the file of "
                    "GATEWAY_ADMIN_TOKEN",
                )
        bearer = _BEARER.fullmatch(field.strip())
        return bearer is not None and hmac.compare_digest(bearer[1], self._good)

    def refused(self, fault: Fault, head: RequestHead, peer: str) -> None:
        """Count and log a refusal of the right to ask, and of a malformed request; no other fault."""
        if fault.reason.startswith("admin_"):
            reason = fault.reason.removeprefix("admin_")
        elif fault.reason == "malformed_request":
            reason = "request"
        else:
            return
        self._count(reason)
        host = quoted(head.first.get(b"host", b"").decode("latin-1"), _LOGGED)
        self._events.warning("admin_refused", key=reason, reason=reason, host=host, peer=peer)


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
