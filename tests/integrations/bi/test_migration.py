"""The step from the release before: companies are kept, begin at home, and no BI is connected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE, AFTER = ("integrations", "0006_event_work"), ("integrations", "0007_bi_connection")


@pytest.fixture(autouse=True)
def _all_again() -> Iterator[None]:
    yield
    call_command("migrate", verbosity=0)


def test_companies_are_kept_and_begin_at_home() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([BEFORE])
    old = executor.loader.project_state([BEFORE]).apps.get_model("integrations", "Corp")
    corp = old.objects.create(name="北山制造", corpid="ww0123456789abcdef", agentid=1, secret="s", domain_id="d1")

    executor = MigrationExecutor(connection)
    executor.migrate([AFTER])
    apps = executor.loader.project_state([AFTER]).apps
    kept = apps.get_model("integrations", "Corp").objects.get(pk=corp.pk)

    assert (kept.name, kept.secret, kept.domain_id) == ("北山制造", "s", "d1")
    assert (kept.home_page, kept.home_bi_page, kept.bi_sign_in_enabled) == ("ours", "", True)
    assert not apps.get_model("integrations", "BiConnection").objects.exists()
