"""What a request's field lines say of who sent it and what of them goes on: worked out once per set of lines.

Requests whose lines came in the same bytes share one :class:`Reading` (``head.notes``), so everything in it must follow
from the lines, the peer and the configuration alone: never from the time, the target or the state of anything. What
follows from the caller or the route as well is kept here too, and knows it (:mod:`gateway.proxy.kept`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.credentials import CookieToken
from authcore.principal import ANONYMOUS
from gateway.cookies import NO_COOKIES, OurCookies
from gateway.credentials import contradicts_organization, read_credential, read_organization
from gateway.tracing.context import TRACEPARENT, read_context
from gateway.wire.framing import connection_tokens

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.credentials import CookieTwins, Credential
    from authcore.principal import Principal
    from gateway.proxy.edits import HeaderEdits
    from gateway.proxy.forwarded import Origin
    from gateway.proxy.headers import HeaderLaws
    from gateway.proxy.kept import Presented, Ruling, Sent
    from gateway.wire.messages import RequestHead

ORGANIZATION: Final = b"x-organization-id"


class Reading:
    """The meaning of one set of field lines from one peer.

    Attributes:
        presented: The credential in them as it counted last; None before it did.
        ruling: What was ruled last; None before anything was.
        sent: What was sent on last; None before anything was.
        origin: The way the request came.
        trace: The trace it belongs to; None where one has to begin.
        preflight: It carries the marks of a CORS preflight (Fetch standard), whatever its method.
        cookies: The gateway's own cookies in it; none where cookies are off.
    """

    __slots__ = (
        "_credential",
        "_head",
        "_laws",
        "_organization",
        "cookies",
        "origin",
        "preflight",
        "presented",
        "ruling",
        "sent",
        "trace",
    )

    def __init__(self, head: RequestHead, origin: Origin, laws: HeaderLaws) -> None:
        """Read what is always needed.

        Raises:
            TooManyCookies: there are more than any browser keeps.
        """
        self._head = head
        self._laws = laws
        self._credential: Credential | CookieTwins | None = None
        self._organization: tuple[UUID | None] | None = None
        self.presented: Presented | None = None
        self.ruling: Ruling | None = None
        self.sent: Sent | None = None
        self.cookies = NO_COOKIES
        if laws.cookies and b"cookie" in head.first:
            self.cookies = OurCookies(head.every(b"cookie"))
        self.origin = origin
        self.trace = read_context(head)
        if self.trace is not None and TRACEPARENT in connection_tokens(head):
            self.trace = None  # the hop before keeps it to itself (RFC 9110 section 7.6.1)
        self.preflight = b"origin" in head.first and b"access-control-request-method" in head.first

    def credential(self) -> Credential | CookieTwins:
        """Return what the caller presents; raises as :func:`~gateway.credentials.read_credential`."""
        if self._credential is None:
            self._credential = read_credential(self._head, self.cookies)
        return self._credential

    def organization(self) -> UUID | None:
        """Return the organization asked for; raises as :func:`~gateway.credentials.read_organization`."""
        if self._organization is None:
            self._organization = (read_organization(self._head, lenient=self._laws.lenient),)
        return self._organization[0]

    def contradicts(self, principal: Principal) -> bool:
        """Whether X-Organization-ID says something else than the organization that `principal` acts in.

        Such a line goes to nobody: the upstream might act on it.
        """
        return principal is not ANONYMOUS and contradicts_organization(self._head, principal.organization_id)

    def passing(
        self,
        *,
        strip: bool,
        ours: bool = False,
        edits: HeaderEdits | None = None,
        without: frozenset[bytes] = frozenset(),
    ) -> bytes:
        """Return the field lines that go on, as they came.

        Args:
            strip: The credential is not among them.
            ours: The gateway's own cookies are: it is for its own application.
            edits: Of the route; its lines are added.
            without: Further names, folded, that do not go on.
        """
        head, laws = self._head, self._laws
        replaced = laws.trace.withheld(head, self.trace) | without
        if edits is None:
            return laws.passing(head, strip=strip, ours=ours, replaced=replaced)
        return laws.passing(head, strip=strip, ours=ours, replaced=replaced | edits.replaced) + edits.lines

    def bearer(self, counted: CookieToken | None) -> bytes:
        """Return the line that takes the place of the cookie that authenticates: cookies of ours do not go on.

        Args:
            counted: The cookie that counted, where there are several.
        """
        credential = self.credential() if counted is None else counted
        return (
            b"Authorization: Bearer %b\r\n" % credential.token if isinstance(credential, CookieToken) else b""
        )
