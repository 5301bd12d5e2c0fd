"""My subscriptions: what is sent to me, and what I pause or do not want."""

from __future__ import annotations

import gzip

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
from notifications.sources import Audience
from notifications.subscriptions.addressees import choose_subscription, find_own_subscriptions
from notifications.subscriptions.recipients import named_audience, resolve_audience
from tests.bi import make_bi
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_admin import values, version_on
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)

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
def signed_in(person: User, client: Client) -> Client:
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def titles(person: User) -> list[str]:
    return [one.name for one in find_own_subscriptions(person)]


class TestList:
    def test_has_what_names_me_my_group_or_everyone_or_has_reached_me(self, person: User) -> None:
        group = Group.objects.create(name="早会")
        person.groups.add(group)
        make_subscription(person, report=make_report(), name="A 点名")
        make_subscription(report=make_report(), name="B 分组").groups.add(group)
        make_subscription(report=make_report(), name="C 全员", to_everyone=True)
        reached = make_subscription(person, report=make_report(), name="D 部门日报")
        render_run(run_id=make_run(reached).pk, now=NOW)
        reached.users.clear()
        make_subscription(make_person(), report=make_report(), name="别人的")
        make_subscription(person, report=make_report(), name="停用", is_enabled=False)
        make_subscription(person, report=make_report(corp=make_corp()), name="别家")
        make_subscription(report=make_report(corp=make_corp()), name="别家全员", to_everyone=True)

        assert titles(person) == ["A 点名", "B 分组", "C 全员", "D 部门日报"]
        assert titles(make_person()) == []

    def test_takes_as_many_queries_for_many(self, person: User, django_assert_max_num_queries: object) -> None:
        for number in range(12):
            make_subscription(person, report=make_report(), name=f"报告 {number:02}")

        with django_assert_max_num_queries(6):  # type: ignore[operator]  # pytest-django's fixture
            assert len(titles(person)) == 12

    @pytest.mark.parametrize("kind", ["", "paused", "declined"])
    def test_shows_the_name_of_the_push_and_the_next_time_and_no_template(
        self, signed_in: Client, person: User, kind: str
    ) -> None:
        subscription = make_subscription(
            person,
            report=make_report(title="{{ yesterday }}销售", is_template=True),
            name="销售日报",
            next_run_at=NOW,
        )
        choose_subscription(person, subscription_id=subscription.pk, kind=kind, now=NOW)

        text = signed_in.get("/subscriptions/", headers=HOST).content.decode()

        assert "销售日报" in text
        assert f"{timezone.localtime(NOW):%Y-%m-%d %H:%M}" in text
        assert "{{" not in text

    def test_wants_a_signed_in_person_and_says_what_it_is_for_where_there_is_nothing(
        self, person: User, client: Client
    ) -> None:
        assert client.get("/subscriptions/", headers=HOST)["Location"] == "/login/?next=/subscriptions/"
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        assert "目前没有推送给您的内容" in client.get("/subscriptions/", headers=HOST).content.decode()


class TestChoice:
    @pytest.mark.parametrize("kind", ["paused", "declined"])
    def test_keeps_messages_away_and_says_so_in_the_receipt(
        self, signed_in: Client, person: User, corp: Corp, kind: str
    ) -> None:
        other = make_person(corp, "han")
        subscription = make_subscription(person, other)
        response = signed_in.post(f"/subscriptions/{subscription.pk}/choice/", {"choice": kind}, headers=HOST)
        run = make_run(subscription)

        render_run(run_id=run.pk, now=NOW)

        assert response["Location"] == "/subscriptions/"
        assert Receipt.objects.filter(user=person).values_list("status", "reason").get() == ("skipped", kind)
        assert Delivery.objects.get(run=run).recipient_count == 1
        assert Receipt.objects.get(user=other).status == ""

    def test_counts_where_everyone_is_meant_and_leaves_other_pushes(self, person: User) -> None:
        subscription, other = make_subscription(to_everyone=True), make_subscription(person)
        choose_subscription(person, subscription_id=subscription.pk, kind="paused", now=NOW)

        assert [one.reason for one in resolve_audience(named_audience(subscription))] == [Receipt.Reason.PAUSED]
        assert [one.reason for one in resolve_audience(named_audience(other))] == [None]

    def test_does_not_stop_a_trial_for_oneself(self, person: User) -> None:
        subscription = make_subscription(person)
        choose_subscription(person, subscription_id=subscription.pk, kind="declined", now=NOW)
        run = make_run(subscription, trigger=Run.Trigger.TRIAL, requested_by=person)

        render_run(run_id=run.pk, now=NOW)

        assert Receipt.objects.get(run=run).status == ""
        assert [one.reason for one in resolve_audience(Audience([person.pk]))] == [None]

    @pytest.mark.parametrize(("channel", "fallback"), [("wecom", "email"), ("email", "")])
    def test_counts_for_mail_too(self, person: User, channel: str, fallback: str) -> None:
        User.objects.filter(pk=person.pk).update(email="lilei@example.com")
        subscription = make_subscription(person, channel=channel, fallback_channel=fallback)
        choose_subscription(person, subscription_id=subscription.pk, kind="declined", now=NOW)

        assert [one.reason for one in resolve_audience(named_audience(subscription))] == [Receipt.Reason.DECLINED]

    def test_can_be_taken_back(self, signed_in: Client, person: User) -> None:
        subscription = make_subscription(person, report=make_report(), name="销售日报")
        page = f"/subscriptions/{subscription.pk}/choice/"

        for kind, shown in (("paused", "恢复"), ("declined", "重新接收"), ("", "暂停")):
            text = signed_in.post(page, {"choice": kind}, headers=HOST, follow=True).content.decode()
            assert shown in text
            assert list(SubscriptionChoice.objects.values_list("kind", flat=True)) == [kind] * bool(kind)

        assert [one.reason for one in resolve_audience(named_audience(subscription))] == [None]
        choose_subscription(person, subscription_id=subscription.pk, kind="paused", now=NOW)
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

    def test_needs_a_form_of_ours_from_somebody_signed_in(self, person: User, client: Client) -> None:
        page = f"/subscriptions/{make_subscription(person).pk}/choice/"
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(person, backend="django.contrib.auth.backends.ModelBackend")

        assert client.post(page, headers=HOST)["Location"] == f"/login/?next={page}"
        assert strict.post(page, {"choice": "paused"}, headers=HOST).status_code == 403
        assert strict.get(page, headers=HOST).status_code == 405
        assert not SubscriptionChoice.objects.exists()


class TestAdministrators:
    """The subscription's form shows who has paused or declined it."""

    @pytest.fixture
    def admin(self) -> Client:
        return client_of(make_superuser())

    def preview(self, admin: Client, subscription: Subscription, *people: User, is_known: bool = True) -> str:
        known = {"_id": str(subscription.pk)} if is_known else {}
        form = {**values(subscription.report, *people), **known}
        return str(admin.post(reverse("admin:notifications_subscription_preview"), form).json()["outlook"])

    @pytest.mark.parametrize("kind", ["paused", "declined"])
    def test_the_preview_counts_the_choice(self, admin: Client, person: User, corp: Corp, kind: str) -> None:
        han = make_person(corp, "han")
        subscription = make_subscription(person, han)
        choose_subscription(person, subscription_id=subscription.pk, kind=kind, now=NOW)

        text = self.preview(admin, subscription, person, han)

        assert ("1 人" in text, "2 人" in text) == (True, False)
        assert "李雷" in text
        assert str(Receipt.Reason(kind).label) in text
        new = self.preview(admin, subscription, person, is_known=False)
        assert str(Receipt.Reason(kind).label) not in new

    def test_one_that_all_have_paused_can_still_be_changed(self, admin: Client, person: User) -> None:
        subscription = make_subscription(person)
        choose_subscription(person, subscription_id=subscription.pk, kind="paused", now=NOW)
        page = reverse("admin:notifications_subscription_change", args=[subscription.pk])

        sent = values(subscription.report, person, name="改名", page_version=version_on(admin, page))

        assert admin.post(page, sent).status_code == 302
        subscription.refresh_from_db()
        assert subscription.name == "改名"
        assert subscription.is_enabled


class TestHome:
    def push(self, person: User, count: int = 1, **report: str) -> None:
        for _number in range(count):
            run = make_run(make_subscription(person, report=make_report(**report)))
            render_run(run_id=run.pk, now=NOW)
            Delivery.objects.filter(run=run).update(status=Delivery.Status.ACCEPTED, settled_at=NOW)

    def test_searches_titles_and_texts(self, signed_in: Client, person: User) -> None:
        self.push(person, title="销售日报", body="华东 100%")
        self.push(person, title="库存周报", body="缺货清单")

        for words, title in (("销售", "销售日报"), ("缺货", "库存周报"), ("100%", "销售日报"), ("%", "销售日报")):
            text = signed_in.get("/", {"q": words}, headers=HOST).content.decode()
            assert [one for one in ("销售日报", "库存周报") if one in text] == [title]

    def test_says_that_nothing_was_found(self, signed_in: Client, person: User, corp: Corp) -> None:
        """Matches in another person's messages are not found. The next page keeps the search words."""
        self.push(person, 21, title="销售 & 日报")
        self.push(make_person(corp, "han"), title="绝密日报")

        for words in ("绝密", "<b>x</b>", "\x00\x00无", "x" * 5000, "'; drop table"):
            text = signed_in.get("/", {"q": words}, headers=HOST).content.decode()
            assert "没有包含" in text
            assert "<b>x</b>" not in text
            assert "绝密日报" not in text
        text = signed_in.get("/", {"q": "销售 &"}, headers=HOST).content.decode()
        assert "&amp;q=%E9%94%80%E5%94%AE%20%26" in text

    def test_begins_with_the_bi_for_who_may_enter_it(self, signed_in: Client, corp: Corp) -> None:
        entry = '<a class="card entry" href="/bi/">'
        make_bi()
        assert entry in signed_in.get("/", headers=HOST).content.decode()

        Corp.objects.filter(pk=corp.pk).update(bi_sign_in_enabled=False)

        assert entry not in signed_in.get("/", headers=HOST).content.decode()

    def test_has_a_tab_for_each_page_and_marks_the_one_shown(self, signed_in: Client) -> None:
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
        files = [
            part.split(b'"')[0].decode()
            for mark in (b'src="/static/', b'rel="stylesheet" href="/static/')
            for part in page.split(mark)[1:]
        ]

        sizes = [len(gzip.compress(page))]
        for name in files:
            path = finders.find(name)
            assert isinstance(path, str)
            with open(path, "rb") as file:
                sizes.append(len(gzip.compress(file.read())))
        assert "accounts/wecom-jssdk-2.4.4/wecom.global.prod.js" in files
        assert sum(sizes) < 60_000
