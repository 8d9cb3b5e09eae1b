"""Exchange: one request on its way through the gateway, and everything learnt about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.proxy.decision_context import DecisionContext

if TYPE_CHECKING:
    from gateway.proxy.admission import Admission
    from gateway.proxy.delivery import Delivered
    from gateway.proxy.head_size_report import Growth
    from gateway.proxy.streams import Stream
    from gateway.proxy.uploads import Upload
    from gateway.wire.inbound import Inbound


class Exchange(DecisionContext):
    """Exchange of one request: its decision context, and what came of it.

    Attributes:
        inbound: The request as it arrives and the answer as it leaves.
        decided: Monotonic seconds when the caller was let through; 0 when it has not been.
        sent: The same when the request was sent, for the first time; 0 when it was not.
        headed: The same when the final head of the upstream's answer came; 0 when it has not.
        ended: The same when all of it had come; 0 when that was later than its head, or has not been.
        cors: The field lines that the policy of its route adds to the answer; empty where there is none.
        status: Status of the answer; 499 when the client left before there was one.
        reason: Why it was refused, as a bounded word; empty when it was not.
        detail: The same for people, in logs only.
        blame: Who failed it, ``upstream`` or ``gateway``; empty when nobody did
            (:mod:`gateway.proxy.fault_attribution`).
        admission: Who reads the first message of its WebSocket; None where nobody does.
        attempts: How often a connection to the upstream was used for it.
        head_refused: The upstream may have refused it for the size of its head.
        stream: Its body, or its answer's, while that flows; None for what was complete at once.
        delivered: What its route's traffic policy did with it; None if nothing.
        upload: Its count among its network's uploads; None if its body was there when it was sent on.
        growth: By how much its head grew here; None where it is not reported.
    """

    __slots__ = (
        "admission",
        "attempts",
        "blame",
        "cors",
        "decided",
        "delivered",
        "detail",
        "ended",
        "growth",
        "head_refused",
        "headed",
        "inbound",
        "reason",
        "sent",
        "status",
        "stream",
        "upload",
    )

    def __init__(self, inbound: Inbound, request_id: bytes, started: float) -> None:
        super().__init__(inbound.head, request_id, started)
        self.inbound = inbound
        self.admission: Admission | None = None
        self.decided = self.sent = self.headed = self.ended = 0.0
        self.cors = b""
        self.status = 0
        self.reason = ""
        self.detail = ""
        self.blame = ""
        self.attempts = 0
        self.head_refused = False
        self.stream: Stream | None = None
        self.growth: Growth | None = None
        self.upload: Upload | None = None
        self.delivered: Delivered | None = None
