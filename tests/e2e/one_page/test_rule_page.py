"""The page of an alert rule in a real browser: from a card to an enabled alert, with a trial on its data."""

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, Route, expect

from integrations.models import Card
from notifications.models import AlertRule
from tests.e2e.axe import assert_no_faults
from tests.e2e.journey import Counted
from tests.e2e.one_page.conftest import assert_few_inputs
from tests.e2e.one_page.test_push_page import choose, press_on
from tests.e2e.policy import refusals_in
from tests.notifications.factories import make_corp, make_person

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
ADD = "/admin/notifications/alertrule/add/"


@pytest.fixture
def address() -> str:
    return ADD


@pytest.mark.journey
def test_yesterdays_sales_below_a_value_in_few_clicks(
    page: Page, card: Card, warehouse: str, record_property: Callable[[str, object], None]
) -> None:
    """Uses sales of 100 yesterday."""
    yesterday, before = (f"{timezone.localdate() - timedelta(days=number)}" for number in (1, 2))
    with psycopg.connect(warehouse) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS daily (日期 text, 销售额 double precision)")
        connection.execute("DELETE FROM daily")
        rows = [(yesterday, 60), (yesterday, 40), (before, 900)]
        connection.cursor().executemany("INSERT INTO daily VALUES (%s, %s)", rows)
    Card.objects.filter(pk=card.pk).update(sql="SELECT * FROM daily")
    make_person(make_corp(), "lilei", name="李雷")
    refusals = refusals_in(page.context)
    assert_few_inputs(page, "alertrule_form")
    hand = Counted(page)

    hand.click(page.get_by_role("button", name="门店销售额"))
    expect(page.locator("[data-sample]")).to_contain_text("900")
    first = page.get_by_role("group", name="条件 1", exact=True)
    hand.select(first.get_by_label("取值方式"), "合计")
    hand.select(first.get_by_label("列", exact=True), "销售额")
    hand.select(first.get_by_label("比较方式"), "小于")
    hand.fill(first.get_by_label("值", exact=True), "150")
    hand.click(first.get_by_role("button", name="只看部分行"))
    hand.select(first.get_by_label("选择列"), "日期")
    hand.select(first.get_by_label("日期", exact=True), "昨天")
    expect(first.get_by_role("button", name="日期：昨天", exact=True)).to_be_visible()
    expect(page.locator("[data-trial] strong").first).to_have_text("会触发")
    expect(page.locator("[data-trial]")).to_contain_text("销售额 合计 小于 150（日期：昨天）：当前 100")
    expect(page.locator("[data-trial] .trial-marked")).to_have_count(2)
    assert page.locator("[data-trial] .scrolls").evaluate("box => box.scrollWidth - box.clientWidth") == 0
    hand.click(page.get_by_role("checkbox", name="所有已关联企业微信的人"))
    expect(page.locator("[data-outlook-place] .pill-good")).to_have_text("1 人")
    assert_no_faults(page)
    hand.click(page.get_by_role("button", name="保存并启用"))

    expect(page.locator(".messagelist .success")).to_be_visible()
    rule = AlertRule.objects.get()
    assert (rule.name, rule.card, rule.is_enabled) == ("门店销售额", card, True)
    assert rule.conditions == [
        {"aggregate": "sum", "column": "销售额", "comparison": "lt", "values": ["150"], "filters": {"日期": ["昨天"]}}
    ]
    assert rule.to_everyone
    assert refusals == []
    hand.record("an alert: yesterday's sales below a value", record_property)
    assert (hand.clicks, hand.fields) == (4, 6)


def test_the_threshold_is_dragged_and_moved_with_the_arrow_keys_on_the_last_30_days(
    page: Page, card: Card, warehouse: str
) -> None:
    today = timezone.localdate()
    with psycopg.connect(warehouse) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS daily (日期 text, 销售额 double precision)")
        connection.execute("DELETE FROM daily")
        rows = [(f"{today - timedelta(days=number)}", 10 * number) for number in range(1, 11)]
        connection.cursor().executemany("INSERT INTO daily VALUES (%s, %s)", rows)
    Card.objects.filter(pk=card.pk).update(sql="SELECT * FROM daily")
    page.get_by_role("button", name="门店销售额").click()
    expect(page.locator("[data-sample]")).to_contain_text("日期")
    first = page.get_by_role("group", name="条件 1", exact=True)
    expect(first.locator("select[name$=column]")).to_have_count(1)
    first.get_by_label("取值方式").select_option("合计")
    first.get_by_label("列", exact=True).select_option("销售额")
    first.get_by_label("比较方式").select_option("小于")
    first.get_by_label("值", exact=True).fill("45")

    line, told = page.get_by_role("slider", name="阈值"), page.locator("[data-past-count]")
    expect(line).to_have_attribute("aria-valuenow", "45")
    expect(told).to_have_text("有数据的 10 天中，会触发 4 天。")
    assert_no_faults(page)

    line.focus()
    page.keyboard.press("PageUp")
    expect(told).to_have_text("有数据的 10 天中，会触发 5 天。")
    expect(first.get_by_label("值", exact=True)).to_have_value("55")
    expect(line).to_be_focused()
    page.keyboard.press("Home")
    expect(told).to_have_text("有数据的 10 天中，会触发 0 天。")

    box = line.bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0], middle[1] - 400, steps=4)
    page.mouse.up()
    expect(told).to_have_text("有数据的 10 天中，会触发 10 天。")
    expect(page.locator("[data-trial]")).to_contain_text("10 天会触发")


def test_rows_are_chosen_by_column_and_value_and_the_choice_is_taken_back(page: Page, card: Card) -> None:
    page.get_by_role("button", name="门店销售额").click()
    first = page.get_by_role("group", name="条件 1", exact=True)
    first.get_by_role("button", name="只看部分行").click()
    first.get_by_label("选择列").select_option("区域")
    first.get_by_role("checkbox", name="华东").check()
    first.get_by_label("区域：其他值").fill("西北|甘肃")
    first.get_by_role("button", name="完成").click()

    chip = first.get_by_role("button", name="区域：华东、西北|甘肃")
    expect(chip).to_be_visible()
    expect(page.locator("[name=conditions-0-filters]")).to_have_value(r"区域=华东|西北\|甘肃")
    chip.click()
    expect(first.get_by_role("checkbox", name="西北|甘肃")).to_be_checked()
    first.get_by_role("checkbox", name="华东").uncheck()
    first.get_by_role("button", name="完成").click()
    expect(page.locator("[name=conditions-0-filters]")).to_have_value(r"区域=西北\|甘肃")
    first.get_by_role("button", name="移除：区域").click()
    expect(page.locator("[name=conditions-0-filters]")).to_have_value("")


def test_data_is_fetched_again_and_a_column_that_the_source_renamed_is_put_right(page: Page, card: Card) -> None:
    make_person(make_corp(), "lilei", name="李雷")
    Card.objects.update(sql="SELECT * FROM nothing")
    page.get_by_role("button", name="门店销售额").click()
    line = page.locator("[data-no-columns]")
    expect(line).to_contain_text("没有列可选")
    expect(page.locator("[data-sample] .problem")).to_be_visible()
    Card.objects.update(sql=card.sql)
    line.get_by_role("button").click()
    expect(line).to_be_hidden()
    expect(page.locator("[data-sample]")).to_contain_text("杭州")
    first = page.get_by_role("group", name="条件 1", exact=True)
    first.get_by_label("取值方式").select_option("合计")
    first.get_by_label("列", exact=True).select_option("销售额")
    first.get_by_label("比较方式").select_option("小于")
    first.get_by_label("值", exact=True).fill("1000")
    first.get_by_role("button", name="只看部分行").click()
    first.get_by_label("选择列").select_option("区域")
    first.get_by_role("checkbox", name="华东").check()
    first.get_by_role("button", name="完成").click()
    page.get_by_role("checkbox", name="所有已关联企业微信的人").click()
    page.get_by_role("button", name="保存，暂不启用").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    Card.objects.update(sql="SELECT 区域 AS 大区, 门店, 销售额 AS 销售额万元 FROM sales")

    rule = AlertRule.objects.get()
    page.goto(page.url.split("/admin/")[0] + f"/admin/notifications/alertrule/{rule.pk}/change/")
    missing = page.locator("[data-missing-names]")
    expect(page.get_by_label("已没有列“销售额”")).to_have_value("销售额万元")
    page.get_by_label("已没有列“区域”").select_option("大区")
    assert_no_faults(page)
    page.get_by_role("button", name="应用", exact=True).click()
    expect(missing).to_have_count(0)
    expect(page.locator("[data-trial] strong").first).to_have_text("会触发")
    page.get_by_role("button", name="保存，暂不启用").click()

    expect(page.locator(".messagelist .success")).to_be_visible()
    rule.refresh_from_db()
    assert (rule.conditions[0]["column"], rule.conditions[0]["filters"]) == ("销售额万元", {"大区": ["华东"]})


def test_an_alert_is_made_by_keyboard_alone(page: Page, card: Card) -> None:
    make_person(make_corp(), "lilei", name="李雷")
    choice = page.get_by_role("button", name="门店销售额")
    expect(choice).to_be_visible()

    press_on(page, choice, "Enter")
    first = page.get_by_role("group", name="条件 1", exact=True)
    expect(first.locator("select[name$=column]")).to_be_visible()
    pick(page, first.get_by_label("取值方式"), "合计")
    choose(page, "列", "销售额")
    pick(page, first.get_by_label("比较方式"), "大于")
    press_on(page, first.get_by_label("值", exact=True), "Home")
    page.keyboard.type("150")
    expect(page.locator("[data-trial] strong").first).to_have_text("会触发")
    press_on(page, page.get_by_role("checkbox", name="所有已关联企业微信的人"), "Space")
    expect(page.locator("[data-outlook-place] .pill-good")).to_have_text("1 人")
    press_on(page, page.get_by_role("button", name="保存并启用"), "Enter")

    expect(page.locator(".messagelist .success")).to_be_visible()
    rule = AlertRule.objects.get()
    assert (rule.name, rule.is_enabled, rule.to_everyone) == ("门店销售额", True, True)
    assert [(one["aggregate"], one["column"], one["values"]) for one in rule.conditions] == [("sum", "销售额", ["150"])]


def pick(page: Page, select: Locator, wanted: str) -> None:
    """Press Tab until the select has the focus, then choose the option with the arrow keys."""
    press_on(page, select, "Home")
    for _step in range(select.locator("option").count()):
        if select.evaluate("one => one.selectedOptions[0].text.trim()") == wanted:
            return
        page.keyboard.press("ArrowDown")
    pytest.fail(f"no way by keyboard to {wanted}")


def test_conditions_on_two_of_200_columns_are_written_by_keyboard(page: Page, card: Card) -> None:
    """Keeps a list open while the trial arrives, and a column with its condition when another one is removed."""
    columns = ", ".join(f"销售额 AS 指标{number}" for number in range(199))
    Card.objects.update(sql=f"SELECT 区域, {columns} FROM sales")  # noqa: S608  # our own numbers
    make_person(make_corp(), "lilei", name="李雷")
    page.get_by_role("button", name="门店销售额").click()
    drawn = page.locator(".condition-row .select2")
    expect(drawn).to_have_count(1)
    expect(page.locator("[data-sample]")).to_contain_text("区域")
    held: list[Route] = []
    page.route("**/try/", lambda route: held.append(route), times=1)

    for number, column in ((1, "指标187"), (2, "指标42")):
        if number == 2:
            page.get_by_role("button", name="添加条件").press("Enter")
        row = page.get_by_role("group", name=f"条件 {number}", exact=True)
        with page.expect_request("**/try/"):
            row.get_by_label("取值方式").select_option("合计")
        row.get_by_label("取值方式").press("Shift+Tab")
        expect(row.locator(".select2 [role=combobox]")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("searchbox", name="列")).to_be_focused()
        page.keyboard.insert_text(column)
        expect(page.locator(".select2-results__option--highlighted")).to_have_text(column)
        if number == 1:
            with page.expect_response("**/try/"):
                held[0].continue_()
            expect(page.locator("[data-trial]")).to_contain_text("该比较方式需要的值个数不对")
        page.keyboard.press("Enter")
        expect(row.locator(".select2")).to_contain_text(column)
        row.get_by_label("值", exact=True).fill("1")
    page.get_by_role("checkbox", name="所有已关联企业微信的人").click()
    assert_no_faults(page)
    page.get_by_role("button", name="保存，暂不启用").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    rule = AlertRule.objects.get()
    assert [one["column"] for one in rule.conditions] == ["指标187", "指标42"]

    page.goto(page.url.split("/admin/")[0] + f"/admin/notifications/alertrule/{rule.pk}/change/")
    expect(drawn).to_have_count(2)
    page.get_by_role("group", name="条件 1", exact=True).get_by_role("button", name="移除这个条件").click()
    expect(drawn).to_have_count(1)
    expect(drawn).to_contain_text("指标42")
    expect(page.locator("[name=conditions-0-column]")).to_have_value("指标42")
