"""The pages that ask before a run is sent again or taken back, and who may open them."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from integrations.models import Corp
from notifications import tasks
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Run
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_people,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(corp: Corp) -> Run:
    run = make_run(make_subscription(*make_people(corp, 3), report=make_report(corp=corp)))
    render_run(run_id=run.pk, now=NOW)
    return run


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    sent: list[list[int]] = []
    monkeypatch.setattr(tasks.render_runs, "apply_async", lambda arguments, **_queue: sent.append(*arguments))
    return sent


def page(name: str, run: Run) -> str:
    return reverse(f"admin:notifications_run_{name}", args=[run.pk])


@pytest.mark.django_db(transaction=True)
def test_sending_again_says_to_how_many_and_happens_once(root: Client, run: Run, enqueued: list[list[int]]) -> None:
    Delivery.objects.update(status="failed")
    assert page("resend", run) in root.get(page("change", run)).content.decode()
    assert "3 人" in root.get(page("resend", run)).content.decode()

    answers = [root.post(page("resend", run), {f"number-{run.pk}": "1"}) for _ in range(2)]

    again = Run.objects.get(resends=run)
    assert [answer["Location"] for answer in answers] == [page("change", again)] * 2
    assert enqueued == [[again.pk]]
    assert not again.resends_unknown


def test_where_everybody_got_it_nothing_is_offered(root: Client, run: Run) -> None:
    Delivery.objects.update(status="accepted")

    shown = root.get(page("resend", run)).content.decode()

    assert "没有确认未收到的人。" in shown
    assert '<button type="submit" class="button default">' not in shown


def test_those_of_whom_nobody_knows_need_a_tick(root: Client, run: Run, enqueued: list[list[int]]) -> None:
    Delivery.objects.update(status="unknown")
    assert "with_unknown" in root.get(page("resend", run)).content.decode()

    root.post(page("resend", run), {f"number-{run.pk}": "1", "with_unknown": "on"})

    assert Run.objects.get(resends=run).resends_unknown


@pytest.mark.parametrize("number", ["", "x", "²", "-1", "9" * 30])
def test_a_page_that_is_not_ours_sends_nothing(number: str, root: Client, run: Run) -> None:
    Delivery.objects.update(status="failed")

    assert root.post(page("resend", run), {f"number-{run.pk}": number}).status_code == 200
    assert Run.objects.count() == 1


def test_taking_back_cancels_what_waits(root: Client, run: Run) -> None:
    assert page("recall", run) in root.get(page("change", run)).content.decode()
    assert root.get(page("recall", run)).status_code == 200
    assert Delivery.objects.get().status == "pending"

    root.post(page("recall", run))
    root.post(page("recall", run))

    assert Delivery.objects.get().status == "canceled"
    text = root.get(page("change", run)).content.decode()
    assert page("recall", run) not in text
    assert "撤回" in text


@pytest.mark.parametrize("name", ["resend", "recall"])
def test_the_wrong_person_changes_nothing(name: str, run: Run, corp: Corp) -> None:
    Delivery.objects.update(status="failed")
    reader, stranger = make_manager(corp, permissions="view"), make_manager(make_corp(), permissions="subscription")

    assert client_of(reader).post(page(name, run), {f"number-{run.pk}": "1"}).status_code == 403
    assert client_of(stranger).post(page(name, run), {f"number-{run.pk}": "1"}).status_code == 404

    run.refresh_from_db()
    assert (Run.objects.count(), run.recall_requested_at) == (1, None)


def test_a_persons_page_shows_every_moment_of_the_way(root: Client, run: Run) -> None:
    delivery = Delivery.objects.get()
    delivery.attempts.create(
        number=1, fencing_token="00000000-0000-0000-0000-000000000000", started_at=NOW, finished_at=NOW,
        outcome="accepted", errcode=0,
    )  # fmt: skip
    receipt = delivery.receipts.earliest("pk")

    text = root.get(reverse("admin:notifications_receipt_change", args=[receipt.pk])).content.decode()

    assert all(word in text for word in ("认领", "生成", "发出", "返回时间", "#1"))
