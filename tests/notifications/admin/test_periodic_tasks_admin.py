"""Beat's periodic tasks: only superusers switch one on or off, and nobody changes anything else."""

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from tests.browser_form import read_unchanged_form
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import make_manager, make_superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def task() -> PeriodicTask:
    PeriodicTask.objects.all().delete()
    every = IntervalSchedule.objects.create(every=2, period="seconds")
    return PeriodicTask.objects.create(
        name="notifications.tick", task="notifications.tick", interval=every, enabled=False
    )


def page_of(task: PeriodicTask) -> str:
    return reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])


def test_pages_name_a_task_by_what_it_does(task: PeriodicTask) -> None:
    admin = client_of(make_superuser())

    pages = [
        admin.get(url).text for url in (page_of(task), reverse("admin:django_celery_beat_periodictask_changelist"))
    ]

    assert all("发送推送、检查预警" in page and "notifications.tick" not in page for page in pages)
    assert '<span class="pill pill-quiet">已停用</span>' in pages[1]


def test_superusers_alone_switch_one_on_and_change_nothing_else(task: PeriodicTask) -> None:
    before = PeriodicTasks.last_change()
    admin = client_of(make_superuser())
    person = make_manager()  # whatever permissions they have
    person.user_permissions.add(*Permission.objects.filter(content_type__app_label="django_celery_beat"))
    assert client_of(person).post(page_of(task), {"enabled": "on"}).status_code == 403
    opened = read_unchanged_form(admin, page_of(task))
    form = {**opened, "enabled": "on", "name": "other", "task": "other", "last_run_at_0": "2026-01-01"}

    answer = admin.post(page_of(task), form)

    assert answer.status_code == 302
    task.refresh_from_db()
    assert (task.enabled, task.last_run_at) == (True, None)
    assert (task.name, task.task) == ("notifications.tick", "notifications.tick")
    assert PeriodicTasks.last_change() != before
