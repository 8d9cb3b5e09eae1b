"""Security fields: each answer of the gateway's own has them once, and an upstream's answer has the upstream's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.security_fields import SECURITY_FIELDS
from tests.support.calls import ask, bearer, get, post
from tests.support.operations import DOCUMENT, PAGE
from tests.support.peers import read_head
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    import asyncio

    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import World

OWN = {
    "no credential": (get("/api/contacts"), 401),
    "no token": (get("/api/contacts", "Authorization: Bearer x.y.z"), 401),
    "two hosts": (b"GET /api/contacts HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "a body that is no form": (post("/api/auth/login", [1]), 400),
    "a wrong password": (post("/api/auth/login", {"email": "agent@example.com", "password": "wrong"}), 401),
    "a sign-in": (post("/api/auth/login", {"email": "agent@example.com", "password": PASSWORD}), 200),
    "the document": (get(DOCUMENT), 200),
    "the keys": (get("/.well-known/jwks.json"), 200),
}


def told(answer: Message) -> dict[str, list[str]]:
    return {field: answer.all(field) for field, _ in SECURITY_FIELDS}


@pytest.mark.parametrize("name", OWN)
async def test_an_answer_of_the_gateway_has_each_once(gate: Gateway, name: str) -> None:
    raw, status = OWN[name]
    answer = await ask(gate, raw)
    assert answer.status == status
    assert told(answer) == {field: [value] for field, value in SECURITY_FIELDS}


async def test_a_page_of_the_gateway_keeps_its_stricter_ones(gate: Gateway) -> None:
    page = await ask(gate, get(PAGE))
    assert page.status == 200
    assert told(page) == {field: [value] for field, value in SECURITY_FIELDS} | {
        "Referrer-Policy": ["no-referrer"]
    }


async def test_an_upstreams_answer_has_the_upstreams_own(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nX-Frame-Options: SAMEORIGIN\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()

    upstream.script = answering
    answer = await ask(gate, get("/api/contacts", bearer(world.token(world.agent))))
    assert answer.status == 200
    assert told(answer) == {field: [] for field, _ in SECURITY_FIELDS} | {"X-Frame-Options": ["SAMEORIGIN"]}
