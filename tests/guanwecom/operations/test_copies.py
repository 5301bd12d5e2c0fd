"""Copies of a PostgreSQL database, made in the usual ways, and changes that make no copy."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection, transaction

from guanwecom.operations import installation as operation
from integrations.core import installation
from integrations.models import Corp
from notifications.models import Run, Subscription
from tests import postgresql_programs
from tests.e2e.stack import Stack, wait_for_log
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.notifications.factories import make_person, make_subscription
from tests.programs import run_program
from tests.sandbox_process import AGENTID, CORPID, SECRET, company, start_sandbox

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def url(process_environ: dict[str, str]) -> str:
    """The address of the original, whose row says where it is."""
    assert not installation.is_copy()
    return process_environ["DATABASE_URL"]


def test_a_plain_restore_into_the_same_database_makes_a_copy_of_it(url: str, tmp_path: Path) -> None:
    """Count yesterday's dump as a copy, because it also brings back yesterday's queue."""
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
    """Keep what begins after the first confirmation: the second must not end it."""
    operation.mark_as_copy()

    def confirm() -> int | None:
        try:
            return operation.mark_as_installation()
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        with transaction.atomic():
            assert operation.mark_as_installation() == 0
            second = threads.submit(confirm)
            eventually(lambda: _waits_for_a_lock(url))
        assert second.result() is None


def _waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(url) as other:
        waiting = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return waiting.fetchone() == (1,)


@nightly
def test_of_an_original_and_its_copy_only_the_original_sends(
    process_environ: dict[str, str], url: str, project_root: Path, tmp_path: Path
) -> None:
    """Run both with a due slot, the copy by mistake with the original's Valkey. Then the copy takes over."""
    with start_sandbox(seed={"companies": [company()]}) as sandbox, ExitStack() as exits:
        joined = {"corpid": CORPID, "agentid": AGENTID, "secret": SECRET, "is_enabled": True}
        corp = Corp.objects.create(name="北山制造", api_base_url=sandbox.base_url, **joined)
        slot = datetime.now(UTC).replace(second=0, microsecond=0)
        person = make_person(corp, "LiLei")
        subscription = make_subscription(person, crontab=f"{slot.minute} {slot.hour} * * *", time_zone="UTC")
        Subscription.objects.filter(pk=subscription.pk).update(next_run_at=slot)
        connection.close()
        # Nobody may use the original while it is copied, but programs of earlier tests may still hang up.
        server, source = urlsplit(url)._replace(path="/postgres").geturl(), urlsplit(url).path.lstrip("/")
        end = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{source}'"  # noqa: S608  # ours
        postgresql_programs.execute(server, end)
        made = postgresql_programs.other_database(url, "copy", f'TEMPLATE "{source}"')
        copy_url = exits.enter_context(made)
        stacks = {}
        for name, database in (("copy", copy_url), ("original", url)):
            folder = tmp_path / name
            folder.mkdir()
            env = {**process_environ, "DATABASE_URL": database}
            stacks[name] = Stack(env=env, root=project_root, folder=folder, sandbox=sandbox)
            stacks[name].begin_worker(exits)
            stacks[name].begin_beat(exits)
            if name == "copy":
                for program in stacks[name].programs.values():
                    wait_for_log("this database is a copy (manage.py installation)", program)
        copies, originals = (stacks[name].programs.values() for name in ("copy", "original"))

        eventually(Run.objects.filter(status=Run.Status.FINISHED).exists, originals)

        assert len(sandbox.messages(CORPID, "lilei")) == 1
        with psycopg.connect(copy_url) as copy:
            assert copy.execute("SELECT count(*) FROM notifications_run").fetchone() == (0,)
        assert [program.log.read_text().count("is a copy") for program in copies] == [1, 1]
        for program in originals:
            program.stop()
        command = [sys.executable, "manage.py", "installation", "--confirm"]
        done = run_program(command, env=stacks["copy"].env, cwd=project_root)
        assert done.stdout == "This is the real installation now. 0 runs that had waited were ended.\n"
        with psycopg.connect(copy_url, autocommit=True) as copy:
            ticks = "SELECT tick_period > 0 FROM integrations_installation"
            eventually(lambda: copy.execute(ticks).fetchone() == (True,), copies)
        assert len(sandbox.messages(CORPID, "lilei")) == 1
