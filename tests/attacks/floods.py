"""A flood of registrations from one address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.calls import post

if TYPE_CHECKING:
    from tests.support.worlds import World

FLOOD = "198.51.100.7"


FLOODING = "the flooding password"


def registration(world: World, number: int, address: str = FLOOD, **more: str) -> bytes:
    fields = {"email": f"new{number}@example.com", "full_name": "N", "organization_id": str(world.home)}
    content = {**fields, "password": FLOODING, **more}
    return post("/api/auth/register", content, f"X-Forwarded-For: {address}")
