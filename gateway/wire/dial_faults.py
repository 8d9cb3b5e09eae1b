"""Table of errors in opening a connection to an upstream: it maps each to the fault that its exchange ends with."""

from __future__ import annotations

import ssl
from typing import Final

from gateway.wire.descriptors import NO_ROOM
from gateway.wire.faults import DescriptorsExhausted, UpstreamNotConnected, UpstreamUnreachable
from gateway.wire.tls import upstream_fault

NO_DESCRIPTOR: Final = "the process has no file descriptor left for a connection to the upstream"


def dial_fault(error: OSError, unresolved: str) -> Exception:
    """Return the fault of a dial that ended with `error`.

    Args:
        error: What the event loop, OpenSSL or the resolver raised.
        unresolved: The name whose address no name server has given so far; empty if there is none.

    Returns:
        An UpstreamFault, or DescriptorsExhausted.
    """
    if isinstance(error, ssl.SSLError):
        return upstream_fault(error)
    if isinstance(error, TimeoutError):
        if unresolved:
            return UpstreamNotConnected(f"no name server answered for {unresolved} in time")
        return UpstreamNotConnected("the upstream did not accept a connection in time")
    if error.errno in NO_ROOM:
        return DescriptorsExhausted(NO_DESCRIPTOR)
    words = error.strerror or str(error) or type(error).__name__
    return UpstreamUnreachable(f"the upstream cannot be reached: {words}")
