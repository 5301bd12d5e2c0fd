"""Properties of WeCom's events: in any order and number they make our tables equal to its directory.

If some are lost, the next run does.
"""

from contextlib import suppress
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from wecom_sandbox.testing import ControlError

from integrations.models import CallbackEvent, Corp, SyncRun
from tests.integrations.directory.place import Directory, Source, seed
from tests.integrations.directory.test_diff import searching, take, visible
from tests.integrations.directory.test_diff import steps as take_steps
from tests.integrations.directory.wecom_events import Post, Recorder, WeComEvents
from tests.sandbox_process import SandboxHandle

steps = take_steps(["LiLei", "hanmeimei", "jim", "a", "B.b", "c-c@x"], [2, 3, 4, 5], st.tuples(st.just("hear")))
# The app sees a part of the company, so that moving also means entering and leaving its scope.
SCOPE = [2, 5]


@pytest.fixture(autouse=True)
def _asking_nobody(settings: Any) -> None:
    """A guard that never asks: in a company of three people each leaver may be too many."""
    settings.DIRECTORY_GUARD_PERCENT = 100


def connected(sandbox: SandboxHandle, recorder: Recorder, source: Source) -> WeComEvents:
    """Make a company that was copied once, with only three people."""
    Corp.objects.all().delete()
    sandbox.load(seed())
    place = Directory.connected(sandbox)
    place.clock.now = timezone.now()
    if source == Source.BOTH:
        place.with_contacts()
    place.set_scope(partyids=SCOPE)
    place.sync_saying_yes()
    return WeComEvents.connected(place, recorder)


def happen(wecom_events: WeComEvents, happened: list[tuple[Any, ...]], draw: Any, mix: Any) -> None:
    """Take the steps. In between, events so far arrive as `mix` orders them, and are processed."""
    told: list[Post] = []
    for step in [*happened, ("hear",)]:
        if step != ("hear",):
            take(wecom_events.place, step)
            continue
        told += wecom_events.heard()
        for post in mix(draw, told):
            wecom_events.send(post)
        wecom_events.work_off()


def in_any_order(draw: Any, told: list[Post]) -> list[Post]:
    """Return all events so far in any order, some of them twice."""
    repeated = draw(st.lists(st.sampled_from(told), max_size=3)) if told else []
    arrived: list[Post] = draw(st.permutations([*told, *repeated]))
    return arrived


def with_losses(draw: Any, told: list[Post]) -> list[Post]:
    """Return events in any order, some twice, some missing."""
    arrived = in_any_order(draw, told)
    lost = draw(st.sets(st.sampled_from(range(len(arrived))))) if arrived else set()
    return [one for number, one in enumerate(arrived) if number not in lost]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("loses", [False, True])
@searching
@given(happened=st.lists(steps, max_size=8), source=st.sampled_from([Source.APP, Source.BOTH]), data=st.data())
def test_after_any_sequence_its_events_or_the_next_run_leave_our_tables_equal_to_the_sandbox(
    running_sandbox: SandboxHandle,
    recorder: Recorder,
    loses: bool,
    happened: list[tuple[Any, ...]],
    source: Source,
    data: Any,
) -> None:
    wecom_events = connected(running_sandbox, recorder, source)
    place = wecom_events.place

    happen(wecom_events, happened, data.draw, with_losses if loses else in_any_order)
    if loses:
        with suppress(ControlError):
            place.sync_saying_yes(source)
    assert place.stored() == visible(place, source)

    if loses:
        again = place.sync(source)
        assert (again.status, again.counts) == (SyncRun.Status.DONE, {})
    else:
        CallbackEvent.objects.exclude(consumer="").update(status=CallbackEvent.Status.WAITING)
        wecom_events.work_off()
        assert place.stored() == visible(place, source)
