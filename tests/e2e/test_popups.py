"""Accessibility of what opens on top of a page: windows that add something, lists of choices, the menu.

Every change tests one of each kind, `make nightly` all of them.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.urls import NoReverseMatch, reverse
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.e2e.axe import DESK, PHONE, faults_of, look, open_context, unfold
from tests.e2e.pages import STATUSES, Rows, make_rows
from tests.e2e.session import signed_in
from tests.e2e.waiting import until_data_is_listed
from tests.nightly import nightly

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
WINDOW = "?_to_field=id&_popup=1"
PUSH = "/admin/notifications/subscription/add/"
# For each kind, what opens it and what is open then.
LIST = (".select2-selection--{}", ".select2-container--open .select2-results__option:not(.loading-results)")
OPENED = {
    "a list to choose one from": (LIST[0].format("single"), LIST[1]),
    "a list to choose several from": (LIST[0].format("multiple"), LIST[1]),
}


@pytest.fixture
def rows(transactional_db: None) -> Rows:
    return make_rows()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = open_context(browser, PHONE)
    yield context
    context.close()


def in_both(page: Page) -> dict[str, str]:
    """Return the faults on a phone in light and at a desk in dark mode."""
    found: dict[str, str] = {}
    for appearance in (PHONE, DESK):
        look(page, appearance)
        found |= faults_of(page)
    return found


def faults_of_what_opens(page: Page) -> dict[str, str]:
    """Open the first of each kind on the page, one at a time, and return the faults."""
    found: dict[str, str] = {}
    for name, (opener, opened) in OPENED.items():
        button = page.locator(f"{opener}:visible").first
        if not button.count():
            continue
        button.click()
        expect(page.locator(opened).first).to_be_visible()
        found |= {f"{name}: {fault}": why for fault, why in in_both(page).items()}
        page.keyboard.press("Escape")
    return found


def add_forms() -> list[str]:
    found = []
    for model in admin.site._registry:
        try:
            found.append(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add"))
        except NoReverseMatch:
            continue
    return found


def opened_page(context: BrowserContext, live_server: LiveServer, address: str) -> Page:
    page = context.new_page()
    answer = page.goto(signed_in(context, live_server) + address)
    assert answer is not None
    assert answer.status in STATUSES, address
    unfold(page)
    return page


@pytest.mark.parametrize("address", [PUSH, f"/admin/accounts/user/add/{WINDOW}"])
def test_what_opens_on_a_form_and_in_a_window(
    context: BrowserContext, live_server: LiveServer, rows: Rows, address: str
) -> None:
    page = opened_page(context, live_server, address)
    if address == PUSH:
        until_data_is_listed(page)

    assert in_both(page) | faults_of_what_opens(page) == {}


def test_the_menu_of_a_phone(context: BrowserContext, live_server: LiveServer, rows: Rows) -> None:
    page = opened_page(context, live_server, "/admin/")
    look(page, PHONE)

    page.get_by_role("button", name="菜单").click()

    expect(page.get_by_role("link", name="企业微信配置")).to_be_visible()
    assert faults_of(page) == {}


@nightly
def test_what_opens_on_every_form_and_in_every_window(
    context: BrowserContext, live_server: LiveServer, rows: Rows
) -> None:
    found: dict[str, Any] = {}
    page = context.new_page()
    base = signed_in(context, live_server)
    for address in add_forms():
        for whole in (address, address + WINDOW):
            look(page, DESK)
            answer = page.goto(base + whole)
            assert answer is not None
            assert answer.status in STATUSES, whole
            if answer.status == 200:
                unfold(page)
                faults = in_both(page) | faults_of_what_opens(page)
                found |= {fault: f"{whole}: {why}" for fault, why in faults.items() if fault not in found}

    assert found == {}
