"""Choice of a released connection: whether the exchange that waits for one takes it.

Law: an endpoint that is new, or is back, gets connections although the pool is full. Without that it would get none, as
every released connection leads to another endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.wire.endpoint import Endpoint
    from gateway.wire.upstream import UpstreamConnection

_FEWER: Final = 2
"""An endpoint has far fewer connections than another one if it has so many times fewer."""


def is_alive(released: UpstreamConnection) -> bool:
    """Return whether the upstream has not closed a connection that was released, and is not expected to."""
    return released.is_lasting(doubtful=False) and released.is_silent


def suits(released: UpstreamConnection, endpoint: Endpoint | None, *, only_that_endpoint: bool) -> bool:
    """Return whether an exchange that asks for `endpoint` takes a connection that was released by another exchange.

    If not, the pool closes the connection and opens one to `endpoint` in its place.
    """
    there = released.endpoint
    if endpoint is None or there is None or there is endpoint:
        return True
    if only_that_endpoint or not there.available:
        return False
    return (endpoint.open + endpoint.dialling) * _FEWER >= there.open
