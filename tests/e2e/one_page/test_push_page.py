"""The page of a push in a real browser: from a card to an enabled push, and nothing typed is lost."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.utils import timezone
from playwright.sync_api import Locator, Page, Route, expect
from pytest_django.live_server_helper import LiveServer

from integrations.models import Card
from notifications.delivery.rendering.render import render_run
from notifications.models import CorpQueue, Delivery, Draft, OwnRowsRule, Report, Run, Subscription
from tests.e2e.axe import assert_no_faults
from tests.e2e.console import PASSWORD, write
from tests.e2e.journey import Counted
from tests.e2e.one_page.conftest import assert_few_inputs
from tests.e2e.policy import refusals_in
from tests.e2e.session import signed_in
from tests.e2e.waiting import until_draft_has
from tests.notifications.factories import make_corp, make_person, make_subscription

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
ADD = "/admin/notifications/subscription/add/"
# More than the page has focusable elements, so it is at least once around.
TABS_AT_MOST = 200


@pytest.fixture
def address() -> str:
    return ADD


def choose(page: Page, label: str, name: str) -> None:
    """Choose an option with the keyboard. Short lists have no search field."""
    press_on(page, page.get_by_role("combobox", name=label), "Enter")
    options = page.locator(".select2-results__option")
    chosen = page.locator(".select2-results__option--highlighted")
    search = page.locator(".select2-container--open .select2-search__field")
    if search.is_visible():
        expect(search).to_be_focused()
        page.keyboard.type(name)
        expect(options).to_have_text([name])
    else:
        names = options.all_inner_texts()
        for _step in range(names.index(name) - names.index(chosen.inner_text())):
            page.keyboard.press("ArrowDown")
    expect(chosen).to_have_text(name)  # Enter takes the highlighted option, which changes a moment after the search
    page.keyboard.press("Enter")


@pytest.mark.journey
def test_from_a_card_to_an_enabled_push_in_few_clicks(
    page: Page, card: Card, record_property: Callable[[str, object], None]
) -> None:
    make_person(make_corp(), "lilei", name="李雷")
    refusals = refusals_in(page.context)
    assert_few_inputs(page, "subscription_form")
    hand = Counted(page)

    hand.click(page.get_by_role("button", name="门店销售额"))
    expect(page.get_by_role("button", name="排名")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".phone-title")).to_have_text("门店销售额")
    expect(page.locator(".phone-content")).to_contain_text("1. 上海 128.5")
    hand.click(page.get_by_role("checkbox", name="所有已关联企业微信的人"))
    expect(page.locator("[data-outlook-place] .pill-good")).to_have_text("1 人")
    assert_no_faults(page)
    hand.click(page.get_by_role("button", name="保存并启用"))

    expect(page.locator(".messagelist .success")).to_be_visible()
    subscription = Subscription.objects.get()
    assert (subscription.name, subscription.is_enabled) == ("门店销售额", True)
    assert subscription.next_run_at is not None
    assert [one.card for one in subscription.report.report_cards.all()] == [card]
    assert [chart.kind for chart in subscription.report.charts.all()] == ["bar"]
    assert refusals == []
    hand.record("a further push, from a card that is known", record_property)
    assert hand.clicks <= 12
    assert hand.fields <= 4
    assert hand.pages == 1  # the list, once it is saved


def test_the_tools_lie_over_no_note(page: Page, live_server: LiveServer) -> None:
    push = make_subscription(name="日报")
    for name in ("甲", "乙"):
        queue = {"blocked_since": timezone.now(), "blocked_errcode": 40001, "blocked_error": "invalid credential"}
        CorpQueue.objects.update_or_create(corp=make_corp(name=name), defaults=queue)
    address = f"{signed_in(page.context, live_server)}/admin/notifications/subscription/{push.pk}/change/"
    page.set_viewport_size({"width": 1440, "height": 900})

    page.goto(address)

    notes, tools = page.locator(".subscription-form > .errornote"), page.locator(".object-tools")
    expect(notes).to_have_count(2)
    note, tool = notes.nth(1).bounding_box(), tools.bounding_box()
    assert note is not None
    assert tool is not None
    assert tool["y"] + tool["height"] <= note["y"]  # beside the heading, above the notes


def choose_person(page: Page, name: str) -> None:
    """Choose the person of the preview by keyboard."""
    press_on(page, page.get_by_role("combobox", name="以谁的身份预览"), "Enter")
    expect(page.locator(".select2-container--open .select2-search__field")).to_be_focused()
    page.keyboard.type(name)
    expect(page.locator(".select2-results__option")).to_have_text([re.compile(name)])
    expect(page.locator(".select2-results__option--highlighted")).to_have_text(re.compile(name))
    page.keyboard.press("Enter")


def test_a_push_is_made_by_keyboard_alone_and_looked_at_as_whom_one_chooses(page: Page, card: Card) -> None:
    """Previews as oneself, then as the first recipient, then as a chosen person, who stays chosen."""
    make_person(make_corp(), "lilei", name="李雷")
    chosen, everybody = page.locator("#preview-as"), page.get_by_role("checkbox", name="所有已关联企业微信的人")
    expect(page.get_by_role("button", name="门店销售额")).to_be_visible()
    expect(chosen).to_contain_text("root")

    press_on(page, page.get_by_role("button", name="门店销售额"), "Enter")
    ranking = page.get_by_role("button", name="排名")
    expect(ranking).to_be_enabled()
    press_on(page, ranking, "Space")
    expect(page.locator(".phone-title")).to_have_text("门店销售额")
    press_on(page, everybody, "Space")
    expect(page.locator("[data-outlook-place] .pill-good")).to_have_text("1 人")
    expect(chosen).to_contain_text("李雷")
    choose_person(page, "韩梅梅")
    expect(chosen).to_contain_text("韩梅梅")
    for _pressed in range(2):
        with page.expect_response("**/outlook/"):
            press_on(page, everybody, "Space")
    expect(chosen).to_contain_text("韩梅梅")
    press_on(page, page.get_by_role("button", name="保存并启用"), "Enter")

    expect(page.locator(".messagelist .success")).to_be_visible()
    subscription = Subscription.objects.get()
    assert (subscription.name, subscription.is_enabled, subscription.to_everyone) == ("门店销售额", True, True)


def press_on(page: Page, target: Locator, key: str) -> None:
    """Press Tab until the focus is on `target`, then press `key`."""
    for _step in range(TABS_AT_MOST):
        if target.evaluate("one => one === document.activeElement"):
            page.keyboard.press(key)
            return
        page.keyboard.press("Tab")
    pytest.fail(f"no way by keyboard to {target}")


def test_a_figure_of_one_of_200_columns_is_inserted_and_read_back_as_a_label(page: Page, card: Card) -> None:
    columns = ", ".join(f"{number} AS 指标{number}" for number in range(199))
    Card.objects.update(sql=f"SELECT 门店, 销售额, {columns} FROM sales")  # noqa: S608  # our own numbers
    page.get_by_role("button", name="门店销售额").click()
    body = page.get_by_role("textbox", name="正文")
    chips = body.locator(".template-chip")
    expect(chips).to_have_text(["前 5 名：门店（按销售额）"])  # begun by itself
    page.locator("[data-point=key_figures]").click()
    expect(chips).to_have_count(0)  # the figure stands large, and not in the text as well
    before = chips.count()

    body.click()
    page.keyboard.press("Control+End")
    page.keyboard.type(" {{最高}} ")
    page.get_by_role("searchbox", name="查找数字").fill("指标187")
    expect(page.get_by_label("插入数字或日期").locator("option:checked")).to_have_text("指标187")
    page.get_by_label("取什么").select_option(label="指标187最大值")
    page.get_by_role("button", name="插入", exact=True).click()

    expect(chips).to_have_count(before + 1)
    expect(chips.last).to_have_text("指标187最大值")
    expect(page.locator(".phone-content")).to_contain_text("{{最高}} 187")
    page.get_by_role("button", name="保存，暂不启用").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    report = Report.objects.get()
    assert report.body.endswith("{{ '{' }}{{ '{' }}最高}} {{ 门店销售额.max('指标187')|thousands }}")

    page.goto(
        page.url.split("/admin/")[0] + f"/admin/notifications/subscription/{Subscription.objects.get().pk}/change/"
    )
    expect(chips).to_have_count(before + 1)
    with page.expect_response("**/outlook/"):
        body.press("Control+End")
        page.keyboard.press("Backspace")
    expect(chips).to_have_count(before)


def test_own_rows_are_one_switch_that_proposes_what_is_called_alike_and_takes_another(page: Page, card: Card) -> None:
    page.get_by_role("button", name="门店销售额").click()
    page.get_by_role("button", name="排名").click()
    expect(page.locator(".phone-title")).to_have_text("门店销售额")
    page.get_by_role("checkbox", name="每人只看自己的行").check()
    expect(page.locator("[data-phone] .problem")).to_contain_text("root 看不到这些数据中的任何一行")
    choose_person(page, "韩梅梅")
    expect(page.locator(".phone-content")).to_contain_text("1. 上海 128.5")
    expect(page.locator(".phone-content")).not_to_contain_text("广州")
    expect(page.locator("[name='own_rows_rules-0-column']")).to_have_value("区域")

    # The list stays open while a preview comes.
    held: list[Route] = []
    page.route("**/outlook/", lambda route: held.append(route), times=1)
    with page.expect_request("**/outlook/"):
        page.fill("[name=name]", "各店")
    press_on(page, page.get_by_role("combobox", name="等于本人的"), "Enter")
    option = page.locator(".select2-results__option", has_text="BI loginId")
    expect(option).to_be_visible()
    with page.expect_response("**/outlook/"):
        held[0].continue_()
    with page.expect_response("**/outlook/"):
        option.click()
    expect(page.locator("#own-rows-attribute option:checked")).to_contain_text("BI loginId")

    # The list offers WeCom accounts, and attributes can be added from here.
    with page.expect_response("**/outlook/"):
        choose(page, "等于本人的", "企业微信账号")
    expect(page.locator("[name='own_rows_rules-0-value']")).to_have_value("@userid")
    assert_no_faults(page)
    with page.expect_popup() as opened:
        page.get_by_role("link", name="新建人员属性").click()
    window = opened.value
    window.wait_for_load_state()
    window.fill("[name=key]", "area")
    window.fill("[name=name]", "片区")
    with page.expect_response("**/outlook/"):
        window.locator("[name=_save]").click()
    page.get_by_role("button", name="保存，暂不启用").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    rule = OwnRowsRule.objects.get()
    assert (rule.alias, rule.column, str(rule.attribute), rule.value) == ("门店销售额", "区域", "片区", "")


def test_a_look_at_the_page_leaves_no_draft(page: Page, card: Card) -> None:
    """Lets a minute pass on the page's own clock."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url.rsplit("/", 2)[1]))
    page.clock.install()
    page.reload()
    expect(page.locator("[data-choices] button").first).to_be_visible()
    page.clock.run_for(60_000)
    expect(page.locator("#preview-as option:checked")).to_have_text("root")
    assert "outlook" in sent
    assert "draft" not in sent


def test_problems_are_listed_and_lead_to_their_fields_and_enter_saves_and_enables_nothing(
    page: Page, card: Card
) -> None:
    make_person(make_corp(), "lilei")
    page.get_by_role("button", name="不用数据，只发文字").click()
    write(page, "标题", "日报")
    page.fill("[name=name]", "日报")
    page.locator("#subscription_form").evaluate("form => (form.noValidate = true)")
    page.get_by_role("button", name="保存，暂不启用").click()
    problem, body = page.locator("[data-problems] a[href='#id_body']"), page.get_by_role("textbox", name="正文")
    expect(problem).to_be_visible()
    expect(page.locator(".template-editor").nth(1)).to_be_visible()
    problem.click()
    expect(body).to_be_focused()

    write(page, "正文", "早上好")
    page.get_by_role("button", name="保存并启用").click()
    problems = page.locator("[data-problems]")
    expect(problems).to_be_focused()
    expect(problems).to_contain_text("没有人会收到")
    expect(body).to_have_text("早上好")

    page.get_by_role("checkbox", name="所有已关联企业微信的人").check()
    page.locator("[name=name]").press("Enter")
    expect(page.locator(".messagelist .success")).to_be_visible()
    assert not Subscription.objects.get().is_enabled


@pytest.mark.parametrize(
    ("body", "is_template", "typed"),
    [("用 {{ 写", False, " {{a}}"), ("{% if true %}早{% endif %}", True, "")],
    ids=["braces of a plain text", "a template written by hand"],
)
def test_what_was_written_stays_as_it_is(page: Page, card: Card, body: str, is_template: bool, typed: str) -> None:
    report = Report.objects.create(title="日报", body=body, is_template=is_template)
    subscription = make_subscription(make_person(make_corp(), "lilei"), report=report)
    page.goto(page.url.replace("/add/", f"/{subscription.pk}/change/"))
    if typed:
        # Before the editor is there, a plain field has the same name.
        expect(page.locator(".template-editor").nth(1)).to_be_visible()
        page.get_by_role("textbox", name="正文").press("Control+End")
        page.keyboard.type(typed)
    else:
        with page.expect_response("**/outlook/"):
            page.fill("[name=name]", "改名")
        expect(page.locator("textarea[name=body]")).to_be_visible()
    page.locator("[name=_enable]").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    report.refresh_from_db()
    assert (report.body, report.is_template) == (body + typed, is_template)


def test_an_inserted_figure_is_named_deleted_brought_back_and_copied_by_keyboard(page: Page, card: Card) -> None:
    page.get_by_role("button", name="门店销售额").click()
    page.locator("[data-point=key_figures]").click()
    page.locator("[name=message_form]").select_option("text")  # which has no place for figures but the text
    body = page.get_by_role("textbox", name="正文")
    chips = body.get_by_role("img")
    expect(chips).to_have_count(1)
    expect(chips.first).to_have_accessible_name("插入项：销售额合计")
    before = page.locator("[name=body]").input_value()

    body.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("好")
    page.get_by_label("插入数字或日期").select_option(label="销售额")
    page.get_by_label("取什么").select_option(label="销售额最大值")
    page.get_by_role("button", name="插入", exact=True).click()
    said = page.get_by_role("status").filter(has_text="已插入 销售额最大值")
    expect(said).to_have_count(1)
    inserted = page.locator("[name=body]").input_value()
    assert inserted == before + "好{{ 门店销售额.max('销售额')|thousands }}"

    page.keyboard.press("Control+z")
    expect(chips).to_have_count(1)
    assert page.locator("[name=body]").input_value() == before + "好"
    page.keyboard.press("Control+z")
    assert page.locator("[name=body]").input_value() == before
    page.keyboard.press("Control+Shift+z")
    page.keyboard.press("Control+y")
    assert page.locator("[name=body]").input_value() == inserted

    page.keyboard.press("Backspace")
    expect(page.get_by_role("status").filter(has_text="已删除 销售额最大值")).to_have_count(1)
    page.keyboard.press("Control+z")
    assert page.locator("[name=body]").input_value() == inserted
    page.keyboard.press("Control+Home")
    for _step in range(len(before)):
        if page.locator("[name=body]").input_value() == "" or chips.count() == 1:
            break
        page.keyboard.press("Delete")
    assert "sum" not in page.locator("[name=body]").input_value()
    assert "max" in page.locator("[name=body]").input_value()

    for keys in ("Control+a", "Control+c", "Control+End", "Control+v"):
        body.press(keys)
    expect(chips).to_have_count(2)
    expect(chips.last).to_have_accessible_name("插入项：销售额最大值")


def test_what_was_typed_survives_a_closed_browser_and_a_session_that_ended(
    page: Page, card: Card, live_server: LiveServer
) -> None:
    page.get_by_role("button", name="门店销售额").click()
    page.get_by_role("button", name="排名").click()
    expect(page.locator(".phone-title")).to_have_text("门店销售额")
    page.fill("[name=name]", "没写完的推送")
    context, address = page.context, page.url
    page.close(run_before_unload=True)
    until_draft_has("没写完的推送")

    page = context.new_page()
    page.goto(address)
    page.get_by_role("link", name="继续编辑").click()
    expect(page.locator("[name=name]")).to_have_value("没写完的推送")
    expect(page.locator("[data-chosen] li")).to_contain_text(["门店销售额"])
    expect(page.locator(".phone-content")).to_contain_text("1. 上海 128.5")

    context.clear_cookies()
    page.fill("[name=name]", "写到一半")
    expect(page.locator("[data-signed-out]")).to_contain_text("您已退出登录")
    get_user_model().objects.filter(username="root").update(password=make_password(PASSWORD))
    with context.expect_page() as opened:
        page.locator("[data-signed-out] a").click()
    opened.value.fill("[name=username]", "root")
    opened.value.fill("[name=password]", PASSWORD)
    opened.value.click("#login-form [type=submit]")
    expect(opened.value.locator("#user-tools")).to_be_visible()
    with page.expect_response("**/draft/"):
        page.fill("[name=name]", "写完了")
    expect(page.locator("[data-signed-out]")).to_be_hidden()
    page.get_by_role("button", name="保存，暂不启用").click()

    expect(page.locator(".messagelist .success")).to_be_visible()
    assert Subscription.objects.get().name == "写完了"
    assert not Draft.objects.exists()


def test_a_push_is_tried_on_a_chosen_person_and_the_page_tells_how_it_went(page: Page, card: Card) -> None:
    """Finish the run as a worker would; the page hears of it by itself."""
    make_person(make_corp(), "lilei", name="李雷")
    page.get_by_role("button", name="不用数据，只发文字").click()
    page.fill("[name=name]", "公告")
    write(page, "标题", "公告")
    write(page, "正文", "早上好")

    page.get_by_text("发给…试试").click()
    press_on(page, page.get_by_role("combobox", name="发给"), "Enter")
    page.keyboard.type("李雷")
    expect(page.locator(".select2-results__option--highlighted")).to_contain_text("李雷")
    page.keyboard.press("Enter")
    assert_no_faults(page)
    page.get_by_role("button", name="保存并发送").click()

    tick = page.locator(".tried-outcome")
    expect(tick).to_contain_text("进行中")
    expect(tick).to_contain_text("李雷")
    run = Run.objects.get()
    [delivery] = render_run(run_id=run.pk, now=timezone.now())
    Delivery.objects.filter(pk=delivery).update(status=Delivery.Status.ACCEPTED, settled_at=timezone.now())
    Run.objects.update(status=Run.Status.FINISHED)
    expect(tick).to_contain_text("已送达")
    assert not Subscription.objects.get().is_enabled


def test_on_a_phone_the_preview_opens_from_a_bar_at_the_foot(page: Page, card: Card) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="门店销售额").click()
    message, bar = page.locator(".phone-message"), page.get_by_role("button", name="预览")
    expect(message).to_be_hidden()

    bar.click()
    expect(message).to_be_visible()
    expect(bar).to_have_attribute("aria-expanded", "true")
    bar.click()
    expect(message).to_be_hidden()
