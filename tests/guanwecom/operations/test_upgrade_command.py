"""`manage.py upgrade`: the locks of pending migrations, and its refusals."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ModelState, ProjectState
from django.db.models.functions import Now
from django.test import override_settings
from django.utils import timezone
from pytest_django import Settings

from guanwecom.operations import upgrade
from guanwecom.operations.upgrade import BlockedUse, RowWork, TableLock
from guanwecom.version import VERSION
from integrations.core import installation
from integrations.core.heartbeats import write_heartbeat
from integrations.models import Heartbeat, Installation
from tests import postgresql_programs
from tests.nightly import IS_NIGHTLY
from tests.programs import run_program

pytestmark = pytest.mark.usefixtures("in_english")
TABLE = "shop_order"
TOO_OLD = "A database of version 0.9.0 cannot be upgraded: upgrades start from 1.1.0. Create a new database."


def state() -> ProjectState:
    fields: list[tuple[str, Any]] = [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=10)),
        ("note", models.CharField(max_length=10, null=True)),
        ("count", models.IntegerField(default=0)),
    ]
    shop = ProjectState()
    shop.add_model(ModelState("shop", "Order", fields, {"indexes": [models.Index(fields=["count"], name="count")]}))
    shop.add_model(ModelState("shop", "Shop", fields[:1]))
    return shop


OF_SHOP = ("shop_shop", BlockedUse.WRITING, RowWork.NONE)


def of_order(work: RowWork, blocks: BlockedUse = BlockedUse.EVERYTHING) -> tuple[str, BlockedUse, RowWork]:
    return (TABLE, blocks, work)


CASES: list[tuple[Operation, list[tuple[str, BlockedUse, RowWork]]]] = [
    (migrations.AddField("order", "a", models.CharField(max_length=10, db_default="")), [of_order(RowWork.NONE)]),
    (migrations.AddField("order", "a", models.DateTimeField(db_default=Now())), [of_order(RowWork.REWRITE)]),
    (migrations.AddField("order", "a", models.IntegerField(null=True, db_index=True)), [of_order(RowWork.INDEX)]),
    (migrations.AddField("order", "a", models.IntegerField(null=True, unique=True)), [of_order(RowWork.INDEX)]),
    (
        migrations.AddField("order", "a", models.ForeignKey("shop.Shop", models.CASCADE, null=True)),
        [OF_SHOP, of_order(RowWork.INDEX)],
    ),
    (
        migrations.AddField("order", "a", models.ManyToManyField("shop.Shop")),
        [of_order(RowWork.NONE, BlockedUse.WRITING), OF_SHOP],
    ),
    (migrations.AlterField("order", "name", models.CharField(max_length=20)), [of_order(RowWork.NONE)]),
    (migrations.AlterField("order", "count", models.BigIntegerField(default=0)), [of_order(RowWork.REWRITE)]),
    (migrations.AlterField("order", "note", models.CharField(max_length=10)), [of_order(RowWork.READ)]),
    (migrations.AlterField("order", "count", models.IntegerField(default=7, help_text="x")), []),
    (migrations.RemoveField("order", "note"), [of_order(RowWork.NONE)]),
    (migrations.RemoveIndex("order", "count"), [of_order(RowWork.NONE)]),
    (migrations.DeleteModel("order"), [of_order(RowWork.NONE)]),
    (
        migrations.AddIndex("order", models.Index(fields=["name"], name="i")),
        [of_order(RowWork.INDEX, BlockedUse.WRITING)],
    ),
    (
        migrations.AddConstraint("order", models.UniqueConstraint(fields=["name"], name="c")),
        [of_order(RowWork.INDEX)],
    ),
    (
        migrations.AddConstraint("order", models.CheckConstraint(condition=models.Q(count__gte=0), name="c")),
        [of_order(RowWork.READ)],
    ),
    (
        migrations.RunSQL('CREATE INDEX CONCURRENTLY "i" ON "shop_order" ("name")'),
        [of_order(RowWork.READ, BlockedUse.NOTHING)],
    ),
    (migrations.RunSQL('DROP INDEX CONCURRENTLY IF EXISTS "count"'), [of_order(RowWork.READ, BlockedUse.NOTHING)]),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("operation", "expected"), CASES, ids=lambda case: getattr(case, "describe", str)()[:60])
def test_what_an_operation_locks(operation: Operation, expected: list[tuple[str, BlockedUse, RowWork]]) -> None:
    before, after = state(), state()
    with connection.schema_editor() as editor:
        for model in before.apps.get_models():
            editor.create_model(model)
    operation.state_forwards("shop", after)

    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        operation.database_forwards("shop", editor, before, after)

    locks = upgrade.find_locks(editor.collected_sql)
    assert [(lock.table, lock.blocks, lock.work) for lock in locks] == expected


def test_how_long_follows_from_the_rows() -> None:
    assert TableLock(TABLE, BlockedUse.EVERYTHING, RowWork.REWRITE, 1_000_000, 0).seconds == 20
    assert TableLock(TABLE, BlockedUse.EVERYTHING, RowWork.NONE, 1_000_000, 0).seconds == 0


LATER = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("notifications", "{before}")]
    operations = [migrations.AddField("alertrule", "added_{number}", models.IntegerField(null=True))]
"""


@pytest.fixture
def later(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of two migrations of alert rules that the database lacks."""
    [(_, newest)] = MigrationLoader(connection).graph.leaf_nodes("notifications")
    names = ["9998_first", "9999_second"]
    folder = tmp_path / "later_migrations"
    shutil.copytree(Path(apps.get_app_config("notifications").path) / "migrations", folder)
    for number, (before, name) in enumerate(pairwise([newest, *names])):
        (folder / f"{name}.py").write_text(LATER.format(before=before, number=number))
    monkeypatch.syspath_prepend(tmp_path)
    settings.MIGRATION_MODULES = {"notifications": "later_migrations"}
    installation.load_installation()
    yield names
    if MigrationRecorder.Migration.objects.filter(name__in=names).exists():
        call_command("migrate", "notifications", newest, verbosity=0)


def check() -> str:
    out = StringIO()
    call_command("upgrade", check=True, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_pending_migrations_are_listed_with_what_they_lock_and_another_branch_is_refused(later: list[str]) -> None:
    lines = check().splitlines()

    assert lines[1:-1] == [
        line
        for number, name in enumerate(later)
        for line in (
            f"notifications.{name}:",
            f"  Add field added_{number} to alertrule",
            "  notifications_alertrule: blocks reading and writing for a moment (no row is touched)",
        )
    ]
    assert lines[-1] == "Note: No backup by guanwecom backup is known. Make one before you upgrade."
    Installation.objects.update(backed_up_at=timezone.now() - timedelta(days=3, minutes=1))
    assert "Note: The last backup by guanwecom backup is 3 days old." in check()
    Installation.objects.update(backed_up_at=timezone.now())
    assert "Note" not in check()

    MigrationRecorder(connection).record_applied("accounts", "0999_of_tomorrow")
    with pytest.raises(CommandError, match=r"does not know: accounts.0999_of_tomorrow"):
        check()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("former", "present", "refusals"),
    [
        ("1.1.0", "1.4.0", []),
        ("0.9.0", "1.1.0", [TOO_OLD]),
        ("", "1.1.0", [TOO_OLD]),
    ],
)
def test_a_database_from_before_the_first_tables_is_refused(former: str, present: str, refusals: list[str]) -> None:
    installation.load_installation()
    Installation.objects.update(version=former)

    with override_settings(VERSION=present):
        assert upgrade.make_plan().refusals == refusals


@pytest.mark.django_db
def test_the_former_version_runs_on_a_database_that_is_newer() -> None:
    installation.load_installation()
    assert check() == f"From {VERSION} to {VERSION}.\nNo migration is pending.\n"
    MigrationRecorder(connection).record_applied("accounts", "0999_of_tomorrow")
    out = StringIO()

    call_command("upgrade", no_static=True, stdout=out)

    assert (
        "Note: The database has migrations that this version does not know: accounts.0999_of_tomorrow."
        " It works with them; nothing is reverted.\n"
    ) in out.getvalue()


@pytest.mark.django_db
def test_it_migrates_and_says_what_to_restart() -> None:
    write_heartbeat(kind=Heartbeat.Kind.WORKER, name="host-a:7")
    write_heartbeat(kind=Heartbeat.Kind.WORKER, name="host-a:8")
    write_heartbeat(kind=Heartbeat.Kind.BEAT, name="host-b:1")
    installation.load_installation()
    Installation.objects.update(version=f"{VERSION}+g0b858e2")
    out = StringIO()

    call_command("upgrade", stdout=out)

    assert out.getvalue().startswith(f"From {VERSION}+g0b858e2 to {VERSION}.\n")
    assert out.getvalue().splitlines()[-2:] == ["  host-a: worker (2)", "  host-b: beat (1)"]
    assert Installation.objects.get().version == VERSION


@pytest.mark.django_db(transaction=True)
def test_a_table_that_others_use_all_the_time_is_waited_for_and_nothing_is_half_done(later: list[str]) -> None:
    said: list[str] = []
    where = {name: connection.settings_dict[name.upper()] for name in ("host", "port", "user", "password")}

    with psycopg.connect(dbname=connection.settings_dict["NAME"], **where) as other:
        other.execute("SELECT count(*) FROM notifications_alertrule")
        with pytest.raises(
            upgrade.TablesInUseError, match=r"^The tables of notifications\.9998_first are always in use\. "
        ):
            upgrade.apply_migrations(said.append, patience_seconds=0)
        other.execute("SELECT count(*) FROM notifications_alertrule")  # no deadlock has ended this transaction
    assert said == []
    upgrade.apply_migrations(said.append)

    assert said == [f"notifications.{name}: done" for name in later]
    assert upgrade.make_plan().steps == []


@pytest.mark.django_db
@pytest.mark.parametrize(("options", "is_collected"), [({}, True), ({"no_static": True}, False)])
def test_static_files_are_collected_in_production_unless_they_are_there(
    options: dict[str, bool], is_collected: bool, settings: Settings, tmp_path: Path
) -> None:
    settings.ENVIRONMENT, settings.STATIC_ROOT = "production", str(tmp_path / "static")
    installation.load_installation()

    call_command("upgrade", stdout=StringIO(), **options)

    assert (tmp_path / "static").exists() == is_collected


@pytest.fixture
def empty_url(process_environ: dict[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """A database without tables. The parameter is added to CREATE DATABASE."""
    options = getattr(request, "param", "")
    with postgresql_programs.other_database(process_environ["DATABASE_URL"], "empty", options) as url:
        yield url


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "empty_url", ["ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"], indirect=True
)
def test_a_database_that_cannot_keep_every_letter_is_refused(
    process_environ: dict[str, str], empty_url: str, project_root: Path
) -> None:
    env = {**process_environ, "DATABASE_URL": empty_url}

    done = run_program([sys.executable, "manage.py", "upgrade"], env=env, cwd=project_root)

    assert done.returncode == 1
    assert "encoding SQL_ASCII. Create one by createdb --encoding UTF8 --template template0." in done.stderr


@pytest.mark.skipif(not IS_NIGHTLY, reason="runs with `make nightly`")
@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_two_upgrades_of_an_empty_database_at_once_both_end_well(
    process_environ: dict[str, str], empty_url: str, project_root: Path
) -> None:
    env = {**process_environ, "DATABASE_URL": empty_url}
    command = [sys.executable, "manage.py", "upgrade"]
    both = [
        subprocess.Popen(command, env=env, cwd=project_root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]

    said = [process.communicate()[0].decode() for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert sum("create the tables" in text for text in said) == 1
