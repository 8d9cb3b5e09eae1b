"""Text format of access records for a terminal, one line each with the important fields first; escapes of all lines.

Law: whatever a client has sent is written with its control characters escaped, because a terminal obeys them. This is
true of JSON lines too, which are read in terminals as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST: Final = frozenset({"time", "level", "event", "method", "path", "query", "status", "duration_ms"})
_LAST: Final = ("request_id", "trace_id")
_QUIET: Final = frozenset({"client", "bytes_in", "user_id", "organization_id"})
"""Fields left out in a terminal, where they are noise; JSON has them."""


def access_line(record: Mapping[str, object]) -> bytes:
    """Return an access record as one line of text."""
    path, query = record.get("path"), record.get("query")
    target = "-" if path is None else f"{path}?{query}" if query else str(path)
    line = (
        f"{str(record['time'])[11:23]} {record['status']} {record['method'] or '-':7} {target}"
        f"  {record['duration_ms']}ms"
    )
    fields = [
        f"{name}={field}"
        for name, field in record.items()
        if name not in _FIRST and name not in _QUIET and name not in _LAST and not name.endswith("_ms")
    ]
    phases = [
        f"{name.removesuffix('_ms')}={field}ms"
        for name, field in record.items()
        if name.endswith("_ms") and name not in _FIRST and field
    ]
    request_id = [f"id={record['request_id']}"] if record.get("reason") else []
    return f"{spelled_out('  '.join([line, *phases, *fields, *request_id]))}\n".encode()


def spelled_out(text: str) -> str:
    """Return `text` with every unprintable character, except the space, as its escape."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def escaped(line: bytes) -> bytes:
    """Return a line of JSON with every unprintable character escaped, C1 controls and marks of direction among them.

    JSON demands escapes of C0 controls alone (RFC 8259 section 7). What is parsed from it stays the same.
    """
    if line.isascii() and b"\x7f" not in line:
        return line
    return "".join(letter if letter.isprintable() else _unit(letter) for letter in line.decode()).encode()


def _unit(letter: str) -> str:
    """Return the JSON escape of a character: one UTF-16 code unit, or a pair of them."""
    units = letter.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
