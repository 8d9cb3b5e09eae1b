"""Decision context: one request as the authorizer sees it, and what its phases have found.

An exchange of the pipeline is a decision context. Requests that another proxy describes, and those that an operator
asks about, have one as well. :mod:`gateway.proxy.authorizer` sees no more of a request than this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authcore.credentials import CookieToken
    from authcore.permit import Permit
    from authcore.principal import Principal
    from gateway.limits.limit_reservation import LimitReservation
    from gateway.proxy.parsed_headers import ParsedHeaders
    from gateway.proxy.routes import Route
    from gateway.proxy.target import Target
    from gateway.wire.messages import RequestHead


class DecisionContext:
    """Decision context of one request. A field is None until its phase has run.

    Attributes:
        head: The request's head; if another proxy describes the request, the described head.
        own_id: The gateway's id of the request, 32 hexadecimal digits.
        request_id: The id for logs and clients: a trusted peer's, else the same.
        parsed: The parsed field lines.
        target: The canonical path, and the bytes to forward.
        route: The matched route.
        credential: The kind of credential that counted; empty if none was looked for.
        cookie: The cookie that counted, if there were several; else None.
        decision: The endpoint that another proxy asked; empty for a forwarded or explained request.
        principal: The proven caller, if a credential was looked for.
        permit: The proof that the caller may do this.
        started: Monotonic seconds at the beginning.
        waited: The decision waited for a Task, as memory did not answer.
        hold: What it has taken of its route's limits; None where the route has none, or its phase has not run.
        shadowed: The refusal that applies if the route's rule is enforced; None if there is none or it is enforced.
    """

    __slots__ = (
        "cookie",
        "credential",
        "decision",
        "head",
        "hold",
        "own_id",
        "parsed",
        "permit",
        "principal",
        "request_id",
        "route",
        "shadowed",
        "started",
        "target",
        "waited",
    )

    def __init__(self, head: RequestHead, request_id: bytes, started: float) -> None:
        self.head = head
        self.started = started
        self.waited = False
        self.hold: LimitReservation | None = None
        self.own_id = self.request_id = request_id
        self.parsed: ParsedHeaders | None = None
        self.target: Target | None = None
        self.route: Route | None = None
        self.principal: Principal | None = None
        self.permit: Permit | None = None
        self.credential = self.decision = ""
        self.cookie: CookieToken | None = None
        self.shadowed: Exception | None = None
