"""A company's connection that breaks, against a sandbox: the page names cause and fix, in Chinese, and it is
repaired.

The other files of this folder cover the remaining outcomes of each check.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags
from pytest_django import DjangoCaptureOnCommitCallbacks

from guanwecom.celery import app
from integrations import tasks
from integrations.clients.wecom import tokens
from integrations.companies import links
from integrations.companies.diagnosis import runner
from integrations.core.redis import valkey
from integrations.models import CheckRun, Corp, Job, SiteAddress
from tests.browser_form import untouched
from tests.integrations.diagnosing import queued
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

pytestmark = pytest.mark.django_db
OUR_ADDRESS = "203.0.113.9"
TO_APP = "企业微信管理后台 → 应用管理 → 该应用 → "


def words(html: str) -> str:
    return re.sub(r"\s+", " ", strip_tags(html).replace("&amp;", "&"))


@dataclass
class CompanyPage:
    """The page in Django's test client, with the tasks that its buttons queue."""

    corp: Corp
    client: Client
    capture: DjangoCaptureOnCommitCallbacks

    def url(self, end: str = "change/") -> str:
        return f"/admin/integrations/corp/{self.corp.pk}/{end}"

    def post(self, end: str, values: dict[str, Any]) -> None:
        with self.capture(execute=True):
            response = self.client.post(self.url(end), values)
        assert response.status_code == 302, strip_tags(response.text)
        self.work()

    def work(self) -> None:
        """Run the queued tasks, and those that follow."""
        while waiting := queued():
            valkey().delete("celery")
            with self.capture(execute=True):
                for name, arguments in waiting:
                    app.tasks[name](*arguments)

    def look(self) -> dict[str, Any]:
        """Return what the open page polls."""
        return dict(self.client.get(self.url("diagnosis/")).json())

    def row(self, name: str) -> str:
        return next(str(row["html"]) for row in self.look()["rows"] if row["name"] == name)

    def assert_wrong(self, name: str, says: tuple[str, ...], reason: str) -> None:
        """Assert that the diagnosis says what is wrong, who can fix it and where, and that enabling is refused."""
        self.post("diagnosis/run/", {})
        row = self.row(name)
        assert "pill-bad" in row
        for text in says:
            assert text in words(row)
        assert reason in words(self.look()["reasons"])
        enabling = self.client.get(self.url("enable/")).text
        assert reason in words(enabling)
        assert 'class="confirm"' not in enabling

    def assert_in_order(self) -> None:
        told = self.look()
        assert told["reasons"].strip() == ""
        assert "pill-bad" not in "".join(row["html"] for row in told["rows"])


@pytest.fixture
def page(
    running_sandbox: SandboxHandle,
    admin_client: Client,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    monkeypatch: pytest.MonkeyPatch,
) -> CompanyPage:
    """A company that is in order on both sides."""
    monkeypatch.setattr(tokens, "SHARED_SECONDS", 0)  # repairs take a while
    SiteAddress.objects.filter(is_default=True).update(url="http://localhost:3001/")
    addresses = dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), running_sandbox.base_url)
    corp = Corp.objects.create(name="北山制造", corpid=CORPID, agentid=AGENTID, secret=SECRET, **addresses)
    values = company()
    right = {"trusted_domain": "localhost:3001", "home_url": links.home_page_link(corp), "trusted_ips": [OUR_ADDRESS]}
    values["apps"] = [{**values["apps"][0], **right}]
    settings = {"caller_ip": OUR_ADDRESS, "trusted_ip_delay_seconds": 0}
    running_sandbox.load({"companies": [values], "settings": settings})
    admin_client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-CN"
    return CompanyPage(corp, admin_client, django_capture_on_commit_callbacks)


def test_a_wrong_secret_is_named_and_put_right_in_the_form(page: CompanyPage) -> None:
    page.post("diagnosis/run/", {})
    page.assert_in_order()
    assert 'class="confirm"' in page.client.get(page.url("enable/")).text
    page.corp.secret = "not-the-secret-of-the-app"
    page.corp.save()
    says = ("企业微信拒绝了 Secret", "本系统的管理员。", TO_APP + "Secret")
    page.assert_wrong("token", says, "访问凭证（access_token）：企业微信拒绝了 Secret")

    page.post("change/", {**untouched(page.client.get(page.url()).text, "corp_form"), "new_secret": SECRET})

    page.assert_in_order()
    assert "pill-good" in page.row("token")


def test_an_address_that_is_not_trusted_is_named_and_tried_again_by_itself(
    page: CompanyPage, running_sandbox: SandboxHandle
) -> None:
    app_path = f"companies/{CORPID}/apps/{AGENTID}"
    running_sandbox.control("PATCH", app_path, {"trusted_ips": ["198.51.100.7"]})
    refused = f"{OUR_ADDRESS} 不在应用的企业可信IP中。"
    says = (refused, "企业微信的管理员。", TO_APP + "企业可信IP", "多个用英文分号“;”分隔", "会自动再试")
    page.assert_wrong("ip", says, f"企业可信IP：企业微信拒绝了本服务器的地址：{refused}")
    copied = re.search(r'id="check-ip-copied"[^>]* value="([^"]*)"', page.row("ip"))
    assert copied is not None

    running_sandbox.control("PATCH", f"{app_path}/console", {"trusted_ips": copied[1].split(";")})
    assert CheckRun.objects.filter(next_try_at__isnull=False).update(next_try_at=timezone.now())
    Job.objects.filter(kind=runner.DIAGNOSIS, status="waiting").update(due_at=timezone.now(), queued_until=None)
    tasks.tick()
    page.work()

    page.assert_in_order()
    assert "pill-good" in page.row("ip")
