"""A sandbox with an invented company, the corp connected with it, and that corp's policy."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from tests.accounts.directory.people_of import People
from tests.accounts.people import signed_in
from tests.integrations.directory.place import Directory, seed
from tests.integrations.directory.wecom_events import Recorder, WeComEvents, record_posts
from tests.sandbox_process import SandboxHandle


@pytest.fixture
def place(db: None, running_sandbox: SandboxHandle) -> Directory:
    values = seed()
    # An app of the old kind, which still gets mobile numbers and e-mail addresses.
    values["companies"][0]["apps"][0]["created_after_2022_06_20"] = False
    running_sandbox.load(values)
    place = Directory.connected(running_sandbox)
    place.corp.is_enabled = True
    place.corp.save()
    return place


@pytest.fixture
def people(place: Directory) -> People:
    """People under a policy that links by username; tests change it."""
    return People(place)


@pytest.fixture
def admin(root: User) -> Client:
    return signed_in(root)


@pytest.fixture(scope="session")
def recorder() -> Iterator[Recorder]:
    with record_posts() as found:
        yield found


@pytest.fixture
def wecom_events(people: People, recorder: Recorder) -> WeComEvents:
    """WeCom's events, which go to both addresses. Yesterday's run created everybody."""
    place = people.place
    people.set_policy(mode="create")
    place.clock.now = timezone.now() - timedelta(days=1)
    people.sync()
    place.clock.now = timezone.now()
    wecom_events = WeComEvents.connected(place, recorder)
    wecom_events.is_quick = True
    place.calls()
    return wecom_events
