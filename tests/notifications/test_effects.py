"""The pages that ask before disabling a company or moving its people say what happens to messages."""

from __future__ import annotations

import pytest

from accounts.directory import transfers
from accounts.directory.transfer_batches import people_moving
from accounts.models import User
from integrations.core.hooks import corp_disabling
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery
from tests.notifications.factories import NOW, make_corp, make_person, make_report, make_run, make_subscription

pytestmark = pytest.mark.django_db


def test_waiting_messages_and_subscriptions_are_counted() -> None:
    corp = make_corp()
    person = make_person(corp, "lilei")
    for report in (make_report(corp=corp), make_report()):
        render_run(run_id=make_run(make_subscription(person, report=report)).pk, now=NOW)
    make_subscription(person, report=make_report(corp=corp), is_enabled=False)

    text = " ".join(corp_disabling.joined(corp))

    assert "2 条消息" in text
    assert "1 个已启用的推送" in text


def test_nothing_waiting_is_nothing_said() -> None:
    corp = make_corp()
    render_run(run_id=make_run(make_subscription(make_person(corp, "lilei"))).pk, now=NOW)
    Delivery.objects.update(status="accepted")

    assert "条消息" not in " ".join(corp_disabling.joined(corp))
    assert "推送" not in " ".join(corp_disabling.joined(make_corp()))


def test_moving_people_leaves_waiting_messages_and_subscriptions_behind() -> None:
    source, target = make_corp(name="AA"), make_corp(name="BB")
    person = make_person(source, "lilei")
    for report in (make_report(corp=source), make_report(corp=target), make_report()):
        render_run(run_id=make_run(make_subscription(person, report=report)).pk, now=NOW)

    assert people_moving.joined(source, target) == [
        "“AA”中还有 2 条消息在等待，仍会发给生成时确定的接收人。",
        "1 个已启用的推送只面向“AA”，转走的人员将不再收到。",
    ]
    assert people_moving.joined(make_corp(), source) == []


def test_moved_people_get_what_waited_and_then_what_the_other_company_sends() -> None:
    source, target = make_corp(), make_corp()
    person = make_person(source, "lilei")
    subscription = make_subscription(person)
    render_run(run_id=make_run(subscription).pk, now=NOW)

    root = User.objects.create_superuser("root")
    asked, _is_new = transfers.request_move(source=source, target=target, requested_by=root, ip=None, now=NOW)
    transfers.carry_out(move_id=asked.pk, clock=lambda: NOW)
    render_run(run_id=make_run(subscription).pk, now=NOW)

    before, after = Delivery.objects.order_by("pk")
    assert (before.corp, after.corp) == (source, target)
    assert [list(one.receipts.values_list("user", "address")) for one in (before, after)] == [
        [(person.pk, f"{source.pk}:lilei")],
        [(person.pk, f"{target.pk}:lilei")],
    ]
