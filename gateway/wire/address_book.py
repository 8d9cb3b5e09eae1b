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

from gateway.wire.dns_client import LookupFailed
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
        self._entries = [_AddressEntry(authority) for authority in authorities]
        self.retire: Callable[[Endpoint, int | None], None] = lambda _endpoint, _most: None
        self.changed: Callable[[list[Endpoint]], None] = lambda _endpoints: None

    def follow(self) -> None:
        """Follow the names from now on."""
        self._following = True
        if self._resolver is None:
            return
        for entry in self._entries:
            if entry.unfollow is None and literal(entry.authority.host) is None:
                entry.unfollow = self._resolver.follow(entry.authority.host, partial(self._moved, entry))

    def lead_to(self, authorities: Sequence[Authority]) -> None:
        """Lead to `authorities` from now on. Endpoints of an equal authority stay, with their connections."""
        before, self._entries = self._entries, []
        for authority in authorities:
            entry = next((one for one in before if one.authority == authority), None)
            if entry is None:
                entry = _AddressEntry(authority)
            else:
                before.remove(entry)
                entry.authority = authority
                for endpoint in entry.known.values():
                    endpoint.belong(authority)
                    if not endpoint.weight:
                        self.retire(endpoint, None)
            self._entries.append(entry)
        for entry in before:
            self._leave(entry)
            for endpoint in entry.known.values():
                self.retire(endpoint, None)
        self.changed(self.every())
        if self._following:
            self.follow()

    def close(self) -> None:
        """Follow the names no longer."""
        for entry in self._entries:
            self._leave(entry)

    @staticmethod
    def _leave(entry: _AddressEntry) -> None:
        if entry.unfollow is not None:
            entry.unfollow()
            entry.unfollow = None

    def every(self) -> list[Endpoint]:
        """Return the endpoints that are known now."""
        return [endpoint for entry in self._entries for endpoint in entry.known.values()]

    def serving(self) -> list[Endpoint]:
        """Return those of them that get requests: all but those of weight 0."""
        return [endpoint for endpoint in self.every() if endpoint.weight]

    @property
    def awaited(self) -> str:
        """The names that no address is known of; empty if there is an address that gets requests."""
        if self.serving():
            return ""
        return ", ".join(dict.fromkeys(entry.authority.host for entry in self._entries))

    async def found(self) -> None:
        """Wait until an address is known of any name whose addresses get requests."""
        resolver = self._resolver
        if resolver is None:
            raise ConnectionRefusedError("names are not looked up")
        waiting = {
            asyncio.ensure_future(self._look_up(resolver, entry))
            for entry in self._entries
            if entry.authority.weight
        }
        refusals: list[LookupFailed] = []
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                refusals = [refusal for lookup in done if (refusal := lookup.result()) is not None]
                if len(refusals) < len(done):
                    return
        finally:
            for lookup in waiting:
                lookup.cancel()
        if not refusals:
            raise ConnectionRefusedError("no endpoint")
        # A new one: this frame refers to those, and the traceback of what is raised refers to the frame.
        raise type(refusals[-1])(refusals[-1].words)

    async def _look_up(self, resolver: Resolver, entry: _AddressEntry) -> LookupFailed | None:
        """Look a name up, and take its addresses; return why there are none."""
        try:
            addresses = await resolver.resolve(entry.authority.host)
        except LookupFailed as refusal:
            return refusal.with_traceback(None)
        if not entry.known and entry in self._entries:
            self._moved(entry, addresses)
        return None

    def _moved(self, entry: _AddressEntry, addresses: tuple[str, ...]) -> None:
        """Take the present addresses of a name for those that it had."""
        before = entry.known
        entry.known = {
            address: before[address] if address in before else Endpoint(entry.authority, address)
            for address in addresses
        }
        for address, endpoint in before.items():
            if address not in entry.known:
                self.retire(endpoint, None)
        if before.keys() != entry.known.keys():
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
