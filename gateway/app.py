"""Running gateway: it starts every part in the order of dependence, and closes them in the opposite order.

``Gateway._start`` is the list of the parts, with the reason for the place of each; ``assembly/`` builds them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import structlog

from config.notification import Notification, wished_notification
from gateway import gc_tuning, logs
from gateway.addresses import UnixFile
from gateway.admin import AdminListener
from gateway.admin_access import build_access
from gateway.admin_server import AdminServer
from gateway.assembly.background import begin_background, watch_database
from gateway.assembly.database import redis_state
from gateway.assembly.domain import build_domain
from gateway.assembly.explaining import build_explain
from gateway.assembly.hosted import build_hosted
from gateway.assembly.last_writes import write_last
from gateway.assembly.limits import Limiting
from gateway.assembly.listener import build_listener
from gateway.assembly.names import build_resolver
from gateway.assembly.records import open_records
from gateway.assembly.reporting import build_readiness, publish, snapshot
from gateway.assembly.routing import LOOK_SECONDS, Routing
from gateway.assembly.serving import (
    build_forwarder,
    build_pipeline,
    build_sockets,
)
from gateway.assembly.tls import ListenerTls
from gateway.assembly.upstreams import Upstreams
from gateway.background import BackgroundTasks, attempt
from gateway.draining import Drain
from gateway.listening import Listening, Names
from gateway.logs.escaped import report_escaped
from gateway.metrics import Metrics, admin_refusals
from gateway.notify_socket import NotifySocket
from gateway.status.recent import NOTE_SECONDS
from gateway.wire.deadlines import Deadlines
from gateway.wire.descriptors import raise_descriptor_limit
from gateway.wire.tunnel import Tunnels
from gateway.wire.write_buffer import WriteBatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from config.settings import Settings
    from gateway.assembly.domain import Domain
    from gateway.assembly.records import Records
    from gateway.proxy.streams import Streams
    from gateway.status.report import Report
    from gateway.wire.listener import Listener
    from gateway.wire.resolver import Resolver
    from gateway.worker_channel import WorkerTerms

    Explain = Callable[[bytes], Awaitable[dict[str, object]]]

LOG_FLUSH_SECONDS: Final = 0.2
STOP_SECONDS: Final = 9.0
"""What closing may take after the drain; the parent of workers kills one that takes a second more."""

log = structlog.get_logger()


class Gateway:
    """A running gateway.

    Attributes:
        address: Host and port of the first public TCP listener; empty and 0 if all listen on Unix sockets.
        public: Every public listener: host and port, or the path of a Unix socket.
        admin_address, redirect_address: Host and port of the admin listener, and of the port that leads to TLS.
        metrics: Its numbers.
        routing: Its routes, which can be read again.
    """

    def __init__(self, settings: Settings, worker: WorkerTerms | None = None) -> None:
        """Hold `settings`; use :meth:`start`."""
        self._settings = settings
        self._worker = worker
        self._processes = 1 if worker is None else worker.processes
        self._drain: Drain | None = None
        self._closing = AsyncExitStack()
        self._reload: Callable[[], None] = lambda: None
        self._snapshot: Callable[[], dict[str, object]] = dict
        self.address = ("", 0)
        self.public: Names = []
        self.admin_address = self.redirect_address = ("", 0)
        self.metrics = Metrics()
        self._tls = ListenerTls(settings, self.metrics)

    @classmethod
    async def start(cls, settings: Settings, worker: WorkerTerms | None = None) -> Self:
        """Build a gateway and let it listen. The database may be away: it is then unready, not dead.

        As a `worker` it shares its port with others, and its admin listener has the connections that its parent sends.

        Raises:
            CannotListen: an address is in use, or is not this machine's.
        """
        self = cls(settings, worker)
        try:
            await self._start()
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def _start(self) -> None:
        # What is opened here is closed in the opposite order, after the drain: each line's place decides both.
        settings, closing, metrics = self._settings, self._closing, self.metrics
        # First, so that they close last: every part below logs while it ends.
        records = open_records(settings, metrics, closing, self._is_hurried)
        access_log = records.access_log
        # Before all connections: client, upstream and hosted ones share one timer and one flush per loop turn.
        deadlines, batch = self._begin_turns()
        # Before all that connects by names: the database and the upstreams.
        resolver = build_resolver(settings, metrics)
        closing.callback(resolver.close)
        # Before the hosted application and the authorizer, which hold parts of it. It needs no database to be there.
        domain = await self._open_domain(resolver)
        # Before the upstreams: closing them ends exchanges, and a hosted one must still find its application.
        application, hosted = build_hosted(settings, domain, metrics, access_log.verdicts, deadlines, batch)
        closing.push_async_callback(application.close, self._is_hurried)
        closing.callback(hosted.pool.close)
        upstreams = self._upstreams = Upstreams(settings, metrics, deadlines, batch, resolver)
        self._tls.upstreams = upstreams
        closing.callback(upstreams.close)
        # After the upstreams, so that tunnels are aborted before the connections that they consist of are closed.
        tunnels = Tunnels(deadlines, settings.timeout.tunnel_seconds)
        closing.callback(tunnels.abort)
        # After the domain: it subscribes to the changes that the verdict cache gets.
        self._sockets = build_sockets(settings, domain, metrics)
        forwarder, streams = build_forwarder(settings, tunnels, self._sockets, deadlines)
        # After the upstreams and the hosted pool: the first route table points at both.
        routing = self.routing = Routing(
            settings, metrics, upstreams, hosted, Limiting.of_gateway(settings, self._processes, resolver)
        )
        pipeline = self._pipeline = build_pipeline(
            settings,
            domain,
            routes=routing.table,
            forwarder=forwarder,
            sockets=self._sockets,
            deadlines=deadlines,
            metrics=metrics,
            access_log=access_log,
            spans=records.spans,
        )
        # After the pipeline: from here on a reloaded table reaches the authorizer.
        routing.serve(pipeline.authorizer)
        listener = self._listener = build_listener(settings, pipeline, deadlines, batch, metrics)
        drain = self._drain = self._build_drain(listener, tunnels, streams)
        # After everything that counts: it registers the metrics of all parts.
        report = publish(
            metrics,
            domain,
            pipeline=pipeline,
            listener=listener,
            tunnels=tunnels,
            upstreams=lambda: (*upstreams.now.values(), hosted),
            access_log=access_log,
            routing=routing,
            listening=lambda: not drain.begun,
        )
        # Before the listeners, so that the watch over sockets runs when the first one opens.
        self._begin_background(records, report, drain)
        self._snapshot = partial(snapshot, listener, tunnels, upstreams, hosted, routing, domain)
        explain = build_explain(settings, domain, lambda: routing.table)
        # Last: nothing may arrive before all else stands. The admin listener is first, so that probes are answered.
        await self._listen(self._build_admin(report, explain), listener, drain)

    def _build_drain(self, listener: Listener, tunnels: Tunnels, streams: Streams) -> Drain:
        return Drain(
            listener,
            sockets=lambda: tunnels.open_now,
            streams=lambda: streams.events,
            drain_seconds=self._settings.timeout.drain_seconds,
        )

    def _build_admin(self, report: Report, explain: Explain) -> AdminListener:
        domain, besides = self._domain, redis_state(self._domain.redis)
        runbook = self._settings.admin.runbook_url
        return AdminListener(
            self.metrics, self._readiness, domain.identity, report, explain, besides, runbook
        )

    def _begin_turns(self) -> tuple[Deadlines, WriteBatch]:
        """Begin what all connections of this loop share."""
        deadlines = Deadlines()
        deadlines.start()
        self._closing.callback(deadlines.stop)
        return deadlines, WriteBatch(asyncio.get_running_loop().call_soon)

    async def _open_domain(self, resolver: Resolver) -> Domain:
        closing = self._closing
        domain = self._domain = await build_domain(self._settings, resolver)
        closing.push_async_callback(domain.store.close)
        if domain.redis is not None:
            closing.push_async_callback(domain.redis.close)
        closing.push_async_callback(write_last, domain, self._write_last_used)
        closing.callback(domain.passwords.close)
        closing.push_async_callback(domain.identity.stop)
        await domain.identity.start()
        return domain

    async def _listen(self, admin: AdminListener, listener: Listener, drain: Drain) -> None:
        settings, closing = self._settings, self._closing
        shared = self._worker is not None
        access = None if shared else build_access(settings, admin_refusals(self.metrics.registry))
        server = AdminServer(admin.pages(), access, listener.deadlines, listener.write_batch)
        closing.push_async_callback(server.close)
        if self._worker is not None:
            self._worker.channel.accept(server.adopt)
        else:
            await server.open(settings.admin.listen, self._tls.admin_context)
            self.admin_address = server.address
        listening = Listening(self._tls.acceptor)
        closing.callback(listening.close)
        unix = UnixFile(settings.unix.mode, settings.unix.owner)
        await listening.open(settings.listen, listener, unix, shared=shared)
        self.public = listening.names
        self.address = listening.addresses[0] if listening.addresses else ("", 0)
        if settings.tls.redirect_listen is not None:
            listens = (
                (settings.tls.redirect_listen,) if self._worker is None else self._worker.redirect_listen
            )
            plain = self._tls.redirecting(listener, self._pipeline, self.metrics)
            self.redirect_address = await listening.redirect(listens, plain, unix, shared=shared)
        closing.push_async_callback(drain.finish, listening.close)

    def _begin_background(self, records: Records, report: Report, drain: Drain) -> None:
        store = self._domain.store
        readiness = self._readiness = build_readiness(
            self._settings, store, lambda: not drain.begun, self.metrics
        )
        tasks = BackgroundTasks()
        watch_database(tasks, store, readiness)
        self._closing.push_async_callback(attempt, "return_limit_leases", self.routing.limits.close)
        self._closing.push_async_callback(readiness.close)
        self._closing.push_async_callback(tasks.stop)
        self.routing.limits.begin(tasks)
        self._reload = lambda: tasks.once("reload_routes", lambda: self.routing.reload("SIGHUP"))
        tasks.every(LOOK_SECONDS, "look_at_routes", self.routing.look)
        tasks.every(LOOK_SECONDS, "look_at_certificates", lambda: self._tls.look(self._upstreams))
        tasks.every(NOTE_SECONDS, "note_for_status", report.note)
        tasks.every(LOG_FLUSH_SECONDS, "flush_access_log", records.access_log.flush)
        if records.metrics is not None:
            tasks.every(self._settings.metrics.interval_seconds, "send_metrics", records.metrics.read)
        tasks.every(self._settings.keys.used_interval_seconds, "write_last_used", self._write_last_used)
        begin_background(tasks, self._settings, self._domain, self._sockets, self._processes)

    async def _write_last_used(self) -> None:
        await self._domain.identity.last_used.flush(self._domain.clock.now())

    @property
    def loads(self) -> int:
        """Number of verdicts on callers that were asked of the store so far."""
        return self._domain.identity.loads

    def reload(self) -> None:
        """Read the routes again, in the background; nothing changes if they are refused."""
        self._reload()

    def log_state(self) -> None:
        """Write the event ``state``: the present state of connections, pools, routes and the verdict cache."""
        log.warning("state", **self._snapshot())  # a warning, so that no log level hides what was asked for

    async def stop(self, delay_seconds: float = 0) -> None:
        """Be unready for `delay_seconds`, then drain (:mod:`gateway.draining`) and close everything."""
        if self._drain is not None:
            await self._drain.announce(delay_seconds)
        await self._closing.aclose()

    def hurry(self) -> None:
        """Let :meth:`stop` wait for nothing any more."""
        if self._drain is not None:
            self._drain.hurry()

    def _is_hurried(self) -> bool:
        return self._drain is not None and self._drain.is_hurried


def run(settings: Settings, worker: WorkerTerms | None = None) -> int:
    """Run a gateway, or a `worker`, until SIGTERM or SIGINT, or its parent is gone; return the exit code."""
    logs.configure(settings.log.level, settings.log.format, None if worker is None else worker.log_turns)
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_run(settings, worker))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the maker of the event loop: uvloop's wherever there is one."""
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 -- uvloop has no build for Windows

    return uvloop.new_event_loop


async def _run(settings: Settings, worker: WorkerTerms | None) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    report_escaped(loop)
    signals: list[int] = []
    gateway: Gateway | None = None

    def heard(number: int) -> None:
        signals.append(number)
        stopping.set()
        if len(signals) > 1 and gateway is not None:
            gateway.hurry()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heard, number)
    loop.add_signal_handler(signal.SIGHUP, lambda: None if gateway is None else gateway.reload())
    loop.add_signal_handler(signal.SIGUSR1, lambda: None if gateway is None else gateway.log_state())
    starting = loop.create_task(Gateway.start(settings, worker))
    asked = loop.create_task(stopping.wait())
    await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,), timeout=STOP_SECONDS)
        log.info("stopped", while_it="started")
        return 0
    gateway = starting.result()
    gc_tuning.settle(lambda: gateway.loads)
    if worker is None:
        log.info("listening", public=gateway.public, admin=gateway.admin_address)
    else:
        log.info("listening", public=gateway.public)
        watching = loop.create_task(_set_after(worker.channel.parent_gone, stopping))
    notify = NotifySocket(wished_notification() if worker is None else Notification())
    notify.ready()
    await stopping.wait()
    notify.stopping()
    if worker is not None:
        watching.cancel()
    # SIGTERM comes from what also balances the load; Ctrl-C from a person, who need not be waited for.
    delay = settings.timeout.drain_delay_seconds if signals[:1] == [signal.SIGTERM] else 0
    log.info("draining", after_seconds=delay, at_most_seconds=settings.timeout.drain_seconds)
    try:
        async with asyncio.timeout(delay + settings.timeout.drain_seconds + STOP_SECONDS):
            await gateway.stop(delay)
    except TimeoutError:
        log.error("stop_timed_out", meaning="something did not end after the drain")  # noqa: TRY400 -- no fault of ours
        return 1
    log.info("stopped")
    return 0


async def _set_after(other: asyncio.Event, event: asyncio.Event) -> None:
    await other.wait()
    event.set()
