"""Snippets of README and docs: shell lines parse, make targets exist, samples compile, route files are accepted."""

from __future__ import annotations

import ast
import configparser
import json
import re
import subprocess
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from config.layers import FIELDS
from tests.support.certificates import Authority
from tests.support.commands import ENOUGH
from tests.support.programs import program

if TYPE_CHECKING:
    from tests.support.commands import Run

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "bench/README.md", *ROOT.glob("helm/*/README.md")]
)
SNIPPETS: Final = [
    (
        f"{page.relative_to(ROOT).as_posix()}:{page.read_text('utf-8').count(chr(10), 0, found.start()) + 1}",
        *found.groups(),
    )
    for page in PAGES
    for found in re.finditer(
        r"^ *```(\w+)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
]
CHART: Final = ROOT / "helm/whatomate-gateway"
VALUES: Final = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS: Final = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


def of(*languages: str, pattern: str = "", but: str = r"(?!)") -> pytest.MarkDecorator:
    """Give a test each snippet of `languages` in which `pattern` is found, and `but` is not."""
    chosen = [
        (place, text)
        for place, language, text in SNIPPETS
        if language in languages and re.search(pattern, text, re.MULTILINE) and not re.search(but, text)
    ]
    return pytest.mark.parametrize("text", [text for _, text in chosen], ids=[place for place, _ in chosen])


def commands(text: str) -> str:
    """Return what a reader types: the lines behind a prompt, with a word for each placeholder."""
    typed = re.findall(r"^ *\$ ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    return re.sub(r"<[\w @.-]+>|…", "X", "\n".join(typed))


def test_every_language_of_a_snippet_is_held_to_something() -> None:
    assert {language for _, language, _ in SNIPPETS} <= {
        "console",
        "sh",
        "yaml",
        "python",
        "js",
        "go",
        "json",
        "sql",
        "ini",
        "toml",
    }
    assert len(SNIPPETS) > 20


@of("console", "sh")
def test_shell_lines_parse(text: str) -> None:
    typed = commands(text) if re.search(r"^ *\$ ", text, re.MULTILINE) else text
    result = subprocess.run(
        ["bash", "-n"], input=typed, capture_output=True, text=True, check=False, timeout=20
    )
    assert result.returncode == 0, f"{result.stderr}\n{typed}"


@of("console", "sh")
def test_make_targets_and_files_of_shell_lines_exist(text: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|[;&|] *)make ([a-z][a-z-]*)", commands(text), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for path in re.findall(r"(?<![\w/])\.?(?:ci|docs|helm|bench|tests)/[\w./-]+", commands(text)):
        assert (ROOT / path).exists(), path


def over(below: Any, above: Any) -> Any:
    """Values as Helm lays them over the chart's own: objects are merged, anything else replaces what was there."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {name: over(below.get(name), value) for name, value in above.items()}


@of("yaml", but=r"\{\{-")  # a template of Helm's, which tests/chart renders
def test_a_route_file_passes_check_config_and_values_of_the_chart_its_schema(
    text: str, run: Run, tmp_path: Path
) -> None:
    text = textwrap.dedent(text)
    read = yaml.safe_load(text)
    if isinstance(read, dict) and not {"routes", "upstreams"} & set(read):
        Draft202012Validator({**VALUES, "required": []}).validate(over(DEFAULTS, read))  # values of the chart
        return
    if text.startswith("- "):
        text = f"routes:\n{textwrap.indent(text, '  ')}"
    path = tmp_path / "routes.yaml"
    pair = Authority(tmp_path).issue("billing.internal")
    for key, made in (("ca", pair.certificate), ("cert", pair.certificate), ("key", pair.key)):
        text = re.sub(rf"(?<={key}_file: )[\w/.]+", str(made), text)
    upstreams = "" if "\nupstreams:" in f"\n{text}" else "upstreams: {billing: {url: http://billing:9000}}\n"
    path.write_text(upstreams + text, encoding="utf-8")
    result = run("check-config", **ENOUGH, GATEWAY_ROUTES=str(path), GATEWAY_PRESET="whatomate")
    assert result.exit_code == 0, result.output
    assert "no route leads to GATEWAY_UPSTREAM_URL" not in result.stderr


@of("yaml", pattern=r"^ *routes:")
def test_a_whole_route_file_of_a_page_is_not_warned_of(text: str, run: Run, tmp_path: Path) -> None:
    """With GATEWAY_UPSTREAM_URL, if a route of it leads there; certificates are those of the reader."""
    text = textwrap.dedent(text)
    path = tmp_path / "routes.yaml"
    path.write_text(text, encoding="utf-8")
    leads_there = not all("upstream" in route for route in yaml.safe_load(text)["routes"])
    enough = {name: value for name, value in ENOUGH.items() if leads_there or name != "GATEWAY_UPSTREAM_URL"}
    result = run("check-config", **enough, GATEWAY_ROUTES=str(path))
    assert (result.exit_code, result.stderr) == (0, "")


@of("python")
def test_python_samples_compile(text: str) -> None:
    ast.parse(textwrap.dedent(text))


@of("js")
def test_javascript_samples_parse(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sample.mjs"
    path.write_text(text.replace("…", ""), encoding="utf-8")
    result = subprocess.run(
        [program("node"), "--check", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr


@of("go")
def test_go_samples_parse(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sample.go"
    if not text.startswith("package"):
        if not re.match(r"(?://|import|func|type|var)", text):
            statements, *functions = re.split(r"^(?=func )", text, maxsplit=1, flags=re.MULTILINE)
            text = "\n".join(["func sample() {", statements, "}", *functions])
        text = f"package sample\n{text}"
    path.write_text(text, encoding="utf-8")
    result = subprocess.run(
        [program("gofmt"), "-e", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr


@of("ini")
def test_settings_are_of_the_gateway(text: str) -> None:
    """A block with a section is a unit's of systemd, which has settings of its own."""
    if re.search(r"^ *\[\w+\]$", text, re.MULTILINE):
        configparser.ConfigParser(strict=False, interpolation=None).read_string(textwrap.dedent(text))
        return
    lines = [line.strip().partition("=") for line in text.splitlines()]
    assert {name for name, _, _ in lines} <= set(FIELDS)
    assert all(equals for _, equals, _ in lines)


@of("toml")
def test_settings_of_whatomate_parse(text: str) -> None:
    assert tomllib.loads(textwrap.dedent(text))


@of("json")
def test_json_samples_parse(text: str) -> None:
    for line in (
        textwrap.dedent(text).replace("…", "").splitlines() if text.count("\n{") else [text.replace("…", "")]
    ):
        json.loads(line)
