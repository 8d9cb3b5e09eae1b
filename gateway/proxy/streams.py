"""Answers that end only when somebody ends them: event streams.

Law: only an answer that is whole at any point is ended early. A client of ``text/event-stream`` drops an event that has
not ended and asks for the next (WHATWG HTML, server-sent events); half a film must never look like a whole one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.wire.inbound import Inbound
    from gateway.wire.messages import ResponseHead

EVENTS: Final = b"text/event-stream"


class StreamEnded(Exception):
    """An event stream is to end where it is."""


class Stream:
    """One event stream on its way to a client."""

    __slots__ = ("_inbound",)

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound

    def leave(self) -> None:
        """End it, whole by its framing, so that the client takes it up elsewhere."""
        drive = self._inbound.connection.drive
        if drive is not None:
            drive.throw(StreamEnded("the gateway is stopping"))


def is_of_events(response: ResponseHead) -> bool:
    """Whether a response is an event stream; asked of long ones only, whose heads are not indexed by this name."""
    return any(
        name.lower() == b"content-type" and value.lower().startswith(EVENTS)
        for name, value in response.fields
    )
