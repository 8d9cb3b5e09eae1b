"""Embedded PostgreSQL server in a folder, for ``whatomate-gateway dev`` and the tests; never for production.

Laws:

- Unix socket only, in a folder of mode 0700: who can open the socket may do everything, and no other user anything.
- PostgreSQL refuses to run as root, so under root it runs as uid 65534. No existing folder gets wider permissions for
  that; an error names the folder in the way instead.
- The server inherits the lock, so a process that holds the lock knows that no server runs on these files.
- No server outlives the thread that started it (Linux; elsewhere a ``kill -9`` of the parent leaves the server behind).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from gateway.dev.programs import NOBODY, PostgresError, reachable_programs, refuse_closed

if TYPE_CHECKING:
    from types import TracebackType

SOCKET_NAME: Final = ".s.PGSQL.5432"
SOCKET_PATH_BYTES: Final = 107  # sizeof(sockaddr_un.sun_path) - 1
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1
_POLL_SECONDS: Final = 0.01
_STATUS_LINE: Final = 7  # of postmaster.pid, from 0: `pg_ctl --wait` reads it as well
_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"}
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class EmbeddedPostgres:
    """PostgreSQL server over one folder, from ``start`` to ``stop`` (or as a context manager).

    Args:
        directory: Holds the cluster, the socket, the lock and the log. It is made if missing, and used again if not.
        durable: Write through to the disk. Without it tests are faster, and a power cut may lose the cluster.
    """

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self._directory = directory.absolute()
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._socket_directory = self._directory / "socket"
        self._owns_temporary = False

    @property
    def url(self) -> str:
        """URL of the database for asyncpg, over the unix socket."""
        return f"postgresql://gateway@/gateway?host={quote(str(self._socket_directory), safe='/')}"

    @property
    def pid(self) -> int | None:
        """Process id of the server, while it runs."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """True if the server was started and still runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Make the cluster if there is none, start the server, and return when it answers.

        Raises:
            PostgresError: The binaries are missing, a folder is out of reach, another server has the folder, or
                PostgreSQL refused; then nothing is left running.
        """
        if self._process is not None:
            raise PostgresError("this PostgreSQL is running already")
        try:
            self._prepare_directory()
            self._lock = _lock(self._directory / "lock")
            programs = reachable_programs(self._directory)
            cluster = self._directory / "cluster"
            if not cluster.exists():
                self._make_cluster(programs, cluster)
            # A killed server left it. The lock proves that the server is dead, and its pid may belong to another
            # process now.
            (cluster / "postmaster.pid").unlink(missing_ok=True)
            self._choose_socket_directory()
            self._serve(programs, cluster)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server: a fast shutdown first, then harsher signals. It may be called at any time, and twice."""
        process, self._process = self._process, None
        if process is not None:
            for sign in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                process.send_signal(sign)
                try:
                    process.wait(STOP_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
        if self._owns_temporary:
            shutil.rmtree(self._socket_directory, ignore_errors=True)
            self._owns_temporary = False
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            if process is not None:
                _wait_unlocked(self._directory / "lock")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare_directory(self) -> None:
        refuse_closed(self._directory)  # before anything is made
        if not self._directory.exists():
            self._directory.mkdir(parents=True)
            # Our own new folder: a strict umask must not lock out the server's uid.
            self._directory.chmod(0o755)
            refuse_closed(self._directory)  # the same umask may have closed the folders above it

    def _make_cluster(self, programs: Path, cluster: Path) -> None:
        # Renamed when complete: a killed initdb leaves no half cluster behind.
        partial = cluster.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        _make_private(partial)
        options = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8"]
        options += ["--auth=trust", "--username=gateway", "--no-instructions"]
        options += [] if self._durable else ["--no-sync"]
        self._run([str(programs / "initdb"), "-D", str(partial), *options])
        self._run(
            [str(programs / "postgres"), "--single", "-D", str(partial), "postgres"],
            "CREATE DATABASE gateway;\n",
        )
        partial.rename(cluster)

    def _run(self, command: list[str], script: str = "") -> None:
        """Run one of PostgreSQL's programs to its end."""
        with _spawn(command, stdin=subprocess.PIPE, output=subprocess.PIPE) as process:
            output, _ = process.communicate(script.encode())
        if process.returncode != 0:
            message = output.decode(errors="replace").strip()
            raise PostgresError(f"{Path(command[0]).name} failed ({process.returncode}): {message}")

    def _choose_socket_directory(self) -> None:
        directory = self._directory / "socket"
        if len(os.fsencode(directory / SOCKET_NAME)) > SOCKET_PATH_BYTES:
            directory = Path(tempfile.mkdtemp(prefix="whatomate-gateway-", dir="/tmp"))
            self._owns_temporary = True
        self._socket_directory = directory
        _make_private(directory)

    def _serve(self, programs: Path, cluster: Path) -> None:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._socket_directory),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "max_connections": "200",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [str(programs / "postgres"), "-D", str(cluster)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        log = self._directory / "postgres.log"
        with log.open("wb") as output:
            self._process = _spawn(command, stdin=subprocess.DEVNULL, output=output.fileno(), keep=self._lock)
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(cluster, self._process.pid):
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_tail = log.read_text(errors="replace").strip()[-2000:]
                raise PostgresError(f"PostgreSQL did not start; {log} ends with:\n{log_tail}")
            time.sleep(_POLL_SECONDS)


def _spawn(
    command: list[str], *, stdin: int, output: int, keep: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a program as a user that PostgreSQL accepts, in a session of its own, so that it dies with this process.

    It needs a session of its own because Ctrl-C in a terminal reaches a whole process group, and the server must
    outlast the gateway's drain.
    """
    root = os.geteuid() == 0
    try:
        return subprocess.Popen(  # noqa: S603 - a fixed program with arguments of ours
            command,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            cwd="/",  # the current folder may be out of the user's reach
            start_new_session=True,
            pass_fds=() if keep is None else (keep,),
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call; after setuid, which would clear it
            user=NOBODY if root else None,
            group=NOBODY if root else None,
            extra_groups=[] if root else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PostgresError(f"cannot run {command[0]}: {error}") from error


def _die_with_parent() -> None:
    """Request a fast shutdown for when the parent ends in any way (prctl(2), PR_SET_PDEATHSIG)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)


def _is_ready(cluster: Path, pid: int) -> bool:
    """Return whether server `pid` accepts connections, by the file that it writes for pg_ctl."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > _STATUS_LINE and lines[0] == str(pid) and lines[_STATUS_LINE].strip() == "ready"


def _make_private(directory: Path) -> None:
    """Make `directory` accessible to the server alone."""
    directory.mkdir(exist_ok=True)
    directory.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)


def _lock(path: Path) -> int:
    """Take the folder's lock; wait only for a server that is ending because its parent did."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode().strip()
            if (holder and _is_alive(int(holder))) or time.monotonic() > deadline:
                os.close(descriptor)
                raise PostgresError(
                    f"{path.parent} is in use by process {holder or '?'}: stop that one, or choose another data folder"
                ) from None
            time.sleep(_POLL_SECONDS)
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor


def _wait_unlocked(path: Path) -> None:
    """Wait for the killed server's last child processes, which hold the lock until they notice."""
    deadline = time.monotonic() + STOP_SECONDS
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_POLL_SECONDS)
            else:
                return
    finally:
        os.close(descriptor)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
