"""Layers of settings: environment, ``*_FILE``, ``.env`` and secrets folder are merged, and every problem is collected.

Laws:

- An upper layer wins. An empty value counts as not set, with two exceptions: for a list it is the empty list, and for
  the name of an identity header it is a mistake, since an operator who writes it wants the header left out.
- An empty file is a mistake, unless it is of a list: a secret that was to protect is not there.
- In one layer a setting is written once: as itself or as ``*_FILE``, never both.
- A name that is no setting is never dropped: it is kept for :mod:`config.names` to judge.
- No problem contains a value.
"""

from __future__ import annotations

import errno
import re
from collections import Counter
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, get_origin

from dotenv.parser import parse_stream
from pydantic import BaseModel, SecretStr

from authcore.identity_headers import HEADERS
from config.fields import NO_PATH, is_text_of_a_file
from config.files import read_file
from config.service_links import is_service_link
from config.settings import Settings
from config.text import is_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo

PREFIX: Final = "GATEWAY_"
SECRETS_DIRECTORY: Final = "GATEWAY_SECRETS_DIR"
_FILE: Final = "_FILE"
_NO_MOUNT: Final = "Docker makes one where the file of a mount is missing"
_FOLDERS: Final = ("/", "./", "../", "~/")


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, of in model.model_fields.items():
        if isinstance(of.annotation, type) and issubclass(of.annotation, BaseModel):
            yield from _walk(of.annotation, f"{prefix}{name.upper()}_")
        else:
            yield prefix + name.upper(), of


FIELDS: Final[Mapping[str, FieldInfo]] = dict(_walk(Settings, PREFIX))
"""Every setting, by the name that an operator types."""

LISTS: Final = frozenset(name for name, of in FIELDS.items() if get_origin(of.annotation) is tuple)
NAMED: Final = frozenset(header.setting for header in HEADERS if header.sent)
"""Settings with the name of a header that is sent: their value must not be empty."""
SECRETS: Final = frozenset(
    name for name, of in FIELDS.items() if SecretStr.__name__ in repr(of.annotation) or name.endswith("_URL")
)
"""Settings whose value is never printed: the secrets, and the URLs, since a URL may contain a password."""
ENVIRONMENT: Final = "environment"
"""What the process's environment is called in problems."""


@dataclass(frozen=True, slots=True)
class UnknownName:
    """Name in a layer that is no setting.

    Attributes:
        name: As it is written there.
        value: What it is set to; it is judged, and never printed.
        layer: What the layer is called in problems.
    """

    name: str
    value: str = field(repr=False)
    layer: str


@dataclass(slots=True)
class Layers:
    """Merged layers: the first added layer wins.

    Attributes:
        problems: Problems of words.
        unreadable: Problems of files.
        lost: Settings that may be written in what could not be read: they are not called missing.
        borrowed: Settings that OpenTelemetry's own variables give.
    """

    values: dict[str, str] = field(default_factory=dict, repr=False)
    files: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    unknown: list[UnknownName] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    borrowed: set[str] = field(default_factory=set)

    def add(self, layer: Mapping[str, str], source: str) -> None:
        """Add `layer` below the layers so far."""
        for name, value in layer.items():
            if source == ENVIRONMENT and is_service_link(name, value):
                continue
            is_ours = name == SECRETS_DIRECTORY or name in FIELDS or name.removesuffix(_FILE) in FIELDS
            if is_ours and (not is_utf8(value) or "\0" in value):
                self.problems.append(
                    f"{name}: {'has a NUL in it' if is_utf8(value) else 'is not UTF-8 text'}"
                )
            elif name in FIELDS:
                twin = layer.get(name + _FILE)
                if twin and value:
                    self.problems.append(f"{name}: set twice, also as {name}{_FILE}; keep one of the two")
                elif value or name in LISTS:
                    self.values.setdefault(name, value)
                elif name in NAMED:
                    key = name.removeprefix("GATEWAY_HEADER_").lower()
                    self.problems.append(
                        f"{name}: is empty, and a header has a name; to leave it out, set "
                        f"GATEWAY_UPSTREAM_IDENTITY=-{key}, or `identity: -{key}` in the route file"
                    )
            elif name.endswith(_FILE) and name.removesuffix(_FILE) in FIELDS:
                self._add_file(name.removesuffix(_FILE), value, layer)
            elif name != SECRETS_DIRECTORY:
                self.unknown.append(UnknownName(name, value, source))

    def add_directory(self, directory: str) -> None:
        """Add a folder of files, each named like a setting, below the layers so far."""
        if "\0" in directory:  # a problem of its layer
            return
        try:
            entries = sorted(Path(directory).iterdir())
        except OSError as error:
            self.unreadable.append(
                f"{SECRETS_DIRECTORY}: cannot read the folder {directory}: {error.strerror}"
            )
            self.lost |= FIELDS.keys()
            return
        layer: dict[str, str] = {}
        files: dict[str, Path] = {}
        for entry in entries:  # Kubernetes adds hidden folders beside the files, which are links into them
            name = entry.name.upper()
            if entry.name.startswith(".") or (entry.is_dir() and name not in FIELDS):
                continue
            if not name.startswith(PREFIX):  # of another program perhaps, so it is not read
                self.unknown.append(UnknownName(entry.name, "", f"a file in {directory}"))
                continue
            if name in layer:
                self.problems.append(f"{name}: is two files in {directory}, in capitals and not; keep one")
            try:
                layer[name] = _value_of(name, entry)
                files[name] = entry
            except (OSError, UnicodeError) as error:
                self.unreadable.append(f"{name}: cannot read {entry}: {why(error)}")
        known = set(self.values)
        self.add(layer, f"a file in {directory}")
        self.files |= {name: path for name, path in files.items() if name in self.values.keys() - known}

    def _add_file(self, name: str, path: str, layer: Mapping[str, str]) -> None:
        if not path or layer.get(name):
            return
        if "\n" in path or is_text_of_a_file(path):
            self.problems.append(f"{name}{_FILE}: {NO_PATH}")
            return
        try:
            value = read_value(Path(path))
        except (OSError, UnicodeError) as error:
            # A name without a folder may be the secret itself, written in the place of its file.
            called = path if name not in SECRETS or path.startswith(_FOLDERS) else "the file that it names"
            hint = (
                ""
                if called == path
                else "; it should be a path, such as /run/secrets/name, not the value itself"
            )
            self.unreadable.append(f"{name}{_FILE}: cannot read {called}: {why(error)}{hint}")
            return
        if not value and name not in LISTS:
            self.unreadable.append(f"{name}{_FILE}: {path} is empty")
            return
        if "\0" in value:
            self.unreadable.append(f"{name}{_FILE}: {path} has a NUL in it; store it as UTF-8 text")
            return
        if name not in self.values:
            self.values[name] = value
            self.files[name] = Path(path)


def read_value(path: Path) -> str:
    """Return the text of a file without the final line end that an editor leaves behind."""
    return _text(path).removesuffix("\n").removesuffix("\r")


def _value_of(name: str, entry: Path) -> str:
    """Return the value of a setting in the folder of secrets.

    Raises:
        OSError: It cannot be read, or is empty: what was to protect is not there.
        UnicodeError: It is not UTF-8.
    """
    if entry.is_dir():
        raise OSError(errno.EISDIR, f"it is a folder; {_NO_MOUNT}")
    value = read_value(entry)
    if not value and name in FIELDS and name not in LISTS:
        raise OSError(errno.EINVAL, "it is empty; write its value, or remove the file")
    return value


def _text(path: Path) -> str:
    """Return the text of a file, without the byte order mark that programs of Windows put before it."""
    return read_file(path, pipes=True).decode("utf-8-sig")


class EnvFile(NamedTuple):
    """Contents of a ``.env`` file.

    Attributes:
        written: Its assignments, without those of a setting that stands twice. A line that cannot be read takes none
            of the others away, so that they are judged as well.
        problems: Each line that cannot be read, and each setting that stands twice.
        lost: The settings of these lines.
    """

    written: dict[str, str]
    problems: list[str]
    lost: frozenset[str]


def read_env_file(path: Path) -> EnvFile:
    """Read a ``.env`` file; without one nothing is written.

    Raises:
        OSError: It cannot be read.
        UnicodeError: It is not UTF-8.
    """
    try:
        text = _text(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise
        return _NO_ENV_FILE
    except IsADirectoryError as error:
        if (path / "pyvenv.cfg").exists():  # a virtual environment that somebody has called so
            return _NO_ENV_FILE
        raise OSError(error.errno, f"it is a folder; {_NO_MOUNT}") from error
    # Without interpolation: a $ in a secret stands for itself, as in the environment and in files.
    bindings = list(parse_stream(StringIO(text, newline=None)))
    ours = Counter(one.key for one in bindings if one.key and one.key.startswith(PREFIX))
    twice = [name for name, times in ours.items() if times > 1]
    unread = [
        one for one in bindings if one.error or (one.value is None and (one.key or "").startswith(PREFIX))
    ]
    problems = [
        f"{path}, line {one.original.line}: cannot be read; write NAME=value, and quote a value that holds spaces, "
        "quotes or #"
        for one in unread
    ]
    for name in twice:
        lines_of = [str(one.original.line) for one in bindings if one.key == name]
        problems.append(f"{name}: is set in lines {' and '.join(lines_of)} of {path}; keep one of them")
    written = {
        one.key: one.value
        for one in bindings
        if one.key and one.value is not None and not one.error and one.key not in twice
    }
    named = {one.key or "".join(_ASSIGNED.findall(one.original.string)[:1]) for one in unread}
    return EnvFile(written, problems, frozenset(name.removesuffix(_FILE) for name in (*named, *twice)))


_NO_ENV_FILE: Final = EnvFile({}, [], frozenset())
_ASSIGNED: Final = re.compile(rf"^\s*(?:export\s+)?({PREFIX}[A-Z0-9_]+)")


def why(error: OSError | UnicodeError) -> str:
    """Describe an error without quoting the file's contents."""
    return (error.strerror or "it failed") if isinstance(error, OSError) else "it is not UTF-8 text"
