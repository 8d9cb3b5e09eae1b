"""docs/metrics.md, of the metrics of a gateway just started. ``python -m tests.observe.reference`` writes it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from config.settings import Settings
from gateway.app import Gateway
from gateway.metrics import Metrics, ParentMetrics, admin_refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

PAGE: Final = Path(__file__).parents[2] / "docs" / "metrics.md"
MARK: Final = "<!-- from here on: python -m tests.observe.reference -->\n"
NOT_OURS: Final = ("process_", "python_")


async def started(**more: Any) -> CollectorRegistry:
    """The metrics of a gateway without a database: all there are, whether or not anything has happened.

    `more` are groups of settings in place of those that publish metrics of their own.
    """
    with tempfile.TemporaryDirectory() as keys:
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (Path(keys) / "one.pem").write_bytes(pem)
        gateway = await Gateway.start(_settings(keys, more))
    try:
        metrics: Metrics = gateway.metrics
        for family in metrics.registry.collect():
            assert family.documentation
    finally:
        await gateway.stop()
    return metrics.registry


def _settings(keys: str, more: dict[str, Any]) -> Settings:
    return Settings.model_validate(
        {
            "listen": "127.0.0.1:0",
            "admin": {"listen": "127.0.0.1:0"},
            "database": {"url": "postgresql://nobody@127.0.0.1:1/none"},
            "jwt": {"secret": "s" * 32, "keys_dir": keys},
            "upstream": {"url": "http://127.0.0.1:1"},
            "log": {"access": False},
            "whatomate": {"redis_url": "unix:///nowhere"},
            "quotas": True,
            "sso": "hosted",
            "issuer": {
                "url": "https://issuer.invalid",
                "jwks_url": "http://127.0.0.1:1/keys",
                "audience": "gateway",
            },
            "limits": {"url": "redis://127.0.0.1:1/0"},
            **more,
            "timeout": {"drain_seconds": 0.1},
        }
    )


def rows(registry: CollectorRegistry) -> Iterator[tuple[str, str, str, str]]:
    """Name (with its suffix), type, labels, meaning."""
    collectors: Any = registry._collector_to_names  # noqa: SLF001 -- the one place that knows labels without samples
    for collector in collectors:
        for family in collector.collect():
            if family.name.startswith(NOT_OURS):
                continue
            labels = getattr(family, "_labelnames", None) or getattr(collector, "_labelnames", ())
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            if family.type == "info":
                labels = sorted(family.samples[0].labels)
            yield (
                family.name + suffix,
                "gauge" if family.type == "info" else family.type,
                " ".join(labels or ()),
                family.documentation,
            )


def table(registry: CollectorRegistry) -> str:
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for name, kind, labels, meaning in sorted(rows(registry)):
        told = " ".join(f"`{label}`" for label in labels.split())
        lines.append(f"| `{name}` | {kind} | {told} | {meaning} |")
    return "\n".join(lines) + "\n"


async def written() -> str:
    """Return what the file's part behind the mark should be."""
    parent = ParentMetrics(wanted=1, answering=lambda: 1)
    admin_refusals(parent.registry)
    return f"""
## Of every gateway

{table(await started())}
Besides, `process_*` and `python_*` as every Python program tells them.

## Of the parent of `serve --workers N`

`/metrics` has all of the above for the workers together: counters and histograms added up, gauges added up or by their
worst value. A worker that dies takes nothing away from it: no sum falls. What it counted after the last scrape is lost.
`/metrics/workers` has the workers side by side, with the label `worker`; there a worker that died
begins at zero. The parent adds:

{table(parent.registry)}"""


def main() -> None:
    head, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(head + mark + asyncio.run(written()), encoding="utf-8")


if __name__ == "__main__":
    main()
