"""Examples of the OpenAPI document: a request body, and a line of curl, for each operation.

Law: an example is made from the schema that the document has, so that a changed field changes it.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BASE: Final = "$GATEWAY"
"""Stands for the gateway's URL in a line of curl."""

CREDENTIALS: Final[Mapping[str, str]] = {
    "token": '-H "Authorization: Bearer $TOKEN"',
    "apiKey": '-H "X-API-Key: $KEY"',
    "cookie": "-b cookies.txt",
}
"""How curl sends a credential, by the name of its security scheme."""

_OF_FORMATS: Final = {
    "uuid": "6f1c1f7e-9d55-4a86-8f0e-2d6d1c1b7a10",
    "date-time": "2030-01-01T00:00:00Z",
    "boolean": True,
    "integer": 1,
}


def body_example(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an example of a request body: every required field, and the optional ones that have an example."""
    required = schema.get("required", [])
    return {
        name: _value(name, field)
        for name, field in schema.get("properties", {}).items()
        if name in required or _examples(field)
    }


def _examples(field: Mapping[str, Any]) -> Sequence[Any]:
    """Return the examples of a field; of one that may be null, those of its other form."""
    found: Sequence[Any] = field.get("examples", ())
    return found or next((form["examples"] for form in field.get("anyOf", ()) if "examples" in form), ())


def _value(name: str, field: Mapping[str, Any]) -> Any:
    if examples := _examples(field):
        return examples[0]
    one = field["anyOf"][0] if "anyOf" in field else field
    return _OF_FORMATS.get(one.get("format") or one.get("type", ""), f"<{name}>")


def curl_line(
    method: str,
    path: str,
    *,
    schemes: Sequence[str],
    body: Mapping[str, Any] | None,
    with_cookies: bool = False,
) -> str:
    """Return a line of curl that calls an operation.

    Args:
        method: The HTTP method.
        path: The path, with `{id}` where an id stands.
        schemes: The security schemes that the operation takes; the first is used.
        body: The body to send, as JSON.
        with_cookies: The operation sets cookies, which curl stores.
    """
    words = ["curl -sS"]
    if method != "GET":
        words.append(f"-X {method}")
    words.append(f'"{BASE}{path.replace("{id}", "$ID")}"')
    words += [CREDENTIALS[scheme] for scheme in schemes[:1]]
    if with_cookies:
        words.append("-c cookies.txt")
    if body is not None:
        written = shlex.quote(json.dumps(body, ensure_ascii=False))
        words += ["-H 'Content-Type: application/json'", f"\\\n  -d {written}"]
    return " ".join(words)
