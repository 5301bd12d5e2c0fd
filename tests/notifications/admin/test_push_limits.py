"""The page of a push with a source that is slow or down, with very much data, and for people who may not do a step."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from integrations.data.table import Column, Kind, Table
from integrations.models import Card, CardData, Corp, DataSource, Department, Job
from integrations.models.datasources import packed
from notifications.delivery.rendering import render
from notifications.models import Delivery, Report, ReportCard, Robot, Subscription
from notifications.reports.templates import merge_fields
from tests.notifications.admin.test_push_page import (
    ADD,
    LIST,
    as_browsers_send,
    bi_source,
    change,
    client_of,
    listed,
    make_card,
    writer,
)
from tests.notifications.factories import (
    NOW,
    make_corp,
    make_manager,
    make_person,
    make_run,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
ROWS_SHOWN = 8


@pytest.fixture
def root() -> Client:
    return client_of(make_superuser())


def with_card(root: Client, card: Card, **values: Any) -> dict[str, Any]:
    row = {"report_cards-TOTAL_FORMS": "1", "report_cards-0-card": card.pk, "report_cards-0-alias": "s"}
    row["report_cards-0-position"] = "0"
    return as_browsers_send(root, ADD, **{"name": "日报", "title": "日报", "body": "早上好", **row, **values})


def state(root: Client, sent: dict[str, Any], **row: Any) -> dict[str, Any]:
    token = root.post(f"{LIST}outlook/", sent).json()["token"]
    CardData.objects.previews().update(finished_at=timezone.now(), notified_at=timezone.now(), **row)
    found: dict[str, Any] = root.post(f"{LIST}outlook/", {**sent, "_token": token}).json()
    return found


# --- A source that is slow or down ------------------------------------------------------------------------------------


def test_a_page_that_waits_says_for_what_and_can_be_saved(root: Client) -> None:
    sent = with_card(root, make_card(), _save="1")
    waiting = root.post(f"{LIST}outlook/", sent).json()
    assert waiting["token"]
    assert waiting["waiting"] == "正在读取数据…"
    answer = root.post(ADD, sent)
    assert answer.status_code == 302, answer.context["problems"]
    assert Subscription.objects.get().report.report_cards.count() == 1


@pytest.mark.parametrize(
    ("code", "facts"), [("unreachable", {"reason": "connection"}), ("too-slow", {"seconds": 30}), ("busy", {})]
)
def test_a_source_that_is_down_is_said_once_and_nothing_typed_is_lost(
    root: Client, code: str, facts: dict[str, Any]
) -> None:
    sent = with_card(root, make_card(), _save="1")
    found = state(root, sent, status=CardData.Status.FAILED, problem_code=code, problem_facts=facts)
    assert (found["token"], found["waiting"]) == ("", "")
    assert "门店销售额" in found["message"]
    assert 'class="problem"' in found["message"]
    assert root.post(ADD, sent).status_code == 302


def test_a_bi_that_is_down_leaves_the_cards_that_are_here(root: Client) -> None:
    bi_source()
    make_card()
    root.post(f"{LIST}data/", {})
    Job.objects.update(status="failed", problem="unreachable", facts={"reason": "connection"})
    html = root.post(f"{LIST}data/", {"poll": "1"}).json()["html"]
    assert "门店销售额" in html
    assert 'class="problem"' in html


# --- Very much --------------------------------------------------------------------------------------------------------


def table_of(*, rows: int, columns: int) -> Table:
    named = tuple(Column(f"指标{number}", Kind.NUMBER) for number in range(columns - 1))
    return Table(
        (Column("门店", Kind.TEXT), *named),
        tuple((f"门店{number}", *range(columns - 1)) for number in range(rows)),
        NOW,
    )


def test_a_number_below_ten_thousand_is_written_as_it_is(root: Client) -> None:
    sent = as_browsers_send(root, ADD, title="库存", body="甲 {{ 255|wan }}，乙 {{ 25500|wan }}", is_template="on")
    assert "甲 255，乙 2.6万" in root.post(f"{LIST}outlook/", sent).json()["message"]


def test_without_scripts_it_is_previewed_on_a_page_of_its_own(root: Client) -> None:
    page = root.get(ADD).text
    [noscript] = re.findall(r"<noscript>(<input.*?)</noscript>", page, re.DOTALL)
    [path] = re.findall(r'formaction="([^"]+)"', noscript)
    sent = as_browsers_send(root, ADD, title="库存", body="甲 {{ 255|wan }}", is_template="on", _page="1", _report="")
    assert "甲 255" in root.post(path, sent).content.decode()


def test_of_100000_rows_the_page_gets_a_few(root: Client) -> None:
    sent = with_card(root, make_card(), body="共 {{ s.count }} 行", is_template="on")
    content = packed(table_of(rows=100_000, columns=3))
    answer = state(root, sent, status=CardData.Status.READY, content=content)
    assert answer["rows"].count("<tr>") == 1 + ROWS_SHOWN
    assert "100000" in answer["message"].replace(",", "")
    assert len(str(answer)) < 60_000


def test_200_columns_can_all_be_chosen(root: Client) -> None:
    answer = state(
        root, with_card(root, make_card()), status=CardData.Status.READY, content=packed(table_of(rows=20, columns=200))
    )
    assert len(answer["columns"]["s"]) == 200
    labels = "\n".join(field["label"] for group in answer["fields"] for field in group["fields"])
    assert [number for number in range(199) if f"指标{number}合计" not in labels] == []
    assert len(str(answer)) < 400_000


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": "长" * 200}, "名称: "),
        ({"title": "长" * 129}, "标题: "),
        ({"name": "长" * 128, "title": "长" * 128}, ""),
        ({"title": "长" * 100 + "{{ today|date('M月D日') }}" * 4}, ""),
    ],
)
def test_what_is_too_long_is_said_before_it_is_saved(root: Client, values: dict[str, str], sentence: str) -> None:
    found = root.post(
        f"{LIST}outlook/", {**as_browsers_send(root, ADD, name="x", title="x", body="x"), **values}
    ).json()
    assert found["limits"].startswith(sentence)
    assert ("128" in found["limits"]) == bool(sentence)


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


@pytest.mark.parametrize("brace", ["{", "{{{"])
def test_a_brace_right_before_a_merge_field_is_a_brace(root: Client, brace: str) -> None:
    body = f"{merge_fields.literal(brace)}{{{{ today|date('M月D日') }}}}}}"
    sent = as_browsers_send(root, ADD, name="日报", title="日报", body=body, _save="1", _at="2026-12-01 09:00")
    found = root.post(f"{LIST}outlook/", sent).json()
    assert f"{brace}12月1日}}" in found["message"]
    assert [part.get("label") or part["text"] for part in found["parts"]["body"]] == [brace, "今天", "}"]
    assert root.post(ADD, sent).status_code == 302


@pytest.mark.parametrize(("characters", "is_refused"), [(220, False), (900, True)])
def test_a_link_that_is_too_long_for_a_robot_is_refused_when_it_is_saved(
    root: Client, characters: int, is_refused: bool
) -> None:
    robot = Robot.objects.create(corp=make_corp(), name="销售群", key="k" * 36)
    link = "https://bi.example.com/" + "页" * characters
    sent = as_browsers_send(
        root, ADD, name="日报", title="日报", body="早", link=link, channel="robot", robot=robot.pk, _enable="1"
    )
    answer = root.post(ADD, sent)
    assert Subscription.objects.exists() is not is_refused
    if is_refused:
        [problem] = answer.context["problems"]
        assert problem.text == "链接太长：按浏览器的写法为 8123 字节，企业微信最多接受 2048 字节。"
        return
    run = make_run(Subscription.objects.get())
    render.render_run(run_id=run.pk, now=NOW)
    assert link.encode() in bytes(Delivery.objects.get().body)


# --- Who may not do a step --------------------------------------------------------------------------------------------

WRITES = ("view_subscription", "add_subscription", "change_subscription", "view_report", "add_report", "change_report")


def test_who_may_not_edit_data_sources_is_told_whom_to_ask() -> None:
    client = writer(*WRITES, "view_datasource", "view_card")
    html = client.post(f"{LIST}data/", {}).json()["html"]
    assert "请联系推送编辑、集成管理员或系统管理员。" in html
    assert "/admin/integrations/datasource/add/" not in html
    for address in ("/admin/integrations/datasource/add/", "/admin/integrations/card/add/"):
        assert client.post(address, {"name": "x"}).status_code == 403
    assert not DataSource.objects.exists()


def test_who_may_not_add_cards_is_told_whom_to_ask() -> None:
    bi_source()
    listed("", ("p1", "销售", "PAGE"))
    listed("p1", ("c1", "门店日报", "CHART"))
    client = writer(*WRITES, "view_datasource")
    assert "请联系推送编辑、集成管理员或系统管理员。" in client.post(f"{LIST}data/", {"page": "p1"}).json()["html"]
    assert client.post(f"{LIST}data/choose/", {"page": "p1", "card": "c1"}).status_code == 403
    assert not Card.objects.exists()


def test_who_does_not_see_the_bi_is_told_whom_to_ask() -> None:
    mine, other = make_corp(name="甲"), make_corp(name="乙")
    bi_source(corp=other)
    listed("", ("p1", "机密", "PAGE"))
    listed("p1", ("c1", "机密日报", "CHART"))
    client = client_of(make_manager(mine))
    html = client.post(f"{LIST}data/", {"page": "p1"}).json()["html"]
    assert "机密" not in html
    assert client.post(f"{LIST}data/choose/", {"page": "p1", "card": "c1"}).status_code in {403, 404}
    assert not Card.objects.exists()


def test_who_may_only_look_sees_the_push_and_changes_nothing() -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"), name="日报")
    client = writer("view_subscription", "view_report")
    page = client.get(change(subscription))
    assert page.status_code == 200
    assert "日报" in page.content.decode()
    for address in (change(subscription), f"{LIST}outlook/", f"{LIST}rename/", f"{LIST}draft/", f"{LIST}data/"):
        assert client.post(address, {"_id": subscription.pk, "name": "改"}).status_code == 403
    subscription.refresh_from_db()
    assert subscription.name == "日报"


def test_who_may_not_write_contents_is_told_who_does() -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"))
    client = writer("view_subscription", "change_subscription", "view_report")
    assert "有权修改报告的人可以修改它" in client.get(change(subscription)).content.decode()
    client.post(change(subscription), as_browsers_send(client, change(subscription), title="不许", body="不许"))
    assert Report.objects.get().title == "日报"


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

    anchors = {problem.anchor for problem in answer.context["problems"]}
    assert {"id_users", "id_departments", "id_report_cards-0-card"} <= anchors
    assert not Subscription.objects.exists()
    assert not ReportCard.objects.exists()
    assert User.objects.filter(pk=stranger.pk).exists()
    assert Corp.objects.count() == 2
