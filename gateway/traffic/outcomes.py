"""Outcomes of attempts: how an exchange with an endpoint went, as observers of a cluster learn it."""

from __future__ import annotations

from typing import Final

ANSWERED: Final = 0
"""The final head of a response came; its status is stated besides."""
UNREACHED: Final = 1
"""No connection could be opened, or not before one to another endpoint; counted for each dial, not for each request."""
RESET: Final = 2
"""The connection ended before the response had, or what came was no HTTP."""
TIMED_OUT: Final = 3
"""The endpoint was silent for longer than it may be."""

REACHED: Final = 4
"""A connection was opened; counted as UNREACHED is."""

NAMES: Final = ("answered", "unreached", "reset", "timed_out", "reached")
"""The outcomes' words in logs and metrics, by number."""
