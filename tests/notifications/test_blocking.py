"""A company whose configuration is broken: its queue waits, the administrators are told once, it goes on by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from pytest_django import Settings

from integrations.errors import ConfigurationError
from integrations.models import Corp
from notifications import blocking
from notifications.handing_out import hand_out
from notifications.models import CorpQueue, Delivery
from notifications.outcomes import Outcome, outcome_of_error
from notifications.rendering import render_run
from notifications.sending import send_deliveries
from notifications.sweeping import sweep
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import NOW, make_corp, make_people, make_person, make_run, make_subscription
from tests.notifications.wire import Wire, errcode

pytestmark = pytest.mark.django_db


@pytest.fixture
def corp(wire: Wire) -> Corp:
    return make_corp(name="北山制造", api_base_url=wire.url)


def personal(corp: Corp, count: int) -> list[int]:
    runs = [make_run(make_subscription(person)) for person in make_people(corp, count)]
    return [pk for run in runs for pk in render_run(run_id=run.pk, now=NOW)]


def send_all(ids: list[int], clock: FakeClock) -> int:
    return send_deliveries(ids, clock=clock, is_stopping=lambda: False)


def statuses() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("status", flat=True))


@pytest.mark.parametrize("code", [60020, 48002, 301002])
def test_one_message_at_a_time_finds_out_and_then_all_go(
    code: int, corp: Corp, wire: Wire, clock: FakeClock, settings: Settings
) -> None:
    settings.SEND_PARALLEL_PER_TASK = 1
    ids = personal(corp, 4)
    wire.sends.extend([errcode(code)] * 2)

    assert send_all(ids, clock) == 1

    queue = CorpQueue.objects.get(corp=corp)
    assert (queue.blocked_since, queue.blocked_errcode) == (NOW, code)
    assert hand_out(now=clock.now).ordinary == []
    [probe] = hand_out(now=clock.advance(seconds=121)).ordinary
    assert hand_out(now=clock.now).ordinary == []
    assert send_all([probe], clock) == 1
    assert CorpQueue.objects.get(corp=corp).blocked_since == NOW
    [probe] = hand_out(now=clock.advance(seconds=121)).ordinary
    send_all([probe], clock)

    assert CorpQueue.objects.get(corp=corp).blocked_since is None
    rest = hand_out(now=clock.now).ordinary
    assert len(rest) == 3
    send_all(rest, clock)
    assert statuses() == ["accepted"] * 4
    assert len(wire.bodies) == 6


def test_what_waited_is_due_the_moment_that_it_is_shown_to_work(corp: Corp, wire: Wire, clock: FakeClock) -> None:
    ids = personal(corp, 2)
    wire.sends.extend([errcode(60020)] * 2)
    assert send_all(ids, clock) == 2

    blocking.unblock([corp.pk], now=clock.advance(seconds=30))

    assert sorted(hand_out(now=clock.now).ordinary) == ids


def test_a_wrong_secret_asks_for_a_token_no_more_than_once_in_two_minutes(
    corp: Corp, wire: Wire, clock: FakeClock, settings: Settings
) -> None:
    """Repeated wrong secrets block the whole address for an hour."""
    settings.SEND_PARALLEL_PER_TASK = 1
    personal(corp, 5)
    wire.tokens.extend([errcode(40001)] * 20)

    for _ in range(60):  # two minutes of ticks
        send_all(hand_out(now=clock.now).ordinary, clock)
        clock.advance(seconds=2)

    assert len(wire.tokens) == 19
    assert statuses() == ["pending"] * 5


def test_a_refused_message_shows_that_the_configuration_is_in_order(corp: Corp, wire: Wire, clock: FakeClock) -> None:
    CorpQueue.objects.create(corp=corp, blocked_since=NOW, blocked_errcode=60020, told_at=NOW)
    wire.sends.append(errcode(81013))

    send_all(personal(corp, 1), clock)

    queue = CorpQueue.objects.get()
    assert (queue.blocked_since, queue.blocked_errcode, queue.told_at) == (None, None, None)


def test_another_company_is_not_held_up(corp: Corp, wire: Wire, clock: FakeClock) -> None:
    CorpQueue.objects.create(corp=make_corp(), blocked_since=NOW, probe_at=NOW + timedelta(hours=1))
    ids = personal(corp, 2)

    assert hand_out(now=NOW).ordinary == ids


def test_the_administrators_are_told_once(corp: Corp, wire: Wire, clock: FakeClock, settings: Settings) -> None:
    settings.OPERATOR_EMAILS = ["ops@example.com"]
    wire.sends.append(errcode(60020))
    send_all(personal(corp, 1), clock)

    assert [blocking.tell_administrators(now=NOW) for _ in range(3)] == [1, 0, 0]

    [message] = mail.outbox
    assert message.to == ["ops@example.com"]
    assert "北山制造" in message.subject
    assert "可信" in message.body  # 60020: the trusted addresses
    blocking.unblock([corp.pk], now=NOW)
    blocking.block(corp.pk, _broken(), now=NOW)
    assert blocking.tell_administrators(now=NOW) == 1


def test_without_addresses_nobody_is_mailed(corp: Corp) -> None:
    blocking.block(corp.pk, _broken(), now=NOW)

    assert blocking.tell_administrators(now=NOW) == 0
    assert mail.outbox == []
    assert CorpQueue.objects.get().told_at is None


def test_a_mail_server_that_does_not_answer_is_not_asked_by_every_tick(
    corp: Corp, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OPERATOR_EMAILS = ["ops@example.com"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    blocking.block(corp.pk, _broken(), now=NOW)

    assert [blocking.tell_administrators(now=NOW) for _ in range(2)] == [1, 0]

    assert f"corp={corp.pk}: the administrators could not be told: ConnectionRefusedError" in caplog.text


def _broken() -> Outcome:
    return outcome_of_error(ConfigurationError("no", system="wecom", operation="message_send", code=60020))


class TestAPause:
    @pytest.fixture
    def ids(self, corp: Corp) -> list[int]:
        return personal(corp, 2)

    @pytest.mark.parametrize("of", ["company", "everything", "subscription"])
    def test_holds_what_waits_and_drops_nothing(
        self, of: str, corp: Corp, ids: list[int], wire: Wire, clock: FakeClock
    ) -> None:
        self.switch(of, corp, ids, is_paused=True)

        assert hand_out(now=NOW).ordinary == []
        assert send_all(ids, clock) == 0
        sweep(now=clock.advance(hours=23))
        assert statuses() == ["pending"] * 2

        self.switch(of, corp, ids, is_paused=False)
        assert hand_out(now=clock.now).ordinary == ids
        assert send_all(ids, clock) == 2
        assert statuses() == ["accepted"] * 2

    def switch(self, of: str, corp: Corp, ids: list[int], *, is_paused: bool) -> None:
        if of == "subscription":
            for delivery in Delivery.objects.filter(pk__in=ids).select_related("run__subscription"):
                assert delivery.run.subscription is not None
                delivery.run.subscription.is_paused = is_paused
                delivery.run.subscription.save()
            return
        CorpQueue.objects.update_or_create(corp=corp if of == "company" else None, defaults={"is_paused": is_paused})

    def test_of_one_subscription_leaves_the_others(self, corp: Corp, ids: list[int]) -> None:
        self.switch("subscription", corp, ids[:1], is_paused=True)

        assert hand_out(now=NOW).ordinary == ids[1:]

    def test_of_one_company_leaves_the_others(self, corp: Corp, ids: list[int], wire: Wire) -> None:
        other = make_corp(api_base_url=wire.url)
        theirs = render_run(run_id=make_run(make_subscription(make_person(other, "x"))).pk, now=NOW)
        self.switch("company", corp, ids, is_paused=True)

        assert hand_out(now=NOW).ordinary == theirs

    def test_does_not_make_worthless_messages_live_longer(self, corp: Corp, ids: list[int], clock: FakeClock) -> None:
        self.switch("company", corp, ids, is_paused=True)

        sweep(now=clock.advance(hours=25))

        assert statuses() == ["canceled"] * 2

    def test_between_two_messages_of_a_task_stops_it(
        self, corp: Corp, ids: list[int], wire: Wire, clock: FakeClock, settings: Settings
    ) -> None:
        settings.SEND_PARALLEL_PER_TASK = 1

        def pause_after_the_first() -> bool:
            if len(wire.bodies) == 1:
                self.switch("company", corp, ids, is_paused=True)
            return False

        assert send_deliveries(ids, clock=clock, is_stopping=pause_after_the_first) == 1


def test_every_company_gets_a_queue_and_all_of_them_one(corp: Corp) -> None:
    other = make_corp()
    CorpQueue.objects.create(corp=corp, daily_budget=7)

    blocking.ensure_queues()
    blocking.ensure_queues()

    assert sorted(CorpQueue.objects.values_list("corp_id", "daily_budget"), key=str) == sorted(
        [(corp.pk, 7), (other.pk, 0), (None, 0)], key=str
    )
