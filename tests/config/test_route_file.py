"""The route file: every mistake is told with its line, and what makes a text mean two things is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from config import route_checks
from config.route_file import preset_text
from config.route_text import read_text
from config.routes import schema
from gateway.proxy.headers import FORWARDED, MANAGED_PREFIXES
from tests.config.loading import GOOD, load, problems_of
from tests.config.planning import planned, problems

if TYPE_CHECKING:
    from config.route_plan import RoutePlan

METHODS = "'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE' or 'OPTIONS'"
ASKS = "`require` asks for permissions, and `auth: public` lets in who has none"
SCHEMA = Path(__file__).parents[2] / "config" / "routes.schema.json"


def test_every_problem_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    assert problems(
        tmp_path,
        """\
        upstreams:
          far: {url: "ftp://far"}
          near: {url: "http://near", connections: 0}
        routes:
          - name: no-auth
            match: {path: /a}
          - name: wrong
            match: {path: [/b, b], methods: [GET, SEND]}
            auth: required
            color: blue
          - name: public-with
            match: {path: /c}
            auth: public
            require: a:b
          - name: lost
            match: {path: /d}
            auth: required
            upstream: elsewhere
        """,
    ) == [
        (
            "routes.yaml:2: upstreams.far.url[0]: should be http://host:port or https://host:port, without a user, a "
            "path or a query; or unix:/path"
        ),
        "routes.yaml:3: upstreams.near.connections: Input should be greater than or equal to 1",
        "routes.yaml:5: routes[0].auth: is missing",
        "routes.yaml:8: routes[1].match.path[1]: should begin with /",
        f"routes.yaml:8: routes[1].match.methods[1]: Input should be {METHODS}",
        "routes.yaml:10: routes[1].color: is no key of this place",
        f"routes.yaml:14: route public-with: {ASKS}",
        "routes.yaml:15: route lost: no upstream 'elsewhere'; there are far, near, upstream",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("auth: sometimes", ":3: routes[0].auth: Input should be 'required', 'optional' or 'public'"),
        ("{}", ":1: routes[0].auth: is missing"),
        ("{auth: public, shadow: 'yes'}", ": routes[0].shadow: Input should be a valid boolean"),
        ("{auth: public, shadow: yes}", ": routes[0].shadow: Input should be a valid boolean"),
        (
            "{auth: public, body_limit_bytes: 1.5}",
            ": routes[0].body_limit_bytes: Input should be a valid integer",
        ),
        ("{auth: required, require: []}", ": routes[0].require: should have at least one entry"),
        ("{auth: required, require: 1}", ": routes[0].require: should be a list"),
        (
            "{auth: required, require: contacts}",
            ": routes[0].require[0]: should be resource:action in small letters",
        ),
        ("{auth: required, identity: []}", ": routes[0].identity: should have at least one entry"),
        ("{auth: required, identity: 1}", ": routes[0].identity: should be a list"),
        (
            "{auth: required, identity: X-User-ID}",
            ": routes[0].identity: no identity header is called 'X-User-ID'",
        ),
        ("{auth: public, headers: 1}", ": routes[0].headers: should be keys with values"),
        ("{auth: public, headers: {set: {X A: x}}}", "should be the name of a header, such as X-Team"),
        ("{auth: required, require: a:b, any: [c:d]}", ": route r: `require` and `any` together"),
        (
            "{auth: optional, any: [c:d]}",
            "`any` asks for permissions, and `auth: optional` lets in who has none",
        ),
        (
            "{auth: required, tickets: true, credential: strip}",
            "`strip` takes a credential out of the headers",
        ),
        ("{auth: public, tickets: true}", "`tickets` names a credential, and `auth: public` looks at none"),
        (
            "{auth: public, shadow: true}",
            "`shadow` forwards what is refused, and `auth: public` refuses nobody",
        ),
        ("{auth: public, strip_prefix: /b}", "/a/{id} is not below /b"),
        ("{auth: public, strip_prefix: /a/}", "should be plain segments, such as /billing"),
        ("{auth: public, strip_prefix: /a, rewrite: /b}", "`strip_prefix` and `rewrite` together"),
        ("{auth: public, rewrite: '/b/{other}'}", "/a/{id} has no {other}"),
        (
            "{auth: public, rewrite: /b/*}",
            "a final /* stands for what is below, and /a/{id} has nothing below",
        ),
        ("{auth: public, rewrite: /b/../c}", "segment '..' should be plain text"),
        ("{auth: public, rewrite: '/b/{id:opaque}'}", "should have {name} without :opaque"),
        ("{auth: public, rewrite: /caf\u00e9}", "should be ASCII"),
        ("{auth: public, headers: {set: {X-User-ID: x}}}", "X-User-ID is a header of the gateway's own"),
        ("{auth: public, headers: {add: {x_user.id: x}}}", "x_user.id is a header of the gateway's own"),
        (
            "{auth: public, headers: {set: {X-Forwarded-For: x}}}",
            "X-Forwarded-For is a header of the gateway's own",
        ),
        ("{auth: public, headers: {set: {Content-Length: '1'}}}", "Content-Length decides about the message"),
        (
            "{auth: public, headers: {set: {Authorization: x}}}",
            "Authorization decides about the message or holds a cred",
        ),
        ("{auth: public, headers: {add: {Host: x}}}", "Host decides about the message"),
        ("{auth: public, headers: {set: {Host: 'a b'}}}", "Host should be a host, perhaps with a port"),
        ("{auth: public, headers: {set: {host: ''}}}", "host should be a host, perhaps with a port"),
        (
            "{auth: public, headers: {set: {Host: 'http://app'}}}",
            "Host should be a host, perhaps with a port",
        ),
        ("{auth: public, headers: {set: {X-A: x, x_a: y}}}", "x_a is there twice, in another spelling"),
        ("{auth: public, headers: {set: {X-A: x}, add: {X-A: y}}}", "x-a is in `set` as well"),
        ('{auth: public, headers: {set: {X-A: "a\\nb"}}}', "should hold no control character"),
        ("{auth: public, cors: {origins: ['*']}}", "should be scheme://host"),
        ("{auth: public, cors: {origins: ['null'], credentials: true}}", "null is every page that likes"),
    ],
)
def test_what_a_route_cannot_mean_is_refused(tmp_path: Path, line: str, told: str) -> None:
    rest = line[1:-1] if line.startswith("{") else ""
    text = f'routes: [{{name: r, match: {{path: "/a/{{id}}"}}{", " if rest else ""}{rest}}}]'
    if line.startswith("auth"):
        text = f'routes:\n  - {{name: r, match: {{path: "/a/{{id}}"}},\n     {line}}}'
    assert any(told in problem for problem in problems(tmp_path, text))


EMPTY: dict[str, tuple[str, str]] = {
    "RouteFile": ("{key}: null", "{key}"),
    "UpstreamEntry": ("upstreams: {{u: {{{key}: null}}}}", "upstreams.u.{key}"),
    "EndpointEntry": ("upstreams: {{u: {{endpoints: [{{{key}: null}}]}}}}", "upstreams.u.endpoints[0].{key}"),
    "TlsEntry": ("upstreams: {{u: {{tls: {{{key}: null}}}}}}", "upstreams.u.tls.{key}"),
    "HealthEntry": ("upstreams: {{u: {{health: {{{key}: null}}}}}}", "upstreams.u.health.{key}"),
    "EjectionEntry": ("upstreams: {{u: {{ejection: {{{key}: null}}}}}}", "upstreams.u.ejection.{key}"),
    "RetryEntry": ("upstreams: {{u: {{retry: {{{key}: null}}}}}}", "upstreams.u.retry.{key}"),
    "BreakerEntry": ("upstreams: {{u: {{breaker: {{{key}: null}}}}}}", "upstreams.u.breaker.{key}"),
    "LimitEntry": ("limits: {{l: {{{key}: null}}}}", "limits.l.{key}"),
    "RouteEntry": ("routes: [{{{key}: null}}]", "routes[0].{key}"),
    "Match": ("routes: [{{match: {{{key}: null}}}}]", "routes[0].match.{key}"),
    "Headers": ("routes: [{{headers: {{{key}: null}}}}]", "routes[0].headers.{key}"),
}


@pytest.mark.parametrize("entry", EMPTY)
def test_no_key_of_a_route_file_is_without_a_value(tmp_path: Path, entry: str) -> None:
    text, place = EMPTY[entry]
    found = schema()
    for key in (found if entry == "RouteFile" else found["$defs"][entry])["properties"]:
        told = f"routes.yaml:1: {place.format(key=key)}: has no value; write one, or leave the key out"
        assert told in problems(tmp_path, text.format(key=key)), key


def test_a_requirement_whose_lines_were_taken_out_is_told_at_its_key(tmp_path: Path) -> None:
    text = """\
    routes:
      - name: r
        match: {path: /a}
        auth: required
        require:
          # - users:read
    """
    assert problems(tmp_path, text) == [
        "routes.yaml:5: routes[0].require: has no value; write one, or leave the key out"
    ]


def test_a_problem_is_one_line_and_moves_no_cursor(tmp_path: Path) -> None:
    found = problems(tmp_path, 'upstreams: {"a\\nb\\x1b[2Jü": {url: 5}}')
    assert all(problem.isprintable() for problem in found), found
    assert any("upstreams.a\\nb\\x1b[2Jü" in problem for problem in found), found


def test_two_routes_without_an_order_are_an_error_that_names_both_lines(tmp_path: Path) -> None:
    (problem,) = problems(
        tmp_path,
        """\
        routes:
          - name: one
            match: {path: "/a/{x}/c"}
            auth: required
          - name: two
            match: {path: "/a/b/{y}"}
            auth: public
        """,
    )
    assert problem.startswith("routes.yaml:5: route two: /a/b/{y} and /a/{x}/c of route one, ")
    assert "routes.yaml:2, can both take a request, and neither is more specific" in problem


def test_a_name_stands_for_one_route(tmp_path: Path) -> None:
    text = "routes:\n  - {name: a, auth: public, match: {path: /a}}\n  - {name: a, auth: public, match: {path: /b}}"
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("routes.yaml:3: route a: named twice, first at ")


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("match: {}", "routes[0].match: should have `path` or `prefix`"),
        ("match: {host: a.test}", "routes[0].match: should have `path` or `prefix`"),
        ("match: {prefix: /a/}", "should be a path such as /billing/admin, without a / or /*"),
        ("match: {prefix: /a/*}", "should be a path such as /billing/admin, without a / or /*"),
        ("match: {prefix: /}", "should be a path such as /billing/admin, without a / or /*"),
        ("match: {prefix: a}", "routes[0].match.prefix[0]: should begin with /"),
        ("match: {prefix: '/a/{b:opaque}'}", "should have no {name:opaque}, which is for `path` alone"),
        ("match: {prefix: /c/d}, strip_prefix: /c/d/e", "/c/d/* is not below /c/d/e"),
        ("match: {prefix: /c}, rewrite: /d", "/c/* has paths below, all of which would become /d"),
    ],
)
def test_what_a_prefix_cannot_mean_is_refused(tmp_path: Path, rest: str, told: str) -> None:
    text = f"routes: [{{name: r, auth: required, {rest}}}]"
    assert any(told in problem for problem in problems(tmp_path, text))


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("match: {path: '/a/{b:opaque}/c'}", "{b:opaque} should be the last segment, with nothing below it"),
        ("match: {path: '/a/{b:opaque}/*'}", "{b:opaque} should be the last segment, with nothing below it"),
        ("match: {path: '/a/{b:regex}'}", "segment '{b:regex}' should be plain text"),
        ("match: {path: '/a/{b:opaque}'}, strip_prefix: /a", "/a/{b:opaque} is forwarded as it came"),
        ("match: {path: '/a/{b:opaque}'}, rewrite: '/{b}'", "/a/{b:opaque} is forwarded as it came"),
    ],
)
def test_what_an_opaque_segment_cannot_mean_is_refused(tmp_path: Path, rest: str, told: str) -> None:
    text = f"routes: [{{name: r, auth: required, {rest}}}]"
    assert any(told in problem for problem in problems(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "a: &x [1]\nb: *x",
            ["1: anchor &x: anchors are not taken, write it out", "2: alias *x: aliases are not taken"],
        ),
        ("a: 1\nb: 2\na: 3", ["3: duplicate key 'a', first on line 1"]),
        ("a: 1\n---\nb: 2", ["2: a second document"]),
        (
            "a: !!python/object/apply:os.system [x]",
            ["1: tag tag:yaml.org,2002:python/object/apply:os.system"],
        ),
        ("a: !mine 1", ["1: tag !mine: tags are not taken"]),
        ("? [a, b]\n: c", ["1: a key should be a name"]),
        ("a: [1\nb: 2", ["2: not YAML: "]),
        ("a: {x}/c}", ["1: not YAML: "]),
        ("\ta: 1", ["1: not YAML: "]),
        ("a: \x07", ["1: not YAML: "]),
        ("[" * 17 + "]" * 17, ["1: nested deeper than 16"]),
        ("[" * 100_000, ["1: nested deeper than 16"]),
        (
            f"a: 1\nb: {'1' * 5_000}\nc: -{'9' * 41}",
            ["2: a number of more than 40", "3: a number of more than"],
        ),
        ("", ["1: is empty; write `routes: []` for no routes"]),
        ("null", ["1: is empty"]),
    ],
)
def test_what_makes_a_text_mean_another_is_refused(text: str, told: list[str]) -> None:
    read = read_text(text.encode())
    assert read.value is None
    assert len(read.problems) == len(told)
    for (line, problem), expected in zip(read.problems, told, strict=True):
        assert f"{line}: {problem}".startswith(expected)


def test_a_bomb_of_aliases_is_refused_unbuilt() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40)
    )
    assert read_text(bomb.encode()).value is None
    assert read_text(b"#" * (4 * 1024 * 1024 + 1)).problems == [(1, "larger than 4194304 bytes")]
    assert read_text(b"a: 1\nb: \xff").problems == [(2, "not UTF-8 text")]


def test_values_are_those_of_yaml_1_2() -> None:
    text = (
        "a: no\nb: 12:30\nc: 0o7\nd: true\ne: 1_000\nf: ~\ng: 1.5\nh: -3\ni: 2026-01-01\nj: on\nk: <<\nl: 010"
    )
    assert read_text(text.encode()).value == {
        "a": "no",
        "b": "12:30",
        "c": "0o7",
        "d": True,
        "e": "1_000",
        "f": None,
        "g": 1.5,
        "h": -3,
        "i": "2026-01-01",
        "j": "on",
        "k": "<<",
        "l": "010",
    }


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    read = read_text(text.encode("utf-8", "surrogatepass"))
    assert all(line >= 1 and problem for line, problem in read.problems)
    assert read.value is None or not read.problems


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-999, 999), st.text("ab: #{}[],'\"\\é", max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
        ),
        max_leaves=8,
    ).filter(lambda value: isinstance(value, dict))
)
def test_json_is_read_as_it_says(value: dict[str, Any]) -> None:
    assert read_text(json.dumps(value).encode()).value == value


# -- file and preset --------------------------------------------------------------------------------------------


def route_of(plan: RoutePlan, name: str) -> Any:
    (found,) = [route for route in plan.routes if route.entry.name == name]
    return found


def test_a_route_of_the_file_takes_the_place_of_the_presets_of_its_name(tmp_path: Path) -> None:
    text = 'routes: [{name: users-read, auth: required, match: {path: /api/users, methods: GET}, require: "chat:read"}]'
    plan = planned(tmp_path, text, preset="whatomate")
    route = route_of(plan, "users-read")
    assert route.layer == 1
    assert route.entry.require == ["chat:read"]
    assert len(plan.routes) == len(planned(tmp_path, "routes: []", preset="whatomate").routes)


def test_a_file_that_crosses_the_preset_is_told_both_places(tmp_path: Path) -> None:
    text = 'routes: [{name: x, auth: required, match: {path: "/api/{kind}/sync"}}]'
    told = problems(tmp_path, text, preset="whatomate")
    assert any(
        "routes.yaml:1: route x: /api/{kind}/sync and /api/users/{id} of route users-read, preset whatomate:"
        in one
        for one in told
    )


def test_the_path_settings_are_refused_beside_routes() -> None:
    told = problems_of(
        {"GATEWAY_PRESET": "whatomate", "GATEWAY_PUBLIC_PATHS": "/x", "GATEWAY_PROTECTED_PATHS": "/y"}
    )
    assert [one.partition(":")[0] for one in told] == ["GATEWAY_PROTECTED_PATHS", "GATEWAY_PUBLIC_PATHS"]


def test_a_file_with_upstreams_of_its_own_needs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(
        'upstreams: {far: {url: "http://far:1"}}\nroutes: [{name: a, auth: public, upstream: far, match: {path: /a}}]',
        encoding="utf-8",
    )
    values = {name: value for name, value in GOOD.items() if name != "GATEWAY_UPSTREAM_URL"}
    assert load({**values, "GATEWAY_ROUTES": str(path)}, bare=True).routes == path


def test_settings_and_routes_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes: [{name: a, match: {path: /a}}]", encoding="utf-8")
    told = problems_of({"GATEWAY_ROUTES": str(path), "GATEWAY_DATABASE_POOL_MAX": "0"})
    assert [one.partition(": ")[0] for one in told] == ["GATEWAY_DATABASE_POOL_MAX", f"{path}:1"]
    assert problems_of({"GATEWAY_ROUTES": str(tmp_path / "none.yaml")}) == [
        f"GATEWAY_ROUTES: cannot read {tmp_path}/none.yaml: No such file or directory"
    ]


@pytest.mark.parametrize("page", ["README.md", "docs/routes.md", "docs/preset.md"])
def test_the_route_files_that_the_pages_show_are_read(page: str, tmp_path: Path) -> None:
    text = (SCHEMA.parents[1] / page).read_text(encoding="utf-8")
    shown = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "routes:" in block]
    assert shown
    for block in shown:
        assert planned(tmp_path, block, preset="whatomate").routes


# -- names and schema -------------------------------------------------------------------------------------------


def test_what_the_gateway_writes_no_route_may() -> None:
    assert {name.decode() for name in FORWARDED} == route_checks.FORWARDED_FIELDS
    assert {prefix.decode() for prefix in MANAGED_PREFIXES} == set(route_checks.MANAGED_PREFIXES)


def test_the_published_schema_is_the_models() -> None:
    remedy = "write it anew: whatomate-gateway routes schema > config/routes.schema.json"
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json.loads(json.dumps(schema())), remedy


def test_the_schema_takes_the_preset_and_refuses_what_the_model_does() -> None:
    checker = jsonschema.Draft202012Validator(schema())
    jsonschema.Draft202012Validator.check_schema(schema())
    checker.validate(yaml.safe_load(preset_text("whatomate")))
    good = {"name": "a", "auth": "public", "match": {"path": "/a"}}
    checker.validate({"routes": [good, {**good, "match": [{"path": ["/a"], "host": "h", "methods": "GET"}]}]})
    changes: list[dict[str, Any]] = [
        {"auth": "no"},
        {"require": None},
        {"color": 1},
        {"match": {}},
        {"require": ["x"]},
        {"match": {"path": []}},
    ]
    for change in changes:
        assert list(checker.iter_errors({"routes": [{**good, **change}]})), change
