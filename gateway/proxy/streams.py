"""Event streams (text/event-stream): long answers, which the gateway may end early when it stops.

Law: only an answer that is complete at any point is ended early. A client of ``text/event-stream`` drops an unfinished
event and asks for the next (WHATWG HTML, server-sent events); half a film must never look like a whole one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.wire.inbound import Inbound
    from gateway.wire.messages import ResponseHead

EVENTS: Final = b"text/event-stream"


class StreamEnded(Exception):
    """Thrown into an exchange to end its event stream where it is."""


class Stream:
    """Event stream on its way to a client."""

    __slots__ = ("_inbound",)

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound

    def leave(self) -> None:
        """End the stream, complete by its framing, so that the client reconnects elsewhere."""
        drive = self._inbound.connection.drive
        if drive is not None:
            drive.throw(StreamEnded("the gateway is stopping"))


def is_of_events(response: ResponseHead) -> bool:
    """Return whether a response is an event stream. It is called for long responses only: this name is not indexed."""
    return any(
        name.lower() == b"content-type" and value.lower().startswith(EVENTS)
        for name, value in response.fields
    )
