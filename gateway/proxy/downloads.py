"""Answers of one upstream that flow on, and which of them gives way when a request finds no room.

An answer is relayed while it comes, so that answers of any size pass in constant memory. A client that reads slowly
thus holds a connection, and a place in the breaker's bounds, for as long as it likes. Laws:

- An answer gives way only when a request finds no connection or place, and only one that its client does not take.
- It is one of the network that has most of these, if that has more than its share of the capacity: the oldest of them.
- While there is room, an answer may be taken as slowly as ``GATEWAY_TIMEOUT_WRITE_SECONDS`` allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.networks import network
from gateway.wire.inbound import ClientDisplaced

if TYPE_CHECKING:
    from gateway.proxy.exchange import Exchange

_SHARE: Final = 8
"""The part of the capacity that one network may hold in any case: one in so many."""


class Downloads:
    """Exchanges with one upstream whose answers flow on, in the order in which they began, with their networks."""

    __slots__ = ("_networks",)

    def __init__(self) -> None:
        self._networks: dict[Exchange, str] = {}

    def __len__(self) -> int:
        return len(self._networks)

    def begin(self, exchange: Exchange) -> None:
        """Count an answer that is not complete; its end is counted by :meth:`end`."""
        parsed = exchange.parsed
        if parsed is not None:
            self._networks[exchange] = network(parsed.origin.client)

    def end(self, exchange: Exchange) -> None:
        """Count an answer off, if it was counted."""
        self._networks.pop(exchange, None)

    def give_way(self, capacity: int) -> None:
        """Break off one answer that its client does not take, if one network has more of these than its share.

        Args:
            capacity: Most requests that the upstream can have at work.
        """
        share = capacity // _SHARE
        if len(self._networks) <= share:
            return
        untaken: dict[str, list[Exchange]] = {}
        for exchange, its_network in self._networks.items():
            if exchange.inbound.connection.full:
                untaken.setdefault(its_network, []).append(exchange)
        most = max(untaken.values(), key=len, default=[])
        if len(most) > share:
            inbound = most[0].inbound
            inbound.reset()
            inbound.connection.throw(
                ClientDisplaced(
                    "other requests wait for the upstream, and the client does not take its answer"
                )
            )
