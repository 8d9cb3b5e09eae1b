"""Address of the admin listener, for a probe: it is read from the sources of settings without checking any other.

Laws:

- An invalid setting, or a file that cannot be read now, does not make a running gateway look unhealthy.
- No other file is read: it may be a pipe that the running gateway has read to its end.
"""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values
from pydantic import ValidationError

from config.files import read_file
from config.groups.serving import Admin
from config.layers import ENVIRONMENT, SECRETS_DIRECTORY, Layers
from config.load import ENV_FILE, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LISTEN: Final = "GATEWAY_ADMIN_LISTEN"
_CERTIFICATE: Final = "GATEWAY_ADMIN_TLS_CERT_FILE"
_KEY: Final = "GATEWAY_ADMIN_TLS_KEY_FILE"
_NAMES: Final = frozenset(name + suffix for name in (_LISTEN, _CERTIFICATE, _KEY) for suffix in ("", "_FILE"))


def admin_address(
    environment: Mapping[str, str] | None = None, env_file: Path = ENV_FILE
) -> tuple[str, bool]:
    """Return the admin listener's address as it is set, ``host:port``, and whether it speaks TLS.

    Args:
        environment: Read in place of the process's environment.
        env_file: The ``.env`` file; it may be missing.

    Raises:
        ConfigError: the address cannot be read, or is none.
    """
    source = os.environ if environment is None else environment
    written = _written(env_file)
    layers = Layers()
    layers.add(_only(source), ENVIRONMENT)
    layers.add(_only(written), str(env_file))
    directory = source.get(SECRETS_DIRECTORY) or written.get(SECRETS_DIRECTORY)
    if directory:
        layers.add(_only_files(Path(directory)), f"a file in {directory}")
    problems = [one for one in (*layers.problems, *layers.unreadable) if one.startswith(_LISTEN)]
    if problems:
        raise ConfigError(problems)
    try:
        listen = Admin(**({"listen": layers.values[_LISTEN]} if _LISTEN in layers.values else {})).listen
    except ValidationError as error:
        raise ConfigError(
            [f"{_LISTEN}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors()]
        ) from error
    return listen, {_CERTIFICATE, _KEY} <= layers.values.keys()


def _only(layer: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in layer.items() if name in _NAMES}


def _only_files(directory: Path) -> dict[str, str]:
    try:
        entries = [entry for entry in directory.iterdir() if entry.name.upper() in _NAMES]
    except OSError:
        return {}
    texts = {entry.name.upper(): _text(entry) for entry in entries}
    return {name: text.removesuffix("\n").removesuffix("\r") for name, text in texts.items() if text}


def _written(env_file: Path) -> dict[str, str]:
    """Return the assignments of the ``.env`` file that can be read."""
    written = dotenv_values(stream=StringIO(_text(env_file), newline=None), interpolate=False)
    return {name: value for name, value in written.items() if value is not None}


def _text(path: Path) -> str:
    """Return the text of a file; empty if it cannot be read, or is a pipe."""
    try:
        return read_file(path).decode("utf-8-sig")
    except (OSError, UnicodeError):
        return ""
