"""The page of a job: its progress, its result, and a button to retry for those who may."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.core import heartbeats
from integrations.datasources import source_tests
from integrations.jobs.registry import BROKEN, LONG_WAIT, LOST, explain_wait
from integrations.models import Corp, DataSource, Heartbeat, Job
from tests.integrations.conftest import client_of, staff

pytestmark = pytest.mark.django_db
CHANGE = "change_datasource"


def make_job(**columns: Any) -> Job:
    now = timezone.now()
    return Job.objects.create(**{"kind": source_tests.SOURCE_TEST, "requested_at": now, "due_at": now, **columns})


def page_of(client: Client, job: Job) -> str:
    return client.get(reverse("admin:integrations_job_change", args=[job.pk])).text


def state_of(client: Client, job: Job) -> dict[str, Any]:
    state: dict[str, Any] = client.get(reverse("admin:integrations_job_state", args=[job.pk])).json()
    return state


def retry(client: Client, job: Job) -> int:
    return client.post(reverse("admin:integrations_job_retry", args=[job.pk])).status_code


def listed(client: Client) -> set[int]:
    return {job.pk for job in client.get(reverse("admin:integrations_job_changelist")).context["cl"].result_list}


def test_a_job_is_seen_by_who_asked_and_by_who_sees_its_kind_and_company(corp: Corp, other_corp: Corp) -> None:
    asker, keeper = staff("asker", corp), staff("keeper", corp, permissions=(CHANGE,))
    all_seer = staff("all", permissions=(CHANGE,))
    User.objects.filter(pk=all_seer.pk).update(manages_all_corps=True)
    own, theirs, elsewhere, nobodys = (
        make_job(asked_by_id=asker.pk),
        make_job(corp=corp),
        make_job(corp=other_corp),
        make_job(),
    )
    unknown = make_job(kind="unknown", corp=corp)

    assert listed(client_of(asker)) == {own.pk}
    assert listed(client_of(keeper)) == {theirs.pk}
    assert listed(client_of(all_seer)) == {own.pk, theirs.pk, elsewhere.pk, nobodys.pk}
    assert unknown.pk not in listed(client_of(all_seer))


def test_who_asked_without_the_right_sees_the_failure_and_cannot_retry(corp: Corp) -> None:
    asker, keeper = staff("asker", corp), staff("keeper", corp, permissions=(CHANGE,))
    job = make_job(corp=corp, asked_by_id=asker.pk, status="failed", problem=LOST, finished_at=timezone.now())

    assert "Every worker that did this stopped" in page_of(client_of(asker), job)
    assert ">Try again<" not in page_of(client_of(asker), job)
    assert retry(client_of(asker), job) == 403
    assert ">Try again<" in page_of(client_of(keeper), job)
    assert retry(client_of(keeper), job) == 302
    job.refresh_from_db()
    assert (job.status, job.asked_by_id, job.problem) == ("waiting", keeper.pk, "")
    # Pressed twice, it starts once.
    assert retry(client_of(keeper), job) == 302
    assert Job.objects.count() == 1


def test_a_retry_while_the_same_was_asked_for_leads_to_that_one(admin_client: Client) -> None:
    failed = make_job(key="7", status="failed", problem=BROKEN, finished_at=timezone.now())
    waiting = make_job(key="7")
    answer = admin_client.post(reverse("admin:integrations_job_retry", args=[failed.pk]))

    assert answer["Location"] == reverse("admin:integrations_job_change", args=[waiting.pk])


def test_a_job_says_after_a_while_whether_a_worker_takes_from_its_queue_and_has_one_bar(admin_client: Client) -> None:
    job = make_job()
    assert "orker has" not in state_of(admin_client, job)["html"]
    Job.objects.update(due_at=timezone.now() - LONG_WAIT)
    assert "No worker has answered" in state_of(admin_client, job)["html"]
    heartbeats.write_heartbeat(kind=Heartbeat.Kind.WORKER, name="w", queues=["data"])
    assert "are busy" in state_of(admin_client, job)["html"]
    Job.objects.update(status="running", done_count=30, total_count=120)

    state = state_of(admin_client, job)

    assert state["is_unfinished"]
    assert '<progress value="30" max="120"' in state["html"]
    assert page_of(admin_client, job).count("<progress") == 1


def test_a_web_host_whose_clock_is_ahead_calls_no_worker_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    job, ahead = make_job(), timezone.now() + 3 * LONG_WAIT
    monkeypatch.setattr(timezone, "now", lambda: ahead)

    assert explain_wait(job) == ""


def test_a_job_that_is_done_shows_what_its_kind_says(admin_client: Client) -> None:
    source = DataSource.objects.create(name="<b>Sales</b>", kind="json")
    job = source_tests.request_source_test(source, by=None, now=timezone.now())
    Job.objects.update(status="done", result={"milliseconds": 31}, finished_at=timezone.now())

    page = page_of(admin_client, job)
    assert "within 31 ms" in page
    assert "&lt;b&gt;Sales" in page
    assert not state_of(admin_client, job)["is_unfinished"]
