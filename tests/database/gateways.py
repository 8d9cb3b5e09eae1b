"""A gateway and its store, asked from outside while the database behind them changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.calls import ask, bearer, get, post
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from authcore.store.postgres import PostgresStore
    from gateway.app import Gateway

PATH = "/api/contacts"


async def status_of_sign_in(gateway: Gateway, email: str = "admin@example.com") -> int:
    body = {"email": email, "password": PASSWORD}
    return (await ask(gateway, post("/api/auth/login", body))).status


async def status_of(gateway: Gateway, token: str) -> int:
    return (await ask(gateway, get(PATH, bearer(token)))).status


def value(store: PostgresStore, name: str) -> float:
    return next(figure.read() for figure in store.figures() if figure.name == name)
