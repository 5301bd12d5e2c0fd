"""The company of the delivery tests."""

import pytest

from integrations.models import Corp
from tests.notifications.factories import make_corp
from tests.notifications.wecom_stub import WeComStub


@pytest.fixture
def corp(db: None, wire: WeComStub) -> Corp:
    """A company whose calls go to the test's WeCom stand-in."""
    return make_corp(name="北山制造", api_base_url=wire.url)
