"""Redirect to TLS: it answers requests that came without TLS with the same address by ``https://``.

Laws:

- It leads to the host that was asked for and nowhere else: Host decides, and what no host can be is refused before.
- Paths of ACME's HTTP challenge (RFC 8555 section 8.3) are served as any other request: its servers ask without TLS.
- Each request is recorded, and each connection closes after its answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from gateway.faults import BadRequest, GatewayFault
from gateway.proxy.exchange import Exchange
from gateway.proxy.refusals import answer_start, refuse
from gateway.proxy.target import parse_target
from gateway.tracing.context import OwnIds
from gateway.wire.messages import BodyKind

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.metrics import Metrics
    from gateway.proxy.record import Recorder
    from gateway.wire.inbound import Inbound

CHALLENGE: Final = "/.well-known/acme-challenge/"
HTTPS_PORT: Final = 443


class MovedToTls(GatewayFault):
    """The same request is answered by TLS (RFC 9110 section 15.4.9)."""

    status = 308
    reason = "moved_to_tls"

    def __init__(self, location: str) -> None:
        super().__init__("Use https://")
        self.headers = {"Location": location}


class Redirect:
    """Redirect of one plain port."""

    def __init__(
        self,
        serve: Callable[[Inbound], Coroutine[object, None, None]],
        recorder: Recorder,
        metrics: Metrics,
        port: int,
    ) -> None:
        """`serve` serves what is not redirected; `port` is where TLS is spoken."""
        self._serve = serve
        self._recorder = recorder
        self._metrics = metrics
        self._port = b"" if port == HTTPS_PORT else b":%d" % port
        self._ids = OwnIds()

    async def serve(self, inbound: Inbound) -> None:
        """Serve one request."""
        answer = self._answer_to(inbound)
        if answer is None:
            await self._serve(inbound)
            return
        exchange = Exchange(inbound, self._ids.next(), time.monotonic())
        fault = refuse(answer)
        exchange.status, exchange.reason = fault.status, fault.reason
        self._metrics.refused(fault.status, fault.reason)
        body = fault.body()
        pieces = [] if inbound.head.method == b"HEAD" else [body]
        start = answer_start(fault, exchange.request_id)
        inbound.answer(start, BodyKind.LENGTH, len(body), pieces=pieces, complete=True)
        self._recorder.record(exchange)

    def _answer_to(self, inbound: Inbound) -> Exception | None:
        """Return what a request is answered; None if it is served."""
        if inbound.fault is not None:
            return inbound.fault
        try:
            target = parse_target(inbound.head)
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with it is the answer
            return error
        if target.path.startswith(CHALLENGE):
            return None
        host = inbound.head.first.get(b"host", b"")
        name = host[: host.index(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
        if not name or target.path == "*":
            return BadRequest("Send a Host, and ask for a path; this port only leads to https://")
        return MovedToTls(
            (b"https://%b%b%b" % (name, self._port, target.forwarded)).decode("ascii", "replace")
        )
