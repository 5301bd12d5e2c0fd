"""The rows of an alert rule's form, by mouse and by keyboard, under the strict Content-Security-Policy."""

from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from pytest_django.live_server_helper import LiveServer

from integrations.models import Card, DataSource
from notifications.alerts.conditions import CONDITIONS_AT_MOST
from notifications.models import AlertRule
from tests.e2e.axe import unfold
from tests.e2e.session import signed_in
from tests.e2e.waiting import until_data_is_listed
from tests.notifications.factories import make_corp, make_person

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
SUM = {"aggregate": "sum", "column": "销售额", "comparison": "lt", "values": ["1000"], "filters": {}}
COUNT = {"aggregate": "count", "column": "", "comparison": "eq", "values": ["0"], "filters": {}}
STOCK = {"aggregate": "any", "column": "库存", "comparison": "le", "values": ["5"], "filters": {"城市": ["上海"]}}


@pytest.fixture
def rule() -> AlertRule:
    corp = make_corp()
    source = DataSource.objects.create(name="观远", kind="guandata", corp=corp)
    card = Card.objects.create(source=source, name="区域销售额", bi_card_id="c1")
    rule = AlertRule.objects.create(
        name="销售额过低", card=card, corp=corp, conditions=[SUM, COUNT], crontab="*/10 * * * *"
    )
    rule.users.add(make_person(corp, "ann"))
    return rule


@pytest.fixture
def form(rule: AlertRule, live_server: LiveServer, page: Page) -> Page:
    address = signed_in(page.context, live_server)
    page.goto(f"{address}/admin/notifications/alertrule/{rule.pk}/change/")
    unfold_all(page)
    return page


def unfold_all(page: Page) -> None:
    until_data_is_listed(page)
    unfold(page)


def condition(page: Page, number: int) -> Locator:
    return page.get_by_role("group", name=f"条件 {number}", exact=True)


def field(page: Page, number: int, label: str) -> Locator:
    return condition(page, number).get_by_label(label, exact=True)


def save(page: Page) -> None:
    page.locator("[name=_enable]").click()


def stored(rule: AlertRule) -> list[dict[str, Any]]:
    rule.refresh_from_db()
    return list(rule.conditions)


def test_conditions_are_added_removed_and_saved_and_what_is_wrong_stays_beside_its_row(
    form: Page, rule: AlertRule
) -> None:
    rows, adder = form.locator(".condition-row"), form.get_by_role("button", name="添加条件")
    expect(rows).to_have_count(2)
    adder.click()
    expect(field(form, 3, "取值方式")).to_be_focused()
    field(form, 3, "取值方式").select_option("any")
    field(form, 3, "列").fill("库存")
    field(form, 3, "比较方式").select_option("le")
    field(form, 3, "值").fill("viel")
    field(form, 3, "只看这些行").fill("城市=上海")
    save(form)

    expect(condition(form, 3).get_by_text("“viel”既不是数")).to_be_visible()
    until_data_is_listed(form)
    expect(field(form, 3, "取值方式")).to_have_attribute("aria-invalid", "true")
    adder.click()
    expect(form.locator(".condition-problem")).to_have_count(1)
    condition(form, 1).get_by_role("button", name="移除这个条件").click()
    # The remaining rows are numbered again, and the first has the focus.
    expect(field(form, 1, "取值方式")).to_have_value("count")
    expect(field(form, 1, "取值方式")).to_be_focused()
    problem = condition(form, 2).locator(".condition-problem")
    expect(problem).to_be_visible()
    words = field(form, 2, "取值方式").get_attribute("aria-describedby")
    assert words == problem.get_attribute("id") == "id_conditions-1-problem"
    names = rows.locator("select, input").evaluate_all("fields => fields.map(field => field.name)")
    assert len(names) == len(set(names)) == 3 * 8
    assert stored(rule) == [SUM, COUNT]
    field(form, 2, "值").fill("5")
    save(form)

    expect(form.locator(".messagelist .success")).to_be_visible()
    assert stored(rule) == [COUNT, STOCK]


def test_there_is_always_a_row_to_fill_in_never_more_than_are_read_with_the_fields_that_it_needs(form: Page) -> None:
    rows, adder = form.locator(".condition-row"), form.get_by_role("button", name="添加条件")
    for label in ("第二个值", "与哪天比较", "百分比或数值"):
        expect(field(form, 1, label)).to_be_hidden()
    field(form, 1, "比较方式").select_option("between")
    expect(field(form, 1, "第二个值")).to_be_visible()
    field(form, 1, "比较方式").select_option(label="下降超过")
    field(form, 1, "与哪天比较").select_option(label="上周同日")
    field(form, 1, "百分比或数值").select_option(label="%")
    expect(field(form, 1, "第二个值")).to_be_hidden()
    field(form, 1, "比较方式").select_option("null")
    expect(field(form, 1, "值")).to_be_hidden()

    for _ in range(CONDITIONS_AT_MOST - 2):
        adder.press("Enter")
    expect(rows).to_have_count(CONDITIONS_AT_MOST)
    expect(adder).to_be_hidden()
    expect(field(form, 3, "值")).to_be_visible()
    expect(field(form, 3, "第二个值")).to_be_hidden()

    for _ in range(CONDITIONS_AT_MOST):
        condition(form, 1).get_by_role("button", name="移除这个条件").click()
    expect(rows).to_have_count(1)
    expect(adder).to_be_visible()
    expect(field(form, 1, "取值方式")).to_have_value("")
    expect(field(form, 1, "列")).to_have_value("")


def test_each_kind_of_silence_window_shows_what_it_needs(form: Page, rule: AlertRule) -> None:
    """Covers rows that Django's own script adds."""
    form.get_by_role("button", name="添加另一个静默时段").press("Enter")
    window = form.locator(".dynamic-silence_windows")
    once = window.locator(".form-row.field-starts_at")
    weekly = window.locator(".form-row.field-weekdays, .form-row.field-from_time")
    expect(once).to_be_hidden()
    expect(weekly).to_have_count(2)

    window.get_by_label("频率").select_option("once")

    expect(once).to_be_visible()
    for number in range(2):
        expect(weekly.nth(number)).to_be_hidden()
    window.get_by_label("名称").fill("国庆盘点")
    for name, text in (("starts_at", "2027-10-01"), ("ends_at", "2027-10-03")):
        window.locator(f"[name$={name}_0]").fill(text)
        window.locator(f"[name$={name}_1]").fill("08:00")
    address = form.url
    save(form)
    expect(form.locator(".messagelist .success")).to_be_visible()
    form.goto(address)
    unfold_all(form)
    expect(once).to_be_visible()
    expect(weekly.first).to_be_hidden()
    saved = rule.silence_windows.get()
    assert (saved.kind, saved.weekdays) == ("once", "")
    assert saved.starts_at == datetime(2027, 10, 1, tzinfo=UTC)
