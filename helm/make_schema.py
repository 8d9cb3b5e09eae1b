"""Generator of the chart's values.schema.json, from chart-values.json, Kubernetes' types and the gateway's settings.

    python helm/make_schema.py > helm/whatomate-gateway/values.schema.json

Laws:

- Every bound of a setting is checked by the chart before a pod starts, and no setting is described twice.
- A name that does not exist is refused at every depth, in the parts that are Kubernetes' own too.
- What templates cannot do without cannot be removed by ``null``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

# The path is set above, so that this runs from anywhere.
from config.describing import schema  # noqa: E402 -- see above
from config.routes import schema as route_schema  # noqa: E402 -- see above
from helm.values import OF_HELM, described, own_schema  # noqa: E402 -- see above

SET_BY_THE_CHART: Final = ("GATEWAY_ADMIN_LISTEN", "GATEWAY_ROUTES", "GATEWAY_JWT_KEYS_DIR")
"""Settings that name places in the pod, which the chart makes."""


def values_schema() -> dict[str, Any]:
    """Return the schema."""
    whole = own_schema()
    described(whole)
    _require(whole)
    parts = schema()
    for name in SET_BY_THE_CHART:
        parts["config"]["properties"].pop(name, None)
    # The first value may be left empty: templates/required.yaml says what to do, better than a pattern could.
    whole["properties"]["config"] |= parts["config"]
    for holder in (whole, whole["properties"]["migrations"]):
        holder["properties"]["secrets"]["properties"]["create"] |= parts["secrets"]
    routes = route_schema()
    kubernetes = json.loads((HERE / "kubernetes.json").read_text(encoding="utf-8"))
    whole["$defs"] |= routes.pop("$defs", {}) | kubernetes["$defs"]
    file = {key: value for key, value in routes.items() if key not in {"$schema", "$id", "title"}}
    whole["properties"]["routes"]["anyOf"] = [{"maxProperties": 0}, file]
    return whole


def _require(schema: dict[str, Any]) -> None:
    """Refuse ``null`` for a map of values, a number or a switch: Helm removes the default then, and templates break."""
    names = [
        name for name, one in schema["properties"].items() if name not in OF_HELM and _is_needed(name, one)
    ]
    if names:
        schema["required"] = sorted({*names, *schema.get("required", ())})
    for name, one in schema["properties"].items():
        if "properties" in one and name != "tls":  # a tlsConfig of monitors, whose parts have no defaults
            _require(one)


def _is_needed(name: str, schema: dict[str, Any]) -> bool:
    return "properties" in schema or name == "create" or schema.get("type") in ("integer", "boolean")


def text() -> str:
    """Return the schema as the text of the file."""
    return json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
