"""Companies with a broken configuration: the queue waits, administrators are notified once, and it resumes alone."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.core import mail
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from integrations.clients.errors import ConfigurationError
from integrations.companies import services
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.checks import CHECKS
from integrations.companies.diagnosis.findings import Finding, ok, wrong
from integrations.companies.services import save_corp
from integrations.core.background import database_now
from integrations.core.client_factory import token_store
from integrations.models import Corp
from notifications.delivery import maintenance
from notifications.delivery.channels import Outcome, make_error_outcome
from notifications.delivery.rendering.render import render_run, render_runs
from notifications.delivery.sending.queue import (
    block_company,
    ensure_queues,
    explain_block,
    find_held_until,
    hand_out_deliveries,
    notify_administrators,
    probe_company_at_once,
    unblock_companies,
)
from notifications.delivery.sending.send import send_deliveries
from notifications.models import CorpQueue, Delivery, Receipt, Run
from tests.integrations.diagnosing import carry_out
from tests.notifications.admin.conftest import client_of
from tests.notifications.conftest import FakeClock
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)
from tests.notifications.one_delivery import personal, send_all
from tests.notifications.wecom_stub import WeComStub, errcode

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _one_at_a_time(settings: Settings) -> None:
    settings.SEND_PARALLEL_PER_TASK = 1


def read_statuses() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("status", flat=True))


def send_and_see_all_go(probe: int, clock: FakeClock) -> None:
    """Send the message that finds out that the company works again, and assert that the three others follow."""
    send_all(clock, [probe])
    assert CorpQueue.objects.get().blocked_since is None
    rest = hand_out_deliveries(now=clock.now).ordinary
    assert len(rest) == 3
    send_all(clock, rest)
    assert read_statuses() == ["accepted"] * 4


@pytest.mark.parametrize("code", [60020, 48002, 301002])
def test_one_message_at_a_time_finds_out_and_then_all_go(
    code: int, corp: Corp, wire: WeComStub, clock: FakeClock
) -> None:
    ids = personal(corp, 4)
    wire.sends.extend([errcode(code)] * 2)

    assert send_all(clock, ids) == 1

    queue = CorpQueue.objects.get(corp=corp)
    assert (queue.blocked_since, queue.blocked_errcode) == (NOW, code)
    assert hand_out_deliveries(now=clock.now).ordinary == []
    [probe] = hand_out_deliveries(now=clock.advance(seconds=121)).ordinary
    assert hand_out_deliveries(now=clock.now).ordinary == []
    assert send_all(clock, [probe]) == 1
    assert CorpQueue.objects.get(corp=corp).blocked_since == NOW
    [probe] = hand_out_deliveries(now=clock.advance(seconds=121)).ordinary
    send_and_see_all_go(probe, clock)

    assert len(wire.bodies) == 6


def test_a_wrong_secret_asks_for_a_token_no_more_than_once_in_two_minutes(
    corp: Corp, wire: WeComStub, clock: FakeClock
) -> None:
    """WeCom blocks the whole IP address for an hour after repeated wrong secrets."""
    personal(corp, 5)
    wire.tokens.extend([errcode(40001)] * 20)

    for _ in range(60):  # two minutes of ticks
        send_all(clock, hand_out_deliveries(now=clock.now).ordinary)
        clock.advance(seconds=2)

    assert len(wire.tokens) == 19
    assert read_statuses() == ["pending"] * 5


def test_without_tokens_for_an_hour_the_company_is_held_until_then_and_all_goes_when_it_ends(
    corp: Corp, wire: WeComStub, clock: FakeClock
) -> None:
    ids = personal(corp, 4)
    wire.tokens.append(errcode(45009))

    assert send_all(clock, ids) == 1

    queue = CorpQueue.objects.get(corp=corp)
    assert (queue.blocked_since, queue.blocked_errcode) == (NOW, 45009)
    assert find_held_until(queue, now=NOW) == NOW + timedelta(hours=1)
    assert hand_out_deliveries(now=clock.advance(minutes=59)).ordinary == []
    [probe] = hand_out_deliveries(now=clock.advance(minutes=1)).ordinary
    token_store().forget(corp.corpid, corp.agentid)  # Valkey's own clock has not moved
    send_and_see_all_go(probe, clock)

    assert len(wire.bodies) == 4


def test_where_the_message_that_finds_out_is_lost_another_one_does_after_its_lease(
    corp: Corp, wire: WeComStub, clock: FakeClock
) -> None:
    ids = personal(corp, 4)
    wire.tokens.append(errcode(45009))
    send_all(clock, ids[:1])
    assert len(hand_out_deliveries(now=clock.advance(hours=1)).ordinary) == 1  # and its worker dies

    assert hand_out_deliveries(now=clock.advance(seconds=59)).ordinary == []
    assert len(hand_out_deliveries(now=clock.advance(seconds=1)).ordinary) == 1


class TestSomethingWasMended:
    @pytest.fixture
    def ids(self, corp: Corp, wire: WeComStub, clock: FakeClock) -> list[int]:
        """Messages of a company that is held up, none of them due."""
        ids = personal(corp, 3)
        wire.sends.append(errcode(60020))
        send_all(clock, ids)
        assert hand_out_deliveries(now=clock.advance(seconds=1)).ordinary == []
        return ids

    @pytest.mark.parametrize("name", ["token", "ip", "agentid", "app", "scope"])
    def test_a_check_that_passes_has_one_message_tried_at_once(
        self, name: str, ids: list[int], corp: Corp, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def carry_out_with(finding: Finding) -> None:
            monkeypatch.setitem(CHECKS, name, replace(CHECKS[name], run=lambda _question: finding))
            checks.request_checks(corp=corp, checks=[name], now=clock.now)
            carry_out(corp.check_runs.get(check_name=name), clock=clock)

        carry_out_with(wrong("refused"))
        assert hand_out_deliveries(now=clock.now).ordinary == []
        carry_out_with(ok("given"))

        [probe] = hand_out_deliveries(now=clock.now).ordinary

        assert hand_out_deliveries(now=clock.now).ordinary == []
        send_all(clock, [probe])
        assert sorted([probe, *hand_out_deliveries(now=clock.now).ordinary]) == ids

    def test_saved_credentials_have_one_tried_at_once_whatever_the_web_servers_clock_says(
        self,
        ids: list[int],
        corp: Corp,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Web servers with a clock that runs ahead would hold the company until that time."""
        corp.secret, before = "another", database_now()
        monkeypatch.setattr(timezone, "now", lambda: before + timedelta(hours=1))
        with django_capture_on_commit_callbacks(execute=True):
            save_corp(corp=corp, changed_fields={"secret"})

        queue = CorpQueue.objects.get()
        assert queue.probe_at is not None
        assert abs(queue.probe_at - before) < timedelta(minutes=30)

    def test_a_company_that_works_is_left_as_it_is(self, corp: Corp) -> None:
        CorpQueue.objects.create(corp=corp)

        probe_company_at_once(corp.pk, NOW)

        assert CorpQueue.objects.get().probe_at is None


def test_a_refused_message_shows_that_the_configuration_is_in_order(
    corp: Corp, wire: WeComStub, clock: FakeClock
) -> None:
    CorpQueue.objects.create(corp=corp, blocked_since=NOW, blocked_errcode=60020, notified_at=NOW)
    wire.sends.append(errcode(81013))

    send_all(clock, personal(corp, 1))

    queue = CorpQueue.objects.get()
    assert (queue.blocked_since, queue.blocked_errcode, queue.notified_at) == (None, None, None)


def test_another_company_is_not_held_up(corp: Corp) -> None:
    CorpQueue.objects.create(corp=make_corp(), blocked_since=NOW, probe_at=NOW + timedelta(hours=1))
    ids = personal(corp, 2)

    assert hand_out_deliveries(now=NOW).ordinary == ids


def test_a_secret_that_no_key_opens_holds_pushes_until_it_is_entered_again(
    corp: Corp, wire: WeComStub, clock: FakeClock, settings: Settings
) -> None:
    ids = personal(corp, 1)
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    send_all(clock, ids)

    queue = CorpQueue.objects.get(corp=corp)
    assert (read_statuses(), queue.blocked_since, queue.blocked_errcode) == (["pending"], NOW, -9001)
    assert "FIELD_ENCRYPTION_KEYS" in explain_block(queue)
    assert wire.bodies == []
    Corp.objects.filter(pk=corp.pk).update(secret="entered again", proxy_url="")
    clock.advance(seconds=121)
    send_all(clock, hand_out_deliveries(now=clock.now).ordinary)
    assert read_statuses() == ["accepted"]


def test_the_administrators_are_notified_once(
    corp: Corp, wire: WeComStub, clock: FakeClock, settings: Settings
) -> None:
    wire.sends.append(errcode(60020))
    send_all(clock, personal(corp, 1))
    assert notify_administrators(now=NOW) == 0  # without addresses
    settings.OPERATOR_EMAILS = ["ops@example.com"]

    assert [notify_administrators(now=NOW) for _ in range(3)] == [1, 0, 0]

    [message] = mail.outbox
    assert message.to == ["ops@example.com"]
    assert "北山制造" in message.subject
    assert "可信" in message.body  # 60020: the trusted addresses
    unblock_companies([corp.pk], now=NOW)
    block_company(corp.pk, make_broken_outcome(), now=NOW)
    assert notify_administrators(now=NOW) == 1


def test_a_mail_server_that_does_not_answer_is_not_asked_by_every_tick(
    corp: Corp, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OPERATOR_EMAILS = ["ops@example.com"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    block_company(corp.pk, make_broken_outcome(), now=NOW)

    assert [notify_administrators(now=NOW) for _ in range(2)] == [1, 0]

    assert f"corp={corp.pk}: the administrators could not be told: ConnectionRefusedError" in caplog.text


def make_broken_outcome() -> Outcome:
    return make_error_outcome(ConfigurationError("no", system="wecom", operation="message_send", code=60020))


class TestAPause:
    @pytest.fixture
    def ids(self, corp: Corp) -> list[int]:
        return personal(corp, 2)

    @pytest.mark.parametrize("of", ["company", "everything", "subscription"])
    def test_holds_what_waits_and_drops_nothing(self, of: str, corp: Corp, ids: list[int], clock: FakeClock) -> None:
        self.switch(of, corp, ids, is_paused=True)

        assert hand_out_deliveries(now=NOW).ordinary == []
        assert send_all(clock, ids) == 0
        maintenance.sweep_deliveries(now=clock.advance(hours=23))
        assert read_statuses() == ["pending"] * 2

        self.switch(of, corp, ids, is_paused=False)
        assert hand_out_deliveries(now=clock.now).ordinary == ids
        assert send_all(clock, ids) == 2
        assert read_statuses() == ["accepted"] * 2

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

        assert hand_out_deliveries(now=NOW).ordinary == ids[1:]

    def test_of_one_company_leaves_the_others(self, corp: Corp, ids: list[int], wire: WeComStub) -> None:
        other = make_corp(api_base_url=wire.url)
        theirs = render_run(run_id=make_run(make_subscription(make_person(other, "x"))).pk, now=NOW)
        self.switch("company", corp, ids, is_paused=True)

        assert hand_out_deliveries(now=NOW).ordinary == theirs

    def test_between_two_messages_of_a_task_stops_it(
        self, corp: Corp, ids: list[int], wire: WeComStub, clock: FakeClock
    ) -> None:

        def pause_after_the_first() -> bool:
            if len(wire.bodies) == 1:
                self.switch("company", corp, ids, is_paused=True)
            return False

        assert send_deliveries(ids, clock=clock, is_stopping=pause_after_the_first) == 1


def test_every_company_gets_a_queue_and_all_of_them_one(corp: Corp) -> None:
    other = make_corp()
    CorpQueue.objects.create(corp=corp, daily_budget=7)

    ensure_queues()
    ensure_queues()

    assert sorted(CorpQueue.objects.values_list("corp_id", "daily_budget"), key=str) == sorted(
        [(corp.pk, 7), (other.pk, 0), (None, 0)], key=str
    )


def test_a_company_disabled_between_two_messages_of_one_task(corp: Corp, wire: WeComStub, clock: FakeClock) -> None:
    ids = personal(corp, 5)

    def disable_before_the_third() -> bool:
        if len(wire.bodies) == 2:
            services.disable_corp(corp=corp)
        return False

    tried = send_deliveries(ids, clock=clock, is_stopping=disable_before_the_third)

    assert (tried, len(wire.bodies)) == (2, 2)
    assert read_statuses() == ["accepted", "accepted", "pending", "pending", "pending"]
    assert send_all(clock, ids) == 0
    assert hand_out_deliveries(now=clock.now, limit=10).ordinary == []
    assert len(wire.bodies) == 2

    Corp.objects.update(is_enabled=True)

    assert hand_out_deliveries(now=clock.now, limit=10).ordinary == ids[2:]


def test_what_becomes_due_meanwhile_is_recorded_and_not_made_up_for(
    corp: Corp, wire: WeComStub, clock: FakeClock
) -> None:
    run = make_run(make_subscription(make_person(corp, "lilei")))
    services.disable_corp(corp=corp)

    assert render_runs([run.pk], clock=clock, is_stopping=lambda: False) == []

    run.refresh_from_db()
    assert (run.status, run.skipped_count) == (Run.Status.FINISHED, 1)
    assert list(Receipt.objects.values_list("status", "reason")) == [("skipped", "corp_disabled")]
    Corp.objects.update(is_enabled=True)
    assert hand_out_deliveries(now=clock.now, limit=10).ordinary == []
    assert wire.bodies == []


def test_the_page_that_asks_says_how_many_people_messages_and_subscriptions_it_concerns(corp: Corp) -> None:
    personal(corp, 3)
    make_person(corp, "gone", is_active=False)
    make_subscription(make_person(corp, ""), report=make_report(corp=corp))
    root, address = client_of(make_superuser()), f"/admin/integrations/corp/{corp.pk}/disable/"

    text = root.get(address).content.decode()

    assert "3 人将无法用企业微信登录；已用企业微信登录的会立即退出。" in text
    assert "停用期间有 3 人收不到消息。" in text
    assert "3 条消息" in text
    assert "1 个已启用的推送" in text
    assert "停用期间到点的推送不再补发" in text
    assert Corp.objects.get().is_enabled

    root.post(address)

    assert not Corp.objects.get().is_enabled
