"""Choosing a page of the BI on the page of a push: each recipient gets it on the phone as they see it in the BI."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser, Page, expect

from accounts.models import WeComAccount
from integrations.clients import guandata_sso
from integrations.models import Corp, DataSource, SourceKind
from notifications.models import Medium, Receipt, Subscription
from tests.bi import KEY, make_bi
from tests.bi_pages import count_rows, make_bi_card
from tests.chromium import make_path_with_chromium
from tests.e2e.console import PASSWORD, Console
from tests.e2e.phones import connected, phone_of
from tests.e2e.stack import BIN, Stack, wait_for_log
from tests.e2e.waiting import eventually
from tests.nightly import nightly
from tests.notifications.admin.test_push_page import listed
from tests.sandbox_process import CORPID

pytestmark = [nightly, pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]
PUSHES = "/admin/notifications/subscription/"
# A picture takes two or three seconds, and much longer on a busy machine.
PICTURE_MS = 180_000


@pytest.fixture
def snapshots(stack: Stack, tmp_path: Path) -> Iterator[None]:
    """A worker that takes pictures, beside the product's other programs."""
    env = {**stack.env, "PATH": make_path_with_chromium(tmp_path), "SNAPSHOT_CARD_SELECTOR": ".bi-card"}
    celery = [str(BIN / "celery"), "-A", "guanwecom", "worker", "-Q", "snapshots", "-n", "snapshots@%h"]
    with ExitStack() as exits:
        worker = replace(stack, env=env).start(
            "snapshots", [*celery, "--concurrency", "1", "--loglevel", "INFO"], exits
        )
        wait_for_log("ready.", worker)
        yield


def account(corp: Corp, username: str, userid: str, **fields: Any) -> None:
    person = get_user_model().objects.create_user(username, password=PASSWORD, **fields)
    WeComAccount.objects.create(user=person, corp=corp, userid=userid)


@pytest.fixture
def corp(stack: Stack) -> Corp:
    """A company with three people who have accounts in the BI, Han Meimei for one region only, and one without."""
    corp = connected(stack)
    corp.bi_sign_in_enabled = True
    corp.save()
    make_bi(base_url=f"{stack.sandbox.base_url}/guandata")
    DataSource.objects.create(name="BI", kind=SourceKind.GUANDATA)
    listed("", ("late", "销售看板", ""))
    listed("late", ("c1", "卡片 1", "CHART"))
    users = [{"login_id": "root"}, {"login_id": "lilei"}, {"login_id": "han", "sees": {"区域": ["华东"]}}]
    page = {"page_id": "late", "name": "销售看板", "cards": [make_bi_card(1, draws_after=0.3)]}
    key = guandata_sso.format_public_line(guandata_sso.load_private_key(KEY))
    stack.sandbox.control("PUT", "bi", {"provider": "guanbi", "public_key": key, "users": users, "pages": [page]})
    account(corp, "root", "wangqiang", is_staff=True, is_superuser=True)
    account(corp, "lilei", "LiLei")
    account(corp, "han", "hanmeimei")
    account(corp, "made7", "zhaomin", name="赵敏", made_username="made7")
    return corp


def picture_of(username: str) -> bytes:
    receipt = Receipt.objects.select_related("delivery__medium").get(user__username=username, delivery__isnull=False)
    assert receipt.delivery is not None
    assert receipt.delivery.medium is not None
    return bytes(receipt.delivery.medium.content)


def choose_picture(desk: Page) -> None:
    desk.locator("[data-choices] button[data-page=late]").click()
    desk.locator("button[data-picture=page]").click()
    expect(desk.locator("[data-chosen]")).to_contain_text("截图：销售看板")
    expect(desk.locator("[name=picture_bi_id]")).to_have_value("late")
    expect(desk.locator("#id_message_form")).to_have_value("news")


def test_a_page_of_the_bi_is_chosen_previewed_and_read_on_the_phone(
    stack: Stack, corp: Corp, snapshots: None, browser: Browser
) -> None:
    desk = browser.new_context(locale="zh-CN").new_page()
    Console(desk, stack).sign_in("root")
    desk.goto(f"{stack.web_url}{PUSHES}add/")
    choose_picture(desk)
    expect(desk.locator("[data-phone]")).to_contain_text("用您自己在 BI 中的账号截取")
    expect(desk.locator("[data-phone] .phone-picture img")).to_be_visible(timeout=PICTURE_MS)
    assert [count_rows(bytes(medium.content)) for medium in Medium.objects.previews()] == [3]

    desk.check("[name=to_everyone]")
    expect(desk.locator("[data-outlook-place]")).to_contain_text("赵敏 (made7)")
    desk.click("[name=_enable]")
    push = eventually(Subscription.objects.first, stack.programs.values())
    assert push.report.picture_shown_as is None
    desk.goto(f"{stack.web_url}{PUSHES}{push.pk}/run/")
    desk.click("#content form [type=submit]")

    def arrived() -> list[Any]:
        found = [one for one in stack.sandbox.messages(CORPID, "LiLei") if one["msgtype"] == "news"]
        return found if stack.sandbox.messages(CORPID, "hanmeimei") else []

    [message] = eventually(arrived, stack.programs.values(), seconds=PICTURE_MS / 1000)
    assert (count_rows(picture_of("lilei")), count_rows(picture_of("han"))) == (3, 1)
    lost = Receipt.objects.get(user__username="made7")
    assert (lost.status, lost.reason) == ("skipped", "no_bi_identity")
    desk.goto(f"{stack.web_url}/admin/notifications/run/{lost.run_id}/change/")
    expect(desk.locator("#content")).to_contain_text(str(Receipt.Reason.NO_BI_IDENTITY.label))

    phone = phone_of(browser, stack, "LiLei").pages[0]
    [article] = message["news"]["articles"]
    phone.goto(article["url"])
    picture = phone.locator("figure img, main img").first
    expect(picture).to_be_visible()
    expect(picture).not_to_have_js_property("naturalWidth", 0)
