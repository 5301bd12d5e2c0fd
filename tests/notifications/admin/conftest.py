"""Clients of the administration, and one company's push that was sent once."""

import pytest
from django.test import Client

from accounts.models import User
from notifications import tasks
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Receipt
from tests.notifications.factories import NOW, make_corp, make_person, make_report, make_run, make_subscription

HOST = {"host": "localhost:3001"}


def client_of(person: User) -> Client:
    client = Client(headers=HOST)
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The run ids that were handed to a worker. Tests of the pages have no worker."""
    sent: list[list[int]] = []
    monkeypatch.setattr(tasks.render_runs, "apply_async", lambda arguments, *_, **_queue: sent.append(*arguments))
    return sent


class World:
    """A company's report, its push, and a run of the push with a message and a receipt."""

    def __init__(self) -> None:
        self.corp = make_corp(name="本公司")
        self.person = make_person(self.corp, "lilei", name="李雷")
        self.report = make_report(corp=self.corp, title="本公司日报")
        self.subscription = make_subscription(self.person, report=self.report)
        self.run = make_run(self.subscription)
        render_run(run_id=self.run.pk, now=NOW)
        self.delivery = Delivery.objects.get(run=self.run)
        self.receipt = Receipt.objects.get(run=self.run)


@pytest.fixture
def world() -> World:
    return World()
