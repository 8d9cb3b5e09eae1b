"""Access matrix: every endpoint of a plan against the system roles, decided by the code that decides requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from authcore.authorize import authorize
from authcore.errors import CredentialMissing, PermissionDenied
from authcore.permissions import ROLES
from authcore.principal import ANONYMOUS, AuthMethod, Principal
from gateway.assembly.route_compiler import requirement_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authcore.authorize import Requirement
    from config.route_plan import RoutePlan
    from config.routes import RouteEntry

NOBODY: Final = "nobody"
_NIL: Final = UUID(int=0)

WHO: Final = {
    NOBODY: ANONYMOUS,
    **{
        name: Principal(AuthMethod.JWT, _NIL, _NIL, role=name, permissions=role.permissions)
        for name, role in ROLES.items()
    },
}
"""The columns of the matrix: a caller without a credential, and each system role."""


@dataclass(frozen=True, slots=True)
class Row:
    """Row of the access matrix: one endpoint.

    Attributes:
        endpoint: Methods and path.
        needs: The requirement, in words.
        granted: The columns that have access.
    """

    endpoint: str
    needs: str
    granted: frozenset[str]


def matrix(plan: RoutePlan) -> Iterator[Row]:
    """Yield every endpoint of a plan, in its order."""
    for planned in plan.routes:
        entry = planned.entry
        requirement = requirement_of(entry)
        granted = frozenset(name for name, principal in WHO.items() if may(principal, requirement))
        for case in planned.cases:
            yield Row(str(case), needs(entry), granted)


def needs(entry: RouteEntry) -> str:
    """Return a route's requirement in words."""
    if entry.auth != "required":
        return {"public": "nothing", "optional": "nothing, or a valid credential"}[entry.auth]
    credential = "a credential or a ticket" if entry.tickets else "a credential"
    if entry.socket_auth == "message":
        credential += ", or of a WebSocket a first message with one"
    return " and ".join(entry.require or ()) or " or ".join(entry.any or ()) or credential


def may(principal: Principal, requirement: Requirement) -> bool:
    """Return whether a principal meets a requirement."""
    try:
        authorize(principal, requirement)
    except (CredentialMissing, PermissionDenied):
        return False
    return True
