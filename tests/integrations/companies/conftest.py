"""English, so that sentences can be compared, WeCom at the wire (responses), and a company at a real address."""

from collections.abc import Iterator

import pytest
import responses
from django.utils import translation

from integrations.models import Corp, SiteAddress
from tests.integrations.companies.diagnosis.wire import Wire


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Answers in WeCom's place. One that is not used fails the test."""
    with responses.RequestsMock() as mock:
        yield Wire(mock)


@pytest.fixture
def at_home(corp: Corp) -> Corp:
    """The company at a real address."""
    SiteAddress.objects.filter(is_default=True).update(url="https://bi.example.com/")
    return corp
