"""Stand-in for curl, for the lines that ``dev`` prints, on a machine that has none.

    python -m gateway.dev.curl -sS http://127.0.0.1:8080/api/auth/login -H 'Content-Type: application/json' -d '{}'

It knows these options alone. As with curl, an answer of any status is printed and is no failure.
"""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request
from typing import Final

_SECONDS: Final = 60


def main(arguments: list[str] | None = None) -> int:
    """Send one request and print the answer's body; return the exit code."""
    parser = argparse.ArgumentParser(prog="curl", description="A stand-in for curl: install curl for more.")
    parser.add_argument("url")
    parser.add_argument("-sS", action="store_true", help="accepted; it is what this does")
    parser.add_argument("-H", action="append", default=[], dest="fields", metavar="'NAME: VALUE'")
    parser.add_argument("-d", dest="body", help="send this by POST")
    given = parser.parse_args(arguments)
    if not given.url.startswith(("http://", "https://")):
        parser.error("the URL begins with http:// or https://")
    body = None if given.body is None else given.body.encode()
    fields = {name: value.strip() for name, _, value in (field.partition(":") for field in given.fields)}
    request = urllib.request.Request(given.url, body, fields)  # noqa: S310 - checked above
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            sys.stdout.buffer.write(answer.read())
    except urllib.error.HTTPError as error:
        sys.stdout.buffer.write(error.read())
    except OSError as error:
        sys.stderr.write(f"curl (stand-in): {given.url}: {error}\n")
        return 7  # as curl does
    return 0


if __name__ == "__main__":
    sys.exit(main())
