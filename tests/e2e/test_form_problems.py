"""The list of what must be put right has the focus, and leads into a part that is folded."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.e2e.session import signed_in

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def browser_context_args() -> dict[str, Any]:
    """Read by pytest-playwright."""
    return {"locale": "zh-CN"}


def test_the_list_is_focused_and_leads_to_the_field(page: Page, live_server: LiveServer) -> None:
    page.goto(f"{signed_in(page.context, live_server)}/admin/integrations/corp/add/")
    page.fill("[name=name]", "北山制造")
    page.click("fieldset:has([name=api_base_url]) summary")
    page.fill("[name=api_base_url]", "no address")
    page.click("[name=_save]")

    problems = page.locator("#content .errornote")
    expect(problems).to_be_focused()
    problems.locator("a[href='#id_api_base_url']").click()
    expect(page.locator("[name=api_base_url]")).to_be_in_viewport()
    assert page.input_value("[name=name]") == "北山制造"
