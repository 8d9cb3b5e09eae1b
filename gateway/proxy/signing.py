"""Signed-identity header: it adds the signer's JWT to forwarded requests, for upstreams that demand proof."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from authcore.identity_headers import SIGNED
from authcore.principal import ANONYMOUS
from gateway.proxy.target import canonical_path

if TYPE_CHECKING:
    from authcore.permit import Permit
    from authcore.tokens.identity_signer import IdentitySigner
    from gateway.proxy.decision_context import DecisionContext
    from gateway.proxy.routes import Route


class Signing:
    """Signer of forwarded requests."""

    def __init__(self, signer: IdentitySigner, name: str) -> None:
        """Sign with `signer`, in the field called `name`."""
        self._signer = signer
        self._name = name.encode("ascii")

    def line(self, context: DecisionContext, route: Route, permit: Permit, sent: bytes) -> bytes:
        """Return the line for a request whose target is `sent`; empty for an anonymous one, or if none is sent."""
        principal, target = permit.principal, context.target
        if principal is ANONYMOUS or route.internal or target is None or SIGNED in route.withheld:
            return b""
        # Sign the rewritten path: the upstream verifies the path that it receives, not the client's.
        path = target.path if sent is target.forwarded else canonical_path(sent.partition(b"?")[0])
        return b"%b: %b\r\n" % (
            self._name,
            self._signer.sign(
                principal, route.upstream.name, context.head.method, path, context.request_id, time.time()
            ),
        )
