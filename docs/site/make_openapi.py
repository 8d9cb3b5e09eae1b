"""Generator of the site's OpenAPI document: that of a gateway that hosts everything it can.

    python docs/site/make_openapi.py > .site/openapi.json

A running gateway describes what it hosts under its own settings, at ``/api/auth/openapi.json``.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

# The path is set above, so that this runs from anywhere.
from gateway.cookies import ACCESS  # noqa: E402 -- see above
from gateway.endpoints.describing import make_document  # noqa: E402 -- see above
from gateway.endpoints.hosted import ENDPOINTS  # noqa: E402 -- see above

PASSWORD_LENGTH: Final = 8
"""The default of GATEWAY_PASSWORD_MIN_LENGTH."""


def text() -> str:
    """Return the document as JSON."""
    operations = {(one.method, one.path): one for one in reversed(ENDPOINTS)}
    document = make_document(
        [one for one in ENDPOINTS if one is operations[one.method, one.path]],
        version=tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"],
        cookies={"access": ACCESS.decode(), "header": "X-CSRF-Token"},
        password_length=PASSWORD_LENGTH,
    )
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
