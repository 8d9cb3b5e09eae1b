"""A trace context as W3C's recommendation shows it."""

from __future__ import annotations

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


VALID = f"00-{TRACE}-{PARENT}-01"
