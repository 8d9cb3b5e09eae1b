"""State table of a client connection (:mod:`gateway.wire.downstream`).

The numbers are in an order that the code compares by: up to SERVING received bytes are parsed, up to REFUSING queued
requests are served, and from LINGERING on nothing is.
"""

from __future__ import annotations

from typing import Final

from gateway.wire.states import StateTable

NEW: Final = 0
"""There is no transport yet."""
IDLE: Final = 1
"""No request has begun, and none is being served. Requests that are queued wait for the client to take answers."""
HEAD: Final = 2
"""A request's head has begun to arrive, and no request is being served."""
SERVING: Final = 3
"""A request is being served. Its body, and further requests, may arrive meanwhile."""
REFUSING: Final = 4
"""A request was malformed, over a limit or late. Received bytes are dropped, and it is the last that is served."""
SWITCHED: Final = 5
"""The transport was given to a tunnel."""
LINGERING: Final = 6
"""The last answer and the end of the stream are written. Received bytes are dropped, so that no reset destroys them."""
CLOSING: Final = 7
"""The transport is being closed, or was dropped."""
CLOSED: Final = 8
"""The transport is gone."""

OPENED: Final = 0
"""The transport is there."""
BEGIN: Final = 1
"""A head has begun to arrive."""
SERVE: Final = 2
"""The next request in the queue is served."""
ANSWERED: Final = 3
"""Its answer is written, and the connection is used on."""
REFUSE: Final = 4
"""A request was malformed, over a limit or late."""
SWITCH: Final = 5
"""A 101 was written."""
LINGER: Final = 6
"""The connection closes, and the client may still be sending."""
CLOSE: Final = 7
"""The connection closes when what was written has left."""
DROP: Final = 8
"""The connection is given up at once, or the client has ended its stream."""
LOST: Final = 9
"""The transport is gone."""
QUEUE: Final = 10
"""The head is complete, and its request waits for the client to take answers."""

DOWNSTREAM: Final = StateTable(
    "new idle head serving refusing switched lingering closing closed",
    "opened begin serve answered refuse switch linger close drop lost queue",
    {
        NEW: {OPENED: IDLE},
        IDLE: {
            BEGIN: HEAD,
            SERVE: SERVING,
            REFUSE: REFUSING,
            CLOSE: CLOSING,
            DROP: CLOSING,
            LOST: CLOSED,
        },
        HEAD: {QUEUE: IDLE, SERVE: SERVING, REFUSE: REFUSING, DROP: CLOSING, LOST: CLOSED},
        SERVING: {
            ANSWERED: IDLE,
            REFUSE: REFUSING,
            SWITCH: SWITCHED,
            LINGER: LINGERING,
            CLOSE: CLOSING,
            DROP: CLOSING,
            LOST: CLOSED,
        },
        REFUSING: {
            SERVE: REFUSING,
            ANSWERED: REFUSING,
            LINGER: LINGERING,
            CLOSE: CLOSING,
            DROP: CLOSING,
            LOST: CLOSED,
        },
        # A tunnel ends both transports itself: the connection closes only if the exchange failed before there was one.
        SWITCHED: {CLOSE: CLOSING, DROP: SWITCHED, LOST: CLOSED},
        LINGERING: {DROP: CLOSING, LOST: CLOSED},
        CLOSING: {DROP: CLOSING, LOST: CLOSED},
        CLOSED: {},
    },
)
