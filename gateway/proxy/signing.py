"""The field line that carries a signed identity, for upstreams that want more than the gateway's word for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from authcore.identity_headers import SIGNED
from authcore.principal import ANONYMOUS
from gateway.proxy.target import canonical_path

if TYPE_CHECKING:
    from authcore.identity_signer import IdentitySigner
    from authcore.principal import Permit
    from gateway.proxy.question import Question
    from gateway.proxy.routes import Route


class Signing:
    """Signs what is forwarded."""

    def __init__(self, signer: IdentitySigner, name: str) -> None:
        """Sign by `signer`, in the field called `name`."""
        self._signer = signer
        self._name = name.encode("ascii")

    def line(self, question: Question, route: Route, permit: Permit, sent: bytes) -> bytes:
        """Return the line for a request whose target is `sent`; none for nobody, and where none is to be sent."""
        principal, target = permit.principal, question.target
        if principal is ANONYMOUS or route.internal or target is None or SIGNED in route.withheld:
            return b""
        # Rewritten, the path is another than the one that was decided on: the upstream can only know its own.
        path = target.path if sent is target.forwarded else canonical_path(sent.partition(b"?")[0])
        return b"%b: %b\r\n" % (
            self._name,
            self._signer.sign(
                principal, route.upstream.name, question.head.method, path, question.request_id, time.time()
            ),
        )
