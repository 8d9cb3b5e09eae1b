"""Parsed headers: what a request's field lines state about its sender and which of them are forwarded.

They are parsed once per set of lines: requests whose lines came in the same bytes share one :class:`ParsedHeaders`
(``head.notes``), so everything in it must follow from the lines, the peer and the configuration alone: never from the
time, the target or any state. What follows from the caller or the route as well is stored here too, and is checked
before it is used (:mod:`gateway.proxy.memo`).

It does not refer to the head, because the head refers to it: such a cycle would wait for the garbage collector, one for
each new set of lines. Its methods are given a head with these lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.credentials import CookieToken
from authcore.principal import ANONYMOUS
from gateway.cookies import NO_COOKIES, OurCookies
from gateway.proxy.credentials import contradicts_organization, read_credential, read_organization
from gateway.tracing.context import TRACEPARENT, read_context
from gateway.wire.framing import connection_tokens

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.credentials import CookieTwins, Credential
    from authcore.principal import Principal
    from gateway.limits.keys import CallerKeys
    from gateway.proxy.forwarded import Origin
    from gateway.proxy.header_edits import HeaderEdits
    from gateway.proxy.headers import HeaderPolicy
    from gateway.proxy.memo import CredentialMemo, PermitMemo, UpstreamHeadersMemo
    from gateway.wire.messages import RequestHead

ORGANIZATION: Final = b"x-organization-id"


class ParsedHeaders:
    """Parsed headers of one set of field lines from one peer.

    Attributes:
        credential_memo: The credential memo; None before a credential was looked for.
        permit_memo: The permit memo; None before a permit was made.
        keys: The memo of its keys of limits; None before a request met a route with limits.
        sent: The upstream-headers memo; None before a request was forwarded.
        origin: Where the request came from.
        trace: The trace it belongs to; None if a new one has to begin.
        preflight: It has the marks of a CORS preflight (Fetch standard), whatever its method.
        cookies: The gateway's own cookies in it; empty if cookies are off.
    """

    __slots__ = (
        "_credential",
        "_header_policy",
        "_organization",
        "cookies",
        "credential_memo",
        "keys",
        "origin",
        "permit_memo",
        "preflight",
        "sent",
        "trace",
    )

    def __init__(self, head: RequestHead, origin: Origin, header_policy: HeaderPolicy) -> None:
        """Parse what every request needs.

        Raises:
            TooManyCookies: there are more cookies than any browser stores.
        """
        self._header_policy = header_policy
        self._credential: Credential | CookieTwins | None = None
        self._organization: tuple[UUID | None] | None = None
        self.credential_memo: CredentialMemo | None = None
        self.permit_memo: PermitMemo | None = None
        self.sent: UpstreamHeadersMemo | None = None
        self.keys: CallerKeys | None = None
        self.cookies = NO_COOKIES
        if header_policy.cookies and b"cookie" in head.first:
            self.cookies = OurCookies(head.every(b"cookie"))
        self.origin = origin
        self.trace = read_context(head)
        if self.trace is not None and TRACEPARENT in connection_tokens(head):
            self.trace = None  # the previous hop did not mean it for the next one (RFC 9110 section 7.6.1)
        self.preflight = b"origin" in head.first and b"access-control-request-method" in head.first

    def credential(self, head: RequestHead) -> Credential | CookieTwins:
        """Return the presented credential; raises as :func:`~gateway.proxy.credentials.read_credential`."""
        if self._credential is None:
            self._credential = read_credential(head, self.cookies)
        return self._credential

    def organization(self, head: RequestHead) -> UUID | None:
        """Return the organization asked for; raises as :func:`~gateway.proxy.credentials.read_organization`."""
        if ORGANIZATION not in head.first:
            return None
        if self._organization is None:
            self._organization = (read_organization(head, lenient=self._header_policy.lenient),)
        return self._organization[0]

    @staticmethod
    def contradicts(head: RequestHead, principal: Principal) -> bool:
        """Return whether X-Organization-ID names another organization than the one that `principal` acts in.

        Such a line is not forwarded: the upstream might act on it.
        """
        return (
            ORGANIZATION in head.first
            and principal is not ANONYMOUS
            and contradicts_organization(head, principal.organization_id)
        )

    def passing(  # noqa: PLR0913 -- the ways in which routes differ
        self,
        head: RequestHead,
        authority: bytes,
        *,
        strip: bool,
        ours: bool = False,
        edits: HeaderEdits | None = None,
        without: frozenset[bytes] = frozenset(),
    ) -> bytes:
        """Return the field lines to forward, as they came.

        Args:
            head: A head with these lines.
            authority: The Host of a request that has none.
            strip: The credential is left out.
            ours: The gateway's own cookies are included, for its own application.
            edits: The route's header edits; their lines are added.
            without: Further folded names to leave out.
        """
        header_policy = self._header_policy
        replaced = header_policy.trace.withheld(head, self.trace) | without
        if edits is None:
            return header_policy.passing(head, strip=strip, ours=ours, replaced=replaced, authority=authority)
        replaced |= edits.replaced
        return (
            header_policy.passing(head, strip=strip, ours=ours, replaced=replaced, authority=authority)
            + edits.lines
        )

    def bearer(self, head: RequestHead, counted: CookieToken | None) -> bytes:
        """Return the Authorization line that replaces the authenticating cookie: our cookies are not forwarded.

        Args:
            head: A head with these lines.
            counted: The cookie that counted, if there are several.
        """
        credential = self.credential(head) if counted is None else counted
        return (
            b"Authorization: Bearer %b\r\n" % credential.secret
            if isinstance(credential, CookieToken)
            else b""
        )
