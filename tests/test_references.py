"""References in prose: the modules, names, files and tests that docstrings, comments and pages name exist."""

from __future__ import annotations

import ast
import builtins
import importlib
import io
import re
import tokenize
from functools import cache
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
CODE: Final = ("authcore", "config", "gateway", "bench", "tests", "image", "helm")
PAGES: Final = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("bench/*.md"),
        ROOT / "helm/whatomate-gateway/README.md",
    )
    if path.name != "CHANGELOG.md"  # of what was then
)
FOLDERS: Final = ("authcore", "config", "gateway", "bench", "tests", "docs", "helm", "image", "compose")

DOTTED: Final = re.compile(
    r"(?<![\w./-])(?:authcore|config|gateway|bench|tests)(?:\.(?!GATEWAY_|json\b|toml\b)[A-Za-z_]\w*)+(?![\w/-])"
)
SIBLING: Final = re.compile(r"(?<![\w./-])([a-z]\w*)((?:\.(?!py\b)[A-Za-z_]\w*)+)(?![\w/-])")
"""A name in another module of the same folder: ``rows.Subject``."""
OWN: Final = re.compile(r"(?<![`\w:])`([A-Za-z_]\w*)`(?!`)")
"""A name between single backticks: a parameter, or another name of this module. What is typed elsewhere has double."""
PATH: Final = re.compile(rf"(?<![\w./<-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w/?(?:::\w+)?")
ROLE: Final = re.compile(r":(?:mod|class|func|meth|data|attr|exc):`~?\.?([\w.]+)`")
SPANS: Final = frozenset(
    name
    for path in ("gateway/tracing/spans.py", "gateway/metrics/otlp.py")
    for name in re.findall(r'"(gateway\.\w+)"', (ROOT / path).read_text(encoding="utf-8"))
)
"""Attributes of spans and of OpenTelemetry's metrics, which look like modules."""
VALUES: Final = frozenset(
    re.findall(r"`(tests\.[\w.]+)`", (ROOT / "helm/whatomate-gateway/README.md").read_text(encoding="utf-8"))
)
"""Values of the chart that look like modules; tests/chart/test_values.py holds them to the chart."""


def resolves(dotted: str) -> bool:
    """Return whether a dotted name leads to a module, or to something that one defines."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError as error:
            if error.name is None or not dotted.startswith(error.name):
                return True  # an extra that is not installed here
            continue
        for name in parts[length:]:
            annotations = getattr(found, "__annotations__", {})
            if not hasattr(found, name) and name not in annotations:
                return name in attributes(found)
            found = getattr(found, name, None)
        return True
    return False


def attributes(of: object) -> set[str]:
    """Return what methods of a class assign to self."""
    source = getattr(importlib.import_module(getattr(of, "__module__", "builtins")), "__file__", None)
    tree = ast.parse(Path(source).read_text(encoding="utf-8") if source else "")
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def exists(path: str, beside: Path) -> bool:
    """Return whether a path below the root, or beside the page, exists; ``::name`` asks for a test in it."""
    path, _, test = path.rstrip(".").partition("::")
    found = next((place for place in (ROOT / path, beside / path) if place.exists()), None)
    if found is None or not test:
        return found is not None
    return re.search(rf"def {test}\b", found.read_text(encoding="utf-8")) is not None


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments and docstrings of a module, or the whole of another text, each with its line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.lineno, node.value.value


def local_names(path: Path) -> set[str]:
    """Return the names that a module defines or imports, with those of its classes' members."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


@cache
def broken(path: Path) -> list[str]:
    """Return the references of a file that lead nowhere, each with its line."""
    found = []
    names = local_names(path) if path.suffix == ".py" else set()
    package, siblings = "", set()
    if path.suffix == ".py" and path.is_relative_to(ROOT):
        package = ".".join(path.parent.relative_to(ROOT).parts)
        siblings = {beside.stem for beside in path.parent.glob("*.py") if beside != path}
    for line, text in prose(path):
        found += [
            f"{line}: {match[0]}"
            for match in PATH.finditer(text)
            if text[match.end() : match.end() + 1] != "*" and not exists(match[0], path.parent)
        ]
        paths = [match.span() for match in PATH.finditer(text)]
        for match in DOTTED.finditer(text):
            inside = any(start <= match.start() < end for start, end in paths)
            is_known = match[0] in SPANS or match[0] in VALUES
            if not inside and not is_known and not resolves(match[0]):
                found.append(f"{line}: {match[0]}")
        for match in SIBLING.finditer(text):
            if match[2].endswith(".json"):
                continue  # a file
            if match[1] in siblings - names and not resolves(f"{package}.{match[1]}{match[2]}"):
                found.append(f"{line}: {match[0]}")
        for match in ROLE.finditer(text):
            known = match[1].split(".")[0] in names or resolves(match[1])
            if path.suffix == ".py" and not known:
                found.append(f"{line}: {match[1]}")
        found += [f"{line}: {name}" for name in foreign_names(path, text, names)]
    return found


def foreign_names(path: Path, text: str, names: set[str]) -> list[str]:
    """Return what a docstring has between single backticks, and its module does not define."""
    is_docstring = path.suffix == ".py" and not text.startswith("#")
    return [
        f"`{one}`"
        for one in OWN.findall(text if is_docstring else "")
        if one not in names and not iskeyword(one)
    ]


@pytest.mark.parametrize("folder", CODE)
def test_what_docstrings_and_comments_name_exists(folder: str) -> None:
    missing = [
        f"{path.relative_to(ROOT)}:{reference}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__)
        for reference in broken(path)
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_exists(page: Path) -> None:
    assert not broken(page), "\n".join(broken(page))


def test_a_reference_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "See gateway/nowhere.py, `authcore.nowhere`, tests/test_references.py::test_nothing,\n"
        "`authcore.store.rows.Subject.is_gone`; not authcore/store/rows.py nor authcore.store.rows.Subject.is_member.\n"
    )
    assert broken(page) == [
        "1: gateway/nowhere.py",
        "1: tests/test_references.py::test_nothing",
        "1: authcore.nowhere",
        "2: authcore.store.rows.Subject.is_gone",
    ]
    module = tmp_path / "module.py"
    module.write_text(
        '"""Uses :class:`Known` and :func:`unknown`, `Known` and `lost`; not ``x``, nor `is`."""\n\n'
        "class Known: ...  # as gateway/gone.py does, and `anything`\n"
    )
    assert broken(module) == ["3: gateway/gone.py", "1: unknown", "1: `lost`"]
