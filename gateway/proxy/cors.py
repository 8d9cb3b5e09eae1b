"""CORS policy: which origins' pages may call, and the response fields that tell a browser so (Fetch standard, 3.2).

Laws:

- An origin is compared as the browser writes it: scheme and port exactly, the host in any case. A wildcard stands for
  exactly one label. ``null``, a list, or anything else that is no origin matches only an identical configured value.
- The origin is echoed, never ``*``, and every answer under a policy has ``Vary: Origin``, so that no cache gives one
  origin's answer to another.
- Under a policy, the upstream's own ``Access-Control-*`` fields are removed: a browser rejects two contradicting ones.
- CORS lets a page read an answer; it does not keep a request away. CSRF tokens do that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from config.groups.browsers import Cors
    from gateway.wire.messages import RequestHead

_LABEL: Final = re.compile(rb"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_LONGEST: Final = 256
_REMEMBERED: Final = 1024
"""Most origins whose response lines are remembered; all are forgotten when there are more."""

VARY: Final = b"Vary: Origin\r\n"
"""The last of the lines of every policy."""


class CorsPolicy:
    """CORS policy of one set of routes. It is immutable, apart from its memo.

    Attributes:
        credentials: Pages of the allowed origins may use cookies.
        known: Memo of the response lines by origin; bounded.
    """

    __slots__ = ("_exact", "_granted", "_preflight", "_wild", "credentials", "known")

    def __init__(self, cors: Cors) -> None:
        """Compile the settings of a policy, whose origins are canonical already."""
        origins = {origin.encode("ascii") for origin in cors.origins}
        self._wild = frozenset(origin.replace(b"*.", b"", 1) for origin in origins if b"//*." in origin)
        self._exact = frozenset(origin for origin in origins if b"//*." not in origin)
        self.known: dict[bytes, bytes] = {}
        self.credentials = cors.credentials
        credentials = b"Access-Control-Allow-Credentials: true\r\n" if cors.credentials else b""
        self._granted = credentials + _line("Expose-Headers", cors.exposed) + VARY
        self._preflight = b"%b%b%b%bVary: Origin, Access-Control-Request-Method\r\n" % (
            credentials,
            _line("Allow-Methods", cors.methods),
            _line("Allow-Headers", cors.headers),
            _line("Max-Age", (str(cors.max_age_seconds),)),
        )

    def allows(self, origin: bytes | None) -> bool:
        """Return whether a page of `origin` may call."""
        if origin is None or len(origin) > _LONGEST:
            return False
        lowered = origin.lower()
        if lowered in self._exact:
            return True
        scheme, mark, rest = lowered.partition(b"://")
        label, _, domain = rest.partition(b".")
        return scheme + mark + domain in self._wild and _LABEL.fullmatch(label) is not None

    def lines(self, head: RequestHead) -> bytes:
        """Return the field lines, each ending in CRLF, for the answer to `head`, whichever answer it is."""
        origin = head.first.get(b"origin")
        if origin is None:
            return VARY
        known = self.known.get(origin)
        if known is None:
            allowed = self.allows(origin)
            known = _allowed(origin) + self._granted if allowed else VARY
            if len(origin) <= _LONGEST:
                if len(self.known) >= _REMEMBERED:
                    self.known.clear()
                self.known[origin] = known
        return VARY if head.occurs_twice(b"origin") else known

    def preflight(self, head: RequestHead) -> bytes | None:
        """Return the field lines of the answer to a preflight; None if its origin may not call."""
        origin = origin_of(head)
        if origin is None or not self.allows(origin):
            return None
        return _allowed(origin) + self._preflight


def build_policy(cors: Cors) -> CorsPolicy | None:
    """Return the policy of these settings; None without origins, since the upstream then handles CORS itself."""
    return CorsPolicy(cors) if cors.origins else None


def origin_of(head: RequestHead) -> bytes | None:
    """Return the origin of a request; None if it has no Origin field, or two."""
    return None if head.occurs_twice(b"origin") else head.first.get(b"origin")


def _allowed(origin: bytes) -> bytes:
    return b"Access-Control-Allow-Origin: %b\r\n" % origin


def _line(name: str, values: tuple[str, ...]) -> bytes:
    return f"Access-Control-{name}: {', '.join(values)}\r\n".encode("ascii") if values else b""
