"""A company of the running sandbox, connected to the running product, and its people's phones."""

import re

from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page

from accounts.models import DirectoryPolicy
from integrations import callbacks
from integrations.companies import links
from integrations.core.client_factory import callback_crypto
from integrations.directory.sync import JOB, request_run
from integrations.models import CallbackEvent, Corp, SiteAddress, SyncRun
from tests.e2e.stack import Stack
from tests.jobs import do_jobs
from tests.sandbox_process import AGENTID, CORPID, SECRET, company
from tests.user_agents import WECOM_ANDROID


def connected(stack: Stack) -> Corp:
    """Create a company with its directory synchronised, callbacks on both sides, and a policy that links people."""
    SiteAddress.objects.filter(is_default=True).update(url=f"{stack.web_url}/")
    base = stack.sandbox.base_url
    corp = Corp.objects.create(
        **{"name": "北山制造", "corpid": CORPID, "agentid": AGENTID, "secret": SECRET, "is_enabled": True},
        **{"api_base_url": base, "authorize_base_url": base, "qr_base_url": base},
    )
    told = {}
    for kind in CallbackEvent.Kind:
        callbacks.generate_callback_keys(corp=corp, kind=kind)
        crypto = callback_crypto(corp, kind)
        assert crypto is not None
        url = callbacks.build_callback_url(corp, kind)
        told[kind] = {"url": url, "token": crypto.token, "aes_key": crypto.encoding_aes_key}
    domain = f"localhost:{stack.web_port}"
    app = {
        **company()["apps"][0],
        "trusted_domain": domain,
        "callback_domain": domain,
        "callback": told[CallbackEvent.Kind.APP],
    }
    app["home_url"] = links.build_home_page_link(corp)
    stack.sandbox.load({"companies": [company(apps=[app], contacts_callback=told[CallbackEvent.Kind.CONTACTS])]})
    DirectoryPolicy.objects.create(corp=corp, mode="link")
    request_run(corp=corp, trigger=SyncRun.Trigger.MANUAL, now=timezone.now())
    do_jobs(JOB)
    return corp


def phone_of(browser: Browser, stack: Stack, userid: str) -> BrowserContext:
    context = browser.new_context(user_agent=WECOM_ANDROID, viewport={"width": 390, "height": 844}, locale="zh-CN")
    page = context.new_page()
    page.goto(f"{stack.sandbox.base_url}/phone?corpid={CORPID}&userid={userid}")
    return context


def home_url(stack: Stack) -> re.Pattern[str]:
    """Return a pattern of our home page. Browsers keep the fragment of the authorise address over redirects."""
    return re.compile(rf"^{re.escape(stack.web_url)}/(#wechat_redirect)?$")


def tap_app(context: BrowserContext, stack: Stack) -> Page:
    page = context.pages[0]
    page.goto(f"{stack.sandbox.base_url}/phone/workbench")
    with context.expect_page() as opened:
        page.get_by_role("link", name="观远BI").click()
    opened.value.wait_for_load_state()
    return opened.value


def chat_of(browser: Browser, stack: Stack, userid: str) -> Page:
    """Return a person's phone, at the app's conversation."""
    page = phone_of(browser, stack, userid).pages[0]
    with page.expect_navigation():  # waits for its script, too: a click before that is lost
        page.get_by_role("link", name="观远BI").first.click()
    return page
