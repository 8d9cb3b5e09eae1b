"""Admission of WebSockets by their first message: ``{"type":"auth","payload":{"token":"…"}}``.

Whatomate upgrades every handshake and authenticates by the first message. So does the gateway, on routes with
``socket_auth: message``, and it judges the token before the upstream sees it. Laws:

- On a socket that is not authenticated no message goes on. A message that cannot be read, or that can be read in two
  ways, closes the socket.
- The verdict comes first, then the watch (:class:`~gateway.proxy.sockets.Sockets`), then the message.
- A socket whose handshake was authenticated may send an auth message too, but only for the same user in the same
  organization: an upstream that believes the message would otherwise serve a user whom the gateway does not watch.
- An outage is no verdict. It closes the socket with 1013, because a socket that cannot be watched must not be open.
- On a route in shadow nothing is closed; the refusal is recorded.
- Where as many sockets wait for their message as may, a further one takes the place of the oldest of the network that
  has most of them. It is refused only if its own network is that one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from authcore import errors
from authcore.networks import network
from authcore.principal import ANONYMOUS
from gateway.faults import GatewayFault, describe
from gateway.limits.refusal import LimitExceeded
from gateway.proxy.sockets import UNAUTHORIZED
from gateway.wire.drive import Abandoned
from gateway.wire.first_message import Unreadable
from gateway.wire.first_message_gate import FirstMessageGate
from gateway.wire.websocket_auth import FAILED, POLICY, read_auth

if TYPE_CHECKING:
    from gateway.proxy.authorizer import Authorizer
    from gateway.proxy.exchange import Exchange
    from gateway.proxy.forward import Forwarder
    from gateway.proxy.quotas import QuotaGate
    from gateway.proxy.routes import Route
    from gateway.proxy.sockets import Socket, Sockets
    from gateway.wire.deadlines import Deadlines
    from gateway.wire.tunnel import Tunnel

INTERNAL, TRY_AGAIN = 1011, 1013

_CLOSED: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (errors.StoreUnavailable, TRY_AGAIN, "try again later"),
    (errors.IssuerUnavailable, TRY_AGAIN, "try again later"),
    (errors.Overloaded, TRY_AGAIN, "try again later"),
    (errors.Throttled, TRY_AGAIN, "try again later"),
    (errors.QuotaExceeded, TRY_AGAIN, "quota exceeded"),
    (errors.QuotaUnknown, TRY_AGAIN, "try again later"),
    (Abandoned, TRY_AGAIN, "try again later"),
    (errors.TicketUsed, POLICY, FAILED),
    (errors.TokenRevoked, UNAUTHORIZED, "session ended"),
    (errors.TokenExpired, UNAUTHORIZED, "expired"),
    (errors.SubjectUnknown, UNAUTHORIZED, "account or membership is gone"),
    (errors.UserDisabled, UNAUTHORIZED, "account disabled"),
    (errors.PermissionDenied, POLICY, "permission denied"),
    (errors.AuthError, POLICY, FAILED),
    (LimitExceeded, TRY_AGAIN, "too many, try again later"),
)
"""Close code and reason by refusal; the first row that fits counts. A session that has ended gets the same code here as
one that ends while its socket is open."""

_TOO_MANY: Final = "Too many WebSockets wait for authentication, try again shortly"

log = structlog.get_logger()


class TooManyUnproven(GatewayFault):
    """Too many sockets are open that are not authenticated yet."""

    status = 503
    reason = "too_many_unproven"
    headers = {"Retry-After": "1"}  # noqa: RUF012 -- as its kind has it


class NoAuthMessage(GatewayFault):
    """The first message of a socket that is not authenticated is no auth message."""

    status = 401
    reason = "missing"


class MessageRefused(GatewayFault):
    """The first message cannot be read, or is late."""

    reason = "unreadable"


class Admission:
    """Judge of first messages.

    Attributes:
        waiting: The exchanges whose sockets are not authenticated yet, in order, with their networks.
        refused: How many sockets were closed for their first message, or because it did not come, by reason.
    """

    def __init__(  # noqa: PLR0913 -- its collaborators, and its settings by name
        self,
        authorizer: Authorizer,
        forwarder: Forwarder,
        sockets: Sockets,
        deadlines: Deadlines,
        *,
        seconds: float,
        most: int,
        quotas: QuotaGate | None,
    ) -> None:
        """Create the judge.

        Args:
            authorizer: Judges tokens.
            forwarder: Sends handshakes to upstreams.
            sockets: Watches over the sockets of callers.
            deadlines: When the first messages are due.
            seconds: How long a socket that is not authenticated may take for its message.
            most: How many of those there may be at the same time.
            quotas: Charges a socket to the caller that its message proves; None if quotas are off.
        """
        self._authorizer = authorizer
        self._forwarder = forwarder
        self._sockets = sockets
        self._deadlines = deadlines
        self._seconds = seconds
        self._most = most
        self._quotas = quotas
        self.waiting: dict[Exchange, str] = {}
        self._gates: dict[Exchange, FirstMessageGate] = {}
        self.refused: dict[str, int] = {}

    async def send(self, exchange: Exchange, route: Route, start: bytes) -> None:
        """Send a handshake to the upstream; the first message after its 101 is judged here.

        Raises:
            TooManyUnproven: too many sockets wait for their first message.
            UpstreamFault: the upstream did not answer completely.
        """
        exchange.admission = self
        if not _must_prove(exchange):
            await self._forwarder.send(exchange, route.upstream, start)
            return
        its_network = "" if exchange.parsed is None else network(exchange.parsed.origin.client)
        if len(self.waiting) >= self._most:
            self._make_room(its_network)
        self.waiting[exchange] = its_network
        try:
            await self._forwarder.send(exchange, route.upstream, start)
        finally:
            self.waiting.pop(exchange, None)

    def _make_room(self, newcomer: str) -> None:
        """Have the oldest socket of the network with most of them give way to one of the network `newcomer`.

        Raises:
            TooManyUnproven: that network has no more than `newcomer`, or none of its sockets can give way.
        """
        counts = Counter(self.waiting.values())
        most, number = counts.most_common(1)[0]
        held = (one for one, of in self.waiting.items() if of == most and self._can_give_way(one))
        oldest = next(held, None) if counts[newcomer] < number else None
        if oldest is None:
            raise TooManyUnproven(_TOO_MANY)
        del self.waiting[oldest]
        gate = self._gates.get(oldest)
        if gate is None:  # its handshake is under way
            oldest.inbound.connection.throw(TooManyUnproven(_TOO_MANY))
        else:
            gate.refuse(Unreadable(TRY_AGAIN, TooManyUnproven.reason, "too many, try again later"))

    def _can_give_way(self, exchange: Exchange) -> bool:
        gate = self._gates.get(exchange)
        return (gate is None or gate.is_waiting) and not _in_shadow(exchange)

    def gate(self, exchange: Exchange) -> FirstMessageGate:
        """Return the gate at which the client of an exchange waits."""
        due = _must_prove(exchange) and not _in_shadow(exchange)
        return FirstMessageGate(self._deadlines, self._seconds if due else None)

    async def attend(self, exchange: Exchange, tunnel: Tunnel, gate: FirstMessageGate) -> Socket | None:
        """Judge the first message; return the watched socket of the user that it authenticates, or None."""
        self._gates[exchange] = gate
        try:
            try:
                message = await gate.message()
            finally:
                del self._gates[exchange]
            if message is None:
                return None
            token = _token_in(message, must=_must_prove(exchange))
            if token is None:
                gate.open()
                return None
            permit = await self._authorizer.admit(exchange, token)
            if self._quotas is not None and exchange.route is not None and _must_prove(exchange):
                await self._quotas.charge(exchange, exchange.route, permit)
        except Exception as error:  # noqa: BLE001 -- any exception denies
            self._refuse(exchange, tunnel, gate, error)
            return None
        self.waiting.pop(exchange, None)
        exchange.permit = permit
        socket = self._sockets.opened(tunnel, permit, self._sockets.now(), like_ticket=True)
        gate.open()
        return socket

    def _refuse(self, exchange: Exchange, tunnel: Tunnel, gate: FirstMessageGate, error: Exception) -> None:
        """Close a socket because of `error`; on a route in shadow, record it instead."""
        if isinstance(error, Unreadable) and _in_shadow(exchange):
            error = MessageRefused(str(error))
        if isinstance(error, GatewayFault | errors.AuthError) and _in_shadow(exchange):
            exchange.shadowed = error
            gate.open()
            return
        code, text, reason = INTERNAL, "internal error", "internal"
        if isinstance(error, Unreadable):
            code, text, reason = error.code, str(error), error.reason
        elif isinstance(error, NoAuthMessage):
            code, text, reason = POLICY, FAILED, error.reason
        elif found := [row for row in _CLOSED if isinstance(error, row[0])]:
            _, code, text = found[0]
            reason = "shutting_down" if isinstance(error, Abandoned) else str(describe(error).reason)
        else:
            log.error("socket_not_judged", exc_info=error)
        self.refused[reason] = self.refused.get(reason, 0) + 1
        exchange.detail = str(error)
        tunnel.close(code, text, reason)


def _token_in(message: bytes, *, must: bool) -> bytes | None:
    token = read_auth(message)
    if token is None and must:
        raise NoAuthMessage(FAILED)
    return token


def _must_prove(exchange: Exchange) -> bool:
    """Return whether a socket's first message has to be an auth message."""
    permit, route = exchange.permit, exchange.route
    nobody = permit is None or permit.principal is ANONYMOUS
    return nobody and (route is None or not route.requirement.optional)


def _in_shadow(exchange: Exchange) -> bool:
    return exchange.route is not None and exchange.route.shadow
