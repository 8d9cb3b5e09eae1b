"""The table of identity headers, and what follows from it: README, the proxies' configurations, the triggers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from authcore.identity_headers import BY_KEY, FAMILIES, HEADERS, columns_of, in_words, withheld
from authcore.store.triggers import TABLES, statements
from config.checks import fold
from config.settings import Settings

ROOT = Path(__file__).parents[1]
INTEGRATIONS = ROOT / "docs" / "integrations"
KEYS = frozenset(BY_KEY)
EACH = pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.key)
NGINX = ("nginx.conf", "nginx-cached.conf")


@EACH
def test_a_default_name_is_in_a_family(header: object) -> None:
    assert fold(BY_KEY[header.key].name).startswith(FAMILIES)  # type: ignore[attr-defined]  # parametrised


def test_settings_name_each_header_and_no_other() -> None:
    assert set(type(Settings().header).model_fields) == KEYS
    assert Settings().header.names() == {header.key: header.name for header in HEADERS if header.sent}


def test_readme_lists_each_header_and_no_other() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("## What an upstream receives")[2].partition("\n\nEach service")[0]
    listed = {name for name in re.findall(r"`(X-[A-Za-z-]+)`", table) if fold(name).startswith(FAMILIES)}
    assert listed == {header.name for header in HEADERS}


def test_the_bytes_of_each_header_are_documented() -> None:
    text = (ROOT / "docs/limits.md").read_text(encoding="utf-8")
    table = text.partition("## What the gateway adds to a head")[2].partition("\n\nWhen")[0]
    listed = {name for name in re.findall(r"`(X-[A-Za-z-]+)`", table) if fold(name).startswith(FAMILIES)}
    assert listed == {header.name for header in HEADERS}


@pytest.mark.parametrize("file", NGINX)
def test_nginx_puts_each_header_in_place_of_the_clients(file: str) -> None:
    text = (INTEGRATIONS / file).read_text(encoding="utf-8")
    service = text.partition("location / {")[2].partition("\n    }")[0]
    question = text.partition("location = /_decision {")[2].partition("\n    }")[0]
    for header in HEADERS:
        variable = re.search(rf"proxy_set_header {header.name} (\$\w+);", service)
        assert variable is not None, header.name
        answered = f"$upstream_http_{header.name.lower().replace('-', '_')};"
        assert f"auth_request_set {variable[1]} {answered}" in text
        cleared = f'proxy_set_header {header.name} "";' in question
        assert cleared or "proxy_pass_request_headers off;" in question, header.name
    named = re.findall(r"proxy_set_header (\S+) (?:\$decided_\w+|\"\");", text)
    of_families = {name for name in named if fold(name).startswith(FAMILIES)}
    assert of_families == {header.name for header in HEADERS}


def test_nginx_that_remembers_passes_nothing_unnamed() -> None:
    """A remembered verdict was made for another request: its other lines are nobody's to see."""
    text = (INTEGRATIONS / "nginx-cached.conf").read_text(encoding="utf-8")
    assert text.count("proxy_pass_request_headers off;") == 2
    question = text.partition("location = /_decision {")[2].partition("\n    }")[0]
    key = question.partition('proxy_cache_key "')[2].partition('"')[0]
    for variable in re.findall(r"proxy_set_header \S+ (\$http_\w+);", question):
        assert variable in key, variable


def test_caddy_copies_each_header() -> None:
    text = (INTEGRATIONS / "Caddyfile").read_text(encoding="utf-8")
    copied = text.partition("copy_headers ")[2].splitlines()[0].split()
    assert {name for name in copied if fold(name).startswith(FAMILIES)} == {header.name for header in HEADERS}


@EACH
def test_the_patterns_of_the_others_match_each_header(header: object) -> None:
    name = BY_KEY[header.key].name.lower()  # type: ignore[attr-defined]  # parametrised
    traefik = yaml.safe_load((INTEGRATIONS / "traefik-routes.yaml").read_text(encoding="utf-8"))
    pattern = traefik["http"]["middlewares"]["decide"]["forwardAuth"]["authResponseHeadersRegex"]
    envoy = (INTEGRATIONS / "envoy.yaml").read_text(encoding="utf-8")
    for spelling in (name, name.replace("-", "_"), name.replace("-", "."), name + "-anything"):
        assert re.fullmatch(pattern, spelling), spelling
        assert removed_by_pattern(envoy, spelling), spelling
    assert name.startswith(tuple(re.findall(r"- \{ prefix: (x-[a-z-]+) \}", envoy)))


def test_the_patterns_of_the_others_match_each_family() -> None:
    for file in ("haproxy-decisions.lua", "Caddyfile"):
        text = (INTEGRATIONS / file).read_text(encoding="utf-8")
        for family in FAMILIES:
            assert removed_by_pattern(text, f"{family}anything"), (file, family)


CONFIGURATIONS = sorted(
    path
    for folder in ("docs", "compose", "bench/configs", "tests/integrations", "helm", "image")
    for path in (ROOT / folder).rglob("*")
    if path.is_file()
    and path.suffix not in {".md", ".py", ".pyc", ".json"}
    and any(header.name.lower() in path.read_text("utf-8", errors="ignore").lower() for header in HEADERS)
)
"""Files of other programs that name an identity header: a service reads them, or a proxy sets them."""


def removed_by_pattern(text: str, name: str) -> bool:
    """Return whether a proxy's configuration removes a client's field, by a pattern or by how its name begins."""
    patterns = [re.compile(found) for found in re.findall(r'regex: "([^/"][^"]*)"', text)]  # Envoy
    begins = re.findall(r"key_matcher: \{ prefix: (\S+) \}", text)  # Envoy
    begins += re.findall(r"del-header (x-[a-z-]+) -m beg$", text, re.MULTILINE)  # HAProxy
    begins += re.findall(
        r'"([^"]+)"', text.partition("local IDENTITY = {")[2].partition("}")[0]
    )  # HAProxy's Lua
    begins += [beginning.lower() for beginning in re.findall(r"request_header -(\S+)\*\n", text)]  # Caddy
    return name.startswith(tuple(begins)) or any(pattern.fullmatch(name) for pattern in patterns)


def test_the_configurations_that_name_headers_were_found() -> None:
    assert {path.relative_to(ROOT).as_posix() for path in CONFIGURATIONS} >= {
        "bench/configs/envoy.yaml",
        "bench/configs/haproxy.cfg",
        "bench/configs/nginx-auth.conf",
        "docs/integrations/Caddyfile",
        "docs/integrations/nginx-cached.conf",
        "docs/integrations/nginx.conf",
    }


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_sets_one_identity_header_sets_or_removes_each(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "packages" in path.parts:  # of services: tests/backends hold those to the table
        return
    for header in HEADERS:
        name = header.name.lower()
        is_set = re.search(rf"(?:set_header|set-header|header_name:|copy_headers\b.*) {name}\b", text.lower())
        assert is_set or removed_by_pattern(text, name), f"{header.name} passes as the client sent it"


# -- the triggers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", sorted({column for header in HEADERS for column in header.columns}))
def test_a_column_that_a_header_comes_from_is_reported(column: str) -> None:
    table, name = column.split(".")
    assert table in TABLES
    made = "\n".join(
        statement for statement in statements("public") if f"FUNCTION gateway_changed_{table}()" in statement
    )
    unwatched = re.search(r"- ARRAY\[(.*?)\]::text\[\]", made)
    assert unwatched is not None
    assert f"'{name}'" not in unwatched[1]


def test_columns_are_of_their_table() -> None:
    assert columns_of("users") >= {"email", "full_name"}
    assert columns_of("nowhere") == frozenset()


# -- what an upstream is sent --------------------------------------------------------------------------------------


@given(st.frozensets(st.sampled_from(sorted(KEYS)), min_size=1))
def test_names_are_sent_and_names_behind_a_dash_are_not(keys: frozenset[str]) -> None:
    assert withheld(sorted(keys)) == KEYS - keys
    assert withheld([f"-{key}" for key in sorted(keys)]) == keys
    assert withheld(in_words(keys).split(",")) == keys
    assert withheld(sorted(keys)) is withheld(sorted(keys, reverse=True))


def test_all_and_none_are_what_they_say() -> None:
    assert withheld(["all"]) == frozenset()
    assert withheld(["none"]) == KEYS


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "should be all, none or names"),
        (["all", "user_id"], "all stands alone"),
        (["none", "none", "-user_id"], "none stands alone"),
        (["user_id", "-org_id"], "keep either those or the others"),
        (["user-id"], "no identity header is called 'user-id'; there are user_id, "),
        (["-all"], "no identity header is called 'all'"),
        (["X-User-ID"], "no identity header is called 'X-User-ID'"),
    ],
)
def test_what_contradicts_itself_or_names_nothing_is_refused(words: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        withheld(words)
