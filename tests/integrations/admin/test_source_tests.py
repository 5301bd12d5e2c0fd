"""A data source's test right after saving, and its result in words."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations.datasources import source_tests
from integrations.models import DataSource, Job
from tests.integrations.admin.test_source_admin import SOURCE
from tests.integrations.clients.sources.databases import SECRET, Database
from tests.integrations.clients.sources.place import make_source
from tests.integrations.clients.sources.web import says, web_service
from tests.jobs import do_jobs

pytestmark = pytest.mark.django_db


def read_state(client: Client, source: DataSource) -> str:
    state = client.get(reverse("admin:integrations_datasource_state", args=[source.pk])).json()
    return f"{state['is_unfinished']} {state['html']}"


def test_a_database_is_tried_when_it_is_saved_and_again_at_a_click(chinese_root: Client, postgresql: Database) -> None:
    sent = {**SOURCE, "new_sql_url": postgresql.url, "allows_private_addresses": "on"}
    answer = chinese_root.post(reverse("admin:integrations_datasource_add"), sent)
    source = DataSource.objects.get()
    page = reverse("admin:integrations_datasource_change", args=[source.pk])
    assert answer["Location"] == f"{page}#test"
    assert "True" in read_state(chinese_root, source)
    assert "正在测试连接" in read_state(chinese_root, source)

    do_jobs()
    assert "False" in read_state(chinese_root, source)
    new_card = f"{reverse('admin:integrations_card_add')}?source={source.pk}"
    assert all("毫秒内得到响应" in chinese_root.get(one).content.decode() for one in (page, new_card))

    DataSource.objects.update(sql_url=postgresql.url.replace(SECRET, "wrong"))
    answer = chinese_root.post(
        reverse("admin:integrations_datasource_test", args=[source.pk]), {"next": "//evil.example.com"}
    )
    assert answer["Location"] == f"{page}#test"
    do_jobs()
    assert 'class="problem" role="alert"' in read_state(chinese_root, source)


@pytest.mark.parametrize(("status", "tone"), [("200 OK", "pill-good"), ("404 No", "pill-good"), ("401 No", "problem")])
def test_a_web_service_answers_or_says_why_not(chinese_root: Client, settings: Any, status: str, tone: str) -> None:
    settings.DATA_ALLOW_LOOPBACK = True
    with web_service(says(b"{}", status=status)) as service:
        source = make_source(kind="json", http_url=service.url, allows_private_addresses=True)
        source_tests.request_source_test(source, by=None, now=timezone.now())
        do_jobs()
    assert tone in read_state(chinese_root, source)


def test_a_test_is_shown_for_an_hour_and_names_a_source_that_was_deleted_meanwhile(chinese_root: Client) -> None:
    source = make_source(kind="json", http_url="https://api.example.com")
    job = source_tests.request_source_test(source, by=None, now=timezone.now())
    Job.objects.update(requested_at=timezone.now() - source_tests.SHOWN_FOR)
    assert "尚未测试" in read_state(chinese_root, source)

    source.delete()
    do_jobs()

    assert "数据源已删除" in chinese_root.get(reverse("admin:integrations_job_change", args=[job.pk])).text
