"""Laws over every file of the repository: no place that only its authors have, no mocks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

from tests.laws import Module

ROOT: Final = Path(__file__).parents[1]

# -- laws over every file ---------------------------------------------------------------------------------------

PRIVATE: Final = re.compile(
    "|".join(
        [
            r"/work/",
            r"\bshared/",
            r"\bdesign" + r"\.md",
            r"\bfield-notes" + r"\.md",
            r"\bissue" + r" #?\d",
            r"pypi" + r"\.org",
            r"pythonhosted" + r"\.org",
            r"npmjs" + r"\.org",
            r"/root" + r"/",
            r"/home" + r"/\w",
        ]
    )
)
"""Places that only the authors' machines have, and hosts that are the reader's choice."""

UNREAD: Final = {
    ".git",
    ".venv",
    ".venv-newest",
    ".tools",
    ".site",
    ".dist-tools",
    ".compiled",
    ".compiled-newest",
    ".data",
    "__pycache__",
    "dist",
}


def private_mentions(text: str) -> list[str]:
    return [f"{text.count(chr(10), 0, found.start()) + 1}: {found[0]}" for found in PRIVATE.finditer(text)]


def files() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT).parts
        hidden_tools = any(part in UNREAD or part.endswith(("_cache", ".egg-info")) for part in inside)
        if path.is_file() and not hidden_tools and inside[0] not in {".hypothesis", ".coverage", ".env"}:
            yield path


def test_a_private_mention_is_seen() -> None:
    for mention in ("/work" + "/main", "see design" + ".md", "issue" + " 7", "pypi" + ".org"):
        assert private_mentions(f"first line\n{mention}\n") == [
            f"2: {mention.removeprefix('see ').removesuffix('main')}"
        ]
    assert private_mentions("issue 3600 s tokens? no: issued 3 tokens, a network/host") == ["1: issue 3"]


def test_no_file_names_a_place_that_only_its_authors_have() -> None:
    mentions = [
        f"{path.relative_to(ROOT)}:{mention}"
        for path in files()
        if path != Path(__file__)
        for mention in private_mentions(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not mentions, "\n".join(mentions)


def test_what_is_locked_is_installed_as_it_is_locked() -> None:
    """Without ``--no-deps`` pip resolves anew.

    It takes ``coverage[toml]``, which pytest-cov asks for, for a requirement beside the locked ``coverage``, and stops
    as soon as there is a newer version than the locked one.
    """
    steps = [
        (name, step)
        for name in ("Makefile", "Dockerfile", "docs/deploy.md", "release/make_dist.py")
        for step in re.split(r"(?<!\\)\n(?!\s*\")| && ", (ROOT / name).read_text())
        if "--require-hashes" in step
    ]
    assert {name for name, _ in steps} == {"Makefile", "Dockerfile", "docs/deploy.md", "release/make_dist.py"}
    assert [step for step in steps if "--no-deps" not in step[1]] == []


def test_tests_use_no_mocks() -> None:
    """A real PostgreSQL, real sockets, a clock that is passed in."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        module = Module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for line, name in module.imports:
            assert not name.startswith(("unittest.mock", "mock", "pytest_mock")), (
                f"{module.path}:{line}: {name}"
            )
