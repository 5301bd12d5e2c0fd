"""Beat's periodic tasks: superusers switch one on or off; nobody changes anything else."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from accounts.models import User
from tests.browser_form import untouched
from tests.notifications.factories import make_manager, make_superuser

pytestmark = pytest.mark.django_db
LIST = "admin:django_celery_beat_periodictask_changelist"


@pytest.fixture
def task() -> PeriodicTask:
    PeriodicTask.objects.all().delete()
    every = IntervalSchedule.objects.create(every=2, period="seconds")
    return PeriodicTask.objects.create(
        name="notifications.tick", task="notifications.tick", interval=every, enabled=False
    )


def page_of(task: PeriodicTask) -> str:
    return reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])


def signed_in(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def test_a_superuser_switches_one_on_and_changes_nothing_else(client: Client, task: PeriodicTask) -> None:
    before = PeriodicTasks.last_change()
    admin = signed_in(client, make_superuser())
    opened = untouched(admin.get(page_of(task)).content.decode(), "periodictask_form")
    form = {
        **opened,
        "enabled": "on",
        "name": "other",
        "task": "other",
        "last_run_at_0": "2026-01-01",
        "last_run_at_1": "00:00",
    }

    answer = admin.post(page_of(task), form)

    assert answer.status_code == 302
    task.refresh_from_db()
    assert (task.enabled, task.name, task.task, task.last_run_at) == (
        True,
        "notifications.tick",
        "notifications.tick",
        None,
    )
    assert PeriodicTasks.last_change() != before


def test_others_are_refused(client: Client, task: PeriodicTask) -> None:
    """Whatever permissions they have."""
    person = make_manager()
    person.user_permissions.add(*Permission.objects.filter(content_type__app_label="django_celery_beat"))
    pages = signed_in(client, person)

    assert [pages.get(reverse(LIST)).status_code, pages.get(page_of(task)).status_code] == [403, 403]
    assert pages.post(page_of(task), {"enabled": "on"}).status_code == 403
    task.refresh_from_db()
    assert not task.enabled
