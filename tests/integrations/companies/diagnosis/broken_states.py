"""The states in which a company's connection is broken: how each comes about, what our page says, how it is put right.

The words are those that an administrator reads, written down here and not taken from the code. The table is walked
through at the wire (test_broken_states.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags
from pytest_django import DjangoCaptureOnCommitCallbacks

from guanwecom.celery import app
from integrations.companies.diagnosis import runner
from integrations.core.redis import valkey
from integrations.models import CheckRun, Corp, Job, SiteAddress, VerificationFile
from tests.browser_form import untouched
from tests.e2e.gateway import Gateway
from tests.integrations.diagnosing import queued
from tests.sandbox_process import AGENTID, SECRET, SandboxHandle, company

OUR_ADDRESS = "203.0.113.9"
JSON = {"accept": "application/json"}
OTHER_APP = {"agentid": 1000003, "name": "报销", "secret": "sandbox-secret-of-app-1000003", "scope": {"partyids": [1]}}
IN_WECOM, IN_THIS_SITE, IN_THE_NETWORK = "企业微信的管理员。", "本系统的管理员。", "本服务器网络的管理员。"
TO_APP = "企业微信管理后台 → 应用管理 → 该应用 → "


@dataclass(kw_only=True)
class Scene:
    """One company on our side and in the sandbox, the servers that get in the way, and the company's page by Django's
    test client; what it queues is worked off here.

    `site_url`: ours, without a slash. `authority`: the certificate of who vouches for the private gateway.
    """

    sandbox: SandboxHandle
    site_url: str
    wecom_gateway: Gateway
    private_gateway: Gateway
    site_gateway: Gateway
    authority: str
    client: Client
    capture: DjangoCaptureOnCommitCallbacks
    corpid: str = ""
    corp: Corp = field(default_factory=Corp)

    @property
    def domain(self) -> str:
        return self.site_url.removeprefix("http://")

    @property
    def app_path(self) -> str:
        return f"companies/{self.corpid}/apps/{AGENTID}"

    def begin(self, number: int) -> None:
        """A company of its own, in order on both sides."""
        self.corpid = f"ww{number:016d}"
        addresses = dict.fromkeys(("api_base_url", "authorize_base_url", "qr_base_url"), self.sandbox.base_url)
        self.corp = Corp.objects.create(
            name="北山制造", corpid=self.corpid, agentid=AGENTID, secret=SECRET, **addresses
        )
        values = company(corpid=self.corpid)
        right = {"trusted_domain": self.domain, "home_url": self.home_page, "trusted_ips": [OUR_ADDRESS]}
        values["apps"] = [{**values["apps"][0], **right}, OTHER_APP]
        settings = {"caller_ip": OUR_ADDRESS, "trusted_ip_delay_seconds": 0}
        self.sandbox.load({"companies": [values], "settings": settings})

    @property
    def home_page(self) -> str:
        host = self.domain.replace(":", "%3A")
        return (
            f"{self.sandbox.base_url}/connect/oauth2/authorize?appid={self.corpid}"
            f"&redirect_uri=http%3A%2F%2F{host}%2Fwecom%2F{self.corp.pk}%2Fcallback%2F"
            f"&response_type=code&scope=snsapi_base&agentid={AGENTID}#wechat_redirect"
        )

    # --- Breaking -----------------------------------------------------------------------------------------------------

    def saved(self, **columns: Any) -> None:
        """What an administrator of this site saved wrongly."""
        for name, value in columns.items():
            setattr(self.corp, name, value)
        self.corp.save()

    def in_wecom(self, **values: Any) -> None:
        """How the app stands in WeCom, its console's rules aside."""
        self.sandbox.control("PATCH", self.app_path, values)

    def fault(self, kind: str, endpoint: str = "*", **values: Any) -> None:
        self.sandbox.fault(kind, endpoint, count=None, **values)

    # --- Looking, and putting right ---------------------------------------------------------------------------------

    def page(self, end: str = "change/") -> str:
        return f"/admin/integrations/corp/{self.corp.pk}/{end}"

    def form(self, **values: str | bool) -> None:
        sent: dict[str, Any] = dict(untouched(self.client.get(self.page()).text, "corp_form"))
        sent |= {name: "on" if value is True else value for name, value in values.items()}
        with self.capture(execute=True):
            response = self.client.post(self.page(), sent)
        assert response.status_code == 302, strip_tags(response.text)
        self.work()

    def console(self, **values: str | bool) -> None:
        fields: dict[str, object] = dict(values)
        if "scope_partyids" in values:
            fields = {"scope": {"partyids": [int(key) for key in str(values["scope_partyids"]).split(",")]}}
        if "trusted_ips" in values:
            fields = {"trusted_ips": str(values["trusted_ips"]).split(";")}
        self.sandbox.control("PATCH", f"{self.app_path}/console", fields)

    def copied(self, name: str) -> str:
        found = re.search(rf'id="check-{name}-copied"[^>]* value="([^"]*)"', self.row(name))
        assert found is not None
        return found[1].replace("&amp;", "&")

    def remove_fault(self) -> None:
        """WeCom is itself again."""
        self.sandbox.control("DELETE", "faults", {})

    def run(self, **values: str) -> None:
        """All checks, or one of them, to their end."""
        with self.capture(execute=True):
            assert self.client.post(self.page("diagnosis/run/"), values, headers=JSON).status_code == 200
        self.work()

    def work(self) -> None:
        """What a worker does, and what comes of it."""
        while waiting := queued():
            valkey().delete("celery")
            with self.capture(execute=True):
                for name, arguments in waiting:
                    app.tasks[name](*arguments)

    def post(self, end: str, **values: object) -> str:
        """Press a button of the company's page, and let a worker do its part; where the answer leads."""
        with self.capture(execute=True):
            response = self.client.post(self.page(end), values)
        assert response.status_code == 302
        self.work()
        return str(response["Location"])

    def write_settings(self) -> str:
        """Preview home page and trusted domain, and have them written; the page that tells how it went."""
        preview = self.post("console/settings/")
        self.post(preview.removeprefix(self.page("")).replace("/preview/", "/confirm/"))
        return self.client.get(preview).text

    def upload(self, name: str, content: str) -> None:
        self.post("verification/", file=SimpleUploadedFile(name, content.encode()))
        assert "响应正确" in self.client.get(self.page("verification/panel/")).json()["html"]

    def look(self) -> dict[str, Any]:
        """What the page asks for while somebody looks at it."""
        return dict(self.client.get(self.page("diagnosis/")).json())

    def row(self, name: str) -> str:
        return next(str(row["html"]) for row in self.look()["rows"] if row["name"] == name)

    def make_due(self) -> None:
        """What is to be tried again by itself in some seconds is to be tried now."""
        planned = CheckRun.objects.filter(corp=self.corp, next_try_at__isnull=False)
        assert planned.update(next_try_at=timezone.now())
        Job.objects.filter(kind=runner.CHECK, status="waiting").update(due_at=timezone.now(), queued_until=None)


Act = Callable[[Scene], None]


@dataclass(frozen=True)
class State:
    """One broken state of a kind; what each check says of all others, its own tests tell. `says`: what the row of
    `check` contains. `reason`: what stands against enabling, if it does. `after`: what the row contains once it is put
    right.
    """

    name: str
    check: str
    says: tuple[str, ...]
    breaks: Act
    fixes: Act
    reason: str = ""
    after: str = ""


def own_site(scene: Scene) -> None:
    """The company's public address is a reverse proxy, which does not pass everything on."""
    site = SiteAddress.objects.get_or_create(url=f"http://localhost:{scene.site_gateway.port}/")[0]
    VerificationFile.objects.create(corp=scene.corp, code="Ab12Cd34Ef56Gh78", uploaded_at=timezone.now())
    scene.site_gateway.lost_prefix = "/WW_verify_"
    scene.saved(site_address=site)


def pass_all_on(scene: Scene) -> None:
    scene.site_gateway.lost_prefix = ""


def slow_clock(scene: Scene) -> None:
    scene.wecom_gateway.clock_is_behind = timedelta(minutes=10)
    scene.saved(api_base_url=f"http://127.0.0.1:{scene.wecom_gateway.port}")


def set_clock(scene: Scene) -> None:
    scene.wecom_gateway.clock_is_behind = timedelta()


BY_NETWORK = "要先让“网络与 DNS”正常"
SAVED_WRONGLY = [
    State(
        "the Secret is wrong (40001)",
        "token",
        ("企业微信拒绝了 Secret", IN_THIS_SITE, TO_APP + "Secret"),
        lambda scene: scene.saved(secret="not-the-secret-of-the-app"),
        lambda scene: scene.form(new_secret=SECRET),
        reason="访问凭证（access_token）：企业微信拒绝了 Secret",
    ),
    State(
        "the Secret is another app's",
        "agentid",
        ("Secret 与 AgentId 不属于同一个应用。", IN_THIS_SITE, "请在同一页面复制 AgentId 与 Secret"),
        lambda scene: scene.saved(secret=OTHER_APP["secret"]),
        lambda scene: scene.form(new_secret=SECRET),
        reason="AgentId 与 Secret：Secret 与 AgentId 不属于同一个应用。",
    ),
    State(
        "a department root does not exist",
        "departments",
        ("企业微信里没有部门 99。", IN_THIS_SITE, "请更正本页的“根部门”，或留空。"),
        lambda scene: scene.saved(department_root_ids=[2, 99]),
        lambda scene: scene.form(department_root_ids="2"),
    ),
    State(
        "the API host has no address",
        "network",
        ("无法解析域名 qyapi..weixin.qq.com", IN_THE_NETWORK, "请检查本服务器的 DNS 设置"),
        lambda scene: scene.saved(api_base_url="https://qyapi..weixin.qq.com"),
        lambda scene: scene.form(api_base_url=scene.sandbox.base_url, new_secret=SECRET),
        reason=BY_NETWORK,
    ),
    State(
        "the certificate is of a private authority",
        "certificate",
        ("证书不可信：unable to get local issuer certificate。", IN_THE_NETWORK, "把该设备的 CA 证书粘贴到“CA 证书”"),
        lambda scene: scene.saved(api_base_url=f"https://127.0.0.1:{scene.private_gateway.port}"),
        lambda scene: scene.form(ca_bundle=scene.authority, new_secret=SECRET),
        reason=BY_NETWORK,
        after="自有 CA CN=sim",
    ),
]  # fmt: skip
WRONG_IN_WECOM = [
    State(
        "the address is not trusted (60020)",
        "ip",
        (
            *(f"{OUR_ADDRESS} 不在应用的企业可信IP中。", IN_WECOM),
            *(TO_APP + "企业可信IP", "多个用英文分号“;”分隔", "会自动再试"),
        ),
        lambda scene: scene.in_wecom(trusted_ips=["198.51.100.7"]),
        lambda scene: scene.console(trusted_ips=scene.copied("ip")),
        reason=f"企业可信IP：企业微信拒绝了本服务器的地址：{OUR_ADDRESS}",
    ),
    State(
        "the app is disabled (50003)",
        "token",
        ("应用已停用。", IN_WECOM, TO_APP + "启用。"),
        lambda scene: scene.in_wecom(disabled=True),
        lambda scene: scene.console(disabled=False),
        reason="访问凭证（access_token）：应用已停用。",
    ),
    State(
        "the scope is empty",
        "scope",
        ("应用的可见范围为空：没有人能登录，也收不到消息。", IN_WECOM, TO_APP + "可见范围。"),
        lambda scene: scene.in_wecom(scope={}),
        lambda scene: scene.console(scope_partyids="2"),
        reason="可见范围：应用的可见范围为空",
    ),
    State(
        "the home page is missing",
        "home_page",
        ("应用在企业微信里没有主页：点击应用打不开任何页面。", IN_WECOM, TO_APP + "工作台应用主页：粘贴这个链接。"),
        lambda scene: scene.in_wecom(home_url=""),
        lambda scene: scene.console(home_url=scene.copied("home_page")),
        reason="应用主页链接：应用在企业微信里没有主页",
    ),
    State(
        "the trusted domain is another one",
        "domain",
        ("企业微信里的可信域名是 old.example.com，而本系统是 localhost:", IN_WECOM, TO_APP + "网页授权及JS-SDK。"),
        lambda scene: scene.in_wecom(trusted_domain="old.example.com"),
        lambda scene: scene.console(trusted_domain=scene.copied("domain")),
        reason="可信域名：企业微信里的可信域名是 old.example.com",
    ),
]  # fmt: skip
AT_FAULT = [
    State(
        "WeCom answers HTTP 500",
        "network",
        ("响应并非来自企业微信：可能是网络认证页、代理或其他服务器。", IN_THE_NETWORK),
        lambda scene: scene.fault("http_500"),
        lambda scene: scene.remove_fault(),
        reason=BY_NETWORK,
    ),
    State(
        "WeCom is busy (-1)",
        "token",
        ("企业微信系统繁忙。", "无需任何人处理：会自动恢复。"),
        lambda scene: scene.fault("busy", "gettoken"),
        lambda scene: scene.remove_fault(),
        reason="访问凭证（access_token）：企业微信系统繁忙。",
    ),
    State(
        "the clock is ten minutes ahead",
        "clock",
        ("本服务器的时间快了", IN_THIS_SITE, "请在本服务器上启用时间同步"),
        slow_clock,
        set_clock,
    ),
]  # fmt: skip
# Our own site answers, too.
FILE_LOST = State(
    "the verification file does not arrive",
    "verification_file",
    ("有响应，但不是校验文件：请求没有到达本系统。", IN_THE_NETWORK, "请让反向代理把 /WW_verify_*.txt 转发到本系统"),
    own_site,
    pass_all_on,
)
