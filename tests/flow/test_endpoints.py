"""One declaration is all that a hosted endpoint needs: router, route table and OpenAPI document follow from it."""

from __future__ import annotations

import re
from importlib import import_module
from itertools import product
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import pytest
from openapi_spec_validator import validate

import gateway.endpoints
from authcore.errors import NameUnacceptable
from authcore.principal import AuthMethod
from config.settings import Settings
from gateway.endpoints import hosted
from gateway.endpoints.bodies import success, uuid_in_path
from gateway.endpoints.describing import Answer
from gateway.endpoints.endpoint import Endpoint, permission
from tests.support.calls import ask, bearer, get, is_refusal, request
from tests.support.peers import Client
from tests.whatomate_endpoints import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from gateway.endpoints.caller import Caller
    from gateway.endpoints.services import Services
    from tests.support.worlds import Start, World

REPLACED: Final = {
    *("POST /api/auth/register", "POST /api/auth/login", "POST /api/auth/refresh", "POST /api/auth/logout"),
    *("POST /api/auth/switch-org", "GET /api/auth/ws-token", "PUT /api/me/password"),
    "GET /api/auth/sso/providers",
    *("GET /api/api-keys", "POST /api/api-keys"),
    *("GET /api/api-keys/{id}", "PUT /api/api-keys/{id}", "DELETE /api/api-keys/{id}"),
}
"""Endpoints of Whatomate that the gateway answers in its place."""


def declared() -> Iterator[tuple[str, Endpoint[Any]]]:
    """Every declaration in the room, with the module that makes it."""
    for found in iter_modules(gateway.endpoints.__path__):
        if found.name != "hosted":
            module = import_module(f"gateway.endpoints.{found.name}")
            for value in vars(module).values():
                several = value if isinstance(value, tuple) else (value,)
                yield from ((module.__name__, one) for one in several if isinstance(one, Endpoint))


def test_every_declared_endpoint_is_in_the_list() -> None:
    missing = [(module, one.method, one.path) for module, one in declared() if one not in hosted.ENDPOINTS]
    assert not missing, "list them in gateway/endpoints/hosted.py"
    assert len({module for module, _ in declared()}) > 5


def test_every_endpoint_is_declared_beside_its_handler() -> None:
    assert {one.handler.__module__ == module for module, one in declared()} == {True}


@pytest.mark.parametrize(("keys", "mint", "password", "cookies", "sso"), [*product([True, False], repeat=5)])
def test_a_method_of_a_path_has_one_endpoint_under_all_settings(
    keys: bool, mint: bool, password: bool, cookies: bool, sso: bool
) -> None:
    settings = Settings.model_validate(
        {
            "keys": {"hosted": keys, "mint_keys": mint},
            "password": {"hosted": password},
            "cookies": cookies,
            "sso": "hosted" if sso else "forwarded",
        }
    )
    found = [(method, one.path) for one in hosted.hosted_endpoints(settings) for method in one.methods]
    assert len(found) == len(set(found))
    assert (("POST", "/api/api-keys") in found) is keys
    assert (("PUT", "/api/me/password") in found) is password
    assert (("GET", "/api/auth/sso/google/callback") in found) is sso


def test_what_a_permission_lets_make_is_made_by_a_credential_that_may_found_it() -> None:
    """A POST makes what outlives its request (docs/founding.md): no foreign token does, keys by setting alone."""
    for one in hosted.ENDPOINTS:
        if one.method == "POST" and one.access.permission:
            assert not one.access.takes(AuthMethod.FOREIGN), one.path
            if one.access.takes(AuthMethod.API_KEY):
                assert not one.when(Settings()), one.path


def test_a_declared_path_is_one_that_the_route_table_can_match() -> None:
    """It matches in lower case, and a variable is the last segment and called ``{id}``."""
    for one in hosted.ENDPOINTS:
        assert re.fullmatch(r"(/[a-z0-9.-]+)+(/\{id\})?", one.path), one.path
        assert one.path == one.path.lower()


def test_no_endpoint_hides_one_of_whatomates_unless_it_replaces_it() -> None:
    theirs = {(one.method, re.sub(r"\{[^}]*\}", "{id}", one.path)) for one in read_table()}
    ours = {(one.method, one.path) for one in hosted.ENDPOINTS}
    assert {f"{method} {path}" for method, path in ours & theirs} == REPLACED
    paths = {path for _, path in theirs}
    # A path of ours answers 405 to the methods it has not, so that none of theirs may lie on it alone.
    assert {path for _, path in ours} & paths == {one.partition(" ")[2] for one in REPLACED}


# -- one more -----------------------------------------------------------------------------------------------------


class SeenAnswer(Answer):
    """Sight of a caller, for the test below."""

    thing: UUID | None
    user: UUID
    organization: UUID


async def see(_services: Services, seen: web.Request, caller: Caller) -> web.Response:
    thing, user, organization = uuid_in_path(seen), caller.user_id, caller.organization_id
    if thing is None:
        raise NameUnacceptable
    return success(SeenAnswer(thing=thing, user=user, organization=organization))


ONE_MORE: Final = Endpoint(
    method="GET",
    path="/api/auth/things/{id}",
    tag="Things",
    summary="See a thing",
    access=permission("users:read"),
    handler=see,
    organization="any",
    answer=SeenAnswer,
    refuses=(NameUnacceptable,),
)


async def test_a_declaration_in_the_list_is_routed_guarded_described_and_answered(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "ENDPOINTS", (*hosted.ENDPOINTS, ONE_MORE))
    gate, thing = await start(world.url), uuid4()
    path = f"/api/auth/things/{thing}"
    admin, agent = bearer(world.token(world.admin)), bearer(world.token(world.agent))
    is_refusal(await ask(gate, get(path)), 401)
    is_refusal(await ask(gate, get(path, agent)), 403, "Missing permission users:read")
    is_refusal(await ask(gate, get("/api/auth/things/x", admin)), 400)
    assert (await ask(gate, request("POST", path, admin))).one("Allow") == "GET, HEAD"
    answer = await ask(gate, get(path, admin))
    seen = {"thing": str(thing), "user": str(world.admin), "organization": str(world.home)}
    assert answer.json() == {"status": "success", "data": seen}
    elsewhere = f"X-Organization-ID: {world.other}"
    is_refusal(await ask(gate, get(path, admin, elsewhere)), 403)
    async with Client(gate.address) as client:
        await client.send(request("HEAD", path, admin))
        assert (await client.response(head_only=True)).status == 200
    document: Any = (await ask(gate, get("/api/auth/openapi.json"))).json()
    validate(document)
    operation = document["paths"]["/api/auth/things/{id}"]["get"]
    assert operation["x-permission"] == "users:read"
    assert {"200", "400", "401", "403", "503"} <= set(operation["responses"])
    assert set(document["components"]["schemas"]["SeenAnswer"]["properties"]) == set(seen)
