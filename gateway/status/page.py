"""HTML page of /status: it renders a report and needs no other file.

Laws:

- Every value of a report is escaped where it is written (``text.tell``): names of upstreams are an operator's, and
  a report contains nothing of a request.
- The policy in ``HEADERS`` allows this page's own style and script by their digests, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from gateway.status.causes import causes
from gateway.status.sections import (
    callers,
    causes_list,
    denials,
    failures,
    figures,
    header,
    spark,
    versions,
)
from gateway.status.tables import endpoints, limits, limits_in_force, upstreams, workers_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.status.report import Snapshot

_STYLE: Final = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
_SCRIPT: Final = files(__package__).joinpath("page.js").read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {_digest(_STYLE)}; script-src {_digest(_SCRIPT)}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def render(
    snapshot: Snapshot, workers: Mapping[str, Snapshot] | None = None, *, runbook: str | None = None
) -> str:
    """Return the page of a report.

    Args:
        snapshot: The report.
        workers: The reports of the processes it is of, which get a line each.
        runbook: The address of the runbook, to which causes lead.
    """
    body = (
        _body(snapshot, workers, runbook or "")
        if snapshot
        else "<header><h1>whatomate-gateway</h1></header><p>No worker answers.</p>"
    )
    return _PAGE.format(title="whatomate-gateway", style=_STYLE, script=_SCRIPT, body=body)


def wants_page(accept: str) -> bool:
    """Return whether a client asks for HTML: a browser names it, and programs that read JSON do not."""
    return "text/html" in accept.lower()


def _body(snapshot: Snapshot, workers: Mapping[str, Any] | None, runbook: str) -> str:
    found = causes(snapshot)
    colours = {cause.of: cause.level for cause in reversed(found)}
    parts = [
        header(snapshot),
        f'<div class="grid whole">{causes_list(found, runbook)}</div>',
        spark(snapshot),
        f'<div class="grid">{figures(snapshot, colours)}</div>',
        f'<div class="grid whole">{upstreams(snapshot, colours)}{endpoints(snapshot, colours)}</div>',
        f'<div class="grid wide">{failures(snapshot)}{denials(snapshot)}{callers(snapshot)}{limits(snapshot)}</div>',
        f'<div class="grid whole">{limits_in_force(snapshot, colours)}</div>',
    ]
    if workers is not None:
        parts.append(f'<div class="grid whole">{workers_table(workers)}</div>')
    parts += [
        f'<div class="grid wide">{versions(snapshot)}</div>',
        (
            '<footer><span id="asked">Live: asked for anew every two seconds.</span> '
            'The same as <a href="/status.json">JSON</a>; all numbers at <a href="/metrics">/metrics</a>. '
            f"Durations are estimates within their buckets. Version {escape(str(snapshot['version']))}.</footer>"
        ),
    ]
    return "\n".join(parts)
