"""check-config and routes: what an operator is told of a route file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from config.routes import schema
from tests.support.commands import ENOUGH, refused

if TYPE_CHECKING:
    from tests.support.commands import Run


def put(folder: Path, text: str) -> str:
    path = folder / "routes.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_check_config_tells_every_mistake_with_file_and_line(run: Run, tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "routes:\n  - name: a\n    match: {path: /a}\n  - {name: b, auth: public, match: {path: b}}\n",
    )
    result = run("check-config", **ENOUGH, GATEWAY_ROUTES=path, GATEWAY_DATABASE_POOL_MAX="0")
    refused(
        result,
        2,
        "GATEWAY_DATABASE_POOL_MAX: should be greater than or equal to 1, is '0' (Connections at most, per process)",
        f"{path}:2: routes[0].auth: is missing",
        f"{path}:4: routes[1].match.path[0]: should begin with /",
    )
    assert result.stdout == ""


def test_check_config_refuses_a_route_for_what_is_hosted(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, "routes:\n  - {name: a, auth: public, match: {path: /api/auth/login}}\n")
    told = "route a: /api/auth/login is answered by the gateway itself, and cannot be routed"
    refused(run("check-config", **ENOUGH, GATEWAY_ROUTES=path), 2, f"{path}:2: {told}")


def test_serve_does_not_begin_with_a_file_that_is_wrong(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, "routes: [{name: a, match: {path: /a}}]")
    refused(run("serve", **ENOUGH, GATEWAY_ROUTES=path), 2, f"{path}:1: routes[0].auth: is missing")


def test_check_config_takes_what_is_right_and_warns_of_a_permission_nobody_knows(
    run: Run, tmp_path: Path
) -> None:
    path = put(tmp_path, "routes: [{name: a, auth: required, require: contacts:raed, match: {path: /a}}]")
    result = run("check-config", **ENOUGH, GATEWAY_ROUTES=path, GATEWAY_PRESET="whatomate")
    assert result.exit_code == 0
    assert f"GATEWAY_ROUTES={path}" in result.stdout.splitlines()
    assert "GATEWAY_PRESET=whatomate" in result.stdout.splitlines()
    assert f"{path}:1: route a: contacts:raed is none of Whatomate's permissions" in result.stderr


BILLING = """
upstreams: {billing: {url: "http://billing:9000"}}
routes: [{name: billing, auth: required, match: {path: /billing/*}, upstream: billing}]
"""


def test_check_config_refuses_an_upstream_that_no_route_leads_to(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path, BILLING)
    alone = run("check-config", **ENOUGH, GATEWAY_ROUTES=path)
    assert alone.exit_code == 2
    assert "Error: no route leads to GATEWAY_UPSTREAM_URL: its paths are 404" in alone.stderr
    assert "add a last route: {name: rest, match: {path: /*}, auth: required}" in alone.stderr
    assert (
        "no route leads"
        not in run("check-config", **ENOUGH, GATEWAY_ROUTES=path, GATEWAY_PRESET="whatomate").stderr
    )
    rest = BILLING.strip().removesuffix("]") + ", {name: rest, match: {path: /*}, auth: required}]"
    assert "no route leads" not in run("check-config", **ENOUGH, GATEWAY_ROUTES=put(tmp_path, rest)).stderr
    no_default = {**ENOUGH, "GATEWAY_UPSTREAM_URL": ""}
    assert "no route leads" not in run("check-config", **no_default, GATEWAY_ROUTES=path).stderr
    unused = put(tmp_path, BILLING.replace("{billing:", "{reports: {url: 'http://reports:1'}, billing:"))
    assert (
        "no route leads to the upstream reports"
        in run("check-config", **no_default, GATEWAY_ROUTES=unused).stderr
    )


ADMIN = """
upstreams: {other: {url: "http://other:9000"}}
routes:
  - {name: admin, auth: required, require: "users:write", match: MATCH}
  - {name: open, auth: public, match: {path: /billing/open}}
  - {name: rest, auth: required, match: {path: "/billing/*"}UPSTREAM}
  - {name: others, auth: required, match: {path: "/other/*"}, upstream: other}
"""


@pytest.mark.parametrize(
    ("match", "line"),
    [
        ("{path: /billing/admin}", "match: {prefix: /billing/admin}"),
        ('{path: "/billing/admin/*"}', "match: {prefix: /billing/admin}"),
        ('{path: "/billing/{id}/admin"}', 'match: {prefix: "/billing/{id}/admin"}'),
        ("{path: /billing/admin, methods: GET}", "match: {prefix: /billing/admin}"),
        ('{path: "/billing/{id}"}', 'match: {prefix: "/billing/{id}"}'),
    ],
)
def test_check_config_warns_of_a_path_above_a_weaker_one_and_takes_its_own_advice(
    run: Run, tmp_path: Path, match: str, line: str
) -> None:
    path = put(tmp_path, ADMIN.replace("MATCH", match).replace("UPSTREAM", ""))
    told = run("check-config", **ENOUGH, GATEWAY_ROUTES=path).stderr
    assert f"{path}:4: route admin: other spellings of /billing/" in told
    assert f"fall to route rest, {path}:6, which asks for less; write {line}" in told
    assert told.count("other spellings") == 1
    advised = line.removeprefix("match: ")
    path = put(tmp_path, ADMIN.replace("MATCH", advised).replace("UPSTREAM", ""))
    result = run("check-config", **ENOUGH, GATEWAY_ROUTES=path)
    assert (result.exit_code, "other spellings" in result.stderr) == (0, False)


def test_check_config_has_no_doubt_about_the_examples_of_the_presets_page(run: Run, tmp_path: Path) -> None:
    """The preset's route for everything else asks for roles:write, and so for all permissions."""
    page = (Path(__file__).parents[2] / "docs/preset.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    environment = {**ENOUGH, "GATEWAY_PRESET": "whatomate", "GATEWAY_COOKIES": "on"}
    for example in examples:
        result = run("check-config", **environment, GATEWAY_ROUTES=put(tmp_path, example))
        assert (result.exit_code, result.stderr) == (0, "")


def test_check_config_does_not_warn_where_nothing_weaker_is_behind(run: Run, tmp_path: Path) -> None:
    for file in (
        ADMIN.replace("MATCH", "{path: /billing/admin}").replace("UPSTREAM", ", upstream: other"),
        ADMIN.replace("MATCH", "{path: /elsewhere}").replace("UPSTREAM", ""),
        ADMIN.replace("MATCH", "{path: /billing/admin}").replace("UPSTREAM", ", require: [users:write, a:b]"),
        ADMIN.replace("MATCH", "{path: /billing/admin, methods: GET}").replace(
            '"/billing/*"}UPSTREAM', '"/billing/*", methods: [POST]}'
        ),
        ADMIN.replace("MATCH", "{path: /billing/admin}")
        .replace("UPSTREAM", "")
        .replace(
            "  - {name: open",
            '  - {name: mid, auth: required, require: "users:write", match: {prefix: /billing/admin}}\n  - {name: open',
        )
        .replace("match: {path: /billing/admin}", "match: {path: /billing/admin/users}"),
    ):
        result = run("check-config", **ENOUGH, GATEWAY_ROUTES=put(tmp_path, file))
        assert result.exit_code == 0, result.stderr
        assert "other spellings" not in result.stderr, file


def test_routes_are_listed_with_what_they_need_and_where_they_are_written(run: Run, tmp_path: Path) -> None:
    path = put(
        tmp_path,
        'routes:\n  - {name: users-read, auth: required, any: [a:b, c:d], match: {host: x.y, path: "/u/{id}"}}\n',
    )
    result = run("routes", "list", GATEWAY_ROUTES=path)
    assert result.stdout == f"users-read\t* x.y/u/{{id}}\ta:b or c:d\tupstream\t{path}:2\n"
    both = run("routes", "list", GATEWAY_ROUTES=path, GATEWAY_PRESET="whatomate").stdout
    assert len([line for line in both.splitlines() if line.startswith("users-read\t")]) == 1


def test_the_schema_is_printed_for_editors(run: Run) -> None:
    assert json.loads(run("routes", "schema").stdout) == json.loads(json.dumps(schema()))


@pytest.mark.parametrize("command", ["list", "matrix"])
def test_without_routes_there_is_nothing_to_show(run: Run, command: str) -> None:
    refused(run("routes", command), 2, "neither GATEWAY_ROUTES nor GATEWAY_PRESET is set")
