"""Builder of the resolver of host names, its log events and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.logs.limited import LimitedEvents
from gateway.wire.dns_client import DnsClient
from gateway.wire.resolver import Resolver, ResolverLimits

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.metrics import Metrics
    from gateway.wire.dns_client import LookupFailed


def build_resolver(settings: Settings, metrics: Metrics) -> Resolver:
    """Build the resolver, and register its metrics."""
    limits = settings.resolver
    events = NameEvents()
    client = DnsClient(limits.servers, timeout_seconds=limits.timeout_seconds, ignored=events.ignored)
    resolver = Resolver(
        client.look_up,
        ResolverLimits(
            fewest_seconds=limits.min_seconds,
            most_seconds=settings.upstream.resolve_seconds,
            stale_seconds=limits.stale_seconds,
            gone_seconds=limits.gone_seconds,
        ),
        events,
    )
    metrics.read_counters(
        "gateway_resolver_lookups",
        "Lookups of host names, by how they ended: ok, absent, timeout or failed.",
        ("outcome",),
        lambda: {(outcome,): number for outcome, number in resolver.outcomes.items()},
    )
    return resolver


class NameEvents:
    """Log events of host names, each once a minute for a name."""

    def __init__(self) -> None:
        self._events = LimitedEvents()

    def changed(self, name: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Log that a name has other addresses than before."""
        self._events.notice(
            "name_changed",
            key=name,
            name=name,
            added=sorted(set(after) - set(before)),
            removed=sorted(set(before) - set(after)),
        )

    def failed(self, name: str, error: LookupFailed, used: tuple[str, ...]) -> None:
        """Log that a name could not be looked up."""
        self._events.warning(
            "name_not_resolved",
            key=name,
            name=name,
            outcome=error.outcome,
            error=error.words,
            used=list(used),
            meaning="the last good addresses are used" if used else "nothing can be sent there",
        )

    def ignored(self, name: str, why: str) -> None:
        """Log that something in the answers to a lookup is not used."""
        self._events.warning(
            "name_answer_ignored",
            key=f"{name} {why}",
            name=name,
            ignored=why,
            advice="look at the name server: it is broken, or somebody else answers in its place",
        )

    def recovered(self, name: str) -> None:
        """Log that a name was looked up after lookups that failed."""
        self._events.notice("name_resolved", key=name, name=name)
