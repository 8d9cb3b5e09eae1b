"""Configuration loader: it reads the environment and every other source of settings, and validates them.

A setting is looked for in this order, and the first place that has it wins: what the program itself passes (the
command line), the environment, the file named by ``<setting>_FILE``, ``.env`` in the current folder (which may name
files in the same way), a file called like the setting in the folder ``GATEWAY_SECRETS_DIR``, the default.

Laws: every problem is reported at once, by the name that the operator typed, those of words before those of files; a
problem never contains a secret, nor the text of a file that stands where its path belongs.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from config.checks import HINTS, contradictions
from config.collectors import otel_settings
from config.extras import spans_can_be_made
from config.fields import is_text_of_a_file
from config.file_checks import FILE_CHECKS, serving_files
from config.layers import (
    ENVIRONMENT,
    FIELDS,
    PREFIX,
    SECRETS,
    SECRETS_DIRECTORY,
    EnvFile,
    Layers,
    read_env_file,
    why,
)
from config.names import foreign_names, misspelled
from config.route_plan import RoutesRefused, read_plan
from config.settings import Settings
from config.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic_core import ErrorDetails

REQUIRED: Final = frozenset(HINTS)
"""Settings that a serving gateway needs; a command may need fewer."""

ENV_FILE: Final = Path(".env")
_QUOTED_CHARACTERS: Final = 60
_PLAIN: Final = {"bool_parsing": "should be on or off", "too_short": "should have at least one entry"}
"""Kinds of pydantic's errors that an operator reads in other words."""
_LONG: Final = re.compile(rf"('[^']{{{_QUOTED_CHARACTERS}}})[^']+(')")
_LOGIN: Final = re.compile(r"://[^/?#]*@", re.DOTALL)
"""A URL with a user, and a password perhaps: no problem quotes it, whichever setting it is in."""


class ConfigError(Exception):
    """A configuration that cannot be used.

    Attributes:
        problems: Each problem as one line, ``NAME: what is wrong and what to do``; never empty.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = [printable(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


def load_settings(  # noqa: PLR0913 - each is a keyword with a default; a caller names the two it needs
    *,
    overrides: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    env_file: Path = ENV_FILE,
    required: frozenset[str] = REQUIRED,
    more_files: Callable[[Settings], Iterable[tuple[str, str]]] | None = None,
) -> Settings:
    """Read all layers, validate them, and return the settings.

    Args:
        overrides: Settings that win over every layer, by their ``GATEWAY_`` names.
        defaults: Settings below every layer, by the same names.
        environment: Read in place of the process's environment.
        env_file: The ``.env`` file; it may be missing.
        required: Names that must be set, of those in ``REQUIRED``.
        more_files: Yields (setting, problem) of files besides those that are checked here.

    Raises:
        ConfigError: with every problem found.
    """
    layers = _gather(overrides or {}, os.environ if environment is None else environment, env_file)
    layers.add(defaults or {}, "default of the program")
    problems = dict.fromkeys(layers.problems)
    settings, refused = _validate(layers, problems)
    problems |= dict.fromkeys(misspelled(layers.unknown, settings))
    serves = "GATEWAY_UPSTREAM_URL" in required
    if settings.routes is not None:  # the route file may name all upstreams itself
        required -= {"GATEWAY_UPSTREAM_URL"}
    named = {problem.partition(":")[0].removesuffix("_FILE") for problem in (*problems, *layers.unreadable)}
    for name in sorted(required - layers.values.keys() - named - layers.lost):
        problems[f"{name}: {HINTS[name]}"] = None
    for name, problem in (*foreign_names(settings), *contradictions(settings, refused)):
        problems[f"{name}: {problem}"] = None
    of_files = dict.fromkeys(layers.unreadable)
    judged = {problem.partition(":")[0] for problem in problems}
    for name, problem in (
        *contradictions(settings, refused, FILE_CHECKS),
        *(serving_files(settings, judged) if serves else ()),
        *(() if more_files is None else more_files(settings)),
    ):
        of_files[f"{name}: {problem}"] = None
    listed = [*sorted(problems), *sorted(of_files)]
    if serves:
        listed += _route_problems(settings)
    if listed:
        raise ConfigError(listed)
    settings.files.update(layers.files)
    return settings


def require_no_pipes(settings: Settings, env_file: Path = ENV_FILE) -> None:
    """Check that each process of several can read the files of the settings, which it does itself.

    Raises:
        ConfigError: one of them is a pipe, from which the first process takes all.
    """
    files = {**settings.files, str(env_file): env_file}
    piped = [
        f"{name}: {path} is a pipe, which one process can read; with --workers, name a file"
        for name, path in files.items()
        if path.is_fifo()
    ]
    if piped:
        raise ConfigError(piped)


def _route_problems(settings: Settings) -> list[str]:
    """Return the problems of route file and preset, in the order of their lines."""
    try:
        read_plan(settings)
    except RoutesRefused as error:
        return error.problems
    return []


def _gather(overrides: Mapping[str, str], environment: Mapping[str, str], env_file: Path) -> Layers:
    layers = Layers()
    layers.add(overrides, "passed by the program")
    layers.add(environment, ENVIRONMENT)
    try:
        env = read_env_file(env_file)
    except (OSError, UnicodeError) as error:
        env = EnvFile({}, [f"{env_file}: cannot be read: {why(error)}"], frozenset(FIELDS))
    layers.problems += env.problems
    layers.lost |= env.lost
    layers.add(env.written, str(env_file))
    if spans_can_be_made():
        known = set(layers.values)
        layers.add(otel_settings(environment), ENVIRONMENT)
        layers.borrowed |= layers.values.keys() - known
    directory = environment.get(SECRETS_DIRECTORY) or env.written.get(SECRETS_DIRECTORY)
    if directory:
        layers.add_directory(directory)
    return layers


def _validate(layers: Layers, problems: dict[str, None]) -> tuple[Settings, frozenset[str]]:
    """Return the settings from `layers` without the refused ones, and the names of the refused."""
    values = layers.values
    try:
        return _build(values), frozenset()
    except ValidationError as error:
        refused = set()
        for detail in error.errors(include_url=False, include_context=False):
            name = _name(detail)
            refused.add(name)
            given = f"; OTEL_* gives it, and {name} goes over that" if name in layers.borrowed else ""
            if name in layers.files:
                given = f"; the value is what stands in {layers.files[name]}"
            problems[f"{name}: {_describe(name, detail, values)}{given}"] = None
    return _build({name: value for name, value in values.items() if name not in refused}), frozenset(refused)


def _build(values: Mapping[str, str]) -> Settings:
    """Build the settings: pydantic-settings nests the flat names, and the types validate the values."""
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in values.items()}
    nested: dict[str, Any] = source()
    return Settings(**nested)


def _name(detail: ErrorDetails) -> str:
    """Return the setting that a validation error is about: the part of its location that names a setting."""
    name = PREFIX.rstrip("_")
    for part in detail["loc"]:
        if name in FIELDS:
            break
        name = f"{name}_{str(part).upper()}"
    return name


def _describe(name: str, detail: ErrorDetails, values: Mapping[str, str]) -> str:
    message = _LOGIN.sub(
        "://…@",
        _PLAIN.get(detail["type"], detail["msg"]).removeprefix("Value error, ").removeprefix("Input "),
    )
    message = _LONG.sub(r"\1…\2", message)
    # Both members of the union report an error; one message serves for both.
    if name == "GATEWAY_TRUSTED_PROXIES":
        message = "should be a network, such as 10.0.0.0/8 or 2001:db8::/32, with no bit set after the prefix"
    place = next((part for part in detail["loc"] if isinstance(part, int)), None)
    entry = "" if place is None else f"entry {place + 1} "
    quoted = str(detail["input"]) if place is not None else values.get(name, "")
    is_text = is_text_of_a_file(quoted) or "\n" in quoted.strip()
    if name in SECRETS or _LOGIN.search(quoted) or is_text:
        return f"{entry}{message}"
    quoted = repr(quoted if len(quoted) <= _QUOTED_CHARACTERS else quoted[:_QUOTED_CHARACTERS] + "…")
    meaning = FIELDS[name].description if name in FIELDS else None
    return f"{entry}{message}, is {quoted}" + (f" ({meaning.rstrip('.')})" if meaning else "")
