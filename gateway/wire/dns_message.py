"""DNS message check: it finds what is wrong with a datagram that claims to answer a lookup (RFC 1035).

c-ares compares id, source and question, but ends a query by the first datagram that it cannot read, takes a query that
comes back for an answer without addresses, and takes addresses of whatever name. Laws:

- An answer is a response to a question about the name that is looked up, or that name with a search domain.
- Each address in it belongs to that name, or to one that its aliases lead to.
- Of an answer that was cut short, only the records that are there are looked at.
"""

from __future__ import annotations

import struct
from typing import Final

_HEAD: Final = struct.Struct("!HHHHHH")
_QUESTION: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
_RESPONSE, _OPCODE, _TRUNCATED, _CODE = 0x8000, 0x7800, 0x0200, 0x000F
_WITHOUT_QUESTION: Final = frozenset({1, 4})
"""Codes of servers that could not read the question: FORMERR and NOTIMP."""
_A, _CNAME, _AAAA, _INTERNET = 1, 5, 28, 1
_NO_SUCH_NAME: Final = 3
_FAILED: Final = frozenset({2, 5})
"""Codes of servers that could not or would not find out whether there are addresses: SERVFAIL and REFUSED."""
_VERSIONS: Final = ((4, _A), (6, _AAAA))
_SIZES: Final = {_A: 4, _AAAA: 16}
_POINTER: Final = 0xC0
_LONGEST_LABEL: Final = 63
_LONGEST_NAME: Final = 255
_MOST_ALIASES: Final = 16

Name = tuple[bytes, ...]
"""The labels of a name, in lower case."""


class _Malformed(Exception):
    """The message ends too early, or breaks the format."""


class AnswerCodes:
    """Codes of the answers to one lookup, by the name and the type that were asked for, as far as they were seen.

    c-ares takes the addresses of one type for all that there are if the other query fails, and an answer without
    addresses of one type for the absence of the name. It reads two answers that come at once without our seeing the
    second, so only a failure that was seen counts: c-ares repeats the query, whose last answer then comes alone.
    """

    __slots__ = ("_codes", "_last")

    def __init__(self) -> None:
        self._codes: dict[Name, dict[int, int]] = {}
        self._last: Name = ()

    def note(self, message: bytes) -> None:
        """Note an answer in which no fault was found."""
        _, flags, questions, _, _, _ = _HEAD.unpack_from(message)
        if questions:
            self._last, at = _read_name(message, _HEAD.size)
            kind, _ = _QUESTION.unpack_from(message, at)
            self._codes.setdefault(self._last, {})[kind] = flags & _CODE

    def lacks(self, versions: set[int]) -> int:
        """Return the version of IP whose query failed, 4 or 6; 0 if there is none.

        `versions` are those of the addresses that were found.
        """
        codes = self._codes.get(self._last, {})
        return next((one for one, kind in _VERSIONS if one not in versions and codes.get(kind) in _FAILED), 0)

    @property
    def may_exist(self) -> bool:
        """True if some name that was asked for may have addresses, since one of its queries failed."""
        return any(
            _NO_SUCH_NAME not in codes.values() and not _FAILED.isdisjoint(codes.values())
            for codes in self._codes.values()
        )


def is_truncated(message: bytes) -> bool:
    """Return whether an answer says that it was cut short."""
    return len(message) >= _HEAD.size and bool(_HEAD.unpack_from(message)[1] & _TRUNCATED)


def fault_of(message: bytes, name: str) -> str:
    """Return what is wrong with `message` as an answer to a lookup of `name`, in words; empty if nothing is."""
    try:
        return _fault(message, _labels(name))
    except (_Malformed, struct.error):
        return "malformed"


def _labels(name: str) -> Name:
    return tuple(name.rstrip(".").lower().encode("utf-8", "surrogateescape").split(b"."))


def _fault(message: bytes, asked: Name) -> str:
    _, flags, questions, answers, authorities, additional = _HEAD.unpack_from(message)
    if not flags & _RESPONSE or flags & _OPCODE:
        return "not a response"
    if not questions and not answers and flags & _CODE in _WITHOUT_QUESTION:
        return ""
    if questions != 1:
        raise _Malformed
    question, at = _read_name(message, _HEAD.size)
    kind, space = _QUESTION.unpack_from(message, at)
    if question[: len(asked)] != asked or kind not in _SIZES or space != _INTERNET:
        return "a response to another question"
    owners: set[Name] = set()
    aliases: dict[Name, Name] = {}
    at += _QUESTION.size
    try:
        for number in range(answers + authorities + additional):
            at = _read_record(message, at, owners, aliases, is_answer=number < answers)
    except (_Malformed, struct.error):
        if not flags & _TRUNCATED:
            raise
    return "" if owners <= _chain(question, aliases) else "an address of another name"


def _chain(name: Name, aliases: dict[Name, Name]) -> set[Name]:
    """Return `name`, and the names that its aliases lead to."""
    chain = {name}
    while name in aliases and len(chain) <= _MOST_ALIASES:
        name = aliases[name]
        chain.add(name)
    return chain


def _read_record(
    message: bytes, at: int, owners: set[Name], aliases: dict[Name, Name], *, is_answer: bool
) -> int:
    """Read the record at `at`: add the owner of an address to `owners`, and an alias to `aliases`; return its end."""
    owner, at = _read_name(message, at)
    kind, space, _, size = _RECORD.unpack_from(message, at)
    at += _RECORD.size
    end: int = at + size
    if end > len(message):
        raise _Malformed
    if is_answer and space == _INTERNET:
        if kind in _SIZES:
            if size != _SIZES[kind]:
                raise _Malformed
            owners.add(owner)
        elif kind == _CNAME:
            target, stop = _read_name(message, at)
            if stop != end:
                raise _Malformed
            aliases[owner] = target
    return end


def _read_name(message: bytes, at: int) -> tuple[Name, int]:
    """Return the name at `at`, and the index behind it; pointers lead backwards alone (section 4.1.4)."""
    labels: list[bytes] = []
    end, start, size = 0, at, 0
    while True:
        if at >= len(message):
            raise _Malformed
        length = message[at]
        if length >= _POINTER:
            if at + 1 >= len(message):
                raise _Malformed
            end = end or at + 2
            at = (length & ~_POINTER) << 8 | message[at + 1]
            if at >= start:
                raise _Malformed
            start = at
        elif length > _LONGEST_LABEL:
            raise _Malformed
        elif length:
            label = message[at + 1 : at + 1 + length]
            size += length + 1
            if len(label) < length or size > _LONGEST_NAME:
                raise _Malformed
            labels.append(label.lower())
            at += 1 + length
        else:
            return tuple(labels), end or at + 1
