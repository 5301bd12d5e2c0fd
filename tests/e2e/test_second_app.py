"""An attack on a superuser's session through a second app of the same WeCom company.

Whoever controls an app of the company gets a code of anybody who taps its link, for the app's own trusted domain.
Redeemed with that app's Secret at our callback, with a state of the attacker's own browser, it would sign the attacker
in.
"""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import User
from integrations.models import Corp
from tests import user_agents as ua
from tests.e2e.joined import Joined, join
from tests.e2e.session import signed_in
from tests.jobs import do_jobs
from tests.sandbox_process import AGENTID, CORPID, SECRET, SandboxHandle, company

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
FOREIGN_AGENTID, FOREIGN_SECRET, FOREIGN_DOMAIN = 1000009, "sandbox-secret-of-app-1000009", "own.attacker.example"


@pytest.fixture
def joined(site: str, running_sandbox: SandboxHandle) -> Joined:
    """A company with two apps: ours, long enabled, and the attacker's. Li Lei is a superuser here."""
    found = join(site, running_sandbox)
    domain = site.removeprefix("http://")
    ours = {**company()["apps"][0], "trusted_domain": domain, "callback_domain": domain}
    theirs = {**ours, "agentid": FOREIGN_AGENTID, "name": "活动", "secret": FOREIGN_SECRET}
    theirs |= {"trusted_domain": FOREIGN_DOMAIN, "callback_domain": ""}
    running_sandbox.load({"companies": [company(apps=[ours, theirs])]})
    Corp.objects.update(first_enabled_at=timezone.now())
    User.objects.filter(username="LiLei").update(is_staff=True, is_superuser=True)
    return found


def test_the_secret_of_another_app_never_serves_though_a_superuser_pastes_it(
    browser: Browser, live_server: LiveServer, joined: Joined
) -> None:
    context = browser.new_context(locale="zh-CN")
    base, page = signed_in(context, live_server, "LiLei"), context.new_page()
    page.goto(f"{base}/admin/integrations/corp/{joined.corp.pk}/change/#credentials")
    page.locator("#id_new_secret").fill(FOREIGN_SECRET)
    page.locator("#corp_form [name=_save]").click()
    waiting = page.locator("#staged-credentials .pill")
    expect(waiting).to_have_text("进行中")
    do_jobs()
    expect(waiting).to_have_text("失败")

    # Li Lei taps the attacker's link, whose code arrives at the attacker's domain.
    victim = browser.new_context(user_agent=ua.WECOM_ANDROID, locale="zh-CN").new_page()
    victim.goto(joined.phone_of("LiLei"))
    query = {
        **{"appid": CORPID, "agentid": FOREIGN_AGENTID, "redirect_uri": f"https://{FOREIGN_DOMAIN}/"},
        **{"response_type": "code", "scope": "snsapi_base", "state": ""},
    }
    address = f"{joined.sandbox.base_url}/connect/oauth2/authorize?{urlencode(query)}"
    arrived = urlsplit(victim.request.get(address, max_redirects=0).headers["location"])
    assert arrived.netloc == FOREIGN_DOMAIN
    code = parse_qs(arrived.query)["code"][0]
    # The attacker begins a sign-in and opens our callback with its state and that code.
    attacker = browser.new_context(user_agent=ua.CHROME, locale="en").new_page()
    sent_to_wecom = attacker.request.get(joined.entry("/admin/"), max_redirects=0).headers["location"]
    state = parse_qs(urlsplit(sent_to_wecom).query)["state"][0]
    attacker.goto(f"{joined.base}/wecom/{joined.corp.pk}/callback/?{urlencode({'code': code, 'state': state})}")

    assert (Corp.objects.get().agentid, Corp.objects.get().secret) == (AGENTID, SECRET)
    assert attacker.request.get(f"{joined.base}/account/", max_redirects=0).status == 302
