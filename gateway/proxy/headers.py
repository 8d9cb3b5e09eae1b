"""Header policy: which field lines of a request are forwarded, removed and added; one pure module for all.

Laws:

- Names are compared after :func:`fold`, so ``X_User.ID`` is ``x-user-id``: servers that map names to variables cannot
  tell them apart, so neither does this policy.
- Managed names are removed first, whatever the client sent; then ours are set. An absent value leaves no header behind.
- Names by which some server takes another path, address or caller than the gateway are removed too (``CLAIMED``).
- Hop-by-hop fields, and those that Connection names, are removed before ours are set: a client cannot remove ours by
  naming them.
- A name that folds onto a name that decides (``Content_Length``, ``X.API.Key``) without being that name is dropped.
- A control byte in an injected value that decides is an error, and sends no header; in names it becomes a space.
- Only the wire writes framing fields and Connection.
- A credential's field with an empty value is removed: it counts as absent (:mod:`gateway.proxy.credentials`), and the
  upstream is sent no second one beside the token of a cookie.
- Of heads of one shape (:mod:`gateway.wire.templates`), the lines that pass are determined once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import ref

from authcore.identity_headers import DASHED, FAMILIES, HEADERS, HOSTED, displayed, holds_controls
from authcore.principal import AuthMethod
from gateway.cookies import without_ours
from gateway.faults import UnsafeIdentity
from gateway.proxy.loops import LoopMark
from gateway.proxy.pieces import Pieces
from gateway.tracing.context import TracePolicy
from gateway.traffic.deadline import STEERING
from gateway.wire.framing import HOP_BY_HOP, connection_tokens
from gateway.wire.messages import RequestHead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authcore.identity_headers import IdentityHeader
    from authcore.principal import Principal


FORWARDED: Final = frozenset(
    {
        *(b"forwarded", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip"),
        *(b"client-ip", b"cluster-client-ip", b"forwarded-for", b"x-forwarded"),
        *(b"x-originating-ip", b"x-proxyuser-ip", b"x-remote-addr", b"x-remote-ip"),
        *(b"x-original-url", b"x-original-uri", b"x-rewrite-url", b"x-envoy-original-path"),
        *(b"x-http-method-override", b"x-http-method", b"x-method-override"),
        b"proxy",
    }
)
"""Claims about the other end of a hop, or about another path or method than the one decided on (some frameworks serve
that); every ``x-forwarded-*`` belongs to them too. ``Proxy`` is there because CGI makes the variable HTTP_PROXY of it,
which HTTP clients obey (CVE-2016-5385). Names of one CDN alone (``CF-Connecting-IP``) are not there: services read them
where that CDN is in front."""

CLAIMED: Final = frozenset(
    {
        # RFC 3875 section 4.1, as servers spell their own variables. gunicorn takes SCRIPT_NAME off the path if it
        # trusts the peer, as it does each one on its own machine.
        *(b"auth-type", b"gateway-interface", b"path-info", b"path-translated", b"query-string"),
        *(b"remote-addr", b"remote-host", b"remote-ident", b"remote-user", b"request-method", b"request-uri"),
        *(b"script-name", b"server-name", b"server-port", b"server-protocol", b"server-software"),
        *(b"x-script-name", b"x-traversal-path"),
        # The scheme, the host, a certificate. Tornado reads X-Scheme first; the last three are Jetty's.
        *(b"front-end-https", b"x-scheme", b"x-url-scheme", b"x-host", b"x-http-host-override"),
        *(b"proxy-client-ip", b"proxy-auth-cert", b"proxy-ssl-id", b"x-proxied-https"),
        # Next.js serves the first two as the path and its parameters. Rack's Sendfile takes the others for the proxy's:
        # with them a client has the service answer X-Accel-Redirect, to a file of its choice (CVE-2025-61780).
        *(b"x-matched-path", b"x-now-route-matches", b"x-sendfile-type", b"x-accel-mapping"),
    }
)
CLAIMED_PREFIXES: Final = (
    *(b"l5d-", b"x-original-", b"x-rewrite-", b"wl-proxy-", b"-ws"),
    *(b"x-middleware-", b"x-invoke-", b"x-react-router-"),
)
"""Names, and beginnings of names, under which some server or framework takes another path, host, scheme or caller than
the gateway has found, or a mesh another destination, without being configured to. Two are WebLogic's and WebSphere's
(``$WSRU`` is the user), two Next.js' own: with ``X-Middleware-Subrequest`` it left out the application's check
(CVE-2025-29927). By the last a client of React Router chose what a page is made of (CVE-2025-43865). A client's are
removed; a route may set them."""

CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key"})

_FAMILIES: Final = tuple(family.encode("ascii") for family in FAMILIES)
MANAGED_PREFIXES: Final = (*_FAMILIES, b"x-forwarded-")
_REMOVED_PREFIXES: Final = MANAGED_PREFIXES + CLAIMED_PREFIXES

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


_TREATMENTS: Final = 32
"""Most ways of treating the lines of one shape that are remembered."""

EVERYTHING_SENT: Final[frozenset[str]] = frozenset()
"""No identity header is withheld."""

_NEVER_NAMED: Final = frozenset({b"host", b"expect", b"x-organization-id"}) | CREDENTIALS
"""Names that a Connection field takes nothing away by: what routes the request, what its body waits for, and what its
caller was judged by. An upstream that reads the credential or the organization again must find the same ones."""


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
        self._removed = self._of_identity | FORWARDED | CLAIMED | STEERING | {b"x-request-id"}
        self._passes: dict[bytes, bool] = {}
        self._blocks: dict[frozenset[str], dict[ref[Principal], bytes]] = {}

    def passes(self, name: bytes) -> bool:
        """Return whether a request's field line called `name` may be forwarded to the upstream."""
        verdict = self._passes.get(name)
        if verdict is None:
            folded = fold(name)
            verdict = not (
                folded in _WIRE
                or folded in self._removed
                or folded.startswith(_REMOVED_PREFIXES)
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
        template = head.template
        if template is None:
            return self._passing(head, replaced, authority, strip=strip, ours=ours)
        cookie = head.first.get(b"cookie") if self.cookies and not ours else None
        if cookie is not None and without_ours(cookie) != cookie:  # its value does not pass as it came
            return self._passing(head, replaced, authority, strip=strip, ours=ours)
        known = template.notes
        if not isinstance(known, dict) or len(known) >= _TREATMENTS:
            known = template.notes = {}
        treatment = (strip, ours, replaced)
        pieces: Pieces | None = known.get(treatment)
        if pieces is None:
            like = RequestHead(template.marked())
            like.index()
            passing = self._passing(like, replaced, authority, strip=strip, ours=ours)
            pieces = known[treatment] = Pieces(passing)
        return pieces.fill(head.values)

    def _passing(
        self, head: RequestHead, replaced: frozenset[bytes], authority: bytes, *, strip: bool, ours: bool
    ) -> bytes:
        """Return the same, line by line."""
        rid = self.cookies and not ours and b"cookie" in head.first
        named = connection_tokens(head) - _NEVER_NAMED
        if strip:
            named |= CREDENTIALS
        if head.minor == 0:
            named |= {b"expect"}  # RFC 9110 section 10.1.1: in HTTP/1.0 it has no meaning
        passes = self.passes
        parts: list[bytes] = []
        for name, value in head.fields:
            if (
                passes(name)
                and (value or name.lower() not in CREDENTIALS)
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
        # A WeakKeyDictionary does the same, and its look-up runs interpreted.
        blocks = self._blocks.get(withheld)
        if blocks is None:
            blocks = self._blocks[withheld] = {}
        block = blocks.get(ref(principal))
        if block is None:
            lines: list[bytes] = []
            if principal.method is not AuthMethod.ANONYMOUS:
                for header in HEADERS:
                    if header.key in self._names and header.key not in withheld:
                        text = header.of(principal)
                        if text:
                            lines.append(self._line(header, text))
            block = blocks[ref(principal, blocks.pop)] = b"".join(lines)
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
