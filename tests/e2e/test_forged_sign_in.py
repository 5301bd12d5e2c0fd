"""Sign-in CSRF in both directions, each with the attacker's and the victim's browser.

The attacker has everything that leaks from their own browser or, in the other direction, from the victim's: the whole
address with code and state, before anybody has opened it. Neither browser becomes the other person.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests import user_agents as ua
from tests.e2e.joined import NAMES, Joined
from tests.e2e.waiting import until_loaded

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def opened(browser: Browser, joined: Joined) -> Iterator[Callable[[str, str], Page]]:
    """A function that opens a browser for a person; inside WeCom it is that person's phone."""
    contexts: list[BrowserContext] = []

    def act(user_agent: str, userid: str) -> Page:
        context = browser.new_context(user_agent=user_agent, locale="zh-CN")
        contexts.append(context)
        page = context.new_page()
        if "wxwork" in user_agent:
            page.goto(joined.phone_of(userid))
        return page

    yield act
    for context in contexts:
        context.close()


def scan(frame: Any, userid: str) -> None:
    frame.locator(f"#people [data-userid={userid}]").click()
    frame.locator("#approve").click()


def address_of_silent_sign_in(page: Page, joined: Joined, userid: str) -> str:
    """Follow the redirects one by one with this browser's cookies: Chromium cannot stop them within a navigation."""
    address = joined.entry("/account/")
    for _hop in ("our start", "WeCom's authorise page"):
        answer = page.request.get(address.split("#")[0], max_redirects=0)
        address = answer.headers["location"]
    return address


def address_of_qr_page(page: Page, joined: Joined, userid: str) -> str:
    def passes() -> None:
        page.goto(joined.entry("/account/"))
        scan(page, userid)

    return intercepted(page, passes)


def address_of_panel(page: Page, joined: Joined, userid: str) -> str:
    def passes() -> None:
        page.goto(f"{joined.base}/login/?next=/account/")
        until_loaded(page.locator("[data-panel-frame] iframe"))
        scan(page.frame_locator("[data-panel-frame] iframe"), userid)

    return intercepted(page, passes)


def intercepted(page: Page, passes: Callable[[], None]) -> str:
    """Return the address to which WeCom's page sends this browser, before it is opened, so the code is not redeemed."""
    taken: list[str] = []

    def keep(route: Route) -> None:
        taken.append(route.request.url)
        route.fulfill(body="<title>taken</title>", content_type="text/html")

    page.route("**/wecom/*/callback/**", keep)
    passes()
    expect(page).to_have_title("taken")
    page.unroute("**/wecom/*/callback/**")
    return taken[0]


def signed_in_as(page: Page, joined: Joined) -> str:
    """Return the name of the person signed in here, or an empty text. The browser stays on its page."""
    answer = page.request.get(f"{joined.base}/account/", max_redirects=0)
    if answer.status == 302:
        return ""
    return next(name for name in NAMES.values() if f'<h2 id="who">{name}</h2>' in answer.text())


WAYS: dict[str, tuple[str, Callable[[Page, Joined, str], str]]] = {
    "silent": (ua.WECOM_ANDROID, address_of_silent_sign_in),
    "QR page": (ua.CHROME, address_of_qr_page),
    "panel": (ua.CHROME, address_of_panel),
}


@pytest.mark.parametrize(("user_agent", "address_of"), WAYS.values(), ids=WAYS.keys())
def test_nobody_is_signed_in_as_somebody_else(
    opened: Callable[[str, str], Page], joined: Joined, user_agent: str, address_of: Callable[[Page, Joined, str], str]
) -> None:
    """Inside WeCom each phone then signs in its own person; elsewhere the QR page asks again."""
    attacker, victim = opened(user_agent, "hanmeimei"), opened(user_agent, "LiLei")
    is_inside = user_agent == ua.WECOM_ANDROID
    theirs, own = (address_of(page, joined, userid) for page, userid in ((attacker, "hanmeimei"), (victim, "LiLei")))
    assert all("code=" in address and "state=" in address for address in (theirs, own))

    # The victim's browser, which has begun its own sign-in, opens the attacker's code; then the reverse.
    victim.goto(theirs)
    assert signed_in_as(victim, joined) == ("李雷" if is_inside else "")
    attacker.goto(own)
    assert signed_in_as(attacker, joined) == ("韩梅梅" if is_inside else "")

    # The victim's code, refused in the attacker's browser, is refused from then on, also for the victim. Their sign-in
    # begins again, and a new code signs them in.
    victim.context.clear_cookies(name="sessionid")
    victim.goto(own)
    if not is_inside:
        assert signed_in_as(victim, joined) == ""
        scan(victim, "LiLei")
        victim.wait_for_url(f"{joined.base}/account/")
    assert signed_in_as(victim, joined) == "李雷"
