"""Per-header-block memo of values that also depend on the principal or the route.

A connection that stays open brings the same lines again and again, mostly by the same caller and often for the same
route. Laws:

- Each entry stores the objects it was computed for, and is used again only if it still applies.
- Objects are compared by identity (`is`). Principals, routes and edits are immutable: a changed role, user or key makes
  another principal, and a route file that is read again makes other routes.
- Only the last value is stored. Whether the credential is still good is not stored: the cache is asked every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from authcore.credentials import CookieTwins, Credential
    from authcore.permit import Permit
    from authcore.principal import Principal
    from gateway.proxy.routes import Route


class CredentialMemo:
    """Credential memo: the credential that counts on some routes.

    Attributes:
        credential: The presented credential; all of them, if there are several cookies.
        organization: The organization asked for; None for the credential's own.
        kind: The credential's kind, for metrics and logs.
        key: The cache key of the two; None for a credential that is never cached.
    """

    __slots__ = ("_own_organization_only", "credential", "key", "kind", "organization")

    def __init__(
        self,
        credential: Credential | CookieTwins,
        organization: UUID | None,
        kind: str,
        key: bytes | None,
        *,
        own_organization_only: bool = False,
    ) -> None:
        """If `own_organization_only`, it counts on routes that ignore X-Organization-ID, else on all others."""
        self.credential = credential
        self.organization = organization
        self.kind = kind
        self.key = key
        self._own_organization_only = own_organization_only

    def counts_on(self, route: Route) -> bool:
        """Return whether this credential counts on `route`."""
        return self._own_organization_only is route.own_organization_only


class PermitMemo:
    """Permit memo: the result of ``authorize``, a function of a principal and a route.

    Attributes:
        permit: The permit that was made.
    """

    __slots__ = ("_principal", "_route", "permit")

    def __init__(self, principal: Principal, route: Route, permit: Permit) -> None:
        self._principal = principal
        self._route = route
        self.permit = permit

    def is_about(self, principal: Principal, route: Route) -> bool:
        """Return whether it was made for these two objects."""
        return self._principal is principal and self._route is route


class UpstreamHeadersMemo:
    """Upstream-headers memo: the forwarded field lines, ours included, without those that differ per request.

    Routes that treat lines in the same way share an entry, whichever upstreams they lead to: no line depends on the
    upstream. Host would where a client sends none, which HTTP/1.0 alone allows, and its lines are never remembered.

    Attributes:
        lines: The field lines, each ending in CRLF.
        contradicted: X-Organization-ID was left out, as it is not the organization that the caller acts in.
    """

    __slots__ = ("_principal", "_route", "contradicted", "lines")

    def __init__(self, principal: Principal, route: Route, lines: bytes, *, contradicted: bool) -> None:
        self._principal = principal
        self._route = route
        self.lines = lines
        self.contradicted = contradicted

    def suits(self, principal: Principal, route: Route) -> bool:
        """Return whether the same lines would be forwarded for this principal on this route."""
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
