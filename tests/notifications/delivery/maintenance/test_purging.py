"""The log is forgotten after its time: in chunks, whole runs, and nothing that is still under way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pytest_django import Settings

from notifications import tasks
from notifications.delivery.maintenance import find_purgeable, purge_drafts, purge_runs
from notifications.delivery.rendering.render import render_run
from notifications.models import Attempt, Delivery, Draft, FrozenContent, Receipt, Run
from tests.between import just_before
from tests.notifications.factories import NOW, make_corp, make_people, make_person, make_run, make_subscription
from tests.notifications.one_delivery import claim_delivery

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(days=31)


@pytest.fixture(autouse=True)
def _thirty_days(settings: Settings) -> None:
    settings.LOG_RETENTION_DAYS = 30


@pytest.fixture
def run() -> Run:
    run = make_run(make_subscription(*make_people(make_corp(), 5), make_person()))
    [pk] = render_run(run_id=run.pk, now=NOW)
    claim_delivery(pk, now=NOW)
    Delivery.objects.update(status="accepted")
    Run.objects.update(status="finished")
    return run


def test_a_chunk_at_a_time_until_nothing_of_the_run_is_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.delivery.maintenance.CHUNK", 4)
    again = make_run(make_subscription(), now=LATER, status="finished", resends=run)

    counts = []
    while count := purge_runs(now=LATER):
        counts.append(count)

    assert counts == [4, 2, 1, 1, 1]
    assert [model.objects.count() for model in (Receipt, Attempt, Delivery)] == [0, 0, 0]
    again.refresh_from_db()
    assert list(Run.objects.all()) == [again]
    assert again.resends is None


def test_what_was_frozen_of_reports_goes_with_them() -> None:
    run = make_run(make_subscription())
    content = FrozenContent.objects.create(run=run, document=b"x")
    Run.objects.update(status="skipped")

    while purge_runs(now=LATER):
        pass

    assert not FrozenContent.objects.filter(pk=content.pk).exists()
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "changes", [{"status": "sending"}, {"status": "waiting"}, {"claimed_at": NOW + timedelta(days=2)}]
)
def test_what_is_under_way_or_young_is_kept(changes: dict[str, object], run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(**changes)

    assert purge_runs(now=LATER) == 0
    assert Receipt.objects.count() == 6


def test_drafts_that_nobody_came_back_to_go_at_the_tick() -> None:
    person = make_person()
    for page, age in (("push:new", timedelta(days=30)), ("push:7", timedelta(days=29, hours=23))):
        Draft.objects.create(person=person, page=page, values="name=x", saved_at=NOW - age)
    assert [rows.exists() for rows in find_purgeable(NOW)] == [False, False, True]

    tasks._purge(NOW)

    assert list(Draft.objects.values_list("page", flat=True)) == ["push:7"]
    assert purge_drafts(now=NOW) == 0


def test_a_draft_to_which_somebody_comes_back_at_this_moment_stays() -> None:
    Draft.objects.create(person=make_person(), page="push:new", values="name=x", saved_at=NOW - timedelta(days=30))

    with just_before("DELETE", lambda: Draft.objects.update(saved_at=NOW)):
        assert purge_drafts(now=NOW) == 0

    assert Draft.objects.exists()
