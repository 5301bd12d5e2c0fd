"""Servers of our own: they answer, are protected, and end with the process that started them."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis

from tests.e2e.waiting import eventually
from tools import services
from tools.services import Service, ServiceError

STARTERS = {"valkey": services.start_valkey, "postgresql": services.start_postgresql}


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("name", STARTERS)
def test_a_killed_server_comes_back_under_a_new_guard_and_a_stopped_one_leaves_nothing(name: str) -> None:
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

    eventually(lambda: has_ended(int(pid)))
    # Without a process that reaps orphans, the guard waits 10 s for the zombie before it removes the folder.
    eventually(lambda: not Path(folder).exists())


def test_servers_ask_for_their_password_and_postgresql_keeps_what_was_committed(valkey_url: str) -> None:
    port = int(valkey_url.rsplit(":", 1)[1].split("/")[0])
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    service = services.start_postgresql(keeps_commits=True)
    password = urlsplit(service.url).password
    try:
        with psycopg.connect(service.url, autocommit=True) as connection:
            version = connection.execute("SHOW server_version_num").fetchone()
            connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
            service.kill()
        service.restart()
        with psycopg.connect(service.url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchall() == [(1,)]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(service.url.replace(f":{password}@", ":wrong@"))
    finally:
        service.stop()

    assert version is not None
    assert int(version[0]) >= services.POSTGRESQL_MINIMUM * 10000


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
        (folder / "data" / "PG_VERSION").write_text("13\n")
        with pytest.raises(ServiceError, match=r"was made by PostgreSQL 13; PostgreSQL \d+ does not read it"):
            services.prepare_postgresql(folder)
