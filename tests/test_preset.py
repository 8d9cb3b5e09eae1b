"""The preset for Whatomate: it asks what the table of endpoints says, and each role can do its work."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from authcore.permissions import ALL, ROLES
from config.route_plan import RoutePlan, read_plan
from config.settings import Settings
from gateway.assembly.matrix import NOBODY, WHO, matrix, may
from gateway.assembly.route_compiler import planned_rules
from gateway.cli import main
from gateway.metrics import Metrics
from gateway.proxy.routes import RouteTable
from tests.proxy.nowhere import NOWHERE
from tests.support.calls import ask, bearer, is_refusal, request
from tests.support.peers import Client
from tests.support.worlds import PASSWORD
from tests.whatomate_endpoints import Endpoint, read_table, stricter_section

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


PAGE = Path(__file__).parents[1] / "docs" / "preset.md"
MARK = "<!-- from here on: GATEWAY_PRESET=whatomate whatomate-gateway routes matrix -->\n"
STRICTER = "<!-- from here to the end mark: python -m tests.whatomate_endpoints -->\n"
END = "<!-- end -->\n"

ID = "6f2f0f0e-8a3c-4a56-9d5b-0f0f4a3c9e11"
ADMIN, MANAGER, AGENT = {"admin"}, {"admin", "manager"}, {"admin", "manager", "agent"}
EVERYBODY = {NOBODY, *AGENT}
TABLE = read_table()
WIDE = {"* /health", "* /ready", "* /api/auth/sso/*", "* /*", "* /api/*"}
"""Cases of the preset that stand for more than one endpoint, or for any method."""
LATE = (
    "call_logs:read",
    "ivr_flows:read",
    "ivr_flows:write",
    "ivr_flows:delete",
    "call_transfers:read",
    "call_transfers:write",
    "outgoing_calls:read",
    "outgoing_calls:write",
    "chatbot.ai:delete",
    "audit_logs:read",
)
"""What the catalogue got after 2026-02-06."""


def target(endpoint: Endpoint) -> str:
    return re.sub(r"\{\w+\}", ID, endpoint.path).replace("*", "chat/123")


@cache
def plan() -> RoutePlan:
    found = read_plan(Settings.model_validate({"preset": "whatomate", "upstream": {"url": "http://u"}}))
    assert found is not None
    return found


@cache
def table() -> RouteTable:
    return RouteTable({}, planned_rules(plan(), Settings(), Metrics(), {"upstream": NOWHERE}), None)


def open_to(request_line: str) -> set[str]:
    method, path = request_line.split()
    requirement = table().match(method.encode(), path, preflight=False).requirement
    return {name for name, principal in WHO.items() if may(principal, requirement)}


@pytest.mark.parametrize("endpoint", TABLE, ids=str)
def test_the_preset_asks_what_the_table_says(endpoint: Endpoint) -> None:
    if endpoint.path.startswith("/api/auth/") and "sso" not in endpoint.path and "ws" not in endpoint.path:
        return  # answered by the gateway itself
    route = table().match(endpoint.method.encode(), target(endpoint), preflight=False)
    entry = next(one.entry for one in plan().routes if one.entry.name == route.name)
    asked = {*(entry.require or ()), *(entry.any or ())}
    assert asked == endpoint.accepted
    assert len(entry.require or ()) <= 1
    assert (entry.auth == "public") is (endpoint.needs == "public")
    assert route.name != "unlisted"


def test_every_endpoint_of_the_preset_is_in_the_table() -> None:
    listed = {(one.method, re.sub(r"\{\w+\}", "{}", one.path)) for one in TABLE}
    for route in plan().routes:
        for case in route.cases:
            if str(case) in WIDE or str(case.path).startswith("/ws"):
                continue
            assert case.methods is not None, str(case)
            for method in case.methods:
                assert (method, re.sub(r"\{\w+(:opaque)?\}", "{}", str(case.path))) in listed, str(case)


def test_where_the_server_asks_the_preset_asks_the_same_or_says_why_not() -> None:
    for endpoint in TABLE:
        if endpoint.server not in {"nothing", "rows"} and endpoint.needs != endpoint.server:
            assert endpoint.why, str(endpoint)
            assert endpoint.server in endpoint.accepted, str(endpoint)  # wider only: the server still refuses


def test_where_rows_decide_or_any_member_may_the_table_says_why() -> None:
    for endpoint in TABLE:
        own = endpoint.path.startswith(("/api/me", "/api/auth/"))
        if endpoint.server == "rows" or (endpoint.needs == "member" and not own) or "|" in endpoint.needs:
            assert endpoint.why or endpoint.needs == endpoint.server, str(endpoint)


def test_agents_own_pages_are_for_every_member() -> None:
    open_ = {str(one) for one in TABLE if one.needs == "member"}
    assert {one for one in open_ if not one.split()[1].startswith(("/api/me", "/api/auth/"))} == {
        "GET /api/call-logs",
        "GET /api/chatbot/settings",
        "GET /api/custom-actions",
        "GET /api/flows",
        "GET /api/teams",
        "GET /api/teams/{id}/members",
        "GET /api/templates",
        "POST /api/canned-responses/{id}/use",
        "POST /api/chatbot/transfers",
        "POST /api/contacts/{id}/mark-read",
        "POST /api/contacts/{id}/messages",
        "POST /api/contacts/{id}/messages/{message_id}/reaction",
        "POST /api/custom-actions/{id}/execute",
        "PUT /api/chatbot/transfers/{id}/resume",
    }


def callers(world: World, made: dict[str, UUID]) -> dict[str, tuple[frozenset[str] | None, list[str]]]:
    """Name -> the permissions of a caller, and the lines of their requests."""
    return {
        NOBODY: (None, []),
        "agent": (ROLES["agent"].permissions, [bearer(world.token(world.agent))]),
        "manager": (ROLES["manager"].permissions, [bearer(world.token(made["manager"]))]),
        "admin": (ALL, [bearer(world.token(world.admin))]),
        "super admin": (ALL, [bearer(world.token(world.root))]),
        "reader of tags": (frozenset({"tags:read"}), [bearer(world.token(made["tags"]))]),
    }


async def test_every_endpoint_answers_each_role_as_the_table_says(
    world: World, start: Start, upstream: Upstream
) -> None:
    made = {
        "manager": await add_user(world, "manager"),
        "tags": await add_user(world, await add_role(world, "tags only", {"tags:read"})),
    }
    gate = await start(
        world.url, preset="whatomate", keys={"hosted": False}, password={"hosted": False, "cost": 4}
    )
    asked = [one for one in TABLE if not one.path.startswith("/api/auth/") or "sso" in one.path]
    for who, (permissions, lines) in callers(world, made).items():
        async with Client(gate.address) as client:
            for endpoint in asked:
                seen = len(upstream.requests)
                answer = await client.exchange(request(endpoint.method, target(endpoint), *lines))
                passes = endpoint.admits(permissions)
                refused = 401 if permissions is None else 403
                assert answer.status == (200 if passes else refused), (who, str(endpoint), answer.body)
                assert len(upstream.requests) - seen == int(passes), (who, str(endpoint))


async def test_roles_of_older_installations_keep_what_their_pages_call(
    world: World, start: Start, upstream: Upstream
) -> None:
    """Before 2026-02-23 there were 71 permissions, agents had nine, and no later migration adds to a role."""
    await world.sql(
        "DELETE FROM role_permissions rp USING permissions p WHERE p.id = rp.permission_id "
        "AND p.resource || ':' || p.action = ANY($1)",
        list(LATE),
    )
    await world.sql("DELETE FROM permissions WHERE resource || ':' || action = ANY($1)", list(LATE))
    await world.sql(
        "DELETE FROM role_permissions rp USING permissions p, custom_roles r WHERE p.id = rp.permission_id "
        "AND r.id = rp.custom_role_id AND r.name = 'agent' AND p.resource = 'accounts'"
    )
    manager = await add_user(world, "manager")
    gate = await start(world.url, preset="whatomate")
    agents = (
        "GET /api/accounts",
        "GET /api/contacts",
        f"GET /api/contacts/{ID}/messages",
        f"POST /api/contacts/{ID}/messages",
        f"POST /api/contacts/{ID}/mark-read",
        "GET /api/canned-responses",
        "GET /api/call-logs",
        "GET /api/chatbot/transfers",
        "GET /api/tags",
        "GET /api/templates",
        "POST /api/messages/template",
    )
    for user, lines in ((world.agent, agents), (manager, (f"DELETE /api/chatbot/ai-contexts/{ID}",))):
        async with Client(gate.address) as client:
            for line in lines:
                answer = await client.exchange(request(*line.split(), bearer(world.token(user))))
                assert answer.status == 200, (line, answer.body)
    assert len(upstream.requests) == len(agents) + 1


async def test_an_unlisted_endpoint_is_for_role_writers_until_a_line_of_the_file_opens_it(
    world: World, start: Start, tmp_path: Path
) -> None:
    raw = request("GET", "/api/surveys/1", bearer(world.token(world.agent)))
    gate = await start(world.url, preset="whatomate")
    async with Client(gate.address) as client:
        assert (await client.exchange(raw)).status == 403
    line = '  - {name: surveys, match: {path: "/api/surveys/*"}, auth: required, require: chat:read}\n'
    assert line in PAGE.read_text(encoding="utf-8")
    routes = tmp_path / "routes.yaml"
    routes.write_text("routes:\n" + line)
    gate = await start(world.url, preset="whatomate", routes=routes)
    async with Client(gate.address) as client:
        assert (await client.exchange(raw)).status == 200


async def test_the_pages_that_choose_an_account_may_list_accounts(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, preset="whatomate")
    pages = (
        "templates",
        "flows.whatsapp",
        "campaigns",
        "call_logs",
        "ivr_flows",
        "chat",
        "contacts",
        "accounts",
    )
    for page in pages:
        user = await add_user(world, await add_role(world, f"reads {page}", {f"{page}:read"}))
        answer = await ask(gate, request("GET", "/api/accounts", bearer(world.token(user))))
        assert answer.status == 200, (page, answer.body)
    stranger = await add_user(world, await add_role(world, "reads tags", {"tags:read"}))
    is_refusal(await ask(gate, request("GET", "/api/accounts", bearer(world.token(stranger)))), 403)


async def test_agents_change_canned_responses_once_the_lines_of_the_page_open_them(
    world: World, start: Start, tmp_path: Path
) -> None:
    agent = bearer(world.token(world.agent))
    asks = [
        request("POST", "/api/canned-responses", agent, body=b"{}"),
        request("PUT", f"/api/canned-responses/{ID}", agent, body=b"{}"),
        request("DELETE", f"/api/canned-responses/{ID}", agent),
    ]
    gate = await start(world.url, preset="whatomate")
    for raw in asks:
        is_refusal(await ask(gate, raw), 403)
    (lines,) = re.findall(
        r"```yaml\n(routes:\n  - name: canned-responses-write\n.*?)```",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    routes = tmp_path / "routes.yaml"
    routes.write_text(lines, encoding="utf-8")
    gate = await start(world.url, preset="whatomate", routes=routes)
    for raw in asks:
        assert (await ask(gate, raw)).status == 200


async def add_role(world: World, name: str, permissions: set[str]) -> str:
    await world.sql(
        "WITH role AS (INSERT INTO custom_roles (organization_id, name, description, is_system, is_default) "
        "VALUES ($1, $2, '', false, false) RETURNING id) INSERT INTO role_permissions (custom_role_id, permission_id) "
        "SELECT role.id, p.id FROM role, permissions p WHERE p.resource || ':' || p.action = ANY($3)",
        world.home,
        name,
        list(permissions),
    )
    return name


async def add_user(world: World, role: str) -> UUID:
    return await world.accounts.administration.create_user(
        email=f"{role.replace(' ', '-')}@example.com",
        password=PASSWORD,
        full_name=role,
        organization_id=world.home,
        role=role,
    )


@pytest.mark.parametrize(
    ("who", "request_line"),
    [
        (EVERYBODY, "GET /"),
        (EVERYBODY, "GET /assets/index-1.js"),
        (EVERYBODY, "GET /chat/123"),
        # What nobody has listed: a path, a method, a slash at the end, another case.
        (ADMIN, "GET /api"),
        (ADMIN, "GET /api/tomorrow"),
        (ADMIN, "PATCH /api/contacts"),
        (ADMIN, f"DELETE /api/me2/{ID}"),
        (ADMIN, "GET /api/me/tomorrow"),
        (ADMIN, "GET /api/contacts/"),
        (ADMIN, "GET /api/analytics/tomorrow"),
        (ADMIN, f"GET /api/widgets/{ID}/tomorrow"),
        (ADMIN, "PUT /api/webhook"),
        (ADMIN, "GET /api/Webhook"),
        (ADMIN, "GET /api/webhook/"),
        (ADMIN, f"DELETE /api/organizations/{ID}"),
        (MANAGER, "GET /api/custom-actions/redirect"),
        (ADMIN, "POST /api/custom-actions/redirect/x"),
        (AGENT, "GET /API/TEMPLATES"),
        (MANAGER, "POST /API/TEMPLATES"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_in_the_table_keeps_the_safe_default(who: set[str], request_line: str) -> None:
    assert open_to(request_line) == who


def test_every_permission_asked_for_is_one_of_whatomates() -> None:
    asked = {
        one for route in plan().routes for one in [*(route.entry.require or []), *(route.entry.any or [])]
    }
    assert asked <= ALL
    # What no endpoint of Whatomate's is about: its pages alone look at these.
    assert ALL - asked == {"chat.assign:write", "organizations:delete"}


def test_nothing_below_api_is_open_but_what_whatomate_opens() -> None:
    opened = [row.endpoint for row in matrix(plan()) if NOBODY in row.granted and "/api" in row.endpoint]
    assert opened == [
        "GET POST /api/webhook",
        "* /api/auth/sso/*",
        "GET /api/custom-actions/redirect/{token}",
    ]


def test_the_page_shows_what_holds() -> None:
    printed = CliRunner().invoke(main, ["routes", "matrix"], env={"GATEWAY_PRESET": "whatomate"})
    assert printed.exit_code == 0
    remedy = (
        "write docs/preset.md anew from its mark on: GATEWAY_PRESET=whatomate whatomate-gateway routes matrix"
    )
    assert PAGE.read_text(encoding="utf-8").partition(MARK)[2] == printed.stdout, remedy


def test_the_page_shows_where_the_preset_is_stricter_than_the_server() -> None:
    section = PAGE.read_text(encoding="utf-8").partition(STRICTER)[2].partition(END)[0]
    assert section == stricter_section(), (
        "write the section of docs/preset.md anew: python -m tests.whatomate_endpoints"
    )
