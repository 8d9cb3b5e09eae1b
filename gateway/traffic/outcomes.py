"""Outcomes of attempts: how an exchange with an endpoint went, as observers of a cluster learn it.

Connections that are opened, or cannot be, are counted for each dial and not for each attempt: the dialler itself
reports them to the watch (:mod:`gateway.traffic.watch`).
"""

from __future__ import annotations

from typing import Final

ANSWERED: Final = 0
"""The final head of a response came; its status is stated besides."""
RESET: Final = 1
"""The connection ended before the response had, or what came was no HTTP."""
TIMED_OUT: Final = 2
"""The endpoint was silent for longer than it may be."""
