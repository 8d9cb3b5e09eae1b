"""Header policy: which field lines are forwarded, removed and added, in both directions; one pure module for all.

Laws:

- Names are compared after :func:`fold`, so ``X_User.ID`` is ``x-user-id``: servers that map names to variables cannot
  tell them apart, so neither does this policy.
- Managed names are removed first, whatever the client sent; then ours are set. An absent value leaves no header behind.
- Hop-by-hop fields, and those that Connection names, are removed before ours are set: a client cannot remove ours by
  naming them.
- A name that folds onto a name that decides (``Content_Length``, ``X.API.Key``) without being that name is dropped.
- A control byte in an injected value that decides is an error, and sends no header; in names it becomes a space.
- Only the wire writes framing fields and Connection. A 426 alone keeps its Upgrade, and the option that goes with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from authcore.identity_headers import DASHED, FAMILIES, HEADERS, HOSTED, displayed, holds_controls
from authcore.principal import AuthMethod
from gateway.cookies import without_ours
from gateway.faults import UnsafeIdentity
from gateway.proxy.clock import http_date
from gateway.proxy.loops import LoopMark
from gateway.tracing.context import TracePolicy
from gateway.traffic.deadline import STEERING
from gateway.wire.framing import FIRST_FINAL, HOP_BY_HOP, connection_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authcore.identity_headers import IdentityHeader
    from authcore.principal import Principal
    from gateway.wire.messages import FieldLine, RequestHead, ResponseHead


FORWARDED: Final = frozenset(
    {
        *(b"forwarded", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip"),
        *(b"x-original-url", b"x-original-uri", b"x-rewrite-url", b"x-envoy-original-path"),
        *(b"x-http-method-override", b"x-http-method", b"x-method-override"),
    }
)
"""Claims about the other end of a hop, or about another path or method than the one decided on (some frameworks serve
that); every ``x-forwarded-*`` belongs to them too."""

CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key"})

_FAMILIES: Final = tuple(family.encode("ascii") for family in FAMILIES)
MANAGED_PREFIXES: Final = (*_FAMILIES, b"x-forwarded-")

_WIRE: Final = frozenset({b"content-length"}) | HOP_BY_HOP
_EXACT: Final = frozenset(
    {
        b"host",
        b"authorization",
        b"x-api-key",
        b"cookie",
        b"expect",
        b"x-organization-id",
        b"x-csrf-token",
        b"content-type",
        b"content-encoding",
        b"range",
    }
)
_REMEMBERED: Final = 4096
"""Most names whose verdict is remembered; a client that invents more pays for them itself."""
_LONGEST: Final = 64


def fold(name: bytes) -> bytes:
    """Return the name as the most careless server would compare it: lower case, all but letters and digits ``-``."""
    return name.lower().translate(DASHED)


EVERYTHING_SENT: Final[frozenset[str]] = frozenset()
"""No identity header is withheld."""


class HeaderPolicy:
    """Header policy, compiled for one configuration of header names."""

    def __init__(
        self,
        names: Mapping[str, str | None],
        *,
        cookies: bool = False,
        trace: TracePolicy | None = None,
        lenient: bool = False,
        loop: LoopMark | None = None,
    ) -> None:
        """`names` maps each identity value (``user_id``, ``org_id``, …) to the name of its header; None sends none.

        With `cookies`, the gateway's own cookies are parsed, and removed from forwarded requests. If `lenient`, an
        X-Organization-ID that is no UUID counts as absent. `loop` marks forwarded requests.
        """
        self.loop = loop or LoopMark()
        self.cookies = cookies
        self.lenient = lenient
        self.trace = trace or TracePolicy()
        self._names = {key: name.encode("ascii") for key, name in names.items() if name is not None}
        self._of_identity = frozenset(fold(name) for name in self._names.values())
        self._managed = self._of_identity | FORWARDED | STEERING | {b"x-request-id"}
        self._passes: dict[bytes, bool] = {}
        self._blocks: dict[frozenset[str], WeakKeyDictionary[Principal, bytes]] = {}

    def passes(self, name: bytes) -> bool:
        """Return whether a request's field line called `name` may be forwarded to the upstream."""
        verdict = self._passes.get(name)
        if verdict is None:
            folded = fold(name)
            verdict = not (
                folded in _WIRE
                or folded in self._managed
                or folded.startswith(MANAGED_PREFIXES)
                or (folded in _EXACT and name.lower() != folded)
            )
            if len(self._passes) < _REMEMBERED and len(name) <= _LONGEST:
                self._passes[name] = verdict
        return verdict

    def passing(
        self,
        head: RequestHead,
        *,
        strip: bool,
        replaced: frozenset[bytes] = frozenset(),
        ours: bool = False,
        authority: bytes = b"",
    ) -> bytes:
        """Return the client's field lines that may be forwarded, each ending in CRLF.

        Left out are lines whose names fold onto one of `replaced`, the credential if `strip`, and our own cookies
        unless `ours`. A request of HTTP/1.0 without Host gets `authority` (RFC 9112 section 3.2).
        """
        rid = self.cookies and not ours and b"cookie" in head.first
        named = connection_tokens(head) - {b"host"}
        if strip:
            named |= CREDENTIALS
        if head.minor == 0:
            named |= {b"expect"}  # RFC 9110 section 10.1.1: in HTTP/1.0 it has no meaning
        passes = self.passes
        parts: list[bytes] = []
        for name, value in head.fields:
            if (
                passes(name)
                and not (named and name.lower() in named)
                and not (replaced and fold(name) in replaced)
            ):
                if rid and name.lower() == b"cookie":
                    others = without_ours(value)
                    if others is None:
                        continue
                    parts += (name, b": ", others, b"\r\n")
                else:
                    parts += (name, b": ", value, b"\r\n")
        if head.minor == 0 and b"host" not in head.first and b"host" not in replaced:
            parts.append(b"Host: %b\r\n" % authority)
        return b"".join(parts)

    def names_identity(self, head: RequestHead) -> bytes | None:
        """Return the first name in `head` that is an identity header's or of their families, in any spelling."""
        for name, _ in head.fields:
            if not self.passes(name):
                folded = fold(name)
                if folded in self._of_identity or folded.startswith(_FAMILIES):
                    return name
        return None

    def identity(self, principal: Principal, withheld: frozenset[str] = EVERYTHING_SENT) -> bytes:
        """Return the identity headers of a principal; none for the anonymous principal.

        They are made once per principal and set of `withheld` keys.

        Raises:
            UnsafeIdentity: a value holds a byte that no header may hold.
        """
        blocks = self._blocks.get(withheld)
        if blocks is None:
            blocks = self._blocks[withheld] = WeakKeyDictionary()
        block = blocks.get(principal)
        if block is None:
            lines: list[bytes] = []
            if principal.method is not AuthMethod.ANONYMOUS:
                for header in HEADERS:
                    if header.key in self._names and header.key not in withheld:
                        text = header.of(principal)
                        if text:
                            lines.append(self._line(header, text))
            block = blocks[principal] = b"".join(lines)
        return block

    def identity_bytes(self, start: bytes) -> int:
        """Return how many bytes of the `start` of a forwarded request are identity headers."""
        names = frozenset(self._names.values())
        return sum(len(line) + 2 for line in start.split(b"\r\n") if line.partition(b":")[0] in names)

    def internal(self, principal: Principal) -> bytes:
        """Return the same for the gateway's own application, which is sent more under names that no client can set."""
        lines = [self.identity(principal)]
        if principal.method is not AuthMethod.ANONYMOUS:
            for name, value in HOSTED:
                text = value(principal)
                if text and fold(name.encode("ascii")) not in self._of_identity:
                    lines.append(f"{name}: {text}\r\n".encode("ascii"))
        return b"".join(lines)

    def absent(self, block: bytes) -> tuple[str, ...]:
        """Return the lower-case names of the identity headers that are not in `block`."""
        there = {line.partition(b":")[0] for line in block.split(b"\r\n")}
        return tuple(name.decode("ascii").lower() for name in self._names.values() if name not in there)

    def _line(self, header: IdentityHeader, value: str) -> bytes:
        """Return one field line; empty if nothing is left of the value."""
        if holds_controls(value):
            if header.decides:
                raise UnsafeIdentity(
                    f"The account's {header.key.replace('_', ' ')} cannot be sent: it holds control characters"
                )
            value = displayed(value)
        value = value.strip()
        return b"%b: %b\r\n" % (self._names[header.key], value.encode("utf-8")) if value else b""


_RESPONSE_DROPS: Final = HOP_BY_HOP | {b"content-length", b"x-request-id"}


def response_start(head: ResponseHead, request_id: bytes, cors: bytes = b"") -> bytes:
    """Return the start of the client's response: status line, the upstream's fields that pass, and the request id.

    A Date is added if the upstream gave none (RFC 9110 section 6.6.1). The lines of a CORS policy, if there are any,
    replace the upstream's own.
    """
    notes = head.notes
    if cors:
        if not isinstance(notes, tuple):
            notes = head.notes = (_passing(head, without=_CORS),)
        start: bytes = notes[0]
    elif isinstance(notes, bytes):  # computed before, for a response with the same lines
        start = notes
    else:
        start = head.notes = _passing(head)
    if start.startswith(_DATELESS):
        return b"%bDate: %b\r\nX-Request-ID: %b\r\n%b" % (start[1:], http_date(), request_id, cors)
    return b"%bX-Request-ID: %b\r\n%b" % (start, request_id, cors)


_CORS: Final = (b"access-control-",)
_WITHOUT_CONTROLS: Final = bytes.maketrans(bytes(range(0x20)) + b"\x7f", b" " * 9 + b"\t" + b" " * 23)
_UPGRADE_REQUIRED: Final = 426
_DATELESS: Final = b"\0"
"""Prefix of a remembered start that still needs a Date."""


def _status_line(head: ResponseHead) -> bytes:
    """Return the status line for the client; control bytes in the reason phrase are spaces (RFC 9112 section 4)."""
    return b"HTTP/1.1 %d %b\r\n" % (head.status, head.phrase.translate(_WITHOUT_CONTROLS))


def _passing(head: ResponseHead, *, without: tuple[bytes, ...] = ()) -> bytes:
    """Return the status line and the lines that pass; without those whose names begin with one of `without`."""
    named = connection_tokens(head) - _RESPONSE_DROPS
    parts = [_status_line(head)]
    dated = head.status < FIRST_FINAL
    for name, value in head.fields:
        lower = _LOWERED.get(name)
        if lower is None:
            lower = _lowered(name)
        if lower and not (named and lower in named) and not (without and lower.startswith(without)):
            parts.append(b"%b: %b\r\n" % (name, value))
            dated = dated or lower == b"date"
    if head.status == _UPGRADE_REQUIRED and b"upgrade" in head.first:
        parts.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % b", ".join(head.every(b"upgrade")))
    return b"".join(parts) if dated else _DATELESS + b"".join(parts)


_LOWERED: Final[dict[bytes, bytes]] = {}
"""Memo of response field names: as received -> in lower case, or empty if they never pass. Bounded."""


def _lowered(name: bytes) -> bytes:
    lower = name.lower()
    if lower in _RESPONSE_DROPS:
        lower = b""
    if len(_LOWERED) < _REMEMBERED and len(name) <= _LONGEST:
        _LOWERED[name] = lower
    return lower


def interim_start(head: ResponseHead) -> bytes:
    """Return the head of an interim response, without its final CRLF."""
    dropped = _RESPONSE_DROPS | connection_tokens(head)
    fields: list[FieldLine] = [line for line in head.fields if line[0].lower() not in dropped]
    return _status_line(head) + b"".join(b"%b: %b\r\n" % line for line in fields)
