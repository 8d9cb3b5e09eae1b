"""Attacks are made against the gateway that the flows are tested on."""

from __future__ import annotations

from tests.flow.conftest import client, gateway, start, upstream, world

__all__ = ["client", "gateway", "start", "upstream", "world"]
