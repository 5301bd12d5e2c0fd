"""The number of people shown before a push is sent is the number of people who get it, on every page."""

import html
import re
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Attribute, User, WeComAccount
from integrations.models import Corp, Department
from notifications.delivery.rendering import report_contents
from notifications.delivery.rendering.render import render_run
from notifications.models import Receipt, Run, Subscription, SubscriptionChoice
from notifications.subscriptions.recipients import read_audience, read_audiences, resolve_audience, resolve_audiences
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_person_panel import stand_in
from tests.notifications.admin.test_push_page import LIST, as_browsers_send, change
from tests.notifications.factories import make_corp, make_person, make_report, make_run, make_subscription
from tests.notifications.reports.places import answer, make_data_report, make_region, place, split

pytestmark = pytest.mark.django_db
EMPTY = "此人的属性为空：区域"
NO_ROWS = "没有此人的数据行"
WEEK = f"{LIST}week/"


@pytest.fixture
def corp() -> Corp:
    return make_corp(first_enabled_at=timezone.now())


@pytest.fixture
def region() -> Attribute:
    return make_region()


@pytest.fixture
def people(corp: Corp, region: Attribute) -> list[User]:
    """Five people: two have rows, one has no region, one has another region, one has left WeCom."""
    people = [make_person(corp, f"p{number}", name=f"P{number}") for number in range(5)]
    for person, value in zip(people, ["华东", "华南", "", "西北", "华东"], strict=True):
        place(person, region, *filter(None, [value]))
    left = {"userid": "", "userid_folded": "", "left_at": timezone.now()}
    WeComAccount.objects.filter(user=people[4]).update(**left)
    return people


@pytest.fixture
def push(people: list[User], region: Attribute) -> Subscription:
    """A push to `people` and to somebody without an account, whose data was fetched a day ago."""
    report = make_data_report()
    split(report, region)
    answer(report, slot_at=timezone.now() - timedelta(days=1))
    return make_subscription(*people, make_person(name="P5"), report=report, is_enabled=True)


def outlook(client: Client, subscription: Subscription, **changes: Any) -> str:
    """Return what the page shows beside its form."""
    sent = as_browsers_send(client, change(subscription), _id=subscription.pk, **changes)
    return html.unescape(client.post(f"{LIST}outlook/", sent).json()["outlook"])


def sent_now(subscription: Subscription) -> Run:
    run = make_run(subscription)
    answer(subscription.report, slot_at=run.slot_at)
    render_run(run_id=run.pk, now=run.slot_at)
    run.refresh_from_db()
    return run


def test_every_page_says_how_many_get_it(root: Client, push: Subscription, people: list[User]) -> None:
    beside = outlook(root, push)
    for not_saved_yet in ({"own_rows_rules-0-DELETE": "on"}, {"skips_people_without_rows": ""}):
        assert ">4 人</span>" in outlook(root, push, **not_saved_yet)
    listed = root.get(LIST).content.decode()
    week = root.get(WEEK).content.decode()
    page = html.unescape(root.get(change(push)).content.decode())
    before_sending = html.unescape(root.get(f"{LIST}{push.pk}/run/").content.decode())
    push.is_enabled = False
    push.save()
    enabling = root.post(LIST, {"action": "enable", "_selected_action": [push.pk]}).content.decode()

    run = sent_now(push)

    assert (run.recipient_count, run.skipped_count) == (2, 4)
    for text in (beside, page):
        assert ">2 人</span>" in text
        assert "4 人无法送达" in text
    assert "<small>(2 人)</small>" in listed
    assert f"{push}</a> (2 人)" in week
    assert "<summary><span>2 人</span></summary>" in week
    assert "将立即发送给 2 人" in before_sending
    assert "送达 2 人" in enabling
    for text in (beside, page, before_sending):
        assert f"{people[2]}：{EMPTY}" in text
        assert f"{people[3]}：{NO_ROWS}" in text
        assert "按 " in text
        assert "判断每个人有没有自己的数据行" in text
    receipts = dict(Receipt.objects.filter(run=run, status="skipped").values_list("user__name", "reason"))
    assert receipts == {"P2": "no_value", "P3": "no_rows", "P4": "barred", "P5": "no_account"}
    # The reason links to the person's form; the person's card shows it, too.
    person = reverse("admin:accounts_user_change", args=[people[2].pk])
    assert f'<a href="{person}" target="_blank" rel="opener">{people[2]}：{EMPTY}</a>' in beside
    receipts_of_run = root.get(reverse("admin:notifications_receipt_changelist"), {"run__id__exact": run.pk})
    assert f'<a href="{person}">{EMPTY}</a>' in receipts_of_run.content.decode()
    assert receipts_of_run.text.count('<span class="pill pill-good">完成</span> <span class="meta">未发送</span>') == 2
    Subscription.objects.update(is_enabled=True)
    contexts: Any = root.get(reverse("admin:accounts_user_card", args=[people[2].pk])).context
    assert [line[-1] for line in next(one for one in contexts if "lines" in one)["lines"]] == [EMPTY]


def test_without_data_it_says_that_rows_are_not_known(root: Client, push: Subscription) -> None:
    push.report.report_cards.get().card.answers.all().delete()

    unknown = "尚未获取过数据：暂不知道有多少人有自己的数据行。"
    before_sending = html.unescape(root.get(f"{LIST}{push.pk}/run/").content.decode())

    for text in (outlook(root, push), html.unescape(root.get(change(push)).content.decode())):
        assert '<span class="pill pill-quiet">人数未知</span>' in text
        assert "4 人</span>" not in text
        assert unknown in text
    assert f"“{push}”将立即发送。" in before_sending
    assert unknown in before_sending
    assert "将立即发送给" not in before_sending
    assert f"<small>({unknown})</small>" in root.get(LIST).content.decode()
    week = root.get(WEEK).content.decode()
    assert f"{push}</a> (人数未知)" in week
    assert "<summary><span>0 人</span></summary>" in week
    assert "部分推送按 0 人计" in week
    saved = root.post(change(push), as_browsers_send(root, change(push)))
    said = [str(one) for one in get_messages(saved.wsgi_request)]
    assert any(one.startswith(f"{unknown}无法送达") for one in said), said
    assert not any("送达 4 人" in one for one in said)
    Subscription.objects.update(is_enabled=False)
    push.report.own_rows_rules.update(column="大区")
    answer(push.report, slot_at=timezone.now())
    assert "没有“大区”这一列" in outlook(root, push)
    push.report.report_cards.get().card.answers.all().delete()
    assert "人数未知" in root.post(LIST, {"action": "enable", "_selected_action": [push.pk]}).content.decode()


def test_who_tries_it_without_a_value_reads_which_is_missing(push: Subscription, corp: Corp) -> None:
    me = make_person(corp, "root", is_superuser=True, is_staff=True)
    client = client_of(me)

    tried = client.post(f"{LIST}{push.pk}/try/", {"token": "a" * 32})
    saved = client.post(change(push), as_browsers_send(client, change(push), _try="1", token="b" * 32))

    assert not Run.objects.exists()
    for one in (tried, saved):
        said = [(each.level_tag, str(each)) for each in get_messages(one.wsgi_request)]
        link = f'<a href="{reverse("admin:accounts_user_change", args=[me.pk])}">'
        assert [(level, link in text and EMPTY in text) for level, text in said][-1] == ("error", True)
        assert not any("将送达" in text for _level, text in said)


def test_whoever_paused_it_or_gets_it_by_another_way_counts_as_sending_counts_them(
    root: Client, push: Subscription, people: list[User], corp: Corp
) -> None:
    """Compare the batch count of the list with `resolve` for sixteen ways to choose and reach people."""
    group = Group.objects.create(name="组")
    group.user_set.add(people[0], people[1])
    head = Department.objects.create(corp=corp, wecom_department_id=1, name="总部")
    below = Department.objects.create(corp=corp, wecom_department_id=2, wecom_parent_id=1, name="分部")
    stand_in(corp, "p1", below)
    User.objects.filter(pk=people[3].pk).update(email="p3@example.com", is_active=False)
    User.objects.filter(username="P5").update(email="p5@example.com")
    pushes = [push]
    for number, ways in enumerate(product((False, True), repeat=4)):
        by_mail, to_everyone, with_below, in_company = ways
        report = make_report(corp=corp) if in_company else make_report()
        one = make_subscription(*people[number % 4 :], report=report, to_everyone=to_everyone)
        one.channel, one.fallback_channel = ("email", "") if by_mail else ("wecom", "email" if with_below else "")
        one.with_subdepartments = with_below
        one.save()
        one.groups.add(group)
        one.departments.add(head)
        if number % 3 == 0:
            SubscriptionChoice.objects.create(subscription=one, user=people[1], kind="paused", chosen_at=timezone.now())
        pushes.append(one)

    found = resolve_audiences(read_audiences(pushes))

    assert found == {one.pk: list(resolve_audience(read_audience(one))) for one in pushes}
    assert len({tuple(each) for each in found.values()}) == 7


def test_so_many_people_are_counted_on_a_page_and_of_the_rest_it_says_where_they_are(
    root: Client, push: Subscription, people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = "人数太多，此处不统计：请打开推送查看人数。"
    with monkeypatch.context() as patch:
        patch.setattr(report_contents, "CHECKED_AT_MOST", 10)
        own = make_subscription(*people, report=push.report)
        found = re.findall(r"<small>\((.*?)\)</small>", root.get(LIST).content.decode())
        assert found == ["2 人", elsewhere]
        assert ">2 人</span>" in outlook(root, push)
    for one in (own, push):
        one.delete()
    monkeypatch.setattr("notifications.subscriptions.recipients.COUNTED_AT_MOST", 2)
    few, many = make_subscription(*people[:2]), make_subscription(*people)

    found = re.findall(r"<small>\((.*?)\)</small>", root.get(LIST).content.decode())
    week = root.get(WEEK).content.decode()

    assert sorted(found) == ["2 人", elsewhere]
    assert f'/{few.pk}/change/">{few}</a> (2 人)' in week
    assert f'/{many.pk}/change/">{many}</a> (人数未知)' in week
    assert ">4 人</span>" in root.get(change(many)).content.decode()


def test_neither_list_nor_calendar_nor_the_page_of_a_person_asks_more_for_more_pushes(
    root: Client, push: Subscription, people: list[User], region: Attribute
) -> None:
    pages = [LIST, WEEK, reverse("admin:accounts_user_change", args=[people[0].pk])]

    def count_queries() -> list[int]:
        counts = []
        for page in pages:
            with CaptureQueriesContext(connection) as queries:
                assert root.get(page).status_code == 200
            counts.append(len(queries))
        return counts

    make_subscription(*people[:2])
    count_queries()
    before = count_queries()
    for _number in range(24):
        report = make_data_report()
        split(report, region)
        answer(report, slot_at=timezone.now() - timedelta(days=1))
        make_subscription(*people, report=report)
        make_subscription(*people[:2])

    assert count_queries() == before
    assert root.get(LIST).content.decode().count("<small>(2 人)</small>") == 50
