"""Share of an upstream's capacity that the uploads of one client network may hold.

A request is sent on while its body comes, so that bodies of any size pass in constant memory. A client that sends its
bodies slowly thus holds connections, and places in the breaker's bounds. Laws:

- Requests of one network whose bodies are still coming are at most half of what the upstream can have at work. One more
  is refused, so that other clients get the other half.
- A request whose body has come whole counts no longer, however long its answer takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authcore.networks import network
from gateway.proxy.traffic_faults import TooManyUploads

if TYPE_CHECKING:
    from gateway.wire.inbound import Inbound

_SHARE: Final = 2
"""The part of the capacity that one network has: one in so many."""


class Uploads:
    """Requests to one upstream whose bodies were still coming when they were sent on, by client network."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[str, set[Inbound]] = {}

    def begin(self, inbound: Inbound, client: str, capacity: int) -> Upload:
        """Count an upload; its end is counted by :meth:`Upload.over`.

        Args:
            inbound: The request.
            client: The client's address.
            capacity: Most requests that the upstream can have at work.

        Raises:
            TooManyUploads: the client's network has its share of them at work.
        """
        place = network(client)
        coming = self._of.setdefault(place, set())
        most = max(1, capacity // _SHARE)
        if len(coming) >= most:
            coming.difference_update([one for one in coming if one.complete])
            if len(coming) >= most:
                raise TooManyUploads("the client's network has too many uploads at work")
        coming.add(inbound)
        return Upload(self, place, inbound)

    def end(self, place: str, inbound: Inbound) -> None:
        """Count an upload off."""
        coming = self._of.get(place)
        if coming is not None:
            coming.discard(inbound)
            if not coming:
                del self._of[place]


class Upload:
    """Counted upload of one client network."""

    __slots__ = ("_inbound", "_place", "_uploads")

    def __init__(self, uploads: Uploads, place: str, inbound: Inbound) -> None:
        self._uploads = uploads
        self._place = place
        self._inbound = inbound

    def over(self) -> None:
        """Count the upload off."""
        self._uploads.end(self._place, self._inbound)
