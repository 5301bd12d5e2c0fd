"""The way from an empty product to the first push on a phone, without knowing the product, counted."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser, expect

from integrations.companies import services
from integrations.models import Corp
from notifications.models import Subscription
from tests.e2e import sales
from tests.e2e.console import PASSWORD, TEST_PATIENCE_MS, Console
from tests.e2e.journey import Counted
from tests.e2e.phones import phone_of
from tests.e2e.stack import Program, Stack
from tests.guandata import APP_TOKEN
from tests.guandata import PASSWORD as BI_PASSWORD
from tests.sandbox_process import AGENTID, CORPID, SECRET, company

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
# The push waits for rows of the BI, then in the queue.
SENDING_MS = 180_000
SALES = [{"日期": "2026-11-26", "销售额": 96.0}, {"日期": "2026-11-27", "销售额": 128.5}]


@pytest.fixture
def data_worker(stack: Stack, project_root: Path, tmp_path: Path) -> Iterator[Program]:
    """A worker that fetches the rows of cards from the BI."""
    with sales.data_worker(project_root, tmp_path, stack.env) as program:
        yield program


@pytest.fixture
def hand(stack: Stack, browser: Browser) -> Counted:
    """An administrator at the overview of an empty product. WeCom has the app with its domain, the BI one page."""
    domain = f"localhost:{stack.web_port}"
    app = {**company()["apps"][0], "trusted_domain": domain, "callback_domain": domain, "home_url": ""}
    card = {"card_id": "daily", "name": "每日销售额", "columns": ["日期", "销售额"], "rows": SALES}
    bi = {
        "app_token": APP_TOKEN,
        "users": [{"login_id": "robot", "name": "API", "password": BI_PASSWORD}],
        "pages": [{"page_id": "sales", "name": "销售总览", "cards": [card]}],
    }
    stack.sandbox.load({"companies": [company(apps=[app])], "bi": bi})
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    context = browser.new_context(locale="zh-CN", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    Console(page, stack).sign_in("root")
    return Counted(page)


def connect(hand: Counted, stack: Stack) -> None:
    """Connect a company: from the step's button to the enabled company."""
    page = hand.page
    hand.click(page.get_by_role("link", name="接入企业微信公司"))
    for name, text in {"name": "北山制造", "corpid": CORPID, "agentid": str(AGENTID), "new_secret": SECRET}.items():
        hand.fill(page.locator(f"[name={name}]"), text)
    hand.click(page.locator("fieldset:has([name=api_base_url]) summary"))
    for name in ("api_base_url", "authorize_base_url", "qr_base_url"):
        hand.fill(page.locator(f"[name={name}]"), stack.sandbox.base_url)
    hand.click(page.locator("[name=_save]"))
    following = page.locator(".corp-next")
    hand.click(following.get_by_role("button", name="预览：应用主页与可信域名"))
    hand.click(page.get_by_role("button", name="确认写入企业微信"))
    expect(page.locator("#write-panel .pill-good")).to_be_visible(timeout=TEST_PATIENCE_MS)
    hand.click(following.get_by_role("button", name="启用", exact=True))
    expect(page.locator(".messagelist .success")).to_be_visible()


def take_card(hand: Counted) -> None:
    """Choose the card of the BI's page, which makes the message with its key figures."""
    page = hand.page
    hand.click(page.get_by_role("button", name="销售总览"))
    hand.click(page.get_by_role("button", name="每日销售额", exact=True))
    expect(page.locator(".phone-large")).to_contain_text("128.5", timeout=TEST_PATIENCE_MS)


@pytest.mark.journey
def test_from_the_empty_product_to_the_first_push_on_a_phone_and_a_further_one(
    hand: Counted, stack: Stack, browser: Browser, data_worker: Program, record_property: Callable[[str, object], None]
) -> None:
    page = hand.page
    hand.click(page.get_by_role("link", name="保存站点地址"))
    hand.click(page.locator("[name=_save]"))  # the address at which the page is read is filled in
    connect(hand, stack)
    hand.record("connecting a company", record_property)
    assert hand.clicks <= 10
    assert {step.state for step in services.list_steps(Corp.objects.get())} == {services.StepState.DONE}
    hand.click(page.get_by_role("button", name="读取通讯录并预览"))
    expect(page.locator(".sync-offer")).to_contain_text("将创建", timeout=TEST_PATIENCE_MS)
    hand.click(page.get_by_role("button", name="创建并关联"))
    hand.click(page.get_by_role("link", name="连接观远 BI"))
    values = {"base_url": f"{stack.sandbox.base_url}/guandata", "api_login": "robot"}
    for name, text in {**values, "new_api_password": BI_PASSWORD, "new_app_token": APP_TOKEN}.items():
        hand.fill(page.locator(f"[name={name}]"), text)
    hand.click(page.locator("[name=_save]"))
    # A push to everybody, daily at nine.
    hand.click(page.get_by_role("link", name="新建推送"))
    take_card(hand)
    hand.click(page.get_by_role("checkbox", name="所有已关联企业微信的人"))
    hand.click(page.get_by_role("button", name="保存并启用"))
    hand.click(page.get_by_role("link", name="立即发送"))
    hand.click(page.get_by_role("button", name="立即发送"))
    expect(page.locator(".messagelist .success")).to_be_visible()

    chats = phone_of(browser, stack, "lilei").pages[0]
    expect(chats.locator("#live")).to_contain_text("每日销售额 11月27日", timeout=SENDING_MS)
    hand.record("the empty product: to the first push on a phone", record_property)
    assert hand.clicks <= 20
    assert hand.fields <= 11
    assert hand.pages <= 11
    # The page of the run shows the outcome by itself, and the steps are over.
    expect(page.locator(".run-line")).to_contain_text("2 人送达", timeout=SENDING_MS)
    page.get_by_role("link", name="概览", exact=True).click()
    expect(page.get_by_role("heading", name="六步发出第一条消息")).to_have_count(0)

    page.goto(f"{stack.web_url}/admin/notifications/subscription/add/")
    expect(page.get_by_role("button", name="销售总览")).to_be_visible(timeout=TEST_PATIENCE_MS)
    further = Counted(page)
    take_card(further)
    further.click(page.get_by_role("searchbox", name="企业微信部门"))
    further.fill(page.get_by_role("searchbox", name="企业微信部门"), "华东")
    further.click(page.get_by_role("option", name="华东区"))
    expect(page.locator("[data-outlook-place] .pill-good")).to_have_text("1 人", timeout=TEST_PATIENCE_MS)
    further.click(page.get_by_role("button", name="保存并启用"))

    expect(page.locator(".messagelist .success").first).to_be_visible()
    further.record("a further push to a department, from a page of the BI", record_property)
    assert further.clicks <= 12
    assert further.fields <= 4
    assert further.pages == 1  # the list, once it is saved
    subscription = Subscription.objects.latest("pk")
    assert subscription.is_enabled
    assert [one.name for one in subscription.departments.all()] == ["华东区"]
