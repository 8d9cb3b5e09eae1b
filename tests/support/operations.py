"""Hosted operations: their description, their routes, and a caller that holds every answer against the description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from jsonschema import Draft202012Validator

from tests.support.calls import ask, bearer, get, post, request
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authcore.authorize import Requirement
    from gateway.app import Gateway
    from tests.support.peers import Message
    from tests.support.worlds import World

DOCUMENT, PAGE = "/api/auth/openapi.json", "/api/auth/docs"


async def described(gate: Gateway) -> dict[str, Any]:
    return (await ask(gate, get(DOCUMENT))).json()


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def hosted(gate: Gateway) -> Iterator[tuple[str, str, Requirement]]:
    """The hosted routes, as the pipeline is given them."""
    for path, routes in gate.routing.table.hosted.items():
        for route in routes:
            assert route.methods is not None
            for method in route.methods - {b"HEAD"}:
                yield method.decode(), path, route.requirement


def holds(document: dict[str, Any], method: str, path: str, answer: Message) -> None:
    """The answer is one of those described for the operation."""
    responses = operations(document)[method, path]["responses"]
    assert str(answer.status) in responses, (method, path, answer.start, answer.body)
    response = responses[str(answer.status)]
    media = (answer.one("Content-Type") or "").partition(";")[0]
    schema = {**response["content"][media]["schema"], "components": document["components"]}
    if media == "application/json":
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
            answer.json()
        )
    for name in response.get("headers", {}):
        assert answer.one(name), (method, path, name)


class Caller:
    """Calls operations, and holds every answer against its description."""

    def __init__(self, gate: Gateway, document: dict[str, Any]) -> None:
        self._gate = gate
        self._document = document
        self.succeeded: set[tuple[str, str]] = set()
        self.described = set(operations(document))

    async def __call__(
        self, call: str, line: str = "X-Nothing: here", content: object = None, one: object = ""
    ) -> Any:
        method, path = call.split(" ")
        target = path.replace("{id}", str(one))
        raw = request(method, target, line)
        if content is not None:
            raw = post(target, content, line).replace(b"POST", method.encode(), 1)
        answer = await ask(self._gate, raw)
        holds(self._document, method, path, answer)
        if answer.status == 200:
            self.succeeded.add((method, path))
        return None if path == PAGE else answer.json().get("data")


NEW: Final = {"email": "new@example.com", "password": PASSWORD, "full_name": "New"}


async def walk_through_sign_in(call: Caller, world: World) -> str:
    await call("POST /api/auth/register", content={**NEW, "organization_id": str(world.home)})
    await call("POST /api/auth/register", content={**NEW, "organization_id": str(world.home)})
    await call("POST /api/auth/register", content={**NEW, "invitation": "x"})
    pair = await call("POST /api/auth/login", content={"email": NEW["email"], "password": PASSWORD})
    await call("POST /api/auth/login", content={"email": NEW["email"], "password": "wrong"})
    await call("POST /api/auth/login", content={"email": NEW["email"]})
    pair = await call("POST /api/auth/refresh", content={"refresh_token": pair["refresh_token"]})
    await call("POST /api/auth/refresh", content={"refresh_token": "x"})
    mine = bearer(pair["access_token"])
    both = bearer(world.token(world.both))
    await call("POST /api/auth/switch-org", both, {"organization_id": str(world.other)})
    await call("POST /api/auth/switch-org", mine, {"organization_id": str(world.other)})
    await call("POST /api/auth/switch-org", mine, {"organization_id": str(uuid4())})
    for current, new in (("wrong", "another one"), (PASSWORD, "another one"), (PASSWORD, "short")):
        for path in ("/api/auth/password", "/api/me/password"):
            await call(f"PUT {path}", mine, {"current_password": current, "new_password": new})
    again = {"current_password": "another one", "new_password": "another one"}
    await call("PUT /api/me/password", mine, again)
    return mine


async def look_at_sessions(call: Caller, mine: str) -> None:
    other = await call("POST /api/auth/login", content={"email": NEW["email"], "password": "another one"})
    sessions = (await call("GET /api/auth/sessions", mine))["sessions"]
    await call("GET /api/auth/ws-token", mine)
    await call("GET /api/auth/whoami", mine)
    (there,) = [one["id"] for one in sessions if not one["current"]]
    for _ in range(2):
        await call("DELETE /api/auth/sessions/{id}", mine, one=there)
    await call("GET /api/auth/sessions", bearer(other["access_token"]))
    await call("POST /api/auth/logout", content={"refresh_token": other["refresh_token"]})
    await call("POST /api/auth/logout-all", mine)


async def administer(call: Caller, admin: str, agent: str) -> None:
    invitation = await call("POST /api/auth/invitations", admin, {"email": "b@example.com"})
    await call("POST /api/auth/invitations", admin, {"role_id": str(uuid4())})
    await call("POST /api/auth/invitations", agent, {})
    await call("GET /api/auth/invitations", admin)
    for _ in range(2):
        await call("DELETE /api/auth/invitations/{id}", admin, one=invitation["id"])
    key = await call("POST /api/api-keys", admin, {"name": "k", "expires_at": "2999-01-01T00:00:00Z"})
    await call("GET /api/api-keys", admin)
    await call("GET /api/api-keys", agent)
    await call("GET /api/auth/whoami", f"X-API-Key: {key['key']}")
    if ("GET", "/api/auth/usage") in call.described:
        await call("GET /api/auth/usage", f"X-API-Key: {key['key']}")
        await call("GET /api/auth/usage", "X-API-Key: whm_x")
    await call("GET /api/auth/whoami", "X-API-Key: whm_x")
    await call("GET /api/auth/audit", admin)
    await call("GET /api/auth/audit", agent)
    await call("GET /api/api-keys/{id}", admin, one=key["id"])
    await call("PUT /api/api-keys/{id}", admin, {"is_active": False}, one=key["id"])
    await call("PUT /api/api-keys/{id}", admin, {"is_active": 1}, one=key["id"])
    for _ in range(2):
        await call("DELETE /api/api-keys/{id}", admin, one=key["id"])
