"""A directory of key files -> the keys in it.

::

    2026-11.pem        a private or public key; called by its thumbprint
    billing.kid.pem    the same, called "billing"
    signing            the kid of the key that signs; without this file the shared secret does
    revoked            kids that may verify no more, one a line

Laws:

- A directory is read twice and taken when both readings are alike: a swap of it that is under way (a Kubernetes Secret
  is swapped by a symbolic link) is never half taken.
- It is judged whole: one file that cannot be used, and none of it is. Nor is a directory without any key: more likely
  something is not mounted.
- Names that begin with a dot, and files called otherwise, are nobody's keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from authcore.keys import Key, KeySet
from authcore.pem import KeyUnusable, parse_pem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SIGNING: Final = "signing"
REVOKED: Final = "revoked"
MOST_FILES: Final = 64
MOST_BYTES: Final = 65_536
_KID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_NAMED: Final = ".kid.pem"


class KeysUnusable(ValueError):
    """A directory that cannot be taken; the text names the file, and nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was in a directory.

    Attributes:
        files: Contents by name.
    """

    files: Mapping[str, bytes] = field(repr=False)

    @property
    def digest(self) -> bytes:
        """Tells this from any other content."""
        told = sha256()
        for name, content in self.files.items():
            told.update(b"%d:%b%d:%b" % (len(name), name.encode(), len(content), content))
        return told.digest()


def take_snapshot(directory: Path) -> Snapshot | None:
    """Read a directory; None when it changed meanwhile. It waits for the disk.

    Raises:
        KeysUnusable: it, or a file in it, cannot be read, or is too much.
    """
    first, second = _read(directory), _read(directory)
    return first if first == second else None


def _read(directory: Path) -> Snapshot:
    files: dict[str, bytes] = {}
    try:
        for path in sorted(directory.iterdir()):
            if path.name.startswith(".") or not (path.suffix == ".pem" or path.name in {SIGNING, REVOKED}):
                continue
            with path.open("rb") as file:
                files[path.name] = file.read(MOST_BYTES + 1)
            if len(files[path.name]) > MOST_BYTES:
                raise KeysUnusable(f"{path.name} is larger than {MOST_BYTES} bytes")
            if len(files) > MOST_FILES:
                raise KeysUnusable(f"more than {MOST_FILES} files in {directory}")
    except OSError as error:
        raise KeysUnusable(f"cannot read {error.filename or directory}: {error.strerror}") from None
    return Snapshot(files)


def parse_snapshot(snapshot: Snapshot) -> KeySet:
    """Read the keys of a snapshot.

    Raises:
        KeysUnusable: a file holds no key, two hold different keys of one kid, or the one to sign is not there.
    """
    keys: dict[str, Key] = {}
    for name, content in snapshot.files.items():
        if name in {SIGNING, REVOKED}:
            continue
        given = name.removesuffix(_NAMED) if name.endswith(_NAMED) else None
        if given is not None and _KID.fullmatch(given) is None:
            raise KeysUnusable(f"{name}: a kid is made of letters, digits, '.', '_' and '-'")
        try:
            key = parse_pem(content, kid=given, source=name)
        except KeyUnusable as error:
            raise KeysUnusable(f"{name}: {error}") from None
        known = keys.get(key.thumbprint)
        if known is None or (known.private is None and key.private is not None):
            keys[key.thumbprint] = key  # of the two halves of a pair in two files, the one that signs
    if not keys:
        raise KeysUnusable("the key directory holds no .pem file")
    _refuse_homonyms(keys.values())
    signing = _words(snapshot, SIGNING)
    revoked = frozenset(_words(snapshot, REVOKED))
    if SIGNING in snapshot.files and len(signing) != 1:  # none is a file that is being written
        raise KeysUnusable(f"{SIGNING}: names {len(signing)} kids; one key signs")
    found = KeySet(tuple(keys.values()), signing[0] if signing else None, revoked)
    _refuse_signer(found)
    return found


def _refuse_homonyms(keys: Iterable[Key]) -> None:
    sources: dict[str | None, str] = {}
    for key in keys:
        first = sources.setdefault(key.kid, key.source)
        if first != key.source:
            raise KeysUnusable(f"{first} and {key.source}: two keys are called {key.kid}")


def _refuse_signer(found: KeySet) -> None:
    if found.signing is None:
        return
    key = next((one for one in found.keys if one.kid == found.signing), None)
    if key is None:
        raise KeysUnusable(f"{SIGNING}: no file holds the key {found.signing!r}")
    if key.private is None:
        raise KeysUnusable(f"{SIGNING}: {key.source} holds the public half of {found.signing!r} alone")
    if key.is_among(found.revoked):
        raise KeysUnusable(f"{SIGNING}: {found.signing!r} is {REVOKED}")


def _words(snapshot: Snapshot, name: str) -> list[str]:
    text = snapshot.files.get(name, b"").decode("ascii", "replace")
    words = [word for line in text.splitlines() if (word := line.partition("#")[0].strip())]
    wrong = next((word for word in words if _KID.fullmatch(word) is None), None)
    if wrong is not None:
        raise KeysUnusable(f"{name}: a line is no kid")
    return words
