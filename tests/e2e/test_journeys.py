"""Ways through the administration whose clicks are counted: why somebody got nothing, and a wrong Secret mended."""

from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import User, WeComAccount
from integrations.models import Corp
from notifications.delivery.rendering.render import render_run
from notifications.models import CorpQueue, Run
from tests.e2e.joined import Joined
from tests.e2e.journey import Counted
from tests.e2e.session import signed_in
from tests.jobs import do_jobs
from tests.notifications.factories import make_run, make_subscription
from tests.sandbox_process import SECRET

pytestmark = [pytest.mark.e2e, pytest.mark.journey, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(browser: Browser, live_server: LiveServer, joined: Joined) -> Page:
    """The overview of a superuser, at a desk."""
    Corp.objects.update(first_enabled_at=timezone.now())
    context = browser.new_context(locale="zh-CN", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{signed_in(context, live_server)}/admin/")
    return page


def test_why_a_person_got_nothing_is_three_clicks_from_the_overview(
    page: Page, record_property: Callable[[str, object], None]
) -> None:
    hanmei = User.objects.get(username="hanmeimei")
    WeComAccount.objects.filter(user=hanmei).update(userid="", userid_folded="")
    run = make_run(make_subscription(hanmei, User.objects.get(username="LiLei"), name="销售日报"))
    render_run(run_id=run.pk, now=timezone.now())
    page.reload()
    hand = Counted(page)

    hand.fill(page.get_by_role("searchbox").first, "韩梅梅")
    hand.press(page.get_by_role("searchbox").first, "Enter")
    hand.click(page.locator("#content").get_by_role("link", name="韩梅梅").first)

    expect(page.locator(".person-state")).to_contain_text("“企业微信账号”为空。")
    expect(page.get_by_role("region", name="此人会收到什么").first).to_contain_text("销售日报")
    hand.record("why somebody got nothing, from the overview", record_property)
    assert (hand.clicks, hand.fields, hand.pages) <= (3, 1, 2)
    assert Run.objects.count() == 1


def test_a_wrong_secret_is_found_and_mended_in_four_clicks(
    page: Page, joined: Joined, record_property: Callable[[str, object], None]
) -> None:
    Corp.objects.filter(pk=joined.corp.pk).update(secret="wrong-secret")
    now = timezone.now()
    refused = {"blocked_since": now, "blocked_errcode": 40001, "blocked_error": "invalid credential", "probe_at": now}
    CorpQueue.objects.update_or_create(corp=joined.corp, defaults=refused)
    page.reload()
    hand = Counted(page)

    hand.click(page.locator("#content").get_by_role("link", name="更新 Secret").first)
    hand.fill(page.locator("[name=new_secret]"), SECRET)
    hand.click(page.locator("#corp_form [name=_save]"))
    do_jobs()

    expect(page.locator("#staged-credentials")).not_to_contain_text("检查中")
    hand.record("a wrong Secret, from the overview to the new one in force", record_property)
    assert hand.clicks <= 4
    assert hand.fields == 1
    assert Corp.objects.get().secret == SECRET
