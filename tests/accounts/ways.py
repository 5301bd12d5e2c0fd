"""A company with people of every kind, and the ways in which a browser of theirs arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

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
from tests.accounts.conftest import SITE, make_corp, make_person
from tests.bi import make_bi
from tests.notifications.factories import NOW, make_report, make_run, make_subscription
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

LAKE_CORPID, LAKE_SECRET = "ww0000000000000002", "sandbox-secret-of-the-lake"
PASSWORD = "right-password-1"
PEOPLE = {"lilei": "李雷", "hanmeimei": "韩梅梅", "lucy": "露西", "tom": "汤姆", "kate": "凯特", "jim": "Jim"}


def seeded(corpid: str, name: str, secret: str) -> dict[str, object]:
    """Department 2 is the app's scope; Jim stands outside."""
    app = {**company()["apps"][0], "secret": secret, "trusted_domain": "bi.example.com"}
    members = [
        {"userid": userid, "name": shown, "department": [4 if userid == "jim" else 2]}
        for userid, shown in PEOPLE.items()
    ]
    return company(corpid=corpid, name=name, members=members, apps=[app], tags=[])


class World:
    """A company with people of every kind; a second one, switched off unless a way asks for it."""

    def __init__(self, sandbox: SandboxHandle) -> None:
        self.sandbox = sandbox
        doors = dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), sandbox.base_url)
        self.mill = make_corp("北山制造", 1, corpid=CORPID, agentid=AGENTID, secret=SECRET, **doors)
        self.lake = make_corp(
            "南湖贸易", 2, corpid=LAKE_CORPID, agentid=AGENTID, secret=LAKE_SECRET, is_enabled=False, **doors
        )
        self.lilei = make_person("lilei", self.mill, "lilei", name="李雷")
        self.lilei.set_password(PASSWORD)
        self.lilei.save()
        make_person("namesake", self.lake, "lilei", name="南湖的李雷")
        make_person("hanmeimei", self.mill, "HanMeimei", name="韩梅梅")
        make_person("lucy", self.mill, "lucy", is_active=False)
        make_person("tom", None, "tom")
        make_person("jim", self.mill, "jim")

    def open_lake(self) -> None:
        Corp.objects.filter(pk=self.lake.pk).update(is_enabled=True)

    def home_link(self, page: str = "", corp: Corp | None = None) -> str:
        """What the company's page in the administration gives for WeCom's console."""
        return links.home_page_link(corp or self.mill, page)

    def written_by_hand(self, host_url: str) -> str:
        """The specification's link around an encoded `host_url`."""
        return (
            f"{self.sandbox.base_url}/connect/oauth2/authorize?appid={CORPID}&redirect_uri={host_url}"
            f"&response_type=code&scope=snsapi_base&agentid={AGENTID}#wechat_redirect"
        )

    def entry(self, page: str = "/", corp: Corp | None = None) -> str:
        return f"{SITE}wecom/{(corp or self.mill).pk}/start/?{urlencode({'next': page})}"

    def message(self, person: User) -> str:
        """The address of a message that `person` was sent."""
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
    """One way to arrive: what is opened in which program, and what comes of it. `who`: the user name, or nobody."""

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
    """`inner`: what stands behind our callback, as the specification wants it encoded."""
    return lambda world, browser: browser.open(
        world.written_by_hand(quote(links.callback_url(world.mill) + inner, safe=""))
    )


def at(path: str) -> Journey:
    """An address of ours, opened as it is."""
    return lambda world, browser: browser.open(f"{SITE}{path}")


def at_the_root(inner: str) -> Journey:
    return lambda world, browser: browser.open(world.written_by_hand(quote(SITE + inner, safe="")))


def panel() -> Journey:
    return lambda world, browser: browser.panel_scanned(world.mill.pk, "lilei", requested="/account/")


def scanned(answer: str = "approve", page: str = "/account/") -> Journey:
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


def panel_of_the_chosen(world: World, browser: Traveller) -> Landing:
    world.open_lake()
    assert "选择公司" in browser.open(f"{SITE}login/company/").body
    shown = browser.open(f"{SITE}login/?corp={world.mill.pk}")
    assert f'data-url="/wecom/{world.mill.pk}/panel/"' in shown.body
    return browser.panel_scanned(world.mill.pk, "lilei", requested="/account/")


def message(of: str = "lilei") -> Journey:
    return lambda world, browser: browser.open(world.message(User.objects.get(username=of)))


def message_shown(world: World, browser: Traveller) -> Landing:
    browser.open(world.entry())
    return browser.open(world.message(world.lilei))


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


def after_a_password(world: World, browser: Traveller) -> Landing:
    browser.open(f"{SITE}login/?stay=1", posted={"username": "lilei", "password": PASSWORD})
    landing = browser.open(world.entry("/account/"))
    assert browser.ours.client.session[CORP_KEY] == world.mill.pk
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
        return browser.open(links.home_page_link(world.mill))

    return journey


def known_to_wecom_as(userid: str) -> Journey:
    """WeCom names people of linked companies with their CorpId, which the sandbox has not."""

    def journey(world: World, browser: Traveller) -> Landing:
        with responses.RequestsMock() as wire:
            wire.add_passthru(f"{world.sandbox.base_url}/")
            answer = {"errcode": 0, "errmsg": "ok", "userid": userid}
            wire.get(f"{world.sandbox.base_url}/cgi-bin/auth/getuserinfo", json=answer)
            return browser.open(world.entry("/account/"))

    return journey


def twice(world: World, browser: Traveller) -> Landing:
    """The back button, a refresh, a double tap: the same callback again."""
    back = browser.leaves_before_landing(world.entry("/account/"))
    browser.open(back)
    return browser.open(back)


def twice_without_the_first_answer(world: World, browser: Traveller) -> Landing:
    back = browser.leaves_before_landing(world.entry("/account/"))
    browser.open(back)
    del browser.ours.client.cookies["sessionid"]
    return browser.open(back)


def two_tabs(world: World, browser: Traveller) -> Landing:
    first = browser.leaves_before_landing(world.entry("/account/?tab=1"))
    second = browser.leaves_before_landing(world.entry("/account/?tab=2"))
    assert browser.open(second).place == "/account/?tab=2"
    return browser.open(first)


def two_tabs_of_a_first_visit(world: World, browser: Traveller) -> Landing:
    first, second = _left_together(world, browser)
    assert browser.open(second).place == "/account/?tab=2"
    return browser.open(first)


def the_first_tab_of_a_first_visit(world: World, browser: Traveller) -> Landing:
    first, _second = _left_together(world, browser)
    return browser.open(first)


def _left_together(world: World, browser: Traveller) -> tuple[str, str]:
    """Two tabs that ask before either has a cookie, and wait at WeCom."""
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


def state_changed(world: World, browser: Traveller) -> Landing:
    back = browser.leaves_before_landing(world.entry("/account/"))
    state = dict(parameters(back))["state"]
    return browser.open(back.replace(state, state[-2::-1] + state[-1]))


def state_of_another_browser(world: World, browser: Traveller) -> Landing:
    """Somebody sends their own callback: it signs in whoever opens it as themselves, or nobody."""
    attacker = Traveller(world.sandbox, ua.WECOM_IOS)
    attacker.carry(CORPID, "hanmeimei")
    return browser.open(attacker.leaves_before_landing(world.entry("/account/")))


def somebody_s_callback(world: World) -> tuple[Traveller, str]:
    """Han Meimei's browser, and the address with which WeCom sends it back: not called yet."""
    somebody = Traveller(world.sandbox, ua.WECOM_ANDROID)
    somebody.carry(CORPID, "hanmeimei")
    return somebody, somebody.leaves_before_landing(world.entry("/account/"))


def with_the_code_of(other: str, back: str) -> str:
    """The address `back` with the code that stands in the address `other`."""
    return back.replace(dict(parameters(back))["code"], dict(parameters(other))["code"])


def callback_replayed(world: World, browser: Traveller) -> Landing:
    """From a history or a log, after its own browser has landed."""
    somebody, theirs = somebody_s_callback(world)
    assert somebody.open(theirs).place == "/account/"
    landing = browser.open(theirs)
    assert world.who(somebody) == "hanmeimei"
    return landing


def code_injected_after_its_use(world: World, browser: Traveller) -> Landing:
    """Into a sign-in of one's own, with a state that is good."""
    somebody, theirs = somebody_s_callback(world)
    somebody.open(theirs)
    own = browser.leaves_before_landing(world.entry("/account/?own=1"))
    return browser.open(with_the_code_of(theirs, own))


def code_injected_that_was_refused(world: World, browser: Traveller) -> Landing:
    """It arrived without its browser's cookie, so nobody was signed in with it: it was spent all the same."""
    _somebody, theirs = somebody_s_callback(world)
    Traveller(world.sandbox, ua.CHROME).open(theirs)
    own = browser.leaves_before_landing(world.entry("/account/?own=1"))
    return browser.open(with_the_code_of(theirs, own))


def code_injected_into_a_state_that_was_used(world: World, browser: Traveller) -> Landing:
    """A fresh code of somebody else behind the address that one has landed with; it is spent, not used."""
    own = browser.leaves_before_landing(world.entry("/account/?own=1"))
    browser.open(own)
    somebody, theirs = somebody_s_callback(world)
    landing = browser.open(with_the_code_of(theirs, own))
    assert somebody.open(theirs).via == "callback WeCom callback"  # so the code was not good any more
    return landing


def state_forged(world: World, browser: Traveller) -> Landing:
    back = browser.leaves_before_landing(world.entry())
    return browser.open(back.replace(dict(parameters(back))["state"], "A" * 40 + "9"))


def code_expired(world: World, browser: Traveller) -> Landing:
    back = browser.leaves_before_landing(world.entry("/account/"))
    world.sandbox.advance(301)
    return browser.open(back)


def code_spent_elsewhere(world: World, browser: Traveller) -> Landing:
    back = browser.leaves_before_landing(world.entry("/account/"))
    world.sandbox.fault("errcode", "auth/getuserinfo", code=40029)
    return browser.open(back)


def no_code_is_ever_good(world: World, browser: Traveller) -> Landing:
    world.sandbox.fault("errcode", "auth/getuserinfo", code=40029, count=None)
    return browser.open(world.entry("/account/"))


def wecom_busy(world: World, browser: Traveller) -> Landing:
    world.sandbox.fault("busy", "auth/getuserinfo", count=None)
    return browser.open(world.entry())


def ip_refused(world: World, browser: Traveller) -> Landing:
    world.sandbox.fault("ip_refused", "auth/getuserinfo", count=None)
    return browser.open(world.entry())


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
