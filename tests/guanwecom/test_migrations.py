"""A new database gets all tables at once; one that has some of the migrations gets the others one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import DjangoDbBlocker

from tests.databases import copy, drop, use
from tests.nightly import nightly

# What makes an app's tables at once, and the migrations that a database lacks which has only the first ones.
SQUASHED = [
    (
        "accounts",
        "0001_squashed_0002_unsent_audit",
        [
            *("0002_unsent_audit", "0003_append_only_audit", "0004_audit_is_never_truncated"),
            *(
                "0005_primary_accounts_that_receive",
                "0006_attribute_values_folded_as_data",
                "0007_link_requests_unused",
            ),
        ],
    ),
    (
        "notifications",
        "0001_squashed_0005_contacts_of_operators",
        [
            *("0004_broken_alert_rules", "0005_contacts_of_operators", "0006_queues_in_order", "0007_drop_queue_index"),
            *("0008_fresh_statistics", "0009_longer_titles", "0010_receipt_details", "0011_alert_rule_watched"),
            *("0012_workday_calendar", "0013_successors", "0014_pages_of_mails", "0015_one_door_for_alerts"),
        ],
    ),
]


def planned() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [migration.name for migration, _is_backwards in plan]


def forget(app: str, *names: str) -> None:
    rows = MigrationRecorder(connection).migration_qs.filter(app=app, name__in=names)
    assert rows.delete()[0] == len(names)


@pytest.mark.django_db
@pytest.mark.parametrize(("app", "squashed", "later"), SQUASHED)
class TestAnOlderDatabase:
    def test_with_all_of_them_gets_nothing(self, app: str, squashed: str, later: list[str]) -> None:
        forget(app, squashed)

        assert planned() == []

    def test_with_some_of_them_gets_the_others(self, app: str, squashed: str, later: list[str]) -> None:
        forget(app, squashed, *later)

        assert planned() == later


@pytest.mark.django_db
def test_messages_are_counted_anew_when_a_hundredth_have_changed() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'notifications_delivery'")
        [(options,)] = cursor.fetchall()

    assert set(options) == {"autovacuum_analyze_scale_factor=0.01", "autovacuum_analyze_threshold=1000"}


def schema() -> dict[str, Any]:
    """What each of their tables has, by its name."""
    found = {}
    with connection.cursor() as cursor:
        ask = connection.introspection
        for table in ask.table_names(cursor):
            if table.startswith(("accounts_", "notifications_")):
                columns = sorted(ask.get_table_description(cursor, table), key=lambda column: column.name)
                found[table] = (columns, ask.get_constraints(cursor, table))
    return found


@pytest.fixture
def empty_database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        ours = connection.settings_dict["NAME"]
        other = f"{ours}_older"
        copy(None, other)
        use(other)
        yield
        use(ours)
        drop(other)


@nightly
def test_both_have_the_same_tables(empty_database: None) -> None:
    executor = MigrationExecutor(connection)
    executor.loader.replace_migrations = False  # type: ignore[attr-defined]  # the stubs misspell it
    executor.loader.build_graph()
    executor.migrate([("notifications", "0003_page_pictures")])
    call_command("migrate", verbosity=0)
    upgraded = schema()
    connection.close()
    copy(None, connection.settings_dict["NAME"])

    call_command("migrate", verbosity=0)

    assert schema() == upgraded
    assert upgraded.keys() >= {"accounts_user", "notifications_operatorcontacts"}
