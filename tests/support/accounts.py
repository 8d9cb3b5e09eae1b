"""Requests about accounts: sign-in, registration by an invitation, API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.calls import ask, bearer, get, granted, post
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import World

HOME = "192.0.2.1"
"""The address where a test's user is at home."""


def login_from(address: str, password: str = PASSWORD, email: str = "agent@example.com") -> bytes:
    """A sign-in from the address, by the word of a trusted proxy."""
    return post("/api/auth/login", {"email": email, "password": password}, f"X-Forwarded-For: {address}")


async def new_invitation(gate: Gateway, world: World, **fields: object) -> str:
    """Have the world's admin make an invitation; return its token."""
    made = await granted(gate, post("/api/auth/invitations", fields, bearer(world.token(world.admin))))
    return str(made["invitation"])


def register_by(invitation: str, **fields: object) -> bytes:
    """A registration by an invitation."""
    newcomer = {"email": "new@example.com", "password": "securepassword123", "full_name": "New"}
    return post("/api/auth/register", {**newcomer, "invitation": invitation, **fields})


KEYS = "/api/api-keys"


async def key_works(gate: Gateway, key: str) -> bool:
    """True if the API key lets a request in."""
    return (await ask(gate, get("/api/contacts", f"X-API-Key: {key}"))).status == 200


async def sign_in(gate: Gateway, name: str = "agent", *lines: str, **more: object) -> dict[str, Any]:
    """Sign a user of the world in; return the answer with its pair of tokens."""
    body = {"email": f"{name}@example.com", "password": PASSWORD, **more}
    return await granted(gate, post("/api/auth/login", body, *lines))
