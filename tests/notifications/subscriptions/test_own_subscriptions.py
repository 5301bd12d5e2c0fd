"""My subscriptions: what is sent to me, and what I pause or do not want."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, Receipt, Run, Subscription, SubscriptionChoice
from notifications.subscriptions.addressees import choose_subscription, find_own_subscriptions
from notifications.subscriptions.recipients import read_audience, resolve_audience
from tests.bi import make_bi
from tests.integrations.pages import version_on
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_admin import values
from tests.notifications.factories import NOW, make_corp, make_person, make_report, make_run, make_subscription

pytestmark = pytest.mark.django_db
HOST = {"host": "localhost:3001"}
IPHONE_WECOM = "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 Mobile/15E148 wxwork/4.1.30 MicroMessenger/7.0.1 Language/zh"


@pytest.fixture
def corp() -> Corp:
    return make_corp(name="青禾数据")


@pytest.fixture
def person(corp: Corp) -> User:
    return make_person(corp, "lilei", name="李雷")


@pytest.fixture
def signed_in(person: User) -> Client:
    return client_of(person)


def choose(person: User, subscription: Subscription, kind: str) -> bool:
    return choose_subscription(person, subscription_id=subscription.pk, kind=kind, now=NOW)


def reasons(subscription: Subscription) -> list[Receipt.Reason | None]:
    return [one.reason for one in resolve_audience(read_audience(subscription))]


class TestList:
    def test_has_what_names_me_my_group_or_everyone_or_has_reached_me(
        self, person: User, django_assert_max_num_queries: Any
    ) -> None:
        group = Group.objects.create(name="早会")
        person.groups.add(group)
        make_subscription(person, name="A 点名")
        make_subscription(name="B 分组").groups.add(group)
        make_subscription(name="C 全员", to_everyone=True)
        reached = make_subscription(person, name="D 部门日报")
        render_run(run_id=make_run(reached).pk, now=NOW)
        reached.users.clear()
        make_subscription(make_person(), name="别人的")
        make_subscription(person, name="停用", is_enabled=False)
        make_subscription(person, report=make_report(corp=make_corp()), name="别家")
        make_subscription(report=make_report(corp=make_corp()), name="别家全员", to_everyone=True)

        with django_assert_max_num_queries(6):
            assert [one.name for one in find_own_subscriptions(person)] == [
                *("A 点名", "B 分组", "C 全员", "D 部门日报")
            ]
        assert list(find_own_subscriptions(make_person())) == []

    @pytest.mark.parametrize("kind", ["", "paused", "declined"])
    def test_shows_the_name_of_the_push_and_the_next_time_and_no_template(
        self, signed_in: Client, person: User, kind: str
    ) -> None:
        report = make_report(title="{{ yesterday }}销售", is_template=True)
        choose(person, make_subscription(person, report=report, name="销售日报", next_run_at=NOW), kind)

        text = signed_in.get("/subscriptions/", headers=HOST).content.decode()

        assert "销售日报" in text
        assert f"{timezone.localtime(NOW):%Y-%m-%d %H:%M}" in text
        assert "{{" not in text

    def test_wants_a_signed_in_person_and_says_what_it_is_for_where_there_is_nothing(
        self, person: User, client: Client
    ) -> None:
        assert client.get("/subscriptions/", headers=HOST)["Location"] == "/login/?next=/subscriptions/"
        choice = "/subscriptions/1/choice/"
        assert client.post(choice, {"choice": "paused"}, headers=HOST)["Location"] == f"/login/?next={choice}"
        assert "目前没有推送给您的内容" in client_of(person).get("/subscriptions/").content.decode()


class TestChoice:
    @pytest.mark.parametrize("kind", ["paused", "declined"])
    def test_keeps_messages_away_but_no_trial_and_says_so_in_the_receipt(
        self, signed_in: Client, person: User, corp: Corp, kind: str
    ) -> None:
        other = make_person(corp, "han")
        subscription = make_subscription(person, other)
        response = signed_in.post(f"/subscriptions/{subscription.pk}/choice/", {"choice": kind}, headers=HOST)
        run, trial = (make_run(subscription), make_run(subscription, trigger=Run.Trigger.TRIAL, requested_by=person))
        for one in (run, trial):
            render_run(run_id=one.pk, now=NOW)

        assert response["Location"] == "/subscriptions/"
        assert run.receipts.filter(user=person).values_list("status", "reason").get() == ("skipped", kind)
        assert Delivery.objects.get(run=run).recipient_count == 1
        assert run.receipts.get(user=other).status == trial.receipts.get().status == ""

    @pytest.mark.parametrize(("channel", "fallback"), [("wecom", ""), ("wecom", "email"), ("email", "")])
    def test_counts_where_everyone_is_meant_on_each_channel_and_leaves_other_pushes(
        self, person: User, channel: str, fallback: str
    ) -> None:
        User.objects.filter(pk=person.pk).update(email="lilei@example.com")
        subscription = make_subscription(to_everyone=True, channel=channel, fallback_channel=fallback)
        choose(person, subscription, "paused")
        assert reasons(subscription) == [Receipt.Reason.PAUSED]
        assert reasons(make_subscription(person)) == [None]

    def test_can_be_taken_back(self, signed_in: Client, person: User) -> None:
        subscription = make_subscription(person, name="销售日报")
        page = f"/subscriptions/{subscription.pk}/choice/"
        for kind, shown in (("paused", "恢复"), ("declined", "重新接收"), ("", "暂停")):
            text = signed_in.post(page, {"choice": kind}, headers=HOST, follow=True).content.decode()
            assert shown in text
            assert list(SubscriptionChoice.objects.values_list("kind", flat=True)) == [kind] * bool(kind)

        assert reasons(subscription) == [None]
        choose(person, subscription, "paused")
        subscription.delete()
        assert not SubscriptionChoice.objects.exists()

    def test_of_an_unknown_kind_or_about_somebody_elses_subscription_is_refused(
        self, signed_in: Client, person: User
    ) -> None:
        mine, others = make_subscription(person), make_subscription(make_person())
        for pk, kind, status in [
            *((pk, "paused", 404) for pk in (others.pk, 999_999, 2**62)),
            *((mine.pk, kind, 400) for kind in ("for-ever", "PAUSED", "\x00")),
        ]:
            answer = signed_in.post(f"/subscriptions/{pk}/choice/", {"choice": kind}, headers=HOST)
            assert answer.status_code == status
        assert not SubscriptionChoice.objects.exists()


class TestAdministrators:
    """The subscription's form shows who has paused or declined it."""

    @pytest.mark.parametrize("kind", ["paused", "declined"])
    def test_the_preview_counts_the_choice(self, root: Client, person: User, corp: Corp, kind: str) -> None:
        han = make_person(corp, "han")
        subscription = make_subscription(person, han)
        choose(person, subscription, kind)
        page = reverse("admin:notifications_subscription_preview")
        form, label = values(subscription.report, person, han), str(Receipt.Reason(kind).label)

        known = root.post(page, {**form, "_id": str(subscription.pk)}).json()["outlook"]
        new = root.post(page, form).json()["outlook"]

        assert ("1 人" in known, "2 人" in known, "李雷" in known, label in known) == (True, False, True, True)
        assert label not in new

    def test_one_that_all_have_paused_can_still_be_changed(self, root: Client, person: User) -> None:
        subscription = make_subscription(person)
        choose(person, subscription, "paused")
        page = reverse("admin:notifications_subscription_change", args=[subscription.pk])

        sent = values(subscription.report, person, name="改名", page_version=version_on(root, page))

        assert root.post(page, sent).status_code == 302
        subscription.refresh_from_db()
        assert (subscription.name, subscription.is_enabled) == ("改名", True)


class TestHome:
    def push(self, person: User, count: int = 1, **report: str) -> None:
        for _number in range(count):
            run = make_run(make_subscription(person, report=make_report(**report)))
            render_run(run_id=run.pk, now=NOW)
            Delivery.objects.filter(run=run).update(status=Delivery.Status.ACCEPTED, settled_at=NOW)

    def test_searches_titles_and_texts_and_says_that_nothing_was_found(
        self, signed_in: Client, person: User, corp: Corp
    ) -> None:
        """Matches in another person's messages are not found. The next page keeps the search words."""
        self.push(person, title="销售日报", body="华东 100%")
        self.push(person, title="库存周报", body="缺货清单")
        self.push(make_person(corp, "han"), title="绝密日报")
        for words, title in (("销售", "销售日报"), ("缺货", "库存周报"), ("100%", "销售日报"), ("%", "销售日报")):
            text = signed_in.get("/", {"q": words}, headers=HOST).content.decode()
            assert [one for one in ("销售日报", "库存周报") if one in text] == [title]
        for words in ("绝密", "<b>x</b>", "\x00\x00无", "x" * 5000, "'; drop table"):
            text = signed_in.get("/", {"q": words}, headers=HOST).content.decode()
            assert "没有包含" in text
            assert "<b>x</b>" not in text
            assert "绝密日报" not in text
        self.push(person, 21, title="销售 & 日报")
        text = signed_in.get("/", {"q": "销售 &"}, headers=HOST).content.decode()
        assert "&amp;q=%E9%94%80%E5%94%AE%20%26" in text

    def test_begins_with_the_bi_for_who_may_enter_it_and_has_a_tab_for_each_page(
        self, signed_in: Client, corp: Corp
    ) -> None:
        entry = '<a class="card entry" href="/bi/">'
        make_bi()
        assert entry in signed_in.get("/", headers=HOST).content.decode()
        Corp.objects.filter(pk=corp.pk).update(bi_sign_in_enabled=False)
        assert entry not in signed_in.get("/", headers=HOST).content.decode()

        text = signed_in.get("/subscriptions/", headers=HOST).content.decode()
        tabs = text.split('<nav class="tabs"')[1].split("</nav>")[0]
        assert [part.split("</a>")[0].rpartition(">")[2] for part in tabs.split("<a ")[1:]] == [
            *("消息", "预警", "推送", "我的")
        ]
        assert '<a href="/subscriptions/" aria-current="page">' in tabs

    def test_is_light_enough_for_a_slow_phone(self, signed_in: Client, person: User) -> None:
        """Counts all that WeCom's browser fetches for the first page, compressed as by WhiteNoise, without pictures."""
        self.push(person, 21, title="销售日报", body="今日销售额 128 万元。" * 20)
        session = signed_in.session
        session["corp_id"] = person.wecom_accounts.get().corp_id
        session.save()

        page = signed_in.get("/", headers={**HOST, "user-agent": IPHONE_WECOM}).content
        names = re.findall(rb'(?:src|rel="stylesheet" href)="/static/([^"]+)"', page)
        files = [Path(str(finders.find(name.decode()))) for name in names]

        assert b"accounts/wecom-jssdk-2.4.4/wecom.global.prod.js" in names
        assert sum(len(gzip.compress(content)) for content in (page, *(file.read_bytes() for file in files))) < 60_000
