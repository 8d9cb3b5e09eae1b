"""Question of `helm test`: are all pods ready, and does the Service lead to the gateway?

    python ready.py http|https ADMIN_HOST ADMIN_PORT [PUBLIC_URL]

Laws:

- Every address of ADMIN_HOST is asked for /readyz; its Service lists pods that are not ready too, so none is left out.
- A request without a credential is refused at PUBLIC_URL by the gateway itself, and not by something else.

The exit code is 0 if all of it holds. Certificates are not verified: a pod is asked by its address.
"""

from __future__ import annotations

import http
import http.client
import socket
import ssl
import sys
from urllib.parse import urlsplit

SECONDS = 5
REALM = 'realm="whatomate"'


def ask(scheme: str, host: str, port: int, path: str) -> tuple[int, str, str]:
    """Ask one address; return the status, the challenge and the beginning of the body."""
    if scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return (
            answer.status,
            answer.headers.get("WWW-Authenticate", ""),
            answer.read(2000).decode("utf-8", "replace"),
        )
    finally:
        connection.close()


def refusals(scheme: str, host: str, port: int, public: str) -> list[str]:
    """Return what does not hold."""
    found = []
    addresses = sorted({entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    for address in addresses:
        status, _, body = ask(scheme, address, port, "/readyz")
        sys.stdout.write(f"{address}: /readyz {status} {body.strip()}\n")
        if status != http.HTTPStatus.OK:
            found.append(f"the pod at {address} is not ready: {body.strip()}")
    if public:
        url = urlsplit(public)
        usual = 443 if url.scheme == "https" else 80
        status, challenge, _ = ask(url.scheme, url.hostname or "", url.port or usual, "/api/auth/whoami")
        sys.stdout.write(f"{public}: {status} {challenge}\n")
        if status != http.HTTPStatus.UNAUTHORIZED or REALM not in challenge:
            found.append(
                f"{public} answers {status}: a request without a credential is not refused by the gateway"
            )
    return found


def main() -> None:
    """Ask, and say what does not hold."""
    scheme, host, port, *public = sys.argv[1:]
    try:
        found = refusals(scheme, host, int(port), *public[:1] or ("",))
    except (OSError, http.client.HTTPException) as error:
        found = [
            f"no answer ({error or type(error).__name__}): is a pod running, and does the NetworkPolicy let this in?"
        ]
    sys.exit("\n".join(found) or None)


if __name__ == "__main__":
    main()
