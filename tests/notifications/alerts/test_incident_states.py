"""Incidents under whatever order of alerts, clicks, closings and ticks: a state machine over the services."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase
from hypothesis import settings as searching
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from accounts.models import User
from notifications.alerts import actions, notify
from notifications.alerts.actions import Action
from notifications.alerts.incidents import DAMPING
from notifications.models import Incident, IncidentEvent, Run
from tests.notifications.alerts.conftest import alert, hand_in, make_alert_channel
from tests.notifications.factories import NOW, make_corp, make_person

pytestmark = pytest.mark.django_db
NAMES = ("disk", "cpu")


def test_whatever_happens_there_is_one_incident_and_one_notice_of_each(db: None) -> None:
    run_state_machine_as_test(
        Machine,
        settings=searching(
            phases=[Phase.generate],
            max_examples=6,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class Machine(RuleBasedStateMachine):
    """Two things that go wrong, two people on duty, one who is not."""

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
        done = actions.act(action, ids, person=self.people[who], now=self.now)
        if who == 2:
            assert not done.changed
            assert not done.unchanged

    @rule()
    def tick(self) -> None:
        notify.request_notices(now=self.now)
        # Its messages went out.
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
            notices = list(one.notices.values_list("kind", "number"))
            assert sorted(number for kind, number in notices if kind == "repeat") == [*range(1, one.repeat_count + 1)]
            assert [kind for kind, _number in notices].count("fire") == int(one.notified_at is not None)
            assert IncidentEvent.objects.filter(incident=one, kind="notified").count() == len(notices)

    @invariant()
    def a_stranger_has_acknowledged_nothing(self) -> None:
        stranger = self.people[2]
        assert not Incident.objects.filter(acknowledged_by=stranger).exists()
        assert not Incident.objects.filter(silenced_by=stranger).exists()

    @invariant()
    def recoveries_of_what_comes_and_goes_are_apart(self) -> None:
        for one in Incident.objects.filter(reopened_count__gt=1):
            runs = Run.objects.filter(incident_notices__incident=one, incident_notices__kind="recover")
            moments = sorted(runs.values_list("slot_at", flat=True))
            later = moments[1:]
            assert all(after - before >= DAMPING for before, after in zip(moments, later, strict=False))
