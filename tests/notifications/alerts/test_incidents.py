"""Incidents under any order of reports, clicks and ticks: one open incident per key, and one notice of each change."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.db.models import Q
from hypothesis import HealthCheck, Phase
from hypothesis import settings as searching
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from accounts.models import User
from notifications.alerts import actions, incidents, notify
from notifications.alerts.actions import Action
from notifications.alerts.incidents import DAMPING
from notifications.models import InboundChannel, Incident, IncidentEvent, Run
from tests.notifications.alerts.conftest import alert, hand_in, make_alert_channel
from tests.notifications.factories import NOW, make_corp, make_person
from tests.notifications.side_by_side import do_at_once

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


STRETCHES = [
    alert(),
    alert(ends=NOW + MINUTE),
    alert(starts=NOW + 2 * MINUTE),
    alert(starts=NOW + 2 * MINUTE, ends=NOW + 3 * MINUTE),
]


@pytest.mark.parametrize("order", [*permutations(range(3)), *permutations(range(4))])
def test_two_stretches_in_any_order_end_as_the_newest_does(order: tuple[int, ...], channel: InboundChannel) -> None:
    for number in order:
        hand_in(channel, STRETCHES[number], now=NOW + 5 * MINUTE)

    assert Incident.objects.open().count() == (len(order) == 3)
    newest = Incident.objects.order_by("-ends_at").first()
    assert newest is not None
    assert newest.ends_at in {NOW + MINUTE, NOW + 3 * MINUTE, None}
    before = list(Incident.objects.order_by("pk").values())
    hand_in(channel, STRETCHES[order[-1]], now=NOW + 5 * MINUTE)  # again, which changes nothing
    assert list(Incident.objects.order_by("pk").values()) == before


def test_the_database_keeps_a_second_open_one_out(channel: InboundChannel) -> None:
    hand_in(channel, alert())
    times = dict.fromkeys(("starts_at", "stretch_at", "opened_at", "seen_at"), NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        Incident.objects.create(key=Incident.objects.get().key, title="x", channel=channel, **times)


def test_a_late_firing_of_a_stretch_closed_by_hand_or_before_the_last_opens_nothing(channel: InboundChannel) -> None:
    hand_in(channel, alert())
    actions.act_on_incidents(Action.CLOSE, [Incident.objects.get().pk], person=channel.users.get(), now=NOW + MINUTE)
    assert hand_in(channel, alert(), now=NOW + 60 * MINUTE) == (0, 0, 0, 1)

    Incident.objects.all().delete()
    for one in STRETCHES:
        hand_in(channel, one, now=NOW + 5 * MINUTE)
    assert hand_in(channel, alert(), now=NOW + 600 * MINUTE) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("minutes", "counts"), [(1, (0, 0, 1)), (4, (0, 1, 0)), (5, (0, 1, 0)), (12, (1, 0, 0)), (600, (1, 0, 0))]
)
def test_a_stretch_that_goes_on_after_an_end_that_was_none_opens_again(
    minutes: int, counts: tuple[int, int, int], channel: InboundChannel
) -> None:
    """Prometheus sends the same `startsAt` again after it was cut off for longer than its alerts last."""
    hand_in(channel, alert())
    hand_in(channel, alert(ends=NOW + 5 * MINUTE), now=NOW + 5 * MINUTE)

    answer = hand_in(channel, alert(), now=NOW + (5 + minutes) * MINUTE)

    assert (answer.opened, answer.reopened, answer.unchanged) == counts


@pytest.mark.django_db(transaction=True)
def test_senders_at_once_open_one_and_tell_once(channel: InboundChannel) -> None:
    def send() -> None:
        hand_in(channel, alert(), alert(instance="2"))
        notify.request_notices(now=NOW)

    do_at_once(*[send] * 4)

    assert Incident.objects.count() == 2
    assert IncidentEvent.objects.filter(kind="opened").count() == 2
    notify.request_notices(now=NOW + 2 * MINUTE)
    assert IncidentEvent.objects.filter(kind="notified").count() == 2
    assert Run.objects.filter(trigger="alert").count() <= 2


@contextmanager
def hold_channel(channel: InboundChannel, is_over: Callable[[], object]) -> Iterator[None]:
    """Hold the channel's row lock until `is_over` returns."""
    begun = threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                InboundChannel.objects.select_for_update().get(pk=channel.pk)
                begun.set()
                is_over()
        finally:
            connections.close_all()

    sender = threading.Thread(target=hold)
    sender.start()
    assert begun.wait(10)
    yield
    sender.join()


@pytest.mark.django_db(transaction=True)
def test_a_sender_that_is_always_at_its_channel_does_not_keep_people_untold(channel: InboundChannel) -> None:
    """Checking only whether the channel is free at this moment would find it locked."""
    hand_in(channel, alert())

    with hold_channel(channel, lambda: time.sleep(1)):
        assert len(notify.request_notices(now=NOW)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_channel_that_hangs_is_left_to_the_next_call(
    channel: InboundChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "LOCK_SECONDS", 1)
    hand_in(channel, alert())
    told = threading.Event()

    with hold_channel(channel, lambda: told.wait(30)):
        assert notify.request_notices(now=NOW) == []
        told.set()

    assert len(notify.request_notices(now=NOW)) == 1


def test_what_is_open_of_a_deleted_channel_ends_by_itself(channel: InboundChannel) -> None:
    hand_in(channel, alert())
    channel.delete()

    assert [incidents.end_orphaned_incidents(now=NOW + MINUTE) for _twice in range(2)] == [1, 0]

    incident = Incident.objects.get()
    assert (incident.status, incident.notice_kind) == ("resolved", "")
    assert incident.events.get(kind="resolved").note_text == "接入通道或规则已被删除。"


NAMES = ("disk", "cpu")


def test_whatever_happens_there_is_one_incident_and_one_notice_of_each(db: None) -> None:
    quick: dict[str, Any] = {
        "max_examples": 6,
        "stateful_step_count": 25,
        "deadline": None,
        "derandomize": True,
        "database": None,
    }
    phases, checks = [Phase.generate], list(HealthCheck)
    run_state_machine_as_test(Machine, settings=searching(phases=phases, suppress_health_check=checks, **quick))


class Machine(RuleBasedStateMachine):
    """State machine with two alerts, two people on duty and one person who is not."""

    now: datetime

    @initialize()
    def begin(self) -> None:
        self.rows = transaction.atomic()
        self.rows.__enter__()
        self.now = NOW
        corp = make_corp()
        self.people: list[User] = [make_person(corp, userid) for userid in ("ann", "bob", "stranger")]
        self.channel = make_alert_channel(*self.people[:2], corp=corp, repeat_minutes=30)
        self.began: dict[str, datetime] = {}

    def teardown(self) -> None:
        if hasattr(self, "rows"):
            transaction.set_rollback(True)
            self.rows.__exit__(None, None, None)

    @rule(minutes=st.sampled_from([1, 5, 11, 31, 90]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(name=st.sampled_from(NAMES), is_new=st.booleans())
    def it_fires(self, name: str, is_new: bool) -> None:
        if is_new or name not in self.began:
            self.began[name] = self.now
        self._hand_in(name, None)

    @rule(name=st.sampled_from(NAMES), lag=st.sampled_from([0, 2, 20]))
    def it_ends(self, name: str, lag: int) -> None:
        if name in self.began:
            self._hand_in(name, max(self.began[name], self.now - timedelta(minutes=lag)))

    def _hand_in(self, name: str, ends: datetime | None) -> None:
        one = alert(name, starts=self.began[name], ends=ends)
        hand_in(self.channel, one, one, now=self.now)

    @rule(who=st.integers(0, 2), action=st.sampled_from(list(Action)))
    def somebody_acts_on_everything(self, who: int, action: Action) -> None:
        ids = list(Incident.objects.values_list("pk", flat=True))
        done = actions.act_on_incidents(action, ids, person=self.people[who], now=self.now)
        if who == 2:
            assert not done.changed
            assert not done.unchanged

    @rule()
    def tick(self) -> None:
        notify.request_notices(now=self.now)
        # The messages of the notices are sent.
        Run.objects.filter(status="waiting").update(status="finished", finished_at=self.now)

    @invariant()
    def one_is_open_per_key(self) -> None:
        keys = list(Incident.objects.open().values_list("key", flat=True))
        assert len(keys) == len(set(keys))

    @invariant()
    def what_is_over_has_an_end_and_what_is_open_none(self) -> None:
        for one in Incident.objects.all():
            assert (one.status == "resolved") is (one.resolved_at is not None) is (one.ends_at is not None)

    @invariant()
    def notices_are_numbered_without_gaps_and_each_has_its_line(self) -> None:
        for one in Incident.objects.all():
            notices = list(one.events.filter(kind="notified").values_list("notice", "number"))
            assert sorted(number for kind, number in notices if kind == "repeat") == [*range(1, one.repeat_count + 1)]
            assert [kind for kind, _number in notices].count("fire") == int(one.notified_at is not None)

    @invariant()
    def a_stranger_has_changed_nothing(self) -> None:
        theirs = Q(acknowledged_by=self.people[2]) | Q(silenced_by=self.people[2])
        assert not Incident.objects.filter(theirs).exists()

    @invariant()
    def recoveries_of_what_comes_and_goes_are_apart(self) -> None:
        for one in Incident.objects.filter(reopened_count__gt=1):
            runs = Run.objects.filter(incident_events__incident=one, incident_events__notice="recover")
            moments = sorted(runs.values_list("slot_at", flat=True))
            later = moments[1:]
            assert all(after - before >= DAMPING for before, after in zip(moments, later, strict=False))
