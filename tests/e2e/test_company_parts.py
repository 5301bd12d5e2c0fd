"""The page of a company shows the next step in at most two screens, whatever the company's state."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from integrations.companies import services
from integrations.companies.diagnosis import checks
from integrations.companies.diagnosis.checks import CHECKS
from integrations.models import CheckRun, Corp, SiteAddress
from tests.e2e.session import signed_in

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
# In pixels, on a screen 1440 wide and 900 high.
TWO_SCREENS = 1800


@pytest.fixture
def browser_context_args() -> dict[str, Any]:
    return {"locale": "zh-CN", "viewport": {"width": 1440, "height": 900}}


@pytest.fixture
def corp(transactional_db: None) -> Corp:
    SiteAddress.objects.update_or_create(is_default=True, defaults={"url": "https://bi.example.com/"})
    return Corp.objects.create(name="北山制造", corpid="ww0123456789abcdef", agentid=1000002, secret="the-secret")


@pytest.fixture
def show(page: Page, live_server: LiveServer, corp: Corp) -> Callable[..., None]:
    """A function that opens the page, at an anchor if one is given."""
    address = f"{signed_in(page.context, live_server)}/admin/integrations/corp/"

    def open_page(place: str = "", *, path: str = "") -> None:
        page.goto("about:blank")
        page.goto(f"{address}{path or f'{corp.pk}/change/'}{place}")

    return open_page


def height(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollHeight"))


def found(corp: Corp, status: str, *names: str, **columns: Any) -> None:
    now = timezone.now()
    for name in names:
        CheckRun.objects.create(
            corp=corp, check_name=name, connection_version=corp.connection_version, subject=CHECKS[name].subject(corp),
            status=status, requested_at=now, finished_at=now, **columns,
        )  # fmt: skip


def open_steps(page: Page) -> list[str]:
    return [str(body.get_attribute("id")) for body in page.locator("details.step[open] > .step-body").all()]


def at_credentials(corp: Corp) -> None:
    found(corp, "wrong", "token", problem="secret_wrong", errcode=40001)


def at_verification(corp: Corp) -> None:
    found(corp, "ok", "token")


def at_console(corp: Corp) -> None:
    found(corp, "ok", "token")
    corp.verification_files = [{"code": "0123456789abcdef", "uploaded_at": timezone.now().isoformat()}]
    corp.save(update_fields=["verification_files"])
    found(corp, "ok", "verification_file")


def at_trusted_ip(corp: Corp) -> None:
    found(corp, "ok", "token", "domain", "home_page")
    addresses = {"addresses": ["203.0.113.9"], "copied": "203.0.113.9"}
    found(corp, "wrong", "ip", problem="refused_ip", facts=addresses, errcode=60020, caller_ip="203.0.113.9")


def at_diagnosis(corp: Corp) -> None:
    at_enable(corp)
    found(corp, "wrong", "assistant", problem="secret_wrong", errcode=40001)


def at_enable(corp: Corp) -> None:
    found(corp, "ok", *{*checks.list_essential_checks(corp), "token", "ip", "domain", "home_page"})


STATES = (at_credentials, at_verification, at_console, at_trusted_ip, at_diagnosis, at_enable)


def test_the_step_at_which_one_is_stands_open_alone(page: Page, show: Callable[..., None], corp: Corp) -> None:
    show(path="add/")
    assert height(page) <= TWO_SCREENS
    assert page.locator("#corp_form :is(input, select, textarea):visible:not([type=submit])").count() <= 8
    for state in STATES:
        CheckRun.objects.all().delete()
        corp.verification_files = []
        corp.save(update_fields=["verification_files"])
        state(corp)
        (step,) = (step for step in services.list_steps(corp) if step.is_next)

        show()

        assert step.anchor == state.__name__.removeprefix("at_")
        assert open_steps(page) == [step.anchor]
        expect(page.locator(".corp-next a")).to_have_text(f"{step.number} · {step.title}")
        assert height(page) <= TWO_SCREENS


def test_each_tab_of_an_enabled_company(page: Page, show: Callable[..., None], corp: Corp) -> None:
    Corp.objects.update(is_enabled=True, first_enabled_at=timezone.now())
    found(corp, "ok", *checks.list_essential_checks(corp))
    show()

    heights = {}
    for name in ("概览", "凭证", "企业微信后台", "诊断", "高级"):
        tab = page.locator("[data-part-tabs]").get_by_role("link", name=name)
        tab.click()
        expect(tab).to_have_attribute("aria-current", "true")
        heights[name] = height(page)
    assert max(heights.values()) <= TWO_SCREENS, heights
