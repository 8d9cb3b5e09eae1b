"""A service behind the gateway that believes signed identities and nothing else. PyJWT, and the one file beside this.

PUBLIC_KEY=identity.pub.pem ADDRESS=127.0.0.1:3000 python service.py    # authcore/tokens/signed_identity.py copied here
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from signed_identity import IdentityRejected, IdentityVerifier

VERIFIER = IdentityVerifier(
    [Path(os.environ["PUBLIC_KEY"]).read_text(encoding="ascii")], algorithm="EdDSA", audience="upstream"
)


class Service(BaseHTTPRequestHandler):
    """Answers with who is asking."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Answer any method."""
        values = self.headers.get_all("X-Identity") or []
        try:
            identity = VERIFIER.verify(
                values[0] if len(values) == 1 else None,
                self.command,
                self.path,
                time.time(),
                permissions=self.headers.get("X-User-Permissions", ""),
            )
        except IdentityRejected as error:
            sys.stderr.write(f"{error}\n")
            status, body = 401, b"not signed by the gateway\n"
        else:
            answer = dataclasses.asdict(identity) | {"sub": identity.user_id}
            status, body = 200, json.dumps(answer, default=sorted).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 -- the names http.server calls


if __name__ == "__main__":
    host, _, port = os.environ["ADDRESS"].partition(":")
    ThreadingHTTPServer((host, int(port)), Service).serve_forever()
