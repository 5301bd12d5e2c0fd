"""Mails on the phone: an administrator makes a mail channel, the BI mails its dashboard, two people read it."""

import smtplib
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import Browser, Page, expect

from accounts.models import WeComAccount
from integrations.models import Heartbeat
from notifications.models import Delivery, IncomingMessage
from tests.e2e.console import PASSWORD, Console
from tests.e2e.phones import connected, phone_of
from tests.e2e.stack import Stack, running, wait_for_log
from tests.e2e.waiting import eventually
from tests.notifications.inbound.mail import senders
from tests.sandbox_process import CORPID
from tools.services import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def port(stack: Stack) -> Iterator[int]:
    """The port of a mail door that runs beside the product's other programs."""
    port, command = free_port(), [sys.executable, "manage.py", "mail_door"]
    env = {**stack.env, "MAIL_DOOR_LISTEN": f"127.0.0.1:{port}"}
    with ExitStack() as exits:
        door = exits.enter_context(running("mail_door", command, env=env, folder=stack.folder, cwd=stack.root))
        wait_for_log("The mail door listens", door)
        eventually(Heartbeat.objects.filter(kind=Heartbeat.Kind.MAIL).exists)
        yield port


def new_channel(page: Page, stack: Stack) -> tuple[str, str]:
    """Create and enable a mail channel as an administrator. Return the user name and password shown once."""
    page.goto(f"{stack.web_url}/admin/notifications/inboundchannel/add/")
    page.fill("[name=name]", "观远邮件")
    page.check("[name=kind][value=mail]")
    page.click("[name=_save]")
    user, password = page.input_value("#channel-user"), page.input_value("#channel-secret")
    expect(page.locator(".channel-facts")).to_contain_text("loginId@wecom.local")
    page.click("p.confirm a.button")
    expect(page.locator("#mail-server-heading")).to_be_visible()
    expect(page.locator(".errornote")).to_have_count(0)
    page.check("[name=is_enabled]")
    page.click("[name=_continue], [name=_save]")
    expect(page.locator(".messagelist .success")).to_be_visible()
    return user, password


def test_a_dashboard_that_the_bi_mails_is_read_on_the_phone(stack: Stack, port: int, browser: Browser) -> None:
    corp = connected(stack)
    get_user_model().objects.create_superuser("root", password=PASSWORD)
    for username, userid, email in (("lilei", "LiLei", ""), ("han", "hanmeimei", "han@corp.example.com")):
        person = get_user_model().objects.create_user(username, email=email)
        WeComAccount.objects.create(user=person, corp=corp, userid=userid)
    desk = browser.new_context(locale="zh-CN").new_page()
    Console(desk, stack).sign_in("root")
    login = new_channel(desk, stack)

    with smtplib.SMTP("127.0.0.1", port, timeout=120) as bi:
        bi.login(*login)
        recipients = ["lilei@wecom.local", "Han@corp.example.com", "nobody@wecom.local"]
        bi.sendmail("bi@example.com", recipients, senders.guandata())

    def arrived() -> dict[str, Any]:
        found: dict[str, Any] = {one["msgtype"]: one for one in stack.sandbox.messages(CORPID, "LiLei")}
        return found if found.keys() >= {"news", "file"} else {}

    messages = eventually(arrived, stack.programs.values())
    (article,) = messages["news"]["news"]["articles"]
    assert article["title"] == "【订阅】销售日报 2026-11-27"
    # Both share one call.
    assert sorted(Delivery.objects.values_list("message_form", "recipient_count")) == [("file", 2), ("news", 2)]

    phone = phone_of(browser, stack, "lilei").pages[0]
    phone.goto(article["url"])
    expect(phone.locator("h1")).to_have_text("【订阅】销售日报 2026-11-27")
    mail = phone.frame_locator(".whole-mail iframe")
    expect(mail.locator("b")).to_have_text("销售日报")
    picture = mail.locator("img")
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("naturalWidth", 1200)

    message = IncomingMessage.objects.get()
    desk.goto(f"{stack.web_url}/admin/notifications/incomingmessage/{message.pk}/change/")
    expect(desk.locator("#content")).to_contain_text("nobody")
    expect(desk.frame_locator(".whole-mail iframe").locator("b")).to_have_text("销售日报")
    desk.goto(f"{stack.web_url}/admin/maintenance/")
    expect(desk.locator("body")).to_contain_text("邮件入口")
