"""The page of a report: its cards, its templates, own rows, and its preview on real data."""

import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

from accounts.models import Attribute, AuditEntry, User
from integrations.data.table import Column, Kind, Table
from integrations.datasources import fetch
from integrations.models import Card, CardData, DataSource
from integrations.models.datasources import compress_table
from notifications.models import OwnRowsRule, Report
from notifications.reports.templates import renderer
from notifications.reports.templates.column_names import describe_template_names
from notifications.reports.templates.merge_fields import make_starting_points
from tests.guandata import GuandataAnswers, fixture
from tests.notifications import preview_pages
from tests.notifications.factories import NOW, make_corp, make_manager, make_person, make_report, make_subscription
from tests.notifications.reports.places import (
    answer,
    make_card,
    make_data_report,
    make_region,
    page_values,
    place,
    split,
)

pytestmark = pytest.mark.django_db
ADD = reverse("admin:notifications_report_add")
PREVIEW = reverse("admin:notifications_subscription_preview")


def errors_of(response: Any) -> str:
    forms = [
        response.context["adminform"].form,
        *(f for s in response.context["inline_admin_formsets"] for f in s.formset),
    ]
    return " ".join(str(error) for form in forms for errors in form.errors.values() for error in errors)


def fetch_card(card: Card, *, slot_at: datetime) -> Table:
    fetch.request_data([card.pk], slot_at=slot_at, now=slot_at)
    row = CardData.objects.get(card=card, slot_at=slot_at)
    fetch.fetch_row(row_id=row.pk, clock=lambda: slot_at)
    row.refresh_from_db()
    return row.table


def rule(
    column: str = "区域", attribute: Attribute | None = None, value: str = "", alias: str = "c0"
) -> dict[str, object]:
    return {"alias": alias, "column": column, "attribute": attribute.pk if attribute else "", "value": value}


@pytest.mark.parametrize(
    ("title", "is_template", "shown"),
    [
        ("销售日报", True, "销售日报"),
        ("{{ yesterday|date('M月D日') }}销售 {{ c0.sum('销售额')|wan }}元", True, "…销售 …元"),
        ("{% if c0.is_empty %}没有{% endif %}销售日报", True, "没有销售日报"),
        ("{{ today }}", True, "内容 7"),
        ("{{ today }}", False, "{{ today }}"),
    ],
)
def test_lists_and_pages_show_no_template_code(root: Client, title: str, is_template: bool, shown: str) -> None:
    report = make_report(pk=7, title=title, is_template=is_template)

    page = root.get(reverse("admin:notifications_report_changelist")).content.decode()

    assert str(report) == shown
    assert f">{shown}</a>" in page


def test_a_report_is_saved_with_its_cards_and_rules_in_the_audit_trail(root: Client) -> None:
    region = make_region()

    response = root.post(
        ADD, page_values(make_card(), make_card(), rules=(rule(attribute=region),), body="{{ c1.count }}")
    )

    assert response.status_code == 302
    report = Report.objects.get()
    assert report.is_template
    assert list(report.report_cards.values_list("alias", "position")) == [("c0", 0), ("c1", 1)]
    assert [(one.alias, one.column, one.attribute) for one in report.own_rows_rules.all()] == [("c0", "区域", region)]
    assert set(AuditEntry.objects.values_list("model", flat=True)) >= {
        "notifications.reportcard",
        "notifications.ownrowsrule",
    }


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"body": "好\n{{ nope }}"}, "第 2 行：这里没有叫做“nope”的内容。"),
        ({"title": "{{ c0.sum( }}"}, "第 1 行：无法作为模板读取"),
        ({"figures": "合计: {{ c1.count }}"}, "第 1 行：这里没有叫做“c1”的内容。"),
        # Rules that would hide everything.
        ({"rules": (rule(alias="other", value="x"),)}, "内容中没有这个名称的数据。"),
        ({"rules": (rule(value=""),)}, "请选择属性或填写固定值，二者选一。"),
    ],
)
def test_a_template_or_rule_that_fails_is_refused_with_the_reason(
    root: Client, changes: dict[str, Any], said: str
) -> None:
    response = root.post(ADD, page_values(make_card(), **changes))

    assert said in errors_of(response)
    assert not Report.objects.exists()
    assert not OwnRowsRule.objects.exists()


@pytest.mark.usefixtures("undrawn")
def test_a_column_that_the_data_fetched_last_does_not_have_is_refused(root: Client) -> None:
    known = make_data_report()
    answer(known, slot_at=NOW - timedelta(hours=1))
    card = known.report_cards.get().card

    response = root.post(ADD, page_values(card, body="{{ c0.sum('没有') }}"))

    assert "没有“没有”这一列。现有：日期, 区域, 销售额。" in errors_of(response)
    assert root.post(ADD, page_values(card, body="{{ c0.sum('销售额') }}")).status_code == 302

    # Data that a page fetched later has the source's new column names.
    other = compress_table(Table((Column("金额", Kind.NUMBER),), ((1,),), NOW))
    fetched = {"status": "ready", "content": other, "finished_at": NOW, "requested_at": NOW, "next_try_at": NOW}
    CardData.objects.create(card=card, **fetched)
    refused = root.post(ADD, page_values(card, body="{{ c0.sum('销售额') }}"))
    assert "没有“销售额”这一列。现有：金额。" in errors_of(refused)
    assert root.post(ADD, page_values(card, body="{{ c0.sum('金额') }}")).status_code == 302


@pytest.mark.parametrize("was_known", [True, False])
def test_a_card_without_rows_today_is_refused_for_no_kind(
    root: Client, bi: GuandataAnswers, card: Card, was_known: bool
) -> None:
    empty = fixture("card_data")
    empty["response"]["chartMain"] |= {"data": [], "row": {"meta": []}, "count": 0}
    empty["response"]["chartMain"]["column"]["values"] = [[{"title": "区域"}], [{"title": "销售额"}]]
    if was_known:
        fetch_card(card, slot_at=NOW - timedelta(hours=2))
    bi.wire.reset()
    bi.gives("sign_in")
    bi.gives("card_data", empty)
    table = fetch_card(card, slot_at=NOW - timedelta(hours=1))
    chart = {"alias": "c0", "kind": "bar", "x": "区域", "y": "销售额", "top": 10, "sort": "as_is", "aggregate": "sum"}

    response = root.post(ADD, page_values(card, charts=({**chart, "title": "图", "position": 0},)))

    assert table.rows == ()
    assert table.find_column("销售额").kind is (Kind.NUMBER if was_known else Kind.TEXT)
    assert response.status_code == 302
    lacks = {point.key: point.lacks for point in make_starting_points("c0", "日报", table)[0]}
    unknown = "" if was_known else "还没有数据行，无法得知各列的内容。"
    assert lacks == {
        "key_figures": unknown, "table": "", "trend": "这份数据没有日期列。" if was_known else unknown,
        "ranking": unknown,
    }  # fmt: skip


@pytest.mark.usefixtures("undrawn")
def test_a_card_cannot_be_called_as_something_known(root: Client) -> None:
    sent = page_values(make_card()) | {"report_cards-0-alias": "today"}

    assert "“today”已有含义，请换一个名称。" in errors_of(root.post(ADD, sent))


@pytest.fixture
def foreign_card(client: Client) -> Card:
    """A card with data of another company; `client` is a manager who does not see it."""
    mine, other = make_corp(), make_corp()
    client.force_login(make_manager(mine), backend="django.contrib.auth.backends.ModelBackend")
    card = make_card(source=DataSource.objects.create(name="别家", kind="sql", corp=other))
    columns = (Column("姓名", Kind.TEXT), Column("工资", Kind.NUMBER))
    answer(make_data_report(card=card), Table(columns, (("王总", 98765),), NOW), slot_at=NOW - timedelta(hours=1))
    return card


SPYING = "{{ c0.sum(c0.value('姓名') ~ c0.value('工资')) }}"
GUESS = {"position": 0, "alias": "c0", "kind": "bar", "x": "姓名", "y": "姓名", "top": 10, "sort": "as_is"}


@pytest.mark.parametrize(
    "sent",
    [{"title": SPYING}, {"body": SPYING}, {"figures": f"工资: {SPYING}"}, {"charts": ({**GUESS, "aggregate": "sum"},)}],
    ids=["title", "body", "figures", "charts"],
)
def test_no_refusal_tells_what_a_card_of_another_company_holds(
    client: Client, foreign_card: Card, sent: dict[str, Any]
) -> None:
    """Sending its id in the request gets the answer that it cannot be chosen, without any of its data."""
    corp = User.objects.get(managed_corps__isnull=False).managed_corps.get()

    response = client.post(ADD, page_values(foreign_card, corp=corp.pk, **sent))

    assert errors_of(response) == "选择一个有效的选项： 该选择不在可用的选项中。"
    assert "98765" not in response.content.decode()
    assert "该选择不在可用的选项中。" in preview(client, foreign_card)
    assert not Report.objects.exclude(report_cards__card=foreign_card).exists()
    own = make_card(source=DataSource.objects.create(name="自家", kind="sql", corp=corp))
    assert client.post(ADD, page_values(own, corp=corp.pk)).status_code == 302


def preview(client: Client, *cards: Card, **changes: object) -> str:
    return preview_pages.preview(client, PREVIEW, page_values(*cards, **changes))


class TestPreview:
    def test_shows_the_message_over_data_at_a_chosen_time(self, root: Client, card: Card) -> None:
        html = preview(root, card, body="{{ today }} {{ c0.sum('销售额')|千分位 }}", _at="2026-11-30T09:00")

        assert "2026-11-30 224.5" in html
        assert "<td>华东</td>" in html

    def test_as_any_person_shows_their_rows(self, root: Client, card: Card) -> None:
        region = make_region()
        person = make_person(make_corp(), "li", name="李雷")
        place(person, region, "华南")
        rules = (rule(attribute=region),)

        html = preview(root, card, rules=rules, _person=person.pk, body="{{ c0.count }}")
        assert "可以看到 2 行中的 1 行。" in html
        assert "华东" not in html


def test_names_of_the_help_are_those_of_the_templates() -> None:
    names = describe_template_names(NOW, ZoneInfo("UTC"))
    shown = render_to_string("admin/notifications/report/_template_help.html", names)
    for code in map(unescape, re.findall(r"<dt><code>(.*?)</code>", shown)):
        renderer.compile_template(code if code.startswith("{") else f"{{{{ {code} }}}}", frozenset({"sales"}))


class TestOfSubscription:
    """The preview on the page of a push: for readers, and for editors before their own preview is made."""

    @pytest.fixture
    def reader(self) -> Client:
        person = make_manager(permissions="view_")
        User.objects.filter(pk=person.pk).update(manages_all_corps=True)
        client = Client()
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        return client

    def page_of(self, client: Client, report: Report) -> str:
        subscription = make_subscription(make_person(make_corp(), "li"), report=report)
        return client.get(reverse("admin:notifications_subscription_change", args=[subscription.pk])).content.decode()

    def test_shows_the_message_over_the_data_fetched_last_or_that_there_is_none(
        self, root: Client, reader: Client
    ) -> None:
        report = make_data_report()

        assert "尚未读取过数据" in self.page_of(reader, report)
        answer(report)
        assert "合计 20,040 元" in self.page_of(root, report)

    @pytest.mark.parametrize("has_data", [True, False])
    def test_shows_no_own_rows_and_an_editor_no_sentence_for_those_who_look(
        self, root: Client, reader: Client, has_data: bool
    ) -> None:
        report = make_data_report()
        split(report, make_region())
        if has_data:
            answer(report)

        looked_at, edited = self.page_of(reader, report), self.page_of(root, report)

        assert ("每个人收到的数据不同" in looked_at, "每个人收到的数据不同" in edited) == (True, False)
        assert "20,040" not in looked_at + edited
