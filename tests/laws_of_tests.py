"""The laws of the tests as functions: over one module of tests each, yielding its violations as ``line: what``."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from tests.laws import a_caption_names_the_thing, a_docstring_names_the_thing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.laws import Module

BEGINNINGS: Final = frozenset(
    {
        *("and", "but", "nor", "or", "so", "then", "thus", "yet", "also", "too"),
        *("he", "it", "its", "she", "their", "them", "they"),
        *("either", "neither", "such", "that", "there", "these", "this", "those"),
        *("who", "whose"),
    }
)
"""First words of a name that lean on the test above it, or on a subject that nobody has named."""

PRIVATE_REACHES: Final[dict[tuple[str, str], str]] = {
    ("tests/attacks/test_limits.py", "_buffer"): "asyncio's reader does not say that something has arrived",
    ("tests/authcore/test_authenticator.py", "_entries"): "which verdicts are remembered is the point",
    ("tests/authcore/test_authenticator.py", "_memory"): "the way to those entries",
    ("tests/authcore/test_authenticator.py", "_principals"): "the way to those entries",
    ("tests/authcore/test_lru_cache.py", "_by_row"): "a leak in the index shows nowhere else",
    ("tests/authcore/test_passwords.py", "_jobs"): "a leak in the queue shows nowhere else",
    (
        "tests/database/test_ended_connections.py",
        "_pool",
    ): "no call of a store takes a time of the test's choice",
    ("tests/database/test_limits.py", "_pool"): "no call of a store takes a time of the test's choice",
    ("tests/database/test_pooler.py", "_pool"): "no call of a store lists prepared statements",
    ("tests/flow/test_drain_stages.py", "_Stagger"): "its pace is a pure function, and the drain is not",
    ("tests/fuzz/test_repeats.py", "_queue"): "shows that the repeats, which this file tests, are taken",
    ("tests/fuzz/test_repeats.py", "_reader"): "shows that the repeats, which this file tests, are taken",
    ("tests/fuzz/test_repeats.py", "_repeated"): "shows that the repeats, which this file tests, are taken",
    ("tests/observe/reference.py", "_collector_to_names"): "prometheus-client has no other list of labels",
    (
        "tests/proxy/test_matching.py",
        "_anywhere",
    ): "what a search compares is counted, in a compiled tree too",
    ("tests/proxy/test_sockets.py", "_by_row"): "a leak in the index shows nowhere else",
    ("tests/proxy/test_sockets.py", "_ends"): "a leak in the heap shows nowhere else",
    (
        "tests/wire/test_dns_client.py",
        "_transport",
    ): "the socket of the test's own name server",
}
"""Private names that a test reaches for, with the reason why no seam is honest there. None may join without one."""

_NAMED_TUPLE: Final = {"_asdict", "_fields", "_make", "_replace"}
_PRIVATE: Final = re.compile(r"_(?!_)\w+")


def no_test_imports_a_test(module: Module) -> Iterator[str]:
    """Shared code is in tests/support, or in a module beside the tests that is no test and no conftest."""
    for line, name in module.imports:
        top, *rest = name.split(".")
        if top == "tests" and any(part.startswith("test_") or part == "conftest" for part in rest[:-1]):
            yield f"{line}: imports {name}"


def a_test_name_stands_alone(module: Module) -> Iterator[str]:
    """In a list of failures the name has no neighbour to lean on."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            first = node.name.split("_")[1]
            if first in BEGINNINGS:
                yield f"{node.lineno}: {node.name} begins with {first!r}; begin with its subject"


def a_test_reaches_for_nothing_private(module: Module) -> Iterator[str]:
    """A seam is a parameter or a public name; where none is honest, PRIVATE_REACHES has the reason."""
    for line, name in private_reaches(module):
        if (module.path, name) not in PRIVATE_REACHES:
            yield f"{line}: reaches for {name}"


def private_reaches(module: Module) -> Iterator[tuple[int, str]]:
    """Yield the private names of others that a module uses."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and not _is_own(node.value):
            if _PRIVATE.fullmatch(node.attr) and node.attr not in _NAMED_TUPLE:
                yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, one.name) for one in node.names if _PRIVATE.fullmatch(one.name))


def _is_own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in {"self", "cls"}


def a_module_of_tests_opens_with_a_caption(module: Module) -> Iterator[str]:
    """The caption says what is held there, or what is shared; an empty ``__init__.py`` has nothing to say."""
    if module.text.strip() and not ast.get_docstring(module.tree):
        yield "1: no docstring"


LAWS_OF_TESTS: Final = (
    no_test_imports_a_test,
    a_test_name_stands_alone,
    a_module_of_tests_opens_with_a_caption,
    a_caption_names_the_thing,
    a_docstring_names_the_thing,
    a_test_reaches_for_nothing_private,
)
