"""Of two PostgreSQLs the primary is killed while messages go out, and its standby is promoted."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from notifications.models import Attempt
from tests.crowd import arrived_by_person
from tests.databases import used
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.notifications.delivery.many_people import (
    MESSAGES,
    ONE_EACH,
    all_accepted,
    ask_for_personal_messages,
    stack_of_many,
)
from tests.postgresql_programs import execute, programs
from tools.services import Service, free_port, start_postgresql

pytestmark = [nightly, pytest.mark.processes, pytest.mark.postgresql]


def begin_standby(exits: ExitStack, primary: Service) -> str:
    """A copy of `primary` that follows it and that each commit waits for; its address."""
    where = urlsplit(primary.url)
    folder = Path(tempfile.mkdtemp(prefix="guanwecom-standby-"))
    exits.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o711)
    data, port = folder / "data", free_port()
    copy = [str(programs() / "pg_basebackup"), "-D", str(data), "-h", "127.0.0.1", "-p", str(where.port)]
    env = {**os.environ, "PGPASSWORD": str(where.password)}
    subprocess.run([*copy, "-U", "postgres", "-X", "stream", "-R", "-c", "fast"], env=env, check=True)
    with (data / "postgresql.auto.conf").open("a") as settings:
        known = f"host=127.0.0.1 port={where.port} user=postgres password={where.password}"
        settings.write(f"primary_conninfo = '{known}'\n")
    return _started(exits, primary, data, port)


def _started(exits: ExitStack, primary: Service, data: Path, port: int) -> str:
    """With the primary's own program, as its own user."""
    begin = cast("partial[subprocess.Popen[bytes]]", primary.begin)
    command: list[str] = begin.args[0]
    options = [f"port={port}" if word.startswith("port=") else word for word in command]
    options[options.index("-D") + 1] = str(data)
    unprivileged = begin.keywords
    if "user" in unprivileged:
        for path in (data, *data.rglob("*")):
            os.chown(path, unprivileged["user"], unprivileged["group"])
    log = exits.enter_context((data.parent / "log").open("wb"))
    process = subprocess.Popen(options, stdout=log, stderr=log, cwd="/", **unprivileged)
    exits.callback(process.wait)
    exits.callback(process.kill)
    return f"postgresql://postgres:{urlsplit(primary.url).password}@127.0.0.1:{port}/postgres"


def says(url: str, question: str) -> object:
    """The first value of the answer; None while nobody answers."""
    try:
        with psycopg.connect(url, autocommit=True) as asked:
            row = asked.execute(question.encode()).fetchone()
            return row[0] if row else None
    except psycopg.OperationalError:
        return None


def test_a_failover_loses_and_doubles_no_message(
    project_root: Path, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    with ExitStack() as exits:
        primary = start_postgresql(keeps_commits=True)
        exits.callback(primary.stop)
        standby = begin_standby(exits, primary)
        eventually(lambda: says(primary.url, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))
        execute(primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        ports = [urlsplit(each).port for each in (standby, primary.url)]
        password = urlsplit(primary.url).password
        # The standby comes first: it is passed over until it takes writes.
        url = f"postgresql://postgres:{password}@127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/postgres"
        exits.enter_context(django_db_blocker.unblock())
        exits.enter_context(used(url))
        call_command("migrate", verbosity=0)
        env = {**os.environ, "DATABASE_URL": url, "SEND_PARALLEL_PER_TASK": "2", "PYTHONUNBUFFERED": "1"}
        stack = exits.enter_context(stack_of_many(env=env, root=project_root, folder=tmp_path))
        stack.sandbox.fault("slow", "message/send", seconds=0.5, count=None)
        worker, beat = stack.start_worker(exits), stack.start_beat(exits)
        ask_for_personal_messages()
        eventually(lambda: Attempt.objects.count() > 5, stack.programs.values())

        primary.kill()
        execute(standby, "SELECT pg_promote()")
        connection.close()
        tried = Attempt.objects.count()
        stack.sandbox.control("DELETE", "faults")
        eventually(all_accepted, stack.programs.values(), seconds=240)

        assert tried < MESSAGES
        assert [worker.process.poll(), beat.process.poll()] == [None, None]
        assert arrived_by_person(stack) == ONE_EACH
