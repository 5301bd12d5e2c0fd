"""The send queues in the administration: their rows, who may pause them, and the notes on the index."""

import re
import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.models import AuditEntry
from integrations.models import Corp
from notifications.delivery.channels import make_app_limits
from notifications.delivery.limiter import Request, ask_gate
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs import statistics
from notifications.delivery.sending.queue import ensure_queues
from notifications.models import CorpQueue
from tests.databases import somebody_waits
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_people,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db

LIST = reverse("admin:notifications_corpqueue_changelist")


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


def make_address(queue: CorpQueue) -> str:
    return reverse("admin:notifications_corpqueue_change", args=[queue.pk])


def make_waiting(corp: Corp, count: int) -> None:
    render_run(run_id=make_run(make_subscription(*make_people(corp, count))).pk, now=NOW)


def use_budget(corp: Corp, persons: int) -> None:
    app = make_app_limits(corp.corpid, corp.agentid)
    ask_gate(lambda gate: gate.acquire([Request("x", (), app=app, persons=persons)]))


def read_cells(client: Client, name: str) -> list[str]:
    """Return the texts of column `name`, beginning with the row of all companies."""
    found = re.findall(rf'class="field-{name}[^"]*">(.*?)</t[dh]>', client.get(LIST).content.decode(), re.DOTALL)
    return [re.sub(r"<[^>]+>", "", cell).strip() for cell in found]


def test_the_list_has_a_row_for_each_company_and_one_for_all(root: Client, corp: Corp) -> None:
    make_waiting(corp, 3)
    make_waiting(make_corp(), 2)
    use_budget(corp, 1200)
    ensure_queues()

    assert "1,200" in read_cells(root, "today")[1]

    assert read_cells(root, "waiting") == ["5 人次", "3 人次", "2 人次"]
    assert read_cells(root, "time_left") == ["—", "1 分钟", "1 分钟"]


@pytest.mark.parametrize(
    ("is_disabled", "states"), [(False, ["已暂停", "已暂停 全部公司已暂停"]), (True, ["正常", "已停用 公司已停用"])]
)
def test_while_all_is_paused_or_a_company_disabled_its_row_says_so_and_nothing_is_estimated(
    root: Client, corp: Corp, is_disabled: bool, states: list[str]
) -> None:
    make_waiting(corp, 3)
    ensure_queues()
    if is_disabled:
        Corp.objects.update(is_enabled=False)
    else:
        CorpQueue.objects.filter(corp=None).update(is_paused=True)

    assert read_cells(root, "state") == states
    assert read_cells(root, "time_left") == ["—", "—"]


def test_a_company_without_tokens_is_called_held_until_a_time(root: Client, corp: Corp) -> None:
    make_waiting(corp, 3)
    ensure_queues()
    until = timezone.now() + timedelta(minutes=50)
    CorpQueue.objects.filter(corp=corp).update(blocked_since=NOW, blocked_errcode=45009, probe_at=until)
    shown = f"{timezone.localtime(until):%Y-%m-%d %H:%M}"

    text = root.get(make_address(CorpQueue.objects.get(corp=corp))).content.decode()

    assert read_cells(root, "state") == ["正常", f"等待 暂停发送至 {shown}"]
    assert read_cells(root, "time_left") == ["—", "—"]
    assert "企业微信在一小时内不再向本服务器发放 access_token" in text
    assert "“北山制造”：企业微信在 " in root.get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("used", "shown", "tone"),
    [(799, "799 / 1,000 (79 %)", ""), (800, "800 / 1,000 (80 %)", "warn"), (1000, "1,000 / 1,000 (100 %)", "bad")],
)
def test_a_day_that_is_nearly_used_is_marked(used: int, shown: str, tone: str, root: Client, corp: Corp) -> None:
    ensure_queues()
    CorpQueue.objects.filter(corp=corp).update(daily_budget=1000)
    use_budget(corp, used)

    assert read_cells(root, "today")[1] == shown
    assert (f'<span class="pill pill-{tone}">{shown}</span>' in root.get(LIST).content.decode()) == bool(tone)


def test_pausing_and_the_budget_are_saved_and_stand_in_the_audit_trail(root: Client, corp: Corp) -> None:
    queue = CorpQueue.objects.create(corp=corp)

    root.post(make_address(queue), {"is_paused": "on", "daily_budget": "100000"})

    queue.refresh_from_db()
    assert (queue.is_paused, queue.daily_budget) == (True, 100_000)
    entry = AuditEntry.objects.filter(corp=corp).latest("pk")
    assert "100000" in str(entry.changes)


def test_who_manages_one_company_sees_no_other_queue_and_not_that_of_all(corp: Corp) -> None:
    mine, theirs, every = (CorpQueue.objects.create(corp=it) for it in (corp, make_corp(), None))
    manager = make_manager(corp, permissions="corpqueue")
    client = client_of(manager)

    for queue in (theirs, every):
        assert client.post(make_address(queue), {"is_paused": "on"}).status_code == 302
    assert client.post(make_address(mine), {"is_paused": "on", "daily_budget": "0"}).status_code == 302

    assert list(CorpQueue.objects.filter(is_paused=True)) == [mine]


def test_a_company_that_is_held_up_says_why_and_what_to_do(root: Client, corp: Corp) -> None:
    queue = CorpQueue.objects.create(corp=corp, blocked_since=NOW, blocked_errcode=60020)

    page, index = root.get(make_address(queue)).content.decode(), root.get(reverse("admin:index")).content.decode()

    assert "受阻" in page
    assert "可信" in page
    assert "消息不会丢失" in page
    assert "“北山制造”：服务器 IP 被拒绝 · 自 2026-11-24 09:00 起 · 添加企业可信IP" in index


def test_the_index_points_at_pauses_and_at_days_that_are_nearly_used(root: Client, corp: Corp) -> None:
    CorpQueue.objects.create(corp=corp, daily_budget=1000, is_paused=True)
    use_budget(corp, 799)
    assert "额度" not in root.get(reverse("admin:index")).content.decode()

    app = make_app_limits(corp.corpid, corp.agentid)
    ask_gate(lambda gate: gate.acquire([Request("y", (), app=app, persons=1)]))

    text = root.get(reverse("admin:index")).content.decode()
    assert "北山制造 今日的消息额度已用 80 %。" in text
    assert "北山制造 的推送已暂停。" in text


def test_without_valkey_the_list_shows_what_it_can(corp: Corp, settings: Settings) -> None:
    queue = CorpQueue.objects.create(corp=corp, daily_budget=10)
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"

    assert statistics.count_used_today([queue]) == {}


def test_a_company_goes_with_its_queue(root: Client, corp: Corp) -> None:
    """Ticks create a queue for every company; a company that was never enabled can still be deleted."""
    Corp.objects.update(is_enabled=False, first_enabled_at=None)
    CorpQueue.objects.create(corp=corp, daily_budget=1000)

    root.post(reverse("admin:integrations_corp_delete", args=[corp.pk]), {"post": "yes"})

    assert not Corp.objects.exists()
    assert not CorpQueue.objects.filter(corp__isnull=False).exists()
    deleted = AuditEntry.objects.filter(action="deleted").values_list("model", "subject")
    assert set(deleted) == {("notifications.corpqueue", "北山制造"), ("integrations.corp", "北山制造")}


@pytest.mark.django_db(transaction=True)
def test_a_company_goes_while_a_worker_writes_its_queue(root: Client, corp: Corp) -> None:
    """Simulates a check of the company that is under way and ends at that moment."""
    Corp.objects.update(is_enabled=False, first_enabled_at=None)
    is_written, is_over = threading.Event(), threading.Event()

    def write_queue() -> None:
        with transaction.atomic():
            CorpQueue.objects.create(corp=corp)
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # checks foreign keys as at the end of the transaction
            is_written.set()
            while not is_over.is_set() and not somebody_waits():
                time.sleep(0.02)
        connection.close()

    thread = threading.Thread(target=write_queue)
    thread.start()
    assert is_written.wait(60)
    answer = root.post(reverse("admin:integrations_corp_delete", args=[corp.pk]), {"post": "yes"})
    is_over.set()
    thread.join()

    assert answer.status_code == 302
    assert not Corp.objects.exists()


@pytest.mark.parametrize(
    ("calls", "per_hour", "state", "expected"),
    [
        (1000, 0, {}, timedelta(minutes=1)),
        (1000, 1000, {}, timedelta(minutes=1)),
        (1001, 1000, {}, timedelta(hours=1)),
        (2500, 1000, {}, timedelta(hours=2)),
        (600_000, 600_000, {}, timedelta(minutes=600)),
        (0, 1000, {}, None),
        (5, 1000, {"is_paused": True}, None),
        (5, 1000, {"blocked_since": NOW}, None),
    ],
)
def test_the_estimate_knows_both_limits_and_what_is_held_has_no_end(
    calls: int, per_hour: int, state: dict[str, object], expected: timedelta | None, settings: Settings
) -> None:
    settings.LIMIT_COMPANY_PER_MINUTE, settings.LIMIT_COMPANY_PER_HOUR = 1000, per_hour
    queue = CorpQueue.objects.create(corp=make_corp(), **state)
    queue.calls = calls  # type: ignore[attr-defined]  # annotated by whoever asks

    statistics.annotate_queues([queue], now=NOW)

    assert queue.time_left == expected  # type: ignore[attr-defined]  # set by describe
