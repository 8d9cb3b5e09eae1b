"""Recording of requests to hosted endpoints in the audit trail: what is known of the sender, and what handlers add.

Laws:

- An endpoint that declares an event is recorded once for each request: when it succeeds, and when the domain refuses.
  A handler that ends several sessions adds facts for each of them, and each becomes a record.
- A request that cannot be read (400, 413, 415) tries nothing, and is not recorded.
- What a handler adds is an id, an e-mail, or a number: never a password, a token or a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from authcore.errors import AuthError
from authcore.trail import AuditOutcome
from gateway.endpoints.caller import Caller, Visitor, request_id_of
from gateway.faults import GatewayFault, describe
from gateway.trail.texts import named_email

if TYPE_CHECKING:
    from uuid import UUID

    from aiohttp import web

    from authcore.accounts.accounts import SignedIn
    from gateway.endpoints.endpoint import Endpoint
    from gateway.trail.trail import Trail

_OUTAGE: Final = 500


@dataclass(slots=True, kw_only=True)
class Facts:
    """Facts about a request that its handler adds; None where the sender's own hold.

    Attributes:
        skipped: The request is not recorded: it has changed nothing, or is one of too many.
        further: Facts of further changes by the same request; each becomes a record of its own.
    """

    user_id: UUID | None = None
    email: str | None = None
    organization_id: UUID | None = None
    session_id: UUID | None = None
    target: object = None
    details: dict[str, object] = field(default_factory=dict)
    skipped: bool = False
    further: list[Facts] = field(default_factory=list)

    def sign_in(self, signed_in: SignedIn) -> None:
        """Add the user who is signed in, and their session."""
        self.user_id, self.email = signed_in.user.id, signed_in.user.email
        self.organization_id, self.session_id = signed_in.user.organization_id, signed_in.tokens.session_id


@cache
def _facts() -> web.RequestKey[Facts]:
    from aiohttp import web

    return web.RequestKey("facts", Facts)


def facts_of(request: web.Request) -> Facts:
    """Return the facts about a request, for its handler to add to."""
    found: Facts | None = request.get(_facts())
    if found is None:
        found = request[_facts()] = Facts()
    return found


def record_request(
    trail: Trail, request: web.Request, endpoint: Endpoint[Any], sender: Visitor, error: BaseException | None
) -> None:
    """Record a request that has ended, with `error` or without."""
    from aiohttp import web

    if endpoint.event is None:
        return
    # The request could not be read, or its client left before its body had ended.
    if isinstance(error, (GatewayFault, ConnectionError, web.HTTPException)):
        return
    facts = facts_of(request)
    if facts.skipped:
        return
    outcome, reason = _outcome(error)
    if isinstance(sender, Caller):
        facts.user_id = facts.user_id or sender.user_id
        facts.organization_id = facts.organization_id or sender.organization_id
        facts.session_id = facts.session_id or sender.session_id
    for one in (facts, *facts.further):
        trail.record(
            endpoint.event,
            outcome,
            reason=reason,
            user_id=one.user_id,
            email=named_email(one.email),
            organization_id=one.organization_id,
            api_key_id=sender.key_id if isinstance(sender, Caller) else None,
            session_id=one.session_id,
            target=_target(request, one),
            address=sender.visit.address,
            user_agent=sender.visit.device,
            request_id=request_id_of(request),
            details={**_why(error), **one.details},
        )


def _target(request: web.Request, facts: Facts) -> str | None:
    if facts.target is not None:
        return str(facts.target)
    found: str | None = request.match_info.get("id")
    return found


def _outcome(error: BaseException | None) -> tuple[AuditOutcome, str | None]:
    if error is None:
        return AuditOutcome.SUCCESS, None
    if not isinstance(error, Exception):  # cancelled: nobody knows how far it came
        return AuditOutcome.FAILED, "cut_off"
    fault = describe(error)
    return AuditOutcome.FAILED if fault.status >= _OUTAGE else AuditOutcome.REFUSED, fault.reason


def _why(error: BaseException | None) -> dict[str, object]:
    """Return the error's class, which is finer than its reason."""
    return {"error": type(error).__name__} if isinstance(error, AuthError) else {}
