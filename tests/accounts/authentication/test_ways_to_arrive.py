"""A table of ways to arrive and the page where each ends: our site and the sandbox over HTTP, with real user agents.

A company has people of every kind, who arrive in their browsers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pytest
import responses

from accounts.authentication.sessions import CORP_KEY
from accounts.models import User
from integrations.companies import links
from integrations.core.redis import valkey
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.models import Delivery
from tests import user_agents as ua
from tests.accounts.arriving import Landing, Traveller, parameters
from tests.accounts.conftest import PASSWORD, SITE, make_corp, make_person
from tests.bi import make_bi
from tests.notifications.factories import NOW, make_report, make_run, make_subscription
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company, start_sandbox

LAKE_CORPID, LAKE_SECRET = "ww0000000000000002", "sandbox-secret-of-the-lake"
PEOPLE = {"lilei": "李雷", "hanmeimei": "韩梅梅", "lucy": "露西", "tom": "汤姆", "kate": "凯特", "jim": "Jim"}


def make_seed(corpid: str, name: str, secret: str) -> dict[str, object]:
    """Make a company whose app sees department 2; Jim is outside."""
    app = {**company()["apps"][0], "secret": secret, "trusted_domain": "bi.example.com"}
    members = [
        {"userid": userid, "name": shown, "department": [4 if userid == "jim" else 2]}
        for userid, shown in PEOPLE.items()
    ]
    return company(corpid=corpid, name=name, members=members, apps=[app], tags=[])


class World:
    """A company with people of every kind, and a second one that is disabled unless a way needs it."""

    def __init__(self, sandbox: SandboxHandle) -> None:
        self.sandbox = sandbox
        doors = dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), sandbox.base_url)
        self.mill = make_corp("北山制造", 1, corpid=CORPID, agentid=AGENTID, secret=SECRET, **doors)
        self.lake = make_corp(
            "南湖贸易", 2, corpid=LAKE_CORPID, agentid=AGENTID, secret=LAKE_SECRET, is_enabled=False, **doors
        )
        self.lilei = make_person("lilei", self.mill, "lilei", name="李雷", password=PASSWORD)
        make_person("namesake", self.lake, "lilei", name="南湖的李雷")
        make_person("hanmeimei", self.mill, "HanMeimei", name="韩梅梅")
        make_person("lucy", self.mill, "lucy", is_active=False)
        make_person("tom", None, "tom")
        make_person("jim", self.mill, "jim")

    def open_lake(self) -> None:
        Corp.objects.filter(pk=self.lake.pk).update(is_enabled=True)

    def home_link(self, page: str = "", corp: Corp | None = None) -> str:
        return links.build_home_page_link(corp or self.mill, page)

    def written_by_hand(self, host_url: str) -> str:
        return (
            f"{self.sandbox.base_url}/connect/oauth2/authorize?appid={CORPID}&redirect_uri={host_url}"
            f"&response_type=code&scope=snsapi_base&agentid={AGENTID}#wechat_redirect"
        )

    def entry(self, page: str = "/", corp: Corp | None = None) -> str:
        return f"{SITE}wecom/{(corp or self.mill).pk}/start/?{urlencode({'next': page})}"

    def message(self, person: User) -> str:
        run = make_run(make_subscription(person, report=make_report(title="销售日报", body="今日 128 万元")))
        render_run(run_id=run.pk, now=NOW)
        delivery = Delivery.objects.get(run=run)
        Delivery.objects.filter(pk=delivery.pk).update(status="accepted", settled_at=NOW)
        return f"{SITE}m/{delivery.mark}/"

    def who(self, traveller: Traveller) -> str:
        user_id = traveller.ours.user_id
        return "" if user_id is None else User.objects.get(pk=user_id).username


Journey = Callable[[World, Traveller], Landing]


@dataclass(frozen=True)
class Way:
    """A way to arrive: what is opened in which program, and the result. `who` is the user name, or nobody."""

    name: str
    agent: str
    journey: Journey
    place: str
    who: str = "lilei"
    status: int = 200
    title: str = ""
    via: str = ""
    carried_by: str = "lilei"
    corpid: str = CORPID


def home(page: str = "") -> Journey:
    return lambda world, browser: browser.open(world.home_link(page))


def entry(page: str = "/") -> Journey:
    return lambda world, browser: browser.open(world.entry(page))


def hand_written(inner: str) -> Journey:
    """Open a hand-written link. `inner` follows our callback, encoded as the specification wants."""
    return lambda world, browser: browser.open(
        world.written_by_hand(quote(links.build_sign_in_callback_url(world.mill) + inner, safe=""))
    )


def at(path: str) -> Journey:
    """Open an address of ours as it is."""
    return lambda world, browser: browser.open(f"{SITE}{path}")


def at_the_root(inner: str) -> Journey:
    return lambda world, browser: browser.open(world.written_by_hand(quote(SITE + inner, safe="")))


def panel() -> Journey:
    return lambda world, browser: browser.panel_scanned(world.mill.pk, "lilei", requested="/account/")


def scan_code(answer: str = "approve", page: str = "/account/") -> Journey:
    return lambda world, browser: browser.scan(browser.open(world.entry(page)), "lilei", answer)


def at_login(page: str) -> Journey:
    return lambda world, browser: browser.open(f"{SITE}login/?{urlencode({'next': page})}")


def by_password(**typed: str) -> Journey:
    form = {"username": "lilei", "password": PASSWORD, **typed}
    return lambda world, browser: browser.open(f"{SITE}login/?stay=1", posted=form)


def chosen_among_two(world: World, browser: Traveller) -> Landing:
    world.open_lake()
    chooser = browser.open(f"{SITE}login/?next=/account/")
    assert (chooser.place, chooser.title) == ("/login/company/?next=%2Faccount%2F", "选择公司")
    assert "北山制造" in chooser.body
    return browser.open(world.entry("/account/"))


def message(of: str = "lilei") -> Journey:
    return lambda world, browser: browser.open(world.message(User.objects.get(username=of)))


def with_session(then: Journey) -> Journey:
    def journey(world: World, browser: Traveller) -> Landing:
        assert browser.open(world.entry()).place == "/"
        return then(world, browser)

    return journey


def link_of_the_other_company(world: World, browser: Traveller) -> Landing:
    world.open_lake()
    browser.open(world.entry())
    assert browser.ours.client.session[CORP_KEY] == world.mill.pk
    browser.carry(LAKE_CORPID, "lilei")
    landing = browser.open(world.home_link("account/", world.lake))
    assert browser.ours.client.session[CORP_KEY] == world.lake.pk
    return landing


def signed_out(then: Journey) -> Journey:
    def journey(world: World, browser: Traveller) -> Landing:
        browser.open(world.entry())
        browser.open(f"{SITE}logout/", posted={})
        return then(world, browser)

    return journey


def switched_off(**values: bool) -> Journey:
    def journey(world: World, browser: Traveller) -> Landing:
        Corp.objects.filter(pk=world.mill.pk).update(**values)
        return browser.open(links.build_home_page_link(world.mill))

    return journey


def known_to_wecom_as(userid: str) -> Journey:
    """Answer as WeCom does for people of linked companies, with their CorpId, which the sandbox lacks."""

    def journey(world: World, browser: Traveller) -> Landing:
        with responses.RequestsMock() as wire:
            wire.add_passthru(f"{world.sandbox.base_url}/")
            answer = {"errcode": 0, "errmsg": "ok", "userid": userid}
            wire.get(f"{world.sandbox.base_url}/cgi-bin/auth/getuserinfo", json=answer)
            return browser.open(world.entry("/account/"))

    return journey


def twice(world: World, browser: Traveller) -> Landing:
    """Call the same callback again, as the back button, a refresh or a double tap does."""
    back = browser.leaves_before_landing(world.entry("/account/"))
    browser.open(back)
    return browser.open(back)


def twice_without_the_first_answer(world: World, browser: Traveller) -> Landing:
    back = browser.leaves_before_landing(world.entry("/account/"))
    browser.open(back)
    del browser.ours.client.cookies["sessionid"]
    return browser.open(back)


def two_tabs_of_a_first_visit(world: World, browser: Traveller) -> Landing:
    first, second = _left_together(world, browser)
    assert browser.open(second).place == "/account/?tab=2"
    return browser.open(first)


def the_first_tab_of_a_first_visit(world: World, browser: Traveller) -> Landing:
    first, _second = _left_together(world, browser)
    return browser.open(first)


def _left_together(world: World, browser: Traveller) -> tuple[str, str]:
    """Begin in two tabs before either has a cookie, and wait at WeCom."""
    cookies = browser.ours.client.cookies
    first = browser.leaves_before_landing(world.entry("/account/?tab=1"))
    of_the_first = cookies.copy()
    cookies.clear()
    second = browser.leaves_before_landing(world.entry("/account/?tab=2"))
    cookies.update(of_the_first)
    return first, second


def state_expired(world: World, browser: Traveller) -> Landing:
    back = browser.leaves_before_landing(world.entry("/account/"))
    valkey().flushdb()
    return browser.open(back)


def state_of_another_browser(world: World, browser: Traveller) -> Landing:
    """Open another person's callback. It signs nobody in, or only people as themselves."""
    attacker = Traveller(world.sandbox, ua.WECOM_IOS)
    attacker.carry(CORPID, "hanmeimei")
    return browser.open(attacker.leaves_before_landing(world.entry("/account/")))


def somebody_s_callback(world: World) -> tuple[Traveller, str]:
    """Return Han Meimei's browser, and the address with which WeCom sends it back, not called yet."""
    somebody = Traveller(world.sandbox, ua.WECOM_ANDROID)
    somebody.carry(CORPID, "hanmeimei")
    return somebody, somebody.leaves_before_landing(world.entry("/account/"))


def with_the_code_of(other: str, back: str) -> str:
    return back.replace(dict(parameters(back))["code"], dict(parameters(other))["code"])


def redeemed_code_injected(world: World, browser: Traveller) -> Landing:
    """Use another person's redeemed code in a sign-in of one's own, with a valid state."""
    somebody, theirs = somebody_s_callback(world)
    somebody.open(theirs)
    own = browser.leaves_before_landing(world.entry("/account/?own=1"))
    return browser.open(with_the_code_of(theirs, own))


def code_injected_into_a_consumed_state(world: World, browser: Traveller) -> Landing:
    """Use a fresh code of somebody else with a consumed state. The code is refused."""
    own = browser.leaves_before_landing(world.entry("/account/?own=1"))
    browser.open(own)
    somebody, theirs = somebody_s_callback(world)
    landing = browser.open(with_the_code_of(theirs, own))
    assert somebody.open(theirs).via == "callback WeCom callback"  # so the code was refused
    return landing


def state_forged(world: World, browser: Traveller) -> Landing:
    back = browser.leaves_before_landing(world.entry())
    return browser.open(back.replace(dict(parameters(back))["state"], "A" * 40 + "9"))


def code_expired(world: World, browser: Traveller) -> Landing:
    back = browser.leaves_before_landing(world.entry("/account/"))
    world.sandbox.advance(301)
    return browser.open(back)


def no_code_is_ever_good(world: World, browser: Traveller) -> Landing:
    world.sandbox.fault("errcode", "auth/getuserinfo", code=40029, count=None)
    return browser.open(world.entry("/account/"))


def without_cookies(then: Journey) -> Journey:
    def journey(world: World, browser: Traveller) -> Landing:
        browser.keeps_cookies = False
        return then(world, browser)

    return journey


def with_bi(then: Journey, *, is_open: bool = True, **corp: str) -> Journey:
    def journey(world: World, browser: Traveller) -> Landing:
        make_bi(is_enabled=is_open)
        Corp.objects.filter(pk=world.mill.pk).update(**corp)
        return then(world, browser)

    return journey


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxHandle]:
    seed = {"companies": [make_seed(CORPID, "北山制造", SECRET), make_seed(LAKE_CORPID, "南湖贸易", LAKE_SECRET)]}
    with start_sandbox(seed=seed) as handle:
        yield handle


@pytest.fixture
def world(sandbox: SandboxHandle, db: None) -> World:
    sandbox.control("DELETE", "faults", {})
    sandbox.control("DELETE", "calls", {})
    return World(sandbox)


SILENT = "WeCom callback WeCom callback"  # the static link's code is refused; the browser passes WeCom a second time
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
    Way("QR code, Chrome", ua.CHROME, scan_code(), "/account/", via="callback", carried_by=""),
    Way("QR code, Edge", ua.EDGE, scan_code(page="/account/?b=%2F"), "/account/?b=%2F", carried_by=""),
    Way("QR code in plain WeChat", ua.WECHAT_IOS, scan_code(), "/account/", carried_by=""),
    Way("QR code refused", ua.CHROME, scan_code("refuse"), "/login/?next=%2Faccount%2F&stay=1&declined=1", "",
        via="callback", title="登录", carried_by=""),
    Way("the panel", ua.CHROME, panel(), "/account/", via="callback", carried_by=""),
    Way("several companies, inside WeCom", ua.WECOM_IOS, chosen_among_two, "/account/", via=OWN),
    Way("login page, iPhone", ua.WECOM_IOS, at_login("/account/"), "/account/", via=f"login {OWN}"),
    Way("login page, Chrome", ua.CHROME, at_login("/account/"), "/login/?next=%2Faccount%2F", "", title="登录"),
    Way("a page of ours, signed out", ua.WECOM_IOS, at("account/"), "/account/",
        via=f"/account/ login {OWN}"),
    Way("password", ua.CHROME, by_password(next="/account/?x=1"), "/account/?x=1", via="login", title="我的账号"),
    Way("password, remembered", ua.CHROME, by_password(remember="on"), "/", via="login"),
    Way("password inside WeCom", ua.WECOM_ANDROID, by_password(next="/account/"), "/account/", via="login"),
]  # fmt: skip


MESSAGES_AND_SESSIONS = [
    Way("message, nobody signed in", ua.WECOM_IOS, message(), "message", via=f"message {OWN}", title="销售日报"),
    Way("message in Chrome", ua.CHROME, message(), "WeCom /wwlogin/sso/login", "", via="message start", carried_by=""),
    Way("somebody else's message", ua.WECOM_IOS, message("hanmeimei"), "message", status=404, title="无法显示这条消息"),
    Way("entry with a session", ua.WECOM_IOS, with_session(entry("/account/")), "/account/", via="start"),
    Way("home page link with a session", ua.WECOM_IOS, with_session(home("account/")), "/account/",
        via="WeCom callback"),
    Way("a page of ours with a session", ua.WECOM_IOS,
        with_session(at("account/")), "/account/"),
    Way("the other company's link", ua.WECOM_IOS, link_of_the_other_company, "/account/", "namesake", via=SILENT),
    Way("signed out, stays so", ua.WECOM_IOS,
        signed_out(at("login/?stay=1&left=1")), "/login/?stay=1&left=1", "",
        title="登录"),
    Way("signed out, tapped again", ua.WECOM_IOS, signed_out(home()), "/", via=SILENT),
]  # fmt: skip


REFUSED = [
    Way("user disabled", ua.WECOM_IOS, home(), "error user-disabled", "", 403, "您已被停用", carried_by="lucy"),
    Way("company missing", ua.WECOM_IOS, home(), "error company-missing", "", 403, "您缺少“企业微信公司名称”",
        carried_by="tom"),
    Way("not linked", ua.WECOM_IOS, home(), "error not-linked", "", 403, "您的企业微信账号还没有关联",
        carried_by="kate"),
    Way("outside the visible scope", ua.WECOM_WINDOWS, entry(), "error out-of-scope", "", 403,
        "您不在该应用的可见范围内", carried_by="jim"),
    Way("not a member (openid)", ua.WECOM_IOS, entry(), "error not-a-member", "", 403, "您不属于该公司",
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
    Way("two tabs of a first visit", ua.WECOM_IOS, two_tabs_of_a_first_visit, "/account/?tab=1", via="callback"),
    Way("two tabs of a first visit, the first back first", ua.WECOM_IOS, the_first_tab_of_a_first_visit,
        "/account/?tab=1", via="callback"),
    Way("state expired", ua.WECOM_IOS, state_expired, "/", via="callback WeCom callback"),
    Way("another browser's state", ua.WECOM_IOS, state_of_another_browser, "/account/",
        via="callback WeCom callback"),
    Way("a redeemed code injected", ua.WECOM_IOS, redeemed_code_injected, "/account/?own=1",
        via="callback WeCom callback"),
    Way("a code injected into a consumed state", ua.WECOM_IOS, code_injected_into_a_consumed_state,
        "/account/?own=1", via="callback"),
    Way("state forged to be the last", ua.WECOM_IOS, state_forged, "error sign-in-expired", "", 403, "登录未能完成",
        via="callback"),
    Way("code older than five minutes", ua.WECOM_IOS, code_expired, "/account/", via="callback WeCom callback"),
    Way("no code is ever good", ua.WECOM_IOS, no_code_is_ever_good, "error code-expired", "", 403, "本次登录已失效",
        via=f"{OWN} WeCom callback"),
    Way("cookies refused, entry", ua.WECOM_IOS, without_cookies(entry()), "error cookies-blocked", "", 403,
        COOKIES_REFUSED, via=f"{OWN} WeCom callback"),
    Way("cookies refused, home page link", ua.WECOM_IOS, without_cookies(home()), "error cookies-blocked", "", 403,
        COOKIES_REFUSED, via=SILENT),
    Way("cookies refused, QR code", ua.CHROME,
        without_cookies(lambda world, browser: browser.scan(scan_code()(world, browser), "lilei")),
        "error cookies-blocked", "", 403, COOKIES_REFUSED, carried_by=""),
]  # fmt: skip


PHONE_FORM = "BI /m/page/p1?pageRenderType=phoneView"
INTO_THE_BI = [
    Way("home is ours", ua.WECOM_IOS, with_bi(home(), home_page="ours", home_bi_page="page/p1"), "/", via=SILENT),
    Way("home is the BI", ua.WECOM_IOS, with_bi(home(), home_page="bi"), "BI /", status=302, via=f"{SILENT} /bi/"),
    Way("home is a page of it, phone", ua.WECOM_IOS, with_bi(home(), home_page="bi", home_bi_page="page/p1?tab=2"),
        f"{PHONE_FORM}&tab=2", status=302),
    Way("home is a page of it, PC", ua.WECOM_WINDOWS, with_bi(home(), home_page="bi", home_bi_page="page/p1?tab=2"),
        "BI /page/p1?tab=2", status=302),
    Way("home is the BI, which is off", ua.WECOM_IOS,
        with_bi(home(), is_open=False, home_page="bi"), "/", via=SILENT),
    Way("form of the BI", ua.WECOM_IOS, with_bi(home("survey-engine?formId=7")),
        "BI /?path_url=survey-engine%3FformId%3D7", status=302),
    Way("the specification's example", ua.WECOM_IOS, with_bi(at_the_root("?path_url=survey-engine")),
        "BI /?path_url=survey-engine", status=302),
    Way("page of the BI, by QR code", ua.CHROME, with_bi(scan_code(page="/bi/page/p1?a=1")), "BI /page/p1?a=1",
        status=302, carried_by=""),
    Way("page of the BI with a session", ua.WECOM_IOS,
        with_bi(with_session(at("bi/page/p1"))), PHONE_FORM, status=302,
        via="/bi/page/p1"),
    Way("page of the BI, signed out", ua.WECOM_IOS,
        with_bi(at("bi/page/p1")), PHONE_FORM, status=302,
        via=f"/bi/page/p1 login {OWN} /bi/page/p1"),
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
    # A code appears only in the address to which WeCom brought it.
    assert not [path for path in browser.called if "code=" in path and "/callback/?" not in path and path[:2] != "/?"]
    if way.title:
        assert landing.title == way.title
    if way.via:
        assert landing.via == way.via


def test_the_table_is_whole() -> None:
    assert len(TABLE) >= 80
    assert len({way.agent for way in TABLE.values()}) == 9
