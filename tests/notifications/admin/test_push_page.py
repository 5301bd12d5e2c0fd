"""The page of a push: a subscription and its content are written, changed, copied and kept together."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Attribute, User
from integrations.models import Card, DataSource, Job, SourceKind
from notifications.models import (
    Draft,
    OwnRowsRule,
    Report,
    ReportCard,
    ReportChart,
    Robot,
    Run,
    Subscription,
)
from tests.bi import make_bi, make_listing
from tests.browser_form import untouched
from tests.notifications.admin.conftest import client_of
from tests.notifications.factories import (
    make_corp,
    make_manager,
    make_person,
    make_report,
    make_subscription,
    make_superuser,
)

pytestmark = pytest.mark.django_db
ADD = "/admin/notifications/subscription/add/"
LIST = "/admin/notifications/subscription/"
PREFIXES = ("report_cards", "charts", "own_rows_rules")


def change(subscription: Subscription) -> str:
    return f"{LIST}{subscription.pk}/change/"


def as_browsers_send(client: Client, address: str, **changes: Any) -> dict[str, Any]:
    """What the page's form holds, with these changes."""
    return {**untouched(client.get(address).content.decode(), "subscription_form"), **changes}


def make_card(name: str = "门店销售额") -> Card:
    source, _is_new = DataSource.objects.get_or_create(name="仓库", kind=SourceKind.SQL)
    return Card.objects.create(name=name, source=source, sql="SELECT 1")


# --- Saving -----------------------------------------------------------------------------------------------------------


def test_one_page_makes_the_content_its_card_and_the_push(root: Client) -> None:
    card, person = make_card(), make_person(make_corp(), "lilei")
    row = {"report_cards-TOTAL_FORMS": "1", "report_cards-0-card": card.pk, "report_cards-0-alias": "销售"}
    sent = as_browsers_send(
        root, ADD, name="销售日报", title="销售", body="共 {{ 销售.count }} 行", users=[person.pk], _enable="1", **row,
        **{"report_cards-0-position": "0"},
    )  # fmt: skip

    answer = root.post(ADD, sent)

    assert answer.status_code == 302, answer.context["problems"]
    subscription = Subscription.objects.get()
    assert (subscription.name, subscription.is_enabled, subscription.next_run_at is not None) == (
        "销售日报",
        True,
        True,
    )
    assert (subscription.report.title, subscription.report.is_template) == ("销售", True)
    assert [(one.card, one.alias) for one in subscription.report.report_cards.all()] == [(card, "销售")]
    assert list(subscription.users.all()) == [person]


def test_it_is_tried_on_oneself_before_it_is_enabled() -> None:
    person = make_person(make_corp(), "root", is_superuser=True, is_staff=True)
    client = client_of(person)
    sent = as_browsers_send(client, ADD, name="日报", title="日报", body="早上好", _try="1", token="a" * 32)

    answer = client.post(ADD, sent)

    subscription = Subscription.objects.get()
    assert answer["Location"] == change(subscription)
    assert not subscription.is_enabled
    assert Run.objects.get().trigger == Run.Trigger.TRIAL


def test_disabling_keeps_the_content(root: Client) -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"))
    address = change(subscription)
    root.post(address, as_browsers_send(root, address, _disable="1"))
    subscription.refresh_from_db()
    assert not subscription.is_enabled
    assert subscription.report.title == "日报"


def test_a_change_of_the_content_is_saved_with_it(root: Client) -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"))
    address = change(subscription)
    answer = root.post(address, as_browsers_send(root, address, title="周报", _enable="1"))
    assert answer.status_code == 302, answer.context["problems"]
    assert Report.objects.get().title == "周报"
    assert "标题" in root.get(f"{LIST}{subscription.pk}/history/").content.decode()


def test_the_preview_looks_as_nobody_whom_one_does_not_see(root: Client) -> None:
    corp, other = make_corp(), make_corp()
    editor, seen, unseen = make_manager(corp), make_person(corp, "lilei"), make_person(other, "hanmeimei")
    client = client_of(editor)
    page = as_browsers_send(client, ADD)
    keys = (seen.pk, unseen.pk, "x")
    shown = [client.post(f"{LIST}outlook/", {**page, "_person": key}).json()["as"]["id"] for key in keys]
    assert shown == [str(seen.pk), str(editor.pk), str(editor.pk)]


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_stands_on_top_each_leading_to_its_field(root: Client) -> None:
    sent = as_browsers_send(root, ADD, title="{{ 没有 }}", body="", name="", local_time="", _enable="1")
    answer = root.post(ADD, sent)
    anchors = [problem.anchor for problem in answer.context["problems"]]
    assert {"id_name", "id_local_time", "id_body"} <= set(anchors)
    text = answer.content.decode()
    assert 'href="#id_name"' in text
    assert "{{ 没有 }}" in text.replace("&#x27;", "'")
    assert not Report.objects.exists()


def test_all_but_eight_fields_stand_in_three_folded_parts(root: Client) -> None:
    parts = root.get(ADD).context["folded_parts"]
    assert [(key, part.summary, part.is_open) for key, part in parts.items()] == [
        ("look", "", False),
        ("delivery", "", False),
        ("exceptions", "", False),
    ]
    assert [len(part.fields) for part in parts.values()] == [3, 12, 11]


def test_an_error_in_a_folded_part_opens_it(root: Client) -> None:
    sent = as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", lifetime_hours="0", _save="1")
    parts = root.post(ADD, sent).context["folded_parts"]
    assert [key for key, part in parts.items() if part.is_open] == ["delivery"]


def test_what_is_set_in_a_folded_part_stands_in_its_line(root: Client) -> None:
    robot = Robot.objects.create(name="销售群", corp=make_corp(), key="k" * 36)
    subscription = make_subscription(
        make_person(make_corp(), "lilei"), channel="robot", robot=robot, skips_empty=True, free_days="skip", priority=0
    )
    ReportChart.objects.create(report=subscription.report, alias="a", kind="bar", x="店", y="额")
    parts = root.get(change(subscription)).context["folded_parts"]
    assert {key: (part.summary, part.is_open) for key, part in parts.items()} == {
        "look": ("标题和正文是模板：否 · 图表：1", False),
        "delivery": ("触达方式：企业微信群机器人 · 群机器人：销售群 · 优先级：紧急", False),
        "exceptions": ("遇节假日和休息日：跳过：仅在工作日发送 · 数据为空时不发送", False),
    }


def test_no_code_of_a_template_stands_in_the_line_of_a_folded_part(root: Client) -> None:
    report = make_report(is_template=True, figures="降水: {{ sales.sum('降水') }}\n{% if a %}气温: {{ b }}{% endif %}")
    parts = root.get(change(make_subscription(make_person(make_corp(), "lilei"), report=report))).context[
        "folded_parts"
    ]
    assert parts["look"].summary == "关键指标：降水: …\n…气温: ……"


def test_the_line_of_a_folded_part_follows_what_is_typed(root: Client) -> None:
    sent = as_browsers_send(root, ADD, priority="0", **{"charts-TOTAL_FORMS": "2", "charts-0-DELETE": "on"})
    assert root.post(f"{LIST}outlook/", sent).json()["folded"] == {
        "look": "图表：1",
        "delivery": "优先级：紧急",
        "exceptions": "",
    }


def test_a_push_that_reaches_nobody_is_not_enabled(root: Client) -> None:
    sent = as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", _enable="1")
    answer = root.post(ADD, sent)
    assert "没有人会收到" in "".join(problem.text for problem in answer.context["problems"])
    assert not Subscription.objects.exists()


# --- A content of several pushes --------------------------------------------------------------------------------------


@pytest.fixture
def shared() -> tuple[Subscription, Subscription]:
    report = make_report(is_template=True, body="共 {{ sales.count }} 行")
    card = ReportCard.objects.create(report=report, card=make_card(), alias="sales", title="门店")
    ReportChart.objects.create(report=report, alias="sales", kind="table", position=0)
    region = Attribute.objects.create(key="region", name="区域")
    OwnRowsRule.objects.create(report=card.report, alias="sales", column="区域", attribute=region)
    person = make_person(make_corp(), "lilei")
    return make_subscription(person, report=report, name="甲"), make_subscription(person, report=report, name="乙")


def test_the_page_says_which_other_pushes_send_it(root: Client, shared: tuple[Subscription, Subscription]) -> None:
    first, second = shared
    assert root.get(change(first)).context["adminform"].form.others == [second.name]


def test_a_change_for_all_changes_the_one_content(root: Client, shared: tuple[Subscription, Subscription]) -> None:
    address = change(shared[0])
    answer = root.post(address, as_browsers_send(root, address, title="新标题", content_for="all", _enable="1"))
    assert answer.status_code == 302, answer.context["problems"]
    assert [one.title for one in Report.objects.all()] == ["新标题"]


def test_a_change_for_this_one_makes_a_copy_with_all_its_parts(
    root: Client, shared: tuple[Subscription, Subscription]
) -> None:
    first, second = shared
    address = change(first)
    row = {"report_cards-0-title": "新小标题"}
    answer = root.post(address, as_browsers_send(root, address, title="新标题", content_for="this", _enable="1", **row))
    assert answer.status_code == 302, answer.context["problems"]
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.report.title, second.report.title) == ("新标题", "日报")
    assert [one.title for one in first.report.report_cards.all()] == ["新小标题"]
    assert [one.title for one in second.report.report_cards.all()] == ["门店"]
    for report in (first.report, second.report):
        assert (report.charts.count(), report.own_rows_rules.count()) == (1, 1)


def test_a_row_taken_away_from_the_copy_stays_with_the_others(
    root: Client, shared: tuple[Subscription, Subscription]
) -> None:
    first, second = shared
    address = change(first)
    row = {"charts-0-DELETE": "on"}
    root.post(address, as_browsers_send(root, address, content_for="this", _enable="1", **row))
    first.refresh_from_db()
    assert (first.report.charts.count(), second.report.charts.count()) == (0, 1)


def test_a_duplicate_has_a_content_of_its_own_and_is_not_enabled(
    root: Client, shared: tuple[Subscription, Subscription]
) -> None:
    first, _second = shared
    answer = root.post(f"{LIST}{first.pk}/copy/")
    copied = Subscription.objects.latest("pk")
    assert answer["Location"] == change(copied)
    assert (copied.name, copied.is_enabled, copied.next_run_at) == ("甲（副本）", False, None)
    assert copied.report != first.report
    assert (copied.report.report_cards.count(), list(copied.users.all())) == (1, list(first.users.all()))


def test_the_name_of_a_duplicate_is_cut_where_it_would_be_too_long(root: Client) -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"), name="长" * 128)
    root.post(f"{LIST}{subscription.pk}/copy/")
    assert Subscription.objects.latest("pk").name == "长" * 124 + "（副本）"


def test_who_saves_a_content_second_is_told_and_may_save_over_it(root: Client) -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"), report=make_report(title="日报"))
    path = change(subscription)
    first, second = client_of(make_superuser()), root
    mine = as_browsers_send(second, path, body="第二个人写的")
    assert first.post(path, as_browsers_send(first, path, title="第一个人的标题")).status_code == 302

    answer = second.post(path, mine)

    [problem] = answer.context["problems"]
    assert problem.anchor == ""  # about the whole page: its words are those of tests/test_two_administrators.py
    report = Report.objects.get()
    assert (report.title, report.body) == ("第一个人的标题", "今天的销售额:100 万元")
    shown = untouched(answer.content.decode(), "subscription_form")
    assert (shown["title"], shown["body"]) == (["日报"], ["第二个人写的"])
    assert second.post(path, shown).status_code == 302
    report.refresh_from_db()
    assert (report.title, report.body) == ("日报", "第二个人写的")


# --- Drafts -----------------------------------------------------------------------------------------------------------


def test_what_was_typed_is_kept_offered_and_filled_in(root: Client) -> None:
    sent = as_browsers_send(root, ADD, name="没写完", title="销售 {{", body="")
    assert root.post(f"{LIST}draft/", sent).json() == {"is_kept": True}

    page = root.get(ADD)
    assert page.context["draft"].page == "push:new"
    restored = root.get(f"{ADD}?draft=1")
    form = restored.context["adminform"].form
    assert (form["name"].value(), form.content["title"].value()) == ("没写完", "销售 {{")
    assert (form.errors, form.content.errors) == ({}, {})
    assert restored.context["draft"] is None


def test_a_draft_of_a_known_push_brings_its_rows_back(root: Client, shared: tuple[Subscription, Subscription]) -> None:
    first, _second = shared
    row = {"report_cards-0-title": "没保存"}
    sent = as_browsers_send(root, change(first), name="改名", **row)
    root.post(f"{LIST}draft/", {**sent, "_id": first.pk})
    page = root.get(f"{change(first)}?draft=1")
    cards = page.context["inline_admin_formsets"][0].formset
    assert cards.forms[0]["title"].value() == "没保存"
    first.refresh_from_db()
    assert first.name == "甲"


def test_saving_forgets_the_draft_also_one_that_comes_in_behind_its_form(root: Client) -> None:
    """The browser sent it just before the form, and another thread answered it."""
    sent = as_browsers_send(root, ADD, name="日报", title="日报", body="早上好", _save="1")
    root.post(f"{LIST}draft/", sent)
    root.post(ADD, sent)
    assert (Draft.objects.exists(), Subscription.objects.get().is_enabled) == (False, False)
    assert root.post(f"{LIST}draft/", sent).json() == {"is_kept": False}
    assert not Draft.objects.exists()


def test_a_draft_can_be_dropped(root: Client) -> None:
    root.post(f"{LIST}draft/", {"name": "没写完"})
    answer = root.post(f"{LIST}draft/", {"_drop": "1"})
    assert (answer["Location"], Draft.objects.exists()) == (ADD, False)


def test_nobody_sees_the_draft_of_somebody_else(root: Client) -> None:
    root.post(f"{LIST}draft/", {"name": "没写完"})
    other = client_of(make_superuser())
    assert other.get(ADD).context["draft"] is None
    other.post(f"{LIST}draft/", {"_drop": "1"})
    assert Draft.objects.count() == 1


def test_what_is_too_long_is_not_kept(root: Client) -> None:
    assert root.post(f"{LIST}draft/", {"body": "长" * 100_000}).json() == {"is_kept": False}


def test_a_draft_holds_no_token_of_the_request(root: Client) -> None:
    root.post(f"{LIST}draft/", {"name": "没写完", "csrfmiddlewaretoken": "x" * 64, "token": "a" * 32})
    assert Draft.objects.get().values == "name=%E6%B2%A1%E5%86%99%E5%AE%8C"


# --- Choosing data ----------------------------------------------------------------------------------------------------


def test_cards_that_the_person_sees_are_offered_by_name() -> None:
    mine, other = make_corp(name="甲"), make_corp(name="乙")
    for name, corp in (("门店销售额", mine), ("库存", mine), ("销售机密", other)):
        source = DataSource.objects.create(name=name, kind=SourceKind.SQL, corp=corp)
        Card.objects.create(name=name, source=source, sql="SELECT 1")
    html = client_of(make_manager(mine)).post(f"{LIST}data/", {"q": "销售"}).json()["html"]
    assert [name in html for name in ("门店销售额", "库存", "销售机密")] == [True, False, False]


def test_an_empty_product_says_how_data_comes_in(root: Client) -> None:
    html = root.post(f"{LIST}data/", {}).json()["html"]
    assert "还没有卡片" in html
    assert 'href="/admin/integrations/card/add/?_to_field=id&amp;_popup=1"' in html
    assert "还没有连接观远 BI" in html
    assert 'href="/admin/integrations/biconnection/" target="_blank" rel="opener"' in html


def test_a_connected_bi_is_made_a_data_source_from_the_page(root: Client) -> None:
    make_bi(base_url="https://bi.example.com")
    html = root.post(f"{LIST}data/", {}).json()["html"]
    assert "BI 已连接，但还没有加为数据源" in html
    assert 'href="/admin/integrations/datasource/add/?kind=guandata"' in html


def test_who_may_not_connect_the_bi_reads_whom_to_ask() -> None:
    html = client_of(make_manager(make_corp())).post(f"{LIST}data/", {}).json()["html"]
    assert "请联系" in html
    assert "href" not in html


def test_a_bi_that_shows_no_pages_says_what_to_do(root: Client) -> None:
    bi_source()
    listed("")
    assert "请在 BI 中把页面共享给该用户" in root.post(f"{LIST}data/", {"poll": "1"}).json()["html"]


def bi_source(**values: Any) -> DataSource:
    return DataSource.objects.create(**{"name": "BI", "kind": SourceKind.GUANDATA, **values})


def listed(page_id: str, *entries: tuple[str, str, str]) -> None:
    make_listing(entries, page_id, at=timezone.now())


def test_a_card_of_the_bi_becomes_one_here_once(root: Client) -> None:
    source = bi_source()
    listed("", ("p1", "销售", "PAGE"))
    listed("p1", ("c1", "门店日报", "CHART"), ("c2", "说明", "TEXT"))
    html = root.post(f"{LIST}data/", {"page": "p1"}).json()["html"]
    assert "门店日报" in html
    answers = [root.post(f"{LIST}data/choose/", {"page": "p1", "card": "c1"}).json() for _twice in range(2)]
    card = Card.objects.get()
    assert answers == [{"id": card.pk, "name": "门店日报"}] * 2
    assert (card.source, card.bi_page_id, card.bi_card_id) == (source, "p1", "c1")


@pytest.mark.parametrize(
    "sent", [{"page": "p1", "card": "c2"}, {"page": "p1", "card": "c9"}, {"page": "p9", "card": "c1"}]
)
def test_what_holds_no_rows_or_is_not_listed_cannot_be_chosen(root: Client, sent: dict[str, str]) -> None:
    bi_source()
    listed("", ("p1", "销售", "PAGE"))
    listed("p1", ("c1", "门店日报", "CHART"), ("c2", "说明", "TEXT"))
    assert root.post(f"{LIST}data/choose/", sent).status_code == 404
    assert not Card.objects.exists()


def test_a_card_of_a_name_that_is_taken_is_counted(root: Client) -> None:
    source = bi_source()
    Card.objects.create(name="门店日报", source=source, bi_page_id="p0", bi_card_id="c0")
    listed("", ("p1", "销售", "PAGE"))
    listed("p1", ("c1", "门店日报", "CHART"))
    assert root.post(f"{LIST}data/choose/", {"page": "p1", "card": "c1"}).json()["name"] == "门店日报 (2)"


def test_the_bi_of_every_company_comes_before_that_of_one(root: Client) -> None:
    bi_source(name="乙的 BI", corp=make_corp(name="乙"))
    for_all = bi_source(name="BI")
    listed("", ("p1", "销售", "PAGE"))
    listed("p1", ("c1", "门店日报", "CHART"))
    root.post(f"{LIST}data/choose/", {"page": "p1", "card": "c1"})
    assert Card.objects.get().source == for_all


def test_polling_does_not_ask_a_bi_that_failed_again(root: Client) -> None:
    bi_source()
    first = root.post(f"{LIST}data/", {}).json()
    assert first["is_unfinished"] is True
    Job.objects.update(status="failed", problem="unreachable", facts={"reason": "connection"})
    polled = root.post(f"{LIST}data/", {"poll": "1"}).json()
    assert polled["is_unfinished"] is False
    assert 'class="problem"' in polled["html"]


def test_an_invented_page_of_the_bi_is_not_asked_for(root: Client) -> None:
    bi_source()
    root.post(f"{LIST}data/", {"page": "invented"})
    assert [job.payload["page"] for job in Job.objects.all()] == [""]


@pytest.mark.parametrize("text", ["\x00", "%_'", "x" * 5000])
def test_odd_searches_break_nothing(root: Client, text: str) -> None:
    assert root.post(f"{LIST}data/", {"q": text}).status_code == 200


# --- Old pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("button", ["_try", "_save"])
def test_a_page_from_before_a_push_was_disabled_does_not_enable_it(root: Client, button: str) -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"))
    address = change(subscription)
    sent = as_browsers_send(root, address, **{button: "1", "is_enabled": "on", "token": "a" * 32})
    Subscription.objects.update(is_enabled=False, next_run_at=None)
    root.post(address, sent)
    subscription.refresh_from_db()
    assert (subscription.is_enabled, subscription.next_run_at) == (False, None)


def test_a_page_from_before_a_copy_was_made_changes_nothing(
    root: Client, shared: tuple[Subscription, Subscription]
) -> None:
    first, second = shared
    address = change(first)
    sent = as_browsers_send(root, address, title="旧页面", _enable="1")
    root.post(address, {**sent, "title": "本推送的", "content_for": "this"})
    answer = root.post(address, sent)
    assert "请刷新页面" in "".join(problem.text for problem in answer.context["problems"])
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.report.title, second.report.title) == ("本推送的", "日报")


def test_a_change_of_the_time_alone_writes_no_content(root: Client) -> None:
    subscription = make_subscription(make_person(make_corp(), "lilei"))
    address = change(subscription)
    sent = as_browsers_send(root, address, priority="0", _enable="1")
    with CaptureQueriesContext(connection) as queries:
        assert root.post(address, sent).status_code == 302
    assert not any('UPDATE "notifications_report" ' in query["sql"] for query in queries)


# --- Who may what -----------------------------------------------------------------------------------------------------


def writer(*codenames: str) -> Client:
    person = User.objects.create(username="writer", is_staff=True, manages_all_corps=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return client_of(person)


def test_who_may_not_write_reports_changes_the_rest_of_the_page(
    shared: tuple[Subscription, Subscription],
) -> None:
    first, _second = shared
    client = writer("view_subscription", "change_subscription", "view_report")
    address = change(first)
    assert "有权修改报告的人可以修改它" in client.get(address).content.decode()
    sent = as_browsers_send(client, address, name="改名", title="不许", **{"report_cards-0-title": "不许"})
    answer = client.post(address, sent)
    assert answer.status_code == 302, answer.context["problems"]
    first.refresh_from_db()
    assert (first.name, first.report.title) == ("改名", "日报")


def test_who_may_not_add_reports_chooses_one_that_there_is() -> None:
    client = writer("view_subscription", "add_subscription", "view_report")
    report = make_report()
    page = client.get(ADD)
    assert page.context["adminform"].form["report"].field.widget.is_hidden is False
    answer = client.post(ADD, as_browsers_send(client, ADD, name="日报", report=report.pk, title="不许", _save="1"))
    assert answer.status_code == 302, answer.context["problems"]
    assert Subscription.objects.get().report == report
    assert [one.title for one in Report.objects.all()] == ["日报"]


def test_who_may_add_reports_but_not_change_them_reaches_no_row_of_another(
    shared: tuple[Subscription, Subscription],
) -> None:
    report = shared[0].report
    client = writer("view_subscription", "add_subscription", "view_report", "add_report")
    rule = report.own_rows_rules.get()
    rows = {
        **{f"{prefix}-{part}_FORMS": "1" for prefix in PREFIXES for part in ("TOTAL", "INITIAL")},
        "own_rows_rules-0-id": rule.pk, "own_rows_rules-0-DELETE": "on", "own_rows_rules-0-report": report.pk,
        "report_cards-0-id": report.report_cards.get().pk, "report_cards-0-title": "geändert",
    }  # fmt: skip
    client.post(ADD, {**as_browsers_send(client, ADD, name="x", title="x", body="x", report=report.pk), **rows})
    assert list(report.own_rows_rules.all()) == [rule]
    assert report.report_cards.get().title == "门店"


def test_without_the_right_to_add_reports_no_copy_is_made(shared: tuple[Subscription, Subscription]) -> None:
    first, second = shared
    client = writer("view_subscription", "change_subscription", "view_report", "change_report", "view_card")
    address = change(first)
    client.post(address, as_browsers_send(client, address, title="新标题", content_for="this", _enable="1"))
    first.refresh_from_db()
    assert first.report == second.report
    assert Report.objects.count() == 1


def test_own_rows_that_were_left_out_of_the_page_still_go_to_no_robot(
    root: Client, shared: tuple[Subscription, Subscription]
) -> None:
    first, _second = shared
    robot = Robot.objects.create(name="群", corp=make_corp(name="群公司"), key="k" * 36)
    address = change(first)
    rows = {f"own_rows_rules-{part}_FORMS": "0" for part in ("TOTAL", "INITIAL")}
    sent = as_browsers_send(root, address, channel="robot", robot=robot.pk, _enable="1", **rows)
    answer = root.post(address, sent)
    assert "id_robot" in [problem.anchor for problem in answer.context["problems"]]


def test_a_report_that_the_person_does_not_see_cannot_be_taken() -> None:
    mine, other = make_corp(name="甲"), make_corp(name="乙")
    hidden = make_report(corp=other, title="秘密")
    client = client_of(make_manager(mine))
    page = client.get(f"{ADD}?report={hidden.pk}")
    assert "秘密" not in page.content.decode()
    client.post(ADD, as_browsers_send(client, ADD, name="x", title="x", body="x", corp=mine.pk, report=hidden.pk))
    hidden.refresh_from_db()
    assert hidden.title == "秘密"


# --- The page of a report ---------------------------------------------------------------------------------------------


def test_the_page_of_a_report_leads_to_the_push_that_sends_it(
    root: Client, shared: tuple[Subscription, Subscription]
) -> None:
    report = shared[0].report
    assert root.get(f"/admin/notifications/report/{report.pk}/change/")["Location"] == change(shared[1])
    lone = make_report()
    assert root.get(f"/admin/notifications/report/{lone.pk}/change/").status_code == 200


def test_who_may_not_change_both_reads_the_report_where_it_was(shared: tuple[Subscription, Subscription]) -> None:
    for names in (["view_report", "change_report", "view_subscription"], ["view_report", "change_subscription"]):
        User.objects.filter(username="writer").delete()
        client = writer(*names)
        assert client.get(f"/admin/notifications/report/{shared[0].report.pk}/change/").status_code == 200


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_a_name_of_200_characters_is_refused_at_its_field_and_kept(root: Client) -> None:
    sent = as_browsers_send(root, ADD, name="长" * 200, title="日报", body="早上好")

    answer = root.post(ADD, sent)

    [problem] = answer.context["problems"]
    assert problem.anchor == "id_name"
    assert untouched(answer.content.decode(), "subscription_form")["name"] == ["长" * 200]
    assert not Report.objects.exists()
