"""The laws of the tests: who imports whom, what a test is called, what it reaches for.

Each law first has to fail on a module that breaks it. Then the tree is checked by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.laws import ROOT, Module, a_caption_names_the_thing, a_docstring_names_the_thing
from tests.laws_of_tests import (
    LAWS_OF_TESTS,
    PRIVATE_REACHES,
    a_module_of_tests_opens_with_a_caption,
    a_test_name_stands_alone,
    a_test_reaches_for_nothing_private,
    no_test_imports_a_test,
    private_reaches,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Law = Callable[[Module], Iterator[str]]

BREAKS: Final[list[tuple[Law, str, str]]] = [
    (no_test_imports_a_test, "tests/flow/test_x.py", "from tests.flow.test_drain import serving"),
    (no_test_imports_a_test, "tests/flow/test_x.py", "def f():\n    from tests.conftest import start"),
    (no_test_imports_a_test, "tests/flow/conftest.py", "from tests.identity.conftest import *"),
    (a_test_name_stands_alone, "tests/test_x.py", "def test_nor_does_a_form(): ..."),
    (a_module_of_tests_opens_with_a_caption, "tests/test_x.py", "from __future__ import annotations"),
    (a_caption_names_the_thing, "tests/test_x.py", '"""Who may register, and invitations."""'),
    (a_docstring_names_the_thing, "tests/test_x.py", 'def told():\n    """What it is told."""'),
    (a_test_name_stands_alone, "tests/test_x.py", "class Machine:\n    async def test_it_is(self): ..."),
    (a_test_reaches_for_nothing_private, "tests/test_x.py", "gate._routing.reload()"),
    (a_test_reaches_for_nothing_private, "tests/test_x.py", "made()._size = 1"),
    (a_test_reaches_for_nothing_private, "tests/test_x.py", "from gateway.draining import _Stagger"),
]

KEEPS: Final[list[tuple[Law, str, str]]] = [
    (no_test_imports_a_test, "tests/flow/test_x.py", "from tests.support.calls import test_of"),
    (a_module_of_tests_opens_with_a_caption, "tests/flow/__init__.py", ""),
    (a_caption_names_the_thing, "tests/test_x.py", '"""Registration: who may register, and invitations."""'),
    (a_docstring_names_the_thing, "tests/test_x.py", 'def test_it():\n    """Whatomate does so."""'),
    (a_test_name_stands_alone, "tests/test_x.py", "def test_items_and_others(): ...\ndef it_is(): ..."),
    (a_test_reaches_for_nothing_private, "tests/test_x.py", "class X:\n    def f(self): self._a.b = 1"),
    (a_test_reaches_for_nothing_private, "tests/test_x.py", "pair._replace(a=1)\nx.__class__\ny._"),
    (a_test_reaches_for_nothing_private, "tests/proxy/test_sockets.py", "watch.sockets._by_row"),
]


def name_of(value: object) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize(("law", "path", "source"), BREAKS, ids=name_of)
def test_a_law_of_tests_sees_what_breaks_it(law: Law, path: str, source: str) -> None:
    assert list(law(Module(path, source)))


@pytest.mark.parametrize(("law", "path", "source"), KEEPS, ids=name_of)
def test_a_law_of_tests_lets_pass_what_keeps_it(law: Law, path: str, source: str) -> None:
    assert list(law(Module(path, source))) == []


def test_every_law_of_tests_is_shown_to_fail() -> None:
    assert {law for law, _, _ in BREAKS} == set(LAWS_OF_TESTS)


def modules() -> Iterator[Module]:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        yield Module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("law", LAWS_OF_TESTS, ids=name_of)
def test_the_tests_keep_the_law(law: Law) -> None:
    violations = [f"{module.path}:{violation}" for module in modules() for violation in law(module)]
    assert not violations, f"{law.__doc__} Violated at:\n" + "\n".join(violations)


def test_a_private_reach_that_was_mended_left_the_list() -> None:
    found = {(module.path, name) for module in modules() for _, name in private_reaches(module)}
    gone = sorted(set(PRIVATE_REACHES) - found)
    assert not gone, f"mended, renamed or gone: take {gone} off PRIVATE_REACHES (tests/laws_of_tests.py)"
