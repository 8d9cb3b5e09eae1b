"""What a WebSocket's first message says if it is one that authenticates: ``{"type":"auth","payload":{"token":"…"}}``.

Whether the token is any good is not known here. Laws:

- The token that is returned is the one that every reader of JSON finds there, whether it takes the first or the last of
  two keys, tells ``Type`` from ``type``, minds what stands behind the object, or not. A message in which two readers
  could find two things is refused.
- A message is no auth message only if no reader could take it for one.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from gateway.wire.first_message import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

POLICY, NOT_TEXT = 1008, 1007
FAILED: Final = "authentication failed"
"""What Whatomate says of a first message that does not authenticate."""
_SPACE: Final = " \t\n\r"
_BOM: Final = "\ufeff"
_DEEPEST: Final = 100
"""Levels of arrays and objects that are read. Each reader gives up at a depth of its own: Go at 10,000."""
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_FIRST_PRINTABLE, _LAST_PRINTABLE = "!", "~"

Pairs = tuple[tuple[str, object], ...]
"""An object of JSON, with every pair of it in order; an array is a list."""


def read_auth(message: bytes) -> bytes | None:
    """Return the token of an auth message; None when it is another message, to any reader.

    Raises:
        Unreadable: it is not text, or different readers could find different things in it.
    """
    try:
        text = message.decode()
    except UnicodeDecodeError:
        raise Unreadable(NOT_TEXT, "unreadable", "the first message is not UTF-8") from None
    plain = text.lstrip(_SPACE).removeprefix(_BOM).lstrip(_SPACE)
    if _is_deep(plain):
        raise _ambiguous()
    try:
        found, end = _DECODER.raw_decode(plain)
    except ValueError:
        return None  # no JSON; Python takes more for JSON than others do
    if not isinstance(found, tuple) or not any(_is_auth(kind) for kind in _values(found, "type")):
        return None
    if _BOM in text[: len(text) - len(plain)] or plain[end:].strip(_SPACE):
        raise _ambiguous()
    payload = _only(found, "payload")
    token = _only(payload, "token") if isinstance(payload, tuple) else None
    if _only(found, "type") != "auth" or not isinstance(token, str) or not token:
        raise _ambiguous()
    if any(not _FIRST_PRINTABLE <= letter <= _LAST_PRINTABLE for letter in token):
        raise _ambiguous()
    return token.encode("ascii")


def _is_deep(text: str) -> bool:
    """Return whether more than `_DEEPEST` arrays and objects are open at once somewhere in `text`."""
    if text.count("[") + text.count("{") <= _DEEPEST:
        return False
    depth = 0
    for letter in _STRING.sub("", text):
        depth += (letter in "[{") - (letter in "]}")
        if depth > _DEEPEST:
            return True
    return False


def _ambiguous() -> Unreadable:
    return Unreadable(POLICY, "malformed", FAILED)


def _refuse(_: str) -> object:
    """Take NaN and Infinity for what they are to most readers: an error, and so another message to some."""
    raise _ambiguous()


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=tuple,
    # No number is of any account, and Python refuses long ones that others read.
    parse_int=lambda _: None,
    parse_float=lambda _: None,
    parse_constant=_refuse,
)


def _is_auth(kind: object) -> bool:
    return isinstance(kind, str) and kind.strip().casefold() == "auth"


def _values(pairs: Pairs, name: str) -> Iterable[object]:
    """Return what stands under `name` in the eyes of any reader: Go folds the case of keys, Unicode's too."""
    return [value for key, value in pairs if key.casefold() == name]


def _only(pairs: Pairs, name: str) -> object:
    """Return what stands under `name`, if that is one thing to every reader; else None."""
    values = [value for key, value in pairs if key.casefold() == name and key == name]
    return values[0] if len(values) == len(list(_values(pairs, name))) == 1 else None
