"""A worker that ends gives back what it has not begun, and waits for no lock: two that wait would be a deadlock."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from notifications.delivery.rendering.render import render_runs
from notifications.delivery.sending.uploads import prepare_deliveries
from notifications.models import Delivery, MessageForm, Run
from tests.notifications.delivery.attachments.places import make_delivery
from tests.notifications.factories import NOW, make_corp, make_run, make_subscription
from tests.notifications.side_by_side import Elsewhere

pytestmark = pytest.mark.django_db(transaction=True)


def test_runs_that_nobody_holds_are_given_back() -> None:
    later = NOW + timedelta(seconds=20)
    held, other = (make_run(make_subscription(), render_after=later) for _ in range(2))
    work = Elsewhere(lambda: render_runs([held.pk, other.pk], clock=lambda: NOW, is_stopping=lambda: True))

    with transaction.atomic():
        Run.objects.select_for_update().get(pk=held.pk)
        work.until_it_waits()
        other.refresh_from_db()
    work.join()

    assert other.render_after == NOW


def test_messages_that_nobody_holds_are_given_back() -> None:
    corp = make_corp()
    held, other = (make_delivery(corp, MessageForm.IMAGE, queued_until=NOW) for _ in range(2))
    work = Elsewhere(lambda: prepare_deliveries([held.pk, other.pk], clock=lambda: NOW, is_stopping=lambda: True))

    with transaction.atomic():
        Delivery.objects.select_for_update().get(pk=held.pk)
        work.until_it_waits()
        other.refresh_from_db()
    work.join()

    assert other.queued_until is None
