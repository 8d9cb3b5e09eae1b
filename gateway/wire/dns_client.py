"""DNS client: it looks names up with c-ares on the event loop, without a thread, and returns their time to live.

c-ares reads ``/etc/resolv.conf`` (name servers, search domains, ``ndots``, ``attempts``), ``/etc/hosts`` and the line
``hosts`` of ``/etc/nsswitch.conf``, on glibc and musl alike. It does not ask the sources that are plug-ins of glibc,
such as mDNS and LDAP.

Laws:

- Each lookup has a channel of its own. A channel stores answers for their whole time to live; here that is decided by
  :mod:`gateway.wire.resolver`.
- Each lookup ends within ``LONGEST_SECONDS``.
- A datagram that is no answer (:mod:`gateway.wire.dns_message`) is dropped and reported, and the wait goes on.
- An answer that was cut short is asked for by TCP, and used as it is if there is none.
- An address that nobody can be reached at (``0.0.0.0``, ``::``, multicast) is left out and reported.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

import pycares

from gateway.wire.dns_message import AnswerCodes, fault_of, is_truncated
from gateway.wire.found_addresses import is_usable, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONGEST_SECONDS: Final = 30.0
_TICK_SECONDS: Final = 0.1
"""How often c-ares is asked whether a query is over time."""
_ABSENT: Final = frozenset(
    {
        pycares.errno.ARES_ENOTFOUND,
        pycares.errno.ARES_ENODATA,
        pycares.errno.ARES_ENONAME,
        pycares.errno.ARES_EBADNAME,
    }
)


_UNREAD: Final = pycares.errno.ARES_EBADRESP
_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 0.05
_FLAGS: Final = pycares.ARES_FLAG_EDNS | pycares.ARES_FLAG_NOALIASES
"""The file of HOSTALIASES is not followed: any name could be in the question then."""
_CUT: Final = _FLAGS | pycares.ARES_FLAG_IGNTC
_LARGEST: Final = 65_535


class Lookup(NamedTuple):
    """Result of a lookup.

    Attributes:
        addresses: The IP addresses, in the order of RFC 6724.
        ttl: For how many seconds they are good; 0 for a name of the hosts file.
        lacks: The version of IP, 4 or 6, of which it may lack addresses, as that query failed; 0 if none did.
    """

    addresses: tuple[str, ...]
    ttl: float
    lacks: int = 0


class LookupFailed(socket.gaierror):
    """A lookup failed, as :func:`socket.getaddrinfo` would have.

    Attributes:
        outcome: The kind of failure, for metrics: ``failed`` if a name server answered with an error, or none is there.
        code: The error number of ``getaddrinfo``.
        words: What failed, in words.
    """

    outcome = "failed"
    code = socket.EAI_AGAIN

    def __init__(self, words: str) -> None:
        super().__init__(self.code, words)
        self.words = words


class LookupTimedOut(LookupFailed):
    """No name server answered in time."""

    outcome = "timeout"


class NameAbsent(LookupFailed):
    """A name server answered that there is no such name, or that the name has no address."""

    outcome = "absent"
    code = socket.EAI_NONAME


class DnsClient:
    """DNS client of one configuration."""

    def __init__(
        self,
        servers: Sequence[str] = (),
        *,
        timeout_seconds: float,
        ignored: Callable[[str, str], None] = lambda _name, _why: None,
    ) -> None:
        """Create a client.

        Args:
            servers: Name servers, ``address`` or ``address:port``; those of resolv.conf if there are none.
            timeout_seconds: A query that was not answered for so long is sent again, and then waits longer.
            ignored: Called with a name, and with what of its answers is not used and why.
        """
        self._servers = tuple(servers)
        self._timeout_seconds = timeout_seconds
        self._ignored = ignored

    async def look_up(self, name: str) -> Lookup:
        """Return the addresses of `name`.

        Raises:
            LookupFailed: there is no answer, or no address in it.
        """
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                found, codes = await self._found(name)
        except TimeoutError:
            raise LookupTimedOut(f"no name server answered for {name} in time") from None
        addresses = tuple(dict.fromkeys(_text(node.addr[0]) for node in found.nodes))
        if not addresses:
            raise _failure(name, pycares.errno.ARES_ENODATA)
        usable = tuple(address for address in addresses if is_usable(address))
        nobodys = ", ".join(sorted(set(addresses) - set(usable)))
        if nobodys:
            self._ignored(name, f"nobody can be reached at {nobodys}")
        if not usable:
            raise LookupFailed(f"the name {name} has only addresses that nobody can be reached at: {nobodys}")
        lacks = codes.lacks(set(map(version_of, addresses)))
        return Lookup(usable, float(min(node.ttl for node in found.nodes)), lacks)

    async def _found(self, name: str) -> tuple[pycares.AddrInfoResult, AnswerCodes]:
        """Ask, and ask again where that helps: a datagram can come between c-ares and the look at it."""
        flags = _FLAGS
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_PAUSE_SECONDS * 2**attempt)
            found, code, lookup = await self._asked(name, flags)
            if found is not None:
                return found, lookup.codes
            if lookup.truncated and flags == _FLAGS:
                flags = _CUT
            elif code != _UNREAD:
                break
        raise _failure(
            name, pycares.errno.ARES_ESERVFAIL if code in _ABSENT and lookup.codes.may_exist else code
        )

    async def _asked(
        self, name: str, flags: int
    ) -> tuple[pycares.AddrInfoResult | None, int | None, _Lookup]:
        """Ask once; return the answer or the error's number, and the lookup."""
        try:
            lookup = _Lookup(self._servers, self._timeout_seconds, flags, self._ignored)
        except pycares.AresError as error:
            raise LookupFailed(f"the name {name} could not be looked up: {error}") from error
        try:
            return await lookup.begin(name), None, lookup
        except pycares.AresError as error:
            return None, error.args[0] if error.args else None, lookup
        finally:
            lookup.close()


def _text(address: str | bytes) -> str:
    return address.decode("ascii") if isinstance(address, bytes) else address


def _has_failed(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _failure(name: str, code: int | None) -> LookupFailed:
    if code in _ABSENT:
        return NameAbsent(f"the name {name} has no address")
    if code == pycares.errno.ARES_ETIMEOUT:
        return LookupTimedOut(f"no name server answered for {name} in time")
    why = "no reason given" if code is None else pycares.errno.strerror(code)
    return LookupFailed(f"the name {name} could not be looked up: {_text(why)}")


class _Lookup:
    """One lookup: a c-ares channel, and its sockets on the event loop.

    Attributes:
        truncated: An answer was cut short.
        codes: The codes of the answers.
    """

    def __init__(
        self,
        servers: tuple[str, ...],
        timeout_seconds: float,
        flags: int,
        ignored: Callable[[str, str], None],
    ) -> None:
        self.truncated = False
        self.codes = AnswerCodes()
        self._ignored = ignored
        self._name = ""
        self._loop = asyncio.get_running_loop()
        self._reading: set[int] = set()
        self._writing: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._channel = pycares.Channel(
            flags=flags, timeout=timeout_seconds, servers=servers or None, sock_state_cb=self._watch
        )

    def begin(self, name: str) -> asyncio.Future[pycares.AddrInfoResult]:
        """Send the queries for `name`."""
        self._name = name
        done: asyncio.Future[pycares.AddrInfoResult] = self._loop.create_future()

        def answered(found: pycares.AddrInfoResult | None, code: int | None) -> None:
            if done.done():
                return
            if found is None or code is not None:
                done.set_exception(pycares.AresError(code))
            else:
                done.set_result(found)

        self._channel.getaddrinfo(name, None, type=socket.SOCK_STREAM, callback=answered)
        if not done.done():
            self._tick()
        return done

    def _tick(self) -> None:
        """Let c-ares see which queries are over time."""
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        self._channel.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)

    def _watch(self, fd: int, readable: bool, writable: bool) -> None:  # noqa: FBT001 -- the callback's signature
        """Watch a socket of the channel as c-ares asks for; it asks for neither before it closes one."""
        if self._closed:
            return
        if readable and fd not in self._reading:
            self._loop.add_reader(fd, self._read, fd)
            self._reading.add(fd)
        elif not readable and fd in self._reading:
            self._loop.remove_reader(fd)
            self._reading.discard(fd)
        if writable and fd not in self._writing:
            self._loop.add_writer(fd, self._channel.process_fd, pycares.ARES_SOCKET_BAD, fd)
            self._writing.add(fd)
        elif not writable and fd in self._writing:
            self._loop.remove_writer(fd)
            self._writing.discard(fd)

    def _read(self, fd: int) -> None:
        """Let c-ares read what a socket has, once the datagrams that are no answers are dropped."""
        source = socket.socket(fileno=fd)  # without a descriptor of its own: there may be none left
        try:
            self._drop_faulty(source)
        except BlockingIOError:
            return
        finally:
            source.detach()
        self._channel.process_fd(fd, pycares.ARES_SOCKET_BAD)

    def _drop_faulty(self, source: socket.socket) -> None:
        """Take datagrams away up to the first answer.

        Raises:
            BlockingIOError: there is none.
        """
        # A look at a socket that has failed would take the error away from c-ares.
        while source.type == socket.SOCK_DGRAM and not _has_failed(source.fileno()):
            message = source.recv(_LARGEST, socket.MSG_PEEK)
            fault = fault_of(message, self._name)
            if not fault:
                self.truncated = self.truncated or is_truncated(message)
                self.codes.note(message)
                return
            source.recv(_LARGEST)
            self._ignored(self._name, f"a datagram by a name server: {fault}")

    def close(self) -> None:
        """End the lookup, whatever it waits for. The library then closes its sockets in a thread of its own."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for fd in self._reading:
            self._loop.remove_reader(fd)
        for fd in self._writing:
            self._loop.remove_writer(fd)
        self._channel.close()
        del self._channel  # it refers to its callback, and so to this lookup: a cycle
