"""The table of ways to arrive and where each one ends: our site and the sandbox, over HTTP, with real user agents."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests import user_agents as ua
from tests.accounts.arriving import Traveller
from tests.accounts.ways import (
    LAKE_CORPID,
    LAKE_SECRET,
    Way,
    World,
    after_a_password,
    at,
    at_login,
    at_the_root,
    by_password,
    callback_replayed,
    chosen_among_two,
    code_expired,
    code_injected_after_its_use,
    code_injected_into_a_state_that_was_used,
    code_injected_that_was_refused,
    code_spent_elsewhere,
    entry,
    hand_written,
    home,
    ip_refused,
    known_to_wecom_as,
    link_of_the_other_company,
    message,
    message_shown,
    no_code_is_ever_good,
    panel,
    panel_of_the_chosen,
    scanned,
    seeded,
    signed_out,
    state_changed,
    state_expired,
    state_forged,
    state_of_another_browser,
    switched_off,
    the_first_tab_of_a_first_visit,
    twice,
    twice_without_the_first_answer,
    two_tabs,
    two_tabs_of_a_first_visit,
    wecom_busy,
    with_bi,
    with_session,
    without_cookies,
)
from tests.sandbox_process import CORPID, SECRET, SandboxHandle, start_sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxHandle]:
    seed = {"companies": [seeded(CORPID, "北山制造", SECRET), seeded(LAKE_CORPID, "南湖贸易", LAKE_SECRET)]}
    with start_sandbox(seed=seed) as handle:
        yield handle


@pytest.fixture
def world(sandbox: SandboxHandle, db: None) -> World:
    sandbox.control("DELETE", "faults", {})
    sandbox.control("DELETE", "calls", {})
    return World(sandbox)


SILENT = "WeCom callback WeCom callback"  # the static link's code is not used; a second, unnoticed turn
OWN = "start WeCom callback"
CONSOLE_LINK = [
    Way("iPhone", ua.WECOM_IOS, home(), "/", via=SILENT, title="我的消息"),
    Way("Android", ua.WECOM_ANDROID, home(), "/", via=SILENT, title="我的消息"),
    Way("Windows client", ua.WECOM_WINDOWS, home(), "/", via=SILENT, title="我的消息"),
    Way("Mac client", ua.WECOM_MAC, home(), "/", via=SILENT, title="我的消息"),
    Way("private deployment", ua.WECOM_PRIVATE, home(), "/", via=SILENT, title="我的消息"),
    Way("plain WeChat", ua.WECHAT_IOS, home(), "WeCom /connect/oauth2/authorize", "", carried_by=""),
    Way("Chrome", ua.CHROME, home(), "WeCom /connect/oauth2/authorize", "", carried_by=""),
    Way("Safari on an iPhone", ua.SAFARI_IOS, home(), "WeCom /connect/oauth2/authorize", "", carried_by=""),
    Way("a page of ours", ua.WECOM_IOS, home("account/"), "/account/", via=SILENT, title="我的账号"),
    Way("a page with a query", ua.WECOM_IOS, home("account/?tab=2&x=%E6%8A%A5"), "/account/?tab=2&x=%E6%8A%A5"),
    Way("the query bare behind", ua.WECOM_IOS, hand_written("?path_url=account/?tab=2&x=1"), "/account/?tab=2&x=1"),
    Way("further parameters", ua.WECOM_IOS, hand_written("?path_url=account/&formId=7&formId=8&domain=D"),
        "/account/?formId=7&formId=8"),
    Way("domain before the page", ua.WECOM_IOS, hand_written("?domain=D1&path_url=account/"), "/account/"),
    Way("the page encoded twice", ua.WECOM_IOS, hand_written(f"?path_url={quote('account/?q=报表 1&r=a+b', safe='')}"),
        "/account/?q=%E6%8A%A5%E8%A1%A8%201&r=a+b"),
    Way("a fragment in the page", ua.WECOM_IOS, hand_written("?path_url=account/%23tab&y=2"), "/account/?y=2"),
    Way("a page in Chinese", ua.WECOM_ANDROID, hand_written(f"?path_url={quote('报表')}"), "/%E6%8A%A5%E8%A1%A8",
        status=404, title="没有这个页面"),
    Way("a page of another site", ua.WECOM_IOS, hand_written("?path_url=https%3A%2F%2Fevil.example%2F"), "/"),
    Way("the specification's example", ua.WECOM_IOS, at_the_root("?path_url=account/"), "/account/",
        via="WeCom / WeCom callback"),
    Way("its example with parameters", ua.WECOM_WINDOWS, at_the_root("?path_url=account/&formId=7&domain=D"),
        "/account/?formId=7", via="WeCom / WeCom callback"),
    Way("its address without WeCom's link", ua.WECOM_IOS, at("?path_url=account/"),
        "/account/", via="/ login start WeCom callback"),
    Way("its address in Chrome", ua.CHROME, at("?path_url=account/"),
        "/login/?next=%2Faccount%2F", "", via="/", title="登录"),
]  # fmt: skip


OUR_LINKS = [
    Way("entry, iPhone", ua.WECOM_IOS, entry("/account/"), "/account/", via=OWN, title="我的账号"),
    Way("entry, Windows client", ua.WECOM_WINDOWS, entry("/account/?a=1"), "/account/?a=1", via=OWN),
    Way("entry, private deployment", ua.WECOM_PRIVATE, entry(), "/", via=OWN),
    Way("entry, plain WeChat", ua.WECHAT_IOS, entry(), "WeCom /wwlogin/sso/login", "", via="start", carried_by=""),
    Way("entry, Chrome", ua.CHROME, entry(), "WeCom /wwlogin/sso/login", "", via="start", carried_by=""),
    Way("QR code, Chrome", ua.CHROME, scanned(), "/account/", via="callback", carried_by=""),
    Way("QR code, Edge", ua.EDGE, scanned(page="/account/?b=%2F"), "/account/?b=%2F", carried_by=""),
    Way("QR code in plain WeChat", ua.WECHAT_IOS, scanned(), "/account/", carried_by=""),
    Way("QR code refused", ua.CHROME, scanned("refuse"), "/login/?next=%2Faccount%2F&stay=1&declined=1", "",
        via="callback", title="登录", carried_by=""),
    Way("the panel", ua.CHROME, panel(), "/account/", via="callback", carried_by=""),
    Way("several companies, inside WeCom", ua.WECOM_IOS, chosen_among_two, "/account/", via=OWN),
    Way("several companies, the panel", ua.CHROME, panel_of_the_chosen, "/account/", carried_by=""),
    Way("login page, iPhone", ua.WECOM_IOS, at_login("/account/"), "/account/", via=f"login {OWN}"),
    Way("login page, Chrome", ua.CHROME, at_login("/account/"), "/login/?next=%2Faccount%2F", "", title="登录"),
    Way("a page of ours, signed out", ua.WECOM_IOS, at("account/"), "/account/",
        via=f"/account/ login {OWN}"),
    Way("password", ua.CHROME, by_password(next="/account/?x=1"), "/account/?x=1", via="login", title="我的账号"),
    Way("password, remembered", ua.CHROME, by_password(remember="on"), "/", via="login"),
    Way("password, led elsewhere", ua.CHROME, by_password(next="//evil.example/"), "/", via="login"),
    Way("password inside WeCom", ua.WECOM_ANDROID, by_password(next="/account/"), "/account/", via="login"),
]  # fmt: skip


MESSAGES_AND_SESSIONS = [
    Way("message, nobody signed in", ua.WECOM_IOS, message(), "message", via=f"message {OWN}", title="销售日报"),
    Way("message, with a session", ua.WECOM_IOS, message_shown, "message", title="销售日报"),
    Way("message in Chrome", ua.CHROME, message(), "WeCom /wwlogin/sso/login", "", via="message start", carried_by=""),
    Way("somebody else's message", ua.WECOM_IOS, message("hanmeimei"), "message", status=404, title="无法显示这条消息"),
    Way("entry with a session", ua.WECOM_IOS, with_session(entry("/account/")), "/account/", via="start"),
    Way("home page link with a session", ua.WECOM_IOS, with_session(home("account/")), "/account/",
        via="WeCom callback"),
    Way("a page of ours with a session", ua.WECOM_IOS,
        with_session(at("account/")), "/account/"),
    Way("the other company's link", ua.WECOM_IOS, link_of_the_other_company, "/account/", "namesake", via=SILENT),
    Way("company's link after a password", ua.WECOM_IOS, after_a_password, "/account/", via=OWN),
    Way("signed out, stays so", ua.WECOM_IOS,
        signed_out(at("login/?stay=1&left=1")), "/login/?stay=1&left=1", "",
        title="登录"),
    Way("signed out, tapped again", ua.WECOM_IOS, signed_out(home()), "/", via=SILENT),
]  # fmt: skip


REFUSED = [
    Way("user disabled", ua.WECOM_IOS, home(), "error user-disabled", "", 403, "您的用户已被停用", carried_by="lucy"),
    Way("company missing", ua.WECOM_IOS, home(), "error company-missing", "", 403, "您的用户缺少“企业微信公司名称”",
        carried_by="tom"),
    Way("not linked", ua.WECOM_IOS, home(), "error not-linked", "", 403, "您的企业微信账号还没有关联",
        carried_by="kate"),
    Way("outside the visible scope", ua.WECOM_WINDOWS, entry(), "error out-of-scope", "", 403,
        "您不在该应用的可见范围内", carried_by="jim"),
    Way("not a member (openid)", ua.WECOM_IOS, entry(), "error not-a-member", "", 403, "您不是该公司的成员",
        carried_by="~guest"),
    Way("linked company's own form", ua.WECOM_IOS, known_to_wecom_as(f"{CORPID}/LILEI"), "/account/", via=OWN),
    Way("member of a linked company", ua.WECOM_IOS, known_to_wecom_as("wwlinked00000001/lilei"),
        "error other-company", "", 403, "您属于另一家公司"),
    Way("company disabled", ua.WECOM_IOS, switched_off(is_enabled=False), "error company-disabled", "", 403,
        "企业微信登录已关闭", via="WeCom callback"),
    Way("sign-in switched off", ua.WECOM_IOS, switched_off(sign_in_enabled=False), "error company-disabled", "", 403,
        "企业微信登录已关闭", via="WeCom callback"),
    Way("unknown company", ua.WECOM_IOS, at("wecom/999999/start/"),
        "/wecom/999999/start/", "", 404, "该公司没有接入"),
]  # fmt: skip


COOKIES_REFUSED = "您的浏览器禁用了 Cookie"
STATES = [
    Way("back button, refresh, double tap", ua.WECOM_IOS, twice, "/account/", via="callback"),
    Way("the first answer got lost", ua.WECOM_IOS, twice_without_the_first_answer, "/account/",
        via="callback WeCom callback"),
    Way("two tabs", ua.WECOM_IOS, two_tabs, "/account/?tab=1", via="callback"),
    Way("two tabs of a first visit", ua.WECOM_IOS, two_tabs_of_a_first_visit, "/account/?tab=1", via="callback"),
    Way("two tabs of a first visit, the first back first", ua.WECOM_IOS, the_first_tab_of_a_first_visit,
        "/account/?tab=1", via="callback"),
    Way("state expired", ua.WECOM_IOS, state_expired, "/", via="callback WeCom callback"),
    Way("state changed on the way", ua.WECOM_IOS, state_changed, "/", via="callback WeCom callback"),
    Way("another browser's state", ua.WECOM_IOS, state_of_another_browser, "/account/",
        via="callback WeCom callback"),
    Way("somebody's callback replayed", ua.WECOM_IOS, callback_replayed, "/account/",
        via="callback WeCom callback"),
    Way("a used code injected", ua.WECOM_IOS, code_injected_after_its_use, "/account/?own=1",
        via="callback WeCom callback"),
    Way("a refused code injected", ua.WECOM_IOS, code_injected_that_was_refused, "/account/?own=1",
        via="callback WeCom callback"),
    Way("a code injected into a used state", ua.WECOM_IOS, code_injected_into_a_state_that_was_used,
        "/account/?own=1", via="callback"),
    Way("state forged to be the last", ua.WECOM_IOS, state_forged, "error sign-in-expired", "", 403, "登录未能完成",
        via="callback"),
    Way("code older than five minutes", ua.WECOM_IOS, code_expired, "/account/", via="callback WeCom callback"),
    Way("code used by somebody", ua.WECOM_IOS, code_spent_elsewhere, "/account/", via="callback WeCom callback"),
    Way("no code is ever good", ua.WECOM_IOS, no_code_is_ever_good, "error code-expired", "", 403, "本次登录已失效",
        via=f"{OWN} WeCom callback"),
    Way("cookies refused, entry", ua.WECOM_IOS, without_cookies(entry()), "error cookies-blocked", "", 403,
        COOKIES_REFUSED, via=f"{OWN} WeCom callback"),
    Way("cookies refused, home page link", ua.WECOM_IOS, without_cookies(home()), "error cookies-blocked", "", 403,
        COOKIES_REFUSED, via=SILENT),
    Way("cookies refused, QR code", ua.CHROME,
        without_cookies(lambda world, browser: browser.scan(scanned()(world, browser), "lilei")),
        "error cookies-blocked", "", 403, COOKIES_REFUSED, carried_by=""),
    Way("WeCom is busy", ua.WECOM_IOS, wecom_busy, "error wecom-unreachable", "", 503, "暂时无法连接企业微信"),
    Way("server's address not trusted", ua.WECOM_IOS, ip_refused, "error ip-not-trusted", "", 502,
        "企业微信不信任本服务器的 IP 地址"),
]  # fmt: skip


PHONE_FORM = "BI /m/page/p1?pageRenderType=phoneView"
INTO_THE_BI = [
    Way("home is ours", ua.WECOM_IOS, with_bi(home()), "/", via=SILENT),
    Way("home is the BI", ua.WECOM_IOS, with_bi(home(), home_page="bi"), "BI /", status=302, via=f"{SILENT} /bi/"),
    Way("home is a page of it, phone", ua.WECOM_IOS, with_bi(home(), home_page="bi", home_bi_page="page/p1?tab=2"),
        f"{PHONE_FORM}&tab=2", status=302),
    Way("home is a page of it, PC", ua.WECOM_WINDOWS, with_bi(home(), home_page="bi", home_bi_page="page/p1?tab=2"),
        "BI /page/p1?tab=2", status=302),
    Way("home is the BI, which is off", ua.WECOM_IOS,
        with_bi(home(), is_open=False, home_page="bi"), "/", via=SILENT),
    Way("form of the BI", ua.WECOM_IOS, with_bi(home("survey-engine?formId=7")),
        "BI /?path_url=survey-engine%3FformId%3D7", status=302),
    Way("form with parameters behind", ua.WECOM_WINDOWS,
        with_bi(hand_written("?path_url=survey-engine&formId=7&x=%E6%8A%A5")),
        "BI /?path_url=survey-engine%3FformId%3D7%26x%3D%25E6%258A%25A5", status=302),
    Way("the specification's example", ua.WECOM_IOS, with_bi(at_the_root("?path_url=survey-engine")),
        "BI /?path_url=survey-engine", status=302),
    Way("page of the BI, by QR code", ua.CHROME, with_bi(scanned(page="/bi/page/p1?a=1")), "BI /page/p1?a=1",
        status=302, carried_by=""),
    Way("page of the BI with a session", ua.WECOM_IOS,
        with_bi(with_session(at("bi/page/p1"))), PHONE_FORM, status=302,
        via="/bi/page/p1"),
    Way("page of the BI, signed out", ua.WECOM_IOS,
        with_bi(at("bi/page/p1")), PHONE_FORM, status=302,
        via=f"/bi/page/p1 login {OWN} /bi/page/p1"),
    Way("page of the BI, which is off", ua.WECOM_IOS, at("bi/page/p1"), "/bi/page/p1", status=404),
]  # fmt: skip


TABLE = {
    f"{heading}: {way.name}": way
    for heading, ways in {
        "console link": CONSOLE_LINK,
        "our links": OUR_LINKS,
        "messages and sessions": MESSAGES_AND_SESSIONS,
        "refused": REFUSED,
        "states": STATES,
        "into the BI": INTO_THE_BI,
    }.items()
    for way in ways
}


@pytest.mark.parametrize("way", TABLE.values(), ids=TABLE.keys())
def test_lands_where_the_table_says(world: World, sandbox: SandboxHandle, way: Way) -> None:
    browser = Traveller(sandbox, way.agent)
    if way.carried_by:
        browser.carry(way.corpid, way.carried_by)

    landing = way.journey(world, browser)

    assert (landing.place, landing.status, world.who(browser)) == (way.place, way.status, way.who)
    # A code stands where WeCom brought it, and in no further address.
    assert not [path for path in browser.called if "code=" in path and "/callback/?" not in path and path[:2] != "/?"]
    if way.title:
        assert landing.title == way.title
    if way.via:
        assert landing.via == way.via


def test_the_table_is_whole() -> None:
    assert len(TABLE) >= 80
    assert len({way.agent for way in TABLE.values()}) == 9


def test_what_wecom_shows_an_ordinary_browser(world: World, sandbox: SandboxHandle) -> None:
    """The words that our login page explains, too."""
    for agent in (ua.CHROME, ua.WECHAT_IOS):
        assert "请在企业微信客户端打开链接" in Traveller(sandbox, agent).open(world.home_link()).body
