from __future__ import annotations

from tests.flow.conftest import start, upstream, world

__all__ = ["start", "upstream", "world"]
