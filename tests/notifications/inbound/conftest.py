"""The company's manager and one of its people."""

import pytest

from accounts.models import User
from integrations.models import Corp
from tests.notifications.factories import make_manager, make_person


@pytest.fixture
def owner(corp: Corp) -> User:
    return make_manager(corp)


@pytest.fixture
def zhang(corp: Corp) -> User:
    return make_person(corp, "ZhangWei")
