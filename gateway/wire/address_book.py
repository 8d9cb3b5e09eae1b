"""Address book of one upstream: its endpoints, as the names in its URLs resolve.

Laws:

- Each address of each name is an endpoint. It stays the same object for as long as the name has the address, and when
  an upstream is led elsewhere by another configuration, for as long as that leads there, too.
- When a name moves, the connections to addresses that it no longer has end: unused ones at once, the others when their
  exchange has ended. When it has more addresses, so many connections end likewise that none has more than its share.
- So do the connections to endpoints whose weight becomes 0: these get no new requests.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from gateway.wire.endpoint import Endpoint
from gateway.wire.resolver import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.wire.endpoint import Authority
    from gateway.wire.resolver import Resolver


class _AddressEntry:
    """An authority, and the endpoints that are known of it by their address."""

    __slots__ = ("authority", "known", "unfollow")

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        written = literal(authority.host)
        self.known = {} if written is None else {written: Endpoint(authority, written)}
        self.unfollow: Callable[[], None] | None = None


class AddressBook:
    """Address book of one upstream.

    Attributes:
        retire: Called with an endpoint and a number: so many connections to it, or all (None), are not used again.
        changed: Called with the endpoints when there are others than before, or their weights may be others.
    """

    def __init__(self, authorities: Sequence[Authority], resolver: Resolver | None = None) -> None:
        """Create a book of the addresses in `authorities`; without `resolver`, names have none."""
        self._resolver = resolver
        self._following = False
        self._places = [_AddressEntry(authority) for authority in authorities]
        self.retire: Callable[[Endpoint, int | None], None] = lambda _endpoint, _most: None
        self.changed: Callable[[list[Endpoint]], None] = lambda _endpoints: None

    def follow(self) -> None:
        """Follow the names from now on."""
        self._following = True
        if self._resolver is None:
            return
        for place in self._places:
            if place.unfollow is None and literal(place.authority.host) is None:
                place.unfollow = self._resolver.follow(place.authority.host, partial(self._moved, place))

    def lead_to(self, authorities: Sequence[Authority]) -> None:
        """Lead to `authorities` from now on. Endpoints of an equal authority stay, with their connections."""
        before, self._places = self._places, []
        for authority in authorities:
            place = next((one for one in before if one.authority == authority), None)
            if place is None:
                place = _AddressEntry(authority)
            else:
                before.remove(place)
                place.authority = authority
                for endpoint in place.known.values():
                    endpoint.belong(authority)
                    if not endpoint.weight:
                        self.retire(endpoint, None)
            self._places.append(place)
        for place in before:
            self._leave(place)
            for endpoint in place.known.values():
                self.retire(endpoint, None)
        self.changed(self.every())
        if self._following:
            self.follow()

    def close(self) -> None:
        """Follow the names no longer."""
        for place in self._places:
            self._leave(place)

    @staticmethod
    def _leave(place: _AddressEntry) -> None:
        if place.unfollow is not None:
            place.unfollow()
            place.unfollow = None

    def every(self) -> list[Endpoint]:
        """Return the endpoints that are known now."""
        return [endpoint for place in self._places for endpoint in place.known.values()]

    def serving(self) -> list[Endpoint]:
        """Return those of them that get requests: all but those of weight 0."""
        return [endpoint for endpoint in self.every() if endpoint.weight]

    @property
    def awaited(self) -> str:
        """The names that no address is known of; empty if there is an address that gets requests."""
        if self.serving():
            return ""
        return ", ".join(dict.fromkeys(place.authority.host for place in self._places))

    async def found(self) -> None:
        """Wait until an address is known of any name whose addresses get requests."""
        resolver = self._resolver
        if resolver is None:
            raise ConnectionRefusedError("names are not looked up")
        lookups: dict[asyncio.Future[tuple[str, ...]], _AddressEntry] = {
            asyncio.ensure_future(resolver.resolve(place.authority.host)): place
            for place in self._places
            if place.authority.weight
        }
        waiting = set(lookups)
        refusal: BaseException | None = None
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                refusals = {lookup: lookup.exception() for lookup in done}
                for lookup, refusal in refusals.items():
                    if refusal is None:
                        place = lookups[lookup]
                        if not place.known and place in self._places:
                            self._moved(place, lookup.result())
                        return
        finally:
            for lookup in waiting:
                lookup.cancel()
        raise refusal or ConnectionRefusedError("no endpoint")

    def _moved(self, place: _AddressEntry, addresses: tuple[str, ...]) -> None:
        """Take the present addresses of a name for those that it had."""
        before = place.known
        place.known = {
            address: before[address] if address in before else Endpoint(place.authority, address)
            for address in addresses
        }
        for address, endpoint in before.items():
            if address not in place.known:
                self.retire(endpoint, None)
        if before.keys() != place.known.keys():
            self.changed(self.every())
        if any(address not in before for address in addresses):
            self._share()

    def _share(self) -> None:
        """End the connections above each endpoint's share, rounded down: those opened instead go to the new ones."""
        every = self.serving()
        most = sum(endpoint.open for endpoint in every) // max(len(every), 1)
        for endpoint in every:
            if endpoint.open > most:
                self.retire(endpoint, endpoint.open - most)
