"""A message over the HTTP API, through running programs and the sandbox, to a phone; and the notice to its sender."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.contrib.auth.models import Group
from django.utils import timezone
from playwright.sync_api import Browser, expect

from accounts.models import User, WeComAccount
from accounts.users.roles import Role
from notifications.api import tokens
from notifications.models import ApiToken
from tests.e2e.phones import chat_of, connected
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually
from tests.notifications.inbound.factories import png
from tests.sandbox_process import CORPID

pytestmark = [pytest.mark.e2e, pytest.mark.processes]


def sender_of(stack: Stack) -> str:
    """Create a token that may send to the people of a company, of whom LiLei is linked. Return the secret."""
    corp = connected(stack)
    person = User.objects.create(username="lilei", name="李雷")
    WeComAccount.objects.create(user=person, corp=corp, userid="LiLei")
    editor = User.objects.create(username="editor", is_staff=True)
    editor.managed_corps.add(corp)
    editor.groups.add(Group.objects.get(name=Role.PUSH_EDITOR))
    now, secret = timezone.now(), tokens.new_secret()
    token = ApiToken(name="Jenkins", owner=editor, may_send=True, form_key=secret[-32:], sends_to="corps")
    token.expires_at = now + timedelta(days=1)
    tokens.seal(token, secret=secret, now=now)
    token.save()
    token.send_corps.add(corp)
    return secret


@pytest.mark.django_db(transaction=True)
def test_a_message_with_files_arrives_on_the_phone_and_its_sender_learns_it(stack: Stack, browser: Browser) -> None:
    secret = sender_of(stack)
    message = {
        "title": "构建 42 失败",
        "text": "<@all> 3 个测试未通过",
        "link": "https://ci.example.test/42",
        "recipients": [{"by": "userid", "corp": CORPID, "value": "lilei"}, {"by": "user", "value": "nobody"}],
    }
    files = [("files", ("趋势.png", png(60, 40))), ("files", ("报告.pdf", b"%PDF-1.7 report"))]

    def call(method: str, path: str, **sent: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {secret}"}
        return requests.request(method, f"{stack.web_url}{path}", headers=headers, timeout=30, **sent)

    accepted = call("POST", "/api/v1/messages", data={"message": json.dumps(message)}, files=files)
    assert accepted.status_code == 202, accepted.text
    location = accepted.headers["Location"]

    eventually(lambda: call("GET", location).json()["state"] == "finished")

    told = call("GET", location).json()
    assert [(one["user"], one["part"], one["state"]) for one in told["receipts"]] == [
        ("lilei", 0, "accepted"),
        ("lilei", 1, "accepted"),
    ]
    assert [one["value"] for one in told["unknown"]] == ["nobody"]
    kinds = {one["msgtype"] for one in stack.sandbox.messages(CORPID, "LiLei")}
    assert kinds == {"news", "file"}
    chat = chat_of(browser, stack, "LiLei")
    expect(chat.get_by_text("报告.pdf")).to_be_visible()
    with chat.context.expect_page() as opened:
        chat.get_by_text("构建 42 失败").first.click()
    page = opened.value
    expect(page.get_by_role("heading", name="构建 42 失败")).to_be_visible()
    expect(page.get_by_text("＜@all> 3 个测试未通过")).to_be_visible()
    expect(page.get_by_alt_text("趋势.png")).to_be_visible()
