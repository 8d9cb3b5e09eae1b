"""The description of what is hosted: valid, complete both ways, and true of real answers."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from authcore.principal import AuthMethod
from gateway.endpoints.page import render
from tests.support.calls import ask, bearer, get, is_refusal, post, request
from tests.support.operations import (
    DOCUMENT,
    PAGE,
    Caller,
    administer,
    described,
    holds,
    hosted,
    look_at_sessions,
    operations,
    walk_through_sign_in,
)
from tests.support.peers import Client
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from tests.support.worlds import Start, World


ALL: Final[dict[str, Any]] = {"cookies": True, "cookie": {"secure": False}, "quotas": True}
"""With everything on."""


# -- complete -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [{}, ALL, {"keys": {"hosted": False}}], ids=["default", "all", "no keys"])
async def test_the_description_is_valid(start: Start, groups: dict[str, Any]) -> None:
    answer = await ask(await start(**groups), get(DOCUMENT))
    assert answer.status == 200
    assert answer.one("Content-Type") == "application/json"
    document: Any = answer.json()
    assert document["openapi"].startswith("3.1")
    validate(document)


@pytest.mark.parametrize("groups", [{}, ALL, {"keys": {"hosted": False}}], ids=["default", "all", "no keys"])
async def test_every_hosted_route_is_described_and_nothing_else(start: Start, groups: dict[str, Any]) -> None:
    gate = await start(**groups)
    routed = {(method, path) for method, path, _ in hosted(gate)}
    assert set(operations(await described(gate))) == routed
    assert {("POST", "/api/auth/login"), ("GET", DOCUMENT), ("GET", PAGE)} <= routed


async def test_decisions_are_described_where_they_are_made(world: World, start: Start) -> None:
    gate = await start(world.url, decision={"path": "/decide"}, trusted_proxies=["127.0.0.1/32"])
    document = await described(gate)
    validate(document)
    told = {path for _, path in operations(document) if path.startswith("/decide")}
    replacing = {"/decide/nginx/organization", "/decide/forward/organization"}
    assert told == {"/decide/nginx", "/decide/forward", "/decide/envoy", *replacing}
    for line in ("X-Nothing: here", bearer(world.token(world.agent)), bearer("x.y.z")):
        question = get("/decide/nginx", "X-Original-Method: GET", "X-Original-URI: /api/contacts", line)
        answer = await ask(gate, question)
        responses = document["paths"]["/decide/nginx"]["get"]["responses"]
        assert str(answer.status) in responses


async def test_the_credentials_described_are_those_that_routes_take(start: Start) -> None:
    gate = await start(**ALL)
    told = operations(await described(gate))
    for method, path, requirement in hosted(gate):
        operation = told[method, path]
        schemes = {scheme for way in operation["security"] for scheme in way}
        if requirement.public:
            expected: set[str] = set()
        elif requirement.methods is None:
            expected = {"token", "cookie", "apiKey"}
        else:
            names = {AuthMethod.JWT: "token", AuthMethod.COOKIE: "cookie", AuthMethod.API_KEY: "apiKey"}
            expected = {names[one] for one in requirement.methods}
        assert schemes == expected, (method, path)
        assert operation.get("x-permission") == next(iter(requirement.all_of), None), (method, path)


async def test_without_cookies_none_are_described(start: Start) -> None:
    document = await described(await start())
    assert set(document["components"]["securitySchemes"]) == {"token", "apiKey"}


# -- true ---------------------------------------------------------------------------------------------------------


async def test_every_operation_answers_as_described(world: World, start: Start) -> None:
    gate = await start(world.url)
    document = await described(gate)
    # A schema that forbids what it does not name tells whether it names everything.
    for schema in document["components"]["schemas"].values():
        schema["additionalProperties"] = False
    call = Caller(gate, document)
    await look_at_sessions(call, await walk_through_sign_in(call, world))
    await administer(call, bearer(world.token(world.admin)), bearer(world.token(world.agent)))
    for path in (DOCUMENT, PAGE, "/.well-known/jwks.json"):
        await call(f"GET {path}")
    assert call.succeeded == set(operations(document)), (
        "call what is missing here in one of the stories above"
    )


async def test_with_tokens_in_cookies_alone_the_description_holds(world: World, start: Start) -> None:
    gate = await start(world.url, cookies=True, cookie={"secure": False, "only": True})
    call = Caller(gate, await described(gate))
    content = await call("POST /api/auth/login", content={"email": "agent@example.com", "password": PASSWORD})
    assert set(content) == {"user", "expires_in"}
    cookie = f"Cookie: whm_access={world.token(world.agent)}"
    refused = request("POST", "/api/auth/refresh", "Cookie: whm_refresh=x")
    holds(await described(gate), "POST", "/api/auth/refresh", await ask(gate, refused))
    for unsafe in ("PUT /api/auth/password", "POST /api/auth/invitations", "DELETE /api/auth/sessions/{id}"):
        await call(unsafe, cookie, one=uuid4())  # without the CSRF token
    elsewhere = f"X-Organization-ID: {world.other}"
    for path in ("/api/auth/invitations", "/api/auth/ws-token", "/api/auth/whoami"):
        answer = await ask(gate, get(path, bearer(world.token(world.admin)), elsewhere))
        is_refusal(answer, 403, "You are not a member of this organization")
        holds(await described(gate), "GET", path, answer)


async def test_a_refusal_that_everybody_meets_is_described_everywhere(world: World, start: Start) -> None:
    gate = await start(world.url)
    document = await described(gate)
    await world.sql("ALTER TABLE users RENAME TO users_away")
    for (method, path), operation in operations(document).items():
        target = path.replace("{id}", str(uuid4()))
        if operation["security"]:
            for line in ("X-Nothing: here", "Authorization: Basic x", "Authorization: Bearer x"):
                holds(document, method, path, await ask(gate, request(method, target, line)))
            token = bearer(world.token(uuid4()))
            unavailable = await ask(gate, request(method, target, token))
            is_refusal(unavailable, 503)
            holds(document, method, path, unavailable)


async def test_what_cannot_be_decided_on_is_refused_as_described(world: World, start: Start) -> None:
    gate = await start(world.url)
    document = await described(gate)
    root = bearer(world.token(world.root))
    for (method, path), operation in operations(document).items():
        ambiguous = ((root, root), ("X-API-Key: a", "X-API-Key: b"))
        for lines in ambiguous if operation["security"] else ():
            answer = await ask(gate, request(method, path.replace("{id}", str(uuid4())), *lines))
            is_refusal(answer, 400, "More than one credential of the same kind")
            holds(document, method, path, answer)
        for bad in ("%00", "%2e%2e", "a%2fb", "%ff", "%zz") if "{id}" in path else ():
            answer = await ask(gate, request(method, path.replace("{id}", bad), root))
            holds(document, method, path, answer)


async def test_bodies_are_refused_as_described(world: World, start: Start) -> None:
    gate = await start(world.url)
    document = await described(gate)
    token = bearer(world.token(world.root))
    for (method, path), operation in operations(document).items():
        if "requestBody" not in operation or not operation["requestBody"]["required"]:
            continue
        target = path.replace("{id}", str(uuid4()))
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        is_lenient = "415" not in operation["responses"]
        contents: list[object] = ["not an object", {}, {name: [] for name in schema["properties"]}]
        for content in contents:
            if content == {} and not schema.get("required"):
                continue
            answer = await ask(gate, post(target, content, token).replace(b"POST", method.encode(), 1))
            is_refusal(answer, 401 if is_lenient else 400)
            holds(document, method, path, answer)
        typed = request(method, target, token, "Content-Type: text/plain", body=b"{}")
        holds(document, method, path, await ask(gate, typed))


async def test_every_way_to_name_an_organization_is_answered_as_described(world: World, start: Start) -> None:
    gate = await start(world.url)
    document = await described(gate)
    root, agent = bearer(world.token(world.root)), bearer(world.token(world.both))
    refused: dict[int, int] = {}
    tried = 0
    for (method, path), operation in operations(document).items():
        if not any(one["name"] == "X-Organization-ID" for one in operation.get("parameters", ())):
            continue
        tried += 1
        target = path.replace("{id}", str(uuid4()))
        named = ("not-a-uuid", str(uuid4()), str(world.other), str(world.home).upper())
        for line, organization in ((line, one) for line in (root, agent) for one in named):
            answer = await ask(gate, request(method, target, line, f"X-Organization-ID: {organization}"))
            holds(document, method, path, answer)
            refused[answer.status] = refused.get(answer.status, 0) + 1
    assert tried > 5
    assert refused[400] >= 2 * tried, "a text that is no UUID"
    assert refused[404] >= tried, "an organization that there is not"


async def test_a_body_that_cannot_be_read_counts_as_none_where_it_is_described_so(
    world: World, start: Start
) -> None:
    gate = await start(world.url)
    document = await described(gate)
    for path, status in (("/api/auth/logout", 200), ("/api/auth/refresh", 401)):
        responses = operations(document)["POST", path]["responses"]
        assert not {"400", "415"} & set(responses)
        for media, body in (("application/json", b"{"), ("text/plain", b"x"), ("application/json", b"[]")):
            answer = await ask(gate, request("POST", path, f"Content-Type: {media}", body=body))
            assert answer.status == status
            holds(document, "POST", path, answer)
        large = request("POST", path, "Content-Type: application/json", body=b" " * 2_000_000)
        holds(document, "POST", path, await ask(gate, large))


@pytest.mark.parametrize(("cookies", "required"), [(False, True), (True, False)])
async def test_a_refresh_needs_a_body_where_no_cookie_stands_in(
    start: Start, *, cookies: bool, required: bool
) -> None:
    document = await described(await start(cookies=cookies, cookie={"secure": False}))
    assert operations(document)["POST", "/api/auth/refresh"]["requestBody"]["required"] is required
    assert operations(document)["POST", "/api/auth/logout"]["requestBody"]["required"] is False


async def test_the_rule_of_new_passwords_is_described_as_it_is_configured(world: World, start: Start) -> None:
    gate = await start(world.url, password={"min_length": 12})
    schemas = (await described(gate))["components"]["schemas"]
    for model, field in (("RegisterBody", "password"), ("PasswordBody", "new_password")):
        told = schemas[model]["properties"][field]
        assert (told["minLength"], told["maxLength"], told["format"]) == (12, 72, "password")
        joins = {"email": "n@example.com", "full_name": "N", "organization_id": str(world.home)}
        if model == "RegisterBody":
            for length, status in ((11, 400), (12, 200), (72, 200), (73, 400)):
                joins["email"] = f"n{length}@example.com"
                answer = await ask(gate, post("/api/auth/register", {**joins, "password": "x" * length}))
                assert answer.status == status, answer.body
    for model, field in (("LoginBody", "password"), ("PasswordBody", "current_password")):
        assert schemas[model]["properties"][field]["minLength"] == 1, "a password that exists may be shorter"
        assert "maxLength" not in schemas[model]["properties"][field]
    assert schemas["RegisterBody"]["properties"]["email"]["format"] == "email"
    assert schemas["RegisterBody"]["properties"]["email"]["maxLength"] == 255


async def test_an_example_is_accepted_by_its_own_schema(start: Start) -> None:
    document = await described(await start(**ALL))
    for (method, path), operation in operations(document).items():
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            schema = {**content["schema"], "components": document["components"]}
            Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
                content["example"]
            )
            assert content["example"], (method, path)
            assert len(set(content["example"].values())) == len(content["example"]), (method, path)


def words_of(line: str) -> list[str]:
    """The words that curl is given, by a shell that knows the variables of the page."""
    known = {"GATEWAY": "http://gateway.test", "TOKEN": "a.b.c", "KEY": "whm_k", "ID": str(uuid4())}
    written = line.replace("curl", "printf '%s\n'", 1)
    result = subprocess.run(
        ["/bin/sh", "-uc", written], env=known, capture_output=True, text=True, check=True, timeout=20
    )
    return result.stdout.splitlines()


async def test_a_line_of_curl_asks_for_its_operation(start: Start) -> None:
    for (method, path), operation in operations(await described(await start(**ALL))).items():
        (sample,) = operation["x-codeSamples"]
        words = words_of(sample["source"])
        url = urlsplit(next(word for word in words if word.startswith("http")))
        assert re.fullmatch(path.replace("{id}", "[0-9a-f-]{36}"), url.path), words
        assert (words[words.index("-X") + 1] if "-X" in words else "GET") == method
        taken = {scheme for way in operation["security"] for scheme in way}
        sent = {"token": "Authorization: Bearer a.b.c", "apiKey": "X-API-Key: whm_k"}
        assert [one for one in sent.values() if one in words] == [sent[one] for one in sent if one in taken][
            :1
        ]
        if "requestBody" in operation:
            example = operation["requestBody"]["content"]["application/json"]["example"]
            assert json.loads(words[words.index("-d") + 1]) == example


async def test_every_field_that_is_required_is_described_so(world: World, start: Start) -> None:
    schema = (await described(await start()))["components"]["schemas"]["RegisterBody"]
    assert schema["required"] == ["email", "password", "full_name"]
    assert schema["properties"]["full_name"]["maxLength"] == 255


# -- the page -----------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_page_tells_everything_and_loads_nothing(start: Start) -> None:
    gate = await start(**ALL)
    answer = await ask(gate, get(PAGE))
    assert answer.status == 200
    assert answer.one("Content-Type") == "text/html; charset=utf-8"
    policy = answer.one("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert answer.one("X-Content-Type-Options") == "nosniff"
    elements = Elements()
    elements.feed(answer.body.decode())
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(elements.tags)
    assert not [name for name, _ in elements.attributes if name.startswith("on") or name == "style"]
    targets = [value for name, value in elements.attributes if name in ("href", "src")]
    ids = {value for name, value in elements.attributes if name == "id"}
    assert [one for one in targets if one != "openapi.json" and one.removeprefix("#") not in ids] == []
    document = await described(gate)
    for (_, path), operation in operations(document).items():
        assert path in elements.text
        assert operation["summary"] in elements.text
        assert operation["x-codeSamples"][0]["source"] in elements.text
    for name in document["components"]["schemas"]:
        assert name in elements.text
    for sent in ("Authorization: Bearer $TOKEN", "X-API-Key: $KEY", "at most 72", "uuid"):
        assert sent in elements.text


async def test_the_page_escapes_what_it_is_given(start: Start) -> None:
    document = await described(await start())
    evil = '<script>alert("1")</script>`<b>`'

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: poisoned(one) for name, one in value.items()}
        if isinstance(value, list):
            return [poisoned(one) for one in value]
        return value + evil if isinstance(value, str) and not value.startswith("#/") else value

    document["info"] = poisoned(document["info"])
    for methods in document["paths"].values():
        for operation in methods.values():
            operation.update(summary=evil, description=evil, operationId=f'"{evil}')
    document["components"]["schemas"] = poisoned(document["components"]["schemas"])
    page = render(document)
    assert "<script" not in page
    assert not re.search(r"<b>", page)


async def test_the_description_and_its_page_hold_nothing_of_the_caller(world: World, start: Start) -> None:
    gate = await start(world.url)
    for path in (DOCUMENT, PAGE):
        anonymous = await ask(gate, get(path))
        known = await ask(gate, get(path, bearer(world.token(world.admin)), "X-Forwarded-Host: evil.test"))
        assert anonymous.body == known.body
        assert anonymous.one("Cache-Control") == "public, max-age=300"


async def test_head_tells_the_same_without_a_body(start: Start) -> None:
    gate = await start()
    async with Client(gate.address) as client:
        await client.send(request("HEAD", DOCUMENT))
        head = await client.response(head_only=True)
    assert head.status == 200
