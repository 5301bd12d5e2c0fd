"""The page of a push that is sent twice, saved by two, or left with too many rows."""

from __future__ import annotations

from datetime import time
from typing import Any

import pytest
from django.db import IntegrityError
from django.test import Client

from notifications.models import Report, ReportCard, ReportChart, Run, Subscription
from tests.browser_form import untouched
from tests.notifications.admin.test_push_page import ADD, LIST, as_browsers_send, change, client_of, make_card, writer
from tests.notifications.factories import make_corp, make_person, make_report, make_subscription, make_superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


# --- Sent twice -------------------------------------------------------------------------------------------------------


def test_a_page_that_is_sent_twice_makes_one_push(root: Client) -> None:
    sent = as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", _save="1")
    root.post(ADD, sent)

    answer = root.post(ADD, sent, follow=True)

    subscription = Subscription.objects.get()
    assert Report.objects.count() == 1
    assert answer.redirect_chain == [(change(subscription), 302)]
    assert [str(message) for message in answer.context["messages"]][
        -1
    ] == "这个页面提交了两次，只保存了一次：就是这一条。"


def test_a_trial_that_is_sent_twice_is_sent_once() -> None:
    client = client_of(make_person(make_corp(), "root", is_superuser=True, is_staff=True))
    sent = as_browsers_send(client, ADD, name="日报", title="日报", body="早上好", _try="1")
    for _twice in range(2):
        client.post(ADD, sent)
    assert (Subscription.objects.count(), Run.objects.count()) == (1, 1)


def test_two_pages_make_two_pushes(root: Client) -> None:
    for _twice in range(2):
        root.post(ADD, as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", _save="1"))
    assert Subscription.objects.count() == 2


def test_two_at_once_are_told_apart_by_the_database() -> None:
    person = make_person(make_corp(), "lilei")
    key = "a" * 32
    Subscription.objects.create(name="一", report=Report.objects.create(title="x", body="x"), form_key=key)
    with pytest.raises(IntegrityError):
        Subscription.objects.create(
            name="二", report=Report.objects.create(title="x", body="x"), owner=person, form_key=key
        )


def test_a_copy_is_not_taken_for_what_its_page_made(root: Client) -> None:
    root.post(ADD, as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", _save="1"))
    root.post(f"{LIST}{Subscription.objects.get().pk}/copy/")
    assert [one.form_key is None for one in Subscription.objects.order_by("pk")] == [False, True]


# --- Rows -------------------------------------------------------------------------------------------------------------


def rows_of(prefix: str, count: int, **values: str) -> dict[str, str]:
    fields = {f"{prefix}-{number}-{name}": value for number in range(count) for name, value in values.items()}
    return {f"{prefix}-TOTAL_FORMS": str(count), **fields}


def test_too_many_rows_are_refused_with_a_sentence(root: Client) -> None:
    rows = rows_of("charts", 11, alias="销售", kind="table", top="10", sort="as_is", aggregate="sum", position="0")
    answer = root.post(ADD, as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", _save="1", **rows))
    assert "最多 10 个，请去掉一些。" in [problem.text for problem in answer.context["problems"]]
    assert not Subscription.objects.exists()


def test_rows_of_a_draft_show_no_mistakes_until_they_are_saved(root: Client) -> None:
    rows = rows_of("report_cards", 1, card="", alias="不 是 词", position="0")
    sent = as_browsers_send(root, ADD, name="没写完", **rows)
    root.post(f"{LIST}draft/", sent)

    page = root.get(f"{ADD}?draft=1")

    formset = page.context["inline_admin_formsets"][0].formset
    assert formset.forms[0]["alias"].value() == "不 是 词"
    assert formset.total_error_count() == 0
    assert 'class="errorlist' not in page.content.decode()
    saved = root.post(ADD, as_browsers_send(root, f"{ADD}?draft=1", _save="1"))
    anchors = {problem.anchor for problem in saved.context["problems"]}
    assert {"id_report_cards-0-card", "id_report_cards-0-alias"} <= anchors


def test_a_draft_without_rows_begins_with_those_that_are_saved(root: Client) -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"))
    ReportCard.objects.create(report=subscription.report, card=make_card(), alias="sales")
    root.post(f"{LIST}draft/", {"name": "改名", "title": "日报", "_id": subscription.pk})

    page = root.get(f"{change(subscription)}?draft=1")

    formset = page.context["inline_admin_formsets"][0].formset
    assert [form["alias"].value() for form in formset.forms] == ["sales"]
    assert formset.total_error_count() == 0


# --- Deleted ----------------------------------------------------------------------------------------------------------


def test_a_content_goes_with_its_last_push_and_the_page_says_so(root: Client) -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"), report=make_report(title="日报"))
    page = root.get(f"{LIST}{subscription.pk}/delete/")
    assert "内容：日报（没有其他推送使用）" in page.content.decode()

    root.post(f"{LIST}{subscription.pk}/delete/", {"post": "yes"})

    assert (Subscription.objects.count(), Report.objects.count()) == (0, 0)


def test_a_content_of_several_pushes_stays(root: Client) -> None:
    person, report = make_person(make_corp(), "lilei"), make_report()
    first, second = (make_subscription(person, report=report, name=name) for name in ("甲", "乙"))
    assert "内容：" not in root.get(f"{LIST}{first.pk}/delete/").content.decode()
    root.post(f"{LIST}{first.pk}/delete/", {"post": "yes"})
    assert list(Report.objects.all()) == [report]
    assert list(Subscription.objects.all()) == [second]


def test_who_may_not_delete_contents_leaves_it() -> None:
    client = writer("view_subscription", "delete_subscription", "view_report")
    subscription = make_subscription(make_person(make_corp(), "lilei"))
    assert "内容：" not in client.get(f"{LIST}{subscription.pk}/delete/").content.decode()
    client.post(f"{LIST}{subscription.pk}/delete/", {"post": "yes"})
    assert (Subscription.objects.count(), Report.objects.count()) == (0, 1)


# --- Saved by two -----------------------------------------------------------------------------------------------------


@pytest.fixture
def push() -> Subscription:
    """With a card, a chart and its people."""
    report = make_report(is_template=True, body="共 {{ sales.count }} 行")
    ReportCard.objects.create(report=report, card=make_card(), alias="sales", title="门店")
    ReportChart.objects.create(report=report, alias="sales", kind="table", title="表")
    person = make_person(make_corp(), "lilei", name="李雷")
    return make_subscription(person, report=report, name="日报", repeat="daily", local_time=time(9))


def problems(answer: Any) -> str:
    assert answer.status_code == 200, "it was saved"
    return "\n".join(problem.text for problem in answer.context["problems"])


def again(client: Client, path: str, answer: Any) -> Any:
    """The page that came back, sent as it is."""
    return client.post(path, {**untouched(answer.content.decode(), "subscription_form"), "_enable": "1"})


def test_who_saves_second_is_told_who_saved_first_and_decides(root: Client, push: Subscription) -> None:
    path, first = change(push), client_of(make_person(username="first", name="先来", is_superuser=True, is_staff=True))
    mine = as_browsers_send(root, path, name="第二人的名字", _enable="1")
    assert first.post(path, as_browsers_send(first, path, local_time="10:30", _enable="1")).status_code == 302

    answer = root.post(path, mine)

    assert "先来" in problems(answer)
    assert "只看现在保存的内容，不要我的修改" in answer.content.decode()
    push.refresh_from_db()
    assert (push.name, push.local_time) == ("日报", time(10, 30))
    assert again(root, path, answer).status_code == 302
    push.refresh_from_db()
    assert (push.name, push.local_time) == ("第二人的名字", time(9))


def test_a_draft_that_is_older_than_what_was_saved_says_so(root: Client, push: Subscription) -> None:
    path = change(push)
    root.post(f"{LIST}draft/", {**as_browsers_send(root, path, name="我的草稿"), "_id": push.pk})
    other = client_of(make_superuser())
    other.post(path, as_browsers_send(other, path, local_time="10:30", _enable="1"))

    answer = root.post(path, as_browsers_send(root, f"{path}?draft=1", _enable="1"))

    assert "保存了此内容" in problems(answer)
    push.refresh_from_db()
    assert push.name == "日报"
    assert again(root, path, answer).status_code == 302
    push.refresh_from_db()
    assert push.name == "我的草稿"


def test_drafts_of_two_on_one_page_are_their_own(root: Client, push: Subscription) -> None:
    other, path = client_of(make_superuser()), change(push)
    for client, name in ((root, "甲的草稿"), (other, "乙的草稿")):
        client.post(f"{LIST}draft/", {**as_browsers_send(client, path, name=name), "_id": push.pk})
    names = [client.get(f"{path}?draft=1").context["adminform"].form["name"].value() for client in (root, other)]
    assert names == ["甲的草稿", "乙的草稿"]


def test_the_preview_complains_of_nothing_that_others_saved(root: Client, push: Subscription) -> None:
    mine = as_browsers_send(root, change(push), name="改名")
    Subscription.objects.update(local_time=time(10, 30))
    html = root.post(f"{LIST}outlook/", {**mine, "_id": push.pk}).json()["outlook"]
    assert "09:00" in html
