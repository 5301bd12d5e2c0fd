"""An alert from Alertmanager: it fires, somebody takes it on the phone, everybody sees that, it ends."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from django.contrib.auth.models import Group
from django.utils import timezone
from playwright.sync_api import Browser, expect

from accounts.models import User, WeComAccount
from accounts.users.roles import Role
from integrations.models import Corp
from notifications.inbound import channels
from notifications.models import InboundChannel, Incident
from tests.e2e.phones import chat_of, connected
from tests.e2e.stack import Stack
from tests.e2e.waiting import eventually
from tests.programs import needs
from tests.sandbox_process import CORPID
from tools.services import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.processes]
ALERTMANAGER = "prometheus-alertmanager"
NAMES = {"LiLei": "李雷", "hanmeimei": "韩梅梅"}


@contextmanager
def alertmanager(folder: Path, url: str, secret: str) -> Iterator[str]:
    """Run Alertmanager with our inbound channel as its only receiver. Yield its address."""
    webhook = {
        "url": url,
        "send_resolved": True,
        "http_config": {"authorization": {"type": "Bearer", "credentials": secret}},
    }
    waits = {"group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
    # JSON is YAML, too.
    config = {
        "route": {"receiver": "guanwecom", **waits},
        "receivers": [{"name": "guanwecom", "webhook_configs": [webhook]}],
    }
    path = folder / "alertmanager.yml"
    path.write_text(json.dumps(config), encoding="utf-8")
    address = f"http://127.0.0.1:{free_port()}"
    command = [
        *(ALERTMANAGER, f"--config.file={path}", f"--storage.path={folder}/alertmanager"),
        *("--cluster.listen-address=", f"--web.listen-address={address.removeprefix('http://')}"),
    ]
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: _is_ready(address))
        yield address
    finally:
        process.terminate()
        process.wait(20)


def _is_ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/-/ready", timeout=2).ok
    except requests.RequestException:
        return False


def fire(address: str, *, ends_at: datetime | None = None) -> None:
    alert: dict[str, Any] = {
        "labels": {"alertname": "DiskFull", "instance": "db-1", "severity": "critical"},
        "annotations": {"summary": "数据库磁盘快满了", "description": "db-1 只剩 3%"},
        "startsAt": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
    }
    if ends_at is not None:
        alert["endsAt"] = ends_at.isoformat()
    requests.post(f"{address}/api/v2/alerts", json=[alert], timeout=10).raise_for_status()


def on_duty(stack: Stack) -> tuple[str, str]:
    """Create two people of a company and an alert channel for them. Return the channel's address and secret."""
    corp = connected(stack)
    Corp.objects.update(callback_verified_at=timezone.now())  # otherwise its cards have no buttons
    editor = User.objects.create(username="editor", is_staff=True, manages_all_corps=True)
    editor.groups.add(Group.objects.get(name=Role.PUSH_EDITOR))
    channel = InboundChannel(name="Alertmanager", owner=editor, corp=corp, is_alert=True, is_enabled=True)
    secret = channels.renew_secret(channel)
    channel.save()
    for userid, name in NAMES.items():
        person = User.objects.create(username=userid, name=name)
        WeComAccount.objects.create(user=person, corp=corp, userid=userid)
        channel.users.add(person)
    return f"{stack.web_url}/in/{channel.public_id}", secret


@pytest.mark.django_db(transaction=True)
@needs(ALERTMANAGER)
def test_an_alert_is_taken_on_one_phone_and_its_card_changes_on_another(
    stack: Stack, browser: Browser, tmp_path: Path
) -> None:
    url, secret = on_duty(stack)
    with alertmanager(tmp_path, url, secret) as address:
        fire(address)
        eventually(lambda: len(stack.sandbox.messages(CORPID, "hanmeimei")) == 1)
        first, second = chat_of(browser, stack, "LiLei"), chat_of(browser, stack, "hanmeimei")
        for page in (first, second):
            expect(page.locator("[data-card]")).to_contain_text("数据库磁盘快满了")

        first.get_by_role("button", name="认领").click()

        expect(second.locator("[data-card]")).to_contain_text("李雷已认领")
        expect(second.get_by_role("button", name="认领")).to_have_count(0)
        expect(second.get_by_role("button", name="静默 1 小时")).to_be_visible()
        assert Incident.objects.get().acknowledged_by == User.objects.get(username="LiLei")

        fire(address, ends_at=datetime.now(UTC))
        eventually(lambda: Incident.objects.get().status == "resolved")
        expect(second.locator("[data-card]").last).to_contain_text("已恢复")
