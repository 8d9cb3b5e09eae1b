"""Parser of the fields in which proxies name the hops of a request: X-Forwarded-For and the like, and Forwarded.

Pure functions over bytes. Laws:

- An address is read in every form that proxies write: with a port, in brackets, with a zone, in quotes.
- What cannot be read is None, and never somebody else's address.
- Forwarded is read by the grammar of RFC 7239 section 4, from the right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

MOST_HOPS: Final = 32
"""Most elements that are read, from the right."""

_NODE: Final = re.compile(
    r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+(?:%[^\]]*)?)\]|(?P<four>[0-9.]+)|(?P<bare>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%.*)?))"
    r"(?<!:)(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
)
_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]+"
"""Colons and brackets have to be quoted, but are often not."""
_PAIR: Final = rf'[ \t]*{_NAME}=(?:{_VALUE}|"(?:[^"\\]|\\.)*")[ \t]*'
_PAIRS: Final = re.compile(rf'({_NAME})=(?:({_VALUE})|"((?:[^"\\]|\\.)*)")')
_ELEMENT: Final = re.compile(rf"(?:{_PAIR}|[ \t]*)(?:;(?:{_PAIR}|[ \t]*))*")
_LONGEST: Final = 2048
"""Characters of Forwarded that are read, from the right."""
_MOST_TRIES: Final = 64
"""Commas that may turn out to stand within quotes, or in what breaks the grammar."""


@dataclass(frozen=True, slots=True)
class Hop:
    """Hop: one element of Forwarded, in which a proxy describes the request that it received.

    Attributes:
        node: Who sent it, as written; empty if the element does not name it.
        proto: The scheme; empty likewise.
        host: The Host; empty likewise.
    """

    node: str = ""
    proto: str = ""
    host: str = ""


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address in a node of X-Forwarded-For or Forwarded (RFC 7239 section 6); None if there is none."""
    quoted = text.strip()
    if len(quoted) > 1 and quoted[0] == quoted[-1] == '"':
        quoted = quoted[1:-1]
    match = _NODE.fullmatch(quoted)
    if match is None:
        return _parsed(quoted)
    address = _parsed(match["bracketed"] or match["four"] or match["bare"])
    # An IPv6 address without brackets has no port: its last group is one of eight.
    return _parsed(quoted) if match["bare"] is not None else address


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def elements(values: list[bytes]) -> list[str]:
    """Return the elements of a list field's lines, in order; empty ones are left out (RFC 9110 section 5.6.1)."""
    whole = b",".join(values).decode("latin-1").split(",")
    return [element for one in whole if (element := one.strip(" \t"))]


def read_forwarded(values: list[bytes]) -> list[Hop | None]:
    """Return the last elements of Forwarded's lines, in order; None for one that cannot be read.

    They are read from the right: what a client wrote itself, on the left, cannot hide what a proxy added. Nothing is
    read left of an element that breaks the grammar.
    """
    text = b",".join(values).decode("latin-1")[-_LONGEST:]
    hops: list[Hop | None] = []
    tries = 0
    while text and len(hops) < MOST_HOPS and None not in hops:
        at = text.rfind(",")
        while (match := _ELEMENT.fullmatch(text, at + 1)) is None and at >= 0 and tries < _MOST_TRIES:
            tries += 1
            at = text.rfind(",", 0, at)
        if match is None:
            hops.append(None)
        elif match[0].strip():
            hops.append(_hop(match[0]))
        text = text[: max(at, 0)]
    return hops[::-1]


def _hop(element: str) -> Hop | None:
    """Return an element's pairs; None if a name occurs twice (RFC 7239 section 4)."""
    pairs = [
        (name.lower(), token or re.sub(r"\\(.)", r"\1", quoted))
        for name, token, quoted in _PAIRS.findall(element)
    ]
    found = dict(pairs)
    if len(found) < len(pairs):
        return None
    return Hop(found.get("for", ""), found.get("proto", ""), found.get("host", ""))
