"""The effect of disabling a company, and of moving its people to another one, on messages."""

import pytest

from accounts.models import User
from accounts.users import companies
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
    Delivery.objects.update(status="accepted")
    assert "条消息" not in " ".join(corp_disabling.joined(corp))
    assert "推送" not in " ".join(corp_disabling.joined(make_corp()))


def test_moved_people_get_what_waited_and_then_what_the_other_company_sends() -> None:
    source, target = make_corp(), make_corp()
    person = make_person(source, "lilei")
    subscription = make_subscription(person)
    render_run(run_id=make_run(subscription).pk, now=NOW)

    companies.set_company(people=User.objects.filter(pk=person.pk), corp=target)
    render_run(run_id=make_run(subscription).pk, now=NOW)

    before, after = Delivery.objects.order_by("pk")
    assert (before.corp, after.corp) == (source, target)
    assert [list(one.receipts.values_list("user", "address")) for one in (before, after)] == [
        [(person.pk, f"{source.pk}:lilei")],
        [(person.pk, f"{target.pk}:lilei")],
    ]
