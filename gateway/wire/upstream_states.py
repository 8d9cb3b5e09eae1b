"""State table of an upstream connection (:mod:`gateway.wire.upstream`).

Two things go on at a time, the request out and the response in, so most states name both. The numbers are in an order
that the code compares by: from OFFERING to RECEIVING the bytes of a response are expected.
"""

from __future__ import annotations

from typing import Final

from gateway.wire.states import StateTable

NEW: Final = 0
"""There is no transport yet."""
IDLE: Final = 1
"""No exchange has begun: the connection is in its pool, or was just lent."""
OFFERING: Final = 2
"""The request's head is written. The upstream is to say whether it wants the body (RFC 9110 section 10.1.1)."""
SENDING: Final = 3
"""The request's body is being written. There is no final head."""
AWAITING: Final = 4
"""The request is written. There is no final head."""
EARLY: Final = 5
"""The response's body is arriving, and the request is not written to its end."""
RECEIVING: Final = 6
"""The response's body is arriving, and the request is written."""
SPENT: Final = 7
"""The response has ended, and the request is not written to its end."""
DONE: Final = 8
"""Request and response have ended."""
SWITCHED: Final = 9
"""The transport was given to a tunnel."""
BROKEN: Final = 10
"""The transport was dropped in the middle of an exchange, which hears of it when the transport is gone."""
CLOSING: Final = 11
"""The transport was dropped, and no exchange waits."""
CLOSED: Final = 12
"""The transport is gone."""

OPENED: Final = 0
"""The transport is there."""
ASK: Final = 1
"""A whole request is written."""
ASK_PART: Final = 2
"""A request without the end of its body is written."""
OFFER: Final = 3
"""A request's head is written, and its body waits for a 100."""
PIECE: Final = 4
"""A piece of the request's body is written."""
SENT: Final = 5
"""The end of the request's body is written."""
INTERIM: Final = 6
"""An interim head has arrived."""
ANSWER: Final = 7
"""The final head has arrived, and its body has not ended."""
END: Final = 8
"""The response has ended."""
REST: Final = 9
"""The connection goes back to its pool."""
SWITCH: Final = 10
"""A 101 was taken."""
DROP: Final = 11
"""The connection is given up at once."""
LOST: Final = 12
"""The transport is gone."""

UPSTREAM: Final = StateTable(
    "new idle offering sending awaiting early receiving spent done switched broken closing closed",
    "opened ask ask_part offer piece sent interim answer end rest switch drop lost",
    {
        NEW: {OPENED: IDLE},
        # A dial whose exchange has gone meanwhile brings a connection that rests before it was ever asked.
        IDLE: {
            ASK: AWAITING,
            ASK_PART: SENDING,
            OFFER: OFFERING,
            REST: IDLE,
            DROP: CLOSING,
            LOST: CLOSED,
        },
        OFFERING: {
            PIECE: SENDING,
            SENT: AWAITING,
            INTERIM: SENDING,
            ANSWER: EARLY,
            END: SPENT,
            DROP: BROKEN,
            LOST: CLOSED,
        },
        SENDING: {PIECE: SENDING, SENT: AWAITING, ANSWER: EARLY, END: SPENT, DROP: BROKEN, LOST: CLOSED},
        AWAITING: {ANSWER: RECEIVING, END: DONE, SWITCH: SWITCHED, DROP: BROKEN, LOST: CLOSED},
        EARLY: {PIECE: EARLY, SENT: RECEIVING, END: SPENT, DROP: BROKEN, LOST: CLOSED},
        RECEIVING: {END: DONE, DROP: BROKEN, LOST: CLOSED},
        SPENT: {PIECE: SPENT, SENT: DONE, DROP: CLOSING, LOST: CLOSED},
        DONE: {REST: IDLE, DROP: CLOSING, LOST: CLOSED},
        SWITCHED: {DROP: SWITCHED, LOST: CLOSED},
        BROKEN: {DROP: BROKEN, LOST: CLOSED},
        CLOSING: {DROP: CLOSING, LOST: CLOSED},
        CLOSED: {},
    },
)
