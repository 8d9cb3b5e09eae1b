"""PgBouncer between, in both modes: every hosted endpoint does what it is for; a new one fails until called."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.support.calls import ask_at, bearer, request
from tests.support.operations import hosted
from tests.support.trails import verified
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


NEW_PASSWORD: Final = "another horse, another battery"


@dataclass
class Visitor:
    """Caller of endpoints, who records which were called."""

    gateway: Gateway
    called: set[tuple[str, str]] = field(default_factory=set)

    async def call(self, method: str, path: str, body: object = None, *lines: str, **places: str) -> Any:
        """Call an endpoint by its path in the table, `places` filled in; return what it answers."""
        raw = None if body is None else json.dumps(body).encode()
        fields = ("Content-Type: application/json", *lines) if raw else lines
        answer = await ask_at(self.gateway.address, request(method, path.format(**places), *fields, body=raw))
        assert answer.status == 200, (method, path, answer.status, answer.body)
        self.called.add((method, path))
        if not (answer.one("Content-Type") or "").startswith("application/json"):
            return answer.body
        content = answer.json()
        return content.get("data", content)


async def test_every_hosted_endpoint_does_what_it_is_for(pooled: str, world: World, start: Start) -> None:
    gateway = await start(pooled, password={"hosted": True}, identity={"cache_seconds": 3600})
    visitor = Visitor(gateway)
    admin = await sign_in(visitor, "admin")
    await sessions(visitor, world, admin)
    await invitations(visitor, world, bearer(admin["access_token"]))
    await api_keys(visitor, bearer(admin["access_token"]))
    await passwords(visitor)
    for path in ("/api/auth/ws-token", "/api/auth/whoami"):
        await visitor.call("GET", path, None, bearer(admin["access_token"]))
    trail = await visitor.call("GET", "/api/auth/audit", None, bearer(admin["access_token"]))
    assert {"sign_in", "logout", "create_api_key", "change_password"} <= {
        one["event"] for one in trail["records"]
    }
    rows, broken = await verified(world.store)
    assert (rows >= len(trail["records"]), broken) == (True, "")
    for path in ("/api/auth/openapi.json", "/api/auth/docs", "/.well-known/jwks.json"):
        await visitor.call("GET", path)
    assert visitor.called == {(method, path) for method, path, _ in hosted(gateway)}


async def sign_in(visitor: Visitor, name: str, password: str = PASSWORD) -> Any:
    body = {"email": f"{name}@example.com", "password": password}
    return await visitor.call("POST", "/api/auth/login", body)


async def sessions(visitor: Visitor, world: World, other: Any) -> None:
    """Live through one's sessions; `other` is a pair of somebody else, who is unaffected."""
    pair = await sign_in(visitor, "both")
    pair = await visitor.call("POST", "/api/auth/refresh", {"refresh_token": pair["refresh_token"]})
    token = bearer(pair["access_token"])
    switched = await visitor.call(
        "POST", "/api/auth/switch-org", {"organization_id": str(world.other)}, token
    )
    assert switched["access_token"] != pair["access_token"]
    second, third = await sign_in(visitor, "both"), await sign_in(visitor, "both")
    listed = await visitor.call("GET", "/api/auth/sessions", None, bearer(third["access_token"]))
    assert len(listed["sessions"]) == 3
    ended = next(one["id"] for one in listed["sessions"] if not one["current"])
    await visitor.call("DELETE", "/api/auth/sessions/{id}", None, bearer(third["access_token"]), id=ended)
    await visitor.call("POST", "/api/auth/logout", {"refresh_token": third["refresh_token"]})
    last = await sign_in(visitor, "both")
    over = await visitor.call("POST", "/api/auth/logout-all", None, bearer(last["access_token"]))
    assert over["sessions"] >= 1
    for one in (pair, second, third, last):
        answer = await ask_at(visitor.gateway.address, request("GET", "/api/x", bearer(one["access_token"])))
        assert answer.status == 401
    answer = await ask_at(visitor.gateway.address, request("GET", "/api/x", bearer(other["access_token"])))
    assert answer.status == 200


async def invitations(visitor: Visitor, world: World, token: str) -> None:
    path = "/api/auth/invitations"
    first = await visitor.call("POST", path, {}, token)
    invited = {
        "email": "new@example.com",
        "password": PASSWORD,
        "full_name": "New",
        "invitation": first["invitation"],
    }
    joined = await visitor.call("POST", "/api/auth/register", invited)
    assert joined["user"]["organization_id"] == str(world.home)
    second = await visitor.call("POST", path, {"email": "x@example.com"}, token)
    listed = await visitor.call("GET", path, None, token)
    assert [one["id"] for one in listed["invitations"]] == [second["id"]]
    await visitor.call("DELETE", path + "/{id}", None, token, id=second["id"])


async def api_keys(visitor: Visitor, token: str) -> None:
    path = "/api/api-keys"
    made = await visitor.call("POST", path, {"name": "pooled"}, token)
    key = f"X-API-Key: {made['key']}"
    assert (await ask_at(visitor.gateway.address, request("GET", "/api/x", key))).status == 200
    listed = await visitor.call("GET", path, None, token)
    assert made["id"] in {one["id"] for one in listed["api_keys"]}
    await visitor.call("GET", path + "/{id}", None, token, id=made["id"])
    await visitor.call("PUT", path + "/{id}", {"is_active": False}, token, id=made["id"])
    # In transaction mode nothing is heard from the database; what is done here is known here all the same.
    assert (await ask_at(visitor.gateway.address, request("GET", "/api/x", key))).status == 401
    await visitor.call("PUT", path + "/{id}", {"is_active": True}, token, id=made["id"])
    assert (await ask_at(visitor.gateway.address, request("GET", "/api/x", key))).status == 200
    await visitor.call("DELETE", path + "/{id}", None, token, id=made["id"])
    assert (await ask_at(visitor.gateway.address, request("GET", "/api/x", key))).status == 401


async def passwords(visitor: Visitor) -> None:
    paths = ("/api/auth/password", "/api/me/password")
    for path, before, after in zip(paths, (PASSWORD, NEW_PASSWORD), (NEW_PASSWORD, PASSWORD), strict=True):
        pair = await sign_in(visitor, "agent", before)
        change = {"current_password": before, "new_password": after}
        await visitor.call("PUT", path, change, bearer(pair["access_token"]))
    await sign_in(visitor, "agent")
