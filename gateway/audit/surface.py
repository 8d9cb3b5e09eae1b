"""Audit checks of the exposed surface: operators' pages, files of the deployment, errors that reveal internals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.audit.check import Check

if TYPE_CHECKING:
    from gateway.audit.target import Target

_PAGES: Final = {
    "/metrics": re.compile(rb"^# (?:HELP|TYPE) ", re.MULTILINE),
    "/status.json": re.compile(rb'"(?:recent|upstreams|workers)"\s*:\s*[\[{]'),
    "/readyz": re.compile(rb'"checks"\s*:\s*\{'),
    "/debug/pprof/": re.compile(rb"Types of profiles available|full goroutine stack dump"),
    "/debug/vars": re.compile(rb'"(?:memstats|cmdline)"'),
    "/server-status": re.compile(rb"Apache Server Status|Active connections:"),
    "/actuator/env": re.compile(rb'"propertySources"'),
    "/.env": re.compile(rb"^[A-Z][A-Z0-9_]{2,}=.", re.MULTILINE),
    "/.git/HEAD": re.compile(rb"\Aref: refs/"),
    "/config.toml": re.compile(rb"^\[(?:database|jwt|app|server)\]", re.MULTILINE),
    "/phpinfo.php": re.compile(rb"phpinfo\(\)"),
}
_INSIDE: Final = re.compile(
    rb"Traceback \(most recent|goroutine \d+ \[|panic: |\tat [\w.$]+\(|SQLSTATE|pq: |asyncpg|stack trace:"
    rb"|/usr/(?:lib|local)/",
    re.IGNORECASE,
)


async def pages(target: Target) -> list[str]:
    """Ask for pages that operators and deployments have, and look at what comes back."""
    found = []
    for path, known in _PAGES.items():
        answer = await target.once(path)
        if answer.succeeded and known.search(answer.body):
            found.append(f"GET {path}: {answer.status}, open to everybody")
    return found


async def words(target: Target) -> list[str]:
    """Make mistakes, and look for the inside in the answers."""
    json = "Content-Type: application/json"
    answers = {
        f"POST {target.login} with half a document": await target.ask(
            "POST", target.login, json, body=b'{"email": '
        ),
        f"POST {target.login} with other types": await target.ask(
            "POST", target.login, json, body=b'{"email": [1], "password": {}}'
        ),
        f"GET {target.protected}?id=%27": await target.ask("GET", f"{target.protected}?id=%27%22%00"),
        f"GET {target.protected} with a bad token": await target.ask(
            "GET", target.protected, "Authorization: Bearer a.b.c"
        ),
        "a method of its own": await target.ask("AUDIT", target.public),
    }
    return [
        f"{label}: {one.status}, with words of the inside"
        for label, one in answers.items()
        if _INSIDE.search(one.body)
    ]


CHECKS: Final = (
    Check(
        "admin-pages",
        "Pages of operators and files of the deployment",
        "Metrics, status, profiles and settings are not on the public address.",
        "Serve them on another listener (GATEWAY_ADMIN_LISTEN) and forward no path that has them.",
        pages,
    ),
    Check(
        "errors-tell-nothing",
        "What mistakes are answered with",
        "No answer quotes a program, a statement or a file of the inside.",
        "Answer errors in words of your own, and log the rest.",
        words,
    ),
)
