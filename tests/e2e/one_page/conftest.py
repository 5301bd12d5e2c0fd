"""Fixtures for browser tests of pages with one form: a card to choose, its worker, and the page.

A test module names its page by a fixture `address`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from integrations.models import Card
from tests.e2e import sales
from tests.e2e.session import signed_in
from tests.e2e.stack import Program
from tests.e2e.waiting import until_data_is_listed

INPUTS_AT_MOST = 8


@pytest.fixture(scope="module", autouse=True)
def data_worker(
    django_db_setup: None, project_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    with sales.data_worker(project_root, tmp_path_factory.mktemp("data")) as program:
        yield program


@pytest.fixture
def card(transactional_db: None, warehouse: str) -> Card:
    """A card with the sales of three shops in two regions."""
    report = sales.sales_report(warehouse)
    card = report.report_cards.get().card
    report.delete()
    return card


@pytest.fixture
def page(desk: BrowserContext, live_server: LiveServer, card: Card, address: str) -> Page:
    page = desk.new_page()
    page.goto(signed_in(desk, live_server) + address)
    until_data_is_listed(page)
    return page


def assert_few_inputs(page: Page, form_id: str) -> None:
    """Assert that the form shows few inputs at first, once the choices are there."""
    form = page.locator(f"#{form_id}")
    expect(form.locator("[data-choices] button").first).to_be_visible()
    visible = form.locator("input:visible, select:visible, textarea:visible, [role=textbox]:visible")
    names = visible.evaluate_all("all => all.map((one) => one.name || one.className || one.id)")
    own = [name for name in names if "select2-search" not in name and "select2-selection" not in name]
    assert len(own) <= INPUTS_AT_MOST, own
