"""The warm path, compiled or not: one source, one behaviour.

What is compiled is listed in ``pyproject.toml``. ``make test-compiled`` runs everything that speaks HTTP on the
compiled tree; the laws here keep that tree possible, and prove that it is the one under test.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.wire.downstream import DownstreamConnection
from gateway.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "hooks"
]
COMPILED = sorted(
    {path.relative_to(ROOT) for pattern in HOOK["mypyc"]["include"] for path in ROOT.glob(pattern)}
    - {Path(name) for name in HOOK["mypyc"]["exclude"]}
)
UNDER_TEST = COMPILED if "TESTS_COMPILED" in os.environ else []
"""Nothing, unless it is ``make test-compiled`` that asks."""


def only_for_type_checkers(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    found |= {alias.asname or alias.name for alias in inner.names}
    return found


def annotations_of_class_bodies(tree: ast.Module) -> Iterator[tuple[int, set[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.AnnAssign):
                    names = {part.id for part in ast.walk(statement.annotation) if isinstance(part, ast.Name)}
                    yield statement.lineno, names


@pytest.mark.parametrize("path", COMPILED, ids=str)
def test_what_a_compiled_class_body_names_is_imported_at_run_time(path: Path) -> None:
    # mypyc evaluates these annotations as the module is loaded; a name that is not there yet ends the process.
    tree = ast.parse((ROOT / path).read_text())
    absent = only_for_type_checkers(tree)
    assert [
        (line, names & absent) for line, names in annotations_of_class_bodies(tree) if names & absent
    ] == []


@pytest.mark.parametrize("path", COMPILED, ids=str)
def test_the_cause_of_an_error_is_set_in_words_that_are_compiled(path: Path) -> None:
    # mypyc leaves the `from` of a `raise` out, and the access record's detail names the cause.
    lost = [
        node.lineno
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Raise) and node.cause is not None and ast.unparse(node.cause) != "None"
        if not (
            node.exc is not None
            and re.match(rf"caused\(.*, {ast.unparse(node.cause)}\)$", ast.unparse(node.exc))
        )
    ]
    assert lost == []


def test_the_bases_of_compiled_classes_are_compiled() -> None:
    # A compiled class takes no __slots__ unless its whole family is compiled.
    modules = {".".join(path.with_suffix("").parts) for path in COMPILED}
    for path in COMPILED:
        tree = ast.parse((ROOT / path).read_text())
        ours = {
            alias.name: node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.startswith(("gateway", "authcore"))
            for alias in node.names
        }
        for node in ast.walk(tree):
            for base in node.bases if isinstance(node, ast.ClassDef) else []:
                home = ours.get(ast.unparse(base))
                assert home is None or home in modules, f"{path}: {home} has to be compiled too"


def test_the_list_of_what_is_compiled_is_true() -> None:
    for pattern in [*HOOK["mypyc"]["include"], *HOOK["mypyc"]["exclude"]]:
        assert list(ROOT.glob(pattern)), f"pyproject.toml compiles {pattern}, which is not there"


@pytest.mark.parametrize("path", UNDER_TEST, ids=str)
def test_what_is_under_test_is_compiled(path: Path) -> None:
    module = importlib.import_module(".".join(path.with_suffix("").parts))
    assert str(module.__file__).endswith(".so"), module.__file__


@pytest.mark.parametrize("path", UNDER_TEST, ids=str)
def test_a_compiled_module_may_be_imported_first(path: Path) -> None:
    name = ".".join(path.with_suffix("").parts)
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import {name}; import gateway.app"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("connection", [DownstreamConnection, UpstreamConnection])
def test_a_connection_has_asyncios_callbacks_without_its_class(connection: type) -> None:
    for name in dir(asyncio.Protocol):
        if not name.startswith("_"):
            assert callable(getattr(connection, name))
    assert connection.__bases__ == (object,)
    if UNDER_TEST:
        assert "__dict__" not in dir(connection)  # its attributes are in slots
