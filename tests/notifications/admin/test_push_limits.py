"""The page of a push with a source that is down, with very much data, with missing permissions, and sent twice."""

from datetime import time
from typing import Any

import pytest
from django.test import Client

from integrations.data.table import Column, Kind, Table
from integrations.models import Card, CardData, DataSource, Department
from integrations.models.datasources import compress_table
from notifications.delivery.rendering import render
from notifications.models import Delivery, Report, ReportCard, Robot, Subscription
from tests.notifications.admin.conftest import client_of
from tests.notifications.admin.test_push_page import (
    ADD,
    LIST,
    as_browsers_send,
    bi_source,
    change,
    listed,
    make_card,
    writer,
)
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_run,
    make_subscription,
    make_superuser,
)
from tests.notifications.preview_pages import preview_over

pytestmark = pytest.mark.django_db


def with_card(root: Client, card: Card, **values: Any) -> dict[str, Any]:
    row = {"report_cards-TOTAL_FORMS": "1", "report_cards-0-card": card.pk, "report_cards-0-alias": "s"}
    row["report_cards-0-position"] = "0"
    return as_browsers_send(root, ADD, **{"name": "日报", "title": "日报", "body": "早上好", **row, **values})


def test_a_source_that_is_slow_or_down_is_said_and_nothing_typed_is_lost(root: Client) -> None:
    sent = with_card(root, make_card(), _save="1")
    waiting = root.post(f"{LIST}outlook/", sent).json()
    assert waiting["token"]
    assert waiting["waiting"] == "正在读取数据…"
    facts = {"problem_code": "unreachable", "problem_facts": {"reason": "connection"}}
    found = preview_over(root, f"{LIST}outlook/", sent, status=CardData.Status.FAILED, **facts)
    assert (found["token"], found["waiting"]) == ("", "")
    assert "门店销售额" in found["message"]
    assert 'class="problem"' in found["message"]
    assert root.post(ADD, sent).status_code == 302
    assert Subscription.objects.get().report.report_cards.count() == 1


def table_of(*, rows: int, columns: int) -> Table:
    named = tuple(Column(f"指标{number}", Kind.NUMBER) for number in range(columns - 1))
    return Table(
        (Column("门店", Kind.TEXT), *named),
        tuple((f"门店{number}", *range(columns - 1)) for number in range(rows)),
        NOW,
    )


@pytest.mark.usefixtures("undrawn")
def test_of_100000_rows_the_page_gets_a_few(root: Client) -> None:
    sent = with_card(root, make_card(), body="共 {{ s.count }} 行", is_template="on")
    content = compress_table(table_of(rows=100_000, columns=3))
    answer = preview_over(root, f"{LIST}outlook/", sent, content=content)
    assert answer["rows"].count("<tr>") == 1 + 8
    assert "100000" in answer["message"].replace(",", "")
    assert len(str(answer)) < 60_000
    content = compress_table(table_of(rows=20, columns=200))
    many = preview_over(root, f"{LIST}outlook/", with_card(root, make_card("宽表")), content=content)
    assert len(many["columns"]["s"]) == 200
    groups = [group for column in many["fields"] for group in column["groups"]]
    labels = "\n".join(field["label"] for group in groups for field in group["fields"])
    assert [number for number in range(199) if f"指标{number}合计" not in labels] == []
    assert len(str(many)) < 400_000


def test_what_is_too_long_is_said_before_it_is_saved(root: Client) -> None:
    sent = as_browsers_send(root, ADD, name="x", title="x", body="x")
    for values, sentence in (
        ({"name": "长" * 200}, "名称: "),
        ({"title": "长" * 129}, "标题: "),
        ({"name": "长" * 128, "title": "长" * 128}, ""),
        ({"title": "长" * 100 + "{{ today|date('M月D日') }}" * 4}, ""),
    ):
        limits = root.post(f"{LIST}outlook/", {**sent, **values}).json()["limits"]
        assert (limits.startswith(sentence), "128" in limits) == (True, bool(sentence)), values


def test_of_a_title_what_is_sent_is_counted_and_a_cut_is_said(root: Client) -> None:
    long, day = "{{ today|date('YYYY年M月D日') }}" + "{# 注 #}" * 20, "2026年12月1日"
    sent = as_browsers_send(root, ADD, name="日报", title=f"日报 {long}", body="早", _save="1", _at="2026-12-01 09:00")
    tried = [("markdown", f"日报 {long}"), ("markdown", "长" * 120 + long), ("textcard", "长" * 60 + long)]
    phones = [
        root.post(f"{LIST}outlook/", {**sent, "message_form": form, "title": title}).json()["message"]
        for form, title in tried
    ]
    notes = ["标题超出这种消息形式的长度" in phone for phone in phones]
    assert notes == [False, True, True]
    assert f"日报 {day}" in phones[0]
    assert f"{'长' * 120}2026年12…" in phones[1]
    answer = root.post(ADD, sent)
    assert answer.status_code == 302, answer.context["problems"]
    assert len(Report.objects.get().title) > 128


@pytest.mark.usefixtures("undrawn")
def test_a_link_that_is_too_long_for_a_robot_is_refused_when_it_is_saved(root: Client) -> None:
    robot = Robot.objects.create(corp=make_corp(), name="销售群", key="k" * 36)
    long, link = ("https://bi.example.com/" + "页" * characters for characters in (900, 220))
    sent = as_browsers_send(
        root, ADD, name="日报", title="日报", body="早", link=long, channel="robot", robot=robot.pk, _enable="1"
    )
    [(text, _label, _anchor)] = root.post(ADD, sent).context["problems"]
    assert text == "链接太长：按浏览器的写法为 8123 字节，企业微信最多接受 2048 字节。"
    root.post(ADD, {**sent, "link": link})
    run = make_run(Subscription.objects.get())
    render.render_run(run_id=run.pk, now=NOW)
    assert link.encode() in bytes(Delivery.objects.get().body)


WRITES = ("view_subscription", "add_subscription", "change_subscription", "view_report", "add_report", "change_report")


def test_who_does_not_see_the_bi_is_told_whom_to_ask() -> None:
    mine, other = make_corp(name="甲"), make_corp(name="乙")
    bi_source(corp=other)
    listed("", ("p1", "机密", "PAGE"))
    listed("p1", ("c1", "机密日报", "CHART"))
    limited = writer(*WRITES, "view_datasource")  # sees the source, but may not add cards
    assert "请联系" in limited.post(f"{LIST}data/", {"page": "p1"}).json()["html"]
    assert limited.post(f"{LIST}data/choose/", {"page": "p1", "card": "c1"}).status_code == 403
    client = client_of(make_manager(mine))
    html = client.post(f"{LIST}data/", {"page": "p1"}).json()["html"]
    assert "机密" not in html
    assert "请联系" in html
    assert client.post(f"{LIST}data/choose/", {"page": "p1", "card": "c1"}).status_code in {403, 404}
    assert not Card.objects.exists()


@pytest.mark.usefixtures("undrawn")
def test_who_manages_one_company_reaches_nobody_of_another() -> None:
    mine, other = make_corp(name="甲"), make_corp(name="乙")
    stranger, card = make_person(other, "wang"), make_card()
    Card.objects.filter(pk=card.pk).update(source=DataSource.objects.create(name="乙的", kind="sql", corp=other))
    department = Department.objects.create(corp=other, wecom_department_id=1, name="乙的部门")
    client = client_of(make_manager(mine))
    sent = as_browsers_send(client, ADD, name="日报", title="日报", body="早上好", corp=mine.pk, _save="1")
    crafted = {
        "users": [stranger.pk], "departments": [department.pk], "report_cards-TOTAL_FORMS": "1",
        "report_cards-0-card": card.pk, "report_cards-0-alias": "s", "report_cards-0-position": "0",
    }  # fmt: skip

    answer = client.post(ADD, {**sent, **crafted})

    anchors = {anchor for _text, _label, anchor in answer.context["problems"]}
    assert {"id_users", "id_departments", "id_report_cards-0-card"} <= anchors
    assert not Subscription.objects.exists()
    assert not ReportCard.objects.exists()


@pytest.mark.usefixtures("undrawn")
def test_a_page_that_is_sent_twice_makes_one_push(root: Client) -> None:
    sent = as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", _save="1")
    root.post(ADD, sent)

    answer = root.post(ADD, sent, follow=True)

    subscription = Subscription.objects.get()
    assert Report.objects.count() == 1
    root.post(f"{LIST}{subscription.pk}/copy/")
    assert [one.form_key is None for one in Subscription.objects.order_by("pk")] == [False, True]
    assert answer.redirect_chain == [(change(subscription), 302)]
    assert [str(message) for message in answer.context["messages"]][
        -1
    ] == "这个页面提交了两次，只保存了一次：就是这一条。"


def rows_of(prefix: str, count: int, **values: str) -> dict[str, str]:
    fields = {f"{prefix}-{number}-{name}": value for number in range(count) for name, value in values.items()}
    return {f"{prefix}-TOTAL_FORMS": str(count), **fields}


@pytest.mark.usefixtures("undrawn")
def test_too_many_rows_are_refused_with_a_sentence(root: Client) -> None:
    rows = rows_of("charts", 11, alias="销售", kind="table", top="10", sort="as_is", aggregate="sum", position="0")
    answer = root.post(ADD, as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", _save="1", **rows))
    assert "最多 10 个，请去掉一些。" in [text for text, _label, _anchor in answer.context["problems"]]
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
    anchors = {anchor for _text, _label, anchor in saved.context["problems"]}
    assert {"id_report_cards-0-card", "id_report_cards-0-alias"} <= anchors


def test_a_content_goes_with_its_last_push_for_who_may_delete_it(root: Client) -> None:
    report, limited = make_report(title="日报"), writer("view_subscription", "delete_subscription", "view_report")
    first, second = (make_subscription(make_person(make_corp(), "lilei"), report=report) for _twice in range(2))
    for client, push, is_deleted in ((root, first, False), (limited, second, False), (root, None, True)):
        address = f"{LIST}{(push or make_subscription(report=report)).pk}/delete/"
        assert ("内容：日报（没有其他推送使用）" in client.get(address).content.decode()) is is_deleted
        client.post(address, {"post": "yes"})
        assert Report.objects.exists() is not is_deleted
    assert not Subscription.objects.exists()


@pytest.mark.usefixtures("undrawn")
def test_a_draft_that_is_older_than_what_was_saved_says_so(root: Client) -> None:
    person = make_person(make_corp(), "lilei", name="李雷")
    push = make_subscription(person, name="日报", repeat="daily", local_time=time(9))
    path = change(push)
    root.post(f"{LIST}draft/", {**as_browsers_send(root, path, name="我的草稿"), "_id": push.pk})
    other = client_of(make_superuser())
    other.post(path, as_browsers_send(other, path, local_time="10:30", _enable="1"))

    mine = as_browsers_send(root, f"{path}?draft=1", _enable="1")
    assert "09:00" in root.post(f"{LIST}outlook/", {**mine, "_id": push.pk}).json()["outlook"]
    answer = root.post(path, mine)

    assert "保存了此内容" in "".join(text for text, _label, _anchor in answer.context["problems"])
    push.refresh_from_db()
    assert push.name == "日报"
