"""Requests whose heads all differ: field sets of two browsers and of curl, many paths, and callers in turn."""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PATHS: Final = 1000
CALLERS: Final = 200

CHROME: Final = (
    "Host: app.example.com\r\nConnection: keep-alive\r\n{credential}\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 "
    'Safari/537.36\r\nAccept: application/json, text/plain, */*\r\nsec-ch-ua: "Chromium";v="131"\r\n'
    "sec-ch-ua-mobile: ?0\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"
    "Referer: https://app.example.com/contacts\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9\r\nCookie: theme=dark; sidebar=open\r\n"
)
FIREFOX: Final = (
    "Host: app.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0\r\n"
    "Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n{credential}\r\n"
    "Referer: https://app.example.com/contacts\r\nConnection: keep-alive\r\nSec-Fetch-Dest: empty\r\n"
    "Sec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\nPriority: u=4\r\n"
)
CURL: Final = "Host: app.example.com\r\nUser-Agent: curl/8.11.0\r\nAccept: */*\r\n{credential}\r\n"
FIELD_SETS: Final = (CHROME, FIREFOX, CURL)
"""Field lines, with a place for the credential's."""


def varied(number: int, path: str, credentials: Sequence[str]) -> str:
    """Return the head of a request that differs from the one before in its field set, its path and its caller.

    Args:
        number: Which request it is.
        path: The request target, with ``%d`` for the number of a path.
        credentials: A field line of each caller, without its end.
    """
    fields = FIELD_SETS[number % len(FIELD_SETS)].format(credential=credentials[number % len(credentials)])
    return f"GET {path % (number * 7 % PATHS)} HTTP/1.1\r\n{fields}\r\n"


def every(path: str, credentials: Sequence[str]) -> list[str]:
    """Return all requests that differ: with the next one, the first comes again."""
    return [
        varied(number, path, credentials) for number in range(lcm(PATHS, len(FIELD_SETS), len(credentials)))
    ]
