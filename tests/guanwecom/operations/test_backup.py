"""Backups with real servers: what the file holds, what a restore does and what it refuses."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.management import CommandError, call_command

from guanwecom.version import VERSION
from integrations.core.heartbeats import write_heartbeat
from integrations.models import Corp, Heartbeat, Installation
from tests import postgresql_programs
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.notifications.factories import make_corp, make_subscription
from tests.programs import run_program
from tools.services import start_postgresql

OLD_KEY = Fernet.generate_key().decode()
pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("in_english"),
]


@pytest.fixture
def empty_url() -> Iterator[str]:
    """A database on another server."""
    service = start_postgresql()
    postgresql_programs.execute(service.url, "CREATE DATABASE restored")
    yield urlsplit(service.url)._replace(path="/restored").geturl()
    service.stop()


class Machine:
    """`manage.py` with the environment of one machine."""

    def __init__(self, env: dict[str, str], root: Path) -> None:
        self.env, self.root = env, root

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run_program([sys.executable, "manage.py", *arguments], env={**self.env, **variables}, cwd=self.root)


@pytest.fixture
def machine(process_environ: dict[str, str], project_root: Path) -> Machine:
    return Machine(process_environ, project_root)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A backup of a company and a push; the settings' key encrypts the Secret."""
    make_corp(name="北山制造", secret="the Secret of the company")
    make_subscription(name="日报")
    path = tmp_path / "monday.backup"
    call_command("backup", str(path), programs=str(postgresql_programs.find_programs()))
    return path


def options() -> tuple[str, str]:
    return "--programs", str(postgresql_programs.find_programs())


@nightly
def test_it_is_restored_into_another_server_and_is_a_copy_there(
    machine: Machine, file: Path, empty_url: str, tmp_path: Path
) -> None:
    checked = machine("restore", str(file), "--check", DATABASE_URL=empty_url)
    assert (checked.returncode, "can be restored" in checked.stdout) == (0, True), checked.stderr
    damaged = tmp_path / "damaged"
    damaged.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert machine("restore", str(damaged), *options(), DATABASE_URL=empty_url).returncode == 1
    with psycopg.connect(empty_url) as empty:
        assert empty.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)

    done = machine("restore", str(file), *options(), DATABASE_URL=empty_url)

    assert done.returncode == 0, done.stderr
    assert "It is a copy: nothing is sent from it." in done.stdout
    with psycopg.connect(empty_url) as restored:
        assert restored.execute("SELECT name FROM integrations_corp").fetchall() == [("北山制造",)]
        assert restored.execute("SELECT name FROM notifications_subscription").fetchall() == [("日报",)]
    assert machine("installation", DATABASE_URL=empty_url).returncode == 3
    assert machine("reencrypt_secrets", "--check", DATABASE_URL=empty_url).returncode == 0
    assert Installation.objects.get().backed_up_at is not None
    assert not Installation.objects.get().is_held
    # Without the right keys it names what is lost, before it changes anything.
    elsewhere = {"DATABASE_URL": empty_url, "FIELD_ENCRYPTION_KEYS": OLD_KEY}
    refused = machine("restore", str(file), "--replace", *options(), **elsewhere)
    assert refused.returncode == 1
    assert "FIELD_ENCRYPTION_KEYS lacks keys of this backup" in refused.stderr
    done = machine("restore", str(file), "--replace", "--without-keys", *options(), **elsewhere)
    assert done.returncode == 0, done.stderr
    assert "Enter the secrets again that only the key " in done.stdout


@nightly
def test_a_plain_restore_elsewhere_is_a_copy_too(machine: Machine, file: Path, empty_url: str, tmp_path: Path) -> None:
    dump = tmp_path / "database.dump"
    dump.write_bytes(file.read_bytes().partition(b"\n")[2])

    postgresql_programs.run("pg_restore", "--no-owner", "-d", "restored", str(dump), url=empty_url)

    assert machine("installation", DATABASE_URL=empty_url).returncode == 3


def test_the_file_is_whole_private_and_without_keys(file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.read_bytes()
    line, _end, dump = content.partition(b"\n")
    assert dump.startswith(b"PGDMP")
    assert f'"version": "{VERSION}"' in line.decode()
    assert '"accounts.0001_initial"' in line.decode()
    for secret in (*settings.FIELD_ENCRYPTION_KEYS, settings.SECRET_KEY, "the Secret of the company"):
        assert secret.encode() not in content
    with pytest.raises(CommandError, match="exists already"):
        call_command("backup", str(file))


@nightly
def test_no_program_gets_the_password_or_a_key_by_argument_or_variable(
    machine: Machine, file: Path, empty_url: str, tmp_path: Path
) -> None:
    folder, seen = tmp_path / "programs", tmp_path / "seen"
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        script = folder / name
        real = postgresql_programs.find_programs() / name
        script.write_text(f'#!/bin/sh\n(env; echo "$@") >> {seen}\nexec {real} "$@"\n')
        script.chmod(0o700)

    backup = machine("backup", str(tmp_path / "b"), "--programs", str(folder))
    restore = machine("restore", str(file), "--programs", str(folder), DATABASE_URL=empty_url)

    assert (backup.returncode, restore.returncode) == (0, 0)
    said = seen.read_text() + backup.stdout + backup.stderr + restore.stdout + restore.stderr
    assert "--single-transaction" in said
    passwords = {unquote(urlsplit(url).password or "") for url in (machine.env["DATABASE_URL"], empty_url)}
    for secret in (*passwords, *settings.FIELD_ENCRYPTION_KEYS, settings.SECRET_KEY):
        assert secret
        assert secret not in said


@nightly
def test_a_database_that_is_not_empty_is_replaced_only_on_request_and_without_running_processes(
    machine: Machine, file: Path
) -> None:
    Corp.objects.update(name="since then")
    refused = machine("restore", str(file), *options())
    assert refused.returncode == 1
    assert "The database is not empty" in refused.stderr
    write_heartbeat(kind=Heartbeat.Kind.WORKER, name="host:7")
    running = machine("restore", str(file), "--replace", *options())
    assert running.returncode == 1
    assert "these still run: worker host:7" in running.stderr
    assert Corp.objects.get().name == "since then"

    Heartbeat.objects.all().delete()
    done = machine("restore", str(file), "--replace", *options())

    assert done.returncode == 0, done.stderr
    assert Corp.objects.get().name == "北山制造"
    assert Installation.objects.get().is_held


@nightly
def test_what_fails_leaves_the_database_as_it_was(machine: Machine, file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "pg_dump").write_text("")
    (folder / "pg_restore").write_text("#!/bin/sh\ncat > /dev/null\necho 'error: no' >&2\nexit 1\n")
    (folder / "pg_restore").chmod(0o700)

    done = machine("restore", str(file), "--replace", "--programs", str(folder))

    assert done.returncode == 1
    assert "pg_restore failed (exit code 1):\nerror: no" in done.stderr
    assert Corp.objects.get().name == "北山制造"


def test_what_is_broken_off_leaves_the_database_as_it_was(machine: Machine, file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "pg_dump").write_text("")
    (folder / "pg_restore").write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nexec sleep 600\n")
    (folder / "pg_restore").chmod(0o700)
    command = [sys.executable, "manage.py", "restore", str(file), "--replace", "--programs", str(folder)]

    with (
        open(tmp_path / "said", "wb") as said,
        subprocess.Popen(command, env=machine.env, cwd=machine.root, stderr=said) as restore,
    ):
        eventually(lambda: (tmp_path / "begun").exists() or restore.poll() is not None)
        assert restore.poll() is None, (tmp_path / "said").read_text()
        restore.send_signal(signal.SIGTERM)  # not SIGINT, which programs in a shell's background ignore

    assert restore.returncode != 0
    assert Corp.objects.get().name == "北山制造"


def test_a_file_that_is_no_backup_or_of_a_newer_version_is_refused(file: Path, tmp_path: Path) -> None:
    other, newer = tmp_path / "other", tmp_path / "newer"
    other.write_text("no backup")
    newer.write_bytes(file.read_bytes().replace(b'"accounts.0001_initial"', b'"accounts.0999_of_tomorrow"', 1))

    for path, words in (
        *((other, "is no backup of guanwecom"), (tmp_path / "x", "No such")),
        (newer, "which is newer: .*0999_of_tomorrow"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("restore", str(path))


def test_what_pg_dump_complains_of_is_said_and_no_file_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (folder / name).write_text("#!/bin/sh\necho 'error: server version mismatch' >&2\nexit 1\n")
        (folder / name).chmod(0o700)

    with pytest.raises(CommandError, match="pg_dump failed .*\nerror: server version mismatch"):
        call_command("backup", str(tmp_path / "b"), programs=str(folder))
    with pytest.raises(CommandError, match="There is no pg_dump in"):
        call_command("backup", str(tmp_path / "b"), programs=str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["programs"]
