"""A superuser's client and a BI with one card."""

from collections.abc import Iterator

import pytest
import responses
from django.test import Client

from integrations.models import Card
from tests.guandata import GuandataAnswers
from tests.integrations.clients.sources.place import make_card as place_card
from tests.notifications.factories import make_superuser


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(make_superuser(), backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def bi() -> Iterator[GuandataAnswers]:
    """A BI whose card has two rows: 华东 128.5 and 华南 96."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        answers = GuandataAnswers(mock)
        answers.gives("sign_in")
        yield answers


@pytest.fixture
def card(bi: GuandataAnswers) -> Card:
    bi.gives("card_data")
    return place_card()
