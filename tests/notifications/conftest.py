"""Fixtures of the push engine's tests."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.test import Client
from django.utils import translation

from integrations.models import Corp
from tests import browser_form
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import NOW, make_corp, make_superuser
from tests.notifications.wecom_stub import WeComStub, running_wire


@pytest.fixture
def corp(db: None) -> Corp:
    return make_corp(name="北山制造")


@pytest.fixture
def undrawn() -> Iterator[None]:
    with browser_form.skip_drawing():
        yield


@pytest.fixture
def wire() -> Iterator[WeComStub]:
    with running_wire() as running:
        yield running


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


class FakeClock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **units: float) -> datetime:
        self.now += timedelta(**units)
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def _language() -> Iterator[None]:
    """The product's language at the start of each test: pages that the test client opens may change it."""
    with translation.override(settings.LANGUAGE_CODE):
        yield
