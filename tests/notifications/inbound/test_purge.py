"""Incoming messages go with their runs, and uploads after a day."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifications.delivery.maintenance import purge as runs_purge
from notifications.delivery.rendering.render import render_run
from notifications.inbound import purge
from notifications.inbound.accept import accept
from notifications.inbound.files import checked
from notifications.models import IncomingMessage, Medium, Run
from tests.notifications.factories import NOW, make_corp, make_manager, make_person
from tests.notifications.inbound.factories import incoming, make_sender

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(days=366)


def test_a_message_is_forgotten_after_the_last_of_its_runs() -> None:
    corp = make_corp()
    files = [checked(f"{number}.pdf", b"%PDF-1.7 rest") for number in range(2)]
    person = make_person(corp, "Zhang")
    for run_id in accept(incoming(make_sender(make_manager(corp)), person, files=files), now=NOW).run_ids:
        render_run(run_id=run_id, now=NOW)
    Run.objects.update(status=Run.Status.FINISHED)

    assert purge.purge(now=LATER) == 0
    while runs_purge.purge(now=LATER):
        left = IncomingMessage.objects.count()
        assert left == 1
    assert purge.due(LATER)[0].exists()
    assert purge.purge(now=LATER) == 1

    assert [model.objects.count() for model in (IncomingMessage, Run, Medium)] == [0, 0, 0]
    assert person.__class__.objects.filter(pk=person.pk).exists()


def test_a_message_that_was_just_accepted_stays() -> None:
    corp = make_corp()
    accept(incoming(make_sender(make_manager(corp)), make_person(corp, "Zhang")), now=NOW)
    Run.objects.all().delete()

    assert purge.purge(now=NOW + timedelta(days=364)) == 0
    assert IncomingMessage.objects.exists()
