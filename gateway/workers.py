"""Several processes behind one address: ``serve --workers N``.

The parent serves nothing: it holds the port, has its supervisors run the workers (:mod:`gateway.supervisor`), and
answers on the admin listener for all of them. Every worker is a whole gateway that listens on the same port
(SO_REUSEPORT: the kernel spreads connections) and has an admin listener that the parent alone can ask
(:mod:`gateway.worker_channel`). Laws:

- One admin address: ``/metrics`` holds the samples of all workers together, ``/metrics/workers`` side by side, with the
  label ``worker``; ``/status`` holds each one's; ``/readyz`` is ready when all are.
- What a worker had counted at the last scrape is not lost when it dies.
- One graceful stop: SIGTERM reaches every worker, and the parent goes last, with 0 when they all ended by themselves.
- SIGHUP and SIGUSR1 reach every worker that serves; one that is just starting reads what there is anyway.
- One log: parent and workers write to standard output in turns, so that no line is cut by another one.
- No orphans: a worker whose parent is gone reads the end of its channel, and stops.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from config.notification import wished_notification
from gateway import logs
from gateway.addresses import UnixFile
from gateway.admin_access import build_access
from gateway.admin_server import TEXT, AdminServer, Page
from gateway.app import loop_factory
from gateway.assembly.routing import LOOK_SECONDS
from gateway.assembly.tls import admin_tls, look_at
from gateway.background import BackgroundTasks
from gateway.faults import UnsupportedMediaType
from gateway.listening import BACKLOG, INHERITED, REDIRECT, Listening
from gateway.logs.limited import LimitedEvents
from gateway.metrics import CONTENT_TYPE, ParentMetrics, Together, add_up, admin_refusals, merged
from gateway.notify_socket import speak_for_workers
from gateway.status.page import HEADERS, render, wants_page
from gateway.status.readiness import of_workers
from gateway.status.report import explained, together
from gateway.supervisor import Stopping, Supervisor, first_true
from gateway.wire.asking import ask
from gateway.wire.deadlines import Deadlines
from gateway.wire.descriptors import NO_ROOM
from gateway.wire.messages import ProtocolError
from gateway.wire.write_buffer import WriteBatch
from gateway.worker_channel import ParentEnd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.settings import Settings
    from gateway.admin_server import Asked
    from gateway.listening import Names
    from gateway.status.report import Snapshot

ASKING_SECONDS: Final = 5
READY_SECONDS: Final = 2.5  # longer than a worker takes to answer /readyz, and shorter than probes wait
_STARTING_POLL_SECONDS: Final = 0.2
_AWAY: Final = (503, b'{"ready":false,"checks":{"worker":"does not answer"}}')
_UNASKED: Final = (503, b'{"ready":false,"checks":{"worker":"cannot be asked: too many open files"}}')
"""Answer in place of a worker's where this process has no descriptor left to ask by: its own want."""

log = structlog.get_logger()


class Workers:
    """Parent process of several workers."""

    def __init__(self, settings: Settings, number: int, log_turns: int) -> None:
        """Hold the settings, the number of workers, and the file by which they take turns at the log."""
        self._log_turns = log_turns
        self._settings = settings
        self._number = number
        self._stopping = Stopping()
        self._listen: list[str] = []
        self._redirect_listen: list[str] = []
        self._inherited: list[int] = []
        self._channels: dict[int, ParentEnd] = {}
        self._answering = 0
        self._parent_metrics = ParentMetrics(wanted=number, answering=lambda: self._answering)
        self._together = Together()
        self._supervisors = [self._supervisor(one) for one in range(number)]

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit code.

        Raises:
            CannotListen: an address is in use, or is not this machine's.
        """
        settings, loop = self._settings, asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.hear, number)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            loop.add_signal_handler(number, self._pass_on, number)
        async with AsyncExitStack() as closing:
            public, self._listen = self._hold(settings.listen, "GATEWAY_LISTEN", closing)
            if settings.tls.redirect_listen is not None:
                _, self._redirect_listen = self._hold((settings.tls.redirect_listen,), REDIRECT, closing)
            await self._answer_for_all(closing)
            log.info("listening", public=public, workers=self._number)
            speaking = speak_for_workers(wished_notification(), self._all_answer, self._stopping.begun)
            closing.callback(loop.create_task(speaking).cancel)
            codes = await asyncio.gather(*(one.keep(self._stopping) for one in self._supervisors))
        log.info("stopped")
        return max(codes)

    async def _all_answer(self) -> bool:
        looks = [await self._lives(number, _STARTING_POLL_SECONDS) for number in range(self._number)]
        return all(looks)

    def _pass_on(self, received: signal.Signals) -> None:
        """Send a signal to every worker that serves. One that takes no connections yet might die of it."""
        for supervisor in self._supervisors:
            process = supervisor.process
            if process is None or process.returncode is not None:
                continue
            if self._channels[supervisor.number].is_served:
                process.send_signal(received)

    def _hold(self, listens: Sequence[str], setting: str, closing: AsyncExitStack) -> tuple[Names, list[str]]:
        """Bind the public addresses `listens` of a setting; return what the log names, and what the workers listen on.

        A TCP port is bound without listening: workers may share it, and nobody else may have it. A Unix socket cannot
        be bound twice: the parent listens on it, and every worker inherits it.
        """
        settings = self._settings
        listening = Listening(setting=setting)
        closing.callback(listening.close)
        held = listening.bind(listens, UnixFile(settings.unix.mode, settings.unix.owner), shared=True)
        addresses = []
        for one in held:
            closing.callback(one.close)
            if one.family == socket.AF_UNIX:
                one.listen(BACKLOG)
                self._inherited.append(one.fileno())
                addresses.append(f"{INHERITED}{one.fileno()}")
            else:
                host, port = one.getsockname()[:2]
                addresses.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        return listening.names, addresses

    def _supervisor(self, number: int) -> Supervisor:
        timeout = self._settings.timeout

        def drain_seconds(asked: signal.Signals) -> float:
            delay = timeout.drain_delay_seconds if asked == signal.SIGTERM else 0
            return delay + timeout.drain_seconds

        return Supervisor(
            number,
            start=lambda: self._start(number),
            answers=lambda seconds: self._lives(number, seconds),
            silence_seconds=timeout.worker_seconds,
            drain_seconds=drain_seconds,
            metrics=self._parent_metrics,
            gone=lambda: self._together.gone(number),
        )

    async def _start(self, number: int) -> asyncio.subprocess.Process:
        if number in self._channels:
            self._channels[number].close()
        channel = self._channels[number] = ParentEnd()
        arguments = ["serve", "--workers", str(self._number), "--listen", ",".join(self._listen)]
        if self._redirect_listen:
            arguments += ["--redirect-listen", ",".join(self._redirect_listen)]
        with channel.far:
            arguments += ["--channel", str(channel.far.fileno()), "--log-turns", str(self._log_turns)]
            return await asyncio.create_subprocess_exec(
                # -P: a folder `gateway` or `config` in the current folder is none of ours.
                *(sys.executable, "-P", "-m", "gateway", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[*self._inherited, channel.far.fileno(), self._log_turns],
                start_new_session=True,  # a Ctrl-C is the parent's to pass on, once
            )

    # -- the admin listener, for all ---------------------------------------------------------------------------

    async def _answer_for_all(self, closing: AsyncExitStack) -> None:
        access = build_access(self._settings, admin_refusals(self._parent_metrics.registry))
        pages = {
            ("GET", "/livez"): self._livez,
            ("GET", "/readyz"): self._readyz,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/metrics/workers"): self._metrics_of_each,
            ("GET", "/status"): self._status,
            ("POST", "/explain"): self._explain,
            ("GET", "/status.json"): self._status_json,
        }
        deadlines = Deadlines()
        deadlines.start()
        closing.callback(deadlines.stop)
        write_batch = WriteBatch(asyncio.get_running_loop().call_soon)
        server = AdminServer(pages, access, deadlines, write_batch)
        closing.push_async_callback(server.close)
        tls = admin_tls(self._settings)
        if tls is not None:
            tasks, events = BackgroundTasks(), LimitedEvents()
            tasks.every(
                LOOK_SECONDS, "look_at_certificates", lambda: look_at(tls, "GATEWAY_ADMIN_LISTEN", events)
            )
            closing.push_async_callback(tasks.stop)
        await server.open(self._settings.admin.listen, None if tls is None else tls.entry)

    async def _ask(
        self, number: int, path: str, document: bytes | None = None, *, seconds: float = ASKING_SECONDS
    ) -> tuple[int, bytes]:
        """Ask a worker's admin listener, with a JSON document or without; 503 when it does not answer in `seconds`."""
        channel = self._channels.get(number)
        try:
            if channel is None:
                raise ConnectionRefusedError
            found = await ask(channel.connect(), path, document, seconds=seconds)
        except (OSError, ProtocolError) as error:
            return _UNASKED if isinstance(error, OSError) and error.errno in NO_ROOM else _AWAY
        self._supervisors[number].serving = True  # an answer to anybody is a sign of life
        return found

    async def _ask_all(self, path: str, seconds: float = ASKING_SECONDS) -> list[tuple[int, bytes]]:
        return await asyncio.gather(*(self._ask(one, path, seconds=seconds) for one in range(self._number)))

    async def _livez(self, _asked: Asked) -> Page:
        return Page(b"ok\n", TEXT)

    async def _readyz(self, _asked: Asked) -> Page:
        answers = await self._ask_all("/readyz", READY_SECONDS)
        ready = all(status == HTTPStatus.OK for status, _ in answers) and not self._stopping.begun.is_set()
        documents = {str(number): orjson.loads(body) for number, (_, body) in enumerate(answers)}
        return Page(orjson.dumps(of_workers(documents, ready=ready)), status=200 if ready else 503)

    async def _status(self, asked: Asked) -> Page:
        if not wants_page(asked.field(b"accept")):
            return await self._status_json(asked)
        workers = await self._reports()
        whole = together(workers)
        page = render(whole, workers, runbook=self._settings.admin.runbook_url)
        return Page(page.encode(), "text/html; charset=utf-8", headers=HEADERS)

    async def _status_json(self, _asked: Asked) -> Page:
        workers = await self._reports()
        whole = together(workers)
        return Page(orjson.dumps({"workers": workers, "together": explained(whole) if whole else whole}))

    async def _reports(self) -> dict[str, Snapshot]:
        answers = await self._ask_all("/status.json")
        return {str(number): orjson.loads(body) for number, (_, body) in enumerate(answers)}

    async def _explain(self, asked: Asked) -> Page:
        """Have the first worker that answers explain: all have the same routes."""
        if not asked.is_json:
            raise UnsupportedMediaType("Send a JSON document, as application/json")
        number = await first_true([self._lives(one, ASKING_SECONDS) for one in range(self._number)])
        status, body = _AWAY if number is None else await self._ask(number, "/explain", asked.body)
        return Page(body, status=status)

    async def _lives(self, number: int, seconds: float) -> bool:
        """Return whether a worker gives a sign of life in `seconds`, or could not be asked for one."""
        answer = await self._ask(number, "/livez", seconds=seconds)
        return answer is _UNASKED or answer[0] == HTTPStatus.OK

    async def _pages(self) -> dict[int, str]:
        """Return the metrics pages of workers that still run when all have answered; others are counted as gone."""
        before = [supervisor.process for supervisor in self._supervisors]
        answers = await self._ask_all("/metrics")
        found = {
            number: body.decode()
            for number, ((status, body), process) in enumerate(zip(answers, before, strict=True))
            if status == HTTPStatus.OK
            and process is not None
            and process is self._supervisors[number].process
            and process.returncode is None
        }
        self._answering = len(found)
        return found

    async def _metrics(self, _asked: Asked) -> Page:
        own = self._parent_metrics
        pages = self._together.read(await self._pages())
        # In a thread: adding up large pages takes a second, in which no sign of life would be heard.
        page = await asyncio.to_thread(add_up, pages, (own.shared, own.registry))
        return Page(page, CONTENT_TYPE)

    async def _metrics_of_each(self, _asked: Asked) -> Page:
        pages = {str(number): page for number, page in (await self._pages()).items()}
        page = await asyncio.to_thread(merged, pages, label="worker", own=self._parent_metrics.registry)
        return Page(page, CONTENT_TYPE)


def run_workers(settings: Settings, number: int) -> int:
    """Run `number` gateways behind one address until SIGTERM or SIGINT; return the exit code."""
    turns = logs.make_turns()
    logs.configure(settings.log.level, settings.log.format, turns)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(Workers(settings, number, turns).run())
