"""Parser of the message that authenticates a WebSocket: ``{"type":"auth","payload":{"token":"…"}}``.

It does not verify the token. Laws:

- Every JSON parser finds the same token in an accepted message: one that takes the first of two equal keys and one that
  takes the last, one that distinguishes ``Type`` from ``type`` and one that does not, one that reads text after the
  object and one that ignores it. A message in which two parsers could find different tokens is refused.
- A message counts as another message only if no parser could take it for an auth message.
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
"""Whatomate's close reason for a first message that does not authenticate."""
_SPACE: Final = " \t\n\r"
_BOM: Final = "\ufeff"
_DEEPEST: Final = 100
"""Levels of arrays and objects that are read. Each reader gives up at a depth of its own: Go at 10,000."""
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_FIRST_PRINTABLE, _LAST_PRINTABLE = "!", "~"

TokenPairs = tuple[tuple[str, object], ...]
"""A JSON object as all its pairs in order. A JSON array is a list, so the two differ."""


def read_auth(message: bytes) -> bytes | None:
    """Return the token of an auth message; None if no parser takes it for an auth message.

    Raises:
        Unreadable: it is not UTF-8, or two parsers could find different things in it.
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
        return None  # no JSON to any parser: Python's accepts more than others do
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
    """Refuse NaN and Infinity: some parsers accept them, to the others the message is no JSON."""
    raise _ambiguous()


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=tuple,
    # Numbers do not matter here, and Python refuses long ones that others accept.
    parse_int=lambda _: None,
    parse_float=lambda _: None,
    parse_constant=_refuse,
)


def _is_auth(kind: object) -> bool:
    return isinstance(kind, str) and kind.strip().casefold() == "auth"


def _values(pairs: TokenPairs, name: str) -> Iterable[object]:
    """Return every value that some parser finds under `name`: Go's ignores the case of keys, by Unicode's rules."""
    return [value for key, value in pairs if key.casefold() == name]


def _only(pairs: TokenPairs, name: str) -> object:
    """Return the value under `name` if every parser finds that one; else None."""
    values = [value for key, value in pairs if key.casefold() == name and key == name]
    return values[0] if len(values) == len(list(_values(pairs, name))) == 1 else None
