"""Run the whole product on this machine: `python -m tools.demo` (`make demo`), `--reset` deletes its data.

All files are in `.demo/`: keys, database, the sandbox's companies and snapshot. If we are root the database is a link
(see `make_database_folder`).
"""

from __future__ import annotations

import argparse
import fcntl
import http.client
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from integrations.clients.snapshots import find_installed_browser
from tools.services import (
    ServiceError,
    free_port,
    postgresql_answers,
    prepare_postgresql,
    valkey_answers,
    valkey_command,
    valkey_config,
    valkey_url,
)
from tools.supervisor import ProgramEnded, StopRequested, Supervisor, end_marked_processes

ROOT = Path(__file__).resolve().parent.parent.parent
# Variable in the environment of every process of the demo. By it, the next start finds the processes of a killed demo.
MARK = "GUANWECOM_DEMO"
# Names of the processes that all others need.
SERVERS = {"postgres", "valkey-server"}
WEB_THREADS = "16"
WORKER_THREADS = "8"
CELERY = [sys.executable, "-m", "celery", "--quiet", "--app", "guanwecom"]


class DemoRefused(Exception):
    """The reason why the demo cannot start, and what to do."""


@dataclass(frozen=True)
class Place:
    """The demo's folder and ports, from DEMO_FOLDER, DEMO_WEB_PORT, DEMO_SANDBOX_PORT and DEMO_MAIL_PORT."""

    folder: Path
    web_port: int
    sandbox_port: int
    mail_port: int

    @classmethod
    def from_environ(cls) -> Place:
        folder = Path(os.environ.get("DEMO_FOLDER", ROOT / ".demo")).resolve()
        ports = (_port("DEMO_WEB_PORT", 3001), _port("DEMO_SANDBOX_PORT", 3002), _port("DEMO_MAIL_PORT", 3025))
        return cls(folder, *ports)

    @property
    def site_url(self) -> str:
        return f"http://localhost:{self.web_port}/"

    @property
    def sandbox_url(self) -> str:
        """The sandbox's URL on 127.0.0.1. With ours on localhost, a browser sees two sites, as with the real WeCom."""
        return f"http://127.0.0.1:{self.sandbox_port}"

    @property
    def database(self) -> Path:
        return self.folder / "postgresql"

    @property
    def companies(self) -> Path:
        """The file that seeding writes for the sandbox."""
        return self.folder / "companies.json"


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise DemoRefused(f"{variable}: expected a port from 1 to 65535, not {text!r}.")
    return int(text)


# --- Before the start ------------------------------------------------------------------------------------------------


@contextmanager
def lock_folder(place: Place) -> Iterator[None]:
    """Hold the folder's lock, and end processes of a killed demo. The system releases a killed process's lock."""
    place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(place.folder.iterdir()) and not (place.folder / "lock").exists():
        raise DemoRefused(f"{place.folder} holds files that are not the demo's. Name an empty folder in DEMO_FOLDER.")
    with (place.folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise DemoRefused(f"The demo runs already (process {lock.read()}). Stop it there with Ctrl-C.") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        ended = end_marked_processes(MARK, str(place.folder), servers=SERVERS)
        if ended:
            print(
                f"Ended {len(ended)} processes of a demo that was killed: {', '.join(sorted(set(ended)))}", flush=True
            )
        yield


def check_ports(place: Place) -> None:
    """Raise DemoRefused if a port is taken."""
    for name, port, variable in (
        ("web", place.web_port, "DEMO_WEB_PORT"),
        ("sandbox", place.sandbox_port, "DEMO_SANDBOX_PORT"),
        ("mail", place.mail_port, "DEMO_MAIL_PORT"),
    ):
        if not all(_is_free(family, host, port) for family, host in _list_loopback_addresses()):
            raise DemoRefused(f"Port {port} ({name}) is taken. Choose another: {variable}={port + 10} make demo")


def _list_loopback_addresses() -> list[tuple[socket.AddressFamily, str]]:
    """Return this machine's loopback addresses: IPv4's, and IPv6's if there is one."""
    hosts = [(socket.AF_INET, "127.0.0.1")]
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        hosts.append((socket.AF_INET6, "::1"))
    return hosts


def _is_free(family: socket.AddressFamily, host: str, port: int) -> bool:
    """Return whether no server answers and we may listen. macOS lets us listen beside a server on all addresses."""
    with socket.socket(family) as probe:
        probe.settimeout(1)
        if probe.connect_ex((host, port)) == 0:
            return False
    with suppress(OSError), socket.create_server((host, port), family=family):
        return True
    return False


def load_keys(place: Place) -> dict[str, str]:
    """Return the demo's secrets, created at the first start and readable by the owner only."""
    file = place.folder / "keys.json"
    if not file.exists():
        keys = {"SECRET_KEY": secrets.token_urlsafe(48), "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode()}
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
            json.dump(keys, output)
    return dict(json.loads(file.read_text()))


def make_environ(place: Place, *, database: str, valkey: str) -> dict[str, str]:
    """Return the environment of the demo's processes: this process's with our values."""
    ours = {
        **load_keys(place),
        MARK: str(place.folder),
        "ENVIRONMENT": "demo",
        "DATABASE_URL": database,
        "VALKEY_URL": valkey,
        "ALLOWED_HOSTS": "localhost",
        "TRUSTED_PROXIES": "",
        "DATA_ALLOW_LOOPBACK": "true",
        "SNAPSHOT_CARD_SELECTOR": ".bi-card",
        "MAIL_DOOR_LISTEN": f"127.0.0.1:{place.mail_port}",
        "MAIL_DOOR_CERTIFICATE": "",
        "MAIL_DOOR_KEY": "",
        "MAIL_DOOR_TLS_FROM_START": "false",
        "DJANGO_SETTINGS_MODULE": "guanwecom.settings",
        "PYTHONUNBUFFERED": "1",
    }
    inherited = {name: text for name, text in os.environ.items() if name.removesuffix("_FILE") not in ours}
    return inherited | ours


def make_database_folder(place: Place) -> None:
    """Make the folder for PostgreSQL. For root it is a link to a folder in /var/tmp: PostgreSQL then runs as `nobody`,
    who cannot enter private folders."""
    if place.database.exists():
        return
    place.database.unlink(missing_ok=True)  # a link whose folder was removed
    if os.geteuid() == 0:
        place.database.symlink_to(tempfile.mkdtemp(prefix="guanwecom-demo-", dir="/var/tmp"))
    else:
        place.database.mkdir(mode=0o700)


# --- The run ---------------------------------------------------------------------------------------------------------


def run_demo(place: Place) -> int:
    """Run the demo. Returns 0 when stopped by a signal, 1 when a program failed or ended. Raises ServiceError."""
    make_database_folder(place)
    # Log FATAL only: the program whose statement caused an ERROR reports it.
    database = prepare_postgresql(place.database.resolve(), log_min_messages="fatal")
    port, password = free_port(), secrets.token_hex(16)
    environ = make_environ(place, database=database.url, valkey=valkey_url(port=port, password=password))
    supervisor = Supervisor(environ=environ, folder=ROOT)
    supervisor.catch_signals()
    try:
        # Pass none of our secrets: for root it is another user's process.
        own = {MARK: str(place.folder)}
        supervisor.start("database", database.command, is_server=True, env=own, cwd="/", **database.identity)
        with valkey_config(port=port, password=password, folder=place.folder) as config:
            supervisor.start("valkey", valkey_command(), stdin=config, is_server=True)
        supervisor.wait_until(lambda: valkey_answers(port) and postgresql_answers(database.url))
        start_programs(supervisor, place)
        supervisor.wait_until(lambda: False)
    except StopRequested:
        supervisor.say("demo", "stopping")
        return 0
    except ProgramEnded as error:
        supervisor.say("demo", f"{error} Stopping the others.")
        return 1
    finally:
        supervisor.stop()
    return 0


def start_programs(supervisor: Supervisor, place: Place) -> None:
    """Migrate and seed, start all programs in order, run the diagnosis, and print where to go once web answers."""
    manage = [sys.executable, "manage.py"]
    supervisor.run("migrate", [*manage, "migrate", "--no-input", "--verbosity", "0"])
    seed = [sys.executable, "-m", "tools.demo.seed", "--web-address", place.site_url]
    seed += ["--sandbox-address", place.sandbox_url, "--sandbox-seed", str(place.companies)]
    sign_ins = supervisor.run("seed", seed, keep=True)
    sandbox = ["--port", str(place.sandbox_port), "--seed", str(place.companies)]
    supervisor.start(
        "sandbox", [sys.executable, "-m", "wecom_sandbox", *sandbox, "--snapshot", str(place.folder / "sandbox.json")]
    )
    binds = [f"{'[::1]' if host == '::1' else host}:{place.web_port}" for _, host in _list_loopback_addresses()]
    web = [sys.executable, "-m", "gunicorn", "guanwecom.wsgi", "--worker-class", "gthread", "--threads", WEB_THREADS]
    web += ["--no-control-socket", "--log-level", "warning"]
    supervisor.start("web", [*web, *(word for bind in binds for word in ("--bind", bind))])
    supervisor.start("worker", make_worker_command("--pool", "threads", "--concurrency", WORKER_THREADS))
    supervisor.start("charts", make_charts_command())
    if can_take_pictures():
        pictures = ("--queues", "snapshots", "--pool", "prefork", "--concurrency", "1", "--hostname", "snapshots@%h")
        supervisor.start("snapshots", make_worker_command(*pictures))
    supervisor.start("beat", [*CELERY, "beat", "--loglevel", "WARNING", "--pidfile", ""])
    supervisor.start("mail", [*manage, "mail_door"])
    supervisor.wait_until(lambda: is_answering(place.sandbox_url) and is_answering(place.site_url))
    verify_callbacks(place)
    supervisor.run("diagnose", [*manage, "diagnose", "--verbosity", "0"])
    lines = (
        "",
        f"The product          {place.site_url}",
        f"Its administration   {place.site_url}admin/",
        f"The stand-in phone   {place.sandbox_url}/phone",
        f"WeCom's console      {place.sandbox_url}/console",
        f"Its mail server      127.0.0.1:{place.mail_port} (docs/en/mail-door.md), recipients: userid@wecom.local",
        *sign_ins,
        "Ctrl-C stops everything; `make demo-reset` throws the demo's data away.",
        "",
    )
    for line in lines:
        supervisor.say("demo", line)


def make_worker_command(*words: str) -> list[str]:
    return [*CELERY, "worker", *words, "--loglevel", "INFO", "--without-gossip", "--without-mingle"]


def make_charts_command() -> list[str]:
    """Return the command of the worker that draws charts and makes files, in processes that may end without harm."""
    drawing = ("--queues", "charts", "--pool", "prefork", "--autoscale", "1,0", "--hostname", "charts@%h")
    return make_worker_command(*drawing, "--max-tasks-per-child", "1000", "--max-memory-per-child", "500000")


def can_take_pictures() -> bool:
    """Return whether this machine can run a worker for pictures of the BI's pages."""
    return bool(find_spec("playwright") and find_installed_browser())


def verify_callbacks(place: Place) -> None:
    """Save the callback addresses in the sandbox's console again: it verifies them, like WeCom's."""
    for company in json.loads(place.companies.read_text(encoding="utf-8"))["companies"]:
        for address in ("contacts", *(f"apps/{app['agentid']}" for app in company["apps"])):
            # It may fail: the company's page shows the result.
            path = f"/sandbox/api/companies/{company['corpid']}/{address}/callback/verify"
            is_answering(place.sandbox_url, "POST", path, body="{}", headers={"Content-Type": "application/json"})


def is_answering(url: str, method: str = "GET", path: str = "/", **request: Any) -> bool:
    """Return whether an HTTP server answers there, with any status."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=15)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request(method, path, **request)
        connection.getresponse()
        return True
    return False


def delete_data(place: Place) -> None:
    """Delete all data of the demo."""
    for path in place.folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path.resolve())  # also the target of a link
        if path.name != "lock":
            path.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--reset", action="store_true", help="throw the demo's data away")
    options = parser.parse_args(arguments)
    try:
        place = Place.from_environ()
        with lock_folder(place):
            if options.reset:
                delete_data(place)
                print(f"The demo's data in {place.folder} is gone; `make demo` makes it anew.")
                return 0
            check_ports(place)
            return run_demo(place)
    except (DemoRefused, ServiceError) as error:
        print(error, file=sys.stderr)
        return 1
