"""State tables of a tunnel and of its two ends (:mod:`gateway.wire.tunnel`, :mod:`gateway.wire.ends`)."""

from __future__ import annotations

from typing import Final

from gateway.wire.states import StateTable

NEW: Final = 0
"""No transports yet."""
OPEN: Final = 1
"""Bytes pass."""
HALF: Final = 2
"""One transport is gone; the other writes out its buffer."""
PARTING: Final = 3
"""The gateway closes the socket: both sides are sent a Close frame, and have time to answer."""
LAST: Final = 4
"""As PARTING, or given up, with one transport gone."""
OVER: Final = 5
"""Both transports are gone."""

JOIN: Final = 0
"""Both transports are there."""
PART: Final = 1
"""The gateway closes the socket."""
GONE: Final = 2
"""A transport is gone."""

TUNNEL: Final = StateTable(
    "new open half parting last over",
    "join part gone",
    {
        NEW: {JOIN: OPEN},
        OPEN: {PART: PARTING, GONE: HALF},
        HALF: {PART: LAST, GONE: OVER},
        PARTING: {GONE: LAST},
        LAST: {GONE: OVER},
        OVER: {},
    },
)

PASSING: Final = 0
"""Bytes that arrive here are written to the peer."""
FINISHED: Final = 1
"""This side has ended its stream; the peer is told so, and may still send."""
STOPPING: Final = 2
"""The socket is being closed. The peer gets its Close frame at the end of the present frame."""
CUT: Final = 3
"""As STOPPING; and this side has ended its stream. If that was in the middle of a frame, the frame never ends."""
PARTED: Final = 4
"""The peer has been sent its Close frame. Bytes that arrive here are dropped."""
SILENT: Final = 5
"""As PARTED; and this side has ended its stream."""

STOP: Final = 0
"""The gateway closes the socket."""
BETWEEN: Final = 1
"""The present frame has ended, if there was one."""
FIN: Final = 2
"""This side has ended its stream."""

TUNNEL_END: Final = StateTable(
    "passing finished stopping cut parted silent",
    "stop between fin",
    {
        PASSING: {STOP: STOPPING, FIN: FINISHED},
        FINISHED: {STOP: CUT, FIN: FINISHED},
        STOPPING: {BETWEEN: PARTED, FIN: CUT},
        CUT: {BETWEEN: SILENT, FIN: CUT},
        PARTED: {FIN: SILENT},
        SILENT: {FIN: SILENT},
    },
)
