"""In a copy of the database no task does anything. What could send looks each time, what draws now and then."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from guanwecom.operations import installation as operation
from integrations.core import installation
from notifications import tasks
from notifications.delivery.attachments import file_recipe
from notifications.models import Medium
from tests.notifications.charts.tables import DAYS
from tests.notifications.delivery.attachments.places import make_medium, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unknown(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_known", installation._Known())
    monkeypatch.setattr(installation, "KNOWN_SECONDS", 3600)
    installation.present()


def make_file() -> Medium:
    return make_medium(make_run(), kind=Medium.Kind.CSV, recipe=file_recipe([("x", DAYS)], language="zh-hans"))


def is_made(medium: Medium) -> bool:
    """By a worker."""
    tasks.make_medium.apply(([medium.pk],))
    return Medium.objects.get(pk=medium.pk).status == Medium.Status.READY


def test_drawing_tasks_ask_once_in_a_while() -> None:
    with CaptureQueriesContext(connection) as asked:
        assert is_made(make_file())
        assert is_made(make_file())

    assert sum('FROM "integrations_installation"' in query["sql"] for query in asked) == 1


def test_what_could_send_asks_before_each_task() -> None:
    with CaptureQueriesContext(connection) as asked:
        tasks.prepare_deliveries.apply(([],))
        tasks.prepare_deliveries.apply(([],))

    assert sum('FROM "integrations_installation"' in query["sql"] for query in asked) == 2


def test_in_a_copy_nothing_is_drawn() -> None:
    operation.hold()

    assert not is_made(make_file())
