"""The home page and the message page show a person's own messages and nobody else's."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from integrations.models import Corp
from notifications.delivery.rendering.message_builder import find_link_target
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery, MessageForm, Receipt, Run
from notifications.views import inbox
from tests.notifications.admin.conftest import HOST, client_of
from tests.notifications.factories import NOW, make_corp, make_person, make_report, make_run, make_subscription

pytestmark = pytest.mark.django_db


@pytest.fixture
def corp() -> Corp:
    return make_corp(name="青禾数据")


@pytest.fixture
def person(corp: Corp) -> User:
    return make_person(corp, "lilei", name="李雷")


@pytest.fixture
def signed_in(person: User) -> Client:
    return client_of(person)


def push(*people: User, status: Delivery.Status = Delivery.Status.ACCEPTED, **report: object) -> Delivery:
    form, name = report.pop("form", MessageForm.TEXTCARD), report.pop("name", "每日推送")
    run = make_run(make_subscription(*people, report=make_report(**report), message_form=form, name=name))
    render_run(run_id=run.pk, now=NOW)
    Delivery.objects.filter(run=run).update(status=status, settled_at=NOW)
    return Delivery.objects.filter(run=run).latest("pk")


def test_my_messages_newest_first_with_their_unread_mark(signed_in: Client, person: User) -> None:
    push(person, title="第一条", body="**甲** 的正文")
    read = push(person, title="第二条")
    Receipt.objects.filter(delivery=read).update(read_at=NOW)

    page = signed_in.get("/").content.decode()

    assert page.index("第二条") < page.index("第一条")
    assert "1 条未读" in page
    assert page.count("is-unread") == 1
    assert "甲 的正文" in page
    assert "青禾数据" in page
    assert "2026-11-24 09:00" in page


@pytest.mark.parametrize(
    ("form", "body", "excerpt"),
    [
        (MessageForm.MARKDOWN, '# A\n**b** `c`\n> d <font color="info">e</font>', "A b c d e"),
        (MessageForm.MARKDOWN, "A [**b**](https://example.com/?c=1) [d] (e)", "A b [d] (e)"),
        (MessageForm.TEXT, 'A <a href="https://example.com/?c=1">b</a> <abc>', "A b <abc>"),
    ],
)
def test_an_excerpt_is_one_line_without_marks(
    signed_in: Client, person: User, form: MessageForm, body: str, excerpt: str
) -> None:
    push(person, body=body, form=form)

    [(_name, [(_receipt, shown)])] = signed_in.get("/").context["groups"]

    assert shown == excerpt


def test_messages_stand_under_their_push_or_what_they_are_that_with_the_newest_first(
    signed_in: Client, person: User
) -> None:
    for trigger, title in ((Run.Trigger.ALERT, "库存不足"), (Run.Trigger.NOTICE, "停用通知")):
        runs = Run.objects.filter(pk=push(person, title=title).run_id)
        runs.update(subscription=None, trigger=trigger)
    for name, title in (("门店日报", "门店 11-23"), ("销售周报", "销售 47 周"), ("门店日报", "门店 11-24")):
        push(person, title=title, name=name)

    groups = signed_in.get("/").context["groups"]

    assert [(name, [receipt.delivery.title for receipt, _excerpt in shown]) for name, shown in groups] == [
        ("门店日报", ["门店 11-24", "门店 11-23"]),
        ("销售周报", ["销售 47 周"]),
        ("其他消息", ["停用通知"]),
        ("预警", ["库存不足"]),
    ]


def test_more_than_three_of_a_push_are_folded(signed_in: Client, person: User) -> None:
    for number in range(5):
        push(person, title=f"第 {number} 期")

    opened, folded = signed_in.get("/").content.decode().split("<details")

    assert [f"第 {number} 期" in opened for number in range(5)] == [False, False, True, True, True]
    assert "另有 2 条更早的消息" in folded


def test_what_has_not_arrived_or_is_another_persons_is_not_listed(signed_in: Client, corp: Corp, person: User) -> None:
    push(make_person(corp, "han"), title="别人的消息")
    refused = push(person, title="此人没有收到")
    refused.receipts.update(status=Receipt.Status.INVALID)  # WeCom refused it for this person
    statuses = ("accepted", "unknown", "pending", "failed", "canceled")
    for status in statuses:
        push(person, status=Delivery.Status(status), title=f"消息 {status}")

    page = signed_in.get("/").content.decode()

    assert [status for status in statuses if f"消息 {status}" in page] == ["accepted", "unknown"]
    assert "此人没有收到" not in page
    assert "别人的消息" not in page


def test_pages_follow_each_other_without_gap_or_repeat(
    signed_in: Client, person: User, django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "PAGE_SIZE", 4)
    for number in range(9):
        push(person, title=f"标题{number}号")

    seen: list[str] = []
    query = ""
    for _ in range(3):
        response = signed_in.get(f"/{query}")
        seen += [receipt.delivery.title for _name, shown in response.context["groups"] for receipt, _excerpt in shown]
        query = f"?older={response.context['older_than']}"

    assert seen == [f"标题{number}号" for number in reversed(range(9))]
    assert query == "?older=None"
    for older in ("x", "-1", "1" * 30, "٣"):
        assert signed_in.get("/", {"older": older}).context["is_first_page"]
    with django_assert_max_num_queries(8):
        signed_in.get("/")


def test_a_message_is_shown_whole_and_marked_read_once(signed_in: Client, person: User) -> None:
    delivery = push(person, title="日报", body="长" * 3000, link="https://bi.example.com/card/7")
    Delivery.objects.update(status=Delivery.Status.SENDING, settled_at=None)  # still being sent
    before = timezone.now()

    page = signed_in.get(f"/m/{delivery.mark}/").content.decode()

    assert "长" * 3000 in page
    assert '<a href="/" aria-current="page">' in page
    assert 'href="https://bi.example.com/card/7"' in page
    first_read_at = Receipt.objects.get().read_at
    assert first_read_at is not None
    assert before <= first_read_at <= timezone.now()
    signed_in.get(f"/m/{delivery.mark}/")
    assert Receipt.objects.get().read_at == first_read_at


def test_text_is_escaped(signed_in: Client, person: User) -> None:
    hostile: dict[str, Any] = {"title": "<b>t</b>", "body": "<script>alert(1)</script>", "link": "javascript:alert(1)"}
    delivery = push(person, form=MessageForm.MARKDOWN, **hostile)
    for path in ("/", f"/m/{delivery.mark}/"):
        page = signed_in.get(path).content.decode()
        assert not [part for part in ("<b>t</b>", "<script>alert", "javascript:") if part in page]


@pytest.mark.parametrize("is_staff", [False, True])
def test_another_person_gets_an_explanation_and_no_word_of_the_message(
    signed_in: Client, corp: Corp, person: User, is_staff: bool
) -> None:
    delivery = push(make_person(corp, "han"), title="别人的消息", body="别人的正文")
    User.objects.filter(pk=person.pk).update(is_staff=is_staff, is_superuser=is_staff)

    response = signed_in.get(f"/m/{delivery.mark}/")

    page = response.content.decode()
    assert (response.status_code, "别人的" in page, "李雷" in page) == (404, False, True)
    assert Receipt.objects.get().read_at is None


@pytest.mark.parametrize("mark", ["0" * 32, "x", "%00", "' or 1=1"])
def test_an_unknown_mark_looks_the_same(signed_in: Client, mark: str) -> None:
    assert signed_in.get(f"/m/{mark}/").status_code == 404


def test_somebody_not_signed_in_goes_through_the_messages_company_if_it_signs_people_in(
    corp: Corp, person: User
) -> None:
    make_corp()
    client = Client(headers=HOST)
    delivery = push(person)
    page = f"/m/{delivery.mark}/"
    assert client.get(page)["Location"] == f"/wecom/{corp.pk}/start/?next=%2Fm%2F{delivery.mark}%2F"
    assert Receipt.objects.get().read_at is None
    assert client.get("/")["Location"] == "/login/?next=/"
    for mark in ("unknown", "%00"):
        assert client.get(f"/m/{mark}/")["Location"] == f"/login/?next=%2Fm%2F{mark}%2F"
    for change in ({"sign_in_enabled": False}, {"sign_in_enabled": True, "is_enabled": False}):
        Corp.objects.update(**change)
        assert client.get(page)["Location"] == f"/login/?next=%2Fm%2F{delivery.mark}%2F"


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("https://bi.example.com/a?b=c", "https://bi.example.com/a?b=c"),
        ("http://bi.example.com", "http://bi.example.com"),
        ("/m/1/", "/m/1/"),
        ("//evil.example/", ""),
        ("/\\evil.example", ""),
        ("javascript:alert(1)", ""),
        ("https://", ""),
        ("ftp://a.example/", ""),
        ("https://[", ""),
        ("", ""),
    ],
)
def test_where_a_button_may_lead(link: str, target: str) -> None:
    assert find_link_target(link) == target


def test_more_than_counted_unread(signed_in: Client, person: User) -> None:
    delivery = push(person)
    Receipt.objects.bulk_create(
        Receipt(run=make_run(delivery.run.subscription), delivery=delivery, user=person, channel="wecom", address="x")  # type: ignore[arg-type]  # never None here
        for _ in range(100)
    )

    assert "超过 99 条未读" in signed_in.get("/").content.decode()
