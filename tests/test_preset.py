"""The preset for Whatomate: every endpoint has a permission of the catalogue, and each role can do its work."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from authcore.permissions import ALL
from config.route_file import RoutePlan, read_plan
from config.settings import Settings
from gateway.assembly.matrix import NOBODY, WHO, matrix, may
from gateway.assembly.planned import planned_rules
from gateway.cli import main
from gateway.metrics import Metrics
from gateway.proxy.routes import RouteTable
from tests.proxy.nowhere import NOWHERE

PAGE = Path(__file__).parents[1] / "docs" / "preset.md"
MARK = "<!-- from here on: GATEWAY_PRESET=whatomate whatomate-gateway routes matrix -->\n"

ID = "6f2f0f0e-8a3c-4a56-9d5b-0f0f4a3c9e11"
ADMIN, MANAGER, AGENT = {"admin"}, {"admin", "manager"}, {"admin", "manager", "agent"}
EVERYBODY = {NOBODY, *AGENT}

EXPECTED: list[tuple[set[str], str]] = [
    (EVERYBODY, "GET /health"),
    (EVERYBODY, "GET /ready"),
    (EVERYBODY, "GET /"),
    (EVERYBODY, "GET /assets/index-1.js"),
    (EVERYBODY, "GET /chat/123"),
    (EVERYBODY, "GET /api/webhook"),
    (EVERYBODY, "POST /api/webhook"),
    (EVERYBODY, "GET /api/auth/sso/providers"),
    (EVERYBODY, "GET /api/auth/sso/google/init"),
    (EVERYBODY, f"GET /api/custom-actions/redirect/{ID}"),
    *(
        (AGENT, f"GET {path}")
        for path in ("/ws", "/api/auth/ws-token", "/api/me", "/api/organizations/current")
    ),
    *((AGENT, f"PUT /api/me/{part}") for part in ("settings", "password", "availability")),
    (AGENT, "GET /api/me/organizations"),
    # What an agent's day is made of.
    (AGENT, "GET /api/contacts"),
    (AGENT, f"GET /api/contacts/{ID}"),
    (AGENT, f"GET /api/contacts/{ID}/messages"),
    (AGENT, f"GET /api/contacts/{ID}/session-data"),
    (AGENT, f"POST /api/contacts/{ID}/messages"),
    (AGENT, f"POST /api/contacts/{ID}/messages/{ID}/reaction"),
    (AGENT, "POST /api/messages"),
    (AGENT, "POST /api/messages/template"),
    (AGENT, "POST /api/messages/media"),
    (AGENT, f"PUT /api/messages/{ID}/read"),
    (AGENT, f"GET /api/media/{ID}"),
    (AGENT, "GET /api/tags"),
    (AGENT, "GET /api/canned-responses"),
    (AGENT, f"POST /api/canned-responses/{ID}/use"),
    (AGENT, "GET /api/custom-actions"),
    (AGENT, f"POST /api/custom-actions/{ID}/execute"),
    (AGENT, "GET /api/chatbot/transfers"),
    (AGENT, "POST /api/chatbot/transfers"),
    (AGENT, "POST /api/chatbot/transfers/pick"),
    (AGENT, f"PUT /api/chatbot/transfers/{ID}/resume"),
    (AGENT, f"PUT /api/chatbot/transfers/{ID}/assign"),
    (AGENT, "GET /api/analytics/agents"),
    (AGENT, f"GET /api/analytics/agents/{ID}"),
    (AGENT, "GET /api/analytics/agents/comparison"),
    (AGENT, "GET /api/teams"),
    # And a manager's.
    (MANAGER, "POST /api/contacts"),
    (MANAGER, f"PUT /api/contacts/{ID}"),
    (MANAGER, f"DELETE /api/contacts/{ID}"),
    (MANAGER, f"PUT /api/contacts/{ID}/assign"),
    (MANAGER, "POST /api/contacts/import"),
    (MANAGER, "GET /api/contacts/export"),
    (MANAGER, "POST /api/import"),
    (MANAGER, "POST /api/export"),
    (MANAGER, "GET /api/export/contacts/config"),
    (MANAGER, "POST /api/tags"),
    (MANAGER, "DELETE /api/tags/vip"),
    (MANAGER, "POST /api/canned-responses"),
    (MANAGER, "POST /api/custom-actions"),
    (MANAGER, f"GET /api/custom-actions/{ID}"),
    (MANAGER, "GET /api/accounts"),
    (MANAGER, "POST /api/accounts"),
    (MANAGER, f"GET /api/accounts/{ID}/business_profile"),
    (MANAGER, f"PUT /api/accounts/{ID}/business_profile"),
    (MANAGER, f"POST /api/accounts/{ID}/test"),
    (MANAGER, f"POST /api/accounts/{ID}/subscribe"),
    (MANAGER, "GET /api/catalogs"),
    (MANAGER, "POST /api/catalogs/sync"),
    (MANAGER, "GET /api/templates"),
    (MANAGER, "POST /api/templates/sync"),
    (MANAGER, f"POST /api/templates/{ID}/publish"),
    (MANAGER, "GET /api/flows"),
    (MANAGER, "POST /api/flows/sync"),
    *((MANAGER, f"POST /api/flows/{ID}/{verb}") for verb in ("save-to-meta", "publish", "deprecate")),
    (MANAGER, "GET /api/campaigns"),
    (MANAGER, "POST /api/campaigns"),
    *((MANAGER, f"POST /api/campaigns/{ID}/{verb}") for verb in ("start", "pause", "cancel")),
    (MANAGER, f"GET /api/campaigns/{ID}/recipients"),
    (MANAGER, f"POST /api/campaigns/{ID}/recipients/import"),
    (MANAGER, "GET /api/chatbot/settings"),
    (MANAGER, "PUT /api/chatbot/settings"),
    *((MANAGER, f"POST /api/chatbot/{part}") for part in ("keywords", "flows", "ai-contexts")),
    *((MANAGER, f"DELETE /api/chatbot/{part}/{ID}") for part in ("keywords", "flows", "ai-contexts")),
    (MANAGER, "GET /api/chatbot/sessions"),
    (MANAGER, "GET /api/analytics/dashboard"),
    (MANAGER, "GET /api/widgets"),
    (MANAGER, "GET /api/webhooks"),
    (MANAGER, f"POST /api/webhooks/{ID}/test"),
    (MANAGER, "GET /api/org/settings"),
    (MANAGER, "PUT /api/org/settings"),
    (MANAGER, "GET /api/organizations"),
    (MANAGER, "GET /api/organizations/members"),
    # The admin's alone.
    *((ADMIN, f"{method} /api/users") for method in ("GET", "POST")),
    *((ADMIN, f"{method} /api/users/{ID}") for method in ("GET", "PUT", "DELETE")),
    *((ADMIN, f"{method} /api/roles") for method in ("GET", "POST")),
    (ADMIN, "GET /api/permissions"),
    (ADMIN, "POST /api/teams"),
    (ADMIN, f"DELETE /api/teams/{ID}"),
    (ADMIN, f"POST /api/teams/{ID}/members"),
    (ADMIN, "POST /api/widgets"),
    (ADMIN, "POST /api/analytics/meta/refresh"),
    (ADMIN, "GET /api/settings/sso"),
    (ADMIN, "PUT /api/settings/sso/google"),
    (ADMIN, "DELETE /api/settings/sso/google"),
    (ADMIN, "POST /api/organizations"),
    (ADMIN, f"DELETE /api/organizations/{ID}"),
    (ADMIN, "POST /api/organizations/members"),
    (ADMIN, f"DELETE /api/organizations/members/{ID}"),
    (ADMIN, "GET /api/api-keys"),
    # What nobody has listed: a path, a method, a slash at the end, another case.
    (ADMIN, "GET /api"),
    (ADMIN, "GET /api/tomorrow"),
    (ADMIN, "PATCH /api/contacts"),
    (ADMIN, f"DELETE /api/me2/{ID}"),
    (ADMIN, "GET /api/contacts/"),
    (ADMIN, "PUT /api/webhook"),
    (ADMIN, "GET /api/Webhook"),
    (ADMIN, "GET /api/webhook/"),
    (MANAGER, "GET /api/custom-actions/redirect"),
    (ADMIN, "POST /api/custom-actions/redirect/x"),
    (MANAGER, "GET /API/TEMPLATES"),
]


@cache
def plan() -> RoutePlan:
    found = read_plan(Settings.model_validate({"preset": "whatomate", "upstream": {"url": "http://u"}}))
    assert found is not None
    return found


@cache
def table() -> RouteTable:
    return RouteTable({}, planned_rules(plan(), Settings(), Metrics(), {"default": NOWHERE}), None)


@pytest.mark.parametrize(
    ("who", "request_line"), EXPECTED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_endpoint_is_for_who_should_have_it(who: set[str], request_line: str) -> None:
    method, path = request_line.split()
    requirement = table().match(method.encode(), path, preflight=False).requirement
    assert {name for name, principal in WHO.items() if may(principal, requirement)} == who


def test_every_permission_asked_for_is_one_of_whatomates_and_each_of_them_is_asked_for() -> None:
    asked = {
        one for route in plan().routes for one in [*(route.entry.require or []), *(route.entry.any or [])]
    }
    assert asked == ALL


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
