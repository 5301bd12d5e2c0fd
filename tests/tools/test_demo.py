"""`make demo` with its real programs: what it refuses, what it starts, and that nothing is left when it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests

from tools.demo import program as demo_program
from tools.demo.program import MARK, SERVERS, DemoRefused, Place
from tools.services import free_port
from tools.supervisor import end_marked

START_SECONDS = 180
PROGRAMS = {"database", "valkey", "sandbox", "web", "worker", "charts", "beat", "mail"}
PROGRAMS |= {"snapshots"} if demo_program.takes_pictures() else set()
LAST_LINE = "`make demo-reset` throws"


def living(folder: Path) -> list[psutil.Process]:
    """The demo's processes that have not ended."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "100% 演示?", free_port(), free_port(), free_port())
    yield place
    if place.folder.exists():
        demo_program.throw_away(place)  # as root the database lies elsewhere


def environ(place: Place) -> dict[str, str]:
    return {
        **os.environ,
        "DEMO_FOLDER": str(place.folder),
        "DEMO_WEB_PORT": str(place.web_port),
        "DEMO_SANDBOX_PORT": str(place.sandbox_port),
        "DEMO_MAIL_PORT": str(place.mail_port),
    }


def run(place: Place, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end, which must come soon."""
    return subprocess.run(
        [sys.executable, "-m", "tools.demo", *arguments],
        env=environ(place),
        cwd=root,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


class Demo:
    """A running demo, its output in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while text not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.1)

    def wait(self) -> int:
        return self.process.wait(START_SECONDS)


@contextmanager
def started(place: Place, root: Path) -> Iterator[Demo]:
    """A demo that has printed its addresses. Whatever a test does to it, nothing of it survives the block."""
    place.folder.mkdir(exist_ok=True, mode=0o700)
    log = place.folder.parent / "demo.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.demo"],
            env=environ(place),
            cwd=root,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Demo(process, log)
    try:
        running.wait_for(LAST_LINE)
        yield running
    finally:
        process.kill()
        process.wait()
        end_marked(MARK, str(place.folder), servers=SERVERS)


def program(place: Place, words: str) -> psutil.Process:
    """The oldest living process whose command line contains the words."""
    return min((one for one in living(place.folder) if words in command_of(one)), key=psutil.Process.create_time)


def ask_database(place: Place, question: str, *values: object) -> tuple[Any, ...] | None:
    """The first row that the database of a running demo answers."""
    url = program(place, "gunicorn").environ()["DATABASE_URL"]
    with psycopg.connect(url) as connection:
        return connection.execute(question.encode(), values).fetchone()


def installed_at(place: Place) -> object:
    """When the demo's data began."""
    return ask_database(place, "SELECT confirmed_at FROM integrations_installation")


def command_of(process: psutil.Process) -> str:
    """Empty for one that has just ended: the demo starts and ends helpers all the time."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


# --- Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["web", "sandbox", "mail"])
def test_a_taken_port_is_refused(place: Place, project_root: Path, name: str) -> None:
    port = {"web": place.web_port, "sandbox": place.sandbox_port, "mail": place.mail_port}[name]
    with socket.create_server(("127.0.0.1", port)):
        refused = run(place, project_root)

    assert refused.returncode == 1
    advice = f"Choose another: DEMO_{name.upper()}_PORT={port + 10} make demo"
    assert refused.stderr == f"Port {port} ({name}) is taken. {advice}\n"
    assert living(place.folder) == []


def test_a_port_taken_on_ipv6_alone_is_refused(place: Place) -> None:
    if len(demo_program._loopback()) < 2:
        pytest.skip("this machine has no IPv6")
    with (
        socket.create_server(("::1", place.web_port), family=socket.AF_INET6),
        pytest.raises(DemoRefused, match=rf"^Port {place.web_port} \(web\) is taken"),
    ):
        demo_program.check_ports(place)


@pytest.mark.parametrize("text", ["", "web", "0", "65536", "-1", "3001 "])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DEMO_WEB_PORT", text)

    with pytest.raises(
        DemoRefused, match=rf"^DEMO_WEB_PORT: expected a port from 1 to 65535, not {re.escape(repr(text))}"
    ):
        Place.from_environ()


@pytest.mark.parametrize("arguments", [(), ("--reset",)])
def test_a_folder_with_other_files_is_refused_and_left_alone(
    place: Place, project_root: Path, arguments: tuple[str, ...]
) -> None:
    place.folder.mkdir()
    (place.folder / "thesis.txt").write_text("years of work")

    refused = run(place, project_root, *arguments)

    assert (refused.returncode, refused.stderr.startswith(f"{place.folder} holds files")) == (1, True)
    assert [path.name for path in place.folder.iterdir()] == ["thesis.txt"]


def test_the_demo_never_inherits_another_database_or_key(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://production/db")
    monkeypatch.setenv("DATABASE_URL_FILE", "/run/secrets/database")
    monkeypatch.setenv("SECRET_KEY_FILE", "/run/secrets/key")
    place.folder.mkdir()

    found = demo_program.demo_environ(place, database="postgresql://127.0.0.1:1/ours", valkey="redis://127.0.0.1:1/0")

    assert found["DATABASE_URL"] == "postgresql://127.0.0.1:1/ours"
    assert not {"DATABASE_URL_FILE", "SECRET_KEY_FILE"} & found.keys()
    assert found["ENVIRONMENT"] == "demo"


def test_the_keys_are_made_once_and_are_the_owners_alone(place: Place) -> None:
    place.folder.mkdir()

    keys = demo_program.load_keys(place)

    assert demo_program.load_keys(place) == keys
    assert stat.S_IMODE((place.folder / "keys.json").stat().st_mode) == 0o600


# --- Real runs -------------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_everything_runs_until_a_signal_and_nothing_is_left(place: Place, project_root: Path) -> None:
    with started(place, project_root) as running:
        hosts = {host for _, host in demo_program._loopback()}
        web = {
            host: requests.get(f"http://{'[::1]' if host == '::1' else host}:{place.web_port}/", timeout=60)
            for host in hosts
        }
        phone = requests.get(f"{place.sandbox_url}/phone", timeout=60)
        second = run(place, project_root)
        running.process.send_signal(signal.SIGTERM)
        status = running.wait()
        left = living(place.folder)

    assert {response.status_code < 500 for response in web.values()} == {True}
    assert phone.status_code == 200
    assert second.returncode == 1
    assert second.stderr == f"The demo runs already (process {running.process.pid}). Stop it there with Ctrl-C.\n"
    assert (status, left) == (0, [])
    assert {line.split("|")[0].strip() for line in running.text().splitlines()} >= {"demo", "sandbox", "worker"}
    assert place.site_url in running.text()
    demo_program.check_ports(place)


@pytest.mark.processes
def test_what_a_killed_demo_left_is_ended_by_the_next_and_by_a_reset(place: Place, project_root: Path) -> None:
    with started(place, project_root) as killed:
        first = installed_at(place)
        killed.process.kill()
        killed.wait()
        orphans = living(place.folder)

        with started(place, project_root) as running:
            survivors = [process for process in orphans if process.is_running() and process.status() != "zombie"]
            text = running.text()
            refused = run(place, project_root, "--reset")
            kept = installed_at(place)
            database = place.database.resolve()
            running.process.kill()
            running.wait()
            done = run(place, project_root, "--reset")
            left = living(place.folder)

    assert len(orphans) >= len(PROGRAMS)
    assert survivors == []
    # A worker may start another process between the look and the end.
    assert (ended := re.match(r"Ended (\d+) processes of a demo that was killed: ", text)), text
    assert int(ended[1]) >= len(PROGRAMS)
    assert (refused.returncode, kept) == (1, first)
    assert (done.returncode, left) == (0, [])
    assert done.stdout.endswith(f"The demo's data in {place.folder} is gone; `make demo` makes it anew.\n")
    assert [path.name for path in place.folder.iterdir()] == ["lock"]
    assert not database.exists()
