"""A sandbox with an invented company, and the corp that is connected with it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from tests.integrations.directory.place import Directory, seed
from tests.integrations.directory.wecom_events import Recorder, WeComEvents, record_posts
from tests.sandbox_process import SandboxHandle


@pytest.fixture
def place(db: None, running_sandbox: SandboxHandle) -> Directory:
    """A company whose app sees everybody; the contacts secret is not connected."""
    running_sandbox.load(seed())
    return Directory.connected(running_sandbox)


@pytest.fixture(scope="session")
def recorder() -> Iterator[Recorder]:
    with record_posts() as found:
        yield found


@pytest.fixture
def wecom_events(place: Directory, recorder: Recorder) -> WeComEvents:
    """Events of a company that was copied yesterday, sent to both addresses."""
    place.clock.now = timezone.now() - timedelta(days=1)
    place.sync_saying_yes()
    place.clock.now = timezone.now()
    wecom_events = WeComEvents.connected(place, recorder)
    place.calls()
    return wecom_events
