"""The sandbox's pages in a real browser: phone, QR page, console."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.sandbox.conftest import Api
from tests.sandbox.direct import MENU
from tests.sandbox.test_messages import BUTTON, MULTIPLE, TEXT_NOTICE, VOTE
from tests.sandbox_process import AGENTID, CORPID, SandboxHandle

pytestmark = pytest.mark.e2e
QR = (
    f"/wwlogin/sso/login?login_type=CorpApp&appid={CORPID}&agentid={AGENTID}"
    "&redirect_uri=http%3A%2F%2Flocalhost%3A3001%2Fcb&state=S1"
)


@pytest.fixture
def page(browser: Browser, sandbox: SandboxHandle) -> Iterator[Page]:
    """A page in a browser that reports no error."""
    context = browser.new_context(base_url=sandbox.base_url, viewport={"width": 390, "height": 844})
    complaints: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.route("http://localhost:3001/**", lambda route: route.fulfill(body="the app", content_type="text/plain"))
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def phone(page: Page) -> Page:
    page.goto(f"/phone?corpid={CORPID}&userid=lilei")
    return page


def test_choosing_who_holds_the_phone_writing_and_reading(page: Page, api: Api) -> None:
    page.goto("/phone")
    page.get_by_placeholder("姓名或账号").fill("梅梅")
    page.get_by_role("button", name="搜索").click()
    page.get_by_role("link", name="韩梅梅").click()
    expect(page.get_by_role("heading", name="北山制造")).to_be_visible()
    page.get_by_role("link", name="我", exact=True).click()
    expect(page.get_by_text("hanmeimei")).to_be_visible()

    page.goto(f"/phone/chat/{AGENTID}")
    expect(page.get_by_text("暂无消息")).to_be_visible()
    with page.expect_response(re.compile("/phone/events"), timeout=60_000):
        page.reload()
    api.send("hanmeimei", text={"content": "销售日报已生成"})
    expect(page.get_by_text("销售日报已生成")).to_be_visible()
    page.get_by_label("发消息给应用").fill("在吗")
    page.get_by_role("button", name="发送").click()
    expect(page.locator(".mine .bubble")).to_have_text("在吗")
    expect(page.get_by_label("发消息给应用")).to_have_value("")


@pytest.mark.parametrize("path", ["/phone", f"/phone/chat/{AGENTID}"])
def test_a_message_that_came_while_the_page_was_loading_is_shown(page: Page, api: Api, path: str) -> None:
    """Send after the page was made and before it listens for changes. No other page is open to hear of them."""

    def send_first(route: Route) -> None:
        api.send(text={"content": "销售日报已生成"})
        route.continue_()

    page.route("**/phone/events", send_first, times=1)
    page.goto(f"/phone?corpid={CORPID}&userid=lilei&next={path}")

    expect(page.get_by_text("销售日报已生成")).to_be_visible()


def test_what_came_while_the_connection_was_down_is_shown_once_it_is_back(browser: Browser, api: Api) -> None:
    """Refuse at first, which ends an EventSource for good. The browser's console logs the refusals itself."""
    page = browser.new_page(base_url=api.sandbox.base_url)
    page.route("**/phone/events", lambda route: route.fulfill(status=503))
    with page.expect_response("**/phone/events"):
        page.goto(f"/phone?corpid={CORPID}&userid=lilei")
    api.send(text={"content": "销售日报已生成"})
    page.unroute("**/phone/events")

    expect(page.get_by_text("销售日报已生成")).to_be_visible(timeout=60_000)
    page.context.close()


def test_what_one_has_begun_is_not_lost_when_a_message_arrives(phone: Page, api: Api, sandbox: SandboxHandle) -> None:
    menu = {"desc": "更多操作", "action_list": [{"text": "不再推送", "key": "mute"}]}
    for card in (VOTE, TEXT_NOTICE | {"task_id": "m", "action_menu": menu}, MULTIPLE):
        api.send(msgtype="template_card", template_card=card)
    phone.goto(f"/phone/chat/{AGENTID}")
    phone.get_by_role("radio", name="周二").check()
    api.send(text={"content": "另一条"})
    expect(phone.get_by_text("另一条")).to_be_visible()
    expect(phone.get_by_role("radio", name="周二")).to_be_checked()
    with phone.expect_response("**/click"):
        phone.get_by_role("button", name="提交").first.click()
    phone.get_by_label("更多操作").click()
    with phone.expect_response("**/click"):
        phone.get_by_role("button", name="不再推送").click()
    expect(phone.get_by_role("button", name="不再推送")).to_be_hidden()
    phone.get_by_label("主食").select_option("周二")
    with phone.expect_response("**/click"):
        phone.get_by_role("button", name="提交").last.click()
    expect(phone.get_by_role("button", name="提交").last).to_be_focused()

    messages = sandbox.messages(CORPID, "lilei")
    assert [messages[0]["selected"], messages[2]["selected"]] == [{"when": ["tue"]}, {"dish": ["tue"]}]
    expect(phone.get_by_role("alert")).to_be_hidden()


def test_a_card_changes_in_its_place(phone: Page, api: Api, sandbox: SandboxHandle) -> None:
    """Move nothing above or below the card, and keep the keyboard's focus on it."""
    api.send(text={"content": "上"})
    sent = api.send(msgtype="template_card", template_card=BUTTON)
    api.send(text={"content": "下"})
    phone.goto(f"/phone/chat/{AGENTID}")
    phone.locator("[data-msgid]").first.evaluate("line => line.dataset.mark = 'same'")
    phone.get_by_role("button", name="同意").focus()
    with phone.expect_response("**/click"):
        phone.keyboard.press("Enter")
    expect(phone.get_by_role("button", name="同意")).to_be_focused()

    body = {"agentid": AGENTID, "atall": 1, "response_code": sent["response_code"], "template_card": TEXT_NOTICE}
    api.post("message/update_template_card", body)

    expect(phone.locator(".line").nth(1)).to_contain_text("日报")
    expect(phone.locator(".line").nth(1)).to_be_focused()
    assert phone.locator("[data-msgid]").first.evaluate("line => line.dataset.mark") == "same"
    assert phone.locator(".line").count() == 3


def test_what_cannot_be_done_is_said(browser: Browser, api: Api, sandbox: SandboxHandle) -> None:
    """Ignore the 400 and the lost connection, which the browser's console logs itself."""
    page = browser.new_page(base_url=sandbox.base_url)
    page.goto(f"/phone?corpid={CORPID}&userid=lilei")
    sent = api.send(msgtype="template_card", template_card=BUTTON)
    # As if the card had changed just before the press, unknown to the phone.
    page.route(
        f"**/phone/chat/{AGENTID}",
        lambda route: route.abort() if "x-refresh" in route.request.headers else route.continue_(),
    )
    page.goto(f"/phone/chat/{AGENTID}")
    body = {"agentid": AGENTID, "atall": 1, "response_code": sent["response_code"]}
    api.post("message/update_template_card", {**body, "button": {"replace_name": "已同意"}})
    page.get_by_role("button", name="同意").click()
    expect(page.get_by_role("alert")).to_have_text("该按钮已不可点击。")

    page.get_by_label("发消息给应用").fill("在吗")
    page.get_by_role("button", name="发送").click()
    expect(page.get_by_role("alert")).to_be_hidden()

    page.route("**/write", lambda route: route.abort())
    page.get_by_label("发消息给应用").fill("还在吗")
    page.get_by_role("button", name="发送").click()
    expect(page.get_by_role("alert")).to_have_text("沙箱没有响应，请确认它仍在运行。")
    expect(page.get_by_label("发消息给应用")).to_have_value("还在吗")
    page.close()


def test_the_app_opens_from_the_workbench_and_from_its_menu(phone: Page, api: Api) -> None:
    """Keep a link in place while the screen is fetched again under a finger."""
    menu = {"button": [{"type": "view", "name": "首页", "url": "http://localhost:3001/m"}, MENU["button"][1]]}
    api.post("menu/create", menu, agentid=AGENTID)
    context = phone.context
    context.route("http://localhost:3001/**", lambda route: route.fulfill(body="the app", content_type="text/plain"))
    phone.get_by_role("link", name="工作台").click()
    link = phone.get_by_role("link", name="观远BI").element_handle()
    # Fetches follow one another: when the third is here, the second was put on the screen.
    for text in ("一", "二", "三"):
        with phone.expect_response(lambda response: "x-refresh" in response.request.headers):
            api.send(text={"content": text})
    assert link.evaluate("link => link.isConnected")
    with context.expect_page() as opened:
        phone.get_by_role("link", name="观远BI").click()
    assert opened.value.url == "http://localhost:3001/"

    phone.goto(f"/phone/chat/{AGENTID}")
    with context.expect_page() as opened:
        phone.get_by_role("button", name="首页").click()
    opened.value.wait_for_url("http://localhost:3001/m")
    cookies = {cookie["name"]: cookie["value"] for cookie in context.cookies()}
    assert cookies["sandbox_tapped"] == "1"


def test_scanning_as_somebody_refusing_and_scanning_as_the_holder_of_the_phone(page: Page, api: Api) -> None:
    page.goto(QR)
    page.get_by_role("button", name="李雷 LiLei").click()
    page.get_by_role("button", name="拒绝").click()
    page.wait_for_url("http://localhost:3001/cb?state=S1")

    page.goto(QR)
    page.get_by_placeholder("姓名或账号").fill("lilei")
    expect(page.locator("#people button")).to_have_count(1)  # the list is redrawn, and a click meanwhile is lost
    page.get_by_role("button", name="李雷 LiLei").click()
    page.get_by_role("button", name="确认登录").click()
    page.wait_for_url("http://localhost:3001/cb?code=*")
    code = page.url.split("code=")[1].partition("&")[0]
    assert page.url.endswith("&state=S1")
    assert api.get("auth/getuserinfo", code=code)["userid"] == "LiLei"

    page.goto(f"/phone?corpid={CORPID}&userid=lilei")
    page.goto(QR)
    page.get_by_role("button", name="确认登录").first.click()
    page.wait_for_url("http://localhost:3001/cb?code=*")


def test_a_company_and_its_app_are_made_and_change_by_the_console(page: Page, sandbox: SandboxHandle) -> None:
    page.goto("/console")
    page.get_by_label("名称").fill("南山贸易")
    page.get_by_label("CorpId").fill("ww00000000000000ff")
    with page.expect_event("load"):
        page.get_by_role("button", name="创建").click()
    with page.expect_event("load"):
        page.get_by_role("link", name="南山贸易").click()

    made = page.locator("form", has_text="创建应用")
    made.get_by_label("名称").fill("报销")
    made.get_by_label("AgentId").fill("7")
    with page.expect_event("load"):
        made.get_by_role("button", name="创建").click()
    department = page.locator("form", has_text="新建或修改部门")
    department.get_by_label("Id").fill("2")
    department.get_by_label("名称").fill("采购部")
    with page.expect_event("load"):
        department.get_by_role("button", name="保存").click()
    expect(page.get_by_role("cell", name="采购部")).to_be_visible()

    with page.expect_event("load"):
        page.get_by_role("link", name="报销").click()
    secret = page.get_by_label("Secret", exact=True).input_value()
    page.once("dialog", lambda dialog: dialog.accept())
    with page.expect_event("load"):
        page.get_by_role("button", name="重置 Secret").click()
    expect(page.get_by_label("Secret", exact=True)).to_have_value(re.compile(f"^(?!{re.escape(secret)}$)."))
    page.get_by_role("group", name="可见范围").get_by_label("部门").fill("2")
    page.get_by_label("停用").check()
    with page.expect_event("load"):
        page.locator("form", has_text="应用主页").get_by_role("button", name="保存", exact=True).click()

    app = sandbox.control("GET", "companies/ww00000000000000ff")["apps"][0]
    assert (app["name"], app["scope"]["partyids"], app["disabled"]) == ("报销", [2], True)


def test_what_the_console_refuses_is_said_beside_the_button_and_the_rest_saved(browser: Browser, api: Api) -> None:
    """Ignore the 400 that the browser's console logs itself; the page says why."""
    page = browser.new_page(base_url=api.sandbox.base_url)
    page.goto(f"/console/{CORPID}/apps/{AGENTID}")
    page.get_by_label("可信域名").fill("http://localhost:3001")
    form = page.locator("form", has_text="网页授权及JS-SDK")
    form.get_by_role("button", name="保存", exact=True).click()
    expect(form.locator("output")).to_have_text("域名不能带 http:// 或 https://。")

    page.get_by_label("可信域名").fill("localhost:3002")
    with page.expect_event("load"):
        form.get_by_role("button", name="保存", exact=True).click()
    expect(page.get_by_text("未通过验证，授权不会跳转到该域名。")).to_be_visible()
    page.get_by_label("IP 地址，以英文分号 ; 分隔").fill("127.0.0.1;192.0.2.1")
    with page.expect_event("load"):
        page.locator("form", has_text="企业可信IP").get_by_role("button", name="保存", exact=True).click()
    app = api.sandbox.control("GET", f"companies/{CORPID}")["apps"][0]
    assert (app["trusted_domain"], app["domain_verified"]) == ("localhost:3002", False)
    assert app["trusted_ips"] == ["127.0.0.1", "192.0.2.1"]

    page.goto("/console/faults")
    page.locator("select[name=kind]").select_option("busy")
    page.locator("select[name=endpoint]").select_option("gettoken")
    page.get_by_label("次数（留空则一直生效）").fill("2")
    page.get_by_role("button", name="开启").click()
    expect(page.get_by_role("cell", name="系统繁忙（-1），未执行")).to_be_visible()
    query = {"corpid": api.corpid, "corpsecret": api.secret}
    assert [api.raw("GET", "gettoken", params=query).json()["errcode"] for _ in range(3)] == [-1, -1, 0]
    page.close()
