"""A site: two gateways as processes over one database, a Whatomate behind them, an operator who follows the runbook.

What the operator types goes to a shell, with the settings as they are in its environment. The commands of a cluster
(``kubectl``) are carried out here, on the processes: a restart replaces one gateway after the other, and the next one
goes only when the one before it is ready.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
import tomllib
from typing import TYPE_CHECKING, Final, Protocol

import jwt

from tests.support.admin import ask_admin
from tests.support.peers import Upstream, next_request
from tests.support.ports import free_port
from tests.support.processes import ROOT, STARTING, Process, spawn
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from tests.runbook.page import Block, Step

GATEWAY: Final = "deployment/gateway-whatomate-gateway"
WHATOMATE: Final = "deployment/whatomate"
TYPING: Final = 120
"""Seconds after which a command has hung."""


class Sites(Protocol):
    """Starter of sites, which end with the test."""

    def __call__(
        self, url: str, codes: Mapping[str, Path] | None = None, /, **settings: str | Sequence[str]
    ) -> Awaitable[Site]:
        """Start two gateways on a database; keyword arguments are settings: a text for both, or one for each.

        `codes` has programs by their version, of which the first is started.
        """


class Refused(AssertionError):
    """A promise of the page was broken, or a command of it failed."""


class Whatomate:
    """A Whatomate that checks tokens itself by its one secret, as Whatomate does."""

    def __init__(self) -> None:
        self.secret = SECRET
        self.configured = SECRET
        self.asked_slowly, self.slow = asyncio.Event(), asyncio.Event()
        self.upstream = Upstream(script=self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await next_request(reader)
            if head is None:
                return
            scheme, _, token = (head.one("Authorization") or "").partition(" ")
            status = b"200 OK"
            if scheme:
                try:
                    jwt.decode(token, self.secret, algorithms=["HS256"])
                except jwt.InvalidTokenError:
                    status = b"401 Unauthorized"
            if b" /api/slow " in head.start:
                self.asked_slowly.set()
                await self.slow.wait()
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 2\r\nX-Whatomate: yes\r\n\r\nok" % status)
            await writer.drain()


class Replica:
    """One gateway: its name, its ports, its own settings, and its process while it runs."""

    def __init__(self, name: str, own: dict[str, str]) -> None:
        self.name = name
        self.address = ("127.0.0.1", free_port())
        self.admin = ("127.0.0.1", free_port())
        self.own = {
            "GATEWAY_LISTEN": f"127.0.0.1:{self.address[1]}",
            "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{self.admin[1]}",
            **own,
        }
        self.process: Process | None = None

    def __repr__(self) -> str:
        return self.name

    async def start(self, settings: dict[str, str], code: Path) -> None:
        """Start it, and wait until it is ready.

        Raises:
            Refused: it ends, or is not ready.
        """
        async with asyncio.timeout(STARTING):
            self.process = await spawn({**settings, **self.own, "PYTHONPATH": str(code)})
            while True:
                status, body = await ask_admin(self.admin, "/readyz")
                if status == 200 and '"migrations":"ok"' in body:
                    return
                if "pending" in body:
                    raise Refused(f"{self.name} is not ready: {body}")
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End it in order."""
        assert self.process is not None
        process, self.process = self.process.process, None
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(TYPING):
            assert process.stdout is not None
            await process.stdout.read()
            assert await process.wait() == 0

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self.process is not None and self.process.process.returncode is None:
            self.process.process.kill()


class Site:
    """Two gateways, and the operator.

    Attributes:
        settings: The settings of the gateways, which hold for those that start from now on.
        variables: Variables of the operator's shell.
        replicas: The gateways.
        codes: The program by its version; the running one is `version`.
        holds: Called when something has changed: it raises if a promise is broken.
        printed: What each run of typed lines wrote on standard output.
        hands: What is done in place of a line, where it concerns more than the gateways.
    """

    def __init__(
        self, whatomate: Whatomate, folder: Path, settings: dict[str, str], **own: Sequence[str]
    ) -> None:
        """`own` is what each replica has for itself: a value for the first and one for the second."""
        self.whatomate = whatomate
        self.settings = {
            "GATEWAY_JWT_SECRET": SECRET,
            "GATEWAY_UPSTREAM_URL": f"http://127.0.0.1:{whatomate.upstream.port}",
            "GATEWAY_ADMIN_HOSTS": "gateway.test",
            "GATEWAY_LOG_ACCESS": "false",
            "GATEWAY_PASSWORD_COST": "4",
            # So long that nothing here comes to be because a time is over.
            "GATEWAY_IDENTITY_CACHE_SECONDS": "3600",
            "GATEWAY_TIMEOUT_DRAIN_DELAY_SECONDS": "0",
            "GATEWAY_TIMEOUT_DRAIN_SECONDS": "1",
            **settings,
        }
        self.variables: dict[str, str] = {}
        self.replicas = [
            Replica(name, {key: values[place] for key, values in own.items()})
            for place, name in enumerate(("gateway-0", "gateway-1"))
        ]
        self.codes = {"new": ROOT}
        self.version = "new"
        self.holds: Callable[[], Awaitable[None]] = _nothing
        self.printed: list[str] = []
        self.hands: dict[str, Callable[[], Awaitable[None]]] = {}
        self._former = "new"
        self._state = folder / "variables"
        self._state.touch()
        self._programs = folder / "bin"
        self._programs.mkdir()
        gateway = self._programs / "gateway"
        gateway.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gateway "$@"\n')
        gateway.chmod(0o755)
        self._rolling: asyncio.Task[None] | None = None

    @property
    def up(self) -> list[Replica]:
        """The replicas that run."""
        return [one for one in self.replicas if one.process is not None]

    async def start(self) -> None:
        """Start both."""
        await asyncio.gather(*(one.start(self.settings, self.codes[self.version]) for one in self.replicas))

    async def end(self) -> None:
        """Leave nothing behind."""
        if self._rolling is not None:
            self._rolling.cancel()
            await asyncio.gather(self._rolling, return_exceptions=True)
        for one in self.replicas:
            one.kill()
            if one.process is not None:
                await one.process.process.wait()

    # -- following the page -------------------------------------------------------------------------------------------

    async def carry_out(
        self, steps: list[Step], before: Callable[[Step], Awaitable[None]] | None = None
    ) -> None:
        """Carry out steps in their order; after each the promises hold. `before` is called before each."""
        for step in steps:
            if before is not None:
                await before(step)
            for block in step.blocks:
                await self._block(block)
            await self.holds()
        assert self._rolling is None, "the page restarts gateways, and does not wait until they have"

    async def _block(self, block: Block) -> None:
        if block.language == "ini":
            for name, value in block.settings.items():
                self.settings[name] = await self._expanded(value)
                if not value:
                    del self.settings[name]
        elif block.language == "toml":
            self.whatomate.configured = tomllib.loads(await self._expanded(block.text))["jwt"]["secret"]
        else:
            for replica in self.replicas if block.is_for_every_gateway else self.replicas[:1]:
                await self._type(block.commands, replica)
                await self.holds()

    async def _expanded(self, text: str) -> str:
        return (await self._shell(f"cat <<END\n{text}\nEND\n", self.replicas[0])).rstrip("\n")

    async def _type(self, commands: Sequence[str], replica: Replica) -> None:
        """Type commands: those of a cluster here, all others in a shell."""
        script: list[str] = []
        for command in commands:
            if command in self.hands or command.startswith("kubectl "):
                self.printed.append(await self._shell("\n".join(script), replica))
                script.clear()
                await self._by_hand(command)
            else:
                script.append(command)
        self.printed.append(await self._shell("\n".join(script), replica))

    async def _by_hand(self, command: str) -> None:
        if command in self.hands:
            await self.hands[command]()
        else:
            await self._kubectl(shlex.split(await self._expanded(command.replace("\\\n", " ")))[1:])

    async def _shell(self, script: str, replica: Replica) -> str:
        """Run a script of the operator's; what it assigns stays for the next one."""
        if not script:
            return ""
        names = sorted(set(re.findall(r"^([A-Z_]+)=", script, re.MULTILINE)))
        keep = f"\n declare -p {' '.join(names)} >> {shlex.quote(str(self._state))}" if names else ""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        process = await asyncio.create_subprocess_exec(
            *("bash", "-eu", "-c", f". {shlex.quote(str(self._state))}\n{script}{keep}"),
            env={
                **clean,
                **self.settings,
                **replica.own,
                **self.variables,
                "PATH": f"{self._programs}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(self.codes["new"]),
                "ADMIN": f"http://127.0.0.1:{replica.admin[1]}",
                "PUBLIC": f"http://127.0.0.1:{replica.address[1]}",
            },
            cwd=str(self._programs),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(TYPING):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise Refused(f"exit code {process.returncode}: {script}\n{errors.decode()}")
        return output.decode()

    # -- the cluster --------------------------------------------------------------------------------------------------

    async def _kubectl(self, words: list[str]) -> None:
        match words:
            case ["rollout", "restart", target] if target == GATEWAY:
                self._roll()
            case ["rollout", "restart", target] if target == WHATOMATE:
                self.whatomate.secret = self.whatomate.configured
            case ["rollout", "undo", target] if target == GATEWAY:
                self.version, self._former = self._former, self.version
                self._roll()
            case ["set", "image", target, image] if target == GATEWAY:
                self._former, self.version = self.version, image.rpartition(":")[2]
                self._roll()
            case ["rollout", "status", target, *_] if target == GATEWAY:
                assert self._rolling is not None, "nothing is being restarted"
                rolling, self._rolling = self._rolling, None
                await rolling
            case ["drain", name, *_]:
                await next(one for one in self.replicas if one.name == name).stop()
            case ["uncordon", name]:
                back = next(one for one in self.replicas if one.name == name)
                await back.start(self.settings, self.codes[self.version])
            case _:
                raise Refused(f"no rehearsal knows kubectl {shlex.join(words)}")

    def _roll(self) -> None:
        assert self._rolling is None, "the page does not wait until the gateways have been restarted"
        self._rolling = asyncio.ensure_future(self._replace_all())

    async def _replace_all(self) -> None:
        for replica in self.replicas:
            await replica.stop()
            await replica.start(self.settings, self.codes[self.version])
            await self.holds()


async def _nothing() -> None:
    """Promise nothing."""
