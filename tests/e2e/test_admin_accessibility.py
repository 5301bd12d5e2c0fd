"""Accessibility of pages with axe-core and by keyboard, in light and dark mode, at the width of a phone and of a desk.

Every change tests a page of each kind, `make nightly` all pages.
"""

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from integrations.models import CheckRun, Corp
from tests.e2e.axe import DESK, PHONE, TABLET, faults_of, look, open_context, overflow_of, unfold
from tests.e2e.pages import (
    STATUSES,
    Posted,
    Rows,
    admin_pages,
    employee_pages,
    error_pages,
    make_rows,
    open_pages,
    posted_pages,
    send,
)
from tests.e2e.policy import refusals_in
from tests.e2e.session import signed_in
from tests.nightly import nightly

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
LONG = "https://bi.example.com/" + "a" * 300


@pytest.fixture
def rows(transactional_db: None) -> Rows:
    """Rows in every list, and a company whose checks had every kind of result."""
    rows = make_rows()
    Corp.objects.filter(pk=rows.corp.pk).update(is_enabled=False)
    # With fewer than two companies the browser would be redirected to WeCom.
    Corp.objects.create(name="西岭物流", corpid="ww0123456789abcdef", agentid=1000004, secret="s", is_enabled=True)
    facts = {"ours": "bi.example.com", "theirs": LONG, "addresses": ["203.0.113.9"], "copied": "203.0.113.9"}
    found = {
        "ip": ("wrong", "refused_ip"),
        "domain": ("wrong", "path"),
        "home_page": ("wrong", "other"),
        "scope": ("warning", "members_only"),
        "token": ("ok", "given"),
        "network": ("running", ""),
        "callback": ("skipped", "no_keys"),
        "ownership": ("wrong", "unverified"),
    }
    now = timezone.now()
    for name, (status, problem) in found.items():
        times = {"requested_at": now, "finished_at": None if status == "running" else now}
        CheckRun.objects.create(
            corp=rows.corp, check_name=name, status=status, problem=problem, facts=facts, errcode=60020,
            connection_version=rows.corp.connection_version, next_try_at=now if name == "ip" else None,
            caller_ip="203.0.113.9", **times,
        )  # fmt: skip
    return rows


@pytest.mark.parametrize("who", ["", "lilei", "root"])
def test_nothing_serious_on_a_page_of_each_kind(
    browser: Browser, live_server: LiveServer, rows: Rows, who: str
) -> None:
    pages: dict[str, list[str | Posted]] = {"": ["/login/"], "lilei": ["/"], "root": kinds_of_admin_page(rows)}

    assert_nothing_serious(browser, live_server, who, pages[who])


@nightly
@pytest.mark.parametrize("who", ["", "lilei", "root"])
def test_nothing_serious_on_any_page(browser: Browser, live_server: LiveServer, rows: Rows, who: str) -> None:
    assert_nothing_serious(browser, live_server, who, pages_of(who, rows))


def kinds_of_admin_page(rows: Rows) -> list[str | Posted]:
    """Return a list, a form, a confirmation, the overview, and the page of a finished action."""
    return [
        reverse("admin:notifications_subscription_changelist"),
        reverse("admin:integrations_corp_change", args=[rows.corp.pk]),
        reverse("admin:integrations_corp_enable", args=[rows.corp.pk]),
        reverse("admin:index"),
        reverse("admin:notifications_delivery_change", args=[rows.delivery.pk]),
    ]


def pages_of(who: str, rows: Rows) -> list[str | Posted]:
    if who == "root":
        return [*admin_pages(rows), *posted_pages(rows)]
    return [*employee_pages(rows)] if who else [*open_pages(), *error_pages(rows)]


def assert_nothing_serious(browser: Browser, live_server: LiveServer, who: str, pages: list[str | Posted]) -> None:
    """Assert that the pages have no serious faults.

    One colour scheme for each width is enough: colours do not depend on the width, and the schemes differ in nothing
    else.
    """
    found: dict[str, str] = {}  # each fault once, though it is on every page
    context = open_context(browser, PHONE)
    tried: list[str] = []
    refusals = refusals_in(context)
    base = signed_in(context, live_server, who) if who else live_server.url
    page = context.new_page()
    for wanted in pages:
        look(page, PHONE)
        answer = page.goto(base + wanted) if isinstance(wanted, str) else send(page, base, wanted)
        assert answer is not None
        assert answer.status in STATUSES, wanted
        unfold(page)
        tried += refusals
        for appearance, faults in ((PHONE, faults_of), (TABLET, overflow_of), (DESK, faults_of)):
            look(page, appearance)
            found |= {fault: f"{wanted}: {why}" for fault, why in faults(page).items() if fault not in found}
        refusals.clear()  # axe-core tries to style the page, which the policy refuses
    context.close()

    assert not found, "\n".join(f"{fault}\n{why}" for fault, why in found.items())
    assert tried == []


def tab_to(page: Page, selector: str, *, at_most: int = 250) -> None:
    for _time in range(at_most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"no Tab leads to {selector}")


# The actions in each part of a company's page.
GUIDED_PATH = {
    "credentials": ("[name=new_secret]", "[name=_save]", "#credentials [name=check][value=token]"),
    "verification": ("#verification-upload", "#verification .upload [type=submit]"),
    "console": ("[data-copy=value-domain]", "[data-copy=value-home-page]", "form[action*='/console/settings/'] button"),
    "link": ("#link-path",),
    "callback": ("[data-copy=callback-app]",),
    "trusted_ip": ("[data-copy=value-ips]",),
    "diagnosis": (
        *("[data-run-all]", "[data-check=ip] [name=check]", "[data-check=ip] [data-copy=check-ip-copied]"),
        *("[data-check=ip] summary", "#test-userid"),
    ),
    "enable": ("form.enable button",),
}


def test_the_guided_path_is_walked_by_keyboard_alone(page: Page, live_server: LiveServer, rows: Rows) -> None:
    """Opens each step and reaches its actions, in the order of the page."""
    address = f"{signed_in(page.context, live_server)}/admin/integrations/corp/{rows.corp.pk}/change/"
    page.goto(f"{address}#diagnosis")
    tab_to(page, "[data-check=domain] [name=check]")
    page.keyboard.press("Enter")
    expect(page.locator("[data-check=domain] .pill")).to_have_text("等待")
    expect(page.locator("[data-check=domain] [name=check]")).to_be_focused()
    page.goto("about:blank")
    page.goto(address)

    tab_to(page, ".corp-next a")
    for part, selectors in GUIDED_PATH.items():
        tab_to(page, f"details:has(> #{part}) > summary")
        if not page.locator(f"#{part}").is_visible():
            page.keyboard.press("Enter")
        for selector in selectors:
            tab_to(page, selector)
            ring = page.evaluate("(one => [one.outlineStyle, one.boxShadow])(getComputedStyle(document.activeElement))")
            assert ring != ["none", "none"], f"{selector} shows no focus"
    page.keyboard.press("Enter")
    expect(page.locator("#content .reasons")).to_be_visible()
    tab_to(page, "#content a.button.default")
    page.keyboard.press("Enter")
    expect(page.locator(".corp-next")).to_be_visible()


def test_a_searching_select_says_its_name_also_while_its_list_is_open(
    desk: BrowserContext, live_server: LiveServer, rows: Rows
) -> None:
    page = desk.new_page()
    page.goto(f"{signed_in(desk, live_server)}/admin/accounts/departmentgroup/add/")
    page.get_by_role("combobox", name="部门").first.click()

    expect(page.get_by_role("searchbox", name="部门")).to_be_focused()
    assert faults_of(page) == {}
