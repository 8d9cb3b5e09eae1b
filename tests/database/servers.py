"""PostgreSQL as it is run: a primary and a standby, a pooler, and an address that moves between servers."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gateway.dev.programs import NOBODY, reachable_programs
from tests.support.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_SECONDS = 60
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"}


def own(path: Path) -> None:
    """Make a path the server's, which is never root."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)


def spawn(command: list[str]) -> subprocess.Popen[bytes]:
    root = os.geteuid() == 0
    return subprocess.Popen(
        command,
        env=_ENVIRONMENT,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        user=NOBODY if root else None,
        group=NOBODY if root else None,
        extra_groups=[] if root else None,
    )


class Server:
    """One PostgreSQL over one folder, on a unix socket beside its files."""

    def __init__(self, programs: Path, folder: Path, disk: Path | None = None) -> None:
        """Keep files in `folder`; with a `disk`, all but the log of changes on that."""
        self.programs = programs
        self.files = (disk or folder) / "files"
        self._log = [] if disk is None else [f"--waldir={folder / 'log'}"]
        self.socket = folder / "s"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o755)
        own(folder)
        self.socket.mkdir()
        own(self.socket)
        if disk is not None:
            own(disk)

    def run(self, name: str, *arguments: str) -> None:
        done = spawn([str(self.programs / name), *arguments])
        assert done.wait(START_SECONDS) == 0, name

    def make(self) -> Self:
        options = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8"]
        where = ["-D", str(self.files), *self._log]
        self.run("initdb", *where, "--auth=trust", "--username=gateway", "--no-sync", *options)
        return self

    def copy(self, of: Server) -> Self:
        """Be a standby of another server, which runs."""
        where = ["-h", str(of.socket), "-U", "gateway", "-D", str(self.files)]
        self.run("pg_basebackup", *where, "-R", "-X", "stream", "-c", "fast", "--no-sync", *self._log)
        return self

    def start(self, **more: str) -> None:
        """Start it, with settings of its own besides."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket),
            "fsync": "off",
            **more,
        }
        command = [str(self.programs / "postgres"), "-D", str(self.files)]
        self._process = spawn(
            command + [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self._process.poll() is None, "PostgreSQL did not start"
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        with suppress(FileNotFoundError, IndexError):
            return (self.files / "postmaster.pid").read_text().splitlines()[7].strip() in {"ready", "standby"}
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: in order, or with SIGQUIT as in a crash."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(START_SECONDS)

    def promote(self) -> None:
        self.run("pg_ctl", "-D", str(self.files), "-w", "promote")

    def demote(self, follows: Server | None) -> None:
        """Be a standby at the next start: of another server, or of nobody."""
        (self.files / "standby.signal").touch()
        own(self.files / "standby.signal")
        settings = "recovery_target_timeline = 'latest'\n"
        settings += f"primary_conninfo = 'host={follows.socket} user=gateway'\n" if follows else ""
        with (self.files / "postgresql.auto.conf").open("a") as configuration:
            configuration.write(settings)

    def url(self, database: str = "postgres", user: str = "gateway") -> str:
        return f"postgresql://{user}@/{database}?host={self.socket}"

    @property
    def path(self) -> str:
        """The socket itself."""
        return f"{self.socket}/.s.PGSQL.5432"


@contextmanager
def short_folder() -> Iterator[Path]:
    """Make a folder with a path short enough for a socket, which servers may enter."""
    path = Path(tempfile.mkdtemp(prefix="wgdb-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def servers(folder: Path, count: int = 1, disks: Sequence[Path] = ()) -> Iterator[list[Server]]:
    """Make servers, none of which has files yet; they are stopped in the end.

    The files of the first ones are on `disks`, as far as there are any.
    """
    folder.mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
    programs = reachable_programs(folder)
    places = [*disks, *[None] * count][:count]
    made = [Server(programs, folder / f"p{number}", disk) for number, disk in enumerate(places)]
    try:
        yield made
    finally:
        for one in made:
            one.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Forwarder:
    """An address that leads somewhere: a TCP port before a unix socket, or another port.

    Attributes:
        target: Where connections that are opened from now on lead.
        delay: Each piece that is on its way takes this many seconds longer.
    """

    def __init__(self, target: str | int) -> None:
        self.target = target
        self.delay = 0.0
        self.connections = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End what is connected."""
        for link in self._links:
            link.cancel()

    def hold(self) -> None:
        """Be silent: what is connected stays so, and nothing arrives, until it goes on."""
        self._flowing.clear()

    def go_on(self) -> None:
        """Pass on what was held."""
        self._flowing.set()

    def move(self, target: str | int) -> None:
        """Lead new connections elsewhere; those that are silent stay so."""
        self.target = target
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        flowing = self._flowing
        try:
            there = (
                await asyncio.open_unix_connection(self.target)
                if isinstance(self.target, str)
                else await asyncio.open_connection("127.0.0.1", self.target)
            )
        except OSError:
            writer.close()
            self._links.discard(task)
            return
        try:
            copies = {
                asyncio.ensure_future(self._copy(reader, there[1], flowing)),
                asyncio.ensure_future(self._copy(there[0], writer, flowing)),
            }
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            for one in copies:
                one.cancel()
            self._links.discard(task)
            writer.close()
            there[1].close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await flowing.wait()
                writer.write(piece)
                await writer.drain()

    def url(self, database: str = "postgres", user: str = "gateway", query: str = "") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?{query}"


def _accepts(path: Path) -> bool:
    """Return whether a server listens on the Unix socket `path`, which exists a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@contextmanager
def pgbouncer(folder: Path, server: str, **settings: object) -> Iterator[str]:
    """Run a pooler before the server whose socket is in the folder `server`; return the folder of its own socket."""
    path = program("pgbouncer") if shutil.which("pgbouncer") else program("/usr/sbin/pgbouncer")
    folder.mkdir(mode=0o755)
    own(folder)
    (folder / "users").write_text('"gateway" ""\n')
    options = {
        "listen_addr": "",
        "unix_socket_dir": folder,
        "listen_port": 6432,
        "auth_type": "any",
        "auth_file": folder / "users",
        "logfile": folder / "log",
        "pidfile": folder / "pid",
        **settings,
    }
    lines = [f"{name} = {value}" for name, value in options.items()]
    text = f"[databases]\n* = host={server} user=gateway\n[pgbouncer]\n" + "\n".join(lines)
    (folder / "ini").write_text(text)
    process = spawn([path, "-q", str(folder / "ini")])
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _accepts(folder / ".s.PGSQL.6432"):
            assert process.poll() is None, "pgbouncer did not start"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield str(folder)
    finally:
        process.kill()  # SIGTERM waits for clients since PgBouncer 1.23
        process.wait(START_SECONDS)
