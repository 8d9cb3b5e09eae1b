"""What a request's field lines say of who sent it and what of them goes on: worked out once per set of lines.

Requests whose lines came in the same bytes share one :class:`Reading` (``head.notes``), so everything in it must follow
from the lines, the peer and the configuration alone: never from the time, the target or the state of anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authcore.credentials import CookieToken
from gateway.cookies import NO_COOKIES, OurCookies
from gateway.credentials import read_credential, read_organization
from gateway.tracing.context import TRACEPARENT, read_context
from gateway.wire.framing import connection_tokens

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.credentials import Credential
    from authcore.principal import Permit, Principal
    from gateway.proxy.edits import HeaderEdits
    from gateway.proxy.forwarded import Origin
    from gateway.proxy.headers import HeaderLaws
    from gateway.proxy.routes import Route
    from gateway.wire.messages import RequestHead


class Presented:
    """A credential as it counts on some routes.

    Attributes:
        credential: What is presented.
        organization: The organization asked for; None for the credential's own.
        kind: The credential's kind, for metrics and logs.
        key: The key under which memory knows the two; None for what is never remembered.
        hosted: It is for what the gateway hosts, where no other organization can be asked for.
    """

    __slots__ = ("credential", "hosted", "key", "kind", "organization")

    def __init__(
        self,
        credential: Credential,
        organization: UUID | None,
        kind: str,
        key: bytes | None,
        *,
        hosted: bool = False,
    ) -> None:
        self.credential = credential
        self.organization = organization
        self.kind = kind
        self.key = key
        self.hosted = hosted


class Ruling:
    """What follows for one caller on one route, however often they come.

    Both are immutable, and what ``authorize`` says follows from them alone: while it is these very objects that meet,
    it need not be asked again.

    Attributes:
        permit: What ``authorize`` gave.
        lines: The field lines that go on to the upstream, ours included, but for those that each request has of its
            own; None until they are needed.
    """

    __slots__ = ("_principal", "_route", "lines", "permit")

    def __init__(self, principal: Principal, route: Route, permit: Permit) -> None:
        self._principal = principal
        self._route = route
        self.permit = permit
        self.lines: bytes | None = None

    def holds_for(self, principal: Principal, route: Route) -> bool:
        """Whether it is about these two."""
        return self._principal is principal and self._route is route


class Reading:
    """The meaning of one set of field lines from one peer.

    Attributes:
        presented: The credential in them, as it counted last; None before it did.
        ruling: What followed for the last caller and route; None where nothing did.
        origin: The way the request came.
        trace: The trace it belongs to; None where one has to begin.
        preflight: It carries the marks of a CORS preflight (Fetch standard), whatever its method.
        cookies: The gateway's own cookies in it; none where cookies are off.
    """

    __slots__ = (
        "_credential",
        "_edited",
        "_head",
        "_kept",
        "_laws",
        "_organization",
        "_stripped",
        "_whole",
        "cookies",
        "origin",
        "preflight",
        "presented",
        "ruling",
        "trace",
    )

    def __init__(self, head: RequestHead, origin: Origin, laws: HeaderLaws) -> None:
        """Read what is always needed.

        Raises:
            TooManyCookies: there are more than any browser keeps.
        """
        self._head = head
        self._laws = laws
        self._credential: Credential | None = None
        self._organization: tuple[UUID | None] | None = None
        self._kept: bytes | None = None
        self._stripped: bytes | None = None
        self._whole: bytes | None = None
        self._edited: tuple[HeaderEdits, bool, bytes] | None = None
        self.presented: Presented | None = None
        self.ruling: Ruling | None = None
        self.cookies = NO_COOKIES
        if laws.cookies and b"cookie" in head.first:
            self.cookies = OurCookies(head.every(b"cookie"))
        self.origin = origin
        self.trace = read_context(head)
        if self.trace is not None and TRACEPARENT in connection_tokens(head):
            self.trace = None  # the hop before keeps it to itself (RFC 9110 section 7.6.1)
        self.preflight = b"origin" in head.first and b"access-control-request-method" in head.first

    def credential(self) -> Credential:
        """Return what the caller presents; raises as :func:`~gateway.credentials.read_credential`."""
        if self._credential is None:
            self._credential = read_credential(self._head, self.cookies)
        return self._credential

    def organization(self) -> UUID | None:
        """Return the organization asked for; raises as :func:`~gateway.credentials.read_organization`."""
        if self._organization is None:
            self._organization = (read_organization(self._head),)
        return self._organization[0]

    def passing(self, *, strip: bool, edits: HeaderEdits | None = None) -> bytes:
        """Return the field lines that go on to the upstream, without the credential if `strip`, and with `edits`."""
        if edits is not None:
            kept = self._edited
            if kept is None or kept[0] is not edits or kept[1] is not strip:
                lines = self._passing(strip=strip, replaced=edits.replaced) + edits.lines
                self._edited = kept = (edits, strip, lines)
            return kept[2]
        if strip:
            if self._stripped is None:
                self._stripped = self._passing(strip=True)
            return self._stripped
        if self._kept is None:
            self._kept = self._passing(strip=False)
        return self._kept

    def whole(self) -> bytes:
        """Return the field lines that go on to an application of the gateway's own: its cookies are among them."""
        if self._whole is None:
            self._whole = self._passing(strip=False, ours=True)
        return self._whole

    def bearer(self) -> bytes:
        """Return the line that takes the place of the cookie that authenticates: cookies of ours do not go on."""
        credential = self.credential()
        return (
            b"Authorization: Bearer %b\r\n" % credential.token if isinstance(credential, CookieToken) else b""
        )

    def _passing(self, *, strip: bool, ours: bool = False, replaced: frozenset[bytes] = frozenset()) -> bytes:
        head, laws = self._head, self._laws
        replaced |= laws.trace.withheld(head, self.trace)
        return laws.passing(head, strip=strip, ours=ours, replaced=replaced)
