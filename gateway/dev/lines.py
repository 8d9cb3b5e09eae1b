"""Shell lines that ``dev`` prints: they can be pasted into bash from top to bottom, and need curl and python3 alone.

Without curl on the machine the first line defines a stand-in (:mod:`gateway.dev.curl`).
"""

from __future__ import annotations

import json
import secrets
import shlex
import sys
from typing import TYPE_CHECKING, Final

from gateway.dev.seed import ADMIN, AGENT, MEMBER, SUPER_ADMIN

if TYPE_CHECKING:
    from gateway.dev.seed import Demo

_TOKEN: Final = shlex.quote('import json, sys; print(json.load(sys.stdin)["data"]["access_token"])')
_PRETTY: Final = "python3 -m json.tool"
_BEARER: Final = '-H "Authorization: Bearer $TOKEN"'


def address_lines(demo: Demo, url: str, admin_url: str, upstream_url: str) -> str:
    """Return the lines that list the addresses and the demo users."""
    return "\n".join(
        (
            f"gateway   {url}",
            f"admin     {admin_url}/status  {admin_url}/readyz  {admin_url}/metrics",
            f"upstream  {upstream_url}",
            f"users     {ADMIN}, {AGENT}, {MEMBER} (of both organizations), {SUPER_ADMIN}",
            f"password  {demo.password}",
        )
    )


def curl_lines(demo: Demo, url: str, admin_url: str, *, has_curl: bool = True) -> str:
    """Return the curl lines. The newcomer's e-mail is a new one each time, since the data stays."""
    newcomer = {
        "email": f"newcomer-{secrets.token_hex(3)}@demo.example",
        "password": demo.password,
        "full_name": "Nova Newcomer",
        "organization_id": str(demo.organization_id),
    }
    login = {"email": MEMBER, "password": demo.password}
    why = {"as": AGENT, "method": "GET", "path": "/api/api-keys"}
    switch = {"organization_id": str(demo.other_id)}
    stand_in = (
        "# curl is not installed here; this stands in for it",
        f'curl() {{ {shlex.quote(sys.executable)} -m gateway.dev.curl "$@"; }}',
    )
    return "\n".join(
        (
            *(() if has_curl else stand_in),
            "# register in the organization Demo",
            f"{_post(url, 'register', newcomer)} | {_PRETTY}",
            f"# sign in as {MEMBER}",
            f"TOKEN=$({_post(url, 'login', login)} | python3 -c {_TOKEN})",
            "# reach the upstream by token: it answers with the request it received",
            f"curl -sS {url}/api/contacts {_BEARER} | {_PRETTY}",
            f"# the same by API key, which acts as {ADMIN}",
            f"curl -sS {url}/api/contacts -H {shlex.quote(f'X-API-Key: {demo.api_key}')} | {_PRETTY}",
            "# act in the other organization, with another role",
            f"TOKEN=$({_post(url, 'switch-org', switch)} {_BEARER} | python3 -c {_TOKEN})",
            f"curl -sS {url}/api/contacts {_BEARER} | {_PRETTY}",
            f"# why may {AGENT} not list the API keys? nothing is sent",
            f"{_json(admin_url, 'explain', why)} | {_PRETTY}",
        )
    )


def _post(url: str, endpoint: str, body: dict[str, str]) -> str:
    return _json(f"{url}/api/auth", endpoint, body)


def _json(url: str, endpoint: str, body: dict[str, str]) -> str:
    return f"curl -sS {url}/{endpoint} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
