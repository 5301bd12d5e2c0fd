"""Incidents under whatever order of reports: one open per key, and the last word of each stretch counts."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from integrations.models import Corp
from notifications.alerts import actions, incidents, ingest, notify, routing
from notifications.alerts.actions import Action
from notifications.alerts.incidents import Report, decide, key_of
from notifications.delivery.maintenance import purge
from notifications.models import AlertRoute, ApiToken, Incident, IncidentEvent, Run
from tests.notifications.alerts.conftest import alert, make_receiver, make_route
from tests.notifications.api.conftest import make_editor, make_token
from tests.notifications.factories import NOW, make_corp, make_person

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def corp(db: None) -> Corp:
    return make_corp()


@pytest.fixture
def route(corp: Corp) -> AlertRoute:
    return make_route(make_receiver(make_person(corp, "zhang"), corp=corp))


@pytest.fixture
def token(corp: Corp, route: AlertRoute) -> ApiToken:
    return make_token(make_editor(corp), may_alert=True)[0]


def hand_in(token: ApiToken, *alerts: Any, now: Any = NOW) -> ingest.Received:
    return ingest.receive(alerts, truncated_count=0, token=token, now=now)


STRETCHES = [
    alert(),
    alert(ends=NOW + MINUTE),
    alert(starts=NOW + 2 * MINUTE),
    alert(starts=NOW + 2 * MINUTE, ends=NOW + 3 * MINUTE),
]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_two_stretches_in_any_order_end_as_over(order: tuple[int, ...], token: ApiToken) -> None:
    for number in order:
        hand_in(token, STRETCHES[number], now=NOW + 5 * MINUTE)

    assert not Incident.objects.open().exists()
    newest = Incident.objects.order_by("-ends_at").first()
    assert newest is not None
    assert newest.ends_at in {NOW + MINUTE, NOW + 3 * MINUTE}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_an_open_second_stretch_stays_open_in_any_order(order: tuple[int, ...], token: ApiToken) -> None:
    for number in order:
        hand_in(token, STRETCHES[number], now=NOW + 5 * MINUTE)

    assert Incident.objects.open().count() == 1


@rules(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(reports=st.lists(st.tuples(st.sampled_from(STRETCHES), st.integers(0, 1)), max_size=12))
def test_repeating_everything_changes_nothing(reports: list[Any], token: ApiToken) -> None:
    with transaction.atomic():
        later = NOW + 5 * MINUTE
        for one, _times in reports:
            hand_in(token, one, now=later)
        before = list(Incident.objects.order_by("pk").values("pk", "status", "starts_at", "ends_at", "reopened_count"))
        if reports:
            hand_in(token, reports[-1][0], now=later)
        assert (
            list(Incident.objects.order_by("pk").values("pk", "status", "starts_at", "ends_at", "reopened_count"))
            == before
        )
        assert Incident.objects.open().count() <= 1
        transaction.set_rollback(True)


def test_the_database_keeps_a_second_open_one_out(token: ApiToken) -> None:
    hand_in(token, alert())
    incident = Incident.objects.get()

    with pytest.raises(IntegrityError), transaction.atomic():
        Incident.objects.create(
            key=incident.key, title="x", starts_at=NOW, stretch_at=NOW, opened_at=NOW, seen_at=NOW, route=incident.route
        )


def test_a_late_firing_of_a_stretch_that_was_closed_by_hand_opens_nothing(token: ApiToken, route: AlertRoute) -> None:
    hand_in(token, alert())
    incident = Incident.objects.get()
    actions.act(Action.CLOSE, [incident.pk], person=route.receiver.users.get(), now=NOW + MINUTE)

    answer = hand_in(token, alert(), now=NOW + 60 * MINUTE)

    assert (answer.opened, answer.reopened, answer.unchanged) == (0, 0, 1)


@pytest.mark.parametrize(
    ("minutes", "counts"),
    [(1, (0, 0, 1)), (4, (0, 1, 0)), (5, (0, 1, 0)), (12, (1, 0, 0)), (600, (1, 0, 0))],
)
def test_a_stretch_that_goes_on_after_an_end_that_was_none_opens_again(
    minutes: int, counts: tuple[int, int, int], token: ApiToken
) -> None:
    """As Prometheus does that was cut off for longer than its alerts last: the same `startsAt` again."""
    hand_in(token, alert())
    hand_in(token, alert(ends=NOW + 5 * MINUTE), now=NOW + 5 * MINUTE)

    answer = hand_in(token, alert(), now=NOW + (5 + minutes) * MINUTE)

    assert (answer.opened, answer.reopened, answer.unchanged) == counts


def test_a_firing_of_the_stretch_before_the_last_opens_nothing_however_late(token: ApiToken) -> None:
    for one in STRETCHES:
        hand_in(token, one, now=NOW + 5 * MINUTE)

    answer = hand_in(token, alert(), now=NOW + 600 * MINUTE)

    assert (answer.opened, answer.reopened, answer.unchanged) == (0, 0, 1)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_senders_at_once_open_one_and_tell_once(token: ApiToken) -> None:
    gate = threading.Barrier(4)
    errors: list[BaseException] = []

    def send() -> None:
        try:
            gate.wait()
            hand_in(token, alert(), alert(instance="2"))
            notify.request_notices(now=NOW)
        except BaseException as error:  # noqa: BLE001  # told by the test
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert Incident.objects.count() == 2
    assert IncidentEvent.objects.filter(kind="opened").count() == 2
    notify.request_notices(now=NOW + 2 * MINUTE)
    assert IncidentEvent.objects.filter(kind="notified").count() == 2
    assert Run.objects.filter(trigger="alert").count() <= 2


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_sender_that_is_always_at_its_route_does_not_keep_people_untold(token: ApiToken, route: AlertRoute) -> None:
    """Somebody who only looks whether the route is free at this moment would find it held."""
    hand_in(token, alert())
    held = threading.Event()
    errors: list[BaseException] = []

    def send() -> None:
        try:
            with transaction.atomic():
                AlertRoute.objects.select_for_update().get(pk=route.pk)
                held.set()
                time.sleep(1)
        except BaseException as error:  # noqa: BLE001  # told by the test
            errors.append(error)
        finally:
            connections.close_all()

    sender = threading.Thread(target=send)
    sender.start()
    held.wait(10)
    told = notify.request_notices(now=NOW)
    sender.join()

    assert errors == []
    assert len(told) == 1


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_route_that_hangs_is_left_to_the_next_call(
    token: ApiToken, route: AlertRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "LOCK_SECONDS", 1)
    hand_in(token, alert())
    held, told = threading.Event(), threading.Event()

    def hang() -> None:
        try:
            with transaction.atomic():
                AlertRoute.objects.select_for_update().get(pk=route.pk)
                held.set()
                told.wait(30)
        finally:
            connections.close_all()

    sender = threading.Thread(target=hang)
    sender.start()
    held.wait(10)
    found = notify.request_notices(now=NOW)
    told.set()
    sender.join()

    assert found == []
    assert len(notify.request_notices(now=NOW)) == 1


def test_what_is_over_for_a_year_is_forgotten_and_what_is_open_stays(token: ApiToken, settings: Any) -> None:
    settings.LOG_RETENTION_DAYS = 30
    hand_in(token, alert(), alert(instance="2"))
    hand_in(token, alert(ends=NOW + MINUTE))

    assert purge.purge_incidents(now=NOW + timedelta(days=29)) == 0
    assert purge.purge_incidents(now=NOW + timedelta(days=31)) == 1
    assert [one.status for one in Incident.objects.all()] == ["open"]


def test_decide_is_total() -> None:
    """No report of a state is without an answer."""
    report = Report("k", NOW, None)

    assert decide(None, report, now=NOW).value == "open"
    assert len(key_of("route:1234567890123456789", "no_data", "x" * 5000)) <= 80


class TestMatchers:
    @pytest.mark.parametrize(
        ("text", "labels", "takes"),
        [
            ("severity=critical", {"severity": "critical"}, True),
            ('severity = "critical"', {"severity": "critical"}, True),
            ("severity!=critical", {}, True),
            ("a=~db-*|cache-?", {"a": "cache-1"}, True),
            ("a=~db-*|cache-?", {"a": "cache-12"}, False),
            ("a!~test*", {"a": "prod"}, True),
            ("a=~x[1]", {"a": "x1"}, None),
            ("a=~.*", {"a": "x"}, None),
            ("a=~^db", {"a": "x"}, None),
            ("=x", {}, None),
            ("novalue", {}, None),
            ("a=", {"b": "1"}, True),
            ("", {}, True),
            ("a=1\nb=2", {"a": "1"}, False),
        ],
    )
    def test_take_or_refuse(self, text: str, labels: dict[str, str], takes: bool | None) -> None:
        if takes is None:
            with pytest.raises(routing.MatcherError):
                routing.parse(text)
        else:
            assert routing.takes_all(routing.parse(text), labels) is takes

    @given(pattern=st.text("ab*?|", max_size=60), value=st.text("ab", max_size=60))
    @rules(max_examples=300, deadline=None, derandomize=True)
    def test_agree_with_the_slow_and_simple_way(self, pattern: str, value: str) -> None:
        def fits(p: str, v: str) -> bool:
            reached = {0}
            for sign in p:
                if sign == "*":
                    reached = set(range(min(reached), len(v) + 1)) if reached else set()
                else:
                    reached = {n + 1 for n in reached if n < len(v) and sign in ("?", v[n])}
            return len(v) in reached

        assert routing.is_like(value, pattern) is any(fits(one, value) for one in pattern.split("|"))

    def test_a_bomb_of_a_pattern_costs_nothing(self) -> None:
        assert routing.is_like("a" * 1024, "*a" * 120 + "b") is False


class TestAnEnd:
    """It reaches what is open, whatever became of the routes meanwhile."""

    def test_after_the_route_was_disabled(self, token: ApiToken, route: AlertRoute) -> None:
        hand_in(token, alert())
        AlertRoute.objects.update(is_enabled=False)

        answer = hand_in(token, alert(ends=NOW + MINUTE), now=NOW + MINUTE)

        assert (answer.resolved, answer.unrouted) == (1, 0)

    def test_after_another_route_was_put_before_it(self, token: ApiToken, route: AlertRoute) -> None:
        hand_in(token, alert())
        make_route(route.receiver, position=1, name="新的")

        answer = hand_in(token, alert(ends=NOW + MINUTE), now=NOW + MINUTE)

        assert answer.resolved == 1
        assert not Incident.objects.open().exists()

    def test_but_not_that_of_a_route_for_other_senders(self, token: ApiToken, route: AlertRoute, corp: Corp) -> None:
        hand_in(token, alert())
        route.senders.set([make_token(make_editor(corp), may_alert=True)[0]])
        AlertRoute.objects.update(is_limited_to_senders=True)

        answer = hand_in(token, alert(ends=NOW + MINUTE), now=NOW + MINUTE)

        assert (answer.resolved, answer.unrouted) == (0, 1)

    def test_of_a_deleted_route_comes_by_itself(self, token: ApiToken, route: AlertRoute) -> None:
        hand_in(token, alert())
        route.delete()

        assert incidents.end_orphaned(now=NOW + MINUTE) == 1
        assert incidents.end_orphaned(now=NOW + MINUTE) == 0

        incident = Incident.objects.get()
        assert (incident.status, incident.notice_kind) == ("resolved", "")
        assert incident.events.get(kind="resolved").note_text == "路由或规则已被删除。"
