"""Dialler of commands: it opens TCP connections by the resolver of the settings, as a serving gateway does."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from gateway.wire.dialler import connect
from gateway.wire.dns_client import DnsClient
from gateway.wire.resolver import Resolver, ResolverLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authcore.store.dialled_loop import Dial
    from config.settings import Settings
    from gateway.wire.dns_client import LookupFailed


class _Quiet:
    """Receiver of resolver events that drops them: a command reports the failed connection itself."""

    def changed(self, name: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """See :class:`gateway.wire.resolver.ResolverEvents`."""

    def failed(self, name: str, error: LookupFailed, used: tuple[str, ...]) -> None:
        """See :class:`gateway.wire.resolver.ResolverEvents`."""

    def recovered(self, name: str) -> None:
        """See :class:`gateway.wire.resolver.ResolverEvents`."""


@contextmanager
def resolving(settings: Settings) -> Iterator[Resolver]:
    """Yield a resolver; to be called where an event loop runs."""
    limits = settings.resolver
    client = DnsClient(limits.servers, timeout_seconds=limits.timeout_seconds)
    resolver = Resolver(client.look_up, ResolverLimits(), _Quiet())
    try:
        yield resolver
    finally:
        resolver.close()


@contextmanager
def dialling(settings: Settings) -> Iterator[Dial]:
    """Yield the opener of TCP connections; to be called where an event loop runs."""
    with resolving(settings) as resolver:
        yield partial(connect, resolver)
