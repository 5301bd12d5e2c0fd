"""A message with files as one unit: taken back, resent and reported to its sender's owner as a whole."""

import json
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, User, WeComAccount
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.delivery.runs import recall
from notifications.delivery.runs.owner_notices import request_owner_notices
from notifications.inbound.accept import accept_message
from notifications.inbound.content import check_file
from notifications.models import Delivery, InboundChannel, IncomingMessage, Receipt, Run
from tests.notifications.admin.conftest import client_of
from tests.notifications.api.conftest import make_editor
from tests.notifications.factories import make_person, make_superuser
from tests.notifications.inbound.factories import make_incoming, make_sender

pytestmark = pytest.mark.django_db

FILES = [check_file("周报.pdf", b"%PDF-1.7 rest"), check_file("明细.csv", "城市,数量\n北京,1\n".encode())]


@pytest.fixture
def editor(corp: Corp) -> User:
    person = make_editor(corp)
    WeComAccount.objects.create(user=person, corp=corp, userid="Owner")
    return person


@pytest.fixture
def lin(corp: Corp) -> User:
    return make_person(corp, "LinFang")


@pytest.fixture
def message(corp: Corp, editor: User, zhang: User, lin: User) -> IncomingMessage:
    """A message with two files to two people, all of it accepted by WeCom."""
    accepted = accept_message(
        make_incoming(make_sender(editor), zhang, lin, text="见附件", files=FILES, corp=corp), now=now()
    )
    for run_id in accepted.run_ids:
        render_run(run_id=run_id, now=now())
    Delivery.objects.update(status="accepted", msgid="m", settled_at=now())
    Run.objects.update(status="finished", finished_at=now())
    return accepted.message


now = timezone.now


def page_of(message: IncomingMessage) -> str:
    return reverse("admin:notifications_incomingmessage_change", args=[message.pk])


def address_of(name: str, run: Run) -> str:
    return reverse(f"admin:notifications_run_{name}", args=[run.pk])


def list_runs() -> list[Run]:
    return list(Run.objects.order_by("pk"))


@pytest.mark.parametrize("part", [0, 1])
def test_one_press_takes_back_the_message_and_its_files(part: int, message: IncomingMessage, editor: User) -> None:
    browser, run = client_of(editor), list_runs()[part]
    shown = browser.get(page_of(message)).content.decode()
    log = browser.get(reverse("admin:notifications_run_change", args=[run.pk])).content.decode()
    assert address_of("recall", list_runs()[0]) in shown
    assert address_of("recall", run) in log
    assert "整条消息（连同文件）" in log

    answer = browser.post(address_of("recall", run))

    assert (answer.status_code, answer.headers["Location"]) == (302, page_of(message))
    assert [one.recall_requested_by for one in list_runs()] == [editor] * 3
    assert recall.find_due_recalls(now()).count() == 3
    assert not recall.can_be_recalled(run, now=now())
    assert AuditEntry.objects.filter(action="done", model="notifications.run").count() == 1
    assert address_of("recall", run) not in browser.get(page_of(message)).content.decode()


def test_what_waits_of_it_is_not_sent(message: IncomingMessage, editor: User) -> None:
    first, second, third = list_runs()
    Run.objects.filter(pk=third.pk).update(status="waiting")
    Delivery.objects.filter(run=second).update(status="pending")

    assert recall.request_recall(first, person=editor, now=now())

    assert Run.objects.get(pk=third.pk).status == "failed"
    assert Delivery.objects.get(run=second).status == "canceled"
    assert recall.find_due_recalls(now()).filter(run=first).count() == 1
    assert not recall.request_recall(second, person=editor, now=now())


def mark_unreached(run: Run, person: User) -> None:
    Receipt.objects.filter(run=run, user=person).update(status="invalid")


def test_one_press_sends_each_lost_part_to_whom_it_did_not_reach(
    message: IncomingMessage, editor: User, zhang: User, lin: User
) -> None:
    first, second, third = list_runs()
    mark_unreached(first, zhang)
    mark_unreached(third, zhang)
    mark_unreached(third, lin)
    browser = client_of(editor)
    shown = browser.get(page_of(message)).content.decode()
    asked = browser.get(address_of("resend", first)).content.decode()
    assert address_of("resend", first) in shown
    assert "2 人未收到" in asked
    assert "这条消息和随它而来的所有文件" in asked

    for _press in range(2):
        answer = browser.post(address_of("resend", second), {f"number-{second.pk}": "1"})
        assert (answer.status_code, answer.headers["Location"]) == (302, page_of(message))

    again = list_runs()[3:]
    assert [(run.resends, run.trigger, run.message, run.corp) for run in again] == [
        (first, "resend", message, first.corp),
        (third, "resend", message, first.corp),
    ]
    for run in again:
        render_run(run_id=run.pk, now=now())
    sent = [json.loads(bytes(one.body)) for one in Delivery.objects.filter(run__in=again).order_by("pk")]
    assert [(one["touser"], one["msgtype"]) for one in sent] == [("ZhangWei", "textcard"), ("ZhangWei|LinFang", "file")]
    assert Delivery.objects.get(run=again[1]).medium == Delivery.objects.get(run=third).medium
    assert not Receipt.objects.unreached(third).exists()
    assert "明细.csv" in browser.get(page_of(message)).content.decode()


def test_a_second_time_only_those_who_still_lack_it(message: IncomingMessage, editor: User, zhang: User) -> None:
    first, browser = list_runs()[0], client_of(editor)
    mark_unreached(first, zhang)
    browser.post(address_of("resend", first), {f"number-{first.pk}": "1"})
    [again] = list_runs()[3:]
    render_run(run_id=again.pk, now=now())
    mark_unreached(again, zhang)
    Run.objects.update(status="finished")

    browser.post(address_of("resend", again), {f"number-{again.pk}": "2"})

    [_first_time, second_time] = list_runs()[3:]
    assert (second_time.resends, second_time.key) == (first, f"resend:{first.pk}:2")


def test_the_owner_of_a_message_to_every_company_sees_it_sent_again(editor: User, zhang: User) -> None:
    accepted = accept_message(make_incoming(make_sender(editor), zhang), now=now())
    render_run(run_id=accepted.run_ids[0], now=now())
    [run] = list_runs()
    mark_unreached(run, zhang)
    root, colleague = make_superuser(), make_editor(*editor.managed_corps.all())
    client_of(root).post(address_of("resend", run), {f"number-{run.pk}": "1"})

    [again] = list_runs()[1:]

    assert set(Run.objects.visible_to(editor)) == {run, again}
    assert not Run.objects.visible_to(colleague).exists()


def test_the_owner_learns_once_that_a_message_failed(message: IncomingMessage, editor: User) -> None:
    Run.objects.update(status="failed", error="没有按时开始。")

    [notice_id] = request_owner_notices(now=now())
    render_run(run_id=notice_id, now=now())

    delivery = Delivery.objects.get(run=notice_id)
    assert json.loads(bytes(delivery.body))["touser"] == "Owner"
    assert delivery.title == "1 次推送没有发出"
    assert delivery.text.count("磁盘快满了 · 数据仓库") == 1
    assert request_owner_notices(now=now() + timedelta(days=1)) == []


def test_the_owner_of_a_channel_learns_it_and_nobody_else(corp: Corp, editor: User, zhang: User) -> None:
    WeComAccount.objects.create(user=make_editor(corp), corp=corp, userid="Colleague")
    channel = InboundChannel.objects.create(name="Grafana", owner=editor)
    accept_message(make_incoming(channel, zhang, corp=corp), now=now())
    Run.objects.update(status="failed", error="没有按时开始。")

    [notice_id] = request_owner_notices(now=now())
    render_run(run_id=notice_id, now=now())

    delivery = Delivery.objects.get()
    assert json.loads(bytes(delivery.body))["touser"] == "Owner"
    assert "Grafana" in delivery.text
