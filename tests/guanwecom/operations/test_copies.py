"""Copies of a PostgreSQL database, made in the ways in which people make them, and what is no copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection, transaction

from accounts.models import User, WeComAccount
from guanwecom.operations import installation as operation
from integrations.core import installation
from integrations.models import Corp
from notifications.models import Report, Run, Subscription
from tests import postgresql_programs
from tests.e2e.stack import Stack, wait_for_log
from tests.e2e.waiting import eventually
from tests.sandbox_process import AGENTID, CORPID, SECRET, company, start_sandbox
from tools import services
from tools.services import Service, start_postgresql, start_valkey

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
COPY_EXIT_CODE = 3


@pytest.fixture
def url(process_environ: dict[str, str]) -> str:
    """Of the original, whose row says where it lies."""
    assert not installation.is_copy()
    return process_environ["DATABASE_URL"]


@pytest.fixture
def copy_name(url: str) -> Iterator[str]:
    name = f"{urlsplit(url).path.lstrip('/')}_copy"
    yield name
    postgresql_programs.execute(_named(url, "postgres"), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _named(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _copy(url: str, name: str) -> None:
    """By the server itself, which copies only what nobody uses: programs of earlier tests may still hang up."""
    source = urlsplit(url).path.lstrip("/")
    postgresql_programs.execute(
        _named(url, "postgres"),
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{source}'",  # noqa: S608  # ours
        f'CREATE DATABASE "{name}" TEMPLATE "{source}"',
    )


def state(process_environ: dict[str, str], url: str, project_root: Path) -> int:
    """The exit code of `manage.py installation`."""
    command = [sys.executable, "manage.py", "installation"]
    env = {**process_environ, "DATABASE_URL": url}
    return subprocess.run(command, env=env, cwd=project_root, capture_output=True, check=False).returncode


def test_a_database_copied_on_the_same_server_is_a_copy(
    process_environ: dict[str, str], url: str, copy_name: str, project_root: Path
) -> None:
    connection.close()
    _copy(url, copy_name)

    assert state(process_environ, _named(url, copy_name), project_root) == COPY_EXIT_CODE
    assert state(process_environ, url, project_root) == 0


def test_a_plain_restore_into_the_same_database_makes_a_copy_of_it(url: str, tmp_path: Path) -> None:
    """Whoever goes back to yesterday's dump goes back to yesterday's queue, too."""
    table = "--table=integrations_installation"
    postgresql_programs.run("pg_dump", "-Fc", table, "-f", str(tmp_path / "dump"), url=url)

    postgresql_programs.run(
        "pg_restore", "--clean", "-d", urlsplit(url).path.lstrip("/"), str(tmp_path / "dump"), url=url
    )

    assert installation.is_copy()


def test_maintenance_of_the_database_makes_no_copy_of_it(url: str) -> None:
    postgresql_programs.execute(url, "VACUUM FULL integrations_installation", "REINDEX TABLE integrations_installation")

    assert not installation.is_copy()


def test_of_two_who_confirm_at_once_one_does_it(url: str) -> None:
    """What begins once the first has confirmed must not be ended by the second."""
    operation.hold()

    def confirm() -> int | None:
        try:
            return operation.confirm()
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        with transaction.atomic():
            assert operation.confirm() == 0
            second = threads.submit(confirm)
            eventually(lambda: _waits_for_a_lock(url))
        assert second.result() is None


def _waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(url) as other:
        waiting = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return waiting.fetchone() == (1,)


@pytest.fixture
def server() -> Iterator[Service]:
    """A server of its own, with the number of an original in its database."""
    service = start_postgresql(keeps_commits=True)
    yield service
    service.stop()


def test_a_standby_that_takes_over_is_no_copy(server: Service, tmp_path: Path) -> None:
    """Its system identifier and all numbers are those of the server that failed."""
    place = (
        "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()),"
        " (SELECT oid FROM pg_database WHERE datname = current_database()), 'integrations_installation'::regclass::oid)"
    )
    postgresql_programs.execute(server.url, "CREATE TABLE integrations_installation (id int)")
    with psycopg.connect(server.url) as original:
        before = original.execute(place).fetchone()
    folder = server.folder / "standby"
    postgresql_programs.run("pg_basebackup", "-D", str(folder), "-R", "-X", "stream", "-c", "fast", url=server.url)
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        for path in folder.rglob("*"):
            shutil.chown(path, "nobody")
    server.kill()
    port = services.free_port()
    log = (tmp_path / "log").open("wb")
    programs = services._postgresql_programs(server.folder / "again")
    command = [str(programs / "postgres"), "-D", str(folder), "-c", f"port={port}", "-c", "unix_socket_directories="]
    standby = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **services._unprivileged())
    url = urlsplit(server.url)._replace(netloc=f"postgres:{urlsplit(server.url).password}@127.0.0.1:{port}").geturl()
    try:
        eventually(lambda: services.postgresql_answers(url))
        postgresql_programs.execute(url, "SELECT pg_promote()")
        with psycopg.connect(url) as promoted:
            assert promoted.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
            assert promoted.execute(place).fetchone() == before
    finally:
        standby.terminate()
        standby.wait()
        log.close()


@pytest.mark.parametrize("has_own_valkey", [True, False])
def test_of_an_original_and_its_copy_only_the_original_sends(
    process_environ: dict[str, str],
    url: str,
    copy_name: str,
    project_root: Path,
    tmp_path: Path,
    has_own_valkey: bool,
) -> None:
    """Both run with a slot that is due, the copy with a Valkey of its own, or by mistake with the original's."""
    with ExitStack() as exits:
        sandbox = exits.enter_context(start_sandbox(seed={"companies": [company()]}))
        corp = Corp.objects.create(
            name="北山制造",
            corpid=CORPID,
            agentid=AGENTID,
            secret=SECRET,
            api_base_url=sandbox.base_url,
            is_enabled=True,
        )
        person = User.objects.create_user("lilei", name="李雷")
        WeComAccount.objects.create(user=person, corp=corp, userid="LiLei")
        report = Report.objects.create(title="日报", body="今天一切正常。")
        slot = datetime.now(UTC).replace(second=0, microsecond=0)
        daily = f"{slot.minute} {slot.hour} * * *"
        subscription = Subscription.objects.create(name="日报", report=report, crontab=daily, time_zone="UTC")
        subscription.users.add(person)
        Subscription.objects.filter(pk=subscription.pk).update(next_run_at=slot)
        connection.close()
        copy_url = _named(url, copy_name)
        _copy(url, copy_name)
        valkey = start_valkey()
        exits.callback(valkey.stop)
        of_copy = {**process_environ, "DATABASE_URL": copy_url}
        if has_own_valkey:
            of_copy["VALKEY_URL"] = valkey.url
        stacks = {}
        for name, env in (("copy", of_copy), ("original", process_environ)):
            folder = tmp_path / name
            folder.mkdir()
            stacks[name] = Stack(env=env, root=project_root, folder=folder, sandbox=sandbox)
            stacks[name].begin_worker(exits)
            stacks[name].begin_beat(exits)
            if name == "copy":
                for program in stacks[name].programs.values():
                    wait_for_log("this database is a copy (manage.py installation)", program)

        finished = Run.objects.filter(status=Run.Status.FINISHED)
        eventually(finished.exists, stacks["original"].programs.values())

        assert len(sandbox.messages(CORPID, "lilei")) == 1
        with psycopg.connect(copy_url) as copy:
            assert copy.execute("SELECT count(*) FROM notifications_run").fetchone() == (0,)
        assert [program.log.read_text().count("is a copy") for program in stacks["copy"].programs.values()] == [1, 1]
        if not has_own_valkey:  # whoever confirms gives it one before
            return
        env = stacks["copy"].env
        confirming = [sys.executable, "manage.py", "installation", "--confirm"]
        said = subprocess.run(confirming, env=env, cwd=project_root, capture_output=True, text=True, check=True).stdout
        assert said == "This is the real installation now. 0 runs that had waited were ended.\n"
        eventually(lambda: _has_ticked(copy_url), stacks["copy"].programs.values())
        assert len(sandbox.messages(CORPID, "lilei")) == 1


def _has_ticked(url: str) -> bool:
    with psycopg.connect(url) as copy:
        return bool(copy.execute("SELECT count(*) FROM notifications_tickclaim").fetchone() == (1,))
