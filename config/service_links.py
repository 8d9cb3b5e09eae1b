"""Service links: variables that Kubernetes, Docker and CGI put into a process's environment under the gateway's prefix.

Laws:

- They are recognized by the form of name and value together, so that no value of a setting is taken for one.
- They count in the environment alone; in a file nobody but an operator writes.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _is_port(value: str) -> bool:
    return value.isascii() and value.isdigit()


def _is_link(value: str) -> bool:
    return re.fullmatch(r"(?:tcp|udp|sctp)://\S+:\d+", value) is not None


_OF_THE_SYSTEM: Final[tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...]] = (
    # Kubernetes beside a Service called "gateway" or "gateway-...", Docker beside a linked container of that name.
    (re.compile(r"GATEWAY_(?:\w+_)?SERVICE_HOST"), _is_address),
    (re.compile(r"GATEWAY_(?:\w+_)?SERVICE_PORT(?:_\w+)?"), _is_port),
    (re.compile(r"GATEWAY_(?:\w+_)?PORT(?:_\d+_(?:TCP|UDP|SCTP))?"), _is_link),
    (re.compile(r"GATEWAY_(?:\w+_)?PORT_\d+_(?:TCP|UDP|SCTP)_ADDR"), _is_address),
    (re.compile(r"GATEWAY_(?:\w+_)?PORT_\d+_(?:TCP|UDP|SCTP)_PORT"), _is_port),
    (
        re.compile(r"GATEWAY_(?:\w+_)?PORT_\d+_(?:TCP|UDP|SCTP)_PROTO"),
        frozenset({"tcp", "udp", "sctp"}).__contains__,
    ),
    # CGI, RFC 3875 section 4.1.4.
    (re.compile(r"GATEWAY_INTERFACE"), lambda value: value.startswith("CGI/")),
)
"""Names of variables, and the test that their value passes where the system has set them."""


def is_service_link(name: str, value: str) -> bool:
    """Return whether the system has set a variable of the environment, and no operator."""
    return any(form.fullmatch(name) is not None and fits(value) for form, fits in _OF_THE_SYSTEM)
