"""Disabling a company in the middle of the work: what is queued, what becomes due, and what the page says before."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings

from integrations.companies import services
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run, render_runs
from notifications.delivery.sending.queue import hand_out
from notifications.delivery.sending.send import send_deliveries
from notifications.models import Delivery, Receipt, Run
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)
from tests.notifications.wire import Wire

pytestmark = pytest.mark.django_db


def pushes(corp: Corp, count: int) -> list[int]:
    """So many frozen messages, each for somebody else."""
    people = [make_person(corp, f"p{number}") for number in range(count)]
    runs = [make_run(make_subscription(person)) for person in people]
    return [delivery_id for run in runs for delivery_id in render_run(run_id=run.pk, now=NOW)]


def statuses() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("status", flat=True))


def test_a_company_disabled_between_two_messages_of_one_task(
    corp: Corp, wire: Wire, clock: FakeClock, settings: Settings
) -> None:
    settings.SEND_PARALLEL_PER_TASK = 1
    ids = pushes(corp, 5)

    def disable_before_the_third() -> bool:
        if len(wire.bodies) == 2:
            services.disable_corp(corp=corp)
        return False

    tried = send_deliveries(ids, clock=clock, is_stopping=disable_before_the_third)

    assert (tried, len(wire.bodies)) == (2, 2)
    assert statuses() == ["accepted", "accepted", "pending", "pending", "pending"]
    assert send_deliveries(ids, clock=clock, is_stopping=lambda: False) == 0
    assert hand_out(now=clock.now, limit=10).ordinary == []
    assert len(wire.bodies) == 2

    Corp.objects.update(is_enabled=True)

    assert hand_out(now=clock.now, limit=10).ordinary == ids[2:]


def test_another_company_goes_on(corp: Corp, wire: Wire, clock: FakeClock) -> None:
    other = make_corp(api_base_url=wire.url)
    ids = [*pushes(corp, 1), *pushes(other, 1)]
    services.disable_corp(corp=corp)

    assert send_deliveries(ids, clock=clock, is_stopping=lambda: False) == 1

    assert statuses() == ["pending", "accepted"]


def test_what_becomes_due_meanwhile_is_recorded_and_not_made_up_for(corp: Corp, wire: Wire, clock: FakeClock) -> None:
    run = make_run(make_subscription(make_person(corp, "lilei")))
    services.disable_corp(corp=corp)

    assert render_runs([run.pk], clock=clock, is_stopping=lambda: False) == []

    run.refresh_from_db()
    assert (run.status, run.skipped_count) == (Run.Status.FINISHED, 1)
    assert list(Receipt.objects.values_list("status", "reason")) == [("skipped", "corp_disabled")]
    Corp.objects.update(is_enabled=True)
    assert hand_out(now=clock.now, limit=10).ordinary == []
    assert wire.bodies == []


class TestThePageThatAsks:
    @pytest.fixture
    def root(self) -> Client:
        client = Client(headers={"host": "localhost:3001"})
        client.force_login(make_superuser(), backend="django.contrib.auth.backends.ModelBackend")
        return client

    def test_says_how_many_people_messages_and_subscriptions_it_concerns(self, corp: Corp, root: Client) -> None:
        pushes(corp, 3)
        make_person(corp, "gone", is_active=False)
        unlinked = make_person(corp, "")
        make_subscription(unlinked, report=make_report(corp=corp))
        address = f"/admin/integrations/corp/{corp.pk}/disable/"

        text = root.get(address).content.decode()

        assert "3 人将无法用企业微信登录；已用企业微信登录的会立即退出。" in text
        assert "停用期间有 3 人收不到消息。" in text
        assert "3 条消息" in text
        assert "1 个已启用的推送" in text
        assert "停用期间到点的推送不再补发" in text
        assert Corp.objects.get().is_enabled

        root.post(address)

        assert not Corp.objects.get().is_enabled
