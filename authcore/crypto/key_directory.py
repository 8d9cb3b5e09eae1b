"""Reader of a key directory: it turns the files of a directory into a key set.

::

    2026-11.pem        a private or public key, named by its thumbprint
    billing.kid.pem    a key named "billing"
    signing            the kid of the key that signs; without this file the shared secret signs
    revoked            kids that may no longer verify, one a line

Laws:

- A directory is read twice, and accepted if both readings are equal: a directory that is being swapped (a Kubernetes
  Secret is swapped by a symbolic link) is never accepted half old and half new.
- It is accepted or refused as a whole: one unusable file makes the whole directory unusable. So does the absence of any
  key, which more likely means that a volume is not mounted.
- Files whose names begin with a dot, and files with any other name, are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from authcore.crypto.keyring import Key, KeySet
from authcore.crypto.pem import KeyUnusable, parse_pem

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
    """A key directory that cannot be used; the text names the file, and reveals nothing of its contents."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Contents of a key directory at one moment.

    Attributes:
        files: Contents by name.
    """

    files: Mapping[str, bytes] = field(repr=False)

    @property
    def digest(self) -> bytes:
        """Digest of names and contents: two snapshots have the same one only if they are equal."""
        hasher = sha256()
        for name, content in self.files.items():
            hasher.update(b"%d:%b%d:%b" % (len(name), name.encode(), len(content), content))
        return hasher.digest()


def take_snapshot(directory: Path) -> Snapshot | None:
    """Read a directory; return None if it changed meanwhile. This blocks on the disk.

    Raises:
        KeysUnusable: the directory or a file in it cannot be read, or is too large.
    """
    first, second = _read(directory), _read(directory)
    return first if first == second else None


def _read(directory: Path) -> Snapshot:
    files: dict[str, bytes] = {}
    try:
        for path in sorted(directory.iterdir()):
            if path.name.startswith(".") or not (path.suffix == ".pem" or path.name in {SIGNING, REVOKED}):
                continue
            if path.is_fifo():  # opening it would wait for its writer
                raise KeysUnusable(f"{path.name} is a pipe, and is read more than once; write a file")
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
    """Parse the keys of a snapshot.

    Raises:
        KeysUnusable: a file holds no key, two keys have one kid, or the signing key is not there.
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
            keys[key.thumbprint] = (
                key  # if two files hold the two halves of a pair, the private half is taken
            )
    if not keys:
        raise KeysUnusable("the key directory holds no .pem file")
    _refuse_homonyms(keys.values())
    signing = _words(snapshot, SIGNING)
    revoked = frozenset(_words(snapshot, REVOKED))
    if SIGNING in snapshot.files and len(signing) != 1:  # an empty file is one that is being written
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
