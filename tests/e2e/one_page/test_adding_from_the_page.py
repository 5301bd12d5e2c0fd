"""Adding what a push or an alert lacks from its page: what was typed stays, and the page offers what was added."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from accounts.models import User
from integrations.models import Card, DataSource
from notifications.models import Subscription
from tests.e2e.axe import assert_no_faults, faults_of
from tests.e2e.one_page.test_push_page import press_on
from tests.e2e.policy import refusals_in
from tests.e2e.waiting import until_closed
from tests.notifications.factories import make_corp

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def address() -> str:
    return reverse("admin:notifications_subscription_add")


def until_opened(window: Page) -> Page:
    """Wait for the scripts of the window: one of Django's moves the focus, and typed text would go there."""
    window.wait_for_load_state()
    return window


def follow(window: Page, link: str) -> None:
    with window.expect_navigation():
        window.get_by_role("link", name=link).click()


def test_the_directory_is_synchronised_in_another_tab_and_a_person_is_added_by_keyboard(page: Page, card: Card) -> None:
    make_corp(name="一号公司")
    page.reload()
    page.fill("[name=name]", "早报")
    expect(page.locator(".field-departments .way-out")).to_contain_text("还没有同步通讯录")
    with page.expect_popup() as opened:
        page.locator(".field-departments").get_by_role("link", name="同步通讯录").click()
    tab = opened.value
    back = tab.get_by_role("button", name="回到“新建推送”")
    expect(back).to_be_visible()
    with until_closed(tab):
        back.click()
    expect(page.locator("[name=name]")).to_have_value("早报")

    with page.expect_popup() as opened:
        press_on(page, page.get_by_role("link", name="新建人员"), "Enter")
    window = until_opened(opened.value)
    press_on(window, window.locator("[name=username]"), "End")
    window.keyboard.type("xiaoming")
    press_on(window, window.locator("[name=name]"), "End")
    window.keyboard.type("小明")
    window.locator("[name=usable_password][value=false]").check()
    with until_closed(window):
        press_on(window, window.locator("[name=_save]"), "Enter")

    expect(page.locator("#id_users option:checked")).to_have_text(["小明 (xiaoming)"])
    expect(page.locator("[name=name]")).to_have_value("早报")
    assert faults_of(page) == {}
    page.get_by_role("button", name="不用数据，只发文字").click()
    page.get_by_role("textbox", name="标题").fill("早报")
    page.get_by_role("textbox", name="正文").fill("早上好")
    page.get_by_role("button", name="保存，暂不启用").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    assert list(Subscription.objects.get().users.all()) == [User.objects.get(username="xiaoming")]


def test_a_database_and_its_query_are_tested_before_they_are_saved(page: Page, card: Card, warehouse: str) -> None:
    """Shows errors of the connection at once, and keeps what was typed."""
    refusals = refusals_in(page.context)
    page.fill("[name=name]", "订单")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="新建数据库或 Web 服务查询").click()
    window = until_opened(opened.value)
    follow(window, "添加数据源")
    follow(window, "数据库（SQL）")
    for name, typed in (("db_host", "127.0.0.1"), ("db_name", "sales"), ("db_user", "reader"), ("db_password", "pw-9")):
        window.fill(f"[name={name}]", typed)
    window.locator("[name=db_password]").press("Tab")
    shown = window.locator("[data-unsaved-test-place]")
    expect(shown).to_contain_text("该地址指向本机")
    expect(window.locator("[name=db_host]")).to_have_value("127.0.0.1")
    assert refusals == []
    assert_no_faults(window)

    window.fill("[name=name]", "本地库")
    window.select_option("[name=db_kind]", "")
    window.fill("[name=new_sql_url]", warehouse)
    window.check("[name=allows_private_addresses]")
    window.get_by_role("button", name="测试连接").click()
    expect(shown).to_contain_text("毫秒内得到响应")
    assert not DataSource.objects.filter(name="本地库").exists()
    with window.expect_navigation():
        window.locator("[name=_save]").click()
    window.fill("[name=name]", "门店")
    window.fill("[name=sql]", "SELECT 门店, 销售额 FROM sales")
    window.get_by_role("button", name="试运行并显示前几行").click()
    expect(shown).to_contain_text("杭州")
    assert not Card.objects.filter(name="门店").exists()
    with until_closed(window):
        window.locator("[name=_save]").click()

    expect(page.locator("[data-chosen] li")).to_contain_text(["门店"])
    expect(page.locator("[name=name]")).to_have_value("订单")
    assert Card.objects.get(name="门店").source == DataSource.objects.get(name="本地库")
