"""Documents: generated pages are fresh; tests, commands, settings and files that they name exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import pytest
from click.testing import CliRunner

from config.describing import markdown
from config.layers import FIELDS
from gateway.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "helm/whatomate-gateway/README.md",
        ROOT / "bench/README.md",
    ]
)
BUILD_ONLY: Final = {
    "GATEWAY_SECRETS_DIR",
    "TESTS_SKIP",
    "TESTS_COMPILED",
    "GATEWAY_SERVICE_HOST",
}


# -- generated pages --------------------------------------------------------------------------------------------


def test_the_page_of_settings_is_fresh() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == markdown(), (
        "a setting has changed: run `make docs`"
    )


def test_the_page_of_commands_is_fresh() -> None:
    page = CliRunner().invoke(main, ["man", "--format", "markdown"], prog_name="whatomate-gateway").stdout
    assert (ROOT / "docs/commands.md").read_text() == page, "a command has changed: run `make docs`"


def test_the_charts_schema_is_fresh() -> None:
    spec = importlib.util.spec_from_file_location("make_schema", ROOT / "helm/make_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = (ROOT / "helm/whatomate-gateway/values.schema.json").read_text()
    assert found == module.text(), "a setting has changed: run `make docs`"


# -- the threat model -------------------------------------------------------------------------------------------

MODEL: Final = (ROOT / "docs/threat-model.md").read_text()
HELD: Final = re.findall(r"^\| ([STRIDE]) \| (.+?) \| `(tests/[\w/]+\.py)::(\w+)` \|$", MODEL, re.MULTILINE)


def test_every_threat_names_a_test_that_exists() -> None:
    rows = [line for line in MODEL.splitlines() if re.match(r"\| [STRIDE] \|", line)]
    assert len(rows) == len(HELD) > 40, "a threat without a test"
    for _, threat, path, test in HELD:
        functions = {
            node.name
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert test in functions, f"{threat}: {path} has no {test}"


def test_every_letter_and_every_attack_is_in_the_model() -> None:
    assert {letter for letter, *_ in HELD} == set("STRIDE")
    attacks = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/attacks").glob("test_*.py")}
    missing = (
        attacks
        - {path for _, _, path, _ in HELD}
        - {
            "tests/attacks/test_revoked_session_token.py",  # of the verdict that outlives what it rests on
        }
    )
    assert not missing, f"attacks without a threat in docs/threat-model.md: {missing}"


# -- what pages name --------------------------------------------------------------------------------------------


def commands_of(
    group: click.Group, before: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*before, name), command
        if isinstance(command, click.Group):
            yield from commands_of(command, (*before, name))


def named_commands(text: str) -> Iterator[list[str]]:
    for found in re.finditer(r"(?:whatomate-gateway|(?<=`)gateway|(?<=\$ )gateway) ([a-z][^`\n#|]*)", text):
        try:
            yield shlex.split(found[1].partition(";")[0])
        except ValueError:
            yield found[1].split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_test_it_names_exists(page: Path) -> None:
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text()):
        assert re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), (
            f"{path}::{name}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_and_option_it_names_exists(page: Path) -> None:
    known = dict(commands_of(main))
    for words in named_commands(page.read_text()):
        if (words[0],) not in known:
            assert page.name not in {"runbook.md", "deploy.md"}, f"no command {words[0]}"
            continue  # prose: "whatomate-gateway is …"
        path: tuple[str, ...] = (words[0],)
        if len(words) > 1 and (*path, words[1]) in known:
            path = (*path, words[1])
        elif isinstance(known[path], click.Group) and len(words) > 1:
            pytest.fail(f"no command {' '.join(words[:2])}")
        options = {
            option
            for parameter in known[path].params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in words:
            if re.match("--[a-z]", word):
                assert word.partition("=")[0] in {*options, "--help", "--version"}, (
                    f"{' '.join(path)} has no {word}"
                )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_setting_it_names_exists(page: Path) -> None:
    for name in re.findall(r"\bGATEWAY_[A-Z0-9_]+\b", page.read_text()):
        base = name.removesuffix("_FILE")
        if name.endswith("_") or base in BUILD_ONLY or base in FIELDS:
            continue
        assert page.name == "decisions.md" or any(known.startswith(base) for known in FIELDS), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_it_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target and not target.startswith("/"):
            assert (page.parent / target).is_file(), target  # a folder is no page on the site


def test_every_page_of_the_docs_has_a_place_on_the_site() -> None:
    nav = (ROOT / "docs/site/mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    placed = re.findall(r"^ *- ([\w/-]+\.md)$", nav, re.MULTILINE)
    pages = {path.name for path in ROOT.glob("docs/*.md")}
    assert pages <= set(placed), f"name in docs/site/mkdocs.yml: {pages - set(placed)}"
    assert len(placed) == len(set(placed))


def test_every_decision_has_a_date_and_a_line_in_the_list() -> None:
    text = (ROOT / "docs/decisions.md").read_text()
    titles = re.findall(r"^## (\d+\. .+)$", text, re.MULTILINE)
    assert [int(title.partition(".")[0]) for title in titles] == list(range(1, len(titles) + 1))
    dated = re.findall(
        r"^## (\d+\. .+)\nDecided \d{4}-\d\d-\d\d\. (?:In force|Replaced by decision \d+)\.\n\n",
        text,
        re.MULTILINE,
    )
    assert dated == titles
    listed = re.findall(r"^- \[(.+)\]\(#(.+)\)$", text, re.MULTILINE)
    assert [name for name, _ in listed] == [title.replace("`", "") for title in titles]
    anchors = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    assert [anchor for _, anchor in listed] == anchors


# -- the form of pages --------------------------------------------------------------------------------------------

COLUMNS: Final = 125


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_line_of_prose_fits_on_the_screen(page: Path) -> None:
    """Tables, links of a list and code stand in one line, however long it is."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    prose = [line for line in text.splitlines() if not line.lstrip().startswith(("|", "- [", "#", "<"))]
    assert not [line for line in prose if len(line) > COLUMNS and " " in line.strip()]


def test_the_changelog_is_dated_and_grouped_and_an_entry_is_a_paragraph() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    for version in versions[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", version), version
    for section in re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]:
        groups = re.findall(r"^### (.+)$", section, re.MULTILINE)
        order = ["Added", "Changed", "Fixed", "Security"]
        assert groups == [group for group in order if group in groups], groups
    packed = re.findall(r"^(?!$).*\n- .*$", text, re.MULTILINE)
    assert not packed, f"a blank line is missing before an entry: {packed}"
    entries = re.findall(r"^- (.{30})", text, re.MULTILINE)
    assert len(entries) == len(set(entries)), "an entry stands twice, as a merge may leave it"
    assert "docs/upgrade.md" in text


# -- commits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "is_good"),
    [
        ("wire: refuse a second Host field", True),
        ("keys, invitations: bound how many one user has", True),
        ("fixup! wire: refuse a second Host field", True),
        ("Take for ours what is ours between quotes and spaces", False),
        ("wire: refuse a second Host field.", False),
        ("Wire: refuse a second Host field", False),
        ("wire:refuse", False),
        ("wire: " + "x" * 120, False),
    ],
)
def test_the_hook_holds_the_subject_of_a_commit(subject: str, is_good: bool, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_text(f"\n# a comment\n{subject}\n\nThe reason.\n", encoding="utf-8")
    result = subprocess.run(
        [str(ROOT / ".ci/subject"), str(message)], capture_output=True, text=True, check=False, timeout=20
    )
    assert (result.returncode == 0) is is_good, result.stderr
