"""Servers of our own: they speak, they are protected, and they end with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis

from tools import services
from tools.services import Service, ServiceError

STARTERS = {"valkey": services.start_valkey, "postgresql": services.start_postgresql}


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_ended(pid: int) -> None:
    deadline = time.monotonic() + 60
    while not has_ended(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


@pytest.mark.parametrize("name", STARTERS)
def test_a_stopped_server_leaves_no_process_and_no_folder(name: str) -> None:
    service: Service = STARTERS[name]()
    assert service.folder.is_dir()

    service.stop()
    service.stop()

    assert service.process.poll() == 0
    assert service.guard.poll() is not None
    assert not service.folder.exists()


@pytest.mark.parametrize("name", STARTERS)
def test_a_server_ends_with_a_killed_parent(name: str, project_root: Path) -> None:
    start = f"from tools.services import *; s = start_{name}(); print(s.process.pid, s.folder, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", start], cwd=project_root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert not has_ended(int(pid))

        parent.send_signal(signal.SIGKILL)

    wait_until_ended(int(pid))
    # Where nobody reaps orphans the guard waits 10 s for the zombie before it removes the folder.
    deadline = time.monotonic() + 60
    while Path(folder).exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_valkey_asks_for_its_password(valkey_url: str) -> None:
    port = int(valkey_url.rsplit(":", 1)[1].split("/")[0])
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_postgresql_asks_for_its_password_and_is_recent() -> None:
    service = services.start_postgresql()
    try:
        with psycopg.connect(service.url) as connection:
            version = connection.execute("SHOW server_version_num").fetchone()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(service.url.replace(":" + service.url.split(":")[2].split("@")[0], ":wrong"))
    finally:
        service.stop()

    assert version is not None
    assert int(version[0]) >= services.POSTGRESQL_MINIMUM * 10000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to leave behind")
def test_root_starts_postgresql_as_nobody_from_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = services._packaged_postgresql()
    assert original is not None
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    hidden = services._copied(original, private)
    monkeypatch.setattr(services, "_packaged_postgresql", lambda: hidden)

    service = services.start_postgresql()
    try:
        user = psutil.Process(service.process.pid).username()
        program = Path(psutil.Process(service.process.pid).exe())
    finally:
        service.stop()

    assert user == "nobody"
    assert program.is_relative_to(service.folder)
    assert private.stat().st_mode & 0o777 == 0o700


def test_the_systems_postgresql_serves_where_the_package_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    original = services._packaged_postgresql()
    assert original is not None
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        system = services._copied(original, Path(folder))
        monkeypatch.setattr(services, "_packaged_postgresql", lambda: None)
        monkeypatch.setattr(services, "_system_postgresqls", lambda: [Path("/nonexistent/bin"), system])

        service = services.start_postgresql()
        program = Path(psutil.Process(service.process.pid).exe())
        service.stop()

    assert program == system / "postgres"


def test_a_machine_without_postgresql_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_packaged_postgresql", lambda: None)
    monkeypatch.setattr(services, "_system_postgresqls", lambda: [Path("/nonexistent/bin")])

    with pytest.raises(ServiceError, match=r"^No PostgreSQL ≥ 14 runs here"):
        services.start_postgresql()


def test_a_server_that_does_not_start_shows_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "free_port", lambda: 70000)

    with pytest.raises(ServiceError, match=r"(?s)^Valkey did not start:.*port"):
        services.start_valkey()


@pytest.mark.parametrize("name", STARTERS)
def test_a_killed_server_comes_back_at_its_address_under_a_new_guard(name: str) -> None:
    service: Service = STARTERS[name]()
    try:
        first = service.process.pid
        service.kill()
        assert has_ended(first)
        assert not service.answers()

        service.restart()

        assert service.process.pid != first
        assert service.answers()
        assert service.guard.poll() is None
    finally:
        service.stop()
    assert not service.folder.exists()


def test_a_folder_that_holds_a_database_is_taken_again_and_what_was_broken_off_is_not() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "new").mkdir()
        (folder / "new" / "PG_VERSION").write_text("broken off")

        made = services.prepare_postgresql(folder)
        inode = (folder / "data").stat().st_ino
        taken = services.prepare_postgresql(folder)

        assert (folder / "data").stat().st_ino == inode
        assert not (folder / "new").exists()
        assert (folder / "password").stat().st_mode & 0o777 == 0o600
        assert (folder / "password").stat().st_uid == os.geteuid()
        assert urlsplit(made.url).password == urlsplit(taken.url).password == (folder / "password").read_text()
        assert urlsplit(made.url).port != urlsplit(taken.url).port


def test_data_of_another_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("13\n")

    with pytest.raises(ServiceError, match=r"was made by PostgreSQL 13; PostgreSQL \d+ does not read it"):
        services.prepare_postgresql(tmp_path)


def test_what_was_committed_outlives_a_killed_postgresql() -> None:
    service = services.start_postgresql(keeps_commits=True)
    try:
        with psycopg.connect(service.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
            service.kill()
        service.restart()
        with psycopg.connect(service.url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchall() == [(1,)]
    finally:
        service.stop()
