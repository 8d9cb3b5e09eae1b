"""Exchange: one request on its way through the gateway, and everything learnt about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authcore.principal import Permit
    from gateway.proxy.reading import Reading
    from gateway.proxy.routes import Route
    from gateway.proxy.target import Target
    from gateway.wire.inbound import Inbound


class Exchange:
    """One object per request; a field is None until its phase has run.

    Attributes:
        inbound: The request as it arrives and the answer as it leaves.
        request_id: Its id: a trusted peer's, else one of the gateway's.
        started: Monotonic seconds at the beginning.
        reading: What its field lines say.
        target: Its canonical path and the bytes to forward.
        route: What matched.
        permit: The proof that the caller may.
        status: Status of the answer; 499 when the client left before there was one.
        reason: Why it was refused, as a bounded word; empty when it was not.
        detail: The same for people, in logs only.
        attempts: How often a connection to the upstream was used for it.
    """

    __slots__ = (
        "attempts",
        "detail",
        "inbound",
        "permit",
        "reading",
        "reason",
        "request_id",
        "route",
        "started",
        "status",
        "target",
    )

    def __init__(self, inbound: Inbound, request_id: bytes, started: float) -> None:
        self.inbound = inbound
        self.request_id = request_id
        self.started = started
        self.reading: Reading | None = None
        self.target: Target | None = None
        self.route: Route | None = None
        self.permit: Permit | None = None
        self.status = 0
        self.reason = ""
        self.detail = ""
        self.attempts = 0
