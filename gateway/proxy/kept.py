"""What is kept with a set of field lines though it follows from more than the lines: from the caller, or the route.

A connection that stays open brings the same lines again and again, mostly by the same caller and often for the same
route. Laws:

- Each of these knows what else it follows from, and is asked whether it still applies before it is used.
- It is asked by identity. Principals, routes and edits are immutable: a changed role, user or key makes another
  principal, a route file that is read again makes other routes.
- The last one is kept, and no more. Whether the credential is still good is not among it: memory is asked every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.credentials import CookieTwins, Credential
    from authcore.principal import Permit, Principal
    from gateway.proxy.routes import Route


class Presented:
    """A credential as it counts on some routes.

    Attributes:
        credential: What is presented; of several cookies, all.
        organization: The organization asked for; None for the credential's own.
        kind: The credential's kind, for metrics and logs.
        key: The key under which memory knows the two; None for what is never remembered.
    """

    __slots__ = ("_hosted", "credential", "key", "kind", "organization")

    def __init__(
        self,
        credential: Credential | CookieTwins,
        organization: UUID | None,
        kind: str,
        key: bytes | None,
        *,
        hosted: bool = False,
    ) -> None:
        """`hosted` says that it counts on what the gateway hosts, where no other organization can be asked for."""
        self.credential = credential
        self.organization = organization
        self.kind = kind
        self.key = key
        self._hosted = hosted

    def counts_on(self, route: Route) -> bool:
        """Whether it is what counts on `route`."""
        return self._hosted is route.hosted


class Ruling:
    """What ``authorize`` said of a caller on a route: a function of the two, so it need not be asked again of them.

    Attributes:
        permit: What it gave.
    """

    __slots__ = ("_principal", "_route", "permit")

    def __init__(self, principal: Principal, route: Route, permit: Permit) -> None:
        self._principal = principal
        self._route = route
        self.permit = permit

    def is_about(self, principal: Principal, route: Route) -> bool:
        """Whether it was said of these two."""
        return self._principal is principal and self._route is route


class Sent:
    """The field lines sent on to an upstream, ours included, but for those that each request has of its own.

    Routes that treat lines alike share them.

    Attributes:
        lines: Each ends in CRLF.
        contradicted: X-Organization-ID is not among them, since it is not what the caller acts in.
    """

    __slots__ = ("_principal", "_route", "contradicted", "lines")

    def __init__(self, principal: Principal, route: Route, lines: bytes, *, contradicted: bool) -> None:
        self._principal = principal
        self._route = route
        self.lines = lines
        self.contradicted = contradicted

    def suits(self, principal: Principal, route: Route) -> bool:
        """Whether the same would be sent on of this caller on this route."""
        before = self._route
        return self._principal is principal and (
            before is route
            or (
                before.strip_credential is route.strip_credential
                and before.edits is route.edits
                and before.internal is route.internal
                and before.message is route.message
                and before.cookies is route.cookies
                and before.withheld is route.withheld
            )
        )
