"""Report of an audit: as text for people, as JSON, and as SARIF 2.1.0 for code scanning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from gateway.audit.check import CheckOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.audit.check import Result
    from gateway.audit.target import Target

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def text(target: Target, results: Sequence[Result]) -> str:
    """Return the report as lines; of a check that fails, each finding and what to do."""
    width = max((len(result.check.id) for result in results), default=0)
    lines = [f"{target.url}: {target.asker.sent} requests"]
    for result in results:
        note = f" ({result.note})" if result.note else ""
        lines.append(f"{result.outcome:<8} {result.check.id:<{width}}  {result.check.title}{note}")
        lines += [f"           - {finding}" for finding in result.findings]
        if result.findings:
            lines.append(f"           do: {result.check.remedy}")
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in CheckOutcome}
    lines.append(", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number))
    return "\n".join(lines) + "\n"


def as_json(target: Target, results: Sequence[Result]) -> str:
    """Return the report as a JSON document."""
    return _dumped(
        {
            "target": str(target.url),
            "requests": target.asker.sent,
            "checks": [
                {
                    "id": result.check.id,
                    "title": result.check.title,
                    "proves": result.check.proves,
                    "outcome": str(result.outcome),
                    "findings": list(result.findings),
                    **({"note": result.note} if result.note else {}),
                    **({"remedy": result.check.remedy} if result.findings else {}),
                }
                for result in results
            ],
        }
    )


def sarif(target: Target, results: Sequence[Result]) -> str:
    """Return the report as SARIF: a rule for each check, a result for each finding, and one for each check without."""
    rules = [
        {
            "id": result.check.id,
            "shortDescription": {"text": result.check.title},
            "fullDescription": {"text": result.check.proves},
            "help": {"text": result.check.remedy},
        }
        for result in results
    ]
    kinds = {
        CheckOutcome.HOLDS: ("pass", "none"),
        CheckOutcome.FAILS: ("fail", "error"),
        CheckOutcome.SKIPPED: ("notApplicable", "none"),
        CheckOutcome.NOT_RUN: ("open", "none"),
    }
    where = [{"physicalLocation": {"artifactLocation": {"uri": str(target.url)}}}]
    found = [
        {
            "ruleId": result.check.id,
            "ruleIndex": place,
            "kind": kinds[result.outcome][0],
            "level": kinds[result.outcome][1],
            "message": {"text": message},
            "locations": where,
        }
        for place, result in enumerate(results)
        for message in result.findings or (result.note or result.check.proves,)
    ]
    driver = {"name": "whatomate-gateway audit", "rules": rules}
    return _dumped(
        {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": found}]}
    )


def _dumped(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


FORMS: Final[dict[str, Callable[[Target, Sequence[Result]], str]]] = {
    "text": text,
    "json": as_json,
    "sarif": sarif,
}
"""Writers of reports, by the name of the form."""
