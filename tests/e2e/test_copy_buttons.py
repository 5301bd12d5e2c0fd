"""Copy buttons of a company's page put exactly the right text on the clipboard.

The expected texts are written by hand from the specification's template of the link (its four parts, the whole page
encoded once) and from docs/decisions 0002 and 0003 (our callback in its place, no state), not from our code.
tests/integrations/admin/test_console_pages.py tests other things to copy and other links.
"""

import re
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from integrations.models import CheckRun, Corp, SiteAddress
from tests.e2e.session import signed_in
from tests.e2e.waiting import stand_still

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
KEY = 7
# How long a button shows that it has copied.
SAID_MS = 1_500
AUTHORISE = (
    "https://open.weixin.qq.com/connect/oauth2/authorize?appid=ww0123456789abcdef"
    "&redirect_uri=https%3A%2F%2Fbi.example.com%2Fwecom%2F7%2Fcallback%2F{query}"
    "&response_type=code&scope=snsapi_base&agentid=1000002#wechat_redirect"
)
HOME_PAGE = AUTHORISE.format(query="")
TOKEN = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7xC0rF"
AES_KEY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"


@pytest.fixture
def corp(transactional_db: None) -> Corp:
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": "https://bi.example.com/"})
    return Corp.objects.create(
        pk=KEY,
        name="北山制造",
        corpid="ww0123456789abcdef",
        agentid=1000002,
        secret="the-secret-of-the-app",
        noted_ips=["203.0.113.10"],
        callback_token=TOKEN,
        callback_aes_key=AES_KEY,
    )


@pytest.fixture
def address(live_server: LiveServer, page: Page, corp: Corp) -> str:
    return f"{signed_in(page.context, live_server)}/admin/integrations/corp/{KEY}/"


def check_run(corp: Corp, name: str, problem: str, **columns: Any) -> None:
    now = timezone.now()
    times = {"requested_at": now, "finished_at": now}
    CheckRun.objects.create(
        corp=corp, check_name=name, connection_version=corp.connection_version, status="wrong", problem=problem,
        **times, **columns,
    )  # fmt: skip


def copied(page: Page) -> dict[str, str]:
    """Press each copy button of the page and return the clipboard's texts by the id of their field."""
    stand_still(page)
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    found = {}
    for button in page.locator("[data-copy]").all():
        page.evaluate("navigator.clipboard.writeText('something else')")
        button.click()
        expect(button).to_have_text("已复制")
        found[str(button.get_attribute("data-copy"))] = str(page.evaluate("navigator.clipboard.readText()"))
    return found


def test_all_of_them_on_the_page_of_a_company(page: Page, address: str, corp: Corp) -> None:
    addresses = {"addresses": ["203.0.113.9"], "copied": "203.0.113.9"}
    check_run(corp, "ip", "refused_ip", facts=addresses, errcode=60020, hint="[1764000000]", caller_ip="203.0.113.9")
    check_run(corp, "domain", "missing", facts={"ours": "bi.example.com", "theirs": ""}, subject="bi.example.com")
    check_run(corp, "home_page", "missing", facts={"ours": HOME_PAGE, "theirs": ""}, subject=HOME_PAGE)

    page.goto(f"{address}change/")

    assert copied(page) == {
        "value-domain": "bi.example.com",
        "value-callback": "bi.example.com",
        "value-home-page": HOME_PAGE,
        "value-login": "https://bi.example.com/login/",
        "link-result": HOME_PAGE,
        "callback-app": "https://bi.example.com/wecom/7/events/",
        "callback-contacts": "https://bi.example.com/wecom/7/contacts-events/",
        "value-ips": "203.0.113.9;203.0.113.10",
        "check-ip-copied": "203.0.113.9",
        "check-ip-technical": "check ip; problem refused_ip; errcode 60020; hint [1764000000]; ip 203.0.113.9",
        "check-domain-copied": "bi.example.com",
        "check-domain-technical": "check domain; problem missing",
        "check-home_page-copied": HOME_PAGE,
        "check-home_page-technical": "check home_page; problem missing",
    }


def test_the_values_of_the_callback(page: Page, address: str, corp: Corp) -> None:
    page.goto(f"{address}change/#callback")
    page.locator("#callback .address").first.get_by_role("button", name="显示").click()
    expect(page).to_have_url(re.compile(r"/callback/app/keys/$"))

    assert copied(page) == {
        "callback-url": "https://bi.example.com/wecom/7/events/",
        "callback-token": TOKEN,
        "callback-aes-key": AES_KEY,
    }


def test_the_link_that_the_builder_makes(page: Page, address: str, corp: Corp) -> None:
    page.goto(f"{address}change/#link")

    page.select_option("#link-page", "other")
    page.fill("#link-path", "/报表/月报?tab=2&q=a b#底")
    page.get_by_role("button", name="生成链接").click()
    expect(page.locator("[data-copy=link-result]")).to_be_focused()
    stand_still(page)
    button = page.locator("[data-copy=link-result]")
    page.keyboard.press("Enter")
    expect(button).to_have_text("已复制")
    page.keyboard.press("Enter")  # again while it shows that
    # 报 is E6 8A A5, 表 is E8 A1 A8, 月 is E6 9C 88; what has a meaning in a query is encoded inside, then again.
    query = (
        "%3Fpath_url%3D%2F%25E6%258A%25A5%25E8%25A1%25A8%2F%25E6%259C%2588%25E6%258A%25A5"
        "%253Ftab%253D2%2526q%253Da%2520b%2523%25E5%25BA%2595"
    )
    assert page.evaluate("navigator.clipboard.readText()") == AUTHORISE.format(query=query)
    # The focus stays where it is.
    page.clock.run_for(SAID_MS)
    expect(button).to_have_text("复制")
    expect(button).to_be_focused()


def test_without_the_clipboard_interface_the_older_way_is_taken_and_else_nothing_is_called_copied(
    page: Page, address: str, corp: Corp
) -> None:
    """Sites over plain http have no clipboard interface, unless on localhost; some browsers refuse it."""
    button, field = page.locator("[data-copy=value-home-page]"), page.locator("#value-home-page")
    page.goto(f"{address}change/#console")
    page.evaluate("void (navigator.clipboard.writeText = async () => { throw new Error('refused'); })")
    stand_still(page)
    button.click()
    expect(button).to_have_text("已复制")
    expect(button).to_be_focused()
    assert page.evaluate("navigator.clipboard.readText()") == HOME_PAGE

    page.clock.run_for(SAID_MS)
    page.evaluate("void (document.execCommand = () => false)")
    button.click()
    # The value is selected, to be copied by hand.
    expect(field).to_be_focused()
    expect(button).to_have_text("复制")

    page.add_init_script("Object.defineProperty(window, 'isSecureContext', {value: false})")
    page.goto(f"{address}change/")
    assert copied(page)["value-home-page"] == HOME_PAGE
