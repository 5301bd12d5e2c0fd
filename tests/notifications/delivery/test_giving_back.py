"""A worker that ends gives back what it has not begun, and waits for no lock: two that wait would be a deadlock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from notifications.delivery.rendering.render import render_runs
from notifications.delivery.sending.uploads import prepare_deliveries
from notifications.models import MessageForm, Run
from tests.notifications.delivery.attachments.places import make_delivery
from tests.notifications.factories import NOW, make_corp, make_run, make_subscription
from tests.notifications.side_by_side import Elsewhere

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("task", [render_runs, prepare_deliveries])
def test_what_nobody_holds_is_given_back(task: Any) -> None:
    corp, later = make_corp(), NOW + timedelta(seconds=20)
    held, other = (
        make_run(make_subscription(), render_after=later)
        if task is render_runs
        else make_delivery(corp, MessageForm.IMAGE, queued_until=NOW)
        for _number in range(2)
    )
    work = Elsewhere(lambda: task([held.pk, other.pk], clock=lambda: NOW, is_stopping=lambda: True))

    with transaction.atomic():
        type(held).objects.select_for_update().get(pk=held.pk)
        work.until_it_waits()
        other.refresh_from_db()
    work.join()

    assert other.render_after == NOW if isinstance(other, Run) else other.queued_until is None
