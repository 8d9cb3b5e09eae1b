"""Hosts of a database URL: it opens a connection to the first host that answers and is what the URL asks for.

The driver has one time limit for all hosts together, so a host that is silent would leave none for those after it.

Laws:

- Each host has the time limit for itself, and so has each address of a name.
- A host is passed over if it is silent, refuses the connection, closes it, starts or stops, or is not what
  ``target_session_attrs`` asks for. Any other answer, such as a wrong password, is the answer of all.
- The host that worked last is tried first, unless the URL asks for nothing in particular and it refuses writes: then
  the order of the URL leads back to the primary.
- ``prefer-standby`` takes another server only after every host was found to be no standby, or away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from asyncpg import exceptions as pg

from authcore.pause_aware import PauseAwareTimeout
from authcore.store.dialled_loop import DialledLoop
from authcore.store.failures import CertificateUnreadable, HostsSilent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from authcore.database_url import DatabaseUrl, Host
    from authcore.store.dialled_loop import Dial

    Attempt = Callable[[dict[str, Any]], Awaitable["T"]]

T = TypeVar("T")

_PASSED_OVER: Final = (
    OSError,  # TimeoutError among them
    pg.CannotConnectNowError,
    pg.ConnectionDoesNotExistError,
    pg.TargetServerAttributeNotMatched,
)
_OF_STANDBYS: Final = frozenset({"standby", "prefer-standby", "read-only"})


class Hosts:
    """Hosts of one URL, which may change between two connections."""

    def __init__(self, dial: Dial | None = None) -> None:
        """Open TCP connections by `dial`, else by the driver, for which the addresses of a name are one host."""
        self._dial = dial
        self._last: Host | None = None
        self._avoided: dict[Host, frozenset[str]] = {}

    async def open(
        self, url: DatabaseUrl, seconds: float, attempt: Attempt[T], is_read_only: Callable[[T], bool]
    ) -> T:
        """Return what `attempt` opens, with the driver's options of a host; each attempt has `seconds`.

        Raises:
            HostsSilent: None of several hosts answered in time.
            Exception: whatever :data:`authcore.store.failures.DRIVER_ERRORS` lists.
        """
        hosts = sorted(url.hosts, key=lambda host: host != self._last)
        targets = ("standby", "any") if url.target == "prefer-standby" else (url.target,)
        silent, failure, unfit = 0, None, None
        for target in targets:
            options = {} if target is None else {"target_session_attrs": target}
            fit: list[Host] = []
            for host in hosts:
                try:
                    opened = await self._at(host, options, seconds, attempt)
                except pg.TargetServerAttributeNotMatched as error:
                    unfit = error
                    fit.append(host)
                except _PASSED_OVER as error:
                    if isinstance(error, CertificateUnreadable):
                        raise
                    silent += isinstance(error, TimeoutError)
                    failure = error
                else:
                    self._remember(host, url, is_read_only=is_read_only(opened))
                    return opened
            hosts = fit
        if silent == len(url.hosts) > 1:
            raise HostsSilent(f"none of the {silent} hosts answered within {seconds:g} s") from failure
        raise failure or unfit or pg.InterfaceError("the URL has no host")

    def _remember(self, host: Host, url: DatabaseUrl, *, is_read_only: bool) -> None:
        if is_read_only and url.target not in _OF_STANDBYS:
            self._last = None
            self._avoided.clear()
        else:
            self._last = host

    async def _at(self, host: Host, options: dict[str, Any], seconds: float, attempt: Attempt[T]) -> T:
        """Return what `attempt` opens at one of the addresses of a host; those that failed lately come last."""
        if self._dial is None or host.name is None or host.name.startswith("/"):
            return await self._attempt(host, options, seconds, attempt, None)
        avoided = self._avoided.get(host, frozenset())
        failed: set[str] = set()
        failure: BaseException | None = None
        while True:
            loop = DialledLoop(self._dial, frozenset(failed | avoided))
            try:
                opened = await self._attempt(host, options, seconds, attempt, loop)
            except _PASSED_OVER as error:
                if loop.peer is not None and loop.peer not in failed:
                    failed.add(loop.peer)
                    failure = error
                elif avoided:  # no address is left but those
                    failure, avoided = failure or error, frozenset()
                else:
                    raise (failure or error) from None
            else:
                self._avoided[host] = frozenset(failed | avoided)
                return opened

    @staticmethod
    async def _attempt(
        host: Host, options: dict[str, Any], seconds: float, attempt: Attempt[T], loop: Any
    ) -> T:
        place: dict[str, Any] = {} if host.name is None else {"host": host.name}
        if host.port is not None:
            place["port"] = host.port
        if loop is not None:
            place["loop"] = loop
        async with PauseAwareTimeout(seconds):
            return await attempt({**options, **place})
